"""One SMTP session on one connection, with bounds on the time and length of every reply.

The standard library's smtplib is not used. Its timeout starts anew with each line, so that an
endless reply never ends; it takes ``+25`` for a reply code, and reports a reply that is too long as
code 500, which after the final dot would look like a refusal of an accepted message.
"""

import re
import socket
import ssl
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sendplan.io.documents.texts import shown
from sendplan.io.errors import DataError
from sendplan.io.transport.smtp_auth import MECHANISMS, mechanism_among
from sendplan.io.transport.smtp_replies import Phase
from sendplan.io.transport.transport_urls import Server, StartTls
from sendplan.planner.schema.errors import Fault

MAX_REPLY = 64 * 1024
"""Most bytes of one reply; lines have 512 at most (RFC 5321, section 4.5.3.1.5)."""

_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_LINE_END = re.compile(rb"\r?\n|\r")


class Reply(NamedTuple):
    """A well-formed reply.

    Parameters
    ----------
    code : int
    text : str
        Its lines without the code.
    """

    code: int
    text: str


class Failure(Exception):
    """A command without the expected reply.

    Parameters
    ----------
    phase : Phase
    code : int, optional
        The code of the reply; None if there was none.
    text : str
        Its text, or the event instead of a reply.
    """

    def __init__(self, phase: Phase, code: int | None, text: str) -> None:
        super().__init__(phase, code, text)
        self.phase = phase
        self.code = code
        self.text = text


@lru_cache(maxsize=64)
def trust(ca: Path | None) -> ssl.SSLContext:
    """Return the TLS context with the system's certificates, or those of a file.

    Cached, since reading the system's certificates takes long.

    Raises
    ------
    DataError
        If the file holds no certificates.
    """
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it holds no certificate"
        fault = Fault(f"the file {ca}", reason.lower(), "name a file of PEM certificates in ca")
        raise DataError([fault]) from error


class Session:
    """A session with a server, from connecting to QUIT.

    Every method that talks to the server raises `Failure` for all errors of server and network.

    Parameters
    ----------
    server : Server
    hostname : str
        This machine's name in EHLO.
    context : SSLContext, optional
        The certificates to trust; None where nothing is ever encrypted.
    """

    def __init__(self, server: Server, hostname: str, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._hostname = hostname
        self._context = context
        self._socket: socket.socket | None = None
        self._heard = b""
        self._until = 0.0
        self.extensions: dict[str, str] = {}

    def allow(self, seconds: float) -> None:
        """Set the seconds that all that follows may take together."""
        self._until = time.monotonic() + seconds

    def open(self) -> None:
        """Connect, encrypt and log in."""
        server = self._server
        self._connect()
        if server.tls:
            self._encrypt(Phase.CONNECT)
        self.expect(Phase.GREETING, 2)
        self._greet()
        if not server.tls and server.starttls is not StartTls.NEVER:
            self._starttls()
        if server.username:
            self._login()

    def command(self, phase: Phase, line: str, hoped: int = 2) -> Reply:
        """Send a line and return the reply to it.

        Parameters
        ----------
        phase : Phase
        line : str
            Plain ASCII.
        hoped : int
            The expected first digit of the reply code.
        """
        if not line.isascii() or "\r" in line or "\n" in line:
            raise ValueError("a command that is no line of ASCII")
        self.send(phase, line.encode("ascii") + b"\r\n")
        return self.expect(phase, hoped)

    def send(self, phase: Phase, data: bytes) -> None:
        """Send bytes, all of them."""
        if self._heard:
            raise Failure(phase, None, "the server sent a reply to no command")
        rest = memoryview(data)
        try:
            while rest:
                open_socket = self._limited()
                rest = rest[open_socket.send(rest) :]
        except OSError as error:
            raise Failure(phase, None, _reason(error)) from None

    def expect(self, phase: Phase, hoped: int) -> Reply:
        """Read a reply; see `command`."""
        try:
            reply = self._read()
        except (OSError, ValueError) as error:
            raise Failure(phase, None, _reason(error)) from None
        if reply.code // 100 != hoped:
            raise Failure(phase, *reply)
        return reply

    def is_quiet(self) -> bool:
        """Return whether the connection is open and nothing has come over it unasked.

        A server that ends an idle session says 421, hangs up, or both.
        """
        if self._heard or self._socket is None:
            return False
        try:
            self._socket.settimeout(0)
            self._heard = self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def quit(self) -> None:
        """End the session with QUIT, and close the connection."""
        # All emails have their outcome by now, whatever the reply is.
        with suppress(Failure):
            self.command(Phase.QUIT, "QUIT")
        self.drop()

    def drop(self) -> None:
        """Close the connection without QUIT."""
        if self._socket is not None:
            # Closed even if that fails.
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _limited(self) -> socket.socket:
        """Return the socket, with the seconds left as its timeout."""
        if self._socket is None:
            raise ConnectionError
        self._socket.settimeout(self._left())
        return self._socket

    def _connect(self) -> None:
        server = self._server
        try:
            places = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            for number, (*_, place) in enumerate(places):
                # An address that does not answer must not use up the time of the others.
                share = self._left() / (len(places) - number)
                try:
                    self._socket = socket.create_connection((str(place[0]), server.port), share)
                    break
                except OSError:
                    if number == len(places) - 1:
                        raise
            # Otherwise the dot waits until the message before it is acknowledged.
            self._limited().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, ValueError) as error:
            raise Failure(Phase.CONNECT, None, _reason(error)) from None

    def _encrypt(self, phase: Phase) -> None:
        try:
            context, host = self._context or trust(None), self._server.host
            self._socket = context.wrap_socket(self._limited(), server_hostname=host)
        except (OSError, ValueError) as error:
            raise Failure(phase, None, _reason(error)) from None

    def _greet(self) -> None:
        reply = self.command(Phase.EHLO, f"EHLO {self._hostname}")
        self.extensions = {}
        for line in reply.text.split("\n")[1:]:
            name, _, values = line.strip().partition(" ")
            self.extensions[name.upper()] = values.upper()

    def _starttls(self) -> None:
        if "STARTTLS" in self.extensions:
            self.command(Phase.STARTTLS, "STARTTLS")
            if self._heard:
                # Cleartext after the reply may be injected (CVE-2011-0411).
                raise Failure(Phase.STARTTLS, None, "cleartext after the reply")
            self._encrypt(Phase.STARTTLS)
            self._greet()
        elif self._server.starttls is StartTls.REQUIRED:
            raise Failure(Phase.STARTTLS, None, "the server does not offer it")

    def _login(self) -> None:
        mechanism = mechanism_among(self.extensions.get("AUTH", "").split())
        if mechanism is None:
            encrypted = isinstance(self._socket, ssl.SSLSocket)
            hint = "" if encrypted else "; it may after STARTTLS: add starttls=required to the URL"
            known = " nor ".join(each.name for each in MECHANISMS)
            raise Failure(Phase.AUTH, None, f"the server offers neither {known}{hint}")
        mechanism.log_in(self._server, self.command)

    def _read(self) -> Reply:
        """Read a reply; ValueError if it is malformed."""
        lines: list[str] = []
        code, size = b"", 0
        while True:
            line = self._read_line(MAX_REPLY - size)
            size += len(line)
            found = _REPLY_LINE.fullmatch(line.rstrip(b"\r\n"))
            if found is None or (code and found[1] != code):
                raise ValueError(f"no SMTP reply: {shown(line.decode('latin-1'), 80)}")
            code = found[1]
            lines.append((found[3] or b"").decode("utf-8", "replace"))
            if found[2] != b"-":
                return Reply(int(code), "\n".join(lines))

    def _read_line(self, limit: int) -> bytes:
        while (end := self._heard.find(b"\n")) < 0:
            if len(self._heard) > limit:
                raise ValueError("an endless reply")
            chunk = self._limited().recv(4096)
            if not chunk:
                raise ConnectionError
            self._heard += chunk
        if end >= limit:
            raise ValueError("an endless reply")
        line, self._heard = self._heard[: end + 1], self._heard[end + 1 :]
        return line


def wire_form(data: bytes) -> bytes:
    """Return a message as DATA carries it, without the dot that ends it.

    Line ends are made CRLF, since a lone one before a dot ends the message for some servers and
    not for others (“SMTP smuggling”); dots that begin a line are doubled (RFC 5321, section 4.5.2).
    """
    ends = data.count(b"\r\n")
    # Nearly all messages have CRLF already, and replacing takes longer than sending.
    whole = ends == data.count(b"\n") == data.count(b"\r")
    lines = data if whole else _LINE_END.sub(b"\r\n", data)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return (b"." if lines.startswith(b".") else b"") + lines.replace(b"\r\n.", b"\r\n..")


def _reason(error: Exception) -> str:
    """Return what went wrong, without anything that the server sent."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, ConnectionError) and error.strerror is None:
        return "the connection was dropped"
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error) or type(error).__name__
