"""The Lagrangian bound: the cheapest cost of every chain when capacity has given prices.

Only capacity ties chains to each other. With a price on each unit of it, every chain takes its own
cheapest path; their cost, less the prices of the capacity there is, is a lower bound on the cost of
every plan, whatever the prices (weak duality; Geoffrion, "Lagrangean relaxation for integer
programming", Math. Programming Study 2, 1974). One pass over commodities and days computes it, so
the bound rests on no solver: a solver only proposes prices.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


@dataclass(frozen=True)
class DualPrices:
    """Prices of capacity.

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
    def zero(cls, network: FlowNetwork) -> "DualPrices":
        """Return prices of 0, whose bound is that of unlimited room."""
        return cls(np.zeros(network.room.shape), np.zeros(network.new_room.shape))


def lagrangian_bound(network: FlowNetwork, prices: DualPrices) -> float:
    """Return a lower bound on the cost of every flow.

    Parameters
    ----------
    network : FlowNetwork
        The flow.
    prices : DualPrices
        Prices; negative ones count as 0, and the sink costs nothing.

    Returns
    -------
    float
        The bound, the constant included.
    """
    room, new = np.maximum(prices.room, 0), np.maximum(prices.new, 0)
    # Capacity that cannot be used up has no price, nor has the sink, which takes everything.
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
