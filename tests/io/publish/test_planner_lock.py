"""The planner's lock: who has lost it publishes nothing, whoever plans meanwhile."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sendplan.io.database.engine import connect
from sendplan.io.database.planner_lock_key import PLANNER_LOCK
from sendplan.io.planning import nightly, part_planning
from sendplan.io.planning import recalc as recalculating
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.recalc import recalc
from sendplan.io.publish.planner_lock import LockLostError, planner_lock
from sendplan.io.publish.run_records import SupersededError
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.partitioned import NOW as SIX
from sendplan.tests.worlds.databases.partitioned import (
    SIZE,
    fill,
    here,
    rows,
    run_sql,
    sound,
    stored,
)
from sendplan.tests.worlds.problems.tiny import World, at

GREEDY = Parameters(method="greedy")

END_PLANNER = f"""
    SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = {PLANNER_LOCK} AND granted
"""

LOCKS = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {PLANNER_LOCK}"

SLOTS = """
    SELECT enrollment_id, send_day FROM scheduled_emails
    WHERE plan_run_id IS NOT NULL ORDER BY enrollment_id
"""


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    """An engine on a database with two contacts, and a mailbox that has room for one a day."""
    engine = connect(module_database_url)
    made = World().sequence(waits=(0,)).mailbox(1, 1, email="box@example.com")
    fill(engine, made.enroll(1, 2))
    yield engine
    engine.dispose()


def end_planner(engine: Engine) -> None:
    assert rows(engine, END_PLANNER) == [(True,)]


def solving(monkeypatch: pytest.MonkeyPatch, module: Any, meanwhile: Callable[[], object]) -> None:
    """Let something happen while the first planner solves, and nothing while a second one does."""
    waiting = [meanwhile]
    solve = module.planned

    def planned(*args: Any, **kwargs: Any) -> Any:
        found = solve(*args, **kwargs)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(module, "planned", planned)


def test_a_planner_that_has_lost_its_session_publishes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    solving(monkeypatch, nightly, lambda: end_planner(engine))
    with pytest.raises(LockLostError, match=r"session has ended.* Plan again") as raised:
        run_plan(engine, SIX, GREEDY)
    assert raised.value.exit_code == 4
    assert stored(engine) == []
    assert rows(engine, "SELECT FROM plan_runs") == []
    # What is left of it keeps no one out.
    run_plan(engine, SIX, GREEDY)
    assert len(stored(engine)) == 2


def test_two_planners_never_share_a_mailbox_day(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sees contacts 1 and 2, the second 3 instead: each gives Monday's only slot away."""

    def second() -> None:
        end_planner(engine)
        run_sql(
            engine,
            """
            UPDATE enrollments SET status = 'stopped';
            INSERT INTO contacts (id, email) VALUES (30, '30@example.com');
            INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
                VALUES (3, 30, 1, '2026-02-27 10:00+00')
            """,
        )
        run_plan(engine, SIX, GREEDY)
        run_sql(engine, "UPDATE enrollments SET status = 'active'")

    solving(monkeypatch, nightly, second)
    with pytest.raises(LockLostError):
        run_plan(engine, SIX, GREEDY)
    assert [enrollment for enrollment, _ in rows(engine, SLOTS)] == [3]
    assert sound(engine)


def test_a_recalculation_that_has_lost_its_session_publishes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(engine, SIX, GREEDY)
    before = stored(engine)
    run_sql(engine, "UPDATE mailboxes SET daily_capacity = 2")
    solving(monkeypatch, recalculating, lambda: end_planner(engine))
    with pytest.raises(LockLostError):
        recalc(engine, at(0, "07:00"), GREEDY)
    assert stored(engine) == before
    # The change stays queued.
    assert recalc(engine, at(0, "07:00"), GREEDY).requests


def test_parts_publish_nothing_once_their_planner_has_lost_its_session(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine)
    solving(monkeypatch, part_planning, lambda: end_planner(engine))
    with pytest.raises(SupersededError, match="has lost the session"):
        run_plan(engine, SIX, GREEDY, workplace=here(), part_size=SIZE)
    assert stored(engine) == []
    assert rows(engine, "SELECT finished_at, publishing FROM plan_runs") == [(None, False)]


def test_an_idle_planner_keeps_its_session(
    engine: Engine, module_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = engine.url.database
    run_sql(engine, f"ALTER DATABASE {name} SET idle_session_timeout = 100")
    try:
        solving(monkeypatch, nightly, lambda: time.sleep(0.5))
        impatient = connect(module_database_url)
        run_plan(impatient, SIX, GREEDY)
        impatient.dispose()
    finally:
        run_sql(engine, f"ALTER DATABASE {name} RESET idle_session_timeout")
    assert len(stored(engine)) == 2


def test_another_session_in_its_place_is_no_proof(engine: Engine) -> None:
    """As a transaction pooler may give one that has never taken the lock."""
    with planner_lock(engine) as session:
        session.proven().execute(text("SELECT pg_advisory_unlock_all()"))
        with pytest.raises(LockLostError):
            session.proven()


def test_the_lock_is_given_back_whatever_ends_the_work(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), planner_lock(engine) as session:
        session.proven().execute(text("SELECT 1"))
        raise ZeroDivisionError
    assert rows(engine, LOCKS) == [(0,)]
