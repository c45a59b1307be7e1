"""The Lagrangian bound: what every chain would cost if room could be bought at given prices.

Capacity is what ties chains to each other. Put a price on each unit of it, and every chain can be
sent its own cheapest way; what that costs in all, less the prices of the room there is, is a lower
bound on the cost of every plan, whatever the prices (weak duality; Geoffrion, "Lagrangean
relaxation for integer programming", Math. Programming Study 2, 1974). So the bound is computed
here, in one pass over lanes and days, and rests on no solver: a solver only proposes prices.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import Lanes
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.step_classes import NONE


@dataclass(frozen=True)
class Prices:
    """What a unit of room costs.

    Parameters
    ----------
    room : ndarray of float, shape (boxes, days)
        Price of an email of a box and day.
    new : ndarray of float, shape (sequences, days)
        Price of a first email of a sequence and day.
    """

    room: np.ndarray
    new: np.ndarray

    @classmethod
    def free(cls, lanes: Lanes) -> "Prices":
        """Return prices of nothing: the bound of unlimited room."""
        return cls(np.zeros(lanes.room.shape), np.zeros(lanes.new_room.shape))


def lagrangian(lanes: Lanes, prices: Prices) -> float:
    """Return a lower bound on the cost of every flow through the lanes.

    Parameters
    ----------
    lanes : Lanes
        The flow.
    prices : Prices
        Prices; negative ones count as 0, and the sink costs nothing.

    Returns
    -------
    float
        The bound, the lanes' constant included.
    """
    room, new = np.maximum(prices.room, 0), np.maximum(prices.new, 0)
    # What cannot be used up has no price, and the sink takes everything.
    room = np.where(lanes.room >= UNLIMITED, 0.0, room)
    new = np.where(lanes.new_room >= UNLIMITED, 0.0, new)
    room[:, -1] = new[:, -1] = 0
    cost = np.where(lanes.sends, lanes.cost, np.inf) + room[lanes.box]
    cost[lanes.first] += new[lanes.sequence[lanes.first]]
    cheapest = np.zeros_like(cost)
    for level in lanes.levels:
        of_level = cost[level]
        goes_on = lanes.following[level] != NONE
        lane = level[goes_on]
        of_level[goes_on] += np.take_along_axis(
            cheapest[lanes.following[lane]], lanes.onward[lane], axis=1
        )
        cheapest[level] = np.minimum.accumulate(of_level[:, ::-1], axis=1)[:, ::-1]
    starting = np.full(lanes.waiting.shape, np.inf)
    grouped = lanes.group != NONE
    np.minimum.at(starting, lanes.group[grouped], cheapest[grouped])
    bound = (lanes.arriving * cheapest).sum() - (room * lanes.room)[:, :-1].sum()
    bound -= (new * np.minimum(lanes.new_room, UNLIMITED))[:, :-1].sum()
    used = lanes.waiting > 0
    return float(bound + (lanes.waiting[used] * starting[used]).sum()) + lanes.constant
