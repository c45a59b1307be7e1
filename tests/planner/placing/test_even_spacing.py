"""The widest spacing of emails with different windows, against trying everything."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendplan.planner.placing.even_spacing import Jobs, spread

Windows = list[tuple[int, int, int]]  # first and last second, emails
Regions = list[tuple[int, int]]


def fits(windows: Windows, gap: int, regions: Regions) -> bool:
    """Try every order of the emails, each as early as it can."""
    emails = [(opens, closes) for opens, closes, count in windows for _ in range(count)]

    def open_second(second: int) -> int:
        while any(start < second < end for start, end in regions):
            second += 1
        return second

    for order in set(permutations(emails)):
        clock = -(10**9)
        for opens, closes in order:
            clock = open_second(max(opens, clock + gap))
            if clock > closes:
                break
        else:
            return True
    return False


def widest(windows: Windows, least: int, regions: Regions) -> int | None:
    found = None
    for gap in range(least, 30):
        if not fits(windows, gap, regions):
            break
        found = gap
    return found


def jobs(windows: Windows, regions: Regions) -> Jobs:
    opens, closes, counts = (list(column) for column in zip(*windows, strict=True))
    return Jobs(opens, closes, counts, regions)


def sound(windows: Windows, times: list[list[int]], gap: int, regions: Regions) -> bool:
    """Tell whether times keep their windows, the gap and the regions."""
    every = sorted(second for own in times for second in own)
    return (
        [len(own) for own in times] == [count for _, _, count in windows]
        and all(own == sorted(own) for own in times)
        and all(
            opens <= second <= closes
            for (opens, closes, _), own in zip(windows, times, strict=True)
            for second in own
        )
        and all(after - before >= gap for before, after in pairwise(every))
        and not any(start < second < end for start, end in regions for second in every)
    )


@st.composite
def window_lists(draw: st.DrawFn, most: int = 5) -> Windows:
    left = draw(st.integers(2, most))
    windows: Windows = []
    while left:
        count = draw(st.integers(1, left))
        opens = draw(st.integers(0, 12))
        windows.append((opens, opens + draw(st.integers(0, 12)), count))
        left -= count
    return windows


regions_of = st.lists(
    st.tuples(st.integers(-3, 20), st.integers(0, 6)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=3,
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(windows=window_lists(), regions=regions_of, least=st.integers(0, 4))
def test_no_gap_is_wider(windows: Windows, regions: Regions, least: int) -> None:
    found = jobs(windows, regions).widest_gap(least)
    expected = widest(windows, least, regions)
    if found is None:
        assert expected is None
        return
    gap, times = found
    assert gap == expected
    assert sound(windows, times, gap, regions)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(windows=window_lists(), regions=regions_of, gap=st.integers(0, 9))
def test_a_gap_is_kept_wherever_it_can_be(windows: Windows, regions: Regions, gap: int) -> None:
    times = jobs(windows, regions).times(gap)
    assert (times is not None) == fits(windows, gap, regions)
    assert times is None or sound(windows, times, gap, regions)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(days=st.lists(window_lists(), min_size=1, max_size=4))
def test_many_mailbox_days_at_once(days: list[Windows]) -> None:
    # Each day as widely as on its own, the emails sorted by day, window and time.
    width = max(len(windows) for windows in days)
    table = np.zeros((3, len(days), width), dtype=np.int64)
    for row, windows in enumerate(days):
        for column, window in enumerate(windows):
            table[:, row, column] = window
    group, window_of, time = spread(*table)
    assert list(zip(group, window_of, time, strict=True)) == sorted(
        zip(group, window_of, time, strict=True)
    )
    for row, windows in enumerate(days):
        own = [
            [int(t) for t in time[(group == row) & (window_of == column)]]
            for column in range(len(windows))
        ]
        gap = widest(windows, 0, [])
        assert gap is not None
        assert sound(windows, own, gap, [])


@pytest.mark.parametrize(
    ("windows", "regions", "gap"),
    [
        # Both ends of one window.
        ([(0, 10, 2)], [], 10),
        ([(0, 10, 3)], [], 5),
        # The short window's email in its only second, the others to both sides of it.
        ([(0, 10, 2), (5, 5, 1)], [], 5),
        ([(0, 10, 2), (3, 3, 1)], [], 3),
        # The earliest deadline first would send the long window's email at 0 and miss 2 and 3.
        ([(0, 20, 1), (2, 3, 1)], [], 18),
        # Two windows apart: from the first second to the last.
        ([(0, 4, 1), (10, 14, 1)], [], 14),
        # More emails than seconds: they leave together.
        ([(3, 3, 4)], [], 0),
        # The first four seconds after 0 and those around 10 are shut: 0 and 12.
        ([(0, 12, 2)], [(0, 5), (8, 12)], 12),
        ([(1, 11, 2)], [(0, 5), (8, 12)], 3),  # 5 and 8
    ],
)
def test_gaps_worked_out_by_hand(windows: Windows, regions: Regions, gap: int) -> None:
    found = jobs(windows, regions).widest_gap()
    assert found is not None
    assert found[0] == gap
    assert sound(windows, found[1], gap, regions)


@pytest.mark.parametrize(
    ("windows", "regions"),
    [
        ([(0, 10, 3)], []),  # 6 apart needs 12 seconds
        ([(0, 10, 1)], [(-1, 11)]),
        ([(0, 7, 2)], [(-1, 2)]),
    ],
)
def test_a_gap_that_is_demanded_may_be_impossible(windows: Windows, regions: Regions) -> None:
    assert jobs(windows, regions).widest_gap(6) is None


def test_only_the_seconds_between_are_shut() -> None:
    # (4, 6) shuts second 5 alone; (4, 5) nothing.
    assert jobs([(5, 9, 1)], [(4, 6)]).times(1) == [[6]]
    assert jobs([(5, 9, 1)], [(4, 5)]).times(1) == [[5]]
    # Two that touch leave their common second open; two that overlap do not.
    assert jobs([(2, 9, 1)], [(1, 4), (4, 8)]).times(1) == [[4]]
    assert jobs([(2, 9, 1)], [(1, 5), (4, 8)]).times(1) == [[8]]


def test_the_same_windows_give_the_same_times() -> None:
    # In seconds of a day: three windows that overlap, 40 emails.
    windows = [(32_400, 61_199, 20), (36_000, 43_199, 15), (28_800, 50_000, 5)]
    first, second = (jobs(windows, []).widest_gap() for _ in range(2))
    assert first is not None
    assert first == second
    assert sound(windows, first[1], first[0], [])
