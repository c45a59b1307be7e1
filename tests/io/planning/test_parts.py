"""Planning part by part: how work is divided, and that nothing is lost or done twice."""

import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from sendplan.io.database.engine import connect
from sendplan.io.database.planner_lock_key import PLANNER_LOCK
from sendplan.io.errors import DatabaseError, DataError
from sendplan.io.planning import part_planning
from sendplan.io.planning.executors import ExecutorError, Workplace, processes
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.part_planning import PartJob, installation_of, plan_part
from sendplan.io.planning.partitioned_run import ROUNDS, PartsMissingError
from sendplan.io.planning.run import Run
from sendplan.io.publish.planner_lock import planner_lock
from sendplan.io.publish.run_records import SupersededError
from sendplan.io.publish.summaries import summary_to_json
from sendplan.io.snapshot.partition import Part, divide
from sendplan.planner.plan.summary import Summary
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames, read_frames
from sendplan.tests.worlds.databases.nightly_runs import (
    IS_BLOCKED,
    command,
    judged,
    published,
    wait_until,
    whole,
)
from sendplan.tests.worlds.databases.partitioned import (
    NOW,
    SIZE,
    Inline,
    fill,
    held,
    here,
    parts_published,
    rows,
    run_sql,
    sound,
    stored,
    workers_of,
    world,
)
from sendplan.tests.worlds.problems.nasty import random_frames
from sendplan.tests.worlds.problems.tiny import World, at

GREEDY = Parameters(method="greedy")


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    """An engine on a database with nothing in it."""
    engine = connect(module_database_url)
    fill(engine, World())
    yield engine
    engine.dispose()


@pytest.fixture
def four(engine: Engine) -> Engine:
    """A database of four parts."""
    fill(engine)
    return engine


@pytest.fixture(scope="module")
def undisturbed(module_database_url: str) -> list[Any]:
    """What a run that nothing disturbs stores in the database of four parts."""
    engine = connect(module_database_url)
    fill(engine)
    in_parts(engine)
    assert parts_published(engine) == [1, 2, 3, 4]
    found = stored(engine)
    engine.dispose()
    return found


def divided(engine: Engine, size: int) -> list[tuple[list[int], int]]:
    """Give each part's sequences and how many active enrollments it has."""
    parts = divide(engine, size).parts
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    return [(sorted(part.sequence_ids), part.enrollments) for part in parts]


def in_parts(engine: Engine, parameters: Parameters = GREEDY, **more: Any) -> Run:
    """Plan the database of four parts."""
    return run_plan(engine, NOW, parameters, **{"workplace": here(), "part_size": SIZE} | more)


def figures(summary: Summary) -> dict[str, Any]:
    return summary_to_json(summary)


# ---------------------------------------------------------------- dividing


def alone(*sizes: int) -> World:
    """Make sequences 1, 2 … with so many contacts, each with a mailbox of its own."""
    made = World()
    for key, size in enumerate(sizes, start=1):
        made.sequence(key).mailbox(10 * key, 10, (key,), email=f"{key}@example.com")
        made.enroll(*(100 * key + number for number in range(size)), sequence=key)
    return made


def test_no_sequence_is_one_part_of_nothing(engine: Engine) -> None:
    assert divided(engine, 1) == [([], 0)]


def test_what_fits_in_one_part_is_one(engine: Engine) -> None:
    fill(engine, alone(2, 1))
    assert divided(engine, 3) == [([1, 2], 3)]


def test_components_are_put_together_up_to_the_size(engine: Engine) -> None:
    """2 + 1 = 3 fill the first part, 4 is too large for any, and 1 + 2 = 3 make the last."""
    fill(engine, alone(2, 1, 4, 1, 2))
    assert divided(engine, 3) == [([1, 2], 3), ([3], 4), ([4, 5], 3)]


def test_a_sequence_without_enrollments_is_in_some_part(engine: Engine) -> None:
    """Its rows may have to be tidied up; it fills nothing, so it goes with the part before."""
    fill(engine, alone(2, 0, 2, 0))
    assert divided(engine, 2) == [([1, 2], 2), ([3, 4], 2)]


def test_only_active_enrollments_count(engine: Engine) -> None:
    fill(engine, alone(2, 2))
    run_sql(engine, "UPDATE enrollments SET status = 'stopped' WHERE id IN (100, 200)")
    assert divided(engine, 1) == [([1], 1), ([2], 1)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("INSERT INTO sequence_mailboxes VALUES (3, 10)", [[1, 3], [2]]),
        # Through mailbox 20: 1 with 2, and 2 with 3.
        ("INSERT INTO sequence_mailboxes VALUES (1, 20), (3, 20)", [[1, 2, 3]]),
        # A paused mailbox will send again, and its threads wait for it.
        (
            "INSERT INTO sequence_mailboxes VALUES (3, 10);"
            "UPDATE mailboxes SET status = 'paused' WHERE id = 10",
            [[1, 3], [2]],
        ),
        (
            "INSERT INTO sequence_mailboxes VALUES (3, 10);"
            "UPDATE mailboxes SET status = 'removed' WHERE id = 10",
            [[1], [2], [3]],
        ),
        # One email a day, whichever sequence it is of.
        ("UPDATE enrollments SET contact_id = 100 WHERE id = 300", [[1, 3], [2]]),
        (
            "UPDATE enrollments SET contact_id = 100 WHERE id = 300;"
            "UPDATE enrollments SET status = 'stopped' WHERE id = 300",
            [[1], [2, 3]],  # 3 has none left to fill a part with
        ),
    ],
)
def test_what_shares_mailboxes_or_contacts_stays_together(
    engine: Engine, change: str, expected: list[list[int]]
) -> None:
    made = alone(1, 1, 1)
    for row in made.rows["enrollments"]:
        row["contact_id"] = row["id"]
    fill(engine, made)
    run_sql(engine, change)
    assert [ids for ids, _ in divided(engine, 1)] == expected


def test_whose_room_a_slot_uses_that_cannot_stay_is_in_its_part(engine: Engine) -> None:
    """Sequence 1 has left mailbox 20, where its email stands until it is planned anew.

    Planned before it, sequence 2 would go round a slot that is about to be given up.
    """
    made = alone(1, 1, 1).email(100, 11, "pending", 0, mailbox_id=20, id=1)
    fill(engine, made)
    assert divided(engine, 1) == [([1, 2], 2), ([3], 1)]
    run_sql(engine, "UPDATE scheduled_emails SET plan_run_id = NULL")
    assert divided(engine, 1) == [([1], 1), ([2], 1), ([3], 1)]  # a provisional row uses nothing


def test_whose_day_an_ended_enrollment_holds_is_in_its_part(engine: Engine) -> None:
    """Contact 7 was stopped in sequence 3, where a planned email is still to be cancelled."""
    made = alone(0, 1, 0).enroll(100, sequence=1, contact_id=7)
    made.enroll(300, sequence=3, contact_id=7, status="stopped")
    made.email(300, 31, "pending", 0, mailbox_id=30, id=1)
    for row in made.rows["enrollments"]:
        row.setdefault("contact_id", row["id"])
    fill(engine, made)
    assert divided(engine, 1) == [([1, 3], 1), ([2], 1)]


def test_the_division_knows_the_requests_of_its_moment(four: Engine) -> None:
    run_sql(four, "UPDATE mailboxes SET daily_capacity = 3 WHERE id = 10")
    assert divide(four, SIZE).requests.mailbox_ids == {10}


# ---------------------------------------------------------------- the same as at once


def headline(run: Run) -> dict[str, Any]:
    """Give what ``plan --json`` prints, but for the run's number and times."""
    return {
        name: value for name, value in run.to_json().items() if name not in ("run_id", "seconds")
    }


ON_RECORD = """
    SELECT kind, as_of, method, status, stop_reason, cost, lower_bound, emails, unplaced, blocked,
           late_follow_ups, slip_days, moved, rows_changed, skipped, horizon_end, finish_day,
           parameters - 'parts', publishing, finished_at >= started_at
    FROM plan_runs ORDER BY id DESC LIMIT 1
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        GREEDY,
        Parameters(method="greedy", horizon_days=3),
        # Closes the gap of each component, so that nothing depends on how the time is shared out.
        Parameters(method="auto", gap=0.0, time_limit=20.0),
        Parameters(method="cpsat", time_limit=20.0),
    ],
    ids=lambda given: f"{given.method} {given.horizon_days or ''}",
)
def test_parts_make_the_plan_that_is_made_at_once(engine: Engine, parameters: Parameters) -> None:
    """Sequence 4 is blocked, so that one part has nothing to plan, and one more sequence paused."""
    made = world()
    made.rows["mailboxes"][3]["status"] = "paused"
    made.sequence(5, status="paused", name=None).enroll(500, sequence=5)
    fill(engine, made)
    at_once = run_plan(engine, NOW, parameters)
    expected, record = stored(engine), rows(engine, ON_RECORD)
    fill(engine, made)
    parted = in_parts(engine, parameters)
    assert parts_published(engine) == [1, 2, 3, 4, 5]
    assert stored(engine) == expected
    assert headline(parted) == headline(at_once)
    assert figures(parted.summary) == figures(at_once.summary)
    assert rows(engine, ON_RECORD) == record
    assert sound(engine)


def test_by_default_the_room_of_a_mailbox_is_that_of_the_days_of_its_part(engine: Engine) -> None:
    """18 emails at 2 a day take 9 sending days, from Monday 2 to Thursday 12 March: room for 18.

    The one part ends with its second email on Tuesday: 2 a day for 2 days.
    """
    made = World().sequence(1, waits=(0, 1, 2)).mailbox(10, 2, (1,), email="a@example.com")
    made.sequence(2, waits=(0, 1)).mailbox(20, 2, (2,), email="b@example.com")
    fill(engine, made.enroll(*range(100, 106)).enroll(200, sequence=2))
    at_once = run_plan(engine, NOW, GREEDY).summary
    fill(engine, made)
    parted = in_parts(engine).summary
    assert parted.totals == at_once.totals
    assert parted.mailboxes["planned"].tolist() == at_once.mailboxes["planned"].tolist() == [18, 2]
    days = (at_once.totals["finish_day"] - NOW.date()).days
    weekdays = sum(at(number, "00:00").isoweekday() <= 5 for number in range(days + 1))
    assert at_once.mailboxes["capacity"].tolist() == [2 * weekdays, 2 * weekdays]
    assert parted.mailboxes["capacity"].tolist() == [2 * weekdays, 4]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 303))
def test_parts_of_any_kind_keep_every_rule(engine: Engine, seed: int) -> None:
    """Greedy, with everything that an instance can have; and planning again changes nothing."""
    frames, now = random_frames(seed, 20)
    with engine.begin() as connection:
        put_frames(connection, frames, now)
        before = read_frames(connection)
    at_once = run_plan(engine, now, GREEDY)
    expected = stored(engine)
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, frames, now)
    parted = run_plan(engine, now, GREEDY, workplace=here(), part_size=1)
    assert judged(engine, before, now, run_like(parted, at_once), given=False) == []
    assert stored(engine) == expected
    assert headline(parted) == headline(at_once)
    again = run_plan(engine, now, GREEDY, workplace=here(), part_size=1)
    assert published(again) == (0, 0)
    assert stored(engine) == expected


def run_like(parted: Run, at_once: Run) -> Run:
    """Give a run its plan, which nobody has in one piece, for whoever counts what it holds."""
    return Run(parted.summary, parted.published, parted.seconds, at_once.plan)


# ---------------------------------------------------------------- a run in parts


def test_a_run_in_parts_tells_how_far_it_has_come(undisturbed: list[Any], four: Engine) -> None:
    told: list[tuple[int, int]] = []
    run = in_parts(four, done=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (run.plan, published(run)) == (None, (72, 0))
    assert len(undisturbed) == 72


def test_a_database_that_fits_in_one_part_is_planned_at_once(four: Engine) -> None:
    run = run_plan(four, NOW, GREEDY, part_size=4 * SIZE)
    assert run.plan is not None
    assert parts_published(four) == []


def test_an_empty_database_is_planned_in_a_part(engine: Engine) -> None:
    run = in_parts(engine)
    assert (run.summary.totals["status"], published(run)) == ("empty", (0, 0))
    assert rows(engine, "SELECT status, emails, lower_bound FROM plan_runs") == [("empty", 0, None)]


@pytest.mark.slow
def test_planning_in_parts_again_changes_no_row(four: Engine) -> None:
    in_parts(four)
    before = whole(four, "scheduled_emails", "enrollments")
    assert published(in_parts(four)) == (0, 0)
    assert whole(four, *before) == before
    assert len(rows(four, "SELECT FROM plan_runs")) == 2


@pytest.mark.slow
def test_only_the_parts_of_the_newest_run_are_kept(four: Engine) -> None:
    in_parts(four)
    newest = in_parts(four).published
    assert newest is not None
    assert rows(four, "SELECT DISTINCT run_id FROM plan_run_parts") == [(newest.run_id,)]


def test_a_dry_run_in_parts_writes_nothing(undisturbed: list[Any], four: Engine) -> None:
    tables = ("scheduled_emails", "plan_runs", "plan_run_parts", "change_requests")
    run_sql(four, "INSERT INTO change_requests (kind, sequence_id) VALUES ('sequence', 1)")
    before = whole(four, *tables)
    with planner_lock(four):  # nor does it wait for who writes
        run = in_parts(four, dry_run=True)
    assert whole(four, *tables) == before
    assert run.published is None
    assert run.summary.totals["emails"] == len(undisturbed)


NEW_SEQUENCE = """
    INSERT INTO sequences (id, start_time, end_time) VALUES (9, '09:00', '17:00');
    INSERT INTO steps (id, sequence_id, position) VALUES (91, 9, 1);
    INSERT INTO sequence_mailboxes VALUES (9, 40);
    DELETE FROM sequence_mailboxes WHERE mailbox_id = 40 AND sequence_id = 9;
"""


def queued(engine: Engine) -> set[tuple[str, int | None, int | None]]:
    return set(rows(engine, "SELECT kind, sequence_id, mailbox_id FROM change_requests"))


def test_requests_are_cleared_that_were_there_when_the_work_was_divided(four: Engine) -> None:
    """A sequence that comes right after belongs to no part: what asks for it must stay."""
    run_sql(four, "UPDATE mailboxes SET daily_capacity = 3 WHERE id = 10")
    assert queued(four) == {("mailbox", None, 10)}

    def report(phase: str) -> None:
        run_sql(four, NEW_SEQUENCE)

    in_parts(four, report=report)
    assert ("mailbox", None, 10) not in queued(four)
    assert ("step", 9, None) in queued(four)


def test_requests_stay_that_came_while_parts_were_planned(four: Engine) -> None:
    def change() -> None:
        run_sql(four, "UPDATE mailboxes SET daily_capacity = 3 WHERE id = 10")

    in_parts(four, workplace=here({2: change}))  # part 1, whose mailbox it is, has been published
    assert queued(four) == {("mailbox", None, 10)}


def test_requests_stay_while_a_part_is_missing(
    four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(snapshot: Any, *args: Any, **kwargs: Any) -> Any:
        if 3 in snapshot.reach:
            raise DataError("no such day", "The tables cannot be planned")
        return part_planning_planned(snapshot, *args, **kwargs)

    part_planning_planned = part_planning.planned
    monkeypatch.setattr(part_planning, "planned", planned)
    run_sql(four, "UPDATE mailboxes SET daily_capacity = daily_capacity + 1 WHERE id = 10")
    with pytest.raises(PartsMissingError, match="1 of 4 parts could not be planned"):
        in_parts(four)
    assert queued(four) == {("mailbox", None, 10)}
    # 3 parts of 18 emails; no figures, as there are none of the whole.
    assert rows(four, UNFINISHED) == [(True, False, None, None, 54)]


def test_the_time_limit_is_shared_out_by_enrollments(engine: Engine) -> None:
    """Of 12 seconds, 3 of 6 active enrollments get 6, 2 get 4 and one 2, whoever works."""
    fill(engine, alone(3, 2, 1, 0))
    given: list[PartJob] = []
    parameters = Parameters(time_limit=12.0, workers=7)
    run_plan(engine, NOW, parameters, workplace=here(given=given), part_size=1)
    assert [job.parameters.time_limit for job in given] == pytest.approx([6, 4, 2])
    assert {job.parameters.workers for job in given} == {1}


def test_nobody_to_plan_for_needs_no_time(engine: Engine) -> None:
    fill(engine, alone(0))
    given: list[PartJob] = []
    run_plan(engine, NOW, Parameters(time_limit=12.0), workplace=here(given=given))
    assert [job.parameters.time_limit for job in given] == [12.0]


# ---------------------------------------------------------------- what changes meanwhile


LINK = "INSERT INTO sequence_mailboxes VALUES (3, 10)"
"""Joins parts 1 and 3."""


def test_a_link_made_between_two_parts_has_both_planned_anew(four: Engine) -> None:
    """Part 1 has used up mailbox 10, of which part 3 now may use what it takes for free room."""
    run = in_parts(four, workplace=here({2: lambda: run_sql(four, LINK)}))
    # Sequences 1 and 3 together are part 5, which takes the place of parts 1 and 3.
    assert parts_published(four) == [1, 2, 4, 5]
    assert run.summary.totals["emails"] == len(stored(four)) == 72
    assert len(run.summary.sequences) == 4
    assert sound(four)
    assert rows(four, "SELECT emails, parameters -> 'parts', finished_at IS NULL FROM plan_runs")[
        0
    ] == (72, 5, False)
    # Planning again finds nothing to do.
    assert published(in_parts(four))[0] == 0


def test_only_what_is_tied_to_a_stale_part_is_planned_anew(four: Engine) -> None:
    """Sequence 4 joins 3; parts 1 and 2 stay as they have been published."""
    given: list[PartJob] = []
    change = "INSERT INTO sequence_mailboxes VALUES (4, 30)"
    in_parts(four, workplace=here({4: lambda: run_sql(four, change)}, given=given))
    assert [sorted(job.part.sequence_ids) for job in given] == [[1], [2], [3], [4], [3, 4]]
    assert sound(four)


def test_a_link_made_while_a_part_is_planned_has_it_planned_anew(
    four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part 1 has been read when it comes to share its mailbox with part 3."""
    waiting = [LINK]

    def planned(*args: Any, **kwargs: Any) -> Any:
        if waiting:
            run_sql(four, waiting.pop())
        return part_planning_planned(*args, **kwargs)

    part_planning_planned = part_planning.planned
    monkeypatch.setattr(part_planning, "planned", planned)
    in_parts(four)
    assert parts_published(four) == [2, 4, 5]
    assert len(stored(four)) == 72
    assert sound(four)


def test_a_sequence_deleted_meanwhile_leaves_nothing_to_plan(four: Engine) -> None:
    change = """
        DELETE FROM enrollments WHERE sequence_id = 4;
        DELETE FROM steps WHERE sequence_id = 4;
        DELETE FROM sequence_mailboxes WHERE sequence_id = 4;
        DELETE FROM sequences WHERE id = 4
    """
    run = in_parts(four, workplace=here({4: lambda: run_sql(four, change)}))
    assert run.summary.totals["emails"] == len(stored(four)) == 54


def test_a_division_that_never_rests_is_given_up(
    four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link comes and goes again whenever a part has been read."""
    stands_alone = part_planning.stands_alone
    monkeypatch.setattr(
        part_planning,
        "stands_alone",
        lambda connection, sequence_ids: (
            3 not in sequence_ids and stands_alone(connection, sequence_ids)
        ),
    )
    with pytest.raises(PartsMissingError, match="changed since the parts were formed") as raised:
        in_parts(four)
    assert raised.value.exit_code == 1
    assert rows(four, UNFINISHED) == [(True, False, None, None, 54)]


@pytest.mark.parametrize("before_part", [1, 2])
def test_a_contact_enrolled_between_two_parts_gets_one_email_a_day(
    engine: Engine, before_part: int
) -> None:
    """Contact 100 of part 1 joins sequence 3: each that sees so might take the other's day."""
    made = world()
    for row in made.rows["enrollments"]:
        row["contact_id"] = row["id"]
    fill(engine, made)
    change = """
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (399, 100, 3, '2026-02-27 10:00+00')
            ON CONFLICT DO NOTHING
    """
    in_parts(engine, workplace=here({before_part: lambda: run_sql(engine, change)}))
    assert len(stored(engine)) == 75
    assert sound(engine)


@pytest.mark.slow
def test_settings_changed_while_a_part_is_planned_make_it_start_over(
    four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reread: list[int] = []

    def planned(*args: Any, **kwargs: Any) -> Any:
        reread.append(1)
        if len(reread) == 1:
            run_sql(four, "UPDATE mailboxes SET daily_capacity = 1 WHERE id = 10")
        return part_planning_planned(*args, **kwargs)

    part_planning_planned = part_planning.planned
    monkeypatch.setattr(part_planning, "planned", planned)
    in_parts(four)
    assert len(reread) == 5
    assert sound(four)


@pytest.mark.slow
def test_a_part_that_never_rests_is_given_up(
    undisturbed: list[Any], four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*args: Any, **kwargs: Any) -> Any:
        run_sql(four, "UPDATE mailboxes SET daily_capacity = daily_capacity + 1 WHERE id = 10")
        return part_planning_planned(*args, **kwargs)

    part_planning_planned = part_planning.planned
    monkeypatch.setattr(part_planning, "planned", planned)
    with pytest.raises(PartsMissingError, match=r"4 times in a row. Part 1 was not written"):
        in_parts(four)
    assert stored(four) == [row for row in undisturbed if row[0] >= 200]


# ---------------------------------------------------------------- parts that cannot be planned

UNFINISHED = """
    SELECT finished_at IS NULL, publishing, method, cost, rows_changed FROM plan_runs ORDER BY id
"""


def test_what_one_part_sets_aside_leaves_the_others(undisturbed: list[Any], four: Engine) -> None:
    run_sql(four, "UPDATE sequences SET holidays = 'XX' WHERE id = 3")
    run = in_parts(four)
    assert [value.value for value in run.set_aside] == ["XX"]
    assert stored(four) == [row for row in undisturbed if row[0] // 100 != 3]


def test_an_error_means_the_same_once_it_has_come_from_another_process() -> None:
    error = DataError("no such zone", "The tables cannot be planned")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.faults, again.exit_code) == (str(error), error.faults, 3)


def test_a_fault_of_ours_ends_the_run(four: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(part_planning, "planned", planned)
    with pytest.raises(ZeroDivisionError):
        in_parts(four)
    assert rows(four, UNFINISHED) == [(True, False, None, None, 0)]


def test_a_job_for_another_database_is_refused(four: Engine) -> None:
    job = PartJob(
        Part(1, frozenset({1}), SIZE),
        run_id=1,
        now=NOW,
        parameters=GREEDY,
        installation=installation_of(four),
        url=four.url.render_as_string(hide_password=False),
    )
    run_sql(four, "UPDATE installation SET id = gen_random_uuid()")
    with pytest.raises(DatabaseError, match="another database") as raised:
        plan_part(job)
    assert raised.value.exit_code == 4
    assert stored(four) == []


# ---------------------------------------------------------------- parts lost with their workers


class Losing(Inline):
    """Loses, or has lost by then, what it was given first."""

    def __init__(self, *, done: bool, cancelled: bool) -> None:
        super().__init__({})
        self.done, self.cancelled = done, cancelled

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.given:
            return super().submit(fn, *args, **kwargs)
        if self.done:
            return self._forgotten(super().submit(fn, *args, **kwargs))
        self.given.append(args[0])
        return self._lost()

    def _forgotten(self, future: Future[Any]) -> Future[Any]:
        assert future.exception() is None
        return self._lost()

    def _lost(self) -> Future[Any]:
        lost: Future[Any] = Future()
        if self.cancelled:  # as a cluster says it whose scheduler is gone
            lost.cancel()
            lost.set_running_or_notify_cancel()
        else:
            lost.set_exception(BrokenExecutor("a process ended"))
        return lost


@pytest.mark.slow
@pytest.mark.parametrize(
    ("done", "cancelled"),
    [(False, False), (True, False), (True, True)],
    ids=["before", "after", "cancelled"],
)
def test_a_part_that_was_lost_is_given_out_again(
    undisturbed: list[Any], four: Engine, done: bool, cancelled: bool
) -> None:
    """The first one, before it was published or after; in the latter case it is found out."""
    executor = Losing(done=done, cancelled=cancelled)
    run = in_parts(four, workplace=Workplace(lambda: nullcontext(executor), near=True))
    assert [job.part.number for job in executor.given] == [1, 2, 3, 4, 1]
    assert stored(four) == undisturbed
    assert published(run) == (72, 0)
    fill(four)
    assert figures(run.summary) == figures(in_parts(four).summary)


def test_parts_that_are_lost_again_and_again_are_given_up(
    undisturbed: list[Any], four: Engine
) -> None:
    """Nobody takes any but the last, be it that all processes end before they are given work."""

    class Unlucky(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args[0].part.number == 4:
                return super().submit(fn, *args, **kwargs)
            raise BrokenExecutor("a process ended")

    workplace = Workplace(lambda: nullcontext(Unlucky({})), near=True)
    with pytest.raises(ExecutorError, match=f"3 of 4 parts .* {ROUNDS} times") as raised:
        in_parts(four, workplace=workplace)
    assert raised.value.exit_code == 1
    assert stored(four) == [row for row in undisturbed if row[0] >= 400]
    assert rows(four, UNFINISHED) == [(True, False, None, None, 18)]


@contextmanager
def planning_with_one_process(
    engine: Engine, workplace: Workplace | None = None
) -> Iterator["Future[Run]"]:
    """Plan in another thread, with a process that can be killed."""
    workplace = workplace or processes(1)
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(run_plan, engine, NOW, GREEDY, workplace=workplace, part_size=SIZE)


def kill_worker() -> None:
    [worker] = workers_of(os.getpid())
    worker.send_signal(signal.SIGKILL)  # and not waited for: the pool must find out by itself


def seen_through(engine: Engine, run: Run, undisturbed: list[Any]) -> None:
    """See that each part was published once, and that the figures are of all."""
    assert stored(engine) == undisturbed
    assert parts_published(engine) == [1, 2, 3, 4]
    assert published(run) == (72, 0)
    assert run.summary.totals["emails"] == 72
    assert len(run.summary.sequences) == 4
    assert rows(engine, "SELECT emails, rows_changed, finished_at IS NOT NULL FROM plan_runs") == [
        (72, 72, True)
    ]
    assert sound(engine)


@pytest.mark.slow
def test_a_process_killed_while_it_reads_a_part(undisturbed: list[Any], four: Engine) -> None:
    one = processes(1)
    gates: list[Connection] = []

    @contextmanager
    def locked() -> Iterator[Executor]:
        with one.open() as executor, four.connect() as gate:
            # The tables are divided by now; what comes next is that a process reads a part.
            if not gates:
                gate.execute(text("LOCK TABLE contacts IN ACCESS EXCLUSIVE MODE"))
            gates.append(gate)
            yield executor

    with (
        four.connect() as watcher,
        planning_with_one_process(four, Workplace(locked, near=True)) as planning,
    ):
        wait_until(watcher, IS_BLOCKED)
        kill_worker()
        run = planning.result(timeout=60)
    seen_through(four, run, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("at_commit", [False, True], ids=["amid its writing", "at its commit"])
def test_a_process_killed_while_it_publishes_a_part(
    undisturbed: list[Any], four: Engine, at_commit: bool
) -> None:
    """Amid its writing, the part is undone; at its commit, it is done, though no result arrives.

    Meanwhile the part is given out again: it waits until that is decided.
    """
    with (
        held(four, 2, at_commit=at_commit) as let_go,
        four.connect() as watcher,
        planning_with_one_process(four) as planning,
    ):
        holding = wait_until(watcher, IS_BLOCKED)
        kill_worker()
        wait_until(watcher, f"{IS_BLOCKED} AND pid <> {holding}")
        let_go()
        run = planning.result(timeout=60)
    seen_through(four, run, undisturbed)


# ---------------------------------------------------------------- a planner that is lost

PLAN = ("plan", "--as-of", NOW.isoformat(), "--method", "greedy", "--part-size", str(SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("at_commit", [False, True], ids=["amid a part", "at its commit"])
def test_the_next_planner_takes_over_from_one_that_was_killed(
    undisturbed: list[Any], four: Engine, module_database_url: str, at_commit: bool
) -> None:
    with (
        held(four, 2, at_commit=at_commit) as let_go,
        four.connect() as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        with command(module_database_url, *PLAN, "--workers", "1") as first:
            holding = wait_until(watcher, IS_BLOCKED)
            workers = workers_of(first.pid)
            first.send_signal(signal.SIGKILL)
            first.wait()
        # It waits for whoever may yet publish a part of the run before.
        second = pool.submit(in_parts, four)
        wait_until(watcher, f"{IS_BLOCKED} AND pid <> {holding}")
        for worker in workers:
            worker.wait(timeout=60)  # nobody is left to give it work
        assert sound(four)
        let_go()
        run = second.result(timeout=60)
    assert stored(four) == undisturbed
    # The first part was whole by then, and what was held is whole if it was at its commit.
    assert published(run) == (36, 0) if at_commit else (54, 0)
    assert rows(four, UNFINISHED)[0] == (True, False, None, None, 36 if at_commit else 18)
    assert rows(four, UNFINISHED)[1][:2] == (False, False)
    assert sound(four)


@pytest.mark.slow
def test_who_has_been_superseded_publishes_no_more(
    undisturbed: list[Any], four: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planner's session breaks while its second part is planned, and another one comes."""
    calls: list[int] = []

    def planned(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            with four.connect() as watcher:
                watcher.execute(text(TERMINATE_PLANNER))
            # At noon: whatever the first one still wrote would be in its way.
            run_plan(four, at(0, "12:00"), GREEDY)
        return part_planning_planned(*args, **kwargs)

    part_planning_planned = part_planning.planned
    monkeypatch.setattr(part_planning, "planned", planned)
    with pytest.raises(PartsMissingError, match=r"3 of 4 parts .* its part 2 was dropped"):
        in_parts(four)
    monkeypatch.undo()
    superseded = stored(four)
    fill(four)
    run_plan(four, at(0, "12:00"), GREEDY)
    assert superseded == stored(four) != undisturbed


TERMINATE_PLANNER = f"""
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = {PLANNER_LOCK} AND granted
"""


@pytest.mark.slow
def test_a_part_of_a_run_that_has_ended_is_refused(four: Engine) -> None:
    given: list[PartJob] = []
    in_parts(four, workplace=here(given=given))
    run_sql(four, "UPDATE mailboxes SET daily_capacity = 3; DELETE FROM plan_run_parts")
    before = stored(four)
    with pytest.raises(SupersededError, match="its part 2 was dropped"):
        plan_part(given[1])
    assert stored(four) == before


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_prints_what_it_prints_at_once(
    undisturbed: list[Any], four: Engine, module_database_url: str
) -> None:
    with command(module_database_url, *PLAN, "--json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert stored(four) == undisturbed
    printed = json.loads(out)
    fill(four)
    at_once = run_plan(four, NOW, GREEDY).to_json()
    assert printed.pop("seconds").keys() == at_once.pop("seconds").keys()
    assert printed.pop("run_id") == at_once.pop("run_id") == 1
    assert printed == at_once


@pytest.mark.slow
def test_ctrl_c_ends_what_has_begun_and_no_more(
    undisturbed: list[Any], four: Engine, module_database_url: str
) -> None:
    """The terminal sends it to every process. The one at work publishes its part."""
    with (
        held(four, 1, at_commit=False) as let_go,
        four.connect() as watcher,
        command(module_database_url, *PLAN, "--workers", "1") as process,
    ):
        wait_until(watcher, IS_BLOCKED)
        for each in [process, *workers_of(process.pid)]:
            each.send_signal(signal.SIGINT)
        let_go()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    done = parts_published(four)
    assert "Interrupted: 0 of 4 parts planned; finishing the parts in progress." in err
    assert f"Error: Interrupted: {len(done)} of 4 parts planned;" in err
    assert "Traceback" not in err
    assert done[0] == 1
    assert stored(four) == [row for row in undisturbed if row[0] // 100 in done]
    assert rows(four, UNFINISHED) == [(True, False, None, None, 18 * len(done))]
    assert sound(four)


@pytest.mark.slow
def test_ctrl_c_again_drops_what_has_begun(four: Engine, module_database_url: str) -> None:
    with (
        held(four, 2, at_commit=False),
        four.connect() as watcher,
        command(module_database_url, *PLAN, "--workers", "1") as process,
    ):
        assert process.stderr is not None
        wait_until(watcher, IS_BLOCKED)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGINT)
        said = iter(process.stderr)
        told = next(line for line in said if line.startswith("Interrupted"))
        assert told.startswith("Interrupted: 1 of 4 parts planned; finishing the parts")
        process.send_signal(signal.SIGINT)
        # What is held waits for its lock until the database finds its client gone.
        assert "Discarding the parts in progress" in next(said)
        for worker in workers:
            worker.wait(timeout=60)
        wait_until(watcher, IS_BLOCKED)
        run_sql(
            four,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'advisory' AND datname = current_database()",
        )
        err = "".join(said)
        assert process.wait(timeout=60) == 1
    assert "Error: Interrupted: 1 of 4 parts planned;" in err
    assert "Traceback" not in err
    assert parts_published(four) == [1]
    assert rows(four, UNFINISHED) == [(True, False, None, None, 18)]
    assert sound(four)


@pytest.mark.slow
def test_what_parts_have_stored_cannot_be_discarded(four: Engine, module_database_url: str) -> None:
    """Said before anything is planned; a dry run stores nothing anyway."""
    discard = ("--on-interrupt", "discard")
    with command(module_database_url, *PLAN, *discard) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "Error: Ctrl-C cannot discard a plan in 4 parts: each part is stored as soon" in err
    assert rows(four, "SELECT FROM plan_runs") == []
    with command(module_database_url, *PLAN, *discard, "--dry-run") as process:
        process.communicate(timeout=60)
    assert process.returncode == 0


# ---------------------------------------------------------------- looked at from outside


def looked_at(url: str) -> dict[str, str]:
    """Give what each command says of the database, none of which may fail."""
    said = {}
    with TemporaryDirectory() as folder:
        report = ("report", "--out", f"{folder}/report.html")
        now = ("--as-of", NOW.isoformat())
        for words in (("status", *now), ("health", *now), (*report, *now), ("check",)):
            with command(url, *words) as process:
                out, err = process.communicate(timeout=60)
            assert process.returncode == 0 or words[0] == "health", out + err
            assert "Traceback" not in err
            said[words[0]] = " ".join(out.split())
    return said


@pytest.mark.slow
def test_a_run_in_parts_is_looked_at_while_it_is_under_way_and_after_it_was_killed(
    four: Engine, module_database_url: str
) -> None:
    with (
        held(four, 2, at_commit=False),
        four.connect() as watcher,
        command(module_database_url, *PLAN, "--workers", "1") as process,
    ):
        wait_until(watcher, IS_BLOCKED)
        moment = "Mon 2 Mar 2026 06:00 UTC"
        assert (
            f"Running: plan 1 as of {moment}; 1 of 4 parts published."
            in looked_at(module_database_url)["status"]
        )
        process.kill()
        process.wait()
        lock = f"SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE objid = {PLANNER_LOCK})"
        wait_until(watcher, lock)
        assert (
            f"Last run: plan 1 as of {moment} did not finish; 1 of 4 parts published, the others"
            " unchanged. Run `sendplan plan` again." in looked_at(module_database_url)["status"]
        )


@pytest.mark.slow
def test_a_run_in_parts_is_looked_at_after_it_has_failed(
    four: Engine, module_database_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        in_parts(four, workplace=here({3: lambda: 1 / 0}))
    assert (
        "did not finish; 2 of 4 parts published (36 rows changed), the others unchanged."
        in looked_at(module_database_url)["status"]
    )
