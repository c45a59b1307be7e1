"""The search: the instance as independent subproblems, each with the best plan known of it."""

from collections.abc import Iterator

import numpy as np

from sendplan.planner.flow.cpsat import unit_of
from sendplan.planner.flow.single_chains import told_apart
from sendplan.planner.flow.subproblems import Subproblem, counted, place, subproblems
from sendplan.planner.improve.rounds import improve
from sendplan.planner.improve.subproblem_state import SubproblemState, add_pooled_bounds
from sendplan.planner.improve.task_pool import TaskPool
from sendplan.planner.improve.tasks import AT_ONE_GO, size
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, horizon_end, limits_of
from sendplan.planner.model.objective import delays, moved
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.completion import cost_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination

SINK_MARGIN = 5
"""Days between the end of a component's known plan and the day that stands for all later ones."""

WIDE_MARGIN = 45
SMALL = 400
"""The same for components with so few emails, in which a chain that is put off may still count."""


class Search:
    """The subproblems of some work.

    Parameters
    ----------
    instance, limits, parameters
        The work, what may be used, and how is planned.
    known : Placement
        A plan of it.
    with_moves : bool
        Whether the objective counts emails moved. Then only subproblems are looked at that are so
        small that all their chains can be told apart: counts do not know who had which slot.
    """

    def __init__(
        self,
        instance: Instance,
        limits: Limits,
        parameters: Parameters,
        known: Placement,
        *,
        with_moves: bool = False,
    ) -> None:
        singles = told_apart(instance, limits, everybody=with_moves)
        self.instance, self.parameters = singles.instance, parameters
        self.limits = (
            limits_of(singles.instance, parameters) if singles.instance is not instance else limits
        )
        component = singles.component
        self.of_chain = component[instance.stages.sequence[instance.chains.stage]]
        of_email = self.of_chain[instance.emails.chain]
        states = int(component.max(initial=0)) + 1
        sink = sinks(self.instance, self.limits, parameters, known, of_email, states)
        weight = parameters.change_weight if with_moves else 0.0
        self.subproblems: list[Subproblem] = subproblems(
            singles,
            self.limits,
            parameters,
            sink,
            change_weight=weight,
        )
        if with_moves:
            whole = singles.whole()
            self.subproblems = [
                subproblem
                for subproblem in self.subproblems
                if whole[subproblem.part] and size(subproblem.network) <= AT_ONE_GO
            ]
        end = horizon_end(limits, parameters, known.day)
        each = delays(instance, known, end, parameters).cost
        cost = np.bincount(of_email, each + weight * moved(instance, known), states)
        self.states = [
            SubproblemState(
                subproblem.network,
                float(cost[subproblem.part]),
                counted(self.instance, subproblem, known),
            )
            for subproblem in self.subproblems
        ]
        priority = instance.problem.sequences["priority"].to_numpy()
        units = np.append(priority, priority * parameters.slip_weight)
        self.unit = unit_of(np.append(units, weight) if weight else units)
        add_pooled_bounds(self.states, self.unit)

    @property
    def covers_everything(self) -> bool:
        """Whether every chain is in one of the subproblems."""
        return len(self.states) == len(np.unique(self.of_chain))

    def run(self, task_pool: TaskPool, rival: float = np.inf) -> Termination:
        """Improve the subproblems, see `sendplan.planner.improve.rounds.improve`."""
        return improve(self.states, self.unit, self.parameters, task_pool, rival)

    def improved(self, known: Placement) -> Iterator[Placement]:
        """Give the known placement with the improved subproblems, and with those to be repaired.

        Parameters
        ----------
        known : Placement
            What it was before.
        """
        pairs = list(zip(self.subproblems, self.states, strict=True))
        sound = [(subproblem, state.sends) for subproblem, state in pairs if state.improved]
        rough = [
            (subproblem, state.rough)
            for subproblem, state in pairs
            if state.rough is not None and state.rough_cost < state.cost
        ]
        for found in (sound, rough):
            if found:
                yield self._with(known, found)

    def _with(self, known: Placement, found: list[tuple[Subproblem, np.ndarray]]) -> Placement:
        numbers = np.array([subproblem.part for subproblem, _ in found])
        swap = np.isin(self.of_chain, numbers)
        other = place(self.instance, self.limits, found)
        return Placement(
            np.where(swap[self.instance.emails.chain], other.day, known.day),
            np.where(swap, other.mailbox, known.mailbox),
        )

    def lower_bound(self, placement: Placement) -> float:
        """Return what every plan costs at least."""
        cost = cost_of(self.instance, self.limits, self.parameters, placement)
        bound = sum(state.bound for state in self.states)
        if bound > cost + 1e-6 * max(cost, 1.0):
            raise AssertionError(
                f"the lower bound {bound} is above the plan's cost {cost}; this is a fault of"
                " sendplan, please report it with the tables"
            )
        return float(min(bound, cost))


def sinks(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    known: Placement,
    of_email: np.ndarray,
    states: int,
) -> np.ndarray:
    """Return the day, by component, as of which all that leaves later is counted.

    Parameters
    ----------
    instance, limits, parameters
        The work, what may be used, and how is planned.
    known : Placement
        A plan of it.
    of_email : ndarray of int, shape (emails,)
        Component of each email.
    subproblems : int
        Number of components.

    Returns
    -------
    ndarray of int, shape (subproblems,)
        No plan is cheaper than when what leaves later is counted as of that day.
    """
    if parameters.horizon_days is not None:
        return np.full(states, limits.last + 1)
    emails = np.bincount(of_email, minlength=states)
    end = np.zeros(states, dtype=np.int64)
    np.maximum.at(end, of_email, known.day)
    margin = np.where(emails <= SMALL, WIDE_MARGIN + end, SINK_MARGIN)
    sink = np.minimum(end + margin, limits.last + 1)
    # What finds no room within a year counts as of the day after the plan's end, and no plan
    # ends before the ideal day of an email that can be placed.
    left_out = np.zeros(states, dtype=bool)
    left_out[of_email[known.day == NONE]] = True
    placed = instance.emails.ideal[~left_out[of_email]]
    sink[left_out] = max(int(placed.max(initial=1)), 1) + 1
    return sink
