"""Logging in to an SMTP server (RFC 4954): one class per mechanism.

Another mechanism, such as XOAUTH2, is one more class in `MECHANISMS`.
"""

import base64
import re
from collections.abc import Callable, Collection
from typing import Protocol

from sendplan.io.transport.smtp_replies import Phase
from sendplan.io.transport.transport_urls import Server

Command = Callable[[Phase, str, int], object]
"""Says a line and reads the reply, as `Session.command` does: phase, line, hoped first digit."""


class Mechanism(Protocol):
    """A way to log in."""

    @property
    def name(self) -> str:
        """Its keyword in EHLO."""

    def log_in(self, server: Server, command: Command) -> None:
        """Say what the server asks for; raises what `command` raises."""

    def secret(self, server: Server) -> str:
        """Return the encoded text among its lines that gives the password away."""


class Plain:
    """User and password in one line (RFC 4616)."""

    name = "PLAIN"

    def log_in(self, server: Server, command: Command) -> None:
        """Log in; see `Mechanism`."""
        command(Phase.AUTH, f"AUTH PLAIN {self.secret(server)}", 2)

    def secret(self, server: Server) -> str:
        """Return user and password, encoded together."""
        return _encoded("\0".join(("", server.username, server.password)))


class Login:
    """User and password one after the other (draft-murchison-sasl-login)."""

    name = "LOGIN"

    def log_in(self, server: Server, command: Command) -> None:
        """Log in; see `Mechanism`."""
        command(Phase.AUTH, "AUTH LOGIN", 3)
        command(Phase.AUTH, _encoded(server.username), 3)
        command(Phase.AUTH, self.secret(server), 2)

    def secret(self, server: Server) -> str:
        """Return the password, encoded."""
        return _encoded(server.password)


MECHANISMS: tuple[Mechanism, ...] = (Plain(), Login())
"""In order of preference."""


def mechanism_among(offered: Collection[str]) -> Mechanism | None:
    """Return the mechanism to log in by; one only, as a second failure brings a lock-out nearer.

    Parameters
    ----------
    offered : collection of str
        The keywords of the server's mechanisms, in capitals.
    """
    return next((mechanism for mechanism in MECHANISMS if mechanism.name in offered), None)


def secrets_of(server: Server) -> re.Pattern[str] | None:
    """Return a pattern of the password in every form that is sent; None where there is none."""
    if not server.password:
        return None
    texts = [*(mechanism.secret(server) for mechanism in MECHANISMS), server.password]
    return re.compile("|".join(map(re.escape, texts)), re.IGNORECASE)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")
