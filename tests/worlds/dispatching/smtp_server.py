"""A real SMTP server on loopback that remembers what it accepted, and answers by a script.

It is the oracle of all tests that send: what it has accepted was sent, whatever the database says.
It runs in a thread (`SmtpServer`), or as a process of its own that outlives a killed dispatcher:

    python tests/worlds/dispatching/smtp_server.py --port 0 --log accepted.jsonl --script
    faults.json

which prints its port, and writes each accepted message as a line of JSON before it answers.
"""

import argparse
import asyncio
import json
import logging
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

Phase = Literal[
    "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "rset", "quit"
]
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
# aiosmtpd warns of its own use of what it calls deprecated.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

PATIENCE = 30.0
"""Seconds after which a wait in a test has failed."""


@dataclass(frozen=True)
class Answer:
    """What to do instead of answering as a server should.

    `reply` is a line, or several with CRLF in between, or bytes to be written as they are; None is
    no answer. `then` is what follows: going on, dropping the line, or never saying anything again.
    At the dot, `accept` is whether the message counts as accepted, by default if the reply begins
    with a 2. With `held`, the answer is kept back until that event is set.
    """

    reply: str | bytes | None = None
    then: Literal["go on", "drop", "hang"] = "go on"
    accept: bool | None = None
    held: threading.Event | None = field(default=None, compare=False)

    @property
    def accepts(self) -> bool:
        if self.accept is not None:
            return self.accept
        return self.reply is not None and self.reply[:1] in ("2", b"2")


DROP = Answer(then="drop")
HANG = Answer(then="hang")
ACCEPT_AND_DROP = Answer(then="drop", accept=True)
ACCEPT_AND_HANG = Answer(then="hang", accept=True)


def say(reply: str | bytes, then: Literal["go on", "drop", "hang"] = "go on") -> Answer:
    return Answer(reply, then)


@dataclass
class ScriptedAnswer:
    """One entry of the script: an answer, and when it is given."""

    phase: Phase
    answer: Answer
    recipient: str | None = None
    after: int = 0
    times: int | None = None

    def applies(self, phase: Phase, recipient: str | None) -> bool:
        """Return whether it is due; counts the calls."""
        if phase != self.phase or self.recipient not in (None, recipient) or self.times == 0:
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Accepted:
    """An accepted message: `data` is what stood between DATA and the dot, dots undone."""

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    time: float
    connection: int
    encrypted: bool
    username: str | None

    def as_line(self) -> str:
        return json.dumps(asdict(self) | {"data": self.data.decode("latin-1")}) + "\n"


class SmtpServer:
    """The server; a context in which it runs.

    `user` and `password` switch AUTH on, in the clear too unless `auth_needs_tls`. With a
    `certificate` (see `make_certificate`), STARTTLS is offered, or with `implicit` everything is
    encrypted from the start. Stopped and started again, it has the same port.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        log: Path | None = None,
        user: str | None = None,
        password: str | None = None,
        auth_needs_tls: bool = False,
        certificate: tuple[Path, Path] | None = None,
        implicit: bool = False,
    ) -> None:
        self.port = port
        self.accepted: list[Accepted] = []
        self.commands: list[tuple[int, str]] = []
        self.connections = 0
        self.open: set[Conversation] = set()
        self._script: list[ScriptedAnswer] = []
        self._changed = threading.Condition()
        self._log: IO[str] | None = None if log is None else log.open("a", encoding="utf-8")
        self._user, self._password = user, password
        self._auth_needs_tls = auth_needs_tls
        self._context = None if certificate is None else server_context(certificate)
        self._implicit = implicit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._log is not None:
            self._log.close()

    def url(self, *, options: str = "", login: str = "", host: str = "127.0.0.1") -> str:
        """The URL for a mailbox's transport."""
        scheme = "smtps" if self._implicit else "smtp"
        if not login and self._user is not None:
            login = f"{self._user}:{self._password}"
        return f"{scheme}://{login}{'@' if login else ''}{host}:{self.port}{options}"

    def script(
        self,
        phase: Phase,
        answer: Answer | str | bytes,
        *,
        recipient: str | None = None,
        after: int = 0,
        times: int | None = None,
    ) -> None:
        """Answer otherwise at a phase: of one recipient, after so many times, so many times.

        The first entry that is due counts.
        """
        if not isinstance(answer, Answer):
            answer = say(answer)
        with self._changed:
            self._script.append(ScriptedAnswer(phase, answer, recipient, after, times))

    def forget_script(self) -> None:
        with self._changed:
            self._script.clear()

    def until(self, happened: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until something has happened here; it is asked after every command."""
        with self._changed:
            assert self._changed.wait_for(happened, patience), "it has not happened"

    def heard(self, command: str) -> int:
        """How often a command was heard, such as "RSET"."""
        with self._changed:
            return sum(word == command for _, word in self.commands)

    @property
    def message_ids(self) -> list[str]:
        with self._changed:
            return [message.message_id for message in self.accepted]

    def start(self) -> None:
        ready: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE), "the server has not started"

    def stop(self) -> None:
        """Hang up everywhere and listen no more."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = self._loop = None

    def hang_up(self) -> None:
        """Drop all connections; new ones are accepted."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._abort)
        self.until(lambda: not self.open)

    def speak(self, raw: bytes) -> None:
        """Send bytes that answer no command over all connections."""
        said = threading.Event()

        def write() -> None:
            for conversation in self.open:
                conversation.transport.write(raw)
            said.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(write)
        assert said.wait(PATIENCE)

    def _abort(self) -> None:
        for conversation in list(self.open):
            if conversation.transport is not None:
                conversation.transport.abort()

    def _run(self, ready: threading.Event) -> None:
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        context = self._context if self._implicit else None
        listening = loop.run_until_complete(
            loop.create_server(self._conversation, "127.0.0.1", self.port, ssl=context)
        )
        self.port = listening.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()
        listening.close()
        self._abort()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def _conversation(self) -> "Conversation":
        return Conversation(
            self,
            hostname="oracle.test",
            ident="oracle",
            tls_context=None if self._implicit else self._context,
            auth_require_tls=self._auth_needs_tls,
            authenticator=self._authenticate,
            auth_exclude_mechanism=() if self._user is not None else ("PLAIN", "LOGIN"),
        )

    def _authenticate(self, *arguments: Any) -> AuthResult:
        login = arguments[-1]
        right = (str(self._user).encode(), str(self._password).encode())
        # Otherwise aiosmtpd leaves the refusal to us.
        return AuthResult(
            success=(login.login, login.password) == right, handled=False, auth_data=login
        )

    # What follows is called in the server's thread.

    def enter(self, conversation: "Conversation") -> int:
        with self._changed:
            self.connections += 1
            self.open.add(conversation)
            self._changed.notify_all()
            return self.connections

    def leave(self, conversation: "Conversation") -> None:
        with self._changed:
            self.open.discard(conversation)
            self._changed.notify_all()

    def note(self, connection: int, command: str) -> None:
        with self._changed:
            self.commands.append((connection, command))
            self._changed.notify_all()

    def answer(self, phase: Phase, recipient: str | None) -> Answer | None:
        with self._changed:
            due = (line for line in self._script if line.applies(phase, recipient))
            found = next(due, None)
            return None if found is None else found.answer

    def accept(self, message: Accepted) -> None:
        with self._changed:
            self.accepted.append(message)
            if self._log is not None:
                self._log.write(message.as_line())
                self._log.flush()
            self._changed.notify_all()


class Conversation(SMTP):
    """One connection: aiosmtpd, but for what the script says."""

    def __init__(self, server: SmtpServer, **parameters: Any) -> None:
        super().__init__(self, **parameters)
        self.oracle = server
        self.connection = 0
        self.greeted = False

    def connection_made(self, transport: Any) -> None:
        # Again after STARTTLS.
        if not self.connection:
            self.connection = self.oracle.enter(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.oracle.leave(self)
        super().connection_lost(error)

    async def push(self, status: str | bytes) -> None:
        if not self.greeted:
            self.greeted = True
            if await self._answered("greeting"):
                return
        await super().push(status)

    async def smtp_EHLO(self, argument: str) -> None:
        answer = self._noted("EHLO", "ehlo")
        if answer is None:
            await super().smtp_EHLO(argument)
            return
        if answer.accepts:
            self.session.host_name, self.session.extended_smtp = argument, True
        await self._perform(answer)

    async def smtp_STARTTLS(self, argument: str) -> None:
        await self._unless_answered("STARTTLS", "starttls", super().smtp_STARTTLS, argument)

    async def smtp_AUTH(self, argument: str) -> None:
        await self._unless_answered("AUTH", "auth", super().smtp_AUTH, argument)

    async def smtp_MAIL(self, argument: str) -> None:
        await self._unless_answered("MAIL", "mail", super().smtp_MAIL, argument)

    async def smtp_RCPT(self, argument: str) -> None:
        found = re.search("<(.*)>", argument or "")
        recipient = found[1] if found else None
        await self._unless_answered("RCPT", "rcpt", super().smtp_RCPT, argument, recipient)

    async def smtp_DATA(self, argument: str) -> None:
        await self._unless_answered("DATA", "data", super().smtp_DATA, argument, self._recipient())

    async def smtp_RSET(self, argument: str) -> None:
        await self._unless_answered("RSET", "rset", super().smtp_RSET, argument)

    async def smtp_QUIT(self, argument: str) -> None:
        await self._unless_answered("QUIT", "quit", super().smtp_QUIT, argument)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str | None:
        answer = self._noted("DOT", "dot", self._recipient())
        if answer is None or answer.accepts:
            data = bytes(envelope.content or b"")
            found = MESSAGE_ID.search(data.partition(b"\r\n\r\n")[0] + b"\r\n")
            login = session.auth_data
            self.oracle.accept(
                Accepted(
                    message_id=found[1].decode("latin-1") if found else "",
                    sender=str(envelope.mail_from),
                    recipients=tuple(envelope.rcpt_tos),
                    data=data,
                    time=time.time(),
                    connection=self.connection,
                    encrypted=self.transport.get_extra_info("ssl_object") is not None,
                    username=login.login.decode() if login else None,
                )
            )
        if answer is None:
            return "250 2.0.0 accepted"
        if isinstance(answer.reply, str) and answer.then == "go on":
            await self._hold(answer)
            return answer.reply
        await self._perform(answer)
        # aiosmtpd answers all the same; no client hears it.
        return "250 dropped"

    def _recipient(self) -> str | None:
        return next(iter(self.envelope.rcpt_tos), None) if self.envelope is not None else None

    def _noted(self, command: str, phase: Phase, recipient: str | None = None) -> Answer | None:
        self.oracle.note(self.connection, command)
        return self.oracle.answer(phase, recipient)

    async def _unless_answered(
        self,
        command: str,
        phase: Phase,
        otherwise: Callable[[str], Any],
        argument: str,
        recipient: str | None = None,
    ) -> None:
        answer = self._noted(command, phase, recipient)
        await (otherwise(argument) if answer is None else self._perform(answer))

    async def _answered(self, phase: Phase) -> bool:
        answer = self.oracle.answer(phase, None)
        if answer is not None:
            await self._perform(answer)
        return answer is not None

    async def _perform(self, answer: Answer) -> None:
        await self._hold(answer)
        if answer.reply is not None:
            raw = answer.reply
            self._writer.write(raw if isinstance(raw, bytes) else raw.encode() + b"\r\n")
            with suppress(ConnectionError):
                await self._writer.drain()
        if answer.then == "drop":
            self.transport.close()
        if answer.then != "go on":
            # Until the other side hangs up, or the server stops.
            await asyncio.Event().wait()

    async def _hold(self, answer: Answer) -> None:
        while answer.held is not None and not answer.held.is_set():
            await asyncio.sleep(0.005)


def make_certificate(folder: Path, *, host: str = "localhost") -> tuple[Path, Path]:
    """Make a self-signed certificate for a name and 127.0.0.1; returns it and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={host}"),
            *("-addext", f"subjectAltName=DNS:{host},IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def read_log(path: Path) -> list[dict[str, Any]]:
    """What a server has accepted, as its log tells; a line that is being written is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def scripted(lines: Iterable[dict[str, Any]]) -> list[ScriptedAnswer]:
    """Read a script from JSON: objects with the fields of `ScriptedAnswer`, and of `Answer` beside
    them."""
    found = []
    for line in lines:
        answer = Answer(line.get("reply"), line.get("then", "go on"), line.get("accept"))
        when = (line.get("recipient"), line.get("after", 0), line.get("times"))
        found.append(ScriptedAnswer(line["phase"], answer, *when))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="an SMTP server that remembers")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--script", type=Path, help="a JSON list of lines; see scripted()")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with SmtpServer(port=arguments.port, log=arguments.log) as server:
        if arguments.script is not None:
            for line in scripted(json.loads(arguments.script.read_text(encoding="utf-8"))):
                server.script(
                    line.phase,
                    line.answer,
                    recipient=line.recipient,
                    after=line.after,
                    times=line.times,
                )
        print(server.port, flush=True)
        ended.wait()


if __name__ == "__main__":
    sys.exit(main())
