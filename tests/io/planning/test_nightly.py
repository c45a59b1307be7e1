"""The nightly run on a real database: what it writes, what it leaves alone, what stops it."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from sendplan.io.database.engine import connect
from sendplan.io.planning import run as running
from sendplan.io.planning.check import check
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.run import Run, UnsoundPlanError
from sendplan.io.publish.planner_lock import PlannerBusyError, planner_lock
from sendplan.io.publish.run_records import OvertakenError
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.solver import plan_with
from sendplan.tests.worlds.databases.frames import (
    clear_tables,
    put_frames,
    read_frames,
)
from sendplan.tests.worlds.databases.nightly_runs import (
    IS_BLOCKED,
    command,
    judged,
    published,
    wait_until,
    whole,
)
from sendplan.tests.worlds.problems.nasty import advanced, random_frames

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
"""A Monday, three hours before the window opens."""

# Two steps, the second a day after the first; one mailbox with plenty of room. Ada's provisional
# row is as enrolling leaves it; Bob came by plain SQL and has none.
WORLD = """
INSERT INTO sequences (id, start_time, end_time) VALUES (1, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position, wait_days) VALUES (11, 1, 1, 0), (12, 1, 2, 1);
INSERT INTO mailboxes (id, email, daily_capacity)
    VALUES (31, 'a@example.com', 30), (32, 'b@example.com', 30);
INSERT INTO sequence_mailboxes VALUES (1, 31);
INSERT INTO contacts (id, email) VALUES (21, 'ada@example.com'), (22, 'bob@example.com');
INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at) VALUES
    (41, 21, 1, '2026-03-02 05:00+00'), (42, 22, 1, '2026-03-02 05:30+00');
INSERT INTO scheduled_emails (id, enrollment_id, step_id, mailbox_id, send_day, send_at)
    VALUES (61, 41, 11, 31, '2026-03-02', '2026-03-02 09:00+00');
"""

Slot = tuple[int, int, int | None, str | None, str | None, bool]


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    """An engine on a database with nothing in it; clearing is quicker than making one."""
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def world(engine: Engine) -> Engine:
    run_sql(engine, WORLD)
    return engine


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def slots(engine: Engine, status: str = "pending") -> list[tuple[Any, ...]]:
    """Give the rows of a status: enrollment, step, mailbox, time, reason."""
    return rows(
        engine,
        f"""
        SELECT enrollment_id, step_id, mailbox_id, to_char(send_at, 'Dy DD HH24:MI'),
               unplaced_reason
        FROM scheduled_emails WHERE status = '{status}' ORDER BY enrollment_id, step_id
        """,
    )


def plan_now(
    engine: Engine,
    now: datetime = NOW,
    *,
    meanwhile: str = "",
    report: Callable[[str], None] = lambda phase: None,
    **parameters: Any,
) -> Run:
    """Run the planner; ``meanwhile`` is committed once, between the plan and its publishing."""
    waiting = [meanwhile] if meanwhile else []

    def enter(phase: str) -> None:
        if phase == "store" and waiting:
            run_sql(engine, waiting.pop())
        report(phase)

    run = run_plan(engine, now, Parameters(**parameters), report=enter)
    assert not waiting
    return run


PLANNED = [
    # Two first emails over the eight hours from nine, the older enrolment first; then the
    # follow-ups in the same way.
    (41, 11, 31, "Mon 02 09:00", None),
    (41, 12, 31, "Tue 03 09:00", None),
    (42, 11, 31, "Mon 02 13:00", None),
    (42, 12, 31, "Tue 03 13:00", None),
]


# ---------------------------------------------------------------- the first plan


def test_an_empty_database_gets_an_empty_plan(engine: Engine) -> None:
    run = plan_now(engine)
    assert (run.plan.status, run.plan.cost, published(run)) == ("empty", 0, (0, 0))
    assert rows(engine, "SELECT status, emails, cost, finish_day FROM plan_runs") == [
        ("empty", 0, 0, None)
    ]


def test_the_first_plan_has_a_row_for_every_step(world: Engine) -> None:
    run = plan_now(world)
    assert slots(world) == PLANNED
    assert published(run) == (4, 0)
    assert run.published is not None
    assert rows(
        world,
        "SELECT DISTINCT plan_run_id, send_day = send_at::date, attempts FROM scheduled_emails",
    ) == [(run.published.run_id, True, 0)]
    # The provisional row is not replaced: what refers to it goes on referring to it.
    assert rows(
        world, "SELECT id FROM scheduled_emails WHERE enrollment_id = 41 AND step_id = 11"
    ) == [(61,)]


def test_the_run_is_on_record(world: Engine) -> None:
    started = datetime.now(UTC)
    run = plan_now(world, horizon_days=30)
    [record] = rows(
        world,
        """
        SELECT id, kind, as_of, method, status, cost, lower_bound, emails, unplaced, blocked,
               late_follow_ups, slip_days, moved, rows_changed, skipped, horizon_end, finish_day
        FROM plan_runs
        """,
    )
    assert run.published is not None
    assert record == (
        run.published.run_id, "plan", NOW, "greedy", "optimal", 0.0, 0.0, 4, 0, 0,
        0, 0, 0, 4, 0, date(2026, 4, 1), date(2026, 3, 3),
    )  # fmt: skip
    [(started_at, finished_at, parameters, seconds)] = rows(
        world, "SELECT started_at, finished_at, parameters, seconds FROM plan_runs"
    )
    assert started <= started_at <= finished_at
    assert parameters["horizon_days"] == 30
    assert {"load", "solve"} <= set(seconds)


def test_the_printed_object_says_what_was_done(world: Engine) -> None:
    run = plan_now(world)
    printed = run.to_json()
    assert printed["run_id"] == rows(world, "SELECT max(id) FROM plan_runs")[0][0]
    assert printed["rows_changed"] == 4
    assert {"load", "solve", "store", "total"} <= set(printed["seconds"])


def test_what_has_no_slot_waits_with_its_reason(world: Engine) -> None:
    """Bob's thread is bound to a paused mailbox: his slot goes, and both his emails wait."""
    run_sql(
        world,
        """
        INSERT INTO sequence_mailboxes VALUES (1, 32);
        INSERT INTO plan_runs (id) VALUES (1);
        UPDATE mailboxes SET status = 'paused' WHERE id = 32;
        INSERT INTO steps (id, sequence_id, position) VALUES (13, 1, 3);
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 32 WHERE id = 42;
        INSERT INTO scheduled_emails (id, enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (62, 42, 11, 32, '2026-02-27 09:00+00', 'sent');
        INSERT INTO scheduled_emails
            (id, enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
            VALUES (63, 42, 12, 32, '2026-03-02', '2026-03-02 09:00+00', 1);
        """,
    )
    run = plan_now(world)
    assert slots(world)[3:] == [
        (42, 12, None, None, "mailbox_paused"),
        (42, 13, None, None, "mailbox_paused"),
    ]
    assert rows(
        world,
        "SELECT id, send_day, plan_run_id FROM scheduled_emails WHERE step_id = 12 AND id < 64",
    ) == [(63, None, None)]
    assert (run.plan.blocked, len(run.plan.unplaced)) == (2, 2)


def test_what_has_no_room_in_the_horizon_is_placed_once_there_is_some(world: Engine) -> None:
    """One day ahead only: the follow-ups of Tuesday fall outside of a horizon that ends today."""
    plan_now(world, horizon_days=0)
    unplaced = [row for row in slots(world) if row[2] is None]
    assert unplaced == [(41, 12, None, None, "no_room"), (42, 12, None, None, "no_room")]
    run = plan_now(world)
    assert slots(world) == PLANNED
    assert published(run) == (2, 0)


def test_the_rows_of_a_paused_sequence_wait_without_a_slot(world: Engine) -> None:
    plan_now(world)
    run_sql(world, "UPDATE sequences SET status = 'paused'")
    run = plan_now(world)
    assert slots(world) == [
        (enrollment, step, None, None, None) for enrollment in (41, 42) for step in (11, 12)
    ]
    assert rows(world, "SELECT DISTINCT send_day, plan_run_id FROM scheduled_emails") == [
        (None, None)
    ]
    # Nothing planned, nothing unplaced, no cost.
    assert (len(run.plan.sends), len(run.plan.unplaced), run.plan.cost) == (0, 0, 0)
    run_sql(world, "UPDATE sequences SET status = 'active'")
    plan_now(world)
    assert slots(world) == PLANNED


@pytest.mark.parametrize(
    ("change", "cancelled"),
    [
        ("UPDATE enrollments SET status = 'stopped' WHERE id = 41", [(41, 11), (41, 12)]),
        ("UPDATE enrollments SET status = 'completed' WHERE id = 41", [(41, 11), (41, 12)]),
        ("UPDATE contacts SET suppressed_at = now() WHERE id = 21", [(41, 11), (41, 12)]),
        ("UPDATE steps SET removed_at = now() WHERE id = 12", [(41, 12), (42, 12)]),
        # Behind an email that failed nothing goes.
        ("UPDATE scheduled_emails SET status = 'failed' WHERE id = 61", [(41, 12)]),
        # A step that was received by whatever other way is not sent again.
        ("UPDATE enrollments SET current_step_id = 12 WHERE id = 41", [(41, 11), (41, 12)]),
    ],
)
def test_what_will_never_go_is_cancelled(
    world: Engine, change: str, cancelled: list[tuple[int, int]]
) -> None:
    plan_now(world)
    run_sql(world, change)
    before = len(rows(world, "SELECT FROM scheduled_emails"))
    plan_now(world)
    assert [row[:2] for row in slots(world, "cancelled")] == cancelled
    assert len(rows(world, "SELECT FROM scheduled_emails")) == before
    assert published(plan_now(world)) == (0, 0)


def test_cancelled_rows_leave_room_for_new_ones(world: Engine) -> None:
    plan_now(world)
    run_sql(world, "UPDATE enrollments SET status = 'stopped' WHERE id = 41")
    plan_now(world)
    run_sql(world, "UPDATE enrollments SET status = 'active' WHERE id = 41")
    plan_now(world)
    assert slots(world) == PLANNED
    assert [row[:2] for row in slots(world, "cancelled")] == [(41, 11), (41, 12)]


def test_planning_never_binds_a_thread(world: Engine) -> None:
    before = whole(world, "enrollments", "contacts", "mailboxes", "steps", "sequences")
    plan_now(world)
    assert whole(world, *before) == before


# ---------------------------------------------------------------- planning again


def test_planning_again_unchanged_changes_no_row(world: Engine) -> None:
    # With a blocked thread, a paused sequence and a cancelled row in it.
    run_sql(
        world,
        """
        INSERT INTO sequences (id, start_time, end_time, status)
            VALUES (2, '09:00', '17:00', 'paused'), (3, '09:00', '17:00', 'active');
        INSERT INTO steps (id, sequence_id, position) VALUES (13, 2, 1), (14, 3, 1);
        INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (43, 21, 2), (44, 22, 3);
        INSERT INTO scheduled_emails (enrollment_id, step_id, status)
            VALUES (43, 13, 'pending'), (41, 12, 'cancelled');
        """,
    )
    plan_now(world)
    before = whole(world)
    run = plan_now(world)
    after = whole(world)
    assert published(run) == (0, 0)
    assert run.plan.moved == 0
    assert len(after.pop("plan_runs")) == len(before.pop("plan_runs")) + 1
    assert after == before


def test_a_dry_run_writes_nothing(world: Engine) -> None:
    before = whole(world)
    run = run_plan(world, NOW, Parameters(), dry_run=True)
    assert whole(world) == before
    assert run.published is None
    assert len(run.plan.sends) == 4
    assert (run.to_json()["run_id"], run.to_json()["rows_changed"]) == (None, 0)


def test_a_dry_run_does_not_wait_for_a_planner_at_work(world: Engine) -> None:
    with planner_lock(world):
        assert len(run_plan(world, NOW, Parameters(), dry_run=True).plan.sends) == 4


def test_only_rows_that_differ_are_written(world: Engine) -> None:
    """Carl's emails leave from a mailbox of their own: nobody else's are touched."""
    plan_now(world)
    before = whole(world, "scheduled_emails")["scheduled_emails"]
    run_sql(
        world,
        """
        INSERT INTO sequences (id, start_time, end_time) VALUES (2, '09:00', '17:00');
        INSERT INTO steps (id, sequence_id, position) VALUES (13, 2, 1);
        INSERT INTO sequence_mailboxes VALUES (2, 32);
        INSERT INTO contacts (id, email) VALUES (23, 'carl@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (43, 23, 2, '2026-03-02 05:45+00');
        """,
    )
    run = plan_now(world)
    after = whole(world, "scheduled_emails")["scheduled_emails"]
    assert published(run) == (1, 0)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_an_email_that_is_only_retimed_is_written_and_not_moved(world: Engine) -> None:
    """A third email on both days: 16:00 - 9:00 in thirds is every 2 hours 40 minutes."""
    plan_now(world)
    run_sql(
        world,
        """
        INSERT INTO contacts (id, email) VALUES (23, 'carl@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (43, 23, 1, '2026-03-02 05:45+00');
        """,
    )
    run = plan_now(world)
    assert [row[3] for row in slots(world)] == [
        "Mon 02 09:00", "Tue 03 09:00",
        "Mon 02 11:40", "Tue 03 11:40",
        "Mon 02 14:20", "Tue 03 14:20",
    ]  # fmt: skip
    # Ada's stay; Bob's are retimed; Carl's are new.
    assert (published(run), run.plan.moved) == ((4, 0), 0)


NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_the_second_run_of_the_day(world: Engine) -> None:
    """Ada's email has left, Bob's is in flight, Carl's is to come, and Dora has just enrolled."""
    run_sql(
        world,
        """
        INSERT INTO contacts (id, email)
            VALUES (23, 'carl@example.com'), (24, 'dora@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (43, 23, 1, '2026-03-02 05:45+00');
        """,
    )
    plan_now(world)
    assert [row[3] for row in slots(world) if row[1] == 11] == [
        "Mon 02 09:00",
        "Mon 02 11:40",
        "Mon 02 14:20",
    ]
    run_sql(
        world,
        """
        UPDATE scheduled_emails SET status = 'sent', sent_at = '2026-03-02 09:00:03.25+00',
            attempts = 1, message_id = '<41.11@example.com>' WHERE id = 61;
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 31 WHERE id = 41;
        UPDATE scheduled_emails SET status = 'claimed', attempts = 1, claimed_by = 'worker',
            claim_token = gen_random_uuid(), lease_until = '2026-03-02 12:05+00'
            WHERE enrollment_id = 42 AND step_id = 11;
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (44, 24, 1, '2026-03-02 11:00+00');
        """,
    )
    frozen = "SELECT xmin::text, t::text FROM scheduled_emails AS t WHERE status <> 'pending'"
    before = rows(world, frozen)
    run = plan_now(world, NOON)
    assert rows(world, frozen) == before
    # Two emails share the five hours that are left of today, the older enrolment first; the four
    # follow-ups share Tuesday: they wait from the day that Bob's is in flight on, too.
    assert slots(world) == [
        (41, 12, 31, "Tue 03 09:00", None),
        (42, 12, 31, "Tue 03 11:00", None),
        (43, 11, 31, "Mon 02 12:00", None),
        (43, 12, 31, "Tue 03 13:00", None),
        (44, 11, 31, "Mon 02 14:30", None),
        (44, 12, 31, "Tue 03 15:00", None),
    ]
    # Ada's follow-up stays at nine, and Bob's, which had shared the day with two others, at eleven
    # instead of 11:40.
    assert (published(run), run.plan.moved) == ((5, 0), 0)
    again = plan_now(world, NOON)
    assert published(again) == (0, 0)


def test_an_overdue_email_is_planned_again(world: Engine) -> None:
    """Nobody dispatched on Monday: all of it moves to Tuesday, and what follows with it."""
    plan_now(world)
    run = plan_now(world, datetime(2026, 3, 3, 6, tzinfo=UTC))
    assert slots(world) == [
        (41, 11, 31, "Tue 03 09:00", None),
        (41, 12, 31, "Wed 04 09:00", None),
        (42, 11, 31, "Tue 03 13:00", None),
        (42, 12, 31, "Wed 04 13:00", None),
    ]
    assert run.plan.moved == 4


def test_an_email_whose_predecessor_has_no_row_is_not_put_off_for_ever(world: Engine) -> None:
    """Plain SQL may know the last step sent and no more; its wait must be over some day.

    Counted from the enrolment on Friday 27 February, the earliest that Bob can have got it, five
    days have passed on Wednesday 4 March; who asks for no wait would have sent it before.
    """
    run_sql(
        world,
        """
        UPDATE steps SET wait_days = 5 WHERE id = 12;
        UPDATE enrollments SET current_step_id = 11, enrolled_at = '2026-02-27 05:00+00'
            WHERE id = 42;
        """,
    )
    for night in range(3):
        plan_now(world, NOW + timedelta(days=night))
    [planned] = [row for row in slots(world) if row[0] == 42]
    assert planned[3].startswith("Wed 04")


# ---------------------------------------------------------------- what changes meanwhile


def test_a_row_claimed_meanwhile_is_left_alone_and_counted(world: Engine) -> None:
    """With its mailbox paused Ada's thread would move to the other one, had it not just begun."""
    run_sql(world, "INSERT INTO sequence_mailboxes VALUES (1, 32);"
            "UPDATE enrollments SET status = 'stopped' WHERE id = 42")  # fmt: skip
    plan_now(world)
    mine = rows(world, "SELECT DISTINCT mailbox_id FROM scheduled_emails")[0][0]
    run_sql(world, f"UPDATE mailboxes SET status = 'paused' WHERE id = {mine}")
    before = [row for row in slots(world) if row[1] == 12]
    run = plan_now(world, meanwhile="UPDATE scheduled_emails SET status = 'claimed' WHERE id = 61")
    # Neither the claimed row nor the rest of its chain, which belongs to the same sender.
    assert published(run) == (0, 2)
    assert slots(world, "claimed") == [(41, 11, mine, "Mon 02 09:00", None)]
    assert slots(world) == before


def test_a_row_claimed_meanwhile_does_not_share_its_place(world: Engine) -> None:
    """Whatever became of the claimed row, the stored plan keeps every rule beside it."""
    plan_now(world)
    # Older than Ada, so that her slot of nine o'clock would go to Carl.
    run_sql(
        world,
        """
        UPDATE mailboxes SET daily_capacity = 3, min_gap_seconds = 3600;
        INSERT INTO contacts (id, email) VALUES (23, 'carl@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (43, 23, 1, '2026-03-02 04:00+00');
        """,
    )
    plan_now(world, meanwhile="UPDATE scheduled_emails SET status = 'claimed' WHERE id = 61")
    assert slots(world, "claimed") == [(41, 11, 31, "Mon 02 09:00", None)]
    assert not len(check(world, NOW).violations)
    assert len(slots(world)) == 5


def test_a_row_that_a_dispatcher_made_meanwhile_is_taken_over(world: Engine) -> None:
    """Ada's first email was sent, and its dispatcher made the row of the next one."""
    run_sql(
        world,
        """
        UPDATE scheduled_emails SET status = 'sent', sent_at = '2026-02-27 09:00+00',
            send_day = '2026-02-27', send_at = '2026-02-27 09:00+00' WHERE id = 61;
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 31,
            enrolled_at = '2026-02-27 05:00+00' WHERE id = 41;
        """,
    )
    plan_now(world, meanwhile=NEXT_ROW)
    assert rows(
        world, "SELECT id, plan_run_id IS NOT NULL FROM scheduled_emails WHERE enrollment_id = 41"
    ) == [(61, False), (77, True)]
    assert not len(check(world, NOW).violations)
    assert len(slots(world)) == 3


NEXT_ROW = """
    INSERT INTO scheduled_emails (id, enrollment_id, step_id, mailbox_id, send_day, send_at)
        VALUES (77, 41, 12, 31, '2026-03-02', '2026-03-02 09:00+00')
"""


def test_a_row_that_is_being_made_is_waited_for(world: Engine) -> None:
    """The dispatcher's transaction is still open when the plan's row meets its own."""
    run_sql(
        world,
        """
        UPDATE scheduled_emails SET status = 'sent', sent_at = '2026-02-27 09:00+00',
            send_day = '2026-02-27', send_at = '2026-02-27 09:00+00' WHERE id = 61;
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 31 WHERE id = 41;
        """,
    )
    with world.connect() as dispatcher, world.connect() as watcher, ThreadPoolExecutor(1) as pool:
        waiting: list[Future[None]] = []

        def commit_when_waited_for() -> None:
            wait_until(watcher, IS_BLOCKED)
            dispatcher.commit()

        def enter(phase: str) -> None:
            if phase == "store" and not waiting:
                dispatcher.execute(text(NEXT_ROW))
                waiting.append(pool.submit(commit_when_waited_for))

        run_plan(world, NOW, Parameters(), report=enter)
        waiting[0].result()
    assert rows(world, "SELECT id FROM scheduled_emails WHERE enrollment_id = 41") == [(61,), (77,)]
    assert not len(check(world, NOW).violations)


def test_a_dispatcher_that_pauses_a_mailbox_does_not_end_the_run(world: Engine) -> None:
    """It records the failed email first and the mailbox next; the planner locks the other way.

    Of two who wait for each other PostgreSQL ends one, whichever notices: a plan starts over.
    """
    plan_now(world)
    run_sql(world, "UPDATE enrollments SET enrolled_at = '2026-03-02 05:59+00' WHERE id = 41")
    with world.connect() as dispatcher, world.connect() as watcher, ThreadPoolExecutor(1) as pool:
        waiting: list[Future[bool]] = []

        def pause_when_waited_for() -> bool:
            wait_until(watcher, IS_BLOCKED)
            try:
                dispatcher.execute(text("UPDATE mailboxes SET status = 'paused' WHERE id = 31"))
                dispatcher.commit()
            except OperationalError:
                return False
            return True

        def enter(phase: str) -> None:
            if phase == "store" and not waiting:
                dispatcher.execute(
                    text("UPDATE scheduled_emails SET last_error = '550 5.4.5' WHERE id = 61")
                )
                waiting.append(pool.submit(pause_when_waited_for))

        run_plan(world, NOW, Parameters(), report=enter)
        paused = waiting[0].result()
    assert rows(world, "SELECT status FROM mailboxes WHERE id = 31") == [
        ("paused" if paused else "active",)
    ]
    assert not len(check(world, NOW).violations)


def test_an_enrollment_stopped_meanwhile_gets_no_rows(world: Engine) -> None:
    run = plan_now(world, meanwhile="UPDATE enrollments SET status = 'stopped' WHERE id = 42")
    assert [row[:2] for row in slots(world)] == [(41, 11), (41, 12)]
    assert published(run) in [(2, 2), (2, 0)]  # left alone and counted, or planned afresh
    assert not len(check(world, NOW).violations)


def test_a_contact_suppressed_meanwhile_gets_no_rows(world: Engine) -> None:
    plan_now(world, meanwhile="UPDATE contacts SET suppressed_at = now() WHERE id = 22")
    assert [row[:2] for row in slots(world)] == [(41, 11), (41, 12)]


def test_a_row_deleted_meanwhile_does_not_come_back_to_life(world: Engine) -> None:
    plan_now(world, meanwhile="DELETE FROM scheduled_emails WHERE id = 61")
    plan_now(world)
    assert slots(world) == PLANNED


def test_a_mailbox_removed_meanwhile_makes_the_run_start_over(world: Engine) -> None:
    run_sql(world, "INSERT INTO sequence_mailboxes VALUES (1, 32)")
    phases: list[str] = []
    plan_now(
        world,
        meanwhile="UPDATE mailboxes SET status = 'removed' WHERE id = 31",
        report=phases.append,
    )
    assert phases.count("load") == 2
    assert {row[2] for row in slots(world)} == {32}
    assert len(rows(world, "SELECT FROM plan_runs")) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mailboxes SET daily_capacity = 1",
        "DELETE FROM sequence_mailboxes",
        "INSERT INTO steps (sequence_id, position) VALUES (1, 3)",
        "UPDATE steps SET wait_days = 2 WHERE id = 12",
        "UPDATE sequences SET status = 'paused'",
        "UPDATE sequences SET holidays = 'DE'",
    ],
)
def test_settings_changed_meanwhile_never_meet_an_older_plan(world: Engine, change: str) -> None:
    plan_now(world, meanwhile=change)
    assert not len(check(world, NOW).violations)
    assert published(plan_now(world)) == (0, 0)


def test_a_database_that_never_rests_stops_the_run(world: Engine) -> None:
    before = whole(world, "scheduled_emails", "plan_runs")

    def enter(phase: str) -> None:
        if phase == "store":
            run_sql(world, "UPDATE mailboxes SET daily_capacity = daily_capacity + 1")

    with pytest.raises(OvertakenError, match=r"(?i)nothing was written"):
        run_plan(world, NOW, Parameters(), report=enter)
    assert whole(world, *before) == before


# ---------------------------------------------------------------- two at once, and half-way


def test_a_second_planner_is_told_so(world: Engine) -> None:
    with planner_lock(world), pytest.raises(PlannerBusyError) as raised:
        run_plan(world, NOW, Parameters())
    assert raised.value.exit_code == 0
    assert rows(world, "SELECT FROM plan_runs") == []
    plan_now(world)  # the lock went with its owner


PLAN = ("plan", "--as-of", NOW.isoformat())


@pytest.mark.slow
def test_of_two_planners_one_plans_and_one_says_so(world: Engine, module_database_url: str) -> None:
    """The first process is held while it reads, its lock taken; the second one comes and goes."""
    with world.connect() as gate, world.connect() as watcher:
        gate.execute(text("LOCK TABLE scheduled_emails IN ACCESS EXCLUSIVE MODE"))
        with command(module_database_url, *PLAN) as first:
            wait_until(watcher, IS_BLOCKED)
            with command(module_database_url, *PLAN) as second:
                out, err = second.communicate(timeout=60)
            assert (second.returncode, out) == (0, "")
            assert "nother planner" in err
            assert "Traceback" not in err
            assert rows(world, "SELECT FROM plan_runs") == []
            gate.rollback()
            out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert len(rows(world, "SELECT FROM plan_runs")) == 1
    assert slots(world) == PLANNED


# Holds a transaction that has written rows back at its commit, until the test lets go.
HOLD_COMMITS = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(4711);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT OR UPDATE ON scheduled_emails
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
"""


@pytest.mark.slow
def test_a_server_that_dies_while_publishing_leaves_nothing(
    world: Engine, module_database_url: str
) -> None:
    before = whole(world, "scheduled_emails", "plan_runs")
    run_sql(world, HOLD_COMMITS)
    try:
        with world.connect() as gate, world.connect() as watcher:
            gate.execute(text("SELECT pg_advisory_xact_lock(4711)"))
            with command(module_database_url, *PLAN) as planner:
                pid = wait_until(watcher, IS_BLOCKED)
                watcher.execute(text(f"SELECT pg_terminate_backend({pid})"))
                out, err = planner.communicate(timeout=60)
            gate.rollback()
    finally:
        run_sql(world, "DROP TRIGGER hold ON scheduled_emails; DROP FUNCTION hold()")
    assert (planner.returncode, out) == (4, "")
    assert "Traceback" not in err
    assert "storing the plan" in err
    assert whole(world, *before) == before
    plan_now(world)  # and no lock either
    assert slots(world) == PLANNED


def test_nobody_sees_half_a_plan(world: Engine) -> None:
    """Until the commit every row reads as before, also for who claims emails."""
    before = slots(world)
    run_sql(world, HOLD_COMMITS)
    try:
        with (
            world.connect() as gate,
            world.connect() as watcher,
            ThreadPoolExecutor(1) as pool,
        ):
            gate.execute(text("SELECT pg_advisory_xact_lock(4711)"))
            run = pool.submit(run_plan, world, NOW, Parameters())
            wait_until(watcher, IS_BLOCKED)
            assert slots(world) == before
            assert rows(world, "SELECT FROM plan_runs") == []
            gate.rollback()
            run.result(timeout=60)
    finally:
        run_sql(world, "DROP TRIGGER hold ON scheduled_emails; DROP FUNCTION hold()")
    assert slots(world) == PLANNED


# ---------------------------------------------------------------- what must not be stored


def test_a_plan_that_breaks_a_rule_is_not_stored(
    world: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_night(problem: Problem, parameters: Parameters, **others: Any) -> Plan:
        plan = plan_with(problem, parameters, **others)
        late = plan.sends["send_at"] + pd.Timedelta(hours=12)
        return replace(plan, sends=plan.sends.assign(send_at=late))

    before = whole(world)
    monkeypatch.setattr(running, "plan_with", by_night)
    with pytest.raises(UnsoundPlanError, match="window") as raised:
        run_plan(world, NOW, Parameters())
    assert raised.value.exit_code == 1
    assert whole(world) == before
    monkeypatch.undo()
    plan_now(world)


# ---------------------------------------------------------------- instances of every kind


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True], ids=["default horizon", "given horizon"])
@pytest.mark.parametrize("seed", range(300, 304))
def test_a_stored_plan_keeps_every_rule(engine: Engine, seed: int, given: bool) -> None:
    frames, now = random_frames(seed)
    with engine.begin() as connection:
        put_frames(connection, frames, now)
        before = read_frames(connection)
    parameters = Parameters(horizon_days=seed % 7 if given else None)
    run = run_plan(engine, now, parameters)
    assert judged(engine, before, now, run, given=given) == []
    stored = whole(engine, "scheduled_emails")
    assert published(run_plan(engine, now, parameters)) == (0, 0)
    assert whole(engine, "scheduled_emails") == stored


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(404, 408))
def test_a_later_run_keeps_every_rule(engine: Engine, seed: int) -> None:
    """Hours or a day later, with emails sent, in flight and missed in between."""
    rng = random.Random(seed)
    frames, now = random_frames(seed)
    later = now + pd.Timedelta(hours=rng.choice((1, 5, 23)), minutes=rng.randrange(60))
    with engine.begin() as connection:
        put_frames(connection, frames, now)
    run_plan(engine, now, Parameters())
    with engine.begin() as connection:
        gone_on = advanced(read_frames(connection), later, rng)
        clear_tables(connection)
        put_frames(connection, gone_on, later)
        before = read_frames(connection)
    run = run_plan(engine, later, Parameters())
    assert judged(engine, before, later, run, given=False) == []
