"""Publishing a plan: its difference from the snapshot is written in short transactions.

The difference is found in memory. New and changed rows are staged with binary COPY; then one
transaction inserts and updates them, except rows that have changed since the snapshot. The nightly
plan is published in one transaction; a recalculation in batches of whole components, after each of
which the tables are sound (`sendplan.planner.plan.batches`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.binary_copy import copy_in
from sendplan.io.database.engine import translated_errors
from sendplan.io.database.tables import RequestKind
from sendplan.io.publish.difference import CHANGE_KINDS, KEY_KINDS, SLOT_KINDS, difference
from sendplan.io.publish.run_records import OvertakenError, Published, Record
from sendplan.io.snapshot.load import Snapshot
from sendplan.io.snapshot.pending_queries import REASONS
from sendplan.io.snapshot.requests import clear_requests, request
from sendplan.io.snapshot.setting_rows import read_settings, same_settings
from sendplan.planner.plan.batches import component_batches
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.ended import finished
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus, EnrollmentStatus, Reason

MANY_ROWS = 20_000
"""Changed rows after which the table is vacuumed, which keeps claims and the next run fast."""

CROSSED = ("23505", "40001", "40P01")
"""SQLSTATEs of sessions that cross: unique violation, serialization failure, deadlock."""

STAGED = {"staged_inserts": KEY_KINDS | SLOT_KINDS, "staged_changes": CHANGE_KINDS}

# Foreign keys look up each row by itself: PostgreSQL would scan a table of some hundred mailboxes
# each time, since by default it takes a random page for four times as expensive as the next one.
BY_KEY = "SET LOCAL random_page_cost = 1.1"

# A row of an enrollment that has changed since the snapshot is left alone, and so is the rest of
# its chain: a later step must not move if an earlier one stays.
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

# In the order of ids, as in all writers, so that two of them cannot deadlock.
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

# Rows left alone may conflict with rows that moved: on a mailbox-day (with a minimum gap between
# emails also the days around it), a contact's day, or a day with a limit on new contacts.
CONFLICTS = f"""
    WITH kept AS (
        SELECT email.mailbox_id, email.send_day, enrollment.contact_id, enrollment.sequence_id
        FROM overtaken
        JOIN scheduled_emails AS email USING (enrollment_id)
        JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
        WHERE email.status NOT IN ('{EmailStatus.CANCELLED}', '{EmailStatus.FAILED}')
          AND email.mailbox_id IS NOT NULL
    ),
    written AS (
        SELECT staged.mailbox_id, staged.send_day, enrollment.contact_id, enrollment.sequence_id
        FROM (SELECT enrollment_id, mailbox_id, send_day FROM staged_changes
              UNION ALL SELECT enrollment_id, mailbox_id, send_day FROM staged_inserts) AS staged
        JOIN enrollments AS enrollment ON enrollment.id = staged.enrollment_id
        WHERE staged.mailbox_id IS NOT NULL
          AND staged.enrollment_id NOT IN (SELECT enrollment_id FROM overtaken)
    )
    SELECT EXISTS (
        SELECT FROM kept JOIN written USING (mailbox_id, send_day)
    ) OR EXISTS (
        SELECT FROM kept JOIN written USING (contact_id, send_day)
    ) OR EXISTS (
        SELECT FROM kept
        JOIN written USING (mailbox_id)
        JOIN mailboxes AS mailbox ON mailbox.id = mailbox_id AND mailbox.min_gap_seconds > 0
        WHERE written.send_day - kept.send_day BETWEEN -1 AND 1
    ) OR EXISTS (
        SELECT FROM kept
        JOIN written USING (sequence_id, send_day)
        JOIN sequences AS sequence ON sequence.id = sequence_id
        WHERE sequence.max_new_per_day IS NOT NULL
    )
"""

WITHOUT_OVERTAKEN = "{} staged.enrollment_id NOT IN (SELECT enrollment_id FROM overtaken)"
SETTINGS_TABLES = "sequences, steps, mailboxes, sequence_mailboxes"

# Its slot is gone, since others may be planned into it; the rest of the row stays.
SET_ASIDE = f"""
    UPDATE scheduled_emails
    SET mailbox_id = NULL, send_day = NULL, send_at = NULL, plan_run_id = NULL,
        unplaced_reason = '{Reason.SET_ASIDE}'
    WHERE id = ANY(:emails) AND status = '{EmailStatus.PENDING}'
"""

SEQUENCES_LEFT_ALONE = """
    SELECT DISTINCT sequence_id FROM overtaken
    JOIN enrollments AS enrollment ON enrollment.id = overtaken.enrollment_id
"""

FINISH = f"""
    UPDATE enrollments SET status = '{EnrollmentStatus.COMPLETED}', completed_at = :now
    WHERE id = ANY(:finished) AND status = '{EnrollmentStatus.ACTIVE}'
"""


@dataclass(frozen=True)
class Pace:
    """Batches in which a plan is written.

    Parameters
    ----------
    batch_size : int or None
        Rows of a transaction, see `sendplan.planner.plan.batches.component_batches`; None: all in
        one.
    pause : float
        Seconds between two transactions.
    """

    batch_size: int | None = None
    pause: float = 0.0


def store(
    connection: Connection,
    snapshot: Snapshot,
    problem: Problem,
    plan: Plan,
    record: Record,
    pace: Pace | None = None,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> Published:
    """Publish a plan: each batch whole or not at all, and the requests done with the last one.

    Parameters
    ----------
    connection : Connection
        Without a transaction open; for a whole plan that of the planner's lock.
    snapshot : Snapshot
        The tables that the plan was made from.
    problem : Problem
        The problem of the snapshot.
    plan : Plan
        The plan.
    record : Record
        The record of the run.
    pace : Pace, optional
        Batches; by default there is one.
    written : callable
        Called after each batch with the number written, and of all batches.

    Returns
    -------
    Published
        The run and what it changed.

    Raises
    ------
    OvertakenError
        If settings have changed since the snapshot, or a row left alone conflicts with one that
        moved; neither this batch nor any after it was written.
    DatabaseError
        If the database refused a statement; that batch was not written.
    """
    changes, pace = difference(problem, plan), pace or Pace()
    divided = component_batches(problem, changes, pace.batch_size or len(changes))
    # Computed before the transactions, which are short.
    over = finished(problem)
    plan.summary()
    published = Published(0, 0, 0)
    with translated_errors("storing the plan"):
        for number, batch in enumerate(divided, 1):
            last = number == len(divided)
            _stage_batch(connection, batch)
            with connection.begin(), _overtaken_if_crossed():
                run_id = published.run_id or record.open(connection, plan)
                if number == 1:
                    published = _set_aside(connection, snapshot, published)
                published = _publish(connection, snapshot, published, run_id)
                if last:
                    _conclude(connection, snapshot, problem, over)
                record.close(connection, plan, published, finished=last)
            written(number, len(divided))
            if not last:
                time.sleep(pace.pause)
    return published


def tidy(engine: Engine, published: Published) -> None:
    """Vacuum the table after a plan that changed many rows.

    Raises
    ------
    DatabaseError
        If the database refused it.
    """
    if published.rows_changed >= MANY_ROWS:
        with translated_errors("vacuuming"), engine.connect() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            autocommit.execute(text("VACUUM (ANALYZE) scheduled_emails"))


@contextmanager
def _overtaken_if_crossed() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) in CROSSED:
            raise OvertakenError("Another session was writing the same rows.") from error
        raise


def _stage_batch(connection: Connection, batch: pd.DataFrame) -> None:
    new = (batch["id"] == NULL).to_numpy()
    with connection.begin():
        for name, frame in (("staged_inserts", batch[new]), ("staged_changes", batch[~new])):
            _stage(connection, name, frame[list(STAGED[name])])
        connection.execute(text("ANALYZE staged_changes, staged_inserts"))


def _set_aside(connection: Connection, snapshot: Snapshot, before: Published) -> Published:
    if not snapshot.unmarked:
        return before
    marked = connection.execute(text(SET_ASIDE), {"emails": list(snapshot.unmarked)})
    return replace(before, rows_changed=before.rows_changed + marked.rowcount)


def _publish(
    connection: Connection, snapshot: Snapshot, before: Published, run_id: int
) -> Published:
    connection.execute(text(BY_KEY))
    # Emails before settings, in the order in which a dispatcher that pauses a mailbox locks them.
    connection.execute(text(LOCK_ROWS))
    connection.execute(text(f"LOCK TABLE {SETTINGS_TABLES} IN SHARE MODE"))
    settings = read_settings(connection, snapshot.reach)
    if not same_settings(settings, snapshot.settings, snapshot.reach):
        raise OvertakenError("Mailboxes, links, steps or sequences changed during planning.")
    connection.execute(text(FIND_OVERTAKEN))
    overtaken = connection.scalar(text("SELECT count(*) FROM overtaken"))
    if overtaken and connection.scalar(text(CONFLICTS)):
        raise OvertakenError("Rows changed during planning, and the plan conflicts with them.")
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
    if overtaken:
        # Rows left alone keep slots of an earlier plan, which may not be valid any more.
        left_alone = connection.scalars(text(SEQUENCES_LEFT_ALONE)).all()
        request(connection, RequestKind.ENROLLMENT, left_alone)
    return Published(run_id, before.rows_changed + rows_changed, before.skipped + skipped)


def _conclude(
    connection: Connection, snapshot: Snapshot, problem: Problem, over: np.ndarray
) -> None:
    """Complete enrollments without further emails, and delete the requests."""
    if len(over):
        values = {"finished": over.tolist(), "now": problem.now_at.to_pydatetime()}
        connection.execute(text(FINISH), values)
    clear_requests(connection, snapshot.requests.ids)


def _stage(connection: Connection, name: str, frame: pd.DataFrame) -> None:
    kinds = STAGED[name]
    declared = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
    # The pooled session may have one from an earlier run.
    connection.execute(text(f"DROP TABLE IF EXISTS pg_temp.{name}"))
    connection.execute(text(f"CREATE TEMPORARY TABLE {name} ({declared})"))
    copy_in(connection, name, frame, kinds)
