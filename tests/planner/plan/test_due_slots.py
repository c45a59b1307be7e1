"""What is held for the dispatcher: beginnings of chains whose slots keep every rule."""

import pytest

from sendplan.planner.plan.due_slots import hold_due
from sendplan.tests.worlds.problems.tiny import World, at

HOUR = 3_600_000_000


def held_of(world: World, *, one_a_day: bool) -> set[tuple[int, int]]:
    problem = world.problem()
    fixed = hold_due(problem, problem.now - HOUR, problem.now + HOUR, one_a_day=one_a_day)
    rows = fixed.scheduled_emails[(fixed.scheduled_emails["status"] == "claimed").to_numpy()]
    return set(zip(rows["enrollment_id"], rows["step_id"], strict=True))


def due(*first: str, gap: int = 60) -> World:
    """Two contacts, both emails of each due within the hour: 1 at `first`, 2 between them."""
    world = World(at(0, "09:30")).sequence(1, (0, 0, 0)).mailbox(5, 9, min_gap_seconds=gap)
    world.enroll(1, 2).email(2, 11, "pending", 0, "09:20").email(2, 12, "pending", 0, "09:40")
    for step, clock in zip((11, 12, 13), first, strict=False):
        world.email(1, step, "pending", 0, clock)
    return world


def test_whole_beginnings_of_chains_are_held() -> None:
    sound = due("09:15", "09:30", "10:45")
    assert held_of(sound, one_a_day=False) == {(2, 11), (2, 12), (1, 11), (1, 12)}


@pytest.mark.parametrize("later", ["09:45", "09:20:05"])
def test_nothing_is_held_behind_a_slot_that_breaks_a_rule(later: str) -> None:
    # The first email of 1 is half a minute behind another: it is planned anew, and so are the
    # others of its chain, though their own slots keep every rule (09:45) or not.
    crammed = due("09:20:30", later, "09:50")
    assert held_of(crammed, one_a_day=False) == {(2, 11), (2, 12)}


def test_nothing_is_held_behind_an_email_without_a_slot() -> None:
    world = due()
    world.email(1, 11, "pending", 0, "09:15", plan_run_id=None).email(1, 12, "pending", 0, "09:30")
    assert held_of(world, one_a_day=False) == {(2, 11), (2, 12)}
