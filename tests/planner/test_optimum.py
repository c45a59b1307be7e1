"""Plans against the enumerated optimum of tiny instances (`enumeration.py`).

`SENDPLAN_TEST_FACTOR=10` tries some eighty times as many. A failure names the kind, the bundle and
the number of each instance; `instance(kind, bundle, number)` makes it again.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import sendplan
from sendplan.planner.problem.parameters import METHODS
from sendplan.tests.worlds.oracle.enumeration import Best, best
from sendplan.tests.worlds.oracle.judge import judge
from sendplan.tests.worlds.problems.chance import (
    ALONE,
    KINDS,
    Parameters,
    bundled,
    by_number,
    instance,
)
from sendplan.tests.worlds.problems.methods import FACTOR, tries
from sendplan.tests.worlds.problems.tiny import LEFT_OUT, World, days_of, without_slot

TOLERANCE = 1e-6
BUNDLE = 15 if FACTOR == 1 else 25
ALONE_NUMBER = 25
"""Number of the instances that are planned alone, which no bundle has."""


# ---------------------------------------------------------------- what must hold


def solved(world: World, chosen: Parameters) -> tuple[dict[str, sendplan.Plan], list[str]]:
    """Plan by every method; give also what the checker and the oracle complain of."""
    frames, problem = world.frames(), world.problem()
    plans, complaints = {}, []
    for method in METHODS:
        plan = sendplan.solve(problem, method, **chosen)
        found = sendplan.violations(problem, plan.sends, one_a_day=chosen["one_a_day"])
        complaints += [f"{method}: {row}" for row in found.to_dict("records")]
        for complaint in judged(frames, world, chosen, plan):
            # The oracle's even spread does not know of a claimed email of the same chain and day,
            # behind which the next one has to leave.
            if chosen["one_a_day"] or not complaint.startswith("minutes:"):
                complaints.append(f"{method}: {complaint}")
        plans[method] = plan
    return plans, complaints


def judged(
    frames: dict[str, pd.DataFrame], world: World, chosen: Parameters, plan: sendplan.Plan | Best
) -> list[str]:
    return judge(
        frames,
        world.now,
        plan.sends,
        plan.unplaced,
        plan.cost,
        plan.horizon_end,
        slip_weight=chosen["slip_weight"],
        horizon_given=chosen["horizon_days"] is not None,
        one_a_day=chosen["one_a_day"],
    )


def optimum(world: World, chosen: Parameters) -> float:
    """Return the optimum by enumeration; the oracle checks all of it but the minutes."""
    frames = world.frames()
    found = best(frames, world.now, **chosen)
    complaints = judged(frames, world, chosen, found)
    assert [c for c in complaints if not c.startswith(("minutes:", "turn:"))] == []
    return found.cost


def contradictions(plans: dict[str, sendplan.Plan], least: float) -> Iterator[str]:
    """Say where plans of one problem, or their bounds, contradict its optimum."""
    for method, plan in plans.items():
        bound = plan.lower_bound
        if bound is not None and bound > least + TOLERANCE:
            yield f"{method}'s bound {bound} is above the optimum {least}"
        if plan.cost < least - TOLERANCE:
            yield f"{method} costs {plan.cost}, less than the optimum {least}"
        if plan.status == "optimal" and plan.cost > least + TOLERANCE:
            yield f"{method} calls {plan.cost} optimal, but {least} is possible"
        if plan.cost > plans["greedy"].cost + TOLERANCE:
            yield f"{method} costs {plan.cost}, more than the greedy's {plans['greedy'].cost}"
    if plans["cpsat"].cost > least + TOLERANCE:
        yield f"cpsat costs {plans['cpsat'].cost}, but {least} is possible"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bundle"),
    [(name, bundle) for name, kind in KINDS.items() for bundle in range(tries(kind.bundles))],
)
def test_bundles_against_the_optimum(name: str, bundle: int) -> None:
    world, chosen = bundled(name, bundle, range(BUNDLE))
    plans, complaints = solved(world, chosen)
    each = [optimum(*instance(name, bundle, number)) for number in range(BUNDLE)]
    least = sum(each)
    complaints += contradictions(plans, least)
    costs = {method: by_number(plan) for method, plan in plans.items()}
    for number in range(BUNDLE):
        here = {method: cost.get(number, 0.0) for method, cost in costs.items()}
        if min(here.values()) < each[number] - TOLERANCE:
            complaints.append(f"{number}: {here} are below the optimum {each[number]}")
        if max(here.values()) > here["greedy"] + TOLERANCE:
            complaints.append(f"{number}: {here} are above the greedy's")
        if here["cpsat"] > each[number] + TOLERANCE:
            complaints.append(f"{number}: cpsat costs {here['cpsat']}, {each[number]} is possible")
    # A sum of bounds may hide one that is too high behind others that are not tight.
    bound = plans["cpsat"].lower_bound
    if bound is not None and bound < least - TOLERANCE:
        for number in range(BUNDLE):
            plans, _ = solved(*instance(name, bundle, number))
            complaints += [f"{number}: {c}" for c in contradictions(plans, each[number])]
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "bundle"),
    [(name, bundle) for name, kind in ALONE.items() for bundle in range(tries(kind.bundles))],
)
def test_instances_against_the_optimum(name: str, bundle: int) -> None:
    world, chosen = instance(name, bundle, ALONE_NUMBER)
    plans, complaints = solved(world, chosen)
    complaints += contradictions(plans, optimum(world, chosen))
    assert complaints == []


# ---------------------------------------------------------------- by hand


def assert_optimum(world: World, cost: float, **chosen: Any) -> sendplan.Plan:
    """See that the enumeration and cpsat agree with what the comment derives."""
    assert best(world.frames(), world.now, **chosen).cost == pytest.approx(cost)
    plan = world.plan("cpsat", **chosen)
    assert plan.cost == pytest.approx(cost)
    assert plan.lower_bound is None or plan.lower_bound <= cost + TOLERANCE
    return plan


def test_two_contacts_and_one_slot_a_day() -> None:
    # One leaves on Monday, the other a day late.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2)
    assert_optimum(world, 1.0)


def test_starting_later_is_cheaper_than_a_slip() -> None:
    # Tuesday is full. From Monday on the follow-up, ready on Tuesday, leaves on Wednesday: one day
    # late, one day of slip, 1 + 20. From Wednesday on both leave two days late: 4.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    assert days_of(assert_optimum(world, 4.0)) == {1: [2, 3]}


def test_a_slip_is_cheaper_where_it_weighs_little() -> None:
    # As above, with 1 + 2.5 against 4.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    assert days_of(assert_optimum(world, 3.5, slip_weight=2.5)) == {1: [0, 2]}


def test_the_longer_chain_yields() -> None:
    # One email a day per contact makes each second email, whose wait is 0, slip by a day: 40.
    # The longer one first: days 0, 1, 3, ideal 0, 0, 2, so late by 0 + 1 + 1; then the shorter one
    # on 4 and 5, late by 4 + 5; 51. (On 2 and 4 it slips by 2: 2 + 2 + 4 + 60 = 68.)
    # The shorter one first: days 0 and 1, late by 1; the other on 2, 3, 5, late by 2 + 3 + 3; 49.
    every_day = {"send_days": [1, 2, 3, 4, 5, 6, 7]}
    world = World().sequence(1, (0, 0, 2), **every_day).sequence(2, (0, 0), **every_day)
    world.mailbox(5, 1, (1, 2)).enroll(1).enroll(2, sequence=2)
    assert days_of(assert_optimum(world, 49.0)) == {1: [2, 3, 5], 2: [0, 1]}


def test_who_weighs_more_goes_first() -> None:
    # The day of waiting costs 0.5 or 2.
    world = World().sequence(1, (0,), priority=0.5).sequence(2, (0,), priority=2)
    world.mailbox(5, 1, (1, 2)).enroll(1).enroll(2, sequence=2)
    assert days_of(assert_optimum(world, 0.5)) == {1: [1], 2: [0]}


@pytest.mark.parametrize(("one_a_day", "cost"), [(True, 1.0), (False, 0.0)])
def test_one_contact_in_two_sequences(one_a_day: bool, cost: float) -> None:
    # There is room for both on Monday.
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=1).enroll(2, sequence=2, contact_id=1)
    assert_optimum(world, cost, one_a_day=one_a_day)


def test_a_contact_whose_two_chains_meet_twice() -> None:
    # Ideal days are 0 and 1 for both chains. One starts on Tuesday at the earliest, but then one of
    # them has to slip, or leave Tuesday to the other's follow-up and start on Wednesday: 2 + 2.
    world = World().sequence(1, (0, 1)).sequence(2, (0, 1)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=1).enroll(2, sequence=2, contact_id=1)
    assert_optimum(world, 4.0)


def test_few_may_start_on_a_day() -> None:
    # On Monday, Tuesday and Wednesday: 0 + 1 + 2, follow-ups alike.
    world = World().sequence(1, (0, 1), max_new_per_day=1).mailbox(5, 9).enroll(1, 2, 3)
    assert_optimum(world, 6.0)


def test_a_thread_waits_for_its_mailbox() -> None:
    # The follow-up is ready today, the mailbox of its thread is full, the other one is not: a day
    # late, a day of slip.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).mailbox(6, 1).enroll(1)
    world.email(1, 11, "sent", -3).use(5, 0, 1)
    assert days_of(assert_optimum(world, 21.0)) == {1: [1]}


def test_what_a_given_horizon_leaves_out() -> None:
    # Today only. One first email leaves; its follow-up, ready tomorrow, counts as of tomorrow and
    # is not late. The other chain counts as of tomorrow, too: its first email is a day late, its
    # follow-up (ideal tomorrow) is not. Each of the three costs 366 × 21 on top.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).enroll(1, 2)
    plan = assert_optimum(world, 1 + 3 * LEFT_OUT, horizon_days=0)
    reasons = sorted(reason for *_, reason in without_slot(plan))
    assert reasons == ["behind_unplaced", "no_room", "no_room"]


def test_nothing_is_left_out_that_has_room() -> None:
    # Tomorrow, the last day, is full. Both left out would be 2 days late and 1, and the follow-up
    # ready only after the horizon. The first one has room today: then the follow-up, ready
    # tomorrow, is left out with a day of lateness and one of slip, but it alone costs 366 × 21.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    plan = assert_optimum(world, 21 + LEFT_OUT, horizon_days=1)
    assert without_slot(plan) == [(1, 12, "no_room")]


def test_two_are_not_left_out_to_spare_one() -> None:
    # Sequence 1 sends on Mondays only, and its follow-up is ready today; sequence 2 starts today
    # or never sends its last two, ready the day after. Today has one place, tomorrow, the last
    # day, two. The follow-up left out is 2 days late and slips 2: 42. Were it sent, the other
    # three would be a day late each, two of them left out: less delay, but 366 × 21 more.
    world = World().sequence(1, (0, 1), send_days=[1]).sequence(2, (0, 1, 0))
    world.mailbox(5, 2, sequences=(1, 2)).use(5, 0, 1).enroll(1).enroll(2, sequence=2)
    world.email(1, 11, "sent", -3)
    plan = assert_optimum(world, 42 + LEFT_OUT, horizon_days=1, one_a_day=False)
    assert days_of(plan) == {2: [0, 1, 1]}
    assert without_slot(plan) == [(1, 12, "no_room")]
