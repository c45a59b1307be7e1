"""The search: the instance as independent subproblems, each with the best plan known of it."""

from collections.abc import Iterator

import numpy as np

from sendplan.planner.flow.cpsat import cost_denominator
from sendplan.planner.flow.single_chains import single_out_chains
from sendplan.planner.flow.subproblems import Subproblem, build_subproblems, flow_of, placement_of
from sendplan.planner.improve.rounds import improve
from sendplan.planner.improve.subproblem_state import SubproblemState
from sendplan.planner.improve.task_pool import TaskPool
from sendplan.planner.improve.tasks import CPSAT_VARIABLES, pooled_lp_bound, size
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, horizon_end, limits_of
from sendplan.planner.model.objective import delays, moved
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.completion import cost_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination

SINK_MARGIN = 5
"""Days between the end of the known plan of a component and its sink."""

WIDE_MARGIN = 45
"""The same where a component has at most `SMALL` emails, of which each delay counts."""

SMALL = 400
"""Emails up to which `WIDE_MARGIN` holds."""


class Search:
    """The subproblems of an instance.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    known : Placement
        A plan of it.
    with_moves : bool
        Whether the objective counts emails moved. Counts do not know which chain had which slot,
        so that only subproblems are searched in which every chain can be single.
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
        singles = single_out_chains(instance, limits, every_chain=with_moves)
        self.instance, self.parameters = singles.instance, parameters
        self.limits = (
            limits if singles.instance is instance else limits_of(singles.instance, parameters)
        )
        component = singles.component
        self.of_chain = component[instance.stages.sequence[instance.chains.stage]]
        of_email = self.of_chain[instance.emails.chain]
        count = int(component.max(initial=0)) + 1
        sink = sink_days(self.instance, self.limits, parameters, known, of_email, count)
        weight = parameters.change_weight if with_moves else 0.0
        self.subproblems: list[Subproblem] = build_subproblems(
            singles, self.limits, parameters, sink, change_weight=weight
        )
        if with_moves:
            single = singles.all_single()
            self.subproblems = [
                subproblem
                for subproblem in self.subproblems
                if single[subproblem.component] and size(subproblem.network) <= CPSAT_VARIABLES
            ]
        end = horizon_end(limits, parameters, known.day)
        each = delays(instance, known, end, parameters).cost
        cost = np.bincount(of_email, each + weight * moved(instance, known), count)
        self.states = [
            SubproblemState(
                subproblem.network,
                float(cost[subproblem.component]),
                flow_of(self.instance, subproblem, known),
            )
            for subproblem in self.subproblems
        ]
        priority = instance.problem.sequences["priority"].to_numpy()
        weights = np.append(priority, priority * parameters.slip_weight)
        self.denominator = cost_denominator(np.append(weights, weight) if weight else weights)
        for state in self.states:
            state.raise_bound(pooled_lp_bound(state.network), self.denominator)

    @property
    def covers_everything(self) -> bool:
        """Whether every chain is in one of the subproblems."""
        return len(self.states) == len(np.unique(self.of_chain))

    def run(self, task_pool: TaskPool, cutoff: float = np.inf) -> Termination:
        """Improve the subproblems, see `sendplan.planner.improve.rounds.improve`."""
        return improve(self.states, self.denominator, self.parameters, task_pool, cutoff)

    def improved_placements(self, known: Placement) -> Iterator[Placement]:
        """Give the known placement with the improved plans, and with those that clash.

        Parameters
        ----------
        known : Placement
            The plan that the search started from.

        Yields
        ------
        Placement
            At most two; in the second, contacts have two emails on a day, to be repaired.
        """
        pairs = list(zip(self.subproblems, self.states, strict=True))
        sound = [(subproblem, state.sends) for subproblem, state in pairs if state.improved]
        clashing = [
            (subproblem, state.clashing)
            for subproblem, state in pairs
            if state.clashing is not None and state.clashing_cost < state.cost
        ]
        for flows in (sound, clashing):
            if flows:
                yield self._with(known, flows)

    def _with(self, known: Placement, flows: list[tuple[Subproblem, np.ndarray]]) -> Placement:
        replaced = np.isin(self.of_chain, [subproblem.component for subproblem, _ in flows])
        other = placement_of(self.instance, self.limits, flows)
        return Placement(
            np.where(replaced[self.instance.emails.chain], other.day, known.day),
            np.where(replaced, other.mailbox, known.mailbox),
        )

    def lower_bound(self, placement: Placement) -> float:
        """Return a lower bound on the cost of every plan, given a plan of the instance."""
        cost = cost_of(self.instance, self.limits, self.parameters, placement)
        bound = sum(state.bound for state in self.states)
        if bound > cost + 1e-6 * max(cost, 1.0):
            raise AssertionError(
                f"the lower bound {bound} is above the plan's cost {cost}; this is a bug in"
                " sendplan, please report it with the tables"
            )
        return float(min(bound, cost))


def sink_days(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    known: Placement,
    of_email: np.ndarray,
    count: int,
) -> np.ndarray:
    """Return, by component, the day that stands for all later ones.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    known : Placement
        A plan of it.
    of_email : ndarray of int, shape (emails,)
        Component of each email.
    count : int
        Number of components.

    Returns
    -------
    ndarray of int, shape (components,)
        Counting what leaves later as of this day makes no plan dearer.
    """
    if parameters.horizon_days is not None:
        return np.full(count, limits.last + 1)
    emails = np.bincount(of_email, minlength=count)
    end = np.zeros(count, dtype=np.int64)
    np.maximum.at(end, of_email, known.day)
    margin = np.where(emails <= SMALL, WIDE_MARGIN + end, SINK_MARGIN)
    sink = np.minimum(end + margin, limits.last + 1)
    # Emails without room within a year count as of the day after the end of the plan, and no plan
    # ends before the ideal day of an email that can be placed.
    left_out = np.zeros(count, dtype=bool)
    left_out[of_email[known.day == NONE]] = True
    placed = instance.emails.ideal[~left_out[of_email]]
    sink[left_out] = max(int(placed.max(initial=1)), 1) + 1
    return sink
