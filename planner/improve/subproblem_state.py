"""What is known of each subproblem while its plan is improved."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork

ROUNDING = 1e-9
"""Largest relative error of real arithmetic in a cost."""

FIRST_LIMIT = 0.3
"""Seconds of work of the first refinement of a resource."""

CHUNK = 10
"""Resources that are rounded in one task."""


@dataclass
class SubproblemState:
    """A subproblem and the best that is known of it.

    Parameters
    ----------
    network : FlowNetwork
        The subproblem.
    cost : float
        Cost of the best plan known.
    sends : ndarray of int, shape (commodities, days)
        Emails that leave in it.
    bound : float
        Lower bound on the cost of every plan.
    improved : bool
        Whether the plan was found by the search.
    clashing : ndarray of int, shape (commodities, days), or None
        The best plan in which two emails of a contact leave on one day, to be repaired.
    clashing_cost : float
        Its cost.
    groups : int
        Number of resources of the last relaxation; 0 before the first.
    tried : float
        Seconds of work of the last attempt to solve it as a whole.
    """

    network: FlowNetwork
    cost: float
    sends: np.ndarray
    bound: float = -np.inf
    improved: bool = False
    clashing: np.ndarray | None = None
    clashing_cost: float = np.inf
    groups: int = 0
    tried: float = 0.0

    def offer(self, sends: np.ndarray) -> None:
        """Keep a plan if it is better; one in which emails of a contact clash is kept apart."""
        value = self.network.value(sends)
        if value >= self.cost - ROUNDING * max(abs(value), 1.0):
            return
        if self.network.has_clash(sends):
            if value < self.clashing_cost:
                self.clashing, self.clashing_cost = sends, value
        else:
            self.sends, self.cost, self.improved = sends, value, True

    def raise_bound(self, bound: float, denominator: int | None) -> None:
        """Keep a lower bound if it is better, see `raised_to_multiple`."""
        if np.isfinite(bound):
            raised = raised_to_multiple(np.array(bound), denominator)
            self.bound = max(self.bound, float(raised))

    @property
    def closed(self) -> bool:
        """Whether the plan is proven to be the best."""
        return self.bound >= self.cost - ROUNDING * max(abs(self.cost), 1.0)


def raised_to_multiple(bound: np.ndarray, denominator: int | None) -> np.ndarray:
    """Raise bounds to the next possible cost: every cost is a multiple of 1 / denominator."""
    bound = bound - ROUNDING * np.abs(bound)
    return bound if denominator is None else np.ceil(bound * denominator - 1e-4) / denominator


class DisaggregatedPlan:
    """A plan of a subproblem whose resources share nothing, in the making.

    Every resource has a bound, given its chains, and a work limit for its next refinement.
    """

    def __init__(self, state: SubproblemState, network: FlowNetwork) -> None:
        self.state, self.network = state, network
        resources = len(network.room)
        self.sends = np.zeros_like(network.arriving)
        self.known = np.zeros(resources, dtype=bool)
        self.ended = np.zeros(resources, dtype=bool)
        self.bound = np.full(resources, -np.inf)
        self.slack = np.zeros(resources)
        self.limit = np.full(resources, FIRST_LIMIT)

    def chunks(self) -> list[np.ndarray]:
        """Return the resources in chunks of one task each."""
        resources = np.arange(len(self.network.room))
        return [resources[begin : begin + CHUNK] for begin in range(0, len(resources), CHUNK)]

    def single(self, resource: int) -> tuple[FlowNetwork, np.ndarray]:
        """Return the network and the emails of one resource."""
        return self.network.restricted(np.array([resource])), self.sends[
            self.network.resource == resource
        ]

    def set_sends(self, resources: np.ndarray, sends: np.ndarray) -> None:
        """Set the emails of some resources."""
        self.sends[np.isin(self.network.resource, resources)] = sends
        self.known[resources] = True
        for resource in resources:
            commodity = self.network.resource == resource
            cost = float((self.network.cost[commodity] * self.sends[commodity]).sum())
            self.slack[resource] = cost - self.bound[resource]
            self.ended[resource] |= self.slack[resource] <= ROUNDING * max(abs(cost), 1.0)

    @property
    def complete(self) -> bool:
        """Whether the emails of every resource are known."""
        return bool(self.known.all())

    def submit(self) -> None:
        """Offer the plan to its subproblem once it is complete."""
        if self.complete:
            self.state.offer(self.sends.copy())
