"""The widest even spacing of emails whose windows differ, computed exactly.

Emails of a mailbox-day with different windows (sequences, time zones) are jobs of one length on
one machine: with a gap of `p` seconds each email may leave from its window's opening up to its
last second, no two closer than `p`. The largest `p` that works is wanted (minutes).

Three facts make it fast. The emails whose windows lie within [a, b] need `(n − 1) p ≤ b − a`,
which bounds `p` from above. Sending in order of closing time ("earliest deadline first") reaches
that bound for nearly every mailbox-day, and is checked for many of them at once. For the rest the
algorithm of Garey, Johnson, Simons and Tarjan, "Scheduling unit-time tasks with arbitrary release
times and deadlines" (SIAM J. Comput. 10, 1981), decides whether a gap is possible: it first finds
the *forbidden regions* in which no email may leave, then lets the earliest deadline go first.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Jobs:
    """The emails of one mailbox-day by window, in whole seconds.

    Parameters
    ----------
    opens, closes : list of int
        First and last second at which an email of each window may leave.
    counts : list of int
        Emails of each window, at least one.
    forbidden : list of (int, int)
        Open intervals in which no email may leave, whatever its window.
    """

    opens: list[int]
    closes: list[int]
    counts: list[int]
    forbidden: list[tuple[int, int]] = field(default_factory=list)

    def widest_gap(self, least: int = 0) -> tuple[int, list[list[int]]] | None:
        """Find the largest gap, and times that keep it.

        Parameters
        ----------
        least : int
            The smallest gap that is acceptable, in seconds.

        Returns
        -------
        (int, list of list of int) or None
            The gap and, by window, the ascending times; None if even `least` is impossible.
        """
        best = self.times(least)
        if best is None:
            return None
        rows = (np.array([column]) for column in (self.opens, self.closes, self.counts))
        longest = min(int(_upper_bounds(*rows)[0]), max(self.closes) - min(self.opens))
        low, high = least, max(longest, least)
        while low < high:
            middle = (low + high + 1) // 2
            found = self.times(middle)
            if found is None:
                high = middle - 1
            else:
                low, best = middle, found
        return low, best

    def times(self, gap: int) -> list[list[int]] | None:
        """Return times by window with at least `gap` seconds between any two, or None."""
        regions = self._forbidden_regions(gap)
        if regions is None:
            return None
        left = list(self.counts)
        times: list[list[int]] = [[] for _ in left]
        now = min(self.opens)
        for _ in range(sum(left)):
            waiting = [k for k, count in enumerate(left) if count]
            now = regions.push_later(max(now, min(self.opens[k] for k in waiting)))
            ready = [k for k in waiting if self.opens[k] <= now]
            chosen = min(ready, key=lambda k: (self.closes[k], self.opens[k], k))
            if now > self.closes[chosen]:
                return None
            times[chosen].append(now)
            left[chosen] -= 1
            now += gap
        return times

    def _inside(self, opens: int, closes: int) -> int:
        return sum(
            count
            for o, c, count in zip(self.opens, self.closes, self.counts, strict=True)
            if o >= opens and c <= closes
        )

    @cached_property
    def _spans(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Openings from the last to the first, each with closings and the emails between."""
        closings = sorted(set(self.closes))
        return [
            (opens, [(closes, n) for closes in closings if (n := self._inside(opens, closes))])
            for opens in sorted(set(self.opens), reverse=True)
        ]

    def _forbidden_regions(self, gap: int) -> "_Regions | None":
        regions = _Regions(self.forbidden)
        for opens, spans in self._spans:
            latest = None
            for closes, inside in spans:
                start = regions.pack_earlier(closes, inside, gap)
                if start < opens:
                    return None
                latest = start if latest is None else min(latest, start)
            # An email with an earlier opening that left after latest − gap would push one of
            # these past its closing time.
            if latest is not None and latest - gap < opens:
                regions.add(latest - gap, opens)
        return regions


class _Regions:
    """Open intervals in which no email may leave, merged and sorted."""

    def __init__(self, intervals: list[tuple[int, int]]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in sorted(intervals):
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Forbid the whole seconds strictly between `start` and `end`."""
        if end - start < 2:
            return
        # Integer times: (1, 5) and (4, 8) overlap; (1, 5) and (5, 8) leave second 5 free.
        first, last = bisect_right(self.ends, start), bisect_left(self.starts, end)
        self.starts[first:last] = [min([start, *self.starts[first:last]])]
        self.ends[first:last] = [max([end, *self.ends[first:last]])]

    def push_later(self, time: int) -> int:
        """Return the first allowed second at or after `time`."""
        place = bisect_right(self.starts, time - 1) - 1
        if place >= 0 and time < self.ends[place]:
            return self.ends[place]
        return time

    def push_earlier(self, time: int) -> int:
        """Return the last allowed second at or before `time`."""
        place = bisect_right(self.starts, time - 1) - 1
        if place >= 0 and time < self.ends[place]:
            return self.starts[place]
        return time

    def pack_earlier(self, time: int, count: int, gap: int) -> int:
        """Return the first of `count` allowed seconds, `gap` apart, the last at most `time`."""
        start = self.push_earlier(time)
        left = count - 1
        while left:
            place = bisect_left(self.starts, start) - 1
            # Down to the next region every step is free of checks.
            free = left if place < 0 or not gap else max((start - self.ends[place]) // gap, 0)
            steps = min(left, free)
            start, left = start - steps * gap, left - steps
            if left:
                start = self.push_earlier(start - gap)
                left -= 1
        return start


def spread(
    opens: np.ndarray, closes: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread many mailbox-days at once, each as widely as possible.

    Parameters
    ----------
    opens, closes : ndarray of int64, shape (groups, windows)
        First and last second of each window; anything where the count is 0.
    counts : ndarray of int64, shape (groups, windows)
        Emails of each window.

    Returns
    -------
    group, window, time : ndarray of int64, shape (emails,)
        Sorted by group, window and time.
    """
    empty = counts == 0
    opens = np.where(empty, np.iinfo(np.int64).max // 4, opens)
    closes = np.where(empty, -1, closes)
    gap = _upper_bounds(opens, closes, counts)
    number, time, feasible = _earliest_deadline_first(opens, closes, counts, gap)
    group, position = np.nonzero((number >= 0) & feasible[:, None])
    found_at = [(group, number[group, position], time[group, position])]
    for row in np.flatnonzero(~feasible):
        used = np.flatnonzero(counts[row])
        jobs = Jobs(
            opens[row, used].tolist(), closes[row, used].tolist(), counts[row, used].tolist()
        )
        found = jobs.widest_gap()
        assert found is not None, "a gap of 0 is always possible"
        for which, times in zip(used, found[1], strict=True):
            found_at.append((np.full(len(times), row), np.full(len(times), which), np.array(times)))
    group, window, moment = (np.concatenate(column) for column in zip(*found_at, strict=True))
    order = np.lexsort((moment, window, group))
    return group[order], window[order], moment[order]


def _upper_bounds(opens: np.ndarray, closes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return, by group, a gap that no schedule can exceed."""
    width = opens.shape[1]
    bound = np.full(len(opens), np.iinfo(np.int64).max // 8)
    for first in range(width):
        for last in range(width):
            begin, end = opens[:, first], closes[:, last]
            within = (opens >= begin[:, None]) & (closes <= end[:, None])
            inside = (counts * within).sum(axis=1)
            valid = (inside > 1) & (counts[:, first] > 0) & (counts[:, last] > 0)
            limit = (end - begin) // np.maximum(inside - 1, 1)
            bound = np.where(valid, np.minimum(bound, limit), bound)
    return bound


def _earliest_deadline_first(
    opens: np.ndarray, closes: np.ndarray, counts: np.ndarray, gap: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Send in order of closing time, `gap` apart; tell where every window was kept."""
    groups = len(opens)
    left = counts.copy()
    most = int(counts.sum(axis=1).max(initial=0))
    number = np.full((groups, most), -1, dtype=np.int64)
    time = np.zeros((groups, most), dtype=np.int64)
    feasible = np.ones(groups, dtype=bool)
    far = np.iinfo(np.int64).max // 2
    now = opens.min(axis=1, initial=far)
    rows = np.arange(groups)
    for position in range(most):
        waiting = left > 0
        alive = waiting.any(axis=1)
        now = np.maximum(now, np.where(waiting, opens, far).min(axis=1))
        ready = waiting & (opens <= now[:, None])
        chosen = np.where(ready, closes, far).argmin(axis=1)
        feasible &= ~alive | (now <= closes[rows, chosen])
        number[alive, position] = chosen[alive]
        time[alive, position] = now[alive]
        left[rows[alive], chosen[alive]] -= 1
        now = np.where(alive, now + gap, now)
    return number, time, feasible
