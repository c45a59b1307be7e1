"""Parts: what is known of each component of a problem while its plan is being improved."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.improve.tasks import pooled_bound

ROUNDING = 1e-9
"""What is lost at most, relative to the cost, to the arithmetic of real numbers."""

FIRST_LIMIT = 0.3
"""Seconds of work that a resource gets at first."""

ABREAST = 10
"""Resources that are followed in one task."""


@dataclass
class SubproblemState:
    """A subproblem, and the best that is known of it.

    Parameters
    ----------
    commodities : Commodities
        The subproblem.
    cost : float
        Cost of the best plan known.
    sends : ndarray of int, shape (commodities, days)
        Emails that leave in it.
    bound : float
        What every plan costs at least.
    improved : bool
        Whether that plan was found here.
    rough : ndarray of int, shape (commodities, days), or None
        A plan that would be better, but has two emails of a contact on one day.
    rough_cost : float
        What it costs.
    groups : int
        As how many resources the relaxation has taken the subproblem's.
    tried : float
        Seconds of work that it was given to be solved at one go.
    """

    network: FlowNetwork
    cost: float
    sends: np.ndarray
    bound: float = -np.inf
    improved: bool = False
    rough: np.ndarray | None = None
    rough_cost: float = np.inf
    groups: int = 0
    tried: float = 0.0

    def take(self, sends: np.ndarray) -> None:
        """Keep a plan if it is better; one in which contacts meet is kept apart, to be mended."""
        value = self.network.value(sends)
        if value >= self.cost - ROUNDING * max(abs(value), 1.0):
            return
        if self.network.meet(sends):
            if value < self.rough_cost:
                self.rough, self.rough_cost = sends, value
        else:
            self.sends, self.cost, self.improved = sends, value, True

    def bounded(self, bound: float, unit: int | None) -> None:
        """Keep a bound if it is better; costs are whole multiples of the unit's subproblem."""
        if not np.isfinite(bound):
            return
        self.bound = max(self.bound, float(whole_costs(np.array(bound), unit)))

    @property
    def closed(self) -> bool:
        """Return whether nothing can be better."""
        return self.bound >= self.cost - ROUNDING * max(abs(self.cost), 1.0)


def whole_costs(bound: np.ndarray, unit: int | None) -> np.ndarray:
    """Raise bounds to the next possible cost: all are whole multiples of 1 / unit."""
    bound = bound - ROUNDING * np.abs(bound)
    return bound if unit is None else np.ceil(bound * unit - 1e-4) / unit


def add_pooled_bounds(states: list[SubproblemState], unit: int | None) -> None:
    """Give every subproblem the bound that is soonest had."""
    for state in states:
        state.bounded(pooled_bound(state.network), unit)


class DisaggregatedPlan:
    """A plan of a subproblem in the making, resource by resource.

    Every resource has a bound, given its chains, and a limit for the work of its next refinement.
    """

    def __init__(self, state: SubproblemState, network: FlowNetwork) -> None:
        self.part, self.network = state, network
        resources = len(network.room)
        self.sends = np.zeros_like(network.arriving)
        self.entered = np.zeros(resources, dtype=bool)
        self.ended = np.zeros(resources, dtype=bool)
        self.bound = np.full(resources, -np.inf)
        self.slack = np.zeros(resources)
        self.limit = np.full(resources, FIRST_LIMIT)

    def chunks(self) -> list[np.ndarray]:
        """Return the resources, a task's worth at a time."""
        resources = np.arange(len(self.network.room))
        return [resources[begin : begin + ABREAST] for begin in range(0, len(resources), ABREAST)]

    def alone(self, resource: int) -> tuple[FlowNetwork, np.ndarray]:
        """Return one resource's commodities and emails."""
        return self.network.at(np.array([resource])), self.sends[self.network.resource == resource]

    def enter(self, resources: np.ndarray, sends: np.ndarray) -> None:
        """Take over what leaves some resources."""
        self.sends[np.isin(self.network.resource, resources)] = sends
        self.entered[resources] = True
        for resource in resources:
            commodity = self.network.resource == resource
            cost = float((self.network.cost[commodity] * self.sends[commodity]).sum())
            self.slack[resource] = cost - self.bound[resource]
            self.ended[resource] |= self.slack[resource] <= ROUNDING * max(abs(cost), 1.0)

    @property
    def complete(self) -> bool:
        """Return whether every resource has been made whole."""
        return bool(self.entered.all())

    def hand_in(self) -> None:
        """Offer the plan to the subproblem."""
        if self.complete:
            self.part.take(self.sends.copy())
