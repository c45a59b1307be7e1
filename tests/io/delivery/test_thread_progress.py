"""What follows for an enrollment from an email that has left."""

import random
from datetime import date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

import sendplan
from sendplan.io.delivery.claim import Claim
from sendplan.io.delivery.thread_progress import NEXT_STEP
from sendplan.io.delivery.transitions import begin, succeed
from sendplan.planner.problem.enrollment_state import enrollment_state
from sendplan.tests.worlds.databases.due_emails import LEASE, Claiming, put
from sendplan.tests.worlds.databases.frames import read_frames
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:01")


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    return module_engine


# ---------------------------------------------------------------- the next step


def by_chance(seed: int) -> World:
    """Make threads that have received some steps each, whose order is another one by now."""
    chance = random.Random(seed)
    made = World(NOW).mailbox(5, sequences=())
    for sequence in range(1, 7):
        made.sequence(sequence, waits=())
        steps = [10 * sequence + number for number in range(1, chance.randint(2, 7))]
        chance.shuffle(steps)
        live = steps[: chance.randint(1, len(steps))]
        for step in sorted(steps):
            position = live.index(step) + 1 if step in live else None
            made.step(step, position, sequence=sequence)
            if position is None:
                made.rows["steps"][-1]["removed_at"] = at(-1, "09:00")
        for key in range(100 * sequence, 100 * sequence + 40):
            received = chance.sample(steps, chance.randint(0, len(steps)))
            # The step that the enrollment tells may have a row, or none.
            told = chance.choice([None, *received, *steps])
            made.enroll(key, sequence=sequence, **({"current_step_id": told} if told else {}))
            for step in received:
                status = chance.choices(["sent", "cancelled", "pending"], [6, 1, 1])[0]
                # Few moments, so that some are the same.
                made.email(key, step, status, chance.randint(-5, -1), id=100 * key + step % 10)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_dispatcher_and_planner_agree_on_the_next_step(engine: Engine, seed: int) -> None:
    put(engine, by_chance(seed))
    with engine.connect() as connection:
        frames = read_frames(connection)
        found = connection.execute(
            text(f"""SELECT enrollment.id, (SELECT id FROM ({NEXT_STEP}) AS next_step) AS step
                     FROM enrollments AS enrollment""")
        )
        told: dict[int, int | None] = {row.id: row.step for row in found}
    problem = sendplan.Problem.from_frames(**frames, now=NOW)
    wanted: dict[int, int | None] = {}
    steps_of = problem.live_steps.groupby("sequence_id")["id"].agg(list)
    for key, sequence, remaining in zip(
        problem.enrollments["id"],
        problem.enrollments["sequence_id"],
        enrollment_state(problem).remaining.tolist(),
        strict=True,
    ):
        steps = steps_of[sequence]
        left = [step for number, step in enumerate(steps) if remaining >> number & 1]
        wanted[key] = left[0] if left else None
    assert told == wanted
    # It was no question of all or nothing.
    assert 30 < sum(step is None for step in told.values()) < 210


# ---------------------------------------------------------------- going on


def thread(**sequence: Any) -> World:
    """Make a thread whose first email, due on Tuesday, is the only one that has a row."""
    made = World(NOW).sequence(waits=(0, 2, 1), **sequence).mailbox(5, 2).enroll(1, contact_id=31)
    return made.email(1, 11, "pending", 1, id=1)


def sent(engine: Engine, clock: str = "09:02", *, meanwhile: str = "SELECT") -> None:
    """Let email 1 leave on Tuesday, with something happening while it is on its way."""
    with Claiming(engine) as claiming:
        claimed = begun(claiming, NOW)
        run_sql(engine, meanwhile)
        recorded(claiming, claimed, at(1, clock))


def begun(claiming: Claiming, now: datetime) -> Claim:
    """Let the only email that is due be on its way."""
    (claimed,) = claiming.claim(now)
    with claiming.writing() as cursor:
        assert begin(cursor, [claimed], LEASE) == {claimed.email_id}
    return claimed


def recorded(claiming: Claiming, claimed: Claim, moment: datetime) -> None:
    with claiming.writing() as cursor:
        assert succeed(cursor, [(claimed, moment)]) == {claimed.email_id}


def standing(engine: Engine) -> tuple[Any, ...]:
    columns = "status, current_step_id, mailbox_id, completed_at"
    (found,) = rows(engine, f"SELECT {columns} FROM enrollments WHERE id = 1")
    return tuple(found)


def next_rows(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(
        engine,
        """SELECT step_id, status, mailbox_id, send_day, send_at, plan_run_id
           FROM scheduled_emails WHERE enrollment_id = 1 AND id <> 1 ORDER BY step_id""",
    )


def test_the_first_success_binds_the_thread_and_makes_the_next_row(engine: Engine) -> None:
    put(engine, thread())
    sent(engine)
    assert standing(engine) == ("active", 11, 5, None)
    # Two days after Tuesday, at the same time; provisional, for the next plan.
    assert next_rows(engine) == [(12, "pending", 5, date(2026, 3, 5), at(3, "09:02"), None)]


def test_a_next_row_that_is_there_is_left_as_it_is(engine: Engine) -> None:
    put(engine, thread().email(1, 12, "pending", 4, "11:00", id=2))
    before = rows(engine, "SELECT concat(xmin, e) FROM scheduled_emails AS e WHERE id = 2")
    sent(engine)
    assert rows(engine, "SELECT concat(xmin, e) FROM scheduled_emails AS e WHERE id = 2") == before
    assert len(next_rows(engine)) == 1


def test_the_wait_counts_sending_days_where_that_is_wanted(engine: Engine) -> None:
    # Of Tuesdays and Fridays, the second one after Tuesday is the next Tuesday.
    put(engine, thread(send_days=[2, 5], wait_unit="sending"))
    sent(engine)
    assert [row[3] for row in next_rows(engine)] == [date(2026, 3, 10)]


def test_the_next_row_is_on_a_sending_day(engine: Engine) -> None:
    # Thursday is none.
    put(engine, thread(send_days=[1, 2, 6]))
    sent(engine)
    assert [row[3] for row in next_rows(engine)] == [date(2026, 3, 7)]


def test_the_wait_runs_from_the_local_date_and_clock(engine: Engine) -> None:
    # Sent at 20:30 UTC on Tuesday, 9:30 on Wednesday in Auckland: Friday, 9:30 there.
    put(engine, thread())
    run_sql(
        engine,
        """UPDATE contacts SET timezone = 'Pacific/Auckland';
           UPDATE sequences SET start_time = '00:00', end_time = '24:00';
           UPDATE scheduled_emails SET send_day = '2026-03-03'""",
    )
    sent(engine, "20:30")
    assert [row[3:5] for row in next_rows(engine)] == [(date(2026, 3, 6), at(3, "20:30"))]


@pytest.mark.parametrize("status", ["sent", "claimed", "uncertain", "pending"])
def test_the_next_row_is_on_a_day_with_room(engine: Engine, status: str) -> None:
    # Two a day: Thursday is full, on Friday there is one place left.
    made = thread().enroll(7, 8, 9)
    made.email(7, 11, status, 3, id=7).email(8, 11, status, 3, id=8)
    put(engine, made.email(9, 11, status, 4, id=9))
    sent(engine)
    assert [row[3] for row in next_rows(engine)] == [date(2026, 3, 6)]


def test_what_will_not_go_uses_no_room_up(engine: Engine) -> None:
    made = thread().enroll(7, 8)
    made.email(7, 11, "failed", 3, id=7).email(8, 11, "cancelled", 3, id=8)
    put(engine, made)
    sent(engine)
    assert [row[3] for row in next_rows(engine)] == [date(2026, 3, 5)]


def test_the_ramp_counts_for_the_next_row(engine: Engine) -> None:
    # 1 on Tuesday and Wednesday, without an increment: Thursday's only place is taken.
    made = thread().enroll(7)
    put(engine, made.email(7, 11, "pending", 3, id=7))
    run_sql(engine, "UPDATE mailboxes SET ramp_start = 1, ramp_from = '2026-03-03'")
    sent(engine)
    assert [row[3] for row in next_rows(engine)] == [date(2026, 3, 6)]


def test_where_there_is_no_room_at_all_the_planner_is_left_to_say_so(engine: Engine) -> None:
    put(engine, thread().email(1, 12, "cancelled", 3, id=2))
    sent(engine, meanwhile="UPDATE mailboxes SET daily_capacity = 0")
    assert [row[0] for row in next_rows(engine) if row[1] == "pending"] == [12]


UNREADABLE = {
    "an unknown zone": "ALTER TABLE contacts DROP CONSTRAINT IF EXISTS contacts_timezone_known;"
    " UPDATE contacts SET timezone = 'Mars/Olympus'",
    "an unknown country": "UPDATE sequences SET holidays = 'XX'",
}


@pytest.mark.parametrize("change", UNREADABLE)
def test_a_calendar_that_cannot_be_read_keeps_no_email_from_being_recorded(
    engine: Engine, change: str
) -> None:
    put(engine, thread())
    sent(engine, meanwhile=UNREADABLE[change])
    assert standing(engine) == ("active", 11, 5, None)
    # The next plan makes the row, once it can be read again.
    assert next_rows(engine) == []


# ---------------------------------------------------------------- completing


def last() -> World:
    """Make a thread whose second and last email is due."""
    made = World(NOW).sequence(waits=(0, 1)).mailbox(5).enroll(1, contact_id=31, mailbox_id=5)
    made.rows["enrollments"][0]["current_step_id"] = 11
    return made.email(1, 11, "sent", 0, id=11).email(1, 12, "pending", 1, id=1)


def test_an_enrollment_completes_with_its_last_email(engine: Engine) -> None:
    put(engine, last())
    sent(engine)
    assert standing(engine) == ("completed", 12, 5, at(1, "09:02"))
    assert rows(engine, "SELECT kind FROM change_requests") == []


@pytest.mark.parametrize("status", ["claimed", "sending", "uncertain", "failed"])
def test_no_enrollment_completes_that_one_of_its_emails_holds_up(
    engine: Engine, claiming: Claiming, status: str
) -> None:
    """Its commit unheard, a success is written once more, and finds the last email so by then."""
    made = World(NOW).sequence(waits=(0, 1)).mailbox(5).enroll(1, contact_id=31)
    put(engine, made.email(1, 11, "pending", 1, id=1))
    claimed = begun(claiming, NOW)
    recorded(claiming, claimed, at(1, "09:02"))
    run_sql(engine, f"UPDATE scheduled_emails SET status = '{status}' WHERE step_id = 12")
    recorded(claiming, claimed, at(1, "09:02"))
    assert standing(engine) == ("active", 11, 5, None)


def test_a_success_that_is_written_twice_moves_no_enrollment_back(
    engine: Engine, claiming: Claiming
) -> None:
    """The second email left meanwhile, from another mailbox, as the first one's was removed."""
    put(engine, thread().mailbox(6))
    claimed = begun(claiming, NOW)
    recorded(claiming, claimed, at(1, "09:02"))
    run_sql(
        engine,
        """UPDATE mailboxes SET status = 'removed' WHERE id = 5;
           UPDATE scheduled_emails SET mailbox_id = 6, plan_run_id = 1 WHERE step_id = 12""",
    )
    recorded(claiming, begun(claiming, at(3, "09:03")), at(3, "09:04"))
    after = standing(engine)
    assert after == ("active", 12, 6, None)
    recorded(claiming, claimed, at(1, "09:02"))
    assert standing(engine) == after
    # The third step's row was made by the second one's success, and not again.
    assert [row[:2] for row in next_rows(engine)] == [(12, "sent"), (13, "pending")]


def test_an_enrollment_completes_when_all_that_is_left_was_removed(engine: Engine) -> None:
    put(engine, thread())
    run_sql(engine, "UPDATE steps SET removed_at = now() WHERE id IN (12, 13)")
    sent(engine)
    assert standing(engine) == ("completed", 11, 5, at(1, "09:02"))
    assert next_rows(engine) == []


def test_an_enrollment_completes_when_all_that_is_left_lies_before_its_point(
    engine: Engine,
) -> None:
    put(engine, last())
    # Put in at the beginning; who has passed that point never gets it.
    run_sql(
        engine,
        """UPDATE steps SET position = position + 1;
           INSERT INTO steps (id, sequence_id, position) VALUES (14, 1, 1)""",
    )
    sent(engine)
    assert standing(engine)[0] == "completed"
    assert rows(engine, "SELECT count(*) FROM scheduled_emails") == [(2,)]


def test_a_removed_step_in_between_is_skipped(engine: Engine) -> None:
    put(engine, thread())
    run_sql(engine, "UPDATE steps SET removed_at = now() WHERE id = 12")
    sent(engine)
    # A day after Tuesday, as step 13 has it.
    assert [row[:4] for row in next_rows(engine)] == [(13, "pending", 5, date(2026, 3, 4))]


def test_one_that_was_stopped_meanwhile_stays_stopped(engine: Engine) -> None:
    put(engine, thread())
    sent(engine, meanwhile="UPDATE enrollments SET status = 'stopped'")
    assert standing(engine) == ("stopped", 11, 5, None)
    assert next_rows(engine) == []


def test_after_a_removal_the_next_success_binds_the_thread_anew(engine: Engine) -> None:
    made = last().mailbox(6)
    made.rows["scheduled_emails"][-1]["mailbox_id"] = 6
    put(engine, made)
    run_sql(engine, "UPDATE mailboxes SET status = 'removed' WHERE id = 5")
    sent(engine)
    assert standing(engine) == ("completed", 12, 6, at(1, "09:02"))
