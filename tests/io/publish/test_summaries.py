"""Summaries as JSON: what comes back is what went in, also where there is little to tell."""

import json

import pandas as pd
import pytest

from sendplan.io.publish.summaries import FRAMES, summary_from_json, summary_to_json
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.summary import merge_summaries
from sendplan.planner.problem.problem import Problem
from sendplan.planner.solver import solve
from sendplan.tests.worlds.problems.nasty import random_frames
from sendplan.tests.worlds.problems.tiny import World

PLANS = {
    "nothing at all": World(),
    "no enrollment": World().sequence(1).mailbox(5, 10, (1,)),
    "without names": World().sequence(1, name=None).mailbox(5, 10, (1,)).enroll(1, 2),
    "with names": (
        World()
        .sequence(1, name="Größe “A”")
        .sequence(2, name=None)
        .mailbox(5, 10, (1,), email="ann@example.com")
        .mailbox(6, 0, (2,), email="ben@example.com")
        .enroll(1, 2)
        .enroll(3, sequence=2)
    ),
    "all blocked": World().sequence(1).mailbox(5, 10, (1,), status="paused").enroll(1, 2),
    "nobody active": World().sequence(1).mailbox(5, 10, (1,)).enroll(1, 2, status="stopped"),
    "a shortage": World().sequence(1, priority=0.1).mailbox(5, 1, (1,)).enroll(*range(1, 8)),
}


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Write words as nothing but words: pandas has several types for them, and for none at all."""
    words = frame.columns.intersection(["name", "email", "reason"])
    return frame.assign(
        **{name: list(frame[name].where(frame[name].notna(), "-")) for name in words}
    )


def comes_back(plan: Plan) -> None:
    summary = plan.summary()
    again = summary_from_json(json.loads(json.dumps(summary_to_json(summary), allow_nan=False)))
    assert (again.totals, again.as_of, again.stopped) == (
        summary.totals,
        summary.as_of,
        summary.stopped,
    )
    for name in FRAMES:
        pd.testing.assert_frame_equal(plain(getattr(again, name)), plain(getattr(summary, name)))
    assert str(again) == str(summary)
    assert str(merge_summaries([again])) == str(merge_summaries([summary]))


@pytest.mark.parametrize("name", PLANS)
def test_a_summary_comes_back(name: str) -> None:
    comes_back(PLANS[name].plan())


def test_a_summary_of_a_given_horizon_comes_back() -> None:
    """With emails that have no room, for two reasons, and an end that the plan does not reach."""
    plan = PLANS["a shortage"].plan(horizon_days=2)
    assert set(plan.summary().unplaced["reason"]) == {"no_room", "behind_unplaced"}
    comes_back(plan)


def test_a_summary_of_an_improved_plan_comes_back() -> None:
    plan = PLANS["a shortage"].plan("auto")
    assert plan.stopped is not None
    comes_back(plan)


@pytest.mark.parametrize("seed", range(700, 712))
def test_a_summary_of_any_plan_comes_back(seed: int) -> None:
    frames, now = random_frames(seed)
    comes_back(solve(Problem.from_frames(**frames, now=now), "greedy"))


def test_a_part_with_nothing_to_tell_changes_no_type_of_the_others() -> None:
    nothing, something = PLANS["no enrollment"].plan(), PLANS["with names"].plan()
    both = merge_summaries([nothing.summary(), something.summary()])
    assert both.sequences.dtypes.equals(something.summary().sequences.dtypes)
