"""The largest possible smallest gap between emails whose windows differ (minutes).

Emails that keep ``gap`` seconds apart are jobs of that length on one machine: an email may start
from its window's first second to its last. Whether all fit is decided exactly by the forbidden
regions of Garey, Johnson, Simons and Tarjan, "Scheduling unit-time tasks with arbitrary release
times and deadlines", SIAM J. Comput. 10 (1981); the largest gap follows by bisection. Seconds are
integers, and regions are closed ranges of seconds at which no email may start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

Span = tuple[int, int]  # first and last second, both allowed (a window) or both shut (a region)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def regions_around(times: Sequence[datetime], gap: int) -> list[Span]:
    """Give the seconds nearer than ``gap`` to any of ``times`` (which may have fractions)."""
    shut = []
    for moment in times:
        micro = (moment - EPOCH) // timedelta(microseconds=1)
        first = (micro - gap * 10**6) // 10**6 + 1
        last = -((-micro - gap * 10**6) // 10**6) - 1
        if first <= last:
            shut.append((first, last))
    return shut


def latest_open(second: int, shut: Sequence[Span]) -> int:
    moved = True
    while moved:
        moved = False
        for first, last in shut:
            if first <= second <= last:
                second, moved = first - 1, True
    return second


def earliest_open(second: int, shut: Sequence[Span]) -> int:
    moved = True
    while moved:
        moved = False
        for first, last in shut:
            if first <= second <= last:
                second, moved = last + 1, True
    return second


def with_forbidden_regions(
    windows: Sequence[Span], gap: int, shut: Sequence[Span]
) -> list[Span] | None:
    """Add the regions that the windows themselves forbid; None if they cannot all be met."""
    regions = list(shut)
    for release in sorted({first for first, _ in windows}, reverse=True):
        for deadline in sorted({last for _, last in windows}):
            count = sum(first >= release and last <= deadline for first, last in windows)
            if count == 0:
                continue
            second = latest_open(deadline, regions)
            for _ in range(count - 1):
                second = latest_open(second - gap, regions)
            if second < release:
                return None
            # A job that starts in this region would still run when these `count` have to begin.
            if second - gap + 1 <= release - 1:
                regions.append((second - gap + 1, release - 1))
    return regions


def placed(windows: Sequence[Span], gap: int, shut: Sequence[Span] = ()) -> list[int] | None:
    """Give each window a second, ``gap`` apart and outside ``shut``; None if that is impossible."""
    regions = with_forbidden_regions(windows, gap, shut)
    if regions is None:
        return None
    waiting = set(range(len(windows)))
    seconds = [0] * len(windows)
    clock = min(first for first, _ in windows)
    while waiting:
        clock = earliest_open(max(clock, min(windows[i][0] for i in waiting)), regions)
        ready = [i for i in waiting if windows[i][0] <= clock]
        chosen = min(ready, key=lambda i: (windows[i][1], windows[i][0], i))
        if clock > windows[chosen][1]:
            return None
        seconds[chosen] = clock
        waiting.remove(chosen)
        clock += gap
    return seconds


def largest_gap(windows: Sequence[Span], shut_at: Callable[[int], Sequence[Span]]) -> int | None:
    """Give the largest smallest gap, ``shut_at(gap)`` being what is closed besides.

    None if the windows cannot be met at all. With more room for a gap come fewer closed seconds,
    so feasibility falls with the gap and bisection is exact.
    """
    if placed(windows, 0, shut_at(0)) is None:
        return None
    low = 0
    high = max(last for _, last in windows) - min(first for first, _ in windows) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if placed(windows, middle, shut_at(middle)) is None:
            high = middle
        else:
            low = middle
    return low


def placed_by_trying(windows: Sequence[Span], gap: int, shut: Sequence[Span] = ()) -> bool:
    """Decide the same by trying every order: what the fast test is tested against."""
    for order in permutations(windows):
        clock: int | None = None
        for first, last in order:
            clock = earliest_open(first if clock is None else max(first, clock + gap), shut)
            if clock > last:
                break
        else:
            return True
    return False
