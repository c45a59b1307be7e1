"""Bisection: the smallest number that holds, found by galloping and halving."""

from dataclasses import dataclass


@dataclass
class Bracket:
    """Bounds of the smallest number that holds.

    Parameters
    ----------
    low : int
        The largest number known to fail.
    high : int or None
        The smallest number known to hold.
    limit : int
        The largest number to try.
    step : int
        Distance of the next number from `low` while none is known to hold.
    """

    low: int
    high: int | None
    limit: int
    step: int = 1

    @property
    def closed(self) -> bool:
        """Whether no number is left to try."""
        return self.low >= self.limit if self.high is None else self.high - self.low <= 1

    @property
    def settled(self) -> int:
        """The smallest number known to hold, or else the largest known to fail."""
        return self.low if self.high is None else self.high

    def points(self, count: int) -> list[int]:
        """Return up to `count` numbers to try at once, ascending."""
        if self.closed:
            return []
        if self.high is None:
            wanted = [self.low + self.step * 2**number for number in range(count)]
            return sorted({min(point, self.limit) for point in wanted})
        width = self.high - self.low
        wanted = [self.low + width * (number + 1) // (count + 1) for number in range(count)]
        return sorted({point for point in wanted if self.low < point < self.high}) or [self.low + 1]

    def record(self, point: int, *, holds: bool) -> None:
        """Record whether a number holds."""
        if holds:
            self.high = point if self.high is None else min(self.high, point)
        elif self.high is None or point < self.high:
            self.step = max(self.step, 2 * (point - self.low))
            self.low = max(self.low, point)
