"""An existing plan put right after a change, with no more moves than it is worth."""

import pytest

from sendplan.planner.replanning.repair import repair
from sendplan.tests.worlds.problems.arrays import Arrays, Threads
from sendplan.tests.worlds.problems.tiny import World


def repaired(world: World, change_weight: float = 1.0, **parameters: int) -> Threads:
    arrays = Arrays(world, change_weight=change_weight, **parameters)
    placement = arrays.existing()
    repair(arrays.instance, arrays.limits, arrays.parameters, placement)
    return arrays.threads(placement)


def test_what_can_stay_stays() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2)
    world.email(1, 11, "pending", 1).email(2, 11, "pending", 0)
    assert repaired(world) == {1: (5, [1]), 2: (5, [0])}


def test_what_has_no_slot_takes_the_first_room_and_moves_nobody() -> None:
    # Monday and Tuesday are taken.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3)
    world.email(2, 11, "pending", 0).email(3, 11, "pending", 1)
    assert repaired(world) == {1: (5, [2]), 2: (5, [0]), 3: (5, [1])}


def test_a_chain_starts_where_its_follow_up_does_not_slip() -> None:
    # Tuesday is full. From Wednesday on both emails are two days late, 4; from Monday on the
    # follow-up slips, 1 + 20.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    assert repaired(world) == {1: (5, [2, 3])}


def test_threads_come_before_those_who_have_not_begun() -> None:
    # Both lack a day; the one place of Monday is the follow-up's, though 1 comes first.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).enroll(1, 2).email(2, 11, "sent", -3)
    assert repaired(world) == {1: (5, [1, 2]), 2: (5, [0])}


@pytest.mark.parametrize(("change_weight", "first"), [(1.0, [1]), (30.0, [0])])
def test_whoever_has_not_begun_yields_to_a_follow_up_where_it_pays(
    change_weight: float, first: list[int]
) -> None:
    # 2's follow-up, ready on Monday, would slip to Tuesday: 1 + 20. Chain 1 put off by a day costs
    # 1 and a move.
    world = World().sequence(1, (0,)).sequence(2, (0, 1)).mailbox(5, 1, (1, 2))
    world.enroll(1).enroll(2, sequence=2)
    world.email(1, 11, "pending", 0).email(2, 21, "sent", -3)
    second = [0] if first == [1] else [1]
    assert repaired(world, change_weight) == {1: (5, first), 2: (5, second)}


def test_whoever_has_not_begun_makes_nobody_yield() -> None:
    # 2 weighs more than 1 but lacks its first email, which cannot slip.
    world = World().sequence(1, (0,)).sequence(2, (0,), priority=9).mailbox(5, 1, (1, 2))
    world.enroll(1).enroll(2, sequence=2).email(1, 11, "pending", 0)
    assert repaired(world) == {1: (5, [0]), 2: (5, [1])}


@pytest.mark.parametrize(("change_weight", "expected"), [(1.5, [0]), (2.5, [2])])
def test_late_emails_go_forward_where_it_pays(change_weight: float, expected: list[int]) -> None:
    # Monday has room: two days less.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1).email(1, 11, "pending", 2)
    assert repaired(world, change_weight) == {1: (5, expected)}


def test_those_go_forward_first_that_gain_most() -> None:
    # Monday has room for one: 2 gains three days, 1 two. What 2 leaves is too late for 1.
    world = World().sequence(1, (0,)).mailbox(5, 1).use(5, 1, 1).enroll(1, 2)
    world.email(1, 11, "pending", 2).email(2, 11, "pending", 3)
    assert repaired(world, 1.5) == {1: (5, [2]), 2: (5, [0])}


def test_without_any_room_an_email_stays_open() -> None:
    # The only day of the horizon is used up.
    world = World().sequence(1, (0,)).mailbox(5, 1).use(5, 0, 1).enroll(1)
    assert repaired(world, horizon_days=0) == {1: (None, [None])}
