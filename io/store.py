"""Publishing a plan: what differs from the snapshot is written in one short transaction.

The difference is found in memory. New rows and changed ones are staged with binary COPY; then one
transaction inserts and updates them, leaving alone what somebody has changed since the snapshot.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.binary import copy_in
from sendplan.io.database import translated_errors
from sendplan.io.difference import KEY_KINDS, OLD_KINDS, SLOT_KINDS, difference
from sendplan.io.errors import SendplanError
from sendplan.io.load import REASONS, Snapshot, read_settings
from sendplan.io.runs import close_run, open_run
from sendplan.planner.plan import Plan
from sendplan.planner.problem import Problem
from sendplan.planner.vocabulary import EmailStatus, EnrollmentStatus

PLANNER_LOCK = 5_376_002
"""Key of the advisory lock that lets one planner publish at a time."""

MANY_ROWS = 20_000
"""Changed rows from which on the table is vacuumed, which keeps claims and the next run fast."""


CROSSED = ("23505", "40001", "40P01")
"""A row that somebody else was just making, and the two ways to be in each other's way."""


class PlannerBusyError(SendplanError):
    """Another planner is at work on this database."""

    exit_code = 0


class OvertakenError(SendplanError):
    """What changed since the snapshot makes the plan unsound; a new snapshot is needed."""


@dataclass(frozen=True)
class Published:
    """What publishing did.

    Parameters
    ----------
    run_id : int
        The row of ``plan_runs``.
    rows_changed : int
        Rows inserted, or with any planned column changed.
    skipped : int
        Rows left alone because they, or their enrollment, had changed since the snapshot.
    """

    run_id: int
    rows_changed: int
    skipped: int


@contextmanager
def planner_lock(engine: Engine) -> Iterator[None]:
    """Hold the right to publish, from before the snapshot until after the commit.

    Raises
    ------
    PlannerBusyError
        If another planner holds it.
    """
    with translated_errors("taking the planner's lock"), engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        mine = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": PLANNER_LOCK})
        if not mine:
            raise PlannerBusyError(
                "Another planner is at work on this database; nothing was planned or changed."
            )
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": PLANNER_LOCK})


STAGED = {
    "staged_inserts": KEY_KINDS | SLOT_KINDS,
    "staged_changes": {"id": "bigint"}
    | KEY_KINDS
    | SLOT_KINDS
    | OLD_KINDS
    | {"cancelled": "smallint"},
}

# A row of an enrollment that has changed since the snapshot is left alone, and so is the rest of
# its chain: a later step must not move where an earlier one stayed.
FIND_OVERTAKEN = f"""
    CREATE TEMPORARY TABLE overtaken ON COMMIT DROP AS
    SELECT staged.enrollment_id FROM staged_changes AS staged
    LEFT JOIN scheduled_emails AS email
        ON email.id = staged.id AND email.status = '{EmailStatus.PENDING}'
        AND email.mailbox_id IS NOT DISTINCT FROM staged.old_mailbox_id
        AND email.send_day IS NOT DISTINCT FROM staged.old_send_day
        AND email.send_at IS NOT DISTINCT FROM staged.old_send_at
        AND email.plan_run_id IS NOT DISTINCT FROM staged.old_plan_run_id
    WHERE email.id IS NULL
    UNION
    SELECT staged.enrollment_id FROM staged_inserts AS staged
    JOIN scheduled_emails AS email USING (enrollment_id, step_id)
    WHERE email.status <> '{EmailStatus.CANCELLED}'
    UNION
    SELECT staged.enrollment_id
    FROM (SELECT enrollment_id FROM staged_inserts
          UNION SELECT enrollment_id FROM staged_changes WHERE mailbox_id IS NOT NULL) AS staged
    JOIN enrollments AS enrollment ON enrollment.id = staged.enrollment_id
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    WHERE enrollment.status <> '{EnrollmentStatus.ACTIVE}' OR contact.suppressed_at IS NOT NULL
"""

# In the order of ids, as every writer does it, so that two of them cannot block each other.
LOCK_ROWS = """
    SELECT count(*) FROM (
        SELECT email.id FROM scheduled_emails AS email
        JOIN staged_changes AS staged USING (id)
        ORDER BY email.id FOR UPDATE OF email
    ) AS locked
"""

INSERT = """
    INSERT INTO scheduled_emails
        (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id, unplaced_reason)
    SELECT enrollment_id, step_id, mailbox_id, send_day, send_at,
           CASE WHEN mailbox_id IS NOT NULL THEN :run_id END,
           (CAST(:reasons AS text[]))[reason]
    FROM staged_inserts {without_overtaken}
"""

UPDATE = f"""
    UPDATE scheduled_emails AS email
    SET mailbox_id = CASE cancelled WHEN 1 THEN email.mailbox_id ELSE staged.mailbox_id END,
        send_day = CASE cancelled WHEN 1 THEN email.send_day ELSE staged.send_day END,
        send_at = CASE cancelled WHEN 1 THEN email.send_at ELSE staged.send_at END,
        plan_run_id = CASE WHEN staged.mailbox_id IS NOT NULL THEN :run_id END,
        unplaced_reason = (CAST(:reasons AS text[]))[reason],
        status = CASE cancelled WHEN 1 THEN '{EmailStatus.CANCELLED}' ELSE email.status END
    FROM staged_changes AS staged
    WHERE staged.id = email.id {{without_overtaken}}
"""

# What was left alone may now share a mailbox-day or a contact's day with what has moved there.
STANDS_IN_THE_WAY = f"""
    WITH kept AS (
        SELECT email.mailbox_id, email.send_day, enrollment.contact_id
        FROM overtaken
        JOIN scheduled_emails AS email USING (enrollment_id)
        JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
        WHERE email.status NOT IN ('{EmailStatus.CANCELLED}', '{EmailStatus.FAILED}')
          AND email.mailbox_id IS NOT NULL
    )
    SELECT EXISTS (
        SELECT FROM (SELECT DISTINCT mailbox_id, send_day FROM kept) AS kept
        JOIN (SELECT enrollment_id, mailbox_id, send_day FROM staged_changes
              UNION ALL SELECT enrollment_id, mailbox_id, send_day FROM staged_inserts) AS staged
            ON staged.mailbox_id = kept.mailbox_id
            AND staged.send_day = kept.send_day
        WHERE staged.enrollment_id NOT IN (SELECT enrollment_id FROM overtaken)
    ) OR EXISTS (
        SELECT FROM kept
        JOIN enrollments AS other USING (contact_id)
        JOIN (SELECT enrollment_id, send_day FROM staged_changes
              UNION ALL SELECT enrollment_id, send_day FROM staged_inserts) AS staged
            ON staged.enrollment_id = other.id
            AND staged.send_day = kept.send_day
        WHERE other.id NOT IN (SELECT enrollment_id FROM overtaken)
    )
"""

WITHOUT_OVERTAKEN = "{} staged.enrollment_id NOT IN (SELECT enrollment_id FROM overtaken)"
SETTINGS_TABLES = "sequences, steps, mailboxes, sequence_mailboxes"


def store(
    engine: Engine,
    snapshot: Snapshot,
    problem: Problem,
    plan: Plan,
    *,
    started_at: dt.datetime,
    parameters: Mapping[str, Any],
    seconds: Mapping[str, float],
    progress: Sequence[Mapping[str, Any]] = (),
) -> Published:
    """Publish a plan: all of it, or nothing.

    Parameters
    ----------
    engine : Engine
        The database.
    snapshot : Snapshot
        What the plan was made from.
    problem : Problem
        The problem that the snapshot posed.
    plan : Plan
        The plan.
    started_at : aware datetime
        When the run began, by the clock.
    parameters, seconds : mapping
        For ``plan_runs``.
    progress : sequence of mappings
        For ``plan_runs``, too.

    Returns
    -------
    Published
        The run and what it changed.

    Raises
    ------
    OvertakenError
        If settings have changed since the snapshot, or a row left alone stands in the way of one
        that moved; nothing was written.
    DatabaseError
        If the database refused a statement; nothing was written.
    """
    inserted, changed = difference(problem, plan)
    with translated_errors("storing the plan"), engine.connect() as connection:
        with connection.begin():
            for name, frame in (("staged_inserts", inserted), ("staged_changes", changed)):
                _stage(connection, name, frame)
            connection.execute(text("ANALYZE staged_changes, staged_inserts"))
        with connection.begin():
            try:
                run_id = open_run(connection, plan, started_at, parameters, progress)
                published = _publish(connection, snapshot, run_id, seconds)
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", None) in CROSSED:
                    raise OvertakenError("Another session was writing the same rows.") from error
                raise
    if published.rows_changed >= MANY_ROWS:
        with translated_errors("vacuuming"), engine.connect() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            autocommit.execute(text("VACUUM (ANALYZE) scheduled_emails"))
    return published


def _publish(
    connection: Connection, snapshot: Snapshot, run_id: int, seconds: Mapping[str, float]
) -> Published:
    # Emails before settings, in the order in which a dispatcher that pauses a mailbox locks them.
    connection.execute(text(LOCK_ROWS))
    connection.execute(text(f"LOCK TABLE {SETTINGS_TABLES} IN SHARE MODE"))
    if read_settings(connection) != snapshot.settings:
        raise OvertakenError("Mailboxes, links, steps or sequences changed while it was planned.")
    connection.execute(text(FIND_OVERTAKEN))
    overtaken = connection.scalar(text("SELECT count(*) FROM overtaken"))
    if overtaken and connection.scalar(text(STANDS_IN_THE_WAY)):
        raise OvertakenError("Rows changed while it was planned, and stand in the plan's way.")
    values = {"run_id": run_id, "reasons": REASONS}
    where, also = (WITHOUT_OVERTAKEN.format(word) if overtaken else "" for word in ("WHERE", "AND"))
    statements = (
        INSERT.format(without_overtaken=f"AS staged {where}" if overtaken else ""),
        UPDATE.format(without_overtaken=also),
    )
    rows_changed = sum(connection.execute(text(query), values).rowcount for query in statements)
    staged = connection.scalar(
        text("SELECT (SELECT count(*) FROM staged_inserts) + (SELECT count(*) FROM staged_changes)")
    )
    skipped = int(staged or 0) - rows_changed
    close_run(connection, run_id, rows_changed, skipped, seconds)
    return Published(run_id, rows_changed, skipped)


def _stage(connection: Connection, name: str, frame: pd.DataFrame) -> None:
    kinds = STAGED[name]
    declared = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
    # An earlier run of this process may have left one in the pooled session.
    connection.execute(text(f"DROP TABLE IF EXISTS pg_temp.{name}"))
    connection.execute(text(f"CREATE TEMPORARY TABLE {name} ({declared})"))
    copy_in(connection, name, frame, kinds)
