"""Recalculation as it is run: beside other planners, as the last plan was made, and watching."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.planning.last_plan import STEADY, WIDEST, recalc_parameters
from sendplan.io.planning.nightly import run_plan
from sendplan.io.publish.planner_lock import planner_lock
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.databases.stored_emails import (
    recalculated,
    rows,
    run_sql,
    slots,
    violations,
)
from sendplan.tests.worlds.problems.tiny import World, at

REQUESTS = "SELECT id FROM change_requests ORDER BY id"


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def world(engine: Engine) -> World:
    """Two contacts, two steps and one mailbox, planned in the morning; no change is queued."""
    made = World().sequence(1, (0, 1)).mailbox(5, email="ann@example.com").enroll(1, 2)
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, made.frames(), made.now)
    plan(engine)
    return made


def plan(engine: Engine, **how: Any) -> None:
    run_plan(engine, at(0, "06:00"), Parameters(**({"method": "greedy"} | how)))


# ---------------------------------------------------------------- two planners


def test_beside_another_planner_nothing_is_done(
    engine: Engine, world: World, module_database_url: str
) -> None:
    run_sql(engine, "UPDATE steps SET wait_days = 3 WHERE id = 12")
    queued, before = rows(engine, REQUESTS), slots(engine)
    arguments = ["recalc", "--as-of", world.now.isoformat(), "--database-url", module_database_url]
    with planner_lock(engine):
        result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Another planner is running" in result.stderr
    assert (rows(engine, REQUESTS), slots(engine)) == (queued, before)
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert queued
    assert rows(engine, REQUESTS) == []


def test_a_nightly_run_works_off_the_requests_it_has_seen(engine: Engine, world: World) -> None:
    run_sql(engine, "UPDATE steps SET wait_days = 3 WHERE id = 12")
    assert rows(engine, REQUESTS)
    plan(engine)
    assert rows(engine, REQUESTS) == []
    assert recalculated(engine, world.now).run.published is None


# ---------------------------------------------------------------- as the last plan was made


def test_it_plans_as_the_last_plan_was_made(engine: Engine, world: World) -> None:
    plan(engine, slip_weight=7.0, one_a_day=False, horizon_days=20, seed=3, workers=2)
    # Neither a recalculation nor a run that never finished counts as the last plan.
    run_sql(
        engine,
        """INSERT INTO plan_runs (kind, finished_at, parameters) VALUES
           ('recalc', now(), '{"slip_weight": 1}'), ('plan', NULL, '{"slip_weight": 2}')""",
    )
    how = recalc_parameters(engine, at(3, "08:00"))
    assert (how.slip_weight, how.one_a_day, how.seed, how.workers) == (7.0, False, 3, 2)
    # It ends where it ended, on the 20th day after Monday; and not before today.
    assert how.horizon_days == 17
    assert recalc_parameters(engine, at(30, "08:00")).horizon_days == 0
    assert how.change_weight == 1.0
    chosen = recalc_parameters(engine, at(3, "08:00"), {"change_weight": 4.0, "slip_weight": 9.0})
    assert (chosen.change_weight, chosen.slip_weight) == (4.0, 9.0)


@pytest.mark.parametrize(
    ("cost", "bound", "gap"),
    # (100 − 80) / 100, and no more than the widest there is; without a bound none is known.
    [(100, 80, 0.2 + STEADY), (100, 1, WIDEST), (100, None, STEADY), (0, 0, STEADY)],
)
def test_the_gap_is_that_of_the_last_plan_and_a_little_more(
    engine: Engine, world: World, cost: float, bound: float | None, gap: float
) -> None:
    with engine.begin() as connection:
        values = {"cost": cost, "bound": bound}
        connection.execute(text("UPDATE plan_runs SET cost = :cost, lower_bound = :bound"), values)
    assert recalc_parameters(engine, world.now).gap == pytest.approx(gap)


def test_without_a_plan_the_defaults_hold(engine: Engine) -> None:
    with engine.begin() as connection:
        clear_tables(connection)
    how = recalc_parameters(engine, at(0, "06:00"))
    assert (how.slip_weight, how.one_a_day, how.horizon_days) == (20.0, True, None)


# ---------------------------------------------------------------- no mailbox left


def test_with_no_mailbox_left_emails_wait_for_one_to_come(engine: Engine, world: World) -> None:
    """1 has had its first email from mailbox 5; both wait while there is none, and then go on."""
    run_sql(
        engine,
        """UPDATE scheduled_emails SET status = 'sent', sent_at = send_at
           WHERE enrollment_id = 1 AND step_id = 11;
           UPDATE enrollments SET mailbox_id = 5, current_step_id = 11 WHERE id = 1;
           UPDATE mailboxes SET status = 'removed' WHERE id = 5""",
    )
    now, reasons = at(0, "12:00"), "SELECT unplaced_reason FROM scheduled_emails ORDER BY id"
    recalculated(engine, now)
    waiting = [(1, 12, None, "pending"), (2, 11, None, "pending"), (2, 12, None, "pending")]
    assert slots(engine) == [(1, 11, 5, "sent"), *waiting]
    assert sorted(rows(engine, reasons), key=str) == [("no_active_mailbox",)] * 3 + [(None,)]
    assert violations(engine) == []
    run_sql(
        engine,
        """INSERT INTO mailboxes (id, email, daily_capacity) VALUES (6, 'ben@example.com', 9);
           INSERT INTO sequence_mailboxes VALUES (1, 6)""",
    )
    recalculated(engine, now)
    planned = [(1, 12, 6, "pending"), (2, 11, 6, "pending"), (2, 12, 6, "pending")]
    assert slots(engine) == [(1, 11, 5, "sent"), *planned]
    assert rows(engine, reasons) == [(None,)] * 4
    assert violations(engine) == []


# ---------------------------------------------------------------- watching


WATCH = ("recalc", "--watch", "--json", "--as-of", at(0, "06:00").isoformat())
SESSIONS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.mark.slow
def test_changes_are_planned_as_they_come(
    engine: Engine, world: World, module_database_url: str
) -> None:
    """Before and after all its sessions were ended by the server, until it is told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sendplan", *WATCH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(module_database_url),
    )

    def waits_for(statement: str) -> None:
        run_sql(engine, statement)
        while rows(engine, REQUESTS) and process.poll() is None:
            time.sleep(0.02)

    try:
        waits_for("UPDATE steps SET wait_days = 3 WHERE id = 12")
        first = days(engine)
        # Ours have come back to the pool, which opens others.
        engine.dispose()
        assert rows(engine, SESSIONS)
        waits_for("UPDATE steps SET wait_days = 2 WHERE id = 12")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert "The connection to the database was lost" in err
    # From Monday to Thursday, and to Wednesday.
    assert (first, days(engine)) == ([0, 0, 3, 3], [0, 0, 2, 2])
    assert violations(engine) == []
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["requests"], line["moved"], line["emails"]) for line in lines] == [(1, 2, 4)] * 2
    runs = "SELECT id FROM plan_runs WHERE kind = 'recalc' ORDER BY id"
    assert [(line["run_id"],) for line in lines] == rows(engine, runs)


def days(engine: Engine) -> list[int]:
    query = "SELECT send_day - DATE '2026-03-02' FROM scheduled_emails ORDER BY step_id, id"
    return [number for (number,) in rows(engine, query)]


def environment(url: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENDPLAN_")}
    return own | {"PYTHONSAFEPATH": "1", "SENDPLAN_DATABASE_URL": url}
