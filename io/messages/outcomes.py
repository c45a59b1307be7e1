"""Messages, transports, and the outcomes of an attempt to send."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """The result of an attempt, for the email, its contact and its mailbox."""

    SENT = "sent"
    """Accepted."""

    UNCERTAIN = "uncertain"
    """It may have been accepted: no readable reply came to the final dot."""

    TEMPORARY = "temporary"
    """Not accepted now; it may be later."""

    REFUSED = "refused"
    """Never accepted, to any address: this message, or the receiver's policy against it."""

    RECIPIENT = "recipient"
    """Never accepted, with any text: there is no such address."""

    MAILBOX = "mailbox"
    """The mailbox may not send; email and contact may be sound."""

    UNREACHABLE = "unreachable"
    """No working session with the server; the email was not tried."""

    FLAWED = "flawed"
    """There is no message: the step's template can be rendered for no contact."""

    WITHDRAWN = "withdrawn"
    """Given back before it could leave."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Parameters
    ----------
    verdict : Verdict
    detail : str
        Phase and reply, or the error, in one line without any secret; may be empty.
    """

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message, ready to leave.

    Parameters
    ----------
    sender, recipient : str
        The envelope: one plain ASCII address each.
    message_id : str
        As in the header, angle brackets included.
    data : bytes
        Headers and body with CRLF line ends, seven bits.
    """

    sender: str
    recipient: str
    message_id: str
    data: bytes


class Transport(Protocol):
    """Sends the messages of one mailbox; used by one thread at a time."""

    def deliver(self, message: Message, begin: Callable[[], bool]) -> Outcome:
        """Hand over a message; never raises for errors of server and network.

        Parameters
        ----------
        message : Message
        begin : callable
            Called once, at the last moment before the message can be accepted. If it is false,
            the message does not leave: `Verdict.WITHDRAWN`.
        """

    def rest(self) -> None:
        """End a session that has been idle for long; may be called often."""

    def close(self) -> None:
        """End the session; never raises for errors of server and network."""
