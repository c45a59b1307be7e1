"""What dispatching makes of smtp-sink, Postfix's test server, with its errors, delays and hangs.

It needs Debian's postfix, so it is no part of the suite: `make test-mail` runs it.
"""

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import Engine

from sendplan.tests.worlds.dispatching.world import DispatchWorld, until


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as made:
        yield made


class Sink:
    """An smtp-sink on loopback that keeps what it was sent in one file."""

    def __init__(self, *flags: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sendplan-sink-"))
        self._folder.chmod(0o777)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # As root it insists on becoming somebody else.
        account = ("-u", "nobody") if os.geteuid() == 0 else ()
        place = f"127.0.0.1:{self.port}"
        command = ["/usr/sbin/smtp-sink", *account, "-D", str(self.file), *flags, place, "100"]
        self._process = subprocess.Popen(command)

    @property
    def file(self) -> Path:
        return self._folder / "messages"

    def __enter__(self) -> Self:
        until(lambda: self._process.poll() is not None or self._listens())
        assert self._process.poll() is None
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False

    def message_ids(self) -> list[str]:
        """The Message-IDs of all transactions, whatever was answered to them in the end."""
        if not self.file.exists():
            return []
        lines = self.file.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("Message-ID: ")]


# Two emails of one mailbox each: status and attempts of both, and the mailbox's status.
SENT = [("sent", 1)] * 2, "active"
LATER = [("pending", 1)] * 2, "active"
FAILED = [("failed", 1)] * 2, "active"
# The first failure says enough of the mailbox, or of its server.
PAUSED = [("pending", 0)] * 2, "paused"
UNTRIED = [("pending", 0)] * 2, "active"
DOUBT = [("uncertain", 1)] * 2, "active"

CASES = {
    "": SENT,
    # Fewer extensions, and a server that looks like a PIX firewall.
    "-8": SENT,
    "-a": SENT,
    "-p": SENT,
    "-E": SENT,
    # 4yz.
    "-r CONNECT": UNTRIED,
    "-r EHLO": UNTRIED,
    "-r MAIL": LATER,
    "-r RCPT": LATER,
    "-r DATA": LATER,
    "-r .": LATER,
    "-r QUIT": SENT,
    # 5yz.
    "-f CONNECT": UNTRIED,
    "-f EHLO": UNTRIED,
    "-f MAIL -B '550 5.4.5 Daily user sending limit exceeded'": PAUSED,
    "-f RCPT -B '550 5.1.1 no such user'": FAILED,
    "-f DATA -B '554 5.6.0 never'": FAILED,
    "-f . -B '554 5.7.1 spam'": FAILED,
    "-f . -B '554 5.2.0 quota'": PAUSED,
    # The line is dropped without a word, and after a 421.
    "-q CONNECT": UNTRIED,
    "-q EHLO": UNTRIED,
    "-q MAIL": LATER,
    "-q RCPT": LATER,
    "-q DATA": LATER,
    "-q .": DOUBT,
    "-q QUIT": SENT,
    "-Q CONNECT": UNTRIED,
    "-Q MAIL": LATER,
    "-Q RCPT": LATER,
    "-Q DATA": LATER,
    "-Q .": LATER,
    "-Q QUIT": SENT,
    # Longer than it waits: two seconds up to the message, four for the answer to it.
    "-W EHLO:30": UNTRIED,
    "-W MAIL:30": LATER,
    "-W RCPT:30": LATER,
    "-w 30": LATER,
    "-W .:30": DOUBT,
    # Shorter.
    "-W .:1": SENT,
}


def test_each_flag_of_the_sink_has_its_consequences(world: DispatchWorld) -> None:
    world.sequence()
    with contextlib.ExitStack() as running:
        sinks = [running.enter_context(Sink(*shlex.split(flags))) for flags in CASES]
        for key, sink in enumerate(sinks, start=1):
            world.environment[f"SMTP_{key}"] = f"smtp://127.0.0.1:{sink.port}"
            world.mailbox(key).emails([1000 + key, 2000 + key], mailbox=key)
        world.dispatched("--lease", "12", "--workers", str(len(CASES)))
        found = {
            flags: (
                [world.state(1000 + key), world.state(2000 + key)],
                world.value("mailboxes", key, "status"),
            )
            for key, flags in enumerate(CASES, start=1)
        }
    assert found == CASES


def test_a_refusal_in_the_midst_of_the_message_is_never_taken_for_acceptance(
    world: DispatchWorld,
) -> None:
    """With -A, 550 follows on DATA at once, and the line is dropped with the message unread.

    The refusal is heard out of turn, or as the answer, or is lost with the line, as the moment has
    it; in the last case it is uncertain what became of the email.
    """
    with Sink("-A", "0") as sink:
        world.environment["SMTP_1"] = f"smtp://127.0.0.1:{sink.port}"
        world.sequence().mailbox(1).emails([1])
        world.dispatched()
    assert world.state(1) in (("pending", 1), ("failed", 1), ("uncertain", 1))


def test_a_thousand_emails_arrive_once_each(world: DispatchWorld) -> None:
    world.sequence()
    with Sink() as sink:
        for key in range(1, 11):
            world.environment[f"SMTP_{key}"] = f"smtp://127.0.0.1:{sink.port}"
            world.mailbox(key).emails(range(100 * key, 100 * key + 100), mailbox=key)
        with world.dispatch("--once") as first, world.dispatch("--once") as second:
            assert (first.wait(), second.wait()) == (0, 0)
        counted = Counter(sink.message_ids())
    assert world.states() == {"sent": 1000}
    assert set(counted.values()) == {1}
    assert counted.keys() == {
        key for (key,) in world.run("SELECT message_id FROM scheduled_emails")
    }
