"""Room prices: what one more email of capacity is worth, by pool and day, from the relaxation.

Mailboxes of a pool are taken as one box of the count model, whose linear relaxation is solved; the
dual values of its capacity rows are the prices. With them goes the Lagrangian bound, which falls by
exactly price × emails where room is added (`sendplan.planner.flow.lagrangian`): so nothing that is
said with a price rests on the solver that proposed it.
"""

from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.flow.flow_model import count_model
from sendplan.planner.flow.lagrangian import Prices, lagrangian
from sendplan.planner.flow.lp_solver import Way, solve_linear
from sendplan.planner.flow.network import Lanes
from sendplan.planner.flow.single_chains import told_apart
from sendplan.planner.flow.subproblems import pieces
from sendplan.planner.improve.search import sinks
from sendplan.planner.improve.task_pool import Crew
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules, rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.problem.parameters import Parameters

A_LITTLE = 0.01
"""Emails of room added everywhere while prices are sought.

Where room is just enough, one email less may cost more than one more saves, and every price between
the two is right. With a little more room only the least of them are: what one more saves.
"""


@dataclass(frozen=True)
class PricedPiece:
    """A part of the work that shares nothing with others, and the prices of its room.

    Parameters
    ----------
    sequence : ndarray of int
        Its sequences, ascending.
    lanes : Lanes
        What there is to decide, each pool as one box.
    pool : ndarray of int, shape (boxes,)
        The pool of each box, ascending.
    mailbox : list of ndarray of int
        The mailboxes of each box.
    prices : Prices
        By box and day, and by sequence and day.
    bound : float
        What every plan of it costs at least.
    """

    sequence: np.ndarray
    lanes: Lanes
    pool: np.ndarray
    mailbox: list[np.ndarray]
    prices: Prices
    bound: float

    def widened(self, box: int, room: np.ndarray) -> Lanes:
        """Return the lanes with other room in one box.

        Parameters
        ----------
        box : int
            Which.
        room : ndarray of int, shape (mailboxes, days)
            Room of all mailboxes.
        """
        wide = self.lanes.room.copy()
        wide[box, :-1] = room[self.mailbox[box], : self.lanes.sink].sum(axis=0)
        return replace(self.lanes, room=wide)


def room_prices(
    work: Workload,
    allowed: Rules,
    parameters: Parameters,
    known: Placement,
    pool_of: np.ndarray,
    crew: Crew,
) -> list[PricedPiece]:
    """Price the room of pools.

    Parameters
    ----------
    work, allowed, parameters
        The work, what may be used, and how was planned.
    known : Placement
        A plan of it, which says how far ahead one must look.
    pool_of : ndarray of int, shape (mailboxes,)
        The pool of each mailbox. Mailboxes of one pool must serve the same sequences.
    crew : Crew
        Who works.

    Returns
    -------
    list of PricedPiece
        Where the solver gave up, room has no price and the bound is that of unlimited room.
    """
    apart = told_apart(work, allowed)
    if apart.work is not work:
        allowed = rules(apart.work, parameters)
    component = apart.component
    of_chain = component[work.stages.sequence[work.chains.stage]]
    parts = int(component.max(initial=0)) + 1
    of_email = of_chain[work.emails.chain]
    sink = sinks(apart.work, allowed, parameters, known, of_email, parts)
    grouped = []
    for piece in pieces(apart, allowed, parameters, sink):
        pool, group = np.unique(pool_of[piece.mailbox], return_inverse=True)
        members = [piece.mailbox[group == box] for box in range(len(pool))]
        grouped.append((piece.part, piece.lanes.grouped(group), pool, members))
    solved = crew.run(priced, [(lanes,) for _, lanes, _, _ in grouped])
    result = []
    for (part, lanes, pool, members), found in zip(grouped, solved, strict=True):
        prices, bound = found or unpriced(lanes)
        sequence = np.flatnonzero(component == part)
        result.append(PricedPiece(sequence, lanes, pool, members, prices, bound))
    return result


def priced(lanes: Lanes) -> tuple[Prices, float]:
    """Solve the relaxation; return the prices of room and the bound that they prove."""
    model = count_model(lanes)
    if not model.variables:
        return unpriced(lanes)
    upper = model.upper.astype(float)
    for rows in (model.room_row, model.new_row):
        upper[rows[rows != NONE]] += A_LITTLE
    relaxed = solve_linear(replace(model, upper=upper), Way.INTERIOR)
    if relaxed is None:
        return unpriced(lanes)
    return relaxed.prices, lagrangian(lanes, relaxed.prices)


def unpriced(lanes: Lanes) -> tuple[Prices, float]:
    """Return prices of nothing, and the bound of unlimited room."""
    free = Prices.free(lanes)
    return free, lagrangian(lanes, free)
