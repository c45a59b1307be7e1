"""Single chains taken from a placement, and their cheapest paths through the residual capacity."""

import numpy as np
import pytest

from sendplan.planner.replanning.chain_insertion import NEVER, ChainInsertion
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World


def insertion_into(
    world: World, days: dict[int, list[int]], **parameters: float
) -> tuple[Arrays, ChainInsertion]:
    arrays = Arrays(world, **parameters)
    return arrays, ChainInsertion(
        arrays.instance, arrays.limits, arrays.parameters, arrays.placement(days)
    )


def cheapest(
    arrays: Arrays, insertion: ChainInsertion, enrollment: int
) -> tuple[float, int, list[int]] | None:
    """Give the cost, mailbox and days of the cheapest path."""
    found = insertion.cheapest(arrays.chain(enrollment))
    if found is None:
        return None
    days = [day + arrays.origin for day in found.days.tolist()]
    return found.value, arrays.mailboxes[found.mailbox], days


def test_the_cheapest_path_takes_the_residual_capacity() -> None:
    # Monday is taken: one day late each.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).enroll(1, 2)
    arrays, insertion = insertion_into(world, {2: [0]})
    assert cheapest(arrays, insertion, 1) == (2.0, 5, [1, 2])


def test_start_and_follow_up_are_chosen_together() -> None:
    # Tuesday is full: Wednesday and Thursday cost 4, Monday and Wednesday 1 + 20, or 1 + 2.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    assert cheapest(*insertion_into(world, {}), 1) == (4.0, 5, [2, 3])
    assert cheapest(*insertion_into(world, {}, slip_weight=2.0), 1) == (3.0, 5, [0, 2])


def test_the_mailbox_with_the_cheapest_days_is_chosen() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).mailbox(6, 1).use(5, 0, 1).enroll(1)
    assert cheapest(*insertion_into(world, {}), 1) == (0.0, 6, [0])


def test_a_thread_stays_at_its_mailbox() -> None:
    # A day late and a day of slip, though mailbox 6 has capacity.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).mailbox(6, 1).use(5, 0, 1).enroll(1)
    world.email(1, 11, "sent", -3)
    assert cheapest(*insertion_into(world, {}), 1) == (21.0, 5, [1])


@pytest.mark.parametrize(
    ("change_weight", "expected"), [(1.0, (1.0, 5, [0])), (3.0, (2.0, 5, [2]))]
)
def test_leaving_the_existing_slot_costs(
    change_weight: float, expected: tuple[float, int, list[int]]
) -> None:
    # The slot is Wednesday's: two days late, or a move.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1).email(1, 11, "pending", 2)
    assert cheapest(*insertion_into(world, {}, change_weight=change_weight), 1) == expected


def test_another_mailbox_on_the_same_day_is_a_move() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).mailbox(6, 1).enroll(1)
    world.email(1, 11, "pending", 0, mailbox_id=6).use(6, 0, 1)
    assert cheapest(*insertion_into(world, {}, change_weight=0.5), 1) == (0.5, 5, [0])
    _, insertion = insertion_into(world, {1: [0]}, change_weight=0.5)
    assert insertion.value(np.array([0])).tolist() == [0.5]


def test_few_may_start_on_a_day() -> None:
    world = World().sequence(1, (0,), max_new_per_day=1).mailbox(5, 9).enroll(1, 2)
    assert cheapest(*insertion_into(world, {2: [0]}), 1) == (1.0, 5, [1])


def test_a_day_of_the_contacts_other_chain_is_taken() -> None:
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7)
    assert cheapest(*insertion_into(world, {2: [0]}), 1) == (1.0, 5, [1])


def test_without_capacity_there_is_no_path() -> None:
    # The only day of the horizon is used up.
    world = World().sequence(1, (0,)).mailbox(5, 1).use(5, 0, 1).enroll(1)
    assert cheapest(*insertion_into(world, {}, horizon_days=0), 1) is None


def test_what_chains_cost_where_they_stand() -> None:
    # 1: two and three days late, one day of slip: 2 + 3 + 20. 2 lacks its follow-up.
    world = World().sequence(1, (0, 1)).mailbox(5, 9).enroll(1, 2)
    arrays, insertion = insertion_into(world, {1: [2, 4], 2: [0]})
    chains = np.array([arrays.chain(1), arrays.chain(2)])
    assert insertion.value(chains).tolist() == [25.0, NEVER]
    assert insertion.complete().tolist() == [True, False]


def test_what_is_taken_off_releases_its_capacity_and_uses_it_again() -> None:
    world = World().sequence(1, (0,), max_new_per_day=1).mailbox(5, 1).enroll(1, 2)
    arrays, insertion = insertion_into(world, {2: [0]})
    other = np.array([arrays.chain(2)])
    insertion.lift(other)
    assert arrays.threads(insertion.placement)[2] == (None, [None])
    assert cheapest(arrays, insertion, 1) == (0.0, 5, [0])
    insertion.put(other, arrays.mailbox(5), np.array([arrays.day(1)]))
    assert arrays.threads(insertion.placement)[2] == (5, [1])
    insertion.put(np.array([arrays.chain(1)]), arrays.mailbox(5), np.array([arrays.day(0)]))
    assert insertion.room.mailbox[0, [arrays.day(n) for n in (0, 1, 2)]].tolist() == [0, 0, 1]
    assert insertion.room.new[0, [arrays.day(n) for n in (0, 1, 2)]].tolist() == [0, 0, 1]


def test_chains_of_a_kind_settle_one_after_another() -> None:
    # Two a day.
    world = World().sequence(1, (0,)).mailbox(5, 2).enroll(1, 2, 3, 4, 5)
    arrays, insertion = insertion_into(world, {})
    assert not len(insertion.settle(np.arange(5)))
    assert sorted(day for [day] in arrays.days(insertion.placement).values()) == [0, 0, 1, 1, 2]


def test_chains_that_find_no_way_are_told() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3)
    arrays, insertion = insertion_into(world, {}, horizon_days=1)
    assert insertion.settle(np.arange(3)).tolist() == [2]
    assert arrays.days(insertion.placement) == {1: [0], 2: [1], 3: [None]}


def test_chains_of_a_kind() -> None:
    # 1 and 2 are alike; 3 stands elsewhere, and 4 has a slot.
    world = World().sequence(1, (0,)).mailbox(5, 9).enroll(1, 2, 3, 4)
    world.email(4, 11, "pending", 0)
    arrays, insertion = insertion_into(world, {1: [0], 2: [0], 3: [1], 4: [0]})
    groups = insertion.alike(np.arange(4))
    found = sorted([arrays.enrollments[chain] for chain in group] for group in groups)
    assert found == [[1, 2], [3], [4]]
