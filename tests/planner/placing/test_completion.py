"""Placements made whole and given their times, and the better of two, component by component."""

import numpy as np
import pytest

from sendplan.planner.model.assignment import Placement
from sendplan.planner.placing.completion import Candidate, cheaper, completed, cost_of
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import LEFT_OUT, World, at


def second(day: int, clock: str) -> int:
    return int(at(day, clock).timestamp())


def test_gaps_are_filled_and_every_email_gets_its_time() -> None:
    # 1 stays on Tuesday; 2, without a day, gets the first that has room, which is Monday.
    arrays = Arrays(World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2))
    found = completed(arrays.instance, arrays.limits, arrays.placement({1: [1]}))
    assert arrays.threads(found.placement) == {1: (5, [1]), 2: (5, [0])}
    assert found.at.tolist() == [second(1, "09:00"), second(0, "09:00")]


def meeting() -> Arrays:
    """Contact 7 in two sequences, either with one chain, so that nothing can be swapped."""
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    return Arrays(world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7))


@pytest.mark.parametrize(("fixed", "expected"), [(1, {1: [0], 2: [1]}), (2, {1: [1], 2: [0]})])
def test_of_two_emails_of_a_contact_one_moves(fixed: int, expected: dict[int, list[int]]) -> None:
    arrays = meeting()
    keeping = np.zeros(len(arrays.instance.emails), dtype=bool)
    keeping[arrays.email(fixed)] = True
    found = completed(arrays.instance, arrays.limits, arrays.placement({1: [0], 2: [0]}), keeping)
    assert arrays.days(found.placement) == expected


def test_swapping_comes_before_moving() -> None:
    # Moving 2 to Tuesday would cost a day. 1 changes with 3 instead, as Monday's capacity is
    # used up by then.
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 2, (1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7).enroll(3, contact_id=8)
    arrays = Arrays(world)
    found = completed(arrays.instance, arrays.limits, arrays.placement({1: [0], 2: [0], 3: [1]}))
    assert arrays.days(found.placement) == {1: [1], 2: [0], 3: [0]}


def test_the_cost_of_a_placement() -> None:
    # The first email is two days late, the follow-up (ideal Tuesday, ready Thursday) leaves on
    # Friday: three days late, one of slip. 2 + 3 + 20.
    arrays = Arrays(World().sequence(1, (0, 1)).mailbox(5, 1).enroll(1))
    placement = arrays.placement({1: [2, 4]})
    assert cost_of(arrays.instance, arrays.limits, arrays.parameters, placement) == 25.0


def test_what_is_left_out_is_late_as_of_the_day_after_a_given_horizon() -> None:
    # Of Monday to Thursday; and being left out costs on top.
    arrays = Arrays(World().sequence(1, (0,)).mailbox(5, 1).enroll(1), horizon_days=3)
    placement = Placement.empty(arrays.instance)
    assert cost_of(arrays.instance, arrays.limits, arrays.parameters, placement) == 4 + LEFT_OUT


# ---------------------------------------------------------------- the better of two


def candidate(arrays: Arrays, days: dict[int, list[int]], at_: int) -> Candidate:
    """Give a candidate whose times tell which one it is."""
    return Candidate(arrays.placement(days, {2: 6}), np.full(len(arrays.instance.emails), at_))


def components(**parameters: float) -> Arrays:
    """Two sequences that share nothing, a chain each."""
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 1).mailbox(6, 1, (2,))
    return Arrays(world.enroll(1).enroll(2, sequence=2), **parameters)


def test_the_better_of_two_is_chosen_component_by_component() -> None:
    arrays = components()
    known = candidate(arrays, {1: [0], 2: [2]}, 100)
    other = candidate(arrays, {1: [1], 2: [1]}, 200)
    best = cheaper(arrays.instance, arrays.limits, arrays.parameters, known, other)
    assert arrays.threads(best.placement) == {1: (5, [0]), 2: (6, [1])}
    assert best.at.tolist() == [100, 200]


@pytest.mark.parametrize(("margin", "expected"), [(0.0, 1), (0.4, 1), (0.6, 2)])
def test_the_other_must_be_better_by_a_margin(margin: float, expected: int) -> None:
    # 2 days of lateness against 1: better by a half.
    arrays = components()
    known = candidate(arrays, {1: [0], 2: [2]}, 100)
    other = candidate(arrays, {1: [0], 2: [1]}, 200)
    best = cheaper(arrays.instance, arrays.limits, arrays.parameters, known, other, margin=margin)
    assert arrays.days(best.placement)[2] == [expected]


def moving(change_weight: float) -> tuple[Arrays, Candidate, Candidate]:
    """One chain with a slot on Wednesday: as it is, and moved to Monday."""
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1).email(1, 11, "pending", 2)
    arrays = Arrays(world, change_weight=change_weight)
    return arrays, candidate(arrays, {1: [2]}, 100), candidate(arrays, {1: [0]}, 200)


@pytest.mark.parametrize(("change_weight", "expected"), [(1.5, 0), (2.5, 2)])
def test_a_move_costs(change_weight: float, expected: int) -> None:
    # It saves two days.
    arrays, known, other = moving(change_weight)
    best = cheaper(arrays.instance, arrays.limits, arrays.parameters, known, other)
    assert arrays.days(best.placement) == {1: [expected]}


def test_of_two_that_cost_the_same_the_one_that_moves_less_is_chosen() -> None:
    # A move of weight 2 costs what it saves.
    arrays, stays, moves = moving(2.0)
    for known, other in ((stays, moves), (moves, stays)):
        best = cheaper(arrays.instance, arrays.limits, arrays.parameters, known, other)
        assert arrays.days(best.placement) == {1: [2]}
