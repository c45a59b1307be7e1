"""The tables of sendplan.

Columns that planner, campaign files or commands read, too, are declared in
`sendplan.planner.schema.columns`; those of the other tables here.

Every column that is not needed to make sense of a row is nullable or has a *server* default, so
that plain SQL can insert rows with few columns. Rules beyond constraints (removing a step closes
its gap; the mailboxes of a sequence belong to one user; a change of what a plan depends on leaves a
request) are triggers, written in the migrations.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

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

from sendplan.io.database.conditions import FIRST_DAY, WINDOW, among, in_calendar, rules
from sendplan.planner.schema.column import NOW, Kind
from sendplan.planner.schema.column import Column as Declared
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.vocabulary import IN_FLIGHT, OCCUPYING, EmailStatus

RUN_KINDS = ("plan", "recalc")
"""Kinds of ``plan_runs``; the first is the default."""


class RequestKind(StrEnum):
    """Kinds of ``change_requests``."""

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


_TYPES: dict[Kind, Any] = {
    "key": BigInteger,
    "integer": Integer,
    "number": Numeric,
    "text": Text,
    "time": Time,
    "date": Date,
    "instant": DateTime(timezone=True),
    "weekdays": ARRAY(SmallInteger),
    "uuid": Uuid,
    "json": JSONB,
}


def declared(table: str) -> list[Column[Any] | CheckConstraint]:
    """Return the declared columns of a table, with their checks."""
    stored = {name: column for name, column in COLUMNS[table].items() if column.stored}
    columns = [_column(name, column) for name, column in stored.items()]
    checks = [check for name, column in stored.items() for check in _checks(name, column)]
    return [*columns, *checks]


def _column(name: str, column: Declared) -> Column[Any]:
    if name == "id":
        return _id()
    keys = [ForeignKey(f"{column.references}.id")] if column.references else []
    default = None if column.default is None else _default(column)
    kind = _TYPES[column.kind]
    return Column(name, kind, *keys, nullable=column.stored_null, server_default=default)


def _default(column: Declared) -> Any:
    match column.kind:
        case "text":
            return str(column.default)
        case "weekdays":
            return "{" + ",".join(map(str, column.default)) + "}"
        case "instant" if column.default == NOW:
            return func.now()
        case "json":
            return text(f"'{column.default}'::jsonb")
        case _:
            return text(f"{column.default:g}")


def _checks(name: str, column: Declared) -> Iterator[CheckConstraint]:
    for rule, condition in rules(name, column):
        yield CheckConstraint(condition, name=f"{name}_{rule}")
    if column.form == "zone":
        # A zone that PostgreSQL does not know is an error of its own, whatever is compared.
        known = f"TIMESTAMPTZ '{FIRST_DAY} 00:00:00+00' AT TIME ZONE {name} > '-infinity'"
        yield CheckConstraint(known, name=f"{name}_known")
    if column.form == "secret":
        # A reference only, since a URL with its password must not get into dumps and logs.
        yield CheckConstraint(f"{name} ~ '^(env|file):.+'", name=f"{name}_is_reference")


def _id() -> Column[Any]:
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def _instant(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True))


def _dated(**kinds: Kind) -> list[CheckConstraint]:
    """Return the checks of dates and points in time that only operations need."""
    return [
        CheckConstraint(in_calendar(name, kind), name=f"{name}_in_range")
        for name, kind in kinds.items()
    ]


def _now(name: str) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _one_of(column: str, allowed: Iterable[str] | type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(among(column, allowed), name=f"{column}_known")


sequences = Table(
    "sequences",
    metadata,
    *declared("sequences"),
    CheckConstraint("end_time > start_time", name="end_after_start"),
    # Slots are whole seconds.
    CheckConstraint(WINDOW, name="window_of_seconds"),
)

steps = Table(
    "steps",
    metadata,
    *declared("steps"),
    # Deferred, so that a reorder may pass through equal positions between its statements.
    UniqueConstraint("sequence_id", "position", deferrable=True, initially="DEFERRED"),
    # The target of enrollments' composite key: a thread stands at a step of its own sequence.
    UniqueConstraint("id", "sequence_id"),
    CheckConstraint(
        "(position IS NULL) = (removed_at IS NOT NULL)", name="position_unless_removed"
    ),
)

contacts = Table("contacts", metadata, *declared("contacts"))
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

mailboxes = Table("mailboxes", metadata, *declared("mailboxes"), UniqueConstraint("email"))

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
    *declared("enrollments"),
    # Contact first: finding all threads of a contact is the one look-up made per email.
    UniqueConstraint("contact_id", "sequence_id"),
    ForeignKeyConstraint(["current_step_id", "sequence_id"], ["steps.id", "steps.sequence_id"]),
)
# Planning one component reads the threads of its sequences, among all that there ever were.
Index("enrollments_sequence_id_status_idx", enrollments.c.sequence_id, enrollments.c.status)

plan_runs = Table(
    "plan_runs",
    metadata,
    _id(),
    Column("kind", Text, nullable=False, server_default=RUN_KINDS[0]),
    _now("started_at"),
    _instant("finished_at"),
    _instant("as_of"),
    Column("method", Text),
    Column("status", Text),
    Column("stop_reason", Text),
    # Null is unknown: a bound or count that was not computed must not read as zero.
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
    # Cost and lower bound over time: a list of objects in order.
    Column("progress", JSONB),
    # Whether processes publish parts of it; each locks the row meanwhile.
    Column("publishing", Boolean, nullable=False, server_default=text("false")),
    _one_of("kind", RUN_KINDS),
    *_dated(
        started_at="instant",
        finished_at="instant",
        as_of="instant",
        horizon_end="date",
        finish_day="date",
    ),
)

# Published parts of a run, each written in the transaction that published it. No foreign key, so
# that the tables of the contract can be emptied without this one.
plan_run_parts = Table(
    "plan_run_parts",
    metadata,
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    _now("published_at"),
    Column("figures", JSONB),
    *_dated(published_at="instant"),
)

scheduled_emails = Table(
    "scheduled_emails",
    metadata,
    *declared("scheduled_emails"),
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
)
# No contact gets a step twice; dispatching finds an email's predecessor through it.
Index(
    "scheduled_emails_enrollment_id_step_id_key",
    scheduled_emails.c.enrollment_id,
    scheduled_emails.c.step_id,
    unique=True,
    postgresql_where=text(f"status <> '{EmailStatus.CANCELLED}'"),
)
# Claiming polls due emails, the earliest first. No other index on pending rows, since each one
# slows the writing of plans.
Index(
    "scheduled_emails_due_idx",
    scheduled_emails.c.send_at,
    postgresql_where=text(f"status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL"),
)
# Claiming counts the emails of a mailbox-day.
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
# `sendplan uncertain` finds its emails among all that were ever sent.
Index(
    "scheduled_emails_uncertain_idx",
    scheduled_emails.c.id,
    postgresql_where=text(f"status = '{EmailStatus.UNCERTAIN}'"),
)

# Part of every Message-ID. One row, made by the migration.
installation = Table(
    "installation",
    metadata,
    Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("only_one", Boolean, primary_key=True, server_default=text("true")),
    CheckConstraint("only_one", name="only_one"),
)

# Written by triggers, for each change that a plan depends on. No foreign keys, as the rows that a
# request names may be gone; and no other key, so that no transaction waits for another's request.
change_requests = Table(
    "change_requests",
    metadata,
    _id(),
    _now("requested_at"),
    Column("kind", Text, nullable=False),
    Column("sequence_id", BigInteger),
    Column("mailbox_id", BigInteger),
    _one_of("kind", RequestKind),
    *_dated(requested_at="instant"),
)
