"""Days swapped between chains, so that no contact gets two emails on a day."""

import numpy as np
import pytest

from sendplan.planner.placing.day_swaps import swap_days
from sendplan.tests.worlds.problems.arrays import Arrays, Threads
from sendplan.tests.worlds.problems.tiny import World, at


def exchanged(
    world: World,
    days: dict[int, list[int]],
    mailboxes: dict[int, int] | None = None,
    fixed: int | None = None,
) -> Threads:
    arrays = Arrays(world)
    placement = arrays.placement(days, mailboxes)
    keeping = np.zeros(len(arrays.instance.emails), dtype=bool)
    if fixed is not None:
        keeping[arrays.email(fixed)] = True
    swap_days(arrays.instance, arrays.limits, placement, keeping)
    return arrays.threads(placement)


def shared(first: tuple[int, ...] = (0,)) -> World:
    """Contact 7 in sequences 1 and 2, and the contacts 8 and 9 in sequence 1."""
    world = World().sequence(1, first).sequence(2, (0,)).mailbox(5, 9, (1, 2)).mailbox(6, 9, (1,))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7)
    return world.enroll(3, contact_id=8).enroll(4, contact_id=9)


def test_two_chains_of_a_sequence_change_days() -> None:
    # Both emails of contact 7 leave on Monday. Sequence 2 has no other chain, so the one of
    # sequence 1 changes with the next of its kind.
    threads = exchanged(shared(), {1: [0], 2: [0], 3: [1], 4: [2]})
    assert threads == {1: (5, [1]), 2: (5, [0]), 3: (5, [0]), 4: (5, [2])}


def test_the_mailbox_goes_with_the_days() -> None:
    threads = exchanged(shared(), {1: [0], 2: [0], 3: [1]}, {3: 6})
    assert (threads[1], threads[3]) == ((6, [1]), (5, [0]))


def test_the_days_that_follow_go_along() -> None:
    threads = exchanged(shared((0, 1)), {1: [0, 1], 2: [0], 3: [1, 3]})
    assert (threads[1], threads[3]) == ((5, [1, 3]), (5, [0, 1]))


def test_follow_ups_change_alone() -> None:
    # Emails meet on Wednesday only. From Tuesday on the follow-ups may leave.
    threads = exchanged(shared((0, 1)), {1: [0, 2], 2: [2], 3: [0, 1]})
    assert (threads[1], threads[3]) == ((5, [0, 1]), (5, [0, 2]))


def test_no_follow_up_leaves_before_its_wait_is_over() -> None:
    # As above, but 3 starts on Wednesday, too late for a follow-up on that day; and 1 could start
    # on Wednesday no better.
    threads = exchanged(shared((0, 1)), {1: [0, 2], 2: [2], 3: [2, 3]})
    assert (threads[1], threads[2], threads[3]) == ((5, [0, 2]), (5, [2]), (5, [2, 3]))


def test_nobody_gets_a_day_used_by_another_email() -> None:
    # Contact 8 has an email of a third sequence on Monday, so contact 9 changes.
    world = shared().sequence(3, (0,)).mailbox(8, 9, (3,)).enroll(5, sequence=3, contact_id=8)
    days = {1: [0], 2: [0], 3: [1], 4: [2], 5: [0]}
    threads = exchanged(world, days, {5: 8})
    assert [threads[key][1] for key in (1, 2, 3, 4, 5)] == [[2], [0], [1], [0], [0]]


def test_nobody_gets_a_day_whose_window_has_closed() -> None:
    # At noon the day of contact 8, in Tokyo, is over; so 4 changes.
    world = World(at(0, "12:00")).sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7)
    world.enroll(3, contact_id=8, contact_timezone="Asia/Tokyo")
    world.enroll(4, contact_id=9, contact_timezone=None)
    threads = exchanged(world, {1: [0], 2: [0], 3: [1], 4: [2]})
    assert [threads[key][1] for key in (1, 2, 3, 4)] == [[2], [0], [1], [0]]


@pytest.mark.parametrize(("fixed", "expected"), [(3, [2]), (4, [1])])
def test_fixed_emails_stay(fixed: int, expected: list[int]) -> None:
    threads = exchanged(shared(), {1: [0], 2: [0], 3: [1], 4: [2]}, fixed=fixed)
    assert threads[1][1] == expected


def test_without_a_partner_everything_stays() -> None:
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7)
    assert exchanged(world, {1: [0], 2: [0]}) == {1: (5, [0]), 2: (5, [0])}
