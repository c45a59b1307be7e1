"""How many emails leave a mailbox on a day: follow-ups first, and no start without room for all."""

import numpy as np
import pytest

from sendplan.planner.greedy.admission import decide
from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.counts import AggregatedInstance, Pairs
from sendplan.planner.model.disaggregation import demand
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World

DAYS = range(5)

Sends = dict[tuple[int, int], list[int]]
"""Emails of Monday to Friday, by the mailbox and the emails that a chain has left."""


def decided(world: World, targets: list[int] | None = None, **parameters: float) -> Sends:
    """Decide; targets are the first emails of Monday on, of the only sequence."""
    arrays = Arrays(world, **parameters)
    instance, limits = arrays.instance, arrays.limits
    nothing = Placement.empty(instance)
    room = ResidualCapacity.beside(instance, limits, nothing)
    pairs = Pairs.build(instance.stages, instance.fleet.pools, limits.urgency)
    terrain = AggregatedInstance(
        instance.stages,
        pairs,
        room.mailbox,
        room.new,
        limits.release,
        limits.urgency,
        limits.last,
    )
    wanted = None
    if targets is not None:
        wanted = np.zeros((len(instance.stages.step), arrays.day(len(targets)) + 1))
        first = instance.stages.remaining.argmax()
        wanted[first, arrays.day(0) : arrays.day(len(targets))] = targets
    counts = decide(terrain, demand(instance, limits, nothing, pairs), wanted)
    result: Sends = {}
    for stage, mailbox, sent in zip(
        pairs.stage, pairs.mailbox, counts.bound + counts.free, strict=True
    ):
        key = arrays.mailboxes[mailbox], int(instance.stages.remaining[stage])
        result[key] = [int(sent[arrays.day(number)]) for number in DAYS]
    return result


def test_as_many_start_as_there_is_room() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 2).enroll(1, 2, 3, 4, 5)
    assert decided(world) == {(5, 1): [2, 2, 1, 0, 0]}


def test_no_chain_starts_whose_follow_up_has_no_room() -> None:
    # On Tuesday there is room for one follow-up only, of the two that Monday could start. From
    # Tuesday on its follow-up fills the day.
    world = World().sequence(1, (0, 1)).mailbox(5, 2).use(5, 1, 1).enroll(1, 2, 3)
    assert decided(world) == {(5, 2): [1, 0, 2, 0, 0], (5, 1): [0, 1, 0, 2, 0]}


def test_follow_ups_leave_before_others_start() -> None:
    # The follow-up of 2 waits.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).enroll(1, 2).email(2, 11, "sent", -3)
    assert decided(world) == {(5, 2): [0, 1, 0, 0, 0], (5, 1): [1, 0, 1, 0, 0]}


def test_what_found_no_room_waits_for_the_next_day() -> None:
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 0, 1).enroll(2)
    world.email(2, 11, "sent", -3)
    assert decided(world) == {(5, 1): [0, 1, 0, 0, 0]}


def test_starts_are_shared_by_the_room_of_the_mailboxes() -> None:
    # Four of six places.
    world = World().sequence(1, (0,)).mailbox(5, 4).mailbox(6, 2).enroll(1, 2, 3)
    assert decided(world) == {(5, 1): [2, 0, 0, 0, 0], (6, 1): [1, 0, 0, 0, 0]}


def test_few_may_start_on_a_day() -> None:
    world = World().sequence(1, (0,), max_new_per_day=1).mailbox(5, 9).enroll(1, 2)
    assert decided(world) == {(5, 1): [1, 1, 0, 0, 0]}


def test_nothing_leaves_after_the_horizon() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3)
    assert decided(world, horizon_days=1) == {(5, 1): [1, 1, 0, 0, 0]}


def test_two_emails_of_a_chain_on_one_day_need_two_places() -> None:
    # Without waits and without the rule of one email a day three places hold one chain.
    world = World().sequence(1, (0, 0)).mailbox(5, 3).enroll(1, 2)
    assert decided(world, one_a_day=False) == {(5, 2): [1, 1, 0, 0, 0], (5, 1): [1, 1, 0, 0, 0]}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        # After the last target nothing holds the others back.
        ([0, 1], [0, 1, 2, 0, 0]),
        ([1, 1, 1], [1, 1, 1, 0, 0]),
        ([9], [3, 0, 0, 0, 0]),
    ],
)
def test_no_more_start_than_the_relaxed_plan_has_sent(
    targets: list[int], expected: list[int]
) -> None:
    world = World().sequence(1, (0,)).mailbox(5, 9).enroll(1, 2, 3)
    assert decided(world, targets) == {(5, 1): expected}
