"""Room prices: what one more email of capacity is worth, by pool and day, from the relaxation.

Mailboxes of a pool are taken as one resource of the count model, whose linear relaxation is solved;
the dual values of its capacity rows are the prices. With them goes the Lagrangian bound, which
falls by exactly price × emails where room is added (`sendplan.planner.flow.lagrangian`): so nothing
that is said with a price rests on the solver that proposed it.
"""

from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.flow.count_model import count_model
from sendplan.planner.flow.lagrangian import DualPrices, lagrangian
from sendplan.planner.flow.lp import LpMethod, solve_linear
from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.single_chains import told_apart
from sendplan.planner.flow.subproblems import subproblems
from sendplan.planner.improve.search import sinks
from sendplan.planner.improve.task_pool import TaskPool
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters

A_LITTLE = 0.01
"""Emails of room added everywhere while prices are sought.

Where room is just enough, one email less may cost more than one more saves, and every price between
the two is right. With a little more room only the least of them are: what one more saves.
"""


@dataclass(frozen=True)
class PricedSubproblem:
    """A part of the work that shares nothing with others, and the prices of its room.

    Parameters
    ----------
    sequence : ndarray of int
        Its sequences, ascending.
    commodities : Commodities
        What there is to decide, each pool as one resource.
    pool : ndarray of int, shape (resources,)
        The pool of each resource, ascending.
    mailbox : list of ndarray of int
        The mailboxes of each resource.
    prices : DualPrices
        By resource and day, and by sequence and day.
    bound : float
        What every plan of it costs at least.
    """

    sequence: np.ndarray
    network: FlowNetwork
    pool: np.ndarray
    mailbox: list[np.ndarray]
    prices: DualPrices
    bound: float

    def widened(self, resource: int, room: np.ndarray) -> FlowNetwork:
        """Return the commodities with other room in one resource.

        Parameters
        ----------
        resource : int
            Which.
        room : ndarray of int, shape (mailboxes, days)
            Room of all mailboxes.
        """
        wide = self.network.room.copy()
        wide[resource, :-1] = room[self.mailbox[resource], : self.network.sink].sum(axis=0)
        return replace(self.network, room=wide)


def room_prices(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    known: Placement,
    pool_of: np.ndarray,
    task_pool: TaskPool,
) -> list[PricedSubproblem]:
    """Price the room of pools.

    Parameters
    ----------
    instance, limits, parameters
        The work, what may be used, and how was planned.
    known : Placement
        A plan of it, which says how far ahead one must look.
    pool_of : ndarray of int, shape (mailboxes,)
        The pool of each mailbox. Mailboxes of one pool must serve the same sequences.
    task pool : Crew
        Who works.

    Returns
    -------
    list of PricedPiece
        Where the solver gave up, room has no price and the bound is that of unlimited room.
    """
    singles = told_apart(instance, limits)
    if singles.instance is not instance:
        limits = limits_of(singles.instance, parameters)
    component = singles.component
    of_chain = component[instance.stages.sequence[instance.chains.stage]]
    states = int(component.max(initial=0)) + 1
    of_email = of_chain[instance.emails.chain]
    sink = sinks(singles.instance, limits, parameters, known, of_email, states)
    grouped = []
    for subproblem in subproblems(singles, limits, parameters, sink):
        pool, group = np.unique(pool_of[subproblem.mailbox], return_inverse=True)
        members = [subproblem.mailbox[group == resource] for resource in range(len(pool))]
        grouped.append((subproblem.part, subproblem.network.grouped(group), pool, members))
    solved = task_pool.run(priced, [(network,) for _, network, _, _ in grouped])
    result = []
    for (state, network, pool, members), found in zip(grouped, solved, strict=True):
        prices, bound = found or unpriced(network)
        sequence = np.flatnonzero(component == state)
        result.append(PricedSubproblem(sequence, network, pool, members, prices, bound))
    return result


def priced(network: FlowNetwork) -> tuple[DualPrices, float]:
    """Solve the relaxation; return the prices of room and the bound that they prove."""
    model = count_model(network)
    if not model.variables:
        return unpriced(network)
    upper = model.upper.astype(float)
    for rows in (model.room_row, model.new_row):
        upper[rows[rows != NONE]] += A_LITTLE
    relaxed = solve_linear(replace(model, upper=upper), LpMethod.INTERIOR)
    if relaxed is None:
        return unpriced(network)
    return relaxed.prices, lagrangian(network, relaxed.prices)


def unpriced(network: FlowNetwork) -> tuple[DualPrices, float]:
    """Return prices of nothing, and the bound of unlimited room."""
    free = DualPrices.free(network)
    return free, lagrangian(network, free)
