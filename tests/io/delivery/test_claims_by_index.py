"""Statements of the dispatcher look up what they need, however much there is beside it."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg2.extensions
import pytest
from sqlalchemy import Engine

from sendplan.io.database.engine import connect
from sendplan.io.delivery import capacity as room
from sendplan.io.delivery import claimer as claims
from sendplan.io.delivery import recovery, transitions
from sendplan.io.delivery import thread_progress as enrollment_state
from sendplan.io.delivery.overdue import OVERDUE
from sendplan.io.delivery.transactions import Prepared, Transactions
from sendplan.tests.worlds.databases.stored_emails import run_sql
from sendplan.tests.worlds.problems.tiny import at

Cursor = psycopg2.extensions.cursor

NOW = at(1, "09:01")
COUNT = 10_000
"""Threads of two emails each: the first was sent, and the second is planned; a few are due."""
DUE = [COUNT + key for key in range(1, 21)]

FILL = f"""
INSERT INTO sequences (id, start_time, end_time) VALUES (1, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position) VALUES (11, 1, 1), (12, 1, 2);
INSERT INTO mailboxes (id, email, daily_capacity, min_gap_seconds)
    SELECT id, 'box' || id || '@example.com', 500, 1 FROM generate_series(1, 50) AS id;
INSERT INTO sequence_mailboxes SELECT 1, id FROM generate_series(1, 50) AS id;
INSERT INTO plan_runs (id) VALUES (1);
INSERT INTO contacts (id, email)
    SELECT id, 'contact' || id || '@example.com' FROM generate_series(1, {COUNT}) AS id;
INSERT INTO enrollments (id, contact_id, sequence_id, current_step_id, mailbox_id)
    SELECT id, id, 1, 11, 1 + id % 50 FROM generate_series(1, {COUNT}) AS id;
INSERT INTO scheduled_emails
    (id, enrollment_id, step_id, mailbox_id, send_day, send_at, sent_at, plan_run_id, status)
    SELECT id, id, 11, 1 + id % 50, day::date, day + interval '10 hours',
           day + interval '10 hours', 1, 'sent'
    FROM (
        SELECT id, timestamptz '2026-03-02Z' - id / 200 * interval '1 day' AS day
        FROM generate_series(1, {COUNT}) AS id
    ) AS history;
INSERT INTO scheduled_emails
    (id, enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
    SELECT {COUNT} + id, id, 12, 1 + id % 50, day::date, day + interval '9 hours', 1
    FROM (
        SELECT id, timestamptz '2026-03-03Z' + (id + 179) / 200 * interval '1 day' AS day
        FROM generate_series(1, {COUNT}) AS id
    ) AS planned;
"""  # fmt: skip


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    # What the server knows of the tables is as old as their being empty.
    run_sql(engine, "ALTER TABLE scheduled_emails SET (autovacuum_enabled = false)")
    run_sql(engine, FILL)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", params=[False, True], ids=["unknown", "known"])
def cursor(filled: Engine, request: pytest.FixtureRequest) -> Iterator[Cursor]:
    if request.param:
        run_sql(filled, "ANALYZE")
    transactions = Transactions(filled, [*claims.PREPARED, *transitions.PREPARED])
    with transactions.begin() as cursor:
        yield cursor
        cursor.connection.rollback()
    transactions.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def read(node: dict[str, Any]) -> int:
    """Count the rows that a node has looked at in its table."""
    if "Relation Name" not in node:
        return 0
    removed = sum(value for key, value in node.items() if key.startswith("Rows Removed"))
    return int(node["Actual Loops"] * (node["Actual Rows"] + removed))


def explained(cursor: Cursor, statement: str, *values: Any) -> list[dict[str, Any]]:
    cursor.execute("SAVEPOINT before")
    cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    ((found,),) = cursor.fetchall()
    cursor.execute("ROLLBACK TO SAVEPOINT before")
    return list(nodes(found[0]["Plan"]))


def prepared(statement: Prepared, *values: object) -> Callable[[Cursor], list[dict[str, Any]]]:
    places = ", ".join(f"%s::{kind}" for kind in statement.types)
    return lambda cursor: explained(cursor, f"EXECUTE {statement.name} ({places})", values)


def plain(statement: str, **values: object) -> Callable[[Cursor], list[dict[str, Any]]]:
    return lambda cursor: explained(cursor, statement, values)


TODAY, GRACE = date(2026, 3, 3), timedelta(minutes=15)
TOKENS = [uuid4() for _ in DUE]
MOMENTS: list[datetime] = [NOW for _ in DUE]
STATEMENTS: dict[str, Callable[[Cursor], list[dict[str, Any]]]] = {
    "DUE": prepared(claims.DUE, NOW, NOW - GRACE, [1, 2], [], 64),
    "SOUND": prepared(claims.SOUND, DUE),
    "LOCK_MAILBOXES": prepared(claims.LOCK_MAILBOXES, [1, 2]),
    "USED": prepared(room.USED, [1, 2, 3], TODAY),
    "LAST_LEFT": plain(
        claims.LAST_LEFT, mailbox_ids=[1, 2, 3], since=(NOW - claims.LOOK_BACK).date()
    ),
    "TAKE": prepared(claims.TAKE, DUE, ["<x@y>"] * len(DUE), TOKENS[0], "here", GRACE),
    "BEGIN": prepared(transitions.BEGIN, DUE, TOKENS, GRACE),
    "SUCCEED": prepared(transitions.SUCCEED, DUE, TOKENS, MOMENTS),
    "RELEASE": plain(transitions.RELEASE, id=DUE[0], token=TOKENS[0], error=None),
    "NEIGHBOURS": plain(
        transitions.NEIGHBOURS, mailbox_id=3, after=NOW, before=NOW + timedelta(hours=32)
    ),
    "ADVANCE": plain(enrollment_state.ADVANCE, enrollment_ids=[1, 2, 3]),
    "AHEAD": plain(enrollment_state.AHEAD, enrollment_ids=[1, 2, 3]),
    "COMPLETE": plain(enrollment_state.COMPLETE, enrollment_ids=[1, 2, 3]),
    "CANCEL": plain(enrollment_state.CANCEL, enrollment_ids=[1, 2, 3]),
    "LAST": plain(enrollment_state.LAST, enrollment_id=1),
    "TAKEN": plain(room.TAKEN, mailbox_id=3, day=TODAY),
    "STOP_OTHERS": plain(transitions.STOP_OTHERS, contact_id=1, reason="bounced"),
    "RECOVER": plain(recovery.RECOVER),
    "OVERDUE": plain(OVERDUE, overdue=NOW - GRACE),
}
LARGE = ("scheduled_emails", "enrollments", "contacts")


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_reads_no_table_through(cursor: Cursor, name: str) -> None:
    found = STATEMENTS[name](cursor)
    scans = [node for node in found if node.get("Relation Name") in LARGE]
    assert not [node for node in scans if node["Node Type"] == "Seq Scan"]
    # 20 due emails with their threads, or the days of three mailboxes; not the 20,000.
    assert sum(read(node) for node in scans) < 1_000


def test_there_is_something_to_read_through(cursor: Cursor) -> None:
    found = explained(cursor, "SELECT count(*) FROM scheduled_emails WHERE attempts = 0")
    assert sum(read(node) for node in found) == 2 * COUNT
