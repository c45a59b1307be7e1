"""The search: the work as parts that share nothing, each with the best that is known of it."""

from collections.abc import Iterator

import numpy as np

from sendplan.planner.flow.cpsat_solver import unit_of
from sendplan.planner.flow.single_chains import told_apart
from sendplan.planner.flow.subproblems import Piece, counted, pieces, place
from sendplan.planner.improve.rounds import improve
from sendplan.planner.improve.subproblem_state import Part, bound_quickly
from sendplan.planner.improve.task_pool import Crew
from sendplan.planner.improve.tasks import AT_ONE_GO, size
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules, horizon_end, rules
from sendplan.planner.model.objective import delays, moved
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.placing.completion import cost_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Stop

SINK_MARGIN = 5
"""Days between the end of a component's known plan and the day that stands for all later ones."""

WIDE_MARGIN = 45
SMALL = 400
"""The same for components with so few emails, in which a chain that is put off may still count."""


class Search:
    """The parts of some work.

    Parameters
    ----------
    work, allowed, parameters
        The work, what may be used, and how is planned.
    known : Placement
        A plan of it.
    with_moves : bool
        Whether the objective counts emails moved. Then only parts are looked at that are so small
        that all their chains can be told apart: counts do not know who had which slot.
    """

    def __init__(
        self,
        work: Workload,
        allowed: Rules,
        parameters: Parameters,
        known: Placement,
        *,
        with_moves: bool = False,
    ) -> None:
        apart = told_apart(work, allowed, everybody=with_moves)
        self.work, self.parameters = apart.work, parameters
        self.allowed = rules(apart.work, parameters) if apart.work is not work else allowed
        component = apart.component
        self.of_chain = component[work.stages.sequence[work.chains.stage]]
        of_email = self.of_chain[work.emails.chain]
        parts = int(component.max(initial=0)) + 1
        sink = sinks(self.work, self.allowed, parameters, known, of_email, parts)
        weight = parameters.change_weight if with_moves else 0.0
        self.pieces: list[Piece] = pieces(
            apart,
            self.allowed,
            parameters,
            sink,
            change_weight=weight,
        )
        if with_moves:
            whole = apart.whole()
            self.pieces = [
                piece
                for piece in self.pieces
                if whole[piece.part] and size(piece.lanes) <= AT_ONE_GO
            ]
        end = horizon_end(allowed, parameters, known.day)
        each = delays(work, known, end, parameters).cost
        cost = np.bincount(of_email, each + weight * moved(work, known), parts)
        self.parts = [
            Part(piece.lanes, float(cost[piece.part]), counted(self.work, piece, known))
            for piece in self.pieces
        ]
        priority = work.problem.sequences["priority"].to_numpy()
        units = np.append(priority, priority * parameters.slip_weight)
        self.unit = unit_of(np.append(units, weight) if weight else units)
        bound_quickly(self.parts, self.unit)

    @property
    def covers_everything(self) -> bool:
        """Whether every chain is in one of the parts."""
        return len(self.parts) == len(np.unique(self.of_chain))

    def run(self, crew: Crew, rival: float = np.inf) -> Stop:
        """Improve the parts, see `sendplan.planner.improve.rounds.improve`."""
        return improve(self.parts, self.unit, self.parameters, crew, rival)

    def improved(self, known: Placement) -> Iterator[Placement]:
        """Give the known placement with the parts that were improved, and with those to be mended.

        Parameters
        ----------
        known : Placement
            What it was before.
        """
        pairs = list(zip(self.pieces, self.parts, strict=True))
        sound = [(piece, part.sends) for piece, part in pairs if part.improved]
        rough = [
            (piece, part.rough)
            for piece, part in pairs
            if part.rough is not None and part.rough_cost < part.cost
        ]
        for found in (sound, rough):
            if found:
                yield self._with(known, found)

    def _with(self, known: Placement, found: list[tuple[Piece, np.ndarray]]) -> Placement:
        numbers = np.array([piece.part for piece, _ in found])
        swap = np.isin(self.of_chain, numbers)
        other = place(self.work, self.allowed, found)
        return Placement(
            np.where(swap[self.work.emails.chain], other.day, known.day),
            np.where(swap, other.mailbox, known.mailbox),
        )

    def lower_bound(self, placement: Placement) -> float:
        """Return what every plan costs at least."""
        cost = cost_of(self.work, self.allowed, self.parameters, placement)
        bound = sum(part.bound for part in self.parts)
        if bound > cost + 1e-6 * max(cost, 1.0):
            raise AssertionError(
                f"the lower bound {bound} is above the plan's cost {cost}; this is a fault of"
                " sendplan, please report it with the tables"
            )
        return float(min(bound, cost))


def sinks(
    work: Workload,
    allowed: Rules,
    parameters: Parameters,
    known: Placement,
    of_email: np.ndarray,
    parts: int,
) -> np.ndarray:
    """Return the day, by component, as of which all that leaves later is counted.

    Parameters
    ----------
    work, allowed, parameters
        The work, what may be used, and how is planned.
    known : Placement
        A plan of it.
    of_email : ndarray of int, shape (emails,)
        Component of each email.
    parts : int
        Number of components.

    Returns
    -------
    ndarray of int, shape (parts,)
        No plan is cheaper than when what leaves later is counted as of that day.
    """
    if parameters.horizon_days is not None:
        return np.full(parts, allowed.last + 1)
    emails = np.bincount(of_email, minlength=parts)
    end = np.zeros(parts, dtype=np.int64)
    np.maximum.at(end, of_email, known.day)
    margin = np.where(emails <= SMALL, WIDE_MARGIN + end, SINK_MARGIN)
    sink = np.minimum(end + margin, allowed.last + 1)
    # What finds no room within a year counts as of the day after the plan's end, and no plan
    # ends before the ideal day of an email that can be placed.
    left_out = np.zeros(parts, dtype=bool)
    left_out[of_email[known.day == NONE]] = True
    placed = work.emails.ideal[~left_out[of_email]]
    sink[left_out] = max(int(placed.max(initial=1)), 1) + 1
    return sink
