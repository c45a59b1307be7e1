"""Ctrl-C during the real command: what is stored, what is said, and how soon it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sendplan.io.campaigns.demo import fill
from sendplan.io.database.engine import connect
from sendplan.io.publish.planner_lock import planner_lock
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference
from sendplan.tests.worlds.databases.frames import clear_tables, dump

LONG = ("--time-limit", "300", "--gap", "0", "--method", "cpsat")
PROMPT = 10.0
"""Seconds within which an interrupted command must have ended; not interrupted it takes minutes."""


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


def filled(engine: Engine, contacts: int, mailboxes: int) -> None:
    with engine.begin() as connection:
        clear_tables(connection)
    fill(engine, reference(contacts, mailboxes, 2, seed=1, now=REFERENCE_NOW, tight=True))


@pytest.fixture
def large(engine: Engine) -> Engine:
    """A shortage that cannot be planned to the end within the time of a test."""
    filled(engine, 1_000, 6)
    return engine


def whole(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return dump(connection)


def rows(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def environment(url: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENDPLAN_")}
    # So wide that no line of the progress is broken.
    return own | {"PYTHONSAFEPATH": "1", "SENDPLAN_DATABASE_URL": url, "COLUMNS": "200"}


def command(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sendplan", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(url),
        check=False,
    )


PLAN = ("plan", "--as-of", REFERENCE_NOW.isoformat())


# The progress reaches a pipe only at the end, as rich draws it for terminals; so the command is
# run in this process's stead by a wrapper that tells of each step at once, and does all else.
PROGRAM = """
import sys
from sendplan import cli
from sendplan.io.planning import run as running

told = running.WallClock.report

def report(self, progress):
    told(self, progress)
    print("STEP", progress.phase, file=sys.__stderr__, flush=True)

running.WallClock.report = report
cli.run()
"""


def interrupted(url: str, *arguments: str) -> tuple[int, str, str, float]:
    """Run ``plan``, press Ctrl-C once it improves, and give code, outputs and seconds after it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *PLAN, *LONG, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(url),
        start_new_session=True,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    killer = threading.Timer(60, process.kill)
    killer.start()
    try:
        seen: list[str] = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("STEP rounded"):
                break
        time.sleep(0.3)  # into the work of the next step
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        return process.returncode, out, "".join(seen) + err, time.monotonic() - begun
    finally:
        killer.cancel()
        process.kill()
        process.wait()


@pytest.mark.slow
def test_the_best_plan_so_far_is_stored(large: Engine, module_database_url: str) -> None:
    code, out, err, seconds = interrupted(module_database_url, "--on-interrupt", "store", "--json")
    assert code == 0, err
    assert seconds < PROMPT
    run = json.loads(out)
    assert run["stopped"] == "interrupted"
    assert run["lower_bound"] <= run["cost"]
    query = "SELECT id, stop_reason, cost, lower_bound, progress FROM plan_runs"
    [stored] = rows(large, query)
    assert (stored["id"], stored["stop_reason"]) == (run["run_id"], "interrupted")
    assert float(stored["cost"]) == run["cost"]
    # What was interrupted had got somewhere: the greedy's plan is the first step.
    assert stored["progress"][0]["phase"] == "greedy"
    assert run["cost"] <= stored["progress"][0]["cost"]
    [pending] = rows(
        large,
        "SELECT count(*) AS n FROM scheduled_emails WHERE plan_run_id IS NOT NULL"
        " AND status = 'pending'",
    )
    assert pending["n"] == run["emails"] > 0
    checked = command(module_database_url, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["discard", "ask"])
def test_nothing_is_stored(large: Engine, module_database_url: str, choice: str) -> None:
    """Nobody can be asked without a terminal, and so nothing is stored then either."""
    before = whole(large)
    code, out, err, seconds = interrupted(module_database_url, "--on-interrupt", choice, "--json")
    assert code == 1, err
    assert seconds < PROMPT
    run = json.loads(out)
    assert (run["run_id"], run["rows_changed"], run["stopped"]) == (None, 0, "interrupted")
    assert "Traceback" not in err
    assert rows(large, "SELECT FROM plan_runs") == []
    assert whole(large) == before
    # The next planner finds nobody at work.
    with planner_lock(large):
        pass


@pytest.mark.slow
def test_an_ordinary_run_keeps_its_steps(engine: Engine, module_database_url: str) -> None:
    filled(engine, 60, 2)
    planned = command(module_database_url, *PLAN, "--json")
    assert planned.returncode == 0, planned.stderr
    run = json.loads(planned.stdout)
    [stored] = rows(engine, "SELECT stop_reason, progress FROM plan_runs")
    assert stored["stop_reason"] == run["stopped"]
    steps = stored["progress"]
    assert steps[0]["phase"] == "greedy"
    for step in steps:
        assert step["gap"] == pytest.approx((step["cost"] - step["lower_bound"]) / step["cost"])
    for name, ascending in (("cost", False), ("lower_bound", True), ("work", True)):
        values = [step[name] for step in steps]
        assert values == sorted(values, reverse=not ascending)
    # Nothing was left to be mended, so that the last step is the plan.
    assert steps[-1]["cost"] == pytest.approx(run["cost"])
    assert steps[-1]["lower_bound"] == pytest.approx(run["lower_bound"])


@pytest.mark.slow
def test_the_greedy_has_no_steps(engine: Engine, module_database_url: str) -> None:
    filled(engine, 60, 2)
    assert command(module_database_url, *PLAN, "--method", "greedy").returncode == 0
    [stored] = rows(engine, "SELECT stop_reason, progress FROM plan_runs")
    assert stored["stop_reason"] is None
    assert not stored["progress"]
