"""Nightly runs: in processes of their own, waited for, and judged by what they have stored."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, text

from sendplan.io.planning.check import check
from sendplan.io.planning.run import Run
from sendplan.tests.worlds.databases.frames import Frames, dump, read_plan
from sendplan.tests.worlds.oracle.judge import judge

# Somebody, in this database, waits for a lock that another session holds.
IS_BLOCKED = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""

NO_SLOT_AND_NO_REASON = """
    SELECT count(*) FROM scheduled_emails AS email
    JOIN enrollments ON enrollments.id = enrollment_id
    JOIN sequences ON sequences.id = sequence_id
    WHERE email.status = 'pending' AND plan_run_id IS NULL AND unplaced_reason IS NULL
        AND sequences.status = 'active'
"""


def wait_until(connection: Connection, query: str, seconds: float = 60) -> Any:
    """Look again and again until a query finds something, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = connection.scalar(text(query))
        connection.rollback()  # within one transaction the activity of others stands still
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} seconds: {query}")


@contextmanager
def command(url: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run ``sendplan`` in a process of its own."""
    environment = os.environ | {"SENDPLAN_DATABASE_URL": url, "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sendplan", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def whole(engine: Engine, *tables: str) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return dump(connection, *tables)


def published(run: Run) -> tuple[int, int]:
    assert run.published is not None
    return run.published.rows_changed, run.published.skipped


def judged(
    engine: Engine, before: Frames, now: pd.Timestamp, run: Run, *, given: bool
) -> list[str]:
    """Judge the stored rows as the customer's checker would, and with ``check`` besides."""
    with engine.connect() as connection:
        sends, unplaced = read_plan(connection)
        cost, horizon_end = connection.execute(
            text("SELECT cost, horizon_end FROM plan_runs ORDER BY id DESC LIMIT 1")
        ).one()
        without = connection.scalar(text(NO_SLOT_AND_NO_REASON))
    complaints = judge(before, now, sends, unplaced, cost, horizon_end, horizon_given=given)
    if without:
        complaints.append(f"store: {without} rows of active sequences have no slot and no reason")
    if (len(sends), len(unplaced)) != (len(run.plan.sends), len(run.plan.unplaced)):
        complaints.append("store: the tables hold another number of emails than the plan")
    found = check(engine, now).violations
    return complaints + [f"check: {rule}" for rule in found["rule"]]
