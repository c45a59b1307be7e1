"""Placements filled by look-ahead: what stands stays, and what is added costs little."""

from sendplan.planner.greedy.construction import construct
from sendplan.tests.worlds.problems.arrays import Arrays, Threads
from sendplan.tests.worlds.problems.tiny import World


def filled(world: World, days: dict[int, list[int]] | None = None, **parameters: float) -> Threads:
    arrays = Arrays(world, **parameters)
    placement = arrays.placement(days or {})
    construct(arrays.instance, arrays.limits, placement, arrays.parameters)
    return arrays.threads(placement)


def test_what_stands_stays() -> None:
    # Tuesday is 2's, so that 1 gets Monday, and 3 Wednesday.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3)
    assert filled(world, {2: [1]}) == {1: (5, [0]), 2: (5, [1]), 3: (5, [2])}


def test_the_rest_of_a_chain_follows_what_stands() -> None:
    world = World().sequence(1, (0, 1, 1)).mailbox(5, 1).enroll(1)
    assert filled(world, {1: [1]}) == {1: (5, [1, 2, 3])}


def test_a_chain_starts_late_rather_than_slip() -> None:
    # Tuesday is full: Wednesday and Thursday cost 4, Monday and Wednesday 1 + 20.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    assert filled(world) == {1: (5, [2, 3])}


def test_whoever_weighs_more_goes_first() -> None:
    world = World().sequence(1, (0,), priority=0.5).sequence(2, (0,), priority=2)
    world.mailbox(5, 1, (1, 2)).enroll(1).enroll(2, sequence=2)
    assert filled(world) == {1: (5, [1]), 2: (5, [0])}


def test_a_given_horizon_leaves_out_what_has_no_room() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2)
    assert filled(world, horizon_days=0) == {1: (5, [0]), 2: (None, [None])}


def test_the_relaxed_plan_holds_starts_back_for_the_sake_of_follow_ups() -> None:
    # Two a day; the threads of 1 and 2 fill Monday and Tuesday. Started on Wednesday, a chain would
    # leave on days 2, 4 and 7: late by 2 + 2 + 5, with 3 days of slip behind Friday, 69. Started on
    # Thursday, on 3, 7 and 8: late by 3 + 5 + 6, with a day of slip, 34.
    world = World().sequence(1, (0, 2, 0)).mailbox(5, 2).enroll(1, 2, 3, 4)
    world.email(1, 11, "sent", -3).email(2, 11, "sent", -3)
    assert filled(world) == {
        1: (5, [0, 1]),
        2: (5, [0, 1]),
        3: (5, [3, 7, 8]),
        4: (5, [3, 7, 8]),
    }


def test_chains_that_slip_are_taken_out_and_put_back_where_they_cost_less() -> None:
    # One a day, each email of a chain a day behind the one before: 40 of slip. On days 3, 4 and 7
    # the second chain would slip by 2 days more, 94, and the third, on 8, 9 and 10, cost 67. On 7,
    # 8 and 9 the second is late by 24 and costs 64, and the third on 14, 15 and 16, 85: 12 less.
    world = World().sequence(1, (0, 0, 0)).mailbox(5, 1).enroll(1, 2, 3)
    assert filled(world) == {
        1: (5, [0, 1, 2]),
        2: (5, [7, 8, 9]),
        3: (5, [14, 15, 16]),
    }
