"""The Lagrangian bound: what every chain would cost if room could be bought at given prices.

Capacity is what ties chains to each other. Put a price on each unit of it, and every chain can be
sent its own cheapest way; what that costs in all, less the prices of the room there is, is a lower
bound on the cost of every plan, whatever the prices (weak duality; Geoffrion, "Lagrangean
relaxation for integer programming", Math. Programming Study 2, 1974). So the bound is computed
here, in one pass over commodities and days, and rests on no solver: a solver only proposes prices.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


@dataclass(frozen=True)
class DualPrices:
    """What a unit of room costs.

    Parameters
    ----------
    room : ndarray of float, shape (resources, days)
        Price of an email of a resource and day.
    new : ndarray of float, shape (sequences, days)
        Price of a first email of a sequence and day.
    """

    room: np.ndarray
    new: np.ndarray

    @classmethod
    def free(cls, network: FlowNetwork) -> "DualPrices":
        """Return prices of nothing: the bound of unlimited room."""
        return cls(np.zeros(network.room.shape), np.zeros(network.new_room.shape))


def lagrangian(network: FlowNetwork, prices: DualPrices) -> float:
    """Return a lower bound on the cost of every flow through the commodities.

    Parameters
    ----------
    commodities : Commodities
        The flow.
    prices : DualPrices
        Prices; negative ones count as 0, and the sink costs nothing.

    Returns
    -------
    float
        The bound, the commodities' constant included.
    """
    room, new = np.maximum(prices.room, 0), np.maximum(prices.new, 0)
    # What cannot be used up has no price, and the sink takes everything.
    room = np.where(network.room >= UNLIMITED, 0.0, room)
    new = np.where(network.new_room >= UNLIMITED, 0.0, new)
    room[:, -1] = new[:, -1] = 0
    cost = np.where(network.sends, network.cost, np.inf) + room[network.resource]
    cost[network.first] += new[network.sequence[network.first]]
    cheapest = np.zeros_like(cost)
    for level in network.levels:
        of_level = cost[level]
        goes_on = network.following[level] != NONE
        commodity = level[goes_on]
        of_level[goes_on] += np.take_along_axis(
            cheapest[network.following[commodity]], network.onward[commodity], axis=1
        )
        cheapest[level] = np.minimum.accumulate(of_level[:, ::-1], axis=1)[:, ::-1]
    starting = np.full(network.waiting.shape, np.inf)
    grouped = network.group != NONE
    np.minimum.at(starting, network.group[grouped], cheapest[grouped])
    bound = (network.arriving * cheapest).sum() - (room * network.room)[:, :-1].sum()
    bound -= (new * np.minimum(network.new_room, UNLIMITED))[:, :-1].sum()
    used = network.waiting > 0
    return float(bound + (network.waiting[used] * starting[used]).sum()) + network.constant
