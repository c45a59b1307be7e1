"""What an explanation says: facts, each by itself true of the plan that was asked about."""

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """The day from which an email may leave, and where that comes from.

    Parameters
    ----------
    day : date
        The ready day.
    since : str
        ``"enrolment"``, ``"previous"`` (the email before it) or ``"now"`` (the first day that was
        still usable when it was planned).
    since_day : date
        The day from which it counts: of the enrolment, or of the email before it.
    after_hours : bool
        Whether the window of the enrolment's day had closed.
    previous_step_id, previous_position : int or None
        The step before it, where that is known.
    previous_state : str or None
        ``"planned"``, or the status of its row.
    wait_days : int or None
        The wait after it.
    wait_unit : str or None
        What the wait counts.
    closed : tuple of (date, str)
        The days that it was moved over or that the wait left out, and why nothing is sent on them.
    """

    day: dt.date
    since: str
    since_day: dt.date
    after_hours: bool = False
    previous_step_id: int | None = None
    previous_position: int | None = None
    previous_state: str | None = None
    wait_days: int | None = None
    wait_unit: str | None = None
    closed: tuple[tuple[dt.date, str], ...] = ()


@dataclass(frozen=True)
class EmailGroup:
    """Emails of one step that leave some mailboxes on one day.

    Parameters
    ----------
    sequence : str
        Name.
    position : int
        Of the step.
    first : bool
        Whether they are the first that their contacts get.
    emails : int
        How many.
    """

    sequence: str
    position: int
    first: bool
    emails: int


@dataclass(frozen=True)
class Load:
    """What one mailbox can send on a day, and what does leave then.

    Parameters
    ----------
    mailbox_id : int
        The mailbox.
    capacity : int
        What it may send that day.
    ramp : bool
        Whether its ramp, not its daily_capacity, is what limits it.
    used : int
        What has left or is in flight.
    planned : int
        Slots of the plan.
    room : int
        What could be planned, `used` taken off; less than capacity allows where min_gap_seconds
        lets no more leave.
    """

    mailbox_id: int
    capacity: int
    ramp: bool
    used: int
    planned: int
    room: int

    @property
    def full(self) -> bool:
        """Whether no more fits."""
        return self.planned >= self.room


@dataclass(frozen=True)
class FollowUp:
    """Where an email behind the one asked about would go.

    Parameters
    ----------
    step_id, position : int
        Its step.
    day : date
        The day.
    slip : int
        Days behind its ready day.
    """

    step_id: int
    position: int
    day: dt.date
    slip: int


@dataclass(frozen=True)
class Alternative:
    """Another day for an email, all others staying.

    Parameters
    ----------
    mailbox_id : int
        The mailbox.
    cost : float
        What the plan would cost more; less than 0 if it would cost less.
    slip : int
        Days of slip that the email itself would have then.
    follow_ups : tuple of FollowUp
        The thread's later emails, on the best days that are left to them.
    """

    mailbox_id: int
    cost: float
    slip: int
    follow_ups: tuple[FollowUp, ...]


@dataclass(frozen=True)
class DayBetween:
    """A day between the ready day and the slot.

    Parameters
    ----------
    day : date
        The day.
    obstacles : tuple of str
        All that forbids it: ``"closed"``, ``"window"``, ``"in_flight"``, ``"contact"``,
        ``"max_new"``, ``"full"``, ``"min_gap"``. Empty where the email could have left then.
    closed : str or None
        Why it is no sending day.
    contact_gets : str or None
        The other email of the contact that day.
    new : tuple of (int, int) or None
        First emails of the sequence that day, and the most allowed.
    loads : tuple of Load
        The mailbox, or every mailbox that the thread might have had.
    contents : tuple of EmailGroup
        What the plan has there, the most first.
    alternative : Alternative or None
        What leaving then would cost, where nothing forbids it; None, too, in a thread of which
        some emails have no slot.
    """

    day: dt.date
    obstacles: tuple[str, ...]
    closed: str | None = None
    contact_gets: str | None = None
    new: tuple[int, int] | None = None
    loads: tuple[Load, ...] = ()
    contents: tuple[EmailGroup, ...] = ()
    alternative: Alternative | None = None


@dataclass(frozen=True)
class SenderChoice:
    """Why an email leaves from its mailbox.

    Parameters
    ----------
    mailbox_id : int
        The mailbox.
    why : str
        ``"bound"``: the thread's earlier emails left from it; ``"thread"``: the thread's first
        planned email does; ``"only"``: the pool has no other; ``"chosen"`` among others.
    others : tuple of (int, float or None)
        Other mailboxes of the pool, and what the plan would cost more if the thread left from
        there, on the best days that are left; None where it finds no room.
    """

    mailbox_id: int
    why: str
    others: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True)
class Move:
    """An email that would have another slot.

    Parameters
    ----------
    enrollment_id, step_id : int
        The email.
    position : int
        Of the step.
    sequence : str
        Name.
    from_day, to_day : date
        Its day, and what it would be.
    from_mailbox_id, to_mailbox_id : int
        The same of its mailbox.
    """

    enrollment_id: int
    step_id: int
    position: int
    sequence: str
    from_day: dt.date
    to_day: dt.date
    from_mailbox_id: int
    to_mailbox_id: int


@dataclass(frozen=True)
class Exchange:
    """The cheapest way to an earlier day for which one other email yields.

    Parameters
    ----------
    day : date
        The earlier day.
    yields : Move
        The email that yields.
    cost : float
        What the plan would cost more; less than 0 if it would cost less.
    moves : tuple of Move
        All emails that would have another slot, of both threads.
    might_yield : int
        Emails of the same mailbox and day, all of which were tried.
    days_tried : tuple of date
        The full days that were looked at.
    """

    day: dt.date
    yields: Move
    cost: float
    moves: tuple[Move, ...]
    might_yield: int
    days_tried: tuple[dt.date, ...]


@dataclass(frozen=True)
class Minute:
    """Why an email leaves at its minute.

    Parameters
    ----------
    number, of : int
        It is the number-th, from 1, of so many planned emails of its mailbox and day.
    opens, closes : datetime
        The window, in UTC; it opens no earlier than the moment of planning.
    spread : str
        ``"even"`` where all have one window, ``"widest"`` where windows differ, ``"gap"`` where
        min_gap_seconds decides, ``"kept"`` where the time is none of these (a day that had begun
        keeps its times).
    gap_before, gap_after : int or None
        Seconds to the mailbox's email before it and after it that day; None where there is none.
    follow_ups_before, first_emails_before : int
        What leaves before it.
    """

    number: int
    of: int
    opens: dt.datetime
    closes: dt.datetime
    spread: str
    gap_before: int | None
    gap_after: int | None
    follow_ups_before: int
    first_emails_before: int
