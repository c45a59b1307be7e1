"""Following: a divided flow made whole, day by day, staying near its running sums.

On each day a lane sends what the divided flow has sent by then, rounded, as far as chains are
there and the box has room, the most urgent first. What that costs beyond the divided flow depends
on how early numbers are rounded up, so several ways are tried, box by box.
"""

import numpy as np

from sendplan.planner.flow.network import Lanes
from sendplan.planner.model.step_classes import NONE

BIASES = (0.5, 0.0, 0.3, 0.7, 0.95)
"""What is added to running sums before they are rounded down."""


def follow(lanes: Lanes, targets: np.ndarray) -> np.ndarray:
    """Make a flow whole, in the best of several ways for each box.

    Parameters
    ----------
    lanes : Lanes
        The flow, settled (`sendplan.planner.flow.apportioning.settled`).
    targets : ndarray of float, shape (lanes, days)
        Emails that leave in the divided flow.

    Returns
    -------
    ndarray of int, shape (lanes, days)
        Emails that leave; what found no day leaves in the sink.
    """
    boxes = len(lanes.room)
    best, least = np.zeros_like(lanes.arriving), np.full(boxes, np.inf)
    for bias in BIASES:
        sends = _Walk(lanes, targets).run(bias)
        cost = np.zeros(len(lanes))
        lane, day = np.nonzero(sends)
        np.add.at(cost, lane, lanes.cost[lane, day] * sends[lane, day])
        of_box = np.bincount(lanes.box, cost, boxes)
        better = of_box < least
        least = np.where(better, of_box, least)
        best = np.where(better[lanes.box][:, None], sends, best)
    return best


class _Walk:
    """One pass over the days."""

    def __init__(self, lanes: Lanes, targets: np.ndarray) -> None:
        self.lanes = lanes
        self.upto = np.cumsum(targets, axis=1)
        self.order = np.lexsort((-lanes.urgency, lanes.box))

    def run(self, bias: float) -> np.ndarray:
        lanes = self.lanes
        arriving = lanes.arriving.copy()
        sends = np.zeros_like(arriving)
        waiting = np.zeros(len(lanes), dtype=np.int64)
        sent = np.zeros(len(lanes), dtype=np.int64)
        for day in range(lanes.sink):
            waiting += arriving[:, day]
            room = lanes.room[:, day].copy()
            new_room = lanes.new_room[:, day].copy()
            going = np.ones(1, dtype=np.int64)
            while going.any():
                going = self._go(day, bias, waiting, sent, room, new_room)
                sends[:, day] += going
                waiting -= going
                sent += going
                self._pass_on(day, going, waiting, arriving)
        self._empty(waiting, arriving, sends)
        return sends

    def _go(
        self,
        day: int,
        bias: float,
        waiting: np.ndarray,
        sent: np.ndarray,
        room: np.ndarray,
        new_room: np.ndarray,
    ) -> np.ndarray:
        """Return what leaves, taking its room."""
        lanes = self.lanes
        able = np.where(lanes.sends[:, day], waiting, 0)
        behind = self.upto[:, day] - sent
        going = np.zeros_like(waiting)
        follow_ups = ~lanes.first
        for wanted, order in (
            (np.floor(behind + bias), self.order),
            (np.ceil(behind - 1e-6), None),
            (np.where(follow_ups, able, 0), self.order),
        ):
            more = np.clip(wanted.astype(np.int64) - going, 0, able - going)
            if not more.any():
                continue
            if order is None:
                order = np.lexsort((going - behind, lanes.box))
            served = self._served(more, order, room, new_room)
            going += served
        return going

    def _served(
        self, wanted: np.ndarray, order: np.ndarray, room: np.ndarray, new_room: np.ndarray
    ) -> np.ndarray:
        """Give lanes, in their order within each box, what they want as far as there is room."""
        lanes = self.lanes
        first = lanes.first
        wanted = wanted.copy()
        wanted[first] = np.minimum(wanted[first], new_room[lanes.sequence[first]])
        box = lanes.box[order]
        amount = wanted[order]
        before = np.cumsum(amount) - amount
        starts = np.append(True, box[1:] != box[:-1])[: len(box)]
        before -= np.repeat(before[starts], np.diff(np.append(np.flatnonzero(starts), len(box))))
        served = np.empty_like(wanted)
        served[order] = np.clip(room[box] - before, 0, amount)
        room -= np.bincount(lanes.box, served, len(room)).astype(np.int64)
        new_room[lanes.sequence[first]] -= served[first]
        return served

    def _pass_on(
        self, day: int, going: np.ndarray, waiting: np.ndarray, arriving: np.ndarray
    ) -> None:
        lanes = self.lanes
        lane = np.flatnonzero((going > 0) & (lanes.following != NONE))
        after, comes = lanes.following[lane], lanes.onward[lane, day]
        now = comes == day
        np.add.at(waiting, after[now], going[lane[now]])
        np.add.at(arriving, (after[~now], comes[~now]), going[lane[~now]])

    def _empty(self, waiting: np.ndarray, arriving: np.ndarray, sends: np.ndarray) -> None:
        """Send into the sink what is left, with all that follows."""
        lanes = self.lanes
        left = waiting + arriving[:, lanes.sink]
        for level in lanes.levels[::-1]:
            sends[level, lanes.sink] = left[level]
            goes_on = level[lanes.following[level] != NONE]
            np.add.at(left, lanes.following[goes_on], left[goes_on])
