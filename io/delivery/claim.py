"""What a dispatcher has in hand."""

import datetime as dt
import uuid
from dataclasses import dataclass, field

from sendplan.io.messages.composing import Texts

MAX_ATTEMPTS = 5
"""How often an email is tried that a server does not accept now."""

MAX_CLAIMS = 20
"""How often an email is claimed at most: each time that its dispatcher dies counts as well.

It is more than `MAX_ATTEMPTS`, so that an email is not given up for crashes that are not its fault,
and yet one that brings dispatchers down cannot do so for ever.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """An email in hand.

    Parameters
    ----------
    email_id, enrollment_id, step_id, sequence_id, contact_id, mailbox_id : int
    token : UUID
        What proves that the row is still ours.
    send_at : aware datetime
        Its slot.
    send_day : date
    closes : aware datetime
        When the window of that day ends.
    attempts : int
        How often it has been claimed, this time included.
    transport : str or None
        The mailbox's reference.
    message_id : str
        As in the header.
    texts : Texts
        What its message is made of.
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
    """What one look at the due rows has given.

    Parameters
    ----------
    claims : list of Claim
        In order of their slots.
    exhausted : list of Claim
        Claimed too, but tried so often that they are not to be tried again.
    more : bool
        Whether another look may give more at once.
    """

    claims: list[Claim] = field(default_factory=list)
    exhausted: list[Claim] = field(default_factory=list)
    more: bool = False
