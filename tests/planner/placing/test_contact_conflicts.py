"""Emails that may not leave on their day: whose contact has used it, and who of two keeps it."""

import numpy as np
import pytest

from sendplan.planner.placing.contact_conflicts import clashes
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World, at


def two_sequences(**second: float) -> World:
    """Contact 7 in two sequences, and contact 8 in the first one."""
    world = World().sequence(1, (0,)).sequence(2, (0,), **second).mailbox(5, 9, (1, 2))
    return world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7).enroll(3, contact_id=8)


def found(arrays: Arrays, days: dict[int, list[int]], fixed: int | None = None) -> list[int]:
    keeping = None
    if fixed is not None:
        keeping = np.zeros(len(arrays.instance.emails), dtype=bool)
        keeping[arrays.email(fixed)] = True
    return clashes(arrays.instance, arrays.limits, arrays.placement(days), keeping).tolist()


def test_different_days_and_different_contacts_do_not_clash() -> None:
    assert found(Arrays(two_sequences()), {1: [0], 2: [1], 3: [0]}) == []


@pytest.mark.parametrize(("priority", "yields"), [(0.5, 2), (2.0, 1)])
def test_the_more_urgent_email_keeps_the_day(priority: float, yields: int) -> None:
    # Sequence 1 has priority 1.
    arrays = Arrays(two_sequences(priority=priority))
    assert found(arrays, {1: [0], 2: [0], 3: [0]}) == [arrays.email(yields)]


def test_a_fixed_email_keeps_the_day_before_a_more_urgent_one() -> None:
    arrays = Arrays(two_sequences(priority=0.5))
    assert found(arrays, {1: [0], 2: [0]}, fixed=2) == [arrays.email(1)]


def test_a_day_that_the_contact_has_used_is_given_up() -> None:
    # A third sequence has sent to contact 7 today.
    world = two_sequences().sequence(3, (0, 1)).mailbox(6, 9, (3,))
    world.enroll(4, sequence=3, contact_id=7)
    world.email(4, 31, "sent", 0, "05:00", mailbox_id=6)
    arrays = Arrays(world)
    assert found(arrays, {1: [0], 2: [1]}) == [arrays.email(1)]


def test_without_the_rule_only_windows_count() -> None:
    # Today's window has closed.
    world = two_sequences()
    world.now = at(0, "18:00")
    arrays = Arrays(world, one_a_day=False)
    assert found(arrays, {1: [1], 2: [1], 3: [0]}) == [arrays.email(3)]
