"""Problems: what must hold between columns and between frames."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.planner.schema.contracts import CONTRACTS, Columns
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.tests.worlds.problems.nasty import random_frames
from sendplan.tests.worlds.problems.tiny import COLUMNS, World, at, day, slots, without_slot


def faults(world: World) -> dict[str, str]:
    """Give what is said about each place."""
    with pytest.raises(ProblemError) as caught:
        world.problem()
    return {fault.where: str(fault) for fault in caught.value.faults}


def world() -> World:
    return World().sequence().mailbox().enroll(1, 2)


def test_a_sound_problem_is_accepted() -> None:
    assert len(world().problem().enrollments) == 2


@pytest.mark.parametrize("name", ["sequences", "steps", "mailboxes", "enrollments"])
def test_ids_are_unique(name: str) -> None:
    broken = world()
    row = broken.rows[name][0]
    extra = {"sequence_id": 1, "position": 9} if name == "steps" else {}
    broken.rows[name].append(row | extra)
    assert f"must be unique (1: id {row['id']})" in faults(broken)[f"{name}.id"]


@pytest.mark.parametrize(
    ("name", "column", "target"),
    [
        ("steps", "sequence_id", "sequences"),
        ("sequence_mailboxes", "sequence_id", "sequences"),
        ("sequence_mailboxes", "mailbox_id", "mailboxes"),
        ("enrollments", "sequence_id", "sequences"),
        ("enrollments", "mailbox_id", "mailboxes"),
        ("enrollments", "current_step_id", "steps"),
    ],
)
def test_references_are_known(name: str, column: str, target: str) -> None:
    broken = world()
    broken.rows[name][0][column] = 99
    where = f"{name}.{column}"
    assert f"{where}: names rows that {target} does not have (1: 99)" in faults(broken)[where]


def test_a_removed_step_may_still_be_the_current_one() -> None:
    sound = world().step(19, None)
    sound.rows["enrollments"][0]["current_step_id"] = 19
    sound.problem()


def test_history_may_know_more_than_the_problem() -> None:
    # Sent from mailbox 5 to an enrollment of another problem: it only uses a place of the day.
    sound = World().sequence(waits=(0,)).mailbox(capacity=2).enroll(1, 2)
    plan = sound.email(77, 770, "sent", 0, "05:00").use(99, 0, 3).plan()
    assert [number for _, _, _, number, _ in slots(plan)] == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_canonical_columns_make_the_same_problem(seed: int) -> None:
    """In whatever order their rows come."""
    frames, now = random_frames(seed)
    expected = sendplan.Problem.from_frames(**frames, now=now)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)

    def shuffled(name: str) -> Columns:
        frame: pd.DataFrame = getattr(expected, name)
        order = rng.permutation(len(frame))
        return Columns({str(column): frame[column].to_numpy()[order] for column in frame})

    made = sendplan.Problem.from_tables({name: shuffled(name) for name in CONTRACTS}, now)
    assert made.now == expected.now
    for name in CONTRACTS:
        assert_frame_equal(getattr(made, name), getattr(expected, name))


def test_canonical_columns_contradict_each_other_as_frames_do() -> None:
    problem = world().problem()
    enrollments = problem.enrollments
    twice = {str(column): np.repeat(enrollments[column].to_numpy(), 2) for column in enrollments}
    tables = {name: getattr(problem, name) for name in ("sequences", "steps", "mailboxes")}
    tables["sequence_mailboxes"] = problem.sequence_mailboxes
    known = {
        name: Columns({str(column): frame[column].to_numpy() for column in frame})
        for name, frame in tables.items()
    }
    with pytest.raises(ProblemError, match=r"enrollments\.id: must be unique"):
        sendplan.Problem.from_tables(known | {"enrollments": Columns(twice)}, at(0, "06:00"))


def test_a_mapping_is_no_frame() -> None:
    frames = world().frames() | {"steps": {"id": [1]}}
    with pytest.raises(ProblemError, match="steps: must be a DataFrame, not dict"):
        sendplan.Problem.from_frames(**frames, now=at(0, "06:00"))  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [time(9), time(8)])
def test_a_window_ends_after_its_start(end: time) -> None:
    broken = World().sequence(end_time=end)
    message = faults(broken)["sequences.end_time"]
    assert "must be after start_time (1: id 1)" in message


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("sequences", "timezone"),
        ("enrollments", "contact_timezone"),
    ],
)
def test_an_unknown_zone_comes_with_a_suggestion(name: str, column: str) -> None:
    broken = world()
    broken.rows[name][0][column] = "Europe/Berln"
    message = faults(broken)[f"{name}.{column}"]
    assert "holds unknown time zones (1: 'Europe/Berln')" in message
    assert "'Europe/Berln' perhaps 'Europe/Berlin'" in message


def test_an_unknown_country_is_named() -> None:
    broken = World().sequence(holidays="Germany")
    assert "unknown country codes (1: 'Germany')" in faults(broken)["sequences.holidays"]


def test_positions_are_unique_among_live_steps() -> None:
    broken = world().step(19, 2)
    assert "must be unique within a sequence (1: id 19)" in faults(broken)["steps.position"]
    broken.rows["steps"][-1]["removed_at"] = at(-1, "09:00")
    broken.problem()


def test_a_contact_is_enrolled_in_a_sequence_once() -> None:
    broken = World().sequence().sequence(2).enroll(1, 2, contact_id=7)
    assert "enrolled in a sequence once (1: id 2)" in faults(broken)["enrollments"]
    # Twice, but in two sequences, or nobody knows that it is the same contact.
    World().sequence().sequence(2).enroll(1, contact_id=7).enroll(
        2, contact_id=7, sequence=2
    ).problem()
    world().enroll(3, contact_id=None).problem()


def test_an_email_has_one_row_that_is_not_cancelled() -> None:
    cancelled = world().email(1, 11, "cancelled", 0).email(1, 11, "cancelled", 0)
    cancelled.email(1, 11, "pending", 0).problem()
    broken = cancelled.email(1, 11, "failed", 0)
    assert "one row a step that is not cancelled (1: " in faults(broken)["scheduled_emails"]


@pytest.mark.slow
def test_a_sequence_has_at_most_62_steps() -> None:
    # What a contact has received is kept as bits of one integer.
    longest = World().sequence(waits=[0] + [1] * 61).mailbox().enroll(1)
    assert len(longest.plan().sends) == 62
    broken = World().sequence(waits=[1] * 63)
    assert "at most 62 steps (1: sequence 1)" in faults(broken)["steps"]


def test_a_fault_reads_with_the_place_around_it() -> None:
    fault = Fault("wait_days", "must be at least 0", "correct it", ["id 3", "id 4"])
    assert str(fault) == "wait_days: must be at least 0 (2: id 3, id 4) – correct it"
    assert str(fault.within("line 2")).startswith("line 2, wait_days: must be")
    assert str(Fault("", "no such file").within("a.toml")) == "a.toml: no such file"
    assert str(Fault("", "no such file")) == "no such file"


def test_all_faults_are_told_at_once() -> None:
    columns = World().sequence(status="open").mailbox(capacity=-1).enroll(1, enrolled_at=None)
    assert set(faults(columns)) == {
        "sequences.status",
        "mailboxes.daily_capacity",
        "enrollments.enrolled_at",
    }
    between = World().sequence(timezone="Mars", end_time=time(8)).enroll(1, 1, sequence=3)
    assert set(faults(between)) == {
        "sequences.timezone",
        "sequences.end_time",
        "enrollments.id",
        "enrollments.sequence_id",
    }


def test_now_needs_a_zone() -> None:
    frames = world().frames()
    with pytest.raises(ValueError, match="has no zone; add the UTC offset"):
        sendplan.Problem.from_frames(**frames, now=datetime(2026, 3, 2))
    problem = sendplan.Problem.from_frames(**frames, now="2026-03-02T07:00:00+01:00")
    assert problem.now_at == at(0, "06:00")


def test_the_frames_handed_in_stay_as_they_are_through_a_plan() -> None:
    full = world().email(1, 11, "sent", -3).email(1, 12, "pending", 0).use(5, 0, 1)
    frames = full.frames()
    before = {name: frame.copy(deep=True) for name, frame in frames.items()}
    problem = sendplan.Problem.from_frames(**frames, now=full.now)
    plan = sendplan.solve(problem)
    sends = plan.sends.copy(deep=True)
    sendplan.violations(problem, plan.sends)
    plan.summary()
    plan.diff(plan)
    for name, frame in frames.items():
        assert_frame_equal(frame, before[name])
    assert_frame_equal(plan.sends, sends)


@pytest.mark.parametrize("name", COLUMNS)
def test_an_empty_frame_is_no_fault(name: str) -> None:
    # What refers to the empty frame has to be empty, too.
    empty = world().email(1, 11, "sent", -3).use(5, 0, 1)
    hangs_on_it = {
        "sequences": ["steps", "sequence_mailboxes", "enrollments"],
        "mailboxes": ["sequence_mailboxes"],
    }
    for hanging in [name, *hangs_on_it.get(name, [])]:
        empty.rows[hanging] = []
    plan = empty.plan()
    nobody = name in ("sequences", "steps", "enrollments")
    # Nobody can send: enrollment 1 still lacks step 12, enrollment 2 steps 11 and 12.
    no_sender = name in ("mailboxes", "sequence_mailboxes")
    assert (len(plan.sends) == 0) == (nobody or no_sender)
    if name == "sequence_mailboxes":
        assert without_slot(plan) == [
            (1, 12, "no_active_mailbox"),
            (2, 11, "no_active_mailbox"),
            (2, 12, "no_active_mailbox"),
        ]


def test_the_optional_frames_may_be_left_out() -> None:
    frames = world().frames()
    del frames["scheduled_emails"], frames["used"]
    problem = sendplan.Problem.from_frames(**frames, now=at(0, "06:00"))
    assert len(sendplan.solve(problem).sends) == 4


def test_frames_as_a_database_gives_them() -> None:
    # Every column of the tables, the ones that planning does not need included.
    frames = world().frames()
    frames["steps"] = frames["steps"].assign(subject="Hi", content="…", removed_at=pd.NaT)
    frames["mailboxes"] = frames["mailboxes"].assign(user_id=1, transport="env:A")
    frames["sequences"] = frames["sequences"].assign(holidays=None, max_new_per_day=float("nan"))
    problem = sendplan.Problem.from_frames(**frames, now=at(0, "06:00"))
    assert len(sendplan.solve(problem).sends) == 4


def test_dates_of_the_world() -> None:
    # The ground that every other test stands on.
    assert day(0).isoweekday() == 1
    assert at(4, "09:00") - at(0, "09:00") == timedelta(days=4)
    assert at(0, "06:00") == datetime(2026, 3, 2, 6, tzinfo=UTC)
