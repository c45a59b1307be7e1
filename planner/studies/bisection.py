"""Brackets: the smallest number that does, found by galloping and halving."""

from dataclasses import dataclass


@dataclass
class Bracket:
    """What is known of the smallest number that does.

    Parameters
    ----------
    low : int
        The largest number known to fail.
    high : int or None
        The smallest number known to do.
    limit : int
        The largest number that is tried.
    step : int
        How far above `low` the next one is tried as long as none is known to do.
    """

    low: int
    high: int | None
    limit: int
    step: int = 1

    @property
    def closed(self) -> bool:
        """Whether there is nothing left to try."""
        return self.low >= self.limit if self.high is None else self.high - self.low <= 1

    @property
    def settled(self) -> int:
        """The smallest number known to do, or else the largest known to fail."""
        return self.low if self.high is None else self.high

    def points(self, count: int) -> list[int]:
        """Return numbers to try at once, ascending; as many as asked for if there are."""
        if self.closed:
            return []
        if self.high is None:
            wanted = [self.low + self.step * 2**number for number in range(count)]
            return sorted({min(point, self.limit) for point in wanted})
        width = self.high - self.low
        wanted = [self.low + width * (number + 1) // (count + 1) for number in range(count)]
        return sorted({point for point in wanted if self.low < point < self.high}) or [self.low + 1]

    def told(self, point: int, *, does: bool) -> None:
        """Be told whether a number does."""
        if does:
            self.high = point if self.high is None else min(self.high, point)
        elif self.high is None or point < self.high:
            self.step = max(self.step, 2 * (point - self.low))
            self.low = max(self.low, point)
