"""Emails for which min_gap_seconds leaves no second on their day move to another."""

from datetime import time

from sendplan.planner.placing.spacing_repair import fit
from sendplan.tests.worlds.problems.arrays import Arrays
from sendplan.tests.worlds.problems.tiny import World, at

HOUR = 3600


def fitted(
    arrays: Arrays, days: dict[int, list[int]]
) -> tuple[dict[int, list[int | None]], dict[int, list[str | None]]]:
    """Give the days and the clock times of each enrollment's emails."""
    placement = arrays.placement(days)
    seconds = fit(arrays.instance, arrays.limits, placement)
    clocks: dict[int, list[str | None]] = {}
    for enrollment, own in arrays.days(placement).items():
        begin = arrays.email(enrollment)
        clocks[enrollment] = [
            None if day is None else _clock(int(second), day)
            for day, second in zip(own, seconds[begin : begin + len(own)], strict=True)
        ]
    return arrays.days(placement), clocks


def _clock(second: int, day: int) -> str:
    minutes = (second - int(at(day, "00:00").timestamp())) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def test_what_fits_stays() -> None:
    # 8 hours for 2 emails, 4 hours apart.
    world = World().sequence(1, (0,)).mailbox(5, 9, min_gap_seconds=4 * HOUR).enroll(1, 2)
    days, clocks = fitted(Arrays(world), {1: [0], 2: [0]})
    assert days == {1: [0], 2: [0]}
    assert clocks == {1: ["09:00"], 2: ["13:00"]}


def test_what_does_not_fit_moves_to_the_next_day() -> None:
    # 8 hours apart there is one second a day: the window closes at 17:00.
    world = World().sequence(1, (0,)).mailbox(5, 9, min_gap_seconds=8 * HOUR).enroll(1, 2)
    days, clocks = fitted(Arrays(world), {1: [0], 2: [0]})
    assert days == {1: [0], 2: [1]}
    assert clocks == {1: ["09:00"], 2: ["09:00"]}


def test_follow_ups_move_along() -> None:
    # The second chain starts a day later, and so does its follow-up.
    world = World().sequence(1, (0, 1)).mailbox(5, 9, min_gap_seconds=8 * HOUR)
    world.enroll(1, 2).use(5, 1, 0)
    days, _ = fitted(Arrays(world), {1: [0, 2], 2: [0, 1]})
    assert days == {1: [0, 2], 2: [1, 3]}


def test_what_finds_no_day_is_left_out() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 9, min_gap_seconds=8 * HOUR).enroll(1, 2)
    days, clocks = fitted(Arrays(world, horizon_days=0), {1: [0], 2: [0]})
    assert days == {1: [0], 2: [None]}
    assert clocks == {1: ["09:00"], 2: [None]}


def narrow(**more: object) -> World:
    """Two emails an hour apart in sequence 1, from 9 to 11; two in sequence 2, at 10 exactly."""
    world = World().sequence(1, (0,), start_time=time(9), end_time=time(11))
    world.sequence(2, (0,), start_time=time(10), end_time=time(10, 1))
    return world.mailbox(5, 9, (1, 2), min_gap_seconds=HOUR, **more)


def test_a_day_is_closed_to_the_window_that_is_crowded_and_open_to_others() -> None:
    # Two emails want 10:00. The one of them that moves leaves room for sequence 1 at 9:00.
    world = narrow().enroll(1).enroll(2, 3, sequence=2)
    days, clocks = fitted(Arrays(world), {1: [0], 2: [0], 3: [0]})
    assert days == {1: [0], 2: [0], 3: [1]}
    assert clocks == {1: ["09:00"], 2: ["10:00"], 3: ["10:00"]}


def test_many_move_to_one_day_at_once() -> None:
    # Two fit on a day, 4 hours apart.
    world = World().sequence(1, (0,)).mailbox(5, 9, min_gap_seconds=4 * HOUR).enroll(1, 2, 3, 4)
    days, _ = fitted(Arrays(world), {1: [0], 2: [0], 3: [0], 4: [0]})
    assert days == {1: [0], 2: [0], 3: [1], 4: [1]}


def test_emails_of_two_windows_change_their_days() -> None:
    # A day holds one email of either window, at 12:00 and 15:00. On Monday there are three of the
    # first, on Tuesday two of the second: one of each finds room on the other day, one nowhere.
    world = World().sequence(1, (0,), start_time=time(12), end_time=time(15))
    world.sequence(2, (0,), start_time=time(14), end_time=time(16))
    world.mailbox(5, 9, (1, 2), min_gap_seconds=3 * HOUR).enroll(1, 4, 5).enroll(2, 3, sequence=2)
    days, _ = fitted(Arrays(world, horizon_days=1), {1: [0], 4: [0], 5: [0], 2: [1], 3: [1]})
    assert days == {1: [0], 4: [1], 5: [None], 2: [1], 3: [0]}


def test_a_second_that_came_free_in_passing_is_used() -> None:
    # From 10 to 11 a day holds one email. On Wednesday there are two follow-ups, so that the day is
    # closed to them; then one of the chains loses its start, and the other can have Wednesday.
    world = World().sequence(1, (0,), start_time=time(10), end_time=time(13))
    world.sequence(2, (0, 1), start_time=time(10), end_time=time(11))
    world.mailbox(5, 9, (1, 2), min_gap_seconds=2 * HOUR)
    world.enroll(2, 5).enroll(1, 3, 4, sequence=2)
    wanted = {1: [1, 2], 2: [0], 3: [0, 2], 4: [0, 1], 5: [0]}
    days, _ = fitted(Arrays(world, horizon_days=2), wanted)
    assert days == {1: [None, None], 2: [0], 3: [0, 2], 4: [None, None], 5: [1]}
