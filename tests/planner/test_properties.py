"""What holds for every plan of every instance, the checker and the oracle being its judges.

`SENDPLAN_TEST_FACTOR=30` tries 150 times as many examples, other ones each time.
"""

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.tests.worlds.oracle.judge import judge
from sendplan.tests.worlds.problems.methods import MAKERS, examples
from sendplan.tests.worlds.problems.nasty import Frames, advanced, instances, with_plan

Instance = tuple[Frames, pd.Timestamp]
Parameters = dict[str, Any]


@pytest.fixture(params=MAKERS, scope="session")
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parameters() -> st.SearchStrategy[Parameters]:
    return st.fixed_dictionaries(
        {
            "horizon_days": st.sampled_from((None, 0, 1, 3, 7, 20)),
            "one_a_day": st.booleans(),
            "slip_weight": st.sampled_from((20.0, 0.0, 3.5)),
        }
    )


def problem_of(frames: Frames, now: pd.Timestamp) -> sendplan.Problem:
    return sendplan.Problem.from_frames(**frames, now=now)  # type: ignore[arg-type]


def complaints(
    frames: Frames,
    now: pd.Timestamp,
    chosen: Parameters,
    sends: pd.DataFrame,
    unplaced: pd.DataFrame,
    cost: float,
    horizon_end: date,
) -> list[str]:
    return judge(
        frames,
        now,
        sends,
        unplaced,
        cost,
        horizon_end,
        slip_weight=chosen["slip_weight"],
        horizon_given=chosen["horizon_days"] is not None,
        one_a_day=chosen["one_a_day"],
    )


def assert_sound(
    frames: Frames, now: pd.Timestamp, chosen: Parameters, plan: sendplan.Plan
) -> None:
    whole = complaints(frames, now, chosen, plan.sends, plan.unplaced, plan.cost, plan.horizon_end)
    assert whole == []
    problem = problem_of(frames, now)
    found = sendplan.violations(problem, plan.sends, one_a_day=chosen["one_a_day"])
    assert found.empty, found.to_string()


def stored(frames: Frames, plan: sendplan.Plan) -> Frames:
    return with_plan(frames, plan.sends, plan.unplaced)


@examples(30)
@given(instance=instances(), chosen=parameters())
def test_every_plan_is_sound(method: str, instance: Instance, chosen: Parameters) -> None:
    frames, now = instance
    assert_sound(frames, now, chosen, sendplan.solve(problem_of(frames, now), method, **chosen))


@examples(20)
@given(instance=instances(), chosen=parameters())
def test_planning_again_changes_nothing(
    method: str, instance: Instance, chosen: Parameters
) -> None:
    frames, now = instance
    plan = sendplan.solve(problem_of(frames, now), method, **chosen)
    again = sendplan.solve(problem_of(stored(frames, plan), now), method, **chosen)
    assert_frame_equal(again.sends, plan.sends)
    assert_frame_equal(again.unplaced, plan.unplaced)
    assert (again.cost, again.horizon_end, again.moved) == (plan.cost, plan.horizon_end, 0)


@examples(20)
@given(
    instance=instances(),
    chosen=parameters(),
    minutes=st.integers(0, 3 * 24 * 60),
    seed=st.integers(0, 2**16),
)
def test_planning_later_is_sound(
    method: str, instance: Instance, chosen: Parameters, minutes: int, seed: int
) -> None:
    # The plan has been dispatched meanwhile: sent for the most part, some in flight, few missed.
    frames, now = instance
    before = stored(frames, sendplan.solve(problem_of(frames, now), method, **chosen))
    later = now + pd.Timedelta(minutes=minutes)
    if len(before.get("scheduled_emails", ())):
        before = advanced(before, later, random.Random(seed))
    plan = sendplan.solve(problem_of(before, later), method, **chosen)
    assert_sound(before, later, chosen, plan)


@examples(8)
@given(instance=instances(), chosen=parameters(), seed=st.integers(0, 2**16))
def test_the_order_of_rows_means_nothing(
    method: str, instance: Instance, chosen: Parameters, seed: int
) -> None:
    frames, now = instance
    shuffled = {name: frame.sample(frac=1, random_state=seed) for name, frame in frames.items()}
    shuffled["sequence_mailboxes"] = frames["sequence_mailboxes"]
    plan = sendplan.solve(problem_of(frames, now), method, **chosen)
    other = sendplan.solve(problem_of(shuffled, now), method, **chosen)
    assert_frame_equal(other.sends, plan.sends)
    assert sorted(map(tuple, other.unplaced.to_numpy())) == sorted(
        map(tuple, plan.unplaced.to_numpy())
    )


# ---------------------------------------------------------------- two checkers, one judgement


def move_day(rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    days = pd.Timedelta(days=rng.choice((-7, -3, -2, -1, 1, 2, 3)))
    sends.loc[row, "send_day"] += days
    sends.loc[row, "send_at"] += days


def move_send_day_only(rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    sends.loc[row, "send_day"] += pd.Timedelta(days=rng.choice((-1, 1)))


def move_time(rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    seconds = rng.choice((-40_000, -3600, -60, -1, 1, 60, 3600, 40_000))
    sends.loc[row, "send_at"] += pd.Timedelta(seconds=seconds)


def add_a_fraction(_rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    sends.loc[row, "send_at"] += pd.Timedelta(milliseconds=250)


def change_mailbox(rng: random.Random, sends: pd.DataFrame, row: int, frames: Frames) -> None:
    sends.loc[row, "mailbox_id"] = int(rng.choice(frames["mailboxes"]["id"].tolist()))


def swap_slots(rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    other = rng.randrange(len(sends))
    slot = ["mailbox_id", "send_day", "send_at"]
    sends.loc[[row, other], slot] = sends.loc[[other, row], slot].to_numpy()


def copy_slot(rng: random.Random, sends: pd.DataFrame, row: int, _frames: Frames) -> None:
    slot = ["mailbox_id", "send_day", "send_at"]
    sends.loc[row, slot] = sends.loc[rng.randrange(len(sends)), slot]


def change_email(rng: random.Random, sends: pd.DataFrame, row: int, frames: Frames) -> None:
    person = frames["enrollments"].iloc[rng.randrange(len(frames["enrollments"]))]
    steps = frames["steps"]
    own = steps[(steps["sequence_id"] == person["sequence_id"]) & steps["position"].notna()]
    if len(own):
        step = own.iloc[rng.randrange(len(own))]
        sends.loc[row, ["enrollment_id", "step_id", "position"]] = [
            int(person["id"]),
            int(step["id"]),
            int(step["position"]),
        ]


CORRUPTIONS: tuple[Callable[[random.Random, pd.DataFrame, int, Frames], None], ...] = (
    move_day,
    move_send_day_only,
    move_time,
    add_a_fraction,
    change_mailbox,
    swap_slots,
    copy_slot,
    change_email,
)
# The oracle's words for what the checker looks at, with the checker's for the same.
SAME_RULES = {
    "emails": {"unknown", "twice", "idle"},
    "prefix": {"order"},
    "order": {"order", "ready", "past", "window"},
    "window": {"window"},
    "seconds": {"window"},
    "past": {"past"},
    "pool": {"pool"},
    "sender": {"thread"},
    "capacity": {"capacity"},
    "gap": {"gap"},
    "contact": {"contact"},
    "new": {"new"},
    "blocked": {"idle", "pool", "thread"},
}


@examples(25)
@given(instance=instances(), chosen=parameters(), seed=st.integers(0, 2**16))
def test_checker_and_oracle_find_the_same_breaches(
    method: str, instance: Instance, chosen: Parameters, seed: int
) -> None:
    frames, now = instance
    rng = random.Random(seed)
    problem = problem_of(frames, now)
    plan = sendplan.solve(problem, method, **chosen)
    if not len(plan.sends):
        return
    for corruption in rng.sample(CORRUPTIONS, 2):
        sends = plan.sends.astype({"send_at": "datetime64[us, UTC]"})
        corruption(rng, sends, rng.randrange(len(sends)), frames)
        found = set(sendplan.violations(problem, sends, one_a_day=chosen["one_a_day"])["rule"])
        unplaced = left_out(plan, sends)
        heard = complaints(frames, now, chosen, sends, unplaced, plan.cost, plan.horizon_end)
        limits = {complaint.split(":")[0] for complaint in heard} & SAME_RULES.keys()
        for rule in limits:
            assert found & SAME_RULES[rule], (corruption.__name__, heard, found)
        # An email that is not to be sent the oracle judges no further.
        if "emails" not in limits:
            known = set().union(*(SAME_RULES[rule] for rule in limits))
            assert found <= known, (corruption.__name__, heard, found)


def left_out(plan: sendplan.Plan, sends: pd.DataFrame) -> pd.DataFrame:
    """Give the emails of a plan that have no slot among others, so that only slots are judged."""
    email = ["enrollment_id", "step_id"]
    every = pd.concat([plan.unplaced, plan.sends[email].assign(reason="no_room")])
    slotted = pd.MultiIndex.from_frame(sends[email].astype("int64"))
    return every[~pd.MultiIndex.from_frame(every[email].astype("int64")).isin(slotted)]
