"""Rounding: a fractional flow as whole emails, day by day, close to its running sums.

On each day a commodity sends what the fractional flow has sent by then, rounded, as far as chains
are there and the resource has room, the most urgent first. The cost of rounding depends on how
early numbers are rounded up, so several biases are tried, resource by resource.
"""

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.stages import NONE

BIASES = (0.5, 0.0, 0.3, 0.7, 0.95)
"""Added to running sums before they are rounded down."""


def round_flow(network: FlowNetwork, targets: np.ndarray) -> np.ndarray:
    """Round a flow, with the best of several biases for each resource.

    Parameters
    ----------
    network : FlowNetwork
        The flow (`sendplan.planner.flow.apportioning.separate_resources`).
    targets : ndarray of float, shape (commodities, days)
        Emails that leave in the fractional flow.

    Returns
    -------
    ndarray of int, shape (commodities, days)
        Emails that leave; those without a day leave in the sink.
    """
    resources = len(network.room)
    best, least = np.zeros_like(network.arriving), np.full(resources, np.inf)
    for bias in BIASES:
        sends = _Rounding(network, targets).run(bias)
        cost = np.zeros(len(network))
        commodity, day = np.nonzero(sends)
        np.add.at(cost, commodity, network.cost[commodity, day] * sends[commodity, day])
        of_resource = np.bincount(network.resource, cost, resources)
        better = of_resource < least
        least = np.where(better, of_resource, least)
        best = np.where(better[network.resource][:, None], sends, best)
    return best


class _Rounding:
    """One pass over the days."""

    def __init__(self, network: FlowNetwork, targets: np.ndarray) -> None:
        self.network = network
        self.upto = np.cumsum(targets, axis=1)
        self.order = np.lexsort((-network.urgency, network.resource))

    def run(self, bias: float) -> np.ndarray:
        network = self.network
        arriving = network.arriving.copy()
        sends = np.zeros_like(arriving)
        waiting = np.zeros(len(network), dtype=np.int64)
        sent = np.zeros(len(network), dtype=np.int64)
        for day in range(network.sink):
            waiting += arriving[:, day]
            room = network.room[:, day].copy()
            new_room = network.new_room[:, day].copy()
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
        """Return the emails that leave, and take their room."""
        network = self.network
        able = np.where(network.sends[:, day], waiting, 0)
        behind = self.upto[:, day] - sent
        going = np.zeros_like(waiting)
        follow_ups = ~network.first
        for wanted, order in (
            (np.floor(behind + bias), self.order),
            (np.ceil(behind - 1e-6), None),
            (np.where(follow_ups, able, 0), self.order),
        ):
            more = np.clip(wanted.astype(np.int64) - going, 0, able - going)
            if not more.any():
                continue
            if order is None:
                order = np.lexsort((going - behind, network.resource))
            going += self._served(more, order, room, new_room)
        return going

    def _served(
        self, wanted: np.ndarray, order: np.ndarray, room: np.ndarray, new_room: np.ndarray
    ) -> np.ndarray:
        """Return how much of `wanted` there is room for, in order within each resource."""
        network = self.network
        first = network.first
        wanted = wanted.copy()
        wanted[first] = np.minimum(wanted[first], new_room[network.sequence[first]])
        resource = network.resource[order]
        amount = wanted[order]
        before = np.cumsum(amount) - amount
        starts = np.append(True, resource[1:] != resource[:-1])[: len(resource)]
        before -= np.repeat(
            before[starts], np.diff(np.append(np.flatnonzero(starts), len(resource)))
        )
        served = np.empty_like(wanted)
        served[order] = np.clip(room[resource] - before, 0, amount)
        room -= np.bincount(network.resource, served, len(room)).astype(np.int64)
        new_room[network.sequence[first]] -= served[first]
        return served

    def _pass_on(
        self, day: int, going: np.ndarray, waiting: np.ndarray, arriving: np.ndarray
    ) -> None:
        network = self.network
        commodity = np.flatnonzero((going > 0) & (network.following != NONE))
        after, comes = network.following[commodity], network.onward[commodity, day]
        now = comes == day
        np.add.at(waiting, after[now], going[commodity[now]])
        np.add.at(arriving, (after[~now], comes[~now]), going[commodity[~now]])

    def _empty(self, waiting: np.ndarray, arriving: np.ndarray, sends: np.ndarray) -> None:
        """Send into the sink what is left, with all emails behind it."""
        network = self.network
        left = waiting + arriving[:, network.sink]
        for level in network.levels[::-1]:
            sends[level, network.sink] = left[level]
            goes_on = level[network.following[level] != NONE]
            np.add.at(left, network.following[goes_on], left[goes_on])
