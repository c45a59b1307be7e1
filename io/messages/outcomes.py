"""What can become of an email that was handed to a transport."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What an attempt says about the email, its contact and its mailbox."""

    SENT = "sent"
    """Accepted."""

    UNCERTAIN = "uncertain"
    """It may have been accepted: the answer to the final dot never came, or cannot be read."""

    TEMPORARY = "temporary"
    """Not accepted now; it may be later."""

    REFUSED = "refused"
    """Never accepted, whoever it goes to: this message, or the receiver's policy against it."""

    RECIPIENT = "recipient"
    """Never accepted, whatever it says: there is no such address."""

    MAILBOX = "mailbox"
    """The mailbox may not send any more; nothing is known against email and contact."""

    UNREACHABLE = "unreachable"
    """No working session with the server; the email was not tried."""

    FLAWED = "flawed"
    """There is no message to send: the step's template can be rendered for nobody."""

    WITHDRAWN = "withdrawn"
    """Held back just before it would have left."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Parameters
    ----------
    verdict : Verdict
    detail : str
        Phase and reply, or what went wrong, in one line without any secret; may be empty.
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
    """The way out of one mailbox. One thread at a time uses it."""

    def deliver(self, message: Message, begin: Callable[[], bool]) -> Outcome:
        """Hand over a message; never raises for what a server or a network does.

        Parameters
        ----------
        message : Message
        begin : callable
            Asked once, at the last moment before the message can be accepted. If it says false,
            the message does not leave: `Verdict.WITHDRAWN`.
        """

    def rest(self) -> None:
        """Look after what is kept open while there is nothing to send; may be called often."""

    def close(self) -> None:
        """Let go of what is kept open; never raises for what a server or a network does."""
