"""The pooled relaxation: all mailboxes of a component as one, contacts as a flow.

Emails of a stage and day are a quantity, the mailboxes of a component one big one, and only their
common capacity binds. Its Lagrangian dual puts a price on each day's capacity; given the prices,
every chain goes its cheapest way by itself, which is one pass over stages and days. The volume
algorithm (Barahona and Anbil, "The volume algorithm: producing primal solutions with a subgradient
method", Math. Program. 87, 2000) improves the prices and, as an average of the ways chosen, finds a
flow that keeps the capacity almost exactly: how many emails of each stage a good plan sends by day.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.grouping import next_true
from sendplan.planner.model.objective import DayWeights
from sendplan.planner.model.stages import NONE, Stages

SMALLEST_SHARE = 0.02
"""Least weight of the newest way in the average."""

STALLED_PASSES = 5
"""Passes without a better bound before the step is shortened."""


@dataclass(frozen=True)
class Flow:
    """The relaxed problem.

    Parameters
    ----------
    stages : Stages
        The stages.
    arriving : ndarray of int, shape (stages, days)
        Chains by the first day on which they may go on; the last day stands for all later ones.
    release, ready : ndarray of int, shape (stages, days)
        First possible day, and ready day, by the day of the email before.
    capacity : ndarray of int, shape (components, days)
        Emails that may leave; the last day takes everything.
    component : ndarray of int, shape (stages,)
        Component of each stage.
    weights : DayWeights
        Cost of a day.
    """

    stages: Stages
    arriving: np.ndarray
    release: np.ndarray
    ready: np.ndarray
    capacity: np.ndarray
    component: np.ndarray
    weights: DayWeights


def relax(flow: Flow, passes: int) -> np.ndarray:
    """Improve prices for a number of passes.

    Parameters
    ----------
    flow : Flow
        The relaxed problem.
    passes : int
        How many; each costs time in proportion to stages × days.

    Returns
    -------
    ndarray of float, shape (stages, days)
        Emails by stage and day; keeps order and ready days exactly, capacity nearly.
    """
    return _VolumeAlgorithm(flow).run(passes)


class _VolumeAlgorithm:
    """Prices, step lengths and the running average, by component."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        stages = flow.stages
        self.days = flow.arriving.shape[1]
        may_send = stages.sends[:, : self.days].copy()
        may_send[:, -1] = True
        self.cost = flow.weights.by_day(may_send)
        self.release = np.minimum(flow.release[:, : self.days], self.days - 1)
        self.credit = flow.weights.slip[:, None] * np.minimum(
            flow.ready[:, : self.days], self.days - 1
        )
        levels = range(1, int(stages.remaining.max(initial=0)) + 1)
        self.levels = [np.flatnonzero(stages.remaining == left) for left in levels]
        self.members = np.zeros((len(flow.capacity), len(stages.step)))
        self.members[flow.component, np.arange(len(stages.step))] = 1.0

    def run(self, passes: int) -> np.ndarray:
        flow = self.flow
        components = len(flow.capacity)
        prices = np.zeros(flow.capacity.shape)
        best_prices = prices
        best = np.full(components, -np.inf)
        step = np.full(components, 0.5)
        failures = np.zeros(components, dtype=np.int64)
        above = self._distance()
        sends = load = np.zeros(0)
        for number in range(passes):
            value, way = self._go(prices)
            its_load = self.members @ way
            share = max(SMALLEST_SHARE, 1.0 / (number + 1))
            sends = way if number == 0 else (1 - share) * sends + share * way
            load = its_load if number == 0 else (1 - share) * load + share * its_load
            better = value > best
            best = np.where(better, value, best)
            best_prices = np.where(better[:, None], prices, best_prices)
            failures = np.where(better, 0, failures + 1)
            step = np.where(better, np.minimum(step * 1.1, 1.5), step)
            tired = failures >= STALLED_PASSES
            step = np.where(tired, np.maximum(step * 0.66, 0.01), step)
            failures = np.where(tired, 0, failures)
            excess = load - flow.capacity
            counts = (excess > 0) | (best_prices > 0)
            length = np.maximum((np.where(counts, excess, 0) ** 2).sum(axis=1), 1e-9)
            prices = best_prices + (step * above / length)[:, None] * excess
            prices = np.maximum(prices, 0)
        return sends

    def _distance(self) -> np.ndarray:
        """Guess how far the best bound lies above that of free capacity.

        The queue that one big mailbox has, if every email came at once on its earliest day.
        """
        flow = self.flow
        alone = np.zeros(flow.capacity.shape)
        _, way = self._go(alone)
        demand = self.members @ (way * flow.weights.lateness[:, None])
        queue = np.cumsum(demand - flow.capacity, axis=1)
        queue -= np.minimum(np.minimum.accumulate(queue, axis=1), 0)
        return np.asarray(np.maximum(queue[:, :-1].sum(axis=1), 1.0))

    def _go(self, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let every chain go its cheapest way; return the bound and emails by stage and day."""
        flow = self.flow
        following = flow.stages.following
        cost = self.cost + prices[flow.component]
        onward = np.zeros_like(cost)
        chosen = np.zeros(cost.shape, dtype=np.int64)
        for level in self.levels:
            of_level = cost[level]
            goes_on = following[level] != NONE
            after = following[level][goes_on]
            of_level[goes_on] += (
                np.take_along_axis(onward[after], self.release[after], axis=1) - self.credit[after]
            )
            cheapest = np.minimum.accumulate(of_level[:, ::-1], axis=1)[:, ::-1]
            onward[level] = cheapest
            chosen[level] = next_true(of_level <= cheapest)
        waiting = flow.arriving.astype(float)
        way = np.zeros_like(waiting)
        for level in self.levels[::-1]:
            way[level] = _moved(chosen[level], waiting[level])
            goes_on = following[level] != NONE
            after = following[level][goes_on]
            arrived = _moved(self.release[after], way[level[goes_on]])
            if len(np.unique(after)) == len(after):
                waiting[after] += arrived
            else:
                np.add.at(waiting, after, arrived)
        value = np.bincount(
            flow.component, (flow.arriving * onward).sum(axis=1), len(flow.capacity)
        )
        return value - (prices * flow.capacity).sum(axis=1), way


def _moved(to: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Move each row's amounts to other columns."""
    rows, columns = to.shape
    place = np.arange(rows)[:, None] * columns + to
    total = np.bincount(place.ravel(), amount.ravel(), rows * columns)
    return total.reshape(rows, columns)
