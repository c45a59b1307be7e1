"""The words of the field: statuses, reasons and defaults, each declared once."""

from enum import StrEnum


class SequenceStatus(StrEnum):
    """Whether a sequence sends."""

    ACTIVE = "active"
    PAUSED = "paused"


class EnrollmentStatus(StrEnum):
    """Where an enrollment stands."""

    ACTIVE = "active"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


class MailboxStatus(StrEnum):
    """Whether a mailbox may send."""

    ACTIVE = "active"
    PAUSED = "paused"
    REMOVED = "removed"


class EmailStatus(StrEnum):
    """The states of a row of ``scheduled_emails``."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    CANCELLED = "cancelled"


IN_FLIGHT = (EmailStatus.CLAIMED, EmailStatus.SENDING)
"""Emails that a dispatcher holds: fixed, and the chain goes on behind them."""

OCCUPYING = (EmailStatus.SENT, EmailStatus.CLAIMED, EmailStatus.SENDING, EmailStatus.UNCERTAIN)
"""Emails that use up capacity of their mailbox-day and their contact's day."""

HOLDING_UP = (*IN_FLIGHT, EmailStatus.UNCERTAIN, EmailStatus.FAILED)
"""Emails behind which nothing of their thread leaves, and by which it is not completed."""


class WaitUnit(StrEnum):
    """What wait_days counts."""

    CALENDAR = "calendar"
    SENDING = "sending"


class Reason(StrEnum):
    """Why an email has no slot; those of `BLOCKED` block it, whatever the plan."""

    MAILBOX_PAUSED = "mailbox_paused"
    NO_ACTIVE_MAILBOX = "no_active_mailbox"
    BEHIND_UNCERTAIN = "behind_uncertain"
    NO_NEW_CONTACTS = "no_new_contacts"
    NO_CAPACITY = "no_capacity"
    BEYOND_HORIZON = "beyond_horizon"
    SET_ASIDE = "set_aside"
    NO_ROOM = "no_room"
    BEHIND_UNPLACED = "behind_unplaced"


BLOCKED = (
    Reason.MAILBOX_PAUSED,
    Reason.NO_ACTIVE_MAILBOX,
    Reason.BEHIND_UNCERTAIN,
    Reason.NO_NEW_CONTACTS,
    Reason.NO_CAPACITY,
    Reason.BEYOND_HORIZON,
    Reason.SET_ASIDE,
)
"""Reasons that no plan can mend: outside cost, bound and counts of delay
(hard rule Nothing left out)."""


class StopReason(StrEnum):
    """Why a contact is sent no more: what it or its server said."""

    REPLIED = "replied"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"


SUPPRESSING = (StopReason.BOUNCED, StopReason.UNSUBSCRIBED)
"""Reasons that hold for every sequence, those of later years included."""


class PlanStatus(StrEnum):
    """What is known of a plan's cost."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    EMPTY = "empty"


class Termination(StrEnum):
    """Why a method looked for nothing better."""

    OPTIMAL = "optimal"
    GAP = "gap"
    EXHAUSTED = "exhausted"
    TIME_LIMIT = "time_limit"
    WALL_CLOCK = "wall_clock"
    INTERRUPTED = "interrupted"


DEFAULT_TIMEZONE = "UTC"
DEFAULT_SEND_DAYS = (1, 2, 3, 4, 5)
DEFAULT_PRIORITY = 1.0
DEFAULT_SLIP_WEIGHT = 20.0
DEFAULT_TIME_LIMIT = 30.0
DEFAULT_GAP = 0.001
DEFAULT_WORKERS = 2
DEFAULT_CHANGE_WEIGHT = 1.0
"""What a recalculation lets a move cost, in days of lateness (the objective)."""
DEFAULT_RECALC_LIMIT = 1.0
"""Seconds of work that a recalculation may spend on a search, by component that it reaches."""
GRACE_SECONDS = 15 * 60
"""How long after its slot an email may still leave; later it is overdue (life cycle)."""
LEAD_SECONDS = 60
"""How long before its slot an email is left to the dispatcher."""
DAY_SECONDS = 86_400
MAX_HORIZON_DAYS = 366
MAX_WAIT_DAYS = 3_650
MAX_STEPS = 62
"""Steps a sequence may hold: what a contact has received is kept as bits of one integer."""
