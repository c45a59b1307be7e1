"""The tables of sendplan, declared once.

Every column that is not needed to make sense of a row is nullable or has a *server* default, so
that plain SQL can insert rows with only the columns it knows. Rules that a column list cannot
express (removing a step closes its gap; the mailboxes of a sequence belong to one user; a change
of what a plan depends on leaves a request) are triggers, written in the migrations.
"""

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from sendplan.planner.schema.vocabulary import (
    DEFAULT_PRIORITY,
    DEFAULT_SEND_DAYS,
    DEFAULT_TIMEZONE,
    IN_FLIGHT,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
    WaitUnit,
)

RUN_KINDS = ("plan", "recalc")
"""What makes a row of ``plan_runs``; the first is the default."""


class RequestKind(StrEnum):
    """What a row of ``change_requests`` says has changed."""

    MAILBOX = "mailbox"
    LINK = "link"
    STEP = "step"
    SEQUENCE = "sequence"
    ENROLLMENT = "enrollment"
    CONTACT = "contact"
    OVERDUE = "overdue"


metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def _instant(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _reference(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(f"{target}.id"), nullable=nullable)


def _choice(name: str, default: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _one_of(column: str, allowed: Iterable[str] | type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(among(column, allowed), name=f"{column}_known")


def among(column: str, words: Iterable[str]) -> str:
    """Return the condition, in SQL, that a column holds one of some words of the vocabulary."""
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


def _not_negative(*columns: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative") for column in columns]


sequences = Table(
    "sequences",
    metadata,
    _id(),
    Column("name", Text),
    Column("start_time", Time, nullable=False),
    Column("end_time", Time, nullable=False),
    Column("timezone", Text, nullable=False, server_default=DEFAULT_TIMEZONE),
    Column(
        "send_days",
        ARRAY(SmallInteger),
        nullable=False,
        server_default="{" + ",".join(str(day) for day in DEFAULT_SEND_DAYS) + "}",
    ),
    Column("holidays", Text),
    _choice("wait_unit", WaitUnit.CALENDAR),
    Column("priority", Numeric, nullable=False, server_default=text(f"{DEFAULT_PRIORITY:g}")),
    Column("max_new_per_day", Integer),
    _choice("status", SequenceStatus.ACTIVE),
    Column("paused_reason", Text),
    # A template; see `sendplan.io.messages.unsubscribing`.
    Column("unsubscribe_url", Text),
    CheckConstraint("end_time > start_time", name="end_after_start"),
    CheckConstraint(
        "cardinality(send_days) > 0 AND send_days <@ '{1,2,3,4,5,6,7}'::smallint[]",
        name="send_days_iso_weekdays",
    ),
    # PostgreSQL sorts NaN above infinity, so one comparison keeps both out.
    CheckConstraint("priority > 0 AND priority < 'Infinity'::numeric", name="priority_positive"),
    _one_of("wait_unit", WaitUnit),
    _one_of("status", SequenceStatus),
    *_not_negative("max_new_per_day"),
)

steps = Table(
    "steps",
    metadata,
    _id(),
    _reference("sequence_id", "sequences"),
    Column("position", Integer),
    Column("wait_days", Integer, nullable=False, server_default=text("0")),
    Column("subject", Text),
    Column("content", Text),
    _instant("removed_at"),
    # Deferred, so that a reorder may pass through equal positions between its statements.
    UniqueConstraint("sequence_id", "position", deferrable=True, initially="DEFERRED"),
    # The target of enrollments' composite key: a thread stands at a step of its own sequence.
    UniqueConstraint("id", "sequence_id"),
    CheckConstraint(
        "(position IS NULL) = (removed_at IS NOT NULL)", name="position_unless_removed"
    ),
    CheckConstraint("position >= 1", name="position_from_one"),
    *_not_negative("wait_days"),
)

contacts = Table(
    "contacts",
    metadata,
    _id(),
    Column("email", Text, nullable=False),
    Column("timezone", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _instant("suppressed_at"),
    Column("suppressed_reason", Text),
)
# Enrolling finds the contacts it already knows through it, whatever the case of the address.
Index("contacts_email_key", func.lower(contacts.c.email), unique=True)
# Planning numbers the time zones that occur, looking up one after the other.
Index(
    "contacts_timezone_idx",
    contacts.c.timezone,
    postgresql_where=contacts.c.timezone.is_not(None),
)
# Planning reads what is known of contacts: of most, nothing.
Index(
    "contacts_known_idx",
    contacts.c.id,
    postgresql_include=["timezone", "suppressed_at"],
    postgresql_where=contacts.c.timezone.is_not(None) | contacts.c.suppressed_at.is_not(None),
)

mailboxes = Table(
    "mailboxes",
    metadata,
    _id(),
    Column("user_id", BigInteger),
    Column("email", Text, nullable=False),
    Column("daily_capacity", Integer, nullable=False),
    Column("min_gap_seconds", Integer, nullable=False, server_default=text("0")),
    Column("ramp_start", Integer),
    Column("ramp_increment", Integer),
    Column("ramp_from", Date),
    Column("transport", Text),
    _choice("status", MailboxStatus.ACTIVE),
    Column("paused_reason", Text),
    UniqueConstraint("email"),
    # A reference only: a URL with its password must not end up in dumps and logs.
    CheckConstraint("transport ~ '^(env|file):.+'", name="transport_is_reference"),
    _one_of("status", MailboxStatus),
    *_not_negative("daily_capacity", "min_gap_seconds", "ramp_start", "ramp_increment"),
)

sequence_mailboxes = Table(
    "sequence_mailboxes",
    metadata,
    # A link says nothing without its two ends, so it goes with either.
    Column(
        "sequence_id", BigInteger, ForeignKey("sequences.id", ondelete="CASCADE"), primary_key=True
    ),
    Column(
        "mailbox_id", BigInteger, ForeignKey("mailboxes.id", ondelete="CASCADE"), primary_key=True
    ),
)

enrollments = Table(
    "enrollments",
    metadata,
    _id(),
    _reference("contact_id", "contacts"),
    _reference("sequence_id", "sequences"),
    Column("enrolled_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("current_step_id", BigInteger),
    _instant("completed_at"),
    _reference("mailbox_id", "mailboxes", nullable=True),
    _choice("status", EnrollmentStatus.ACTIVE),
    Column("stop_reason", Text),
    # Contact first: finding all threads of a contact is the one look-up made per email.
    UniqueConstraint("contact_id", "sequence_id"),
    ForeignKeyConstraint(["current_step_id", "sequence_id"], ["steps.id", "steps.sequence_id"]),
    _one_of("status", EnrollmentStatus),
)
# Planning one component reads the threads of its sequences, among all that there ever were.
Index("enrollments_sequence_id_status_idx", enrollments.c.sequence_id, enrollments.c.status)

plan_runs = Table(
    "plan_runs",
    metadata,
    _id(),
    _choice("kind", RUN_KINDS[0]),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _instant("finished_at"),
    _instant("as_of"),
    Column("method", Text),
    Column("status", Text),
    Column("stop_reason", Text),
    # Null is "not known": a bound or count that was never computed must not read as zero.
    Column("cost", Double),
    Column("lower_bound", Double),
    Column("emails", Integer),
    Column("unplaced", Integer),
    Column("blocked", Integer),
    Column("late_follow_ups", Integer),
    Column("slip_days", BigInteger),
    Column("moved", Integer),
    Column("rows_changed", Integer),
    Column("skipped", Integer),
    Column("horizon_end", Date),
    Column("finish_day", Date),
    Column("seconds", JSONB),
    Column("parameters", JSONB),
    # How cost and lower bound came closer: a list of objects in order.
    Column("progress", JSONB),
    # Whether processes publish parts of it; whoever does so holds the row meanwhile.
    Column("publishing", Boolean, nullable=False, server_default=text("false")),
    _one_of("kind", RUN_KINDS),
)

# Parts of a run that have been published, each written in the transaction that published it. No
# foreign key: who empties the tables of the contract need not know of this one.
plan_run_parts = Table(
    "plan_run_parts",
    metadata,
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("published_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("figures", JSONB),
)

scheduled_emails = Table(
    "scheduled_emails",
    metadata,
    _id(),
    _reference("enrollment_id", "enrollments"),
    _reference("step_id", "steps"),
    _reference("mailbox_id", "mailboxes", nullable=True),
    Column("send_day", Date),
    _instant("send_at"),
    _instant("sent_at"),
    _reference("plan_run_id", "plan_runs", nullable=True),
    Column("unplaced_reason", Text),
    _choice("status", EmailStatus.PENDING),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    Column("message_id", Text),
    Column("claim_token", Uuid),
    Column("claimed_by", Text),
    _instant("lease_until"),
    # Not to be claimed before, whatever its slot says.
    _instant("retry_at"),
    # A slot that a plan gave is whole; provisional and unplaced rows carry no plan.
    CheckConstraint(
        "plan_run_id IS NULL"
        " OR (mailbox_id IS NOT NULL AND send_day IS NOT NULL AND send_at IS NOT NULL)",
        name="planned_slot_whole",
    ),
    # Only while pending: an unplaced email may still be cancelled, or marked as sent by hand.
    CheckConstraint(
        f"unplaced_reason IS NULL OR status <> '{EmailStatus.PENDING}'"
        " OR (mailbox_id IS NULL AND send_day IS NULL AND send_at IS NULL)",
        name="unplaced_without_slot",
    ),
    CheckConstraint(
        f"status <> '{EmailStatus.SENT}' OR sent_at IS NOT NULL", name="sent_has_sent_at"
    ),
    _one_of("status", EmailStatus),
    *_not_negative("attempts"),
)
# Holds "no contact gets a step twice"; dispatching finds an email's predecessor through it.
Index(
    "scheduled_emails_enrollment_id_step_id_key",
    scheduled_emails.c.enrollment_id,
    scheduled_emails.c.step_id,
    unique=True,
    postgresql_where=text(f"status <> '{EmailStatus.CANCELLED}'"),
)
# Claiming polls "due by now, earliest first". No other index on pending rows: each one slows every
# plan written.
Index(
    "scheduled_emails_due_idx",
    scheduled_emails.c.send_at,
    postgresql_where=text(f"status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL"),
)
# Claiming counts what is used up of a mailbox-day.
Index(
    "scheduled_emails_used_idx",
    scheduled_emails.c.mailbox_id,
    scheduled_emails.c.send_day,
    postgresql_where=text(f"mailbox_id IS NOT NULL AND {among('status', OCCUPYING)}"),
)
# Recovery looks for leases that have run out.
Index(
    "scheduled_emails_lease_idx",
    scheduled_emails.c.lease_until,
    postgresql_where=text(among("status", IN_FLIGHT)),
)
# People look for what is uncertain, among all that was ever sent.
Index(
    "scheduled_emails_uncertain_idx",
    scheduled_emails.c.id,
    postgresql_where=text(f"status = '{EmailStatus.UNCERTAIN}'"),
)

# Whose messages these are: part of every Message-ID. One row, made by the migration.
installation = Table(
    "installation",
    metadata,
    Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("only_one", Boolean, primary_key=True, server_default=text("true")),
    CheckConstraint("only_one", name="only_one"),
)

# Written by triggers, for each change that a plan depends on. No foreign keys, as what a request
# names may be gone by now; and no key but its own, so that nobody waits for another's request.
change_requests = Table(
    "change_requests",
    metadata,
    _id(),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("kind", Text, nullable=False),
    Column("sequence_id", BigInteger),
    Column("mailbox_id", BigInteger),
    _one_of("kind", RequestKind),
)
