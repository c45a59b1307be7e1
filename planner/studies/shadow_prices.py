"""Shadow prices: the worth of one more email of capacity, by pool and day, from the relaxation.

The mailboxes of a pool are one resource of the count model, whose linear relaxation is solved; the
dual values of its capacity rows are the prices. With them goes the Lagrangian bound, which falls by
exactly price × emails where capacity is added (`sendplan.planner.flow.lagrangian`). So no statement
about a price rests on the solver that proposed it.
"""

from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.flow.count_model import build_count_model
from sendplan.planner.flow.lagrangian import DualPrices, lagrangian_bound
from sendplan.planner.flow.lp import LpMethod, solve_relaxation
from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.single_chains import single_out_chains
from sendplan.planner.flow.subproblems import build_subproblems
from sendplan.planner.improve.search import sink_days
from sendplan.planner.improve.task_pool import TaskPool
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters

EXTRA_ROOM = 0.01
"""Emails of capacity added everywhere while prices are sought.

Where capacity is just enough, one email less may cost more than one more saves, and every price
between the two is right. With a little more capacity only the least of them is: what one more
saves.
"""


@dataclass(frozen=True)
class PricedSubproblem:
    """A component, and the prices of its capacity.

    Parameters
    ----------
    sequence : ndarray of int
        Its sequences, ascending.
    network : FlowNetwork
        What is decided, with each pool as one resource.
    pool : ndarray of int, shape (resources,)
        The pool of each resource, ascending.
    mailbox : list of ndarray of int
        The mailboxes of each resource.
    prices : DualPrices
        By resource and day, and by sequence and day.
    bound : float
        Lower bound on the cost of every plan of it.
    """

    sequence: np.ndarray
    network: FlowNetwork
    pool: np.ndarray
    mailbox: list[np.ndarray]
    prices: DualPrices
    bound: float

    def with_room(self, resource: int, room: np.ndarray) -> FlowNetwork:
        """Return the network with other capacity of one resource.

        Parameters
        ----------
        resource : int
            The resource.
        room : ndarray of int, shape (mailboxes, days)
            Capacity of all mailboxes.
        """
        wide = self.network.room.copy()
        wide[resource, :-1] = room[self.mailbox[resource], : self.network.sink].sum(axis=0)
        return replace(self.network, room=wide)


def capacity_prices(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    known: Placement,
    pool_of: np.ndarray,
    task_pool: TaskPool,
) -> list[PricedSubproblem]:
    """Price the capacity of pools.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    known : Placement
        A plan of it, which gives the sink days.
    pool_of : ndarray of int, shape (mailboxes,)
        The pool of each mailbox. Mailboxes of one pool must serve the same sequences.
    task_pool : TaskPool
        Runs the tasks.

    Returns
    -------
    list of PricedSubproblem
        Where the solver gave up, prices are 0 and the bound is that of unlimited capacity.
    """
    singles = single_out_chains(instance, limits)
    if singles.instance is not instance:
        limits = limits_of(singles.instance, parameters)
    component = singles.component
    of_chain = component[instance.stages.sequence[instance.chains.stage]]
    of_email = of_chain[instance.emails.chain]
    count = int(component.max(initial=0)) + 1
    sink = sink_days(singles.instance, limits, parameters, known, of_email, count)
    components = build_subproblems(singles, limits, parameters, sink)
    groups = [
        np.unique(pool_of[subproblem.mailbox], return_inverse=True) for subproblem in components
    ]
    networks = [
        subproblem.network.aggregated(group)
        for subproblem, (_, group) in zip(components, groups, strict=True)
    ]
    solved = task_pool.run(price_capacity, [(network,) for network in networks])
    result = []
    for subproblem, (pool, group), network, found in zip(
        components, groups, networks, solved, strict=True
    ):
        prices, bound = found or zero_prices(network)
        sequence = np.flatnonzero(component == subproblem.component)
        members = [subproblem.mailbox[group == resource] for resource in range(len(pool))]
        result.append(PricedSubproblem(sequence, network, pool, members, prices, bound))
    return result


def price_capacity(network: FlowNetwork) -> tuple[DualPrices, float]:
    """Return the prices of capacity by the relaxation, and the bound that they prove."""
    model = build_count_model(network)
    if not model.variables:
        return zero_prices(network)
    upper = model.upper.astype(float)
    for rows in (model.room_row, model.new_row):
        upper[rows[rows != NONE]] += EXTRA_ROOM
    relaxed = solve_relaxation(replace(model, upper=upper), LpMethod.INTERIOR_POINT)
    if relaxed is None:
        return zero_prices(network)
    return relaxed.prices, lagrangian_bound(network, relaxed.prices)


def zero_prices(network: FlowNetwork) -> tuple[DualPrices, float]:
    """Return prices of 0, and the bound of unlimited capacity."""
    prices = DualPrices.zero(network)
    return prices, lagrangian_bound(network, prices)
