"""The status, from the tables."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, text

from sendplan.io.database.conditions import among, in_calendar
from sendplan.io.database.engine import translated_errors
from sendplan.io.database.planner_lock_key import lock_is_held
from sendplan.io.documents.wording import called
from sendplan.io.snapshot.requests import pending_requests
from sendplan.planner.schema.vocabulary import (
    GRACE_SECONDS,
    IN_FLIGHT,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
)

LATE_SECONDS = 60
"""How long after its slot an email is late; after `GRACE_SECONDS` it is overdue."""


class RunState(StrEnum):
    """State of a run."""

    FINISHED = "finished"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    """Interrupted, killed or failed; what it had published stays."""


USABLE_DAY = in_calendar("email.send_day", "date")
USABLE_TIME = in_calendar("email.send_at", "instant")
"""Conditions that leave out values set aside, which the driver cannot read."""

PLANNED = f"email.status = '{EmailStatus.PENDING}' AND email.plan_run_id IS NOT NULL"

EMAILS = "SELECT status, count(*) AS emails FROM scheduled_emails GROUP BY status ORDER BY status"

LAST_RUN = f"""
    SELECT id, kind, started_at, as_of, finished_at,
           CASE WHEN finished_at IS NOT NULL THEN '{RunState.FINISHED}'
                WHEN publishing AND {lock_is_held()} THEN '{RunState.RUNNING}'
                ELSE '{RunState.UNFINISHED}' END AS state,
           method, status, cost, lower_bound, emails, unplaced, blocked, late_follow_ups,
           finish_day, moved, rows_changed, parameters -> 'parts' AS parts,
           (SELECT count(*) FROM plan_run_parts WHERE run_id = plan_runs.id) AS parts_published
    FROM plan_runs ORDER BY id DESC LIMIT 1
"""

SEQUENCES = f"""
    SELECT sequence.id, sequence.name, sequence.status, sequence.paused_reason,
           count(DISTINCT enrollment.id) FILTER (
               WHERE enrollment.status = '{EnrollmentStatus.ACTIVE}'
           ) AS contacts,
           count(email.id) FILTER (WHERE email.status = '{EmailStatus.SENT}') AS sent,
           count(email.id) FILTER (WHERE {PLANNED}) AS planned,
           count(email.id) FILTER (
               WHERE email.status = '{EmailStatus.PENDING}' AND email.plan_run_id IS NULL
           ) AS without_slot,
           max(email.send_day) FILTER (WHERE {PLANNED} AND {USABLE_DAY}) AS finish_day
    FROM sequences AS sequence
    LEFT JOIN enrollments AS enrollment ON enrollment.sequence_id = sequence.id
    LEFT JOIN scheduled_emails AS email ON email.enrollment_id = enrollment.id
    GROUP BY sequence.id ORDER BY sequence.id
"""

MAILBOXES = f"""
    SELECT mailbox.id, mailbox.email, mailbox.status, mailbox.paused_reason,
           mailbox.daily_capacity,
           count(email.id) FILTER (
               WHERE email.status = '{EmailStatus.SENT}' AND email.send_day = :today
           ) AS sent_today,
           count(email.id) FILTER (
               WHERE {among("email.status", OCCUPYING)} AND email.send_day = :today
           ) AS used_today,
           count(email.id) FILTER (WHERE {among("email.status", IN_FLIGHT)}) AS in_flight,
           count(email.id) FILTER (WHERE {PLANNED} AND email.send_day = :today) AS planned_today,
           count(email.id) FILTER (WHERE {PLANNED}) AS planned,
           max(email.send_day) FILTER (WHERE {PLANNED} AND {USABLE_DAY}) AS finish_day
    FROM mailboxes AS mailbox
    LEFT JOIN scheduled_emails AS email ON email.mailbox_id = mailbox.id
    GROUP BY mailbox.id ORDER BY mailbox.id
"""

UNPLACED = f"""
    SELECT unplaced_reason AS reason, count(*) AS emails FROM scheduled_emails
    WHERE status = '{EmailStatus.PENDING}' AND unplaced_reason IS NOT NULL
    GROUP BY unplaced_reason ORDER BY emails DESC, reason
"""

DUE = f"""
    SELECT count(*) FILTER (WHERE send_at <= :now) AS due,
           count(*) FILTER (WHERE send_at < :late_since) AS late,
           count(*) FILTER (WHERE send_at < :overdue_since) AS overdue,
           min(send_at) FILTER (WHERE send_at > :now AND {USABLE_TIME}) AS next_at
    FROM scheduled_emails AS email WHERE {PLANNED}
"""


@dataclass(frozen=True)
class Status:
    """The status at one moment.

    Parameters
    ----------
    now : aware datetime
        The moment.
    emails : dict of int
        Rows by status.
    due, late, overdue : int
        Planned emails whose slot has come; those of them more than a minute late, and those past
        the grace, which are planned again.
    in_flight : int
        Emails that dispatchers have claimed or are sending.
    uncertain : int
        Emails that may have left or not, see `sendplan.io.operations.uncertain`.
    sent_today : int
        Emails sent whose send_day is today.
    next_at : aware datetime or None
        Slot of the next email.
    last_run : dict or None
        The newest row of ``plan_runs``, with its ``state``, a word of `RunState`, and for one
        that is planned part by part the number of parts and of those published. Only finished
        runs and recalculations have figures.
    queued_changes : int
        Changes that are not yet in the plan.
    sequences, mailboxes, unplaced : list of dict
        Rows of the tables of `sendplan status`.
    """

    now: dt.datetime
    emails: dict[str, int]
    due: int
    late: int
    overdue: int
    in_flight: int
    uncertain: int
    sent_today: int
    next_at: dt.datetime | None
    last_run: dict[str, Any] | None
    queued_changes: int
    sequences: list[dict[str, Any]]
    mailboxes: list[dict[str, Any]]
    unplaced: list[dict[str, Any]]

    @property
    def paused(self) -> list[tuple[str, str | None]]:
        """Names of what is paused, with the reason if sendplan paused it."""
        kinds = (
            ("sequence", "name", SequenceStatus.PAUSED, self.sequences),
            ("mailbox", "email", MailboxStatus.PAUSED, self.mailboxes),
        )
        return [
            (called(row[name], noun, row["id"]), row["paused_reason"])
            for noun, name, paused, rows in kinds
            for row in rows
            if row["status"] == paused
        ]


def status(engine: Engine, now: dt.datetime) -> Status:
    """Read the status.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment; "today" is its date in UTC.

    Returns
    -------
    Status
        From one snapshot.
    """
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    values = {
        "now": now,
        "late_since": now - dt.timedelta(seconds=LATE_SECONDS),
        "overdue_since": now - dt.timedelta(seconds=GRACE_SECONDS),
        "today": now.astimezone(dt.UTC).date(),
    }
    with (
        translated_errors("reading the status"),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):

        def rows(query: str) -> list[dict[str, Any]]:
            wanted = {name: value for name, value in values.items() if f":{name}" in query}
            return [dict(row) for row in connection.execute(text(query), wanted).mappings()]

        due = rows(DUE)[0]
        runs = rows(LAST_RUN)
        emails = {row["status"]: row["emails"] for row in rows(EMAILS)}
        mailboxes = rows(MAILBOXES)
        return Status(
            now=now,
            emails=emails,
            **due,
            in_flight=sum(emails.get(word, 0) for word in IN_FLIGHT),
            uncertain=emails.get(EmailStatus.UNCERTAIN, 0),
            sent_today=sum(row["sent_today"] for row in mailboxes),
            last_run=runs[0] if runs else None,
            queued_changes=pending_requests(connection),
            sequences=rows(SEQUENCES),
            mailboxes=mailboxes,
            unplaced=rows(UNPLACED),
        )
