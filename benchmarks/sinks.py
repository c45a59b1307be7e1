"""SMTP servers that accept everything: processes of their own on loopback, for benchmarks.

    python -m sendplan.benchmarks.sinks --log accepted.log --answer-after 0.05

prints its port, appends time and Message-ID of each message to the log before it answers, and
ends when its standard input does, however its parent has ended.
"""

import argparse
import asyncio
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import AnyStr, NamedTuple

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"
BACKLOG = 1_000
PATIENCE = 30.0
"""Seconds for a server to start or to end."""

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class Accepted(NamedTuple):
    """A message that a sink has accepted; the time is the system's clock's, in seconds."""

    time: float
    message_id: str


@contextmanager
def python_sink(log: Path | None = None, answer_after: float = 0.0) -> Iterator[int]:
    """Run the sink of this module, made of aiosmtpd, and give its port.

    Parameters
    ----------
    log
        What to append accepted messages to; None: they are forgotten.
    answer_after
        Seconds between each command and its answer.
    """
    command = [sys.executable, "-m", "sendplan.benchmarks.sinks"]
    command += ["--answer-after", str(answer_after)]
    if log is not None:
        command += ["--log", str(log)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with ended(
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def native_sink() -> str | None:
    """Return the path of Postfix' ``smtp-sink``, which is written in C; None if there is none."""
    return shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def postfix_sink(command: str) -> Iterator[int]:
    """Run ``smtp-sink`` and give its port."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
    # It refuses to run as root.
    account = ["-u", "postfix"] if os.geteuid() == 0 else []
    arguments = [command, *account, f"{HOST}:{port}", str(BACKLOG)]
    with ended(subprocess.Popen(arguments, text=True)) as process:
        until = time.monotonic() + PATIENCE
        while process.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection((HOST, port)):
                break
            if time.monotonic() > until:
                raise TimeoutError("smtp-sink does not listen")
            time.sleep(0.01)
        else:
            raise RuntimeError(f"smtp-sink ended with {process.returncode}")
        yield port


@contextmanager
def ended(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """See that a process is over when the block is, whatever has ended that."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def read_log(log: Path) -> list[Accepted]:
    """Read what a sink has accepted, in this order."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [Accepted(float(moment), message_id) for moment, message_id in lines]


class _Handler:
    def __init__(self, log: Path | None) -> None:
        # Written through at once, so that a line stands there before the answer is given.
        self._log = None if log is None else log.open("ab", buffering=0)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self._log is not None:
            assert isinstance(envelope.content, bytes)
            found = _MESSAGE_ID.search(envelope.content)
            message_id = found[1] if found else b"none"
            self._log.write(b"%.6f %s\n" % (time.time(), message_id))
        return "250 2.0.0 accepted"


class _Server(SMTP):
    def __init__(self, handler: _Handler, answer_after: float) -> None:
        super().__init__(handler, hostname="sink.example")
        self._answer_after = answer_after

    async def push(self, status: AnyStr) -> None:
        if self._answer_after:
            await asyncio.sleep(self._answer_after)
        await super().push(status)


async def _serve(log: Path | None, answer_after: float) -> None:
    loop = asyncio.get_running_loop()
    handler, over = _Handler(log), asyncio.Event()
    server = await loop.create_server(
        lambda: _Server(handler, answer_after), HOST, 0, backlog=BACKLOG
    )

    def wait_for_the_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    # What is still being said is of no interest any more.
    os._exit(0)


def main() -> None:
    """Run the sink until its standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--answer-after", type=float, default=0.0)
    options = parser.parse_args()
    # It would report every connection of a dispatcher that was killed.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.log, options.answer_after))


if __name__ == "__main__":
    main()
