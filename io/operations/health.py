"""The health of an installation, for monitors: what is wrong, and what to do."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from sendplan.io.database.conditions import among
from sendplan.io.database.engine import translated_errors
from sendplan.io.documents.texts import shown
from sendplan.io.snapshot.set_aside import find_unusable
from sendplan.planner.schema.vocabulary import (
    GRACE_SECONDS,
    HOLDING_UP,
    IN_FLIGHT,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
)
from sendplan.planner.schema.wording import counted

COUNTED = 1_000
"""A finding counts at most this many: a monitor must not wait for the exact number."""

NAMED = 10
"""Paused mailboxes and sequences that are named."""

LEASE_SLACK = 60
"""Seconds that dispatchers have to recover an expired lease."""

LATE = f"""
    SELECT count(*) AS number, min(send_at) AS earliest FROM (
        SELECT email.send_at
        FROM scheduled_emails AS email
        JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
        JOIN contacts AS contact ON contact.id = enrollment.contact_id
        JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
        JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
        WHERE email.status = '{EmailStatus.PENDING}' AND email.plan_run_id IS NOT NULL
          AND email.send_at < :since AND coalesce(email.retry_at < :since, true)
          AND enrollment.status = '{EnrollmentStatus.ACTIVE}' AND contact.suppressed_at IS NULL
          AND sequence.status = '{SequenceStatus.ACTIVE}'
          AND mailbox.status = '{MailboxStatus.ACTIVE}'
          AND NOT EXISTS (
              SELECT FROM scheduled_emails AS other
              WHERE other.enrollment_id = enrollment.id AND {among("other.status", HOLDING_UP)}
          )
        ORDER BY email.send_at LIMIT {COUNTED + 1}
    ) AS late
"""

# By the database's clock, as leases are. One without an end can only come from outside.
LEASES = f"""
    SELECT count(*) AS number FROM (
        SELECT FROM scheduled_emails
        WHERE {among("status", IN_FLIGHT)}
          AND (lease_until IS NULL OR lease_until < now() - interval '{LEASE_SLACK} seconds')
        LIMIT {COUNTED + 1}
    ) AS expired
"""

UNCERTAIN = f"""
    SELECT count(*) AS number FROM (
        SELECT FROM scheduled_emails WHERE status = '{EmailStatus.UNCERTAIN}'
        LIMIT {COUNTED + 1}
    ) AS uncertain
"""

PLANNED = f"""
    SELECT (SELECT max(finished_at) FROM plan_runs WHERE kind = 'plan') AS finished_at,
           EXISTS (
               SELECT FROM enrollments AS enrollment
               JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
               WHERE enrollment.status = '{EnrollmentStatus.ACTIVE}'
                 AND sequence.status = '{SequenceStatus.ACTIVE}'
           ) AS pending
"""

QUEUED = f"""
    SELECT count(*) AS number, min(requested_at) AS earliest FROM (
        SELECT requested_at FROM change_requests
        WHERE requested_at < :since ORDER BY id LIMIT {COUNTED + 1}
    ) AS waiting
"""

PAUSED = f"""
    SELECT 'mailbox' AS noun, email AS name, id, paused_reason AS reason FROM mailboxes
    WHERE status = '{MailboxStatus.PAUSED}' AND paused_reason IS NOT NULL
    UNION ALL
    SELECT 'sequence', name, id, paused_reason FROM sequences
    WHERE status = '{SequenceStatus.PAUSED}' AND paused_reason IS NOT NULL
    ORDER BY noun, id
"""


@dataclass(frozen=True)
class Limits:
    """Limits of a healthy state.

    Parameters
    ----------
    late : timedelta
        Lateness of an email that nothing blocks.
    plan_age : timedelta
        Age of the last nightly plan while emails are pending.
    queued : timedelta
        Wait of a change in the queue.
    uncertain : bool
        Whether uncertain emails are healthy; nothing else waits for them.
    """

    late: dt.timedelta = dt.timedelta(seconds=GRACE_SECONDS)
    plan_age: dt.timedelta = dt.timedelta(hours=36)
    queued: dt.timedelta = dt.timedelta(minutes=15)
    uncertain: bool = True


@dataclass(frozen=True)
class Finding:
    """One thing that needs attention.

    Parameters
    ----------
    kind : str
        One word: late, leases, uncertain, plan, queue, paused or set_aside.
    fails : bool
        Whether it is an error, not a warning.
    what, remedy : str
        What is wrong, and what to do.
    """

    kind: str
    fails: bool
    what: str
    remedy: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        text = self.what if self.fails else f"warning: {self.what}"
        return f"{text[:1].upper()}{text[1:]} – {self.remedy}"


@dataclass(frozen=True)
class Health:
    """All findings of one moment.

    Parameters
    ----------
    now : aware datetime
    findings : tuple of Finding
    """

    now: dt.datetime
    findings: tuple[Finding, ...]

    @property
    def fine(self) -> bool:
        """Whether there are only warnings, if any."""
        return not any(finding.fails for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``health --json`` prints."""
        return {"fine": self.fine, "now": self.now, "findings": self.findings}


def health(engine: Engine, now: dt.datetime, limits: Limits | None = None) -> Health:
    """Check that emails leave, the plan is fresh and changes are worked off.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment.
    limits : Limits, optional

    Returns
    -------
    Health

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    limits = limits or Limits()
    with translated_errors("checking the health"), engine.connect() as connection:
        found = [each for look in LOOKS for each in look(connection, now, limits)]
    return Health(now, tuple(found))


def _late(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    row = _row(connection, LATE, since=now - limits.late)
    if row["number"]:
        what = f"{_are(row['number'], 'email')} late, by up to {_age(now, row['earliest'])}"
        remedy = (
            "run `sendplan dispatch`, and `sendplan recalc --watch`, which re-plans emails that"
            " missed their slot"
        )
        yield Finding("late", True, what, remedy)


def _leases(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    if number := _row(connection, LEASES)["number"]:
        what = f"{_are(number, 'email')} claimed by dispatchers that no longer answer"
        yield Finding("leases", True, what, "run `sendplan dispatch`, which recovers them")


def _uncertain(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    if number := _row(connection, UNCERTAIN)["number"]:
        what = f"{_are(number, 'email')} uncertain: sent or not is unknown"
        remedy = "`sendplan uncertain` lists them and resolves them"
        yield Finding("uncertain", not limits.uncertain, what, remedy)


def _plan(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    row = _row(connection, PLANNED)
    last = row["finished_at"]
    if row["pending"] and (last is None or last < now - limits.plan_age):
        ago = "there is no plan" if last is None else f"the last plan is {_age(now, last)} old"
        what = f"{ago}, and contacts wait for emails"
        yield Finding("plan", True, what, "run `sendplan plan` every night")


def _queue(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    row = _row(connection, QUEUED, since=now - limits.queued)
    if row["number"]:
        what = f"{_are(row['number'], 'change')} queued, for up to {_age(now, row['earliest'])}"
        remedy = "run `sendplan recalc`, or keep `sendplan recalc --watch` running"
        yield Finding("queue", True, what, remedy)


def _paused(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    rows = connection.execute(text(PAUSED)).all()
    for row in rows[:NAMED]:
        name = shown(row.name) if row.name else str(row.id)
        what = f"{row.noun} {name} was paused: {row.reason}"
        remedy = f"solve the problem, then run `sendplan {row.noun} resume {row.id}`"
        yield Finding("paused", True, what, remedy)
    if len(rows) > NAMED:
        what = f"{len(rows) - NAMED:,} more paused (mailboxes and sequences)"
        yield Finding("paused", True, what, "`sendplan status` lists them")


def _set_aside(connection: Connection, now: dt.datetime, limits: Limits) -> Iterator[Finding]:
    values = find_unusable(connection).values
    for value in values[:NAMED]:
        where = f"{value.table} {value.id}, {value.column}"
        what = f"value set aside: {where}: {shown(value.value or 'null')}"
        yield Finding("set_aside", True, what, value.remedy)
    if len(values) > NAMED:
        what = f"{counted(len(values) - NAMED, 'more value')} set aside"
        yield Finding("set_aside", True, what, "`sendplan check --json` lists them")


LOOKS: tuple[Callable[[Connection, dt.datetime, Limits], Iterator[Finding]], ...] = (
    _late,
    _leases,
    _paused,
    _plan,
    _queue,
    _set_aside,
    _uncertain,
)


def _row(connection: Connection, query: str, **values: object) -> dict[str, Any]:
    return dict(connection.execute(text(query), values).mappings().one())


def _are(number: int, noun: str) -> str:
    """Begin a sentence about some rows."""
    if number > COUNTED:
        return f"more than {counted(COUNTED, noun)} are"
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def _age(now: dt.datetime, since: dt.datetime) -> str:
    minutes = max(int((now - since).total_seconds()) // 60, 1)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
