"""How many emails min_gap_seconds lets leave, against counting by hand."""

from datetime import time
from typing import Any

import pytest

from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.spacing_capacity import gap_room
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World, at

HOUR = 3600


def room(world: World, number: int) -> tuple[int, int]:
    """Give the bound and the estimate of mailbox 5 on a day."""
    arrays = Arrays(world)
    found = gap_room(arrays.instance)
    place = arrays.mailbox(5), arrays.day(number)
    return int(found.most[place]), int(found.expected[place])


def window(key: int, opens: int, closes: int) -> dict[str, Any]:
    return {"key": key, "waits": (0,), "start_time": time(opens), "end_time": time(closes)}


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0, UNLIMITED),
        (HOUR, 8),  # 9:00 to 16:00; 17:00 is past the window
        (HOUR - 1, 9),  # the ninth, 8 seconds before 17:00
        (8 * HOUR, 1),
        (8 * HOUR - 1, 2),  # 9:00:00 and 16:59:59
    ],
)
def test_one_window(gap: int, expected: int) -> None:
    world = World().sequence(1, (0,)).mailbox(5, 99, min_gap_seconds=gap).enroll(1)
    assert room(world, 1) == (expected, expected)


def test_what_is_left_of_today() -> None:
    # At 15:30: 15:30 and 16:30.
    world = World(at(0, "15:30")).sequence(1, (0,)).mailbox(5, 99, min_gap_seconds=HOUR).enroll(1)
    assert room(world, 0) == (2, 2)
    assert room(world, 1) == (8, 8)


def test_emails_that_have_left_keep_others_away() -> None:
    # At 10:00, one has left at 9:30: from 10:30 to 16:30. A claimed one, 12:00, keeps away what is
    # less than an hour from it: 10:30 and, from 13:00 to 16:00, four.
    world = World(at(0, "10:00")).sequence(1, (0, 1)).mailbox(5, 99, min_gap_seconds=HOUR)
    world.enroll(1, 2, 3).email(1, 11, "sent", 0, "09:30")
    assert room(world, 0)[0] == 7
    world.email(2, 11, "claimed", 0, "12:00")
    assert room(world, 0)[0] == 5


def test_windows_that_do_not_meet_add_up() -> None:
    # 9:00, 10:00 and 15:00, 16:00.
    world = World().sequence(**window(1, 9, 11)).sequence(**window(2, 15, 17))
    world.mailbox(5, 99, (1, 2), min_gap_seconds=HOUR).enroll(1).enroll(2, sequence=2)
    assert room(world, 1) == (4, 4)


def test_windows_that_overlap_share_their_time() -> None:
    # 9:00 to 12:00 together, though each alone has room for three.
    world = World().sequence(**window(1, 9, 12)).sequence(**window(2, 10, 13))
    world.mailbox(5, 99, (1, 2), min_gap_seconds=HOUR).enroll(1).enroll(2, sequence=2)
    assert room(world, 1)[0] == 4


def test_the_estimate_follows_the_shares_in_which_windows_wait() -> None:
    # A day has room for 8, of which 2 from 9:00 to 11:00. Of four that wait three are of that
    # window, so that a day of this mix holds 2 and two thirds.
    world = World().sequence(**window(1, 9, 11)).sequence(**window(2, 9, 17))
    world.mailbox(5, 99, (1, 2), min_gap_seconds=HOUR).enroll(1, 2, 3).enroll(4, sequence=2)
    assert room(world, 1) == (8, 2)


def test_windows_of_other_mailboxes_do_not_count() -> None:
    world = World().sequence(**window(1, 9, 11)).sequence(**window(2, 9, 17))
    world.mailbox(5, 99, (1,), min_gap_seconds=HOUR).mailbox(6, 99, (2,))
    world.enroll(1).enroll(2, sequence=2)
    assert room(world, 1) == (2, 2)
