"""Facts of an explanation, each true by itself of the plan."""

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """The day from which an email may leave, and its derivation.

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
        The days that the wait or the move to a sending day skipped, and why they are closed.
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
    """Capacity and load of one mailbox on a day.

    Parameters
    ----------
    mailbox_id : int
        The mailbox.
    capacity : int
        Emails that it may send that day.
    ramp : bool
        Whether its ramp, not its daily_capacity, is the limit.
    used : int
        Emails sent or in flight.
    planned : int
        Slots of the plan.
    room : int
        Residual capacity before the plan: capacity less `used`, or fewer where min_gap_seconds is
        the limit.
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
    """The slot of a later email of the thread in an alternative.

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
        Added cost of the plan; negative if it would cost less.
    slip : int
        Days of slip of the email itself.
    follow_ups : tuple of FollowUp
        The later emails of the thread, on their best days.
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
        All that rule it out: ``"closed"``, ``"window"``, ``"in_flight"``, ``"contact"``,
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
        The emails of the plan there, the most first.
    alternative : Alternative or None
        The thread with the email on that day, without obstacles; None, too, in a thread with
        emails without a slot.
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
        Other mailboxes of the pool, and the added cost of the plan with the thread there, on its
        best days; None without capacity.
    """

    mailbox_id: int
    why: str
    others: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True)
class Move:
    """An email that gets another slot.

    Parameters
    ----------
    enrollment_id, step_id : int
        The email.
    position : int
        Of the step.
    sequence : str
        Name.
    from_day, to_day : date
        Its day now and then.
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
    """The cheapest exchange with one other email for an earlier day.

    Parameters
    ----------
    day : date
        The earlier day.
    yields : Move
        The email that yields.
    cost : float
        Added cost of the plan; negative if it would cost less.
    moves : tuple of Move
        All emails of both threads that get another slot.
    might_yield : int
        Emails of the same mailbox and day, all of which were tried.
    days_tried : tuple of date
        The full days that were tried.
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
        Its number, from 1, among the `of` planned emails of its mailbox and day.
    opens, closes : datetime
        The window, in UTC; it opens no earlier than the moment of planning.
    spread : str
        ``"even"`` where all have one window, ``"widest"`` where windows differ, ``"gap"`` where
        min_gap_seconds decides, ``"kept"`` where the time is none of these (a day that had begun
        keeps its times).
    gap_before, gap_after : int or None
        Seconds to the mailbox's email before it and after it that day; None where there is none.
    follow_ups_before, first_emails_before : int
        Emails that leave before it.
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
