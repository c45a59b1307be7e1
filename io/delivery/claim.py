"""A claim: a due email that one dispatcher has in hand."""

import datetime as dt
import uuid
from dataclasses import dataclass, field

from sendplan.io.messages.composing import Texts

MAX_ATTEMPTS = 5
"""Attempts of an email that a server does not accept now."""

MAX_CLAIMS = 20
"""The most claims of an email, those of dispatchers that died included.

More than `MAX_ATTEMPTS`, since a crash need not be the email's fault; limited, since it may be.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed email.

    Parameters
    ----------
    email_id, enrollment_id, step_id, sequence_id, contact_id, mailbox_id : int
    token : UUID
        Proves that the claim still holds.
    send_at : aware datetime
        Its slot.
    send_day : date
    closes : aware datetime
        When the window of that day ends.
    attempts : int
        Claims of the email, this one included.
    transport : str or None
        The mailbox's reference.
    message_id : str
        As in the header.
    texts : Texts
        The parts of its message.
    """

    email_id: int
    enrollment_id: int
    step_id: int
    sequence_id: int
    contact_id: int
    mailbox_id: int
    token: uuid.UUID
    send_at: dt.datetime
    send_day: dt.date
    closes: dt.datetime
    attempts: int
    transport: str | None
    message_id: str
    texts: Texts


@dataclass(frozen=True)
class Claimed:
    """Result of one look for due emails.

    Parameters
    ----------
    claims : list of Claim
        In order of their slots.
    exhausted : list of Claim
        Those claimed more than `MAX_CLAIMS` times, which are given up.
    more : bool
        Whether another look may find more at once.
    """

    claims: list[Claim] = field(default_factory=list)
    exhausted: list[Claim] = field(default_factory=list)
    more: bool = False
