"""The rounds of a search: relax, apportion, round, refine and prove, until the gap is closed.

1. The relaxation of a subproblem, with resources of like load aggregated, bounds the cost of every
   plan and gives the number of chains that each resource should start.
2. With those chains apportioned, resources share nothing. The relaxation of each one alone is
   rounded day by day, and then refined by CP-SAT.
3. A subproblem that is small enough is solved as a whole.

The steps are tasks of a task pool, gathered in order. Their limits are of work, not of time, and
are set between rounds of tasks; so the result does not depend on the executor.
"""

import numpy as np

from sendplan.planner.improve.subproblem_state import (
    DisaggregatedPlan,
    SubproblemState,
    raised_to_multiple,
)
from sendplan.planner.improve.task_pool import SearchProgress, TaskPool
from sendplan.planner.improve.tasks import (
    CPSAT_VARIABLES,
    proof_work,
    prove,
    refine,
    relax,
    relaxation_work,
    round_resources,
    rounding_work,
    size,
)
from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination

FOR_RELAXATIONS = 0.25
"""Share of the work left that relaxations may take."""

FINER = 4
"""Factor of the number of groups from round to round."""

LONGER = 4.0
"""Factor of the work limit of a resource from one refinement to the next."""

LONGEST = 20.0
"""Most seconds of work of one refinement."""


def improve(
    states: list[SubproblemState],
    denominator: int | None,
    parameters: Parameters,
    task_pool: TaskPool,
    cutoff: float = np.inf,
) -> Termination:
    """Improve the plans and bounds of subproblems, in place.

    Parameters
    ----------
    states : list of SubproblemState
        Each with the cost of a known plan, and a bound.
    denominator : int or None
        See `sendplan.planner.flow.cpsat.cost_denominator`.
    parameters : Parameters
        Planning parameters.
    task_pool : TaskPool
        Runs the tasks.
    cutoff : float
        Cost of another plan of all subproblems: the search may end once that plan is good enough,
        but does not use it otherwise.

    Returns
    -------
    Termination
        Why it ended.
    """
    try:
        return _Search(states, denominator, parameters, task_pool, cutoff).run()
    except KeyboardInterrupt:
        return Termination.INTERRUPTED


class _Search:
    """Rounds of tasks within the work limit."""

    def __init__(
        self,
        states: list[SubproblemState],
        denominator: int | None,
        parameters: Parameters,
        task_pool: TaskPool,
        cutoff: float,
    ) -> None:
        self.cutoff = cutoff
        self.states, self.denominator, self.task_pool = states, denominator, task_pool
        self.parameters = parameters
        self.work = 0.0
        self.short = False
        self.late = False

    def run(self) -> Termination:
        self._report("greedy")
        while (stop := self._why_stop()) is None:
            if not (self._round() or self._prove() or self._round(finer=True)):
                return Termination.TIME_LIMIT if self.short else Termination.EXHAUSTED
        return stop

    @property
    def left(self) -> float:
        return self.parameters.time_limit - self.work

    def _why_stop(self) -> Termination | None:
        if self.task_pool.stopped is not None:
            return self.task_pool.stopped
        if all(state.closed for state in self.states) or self.bound >= self.cost:
            return Termination.OPTIMAL
        if self.late:
            return Termination.WALL_CLOCK
        if self._close_enough() and not any(
            # Small subproblems are solved to optimality, whatever their gap.
            not state.tried and not state.closed and size(state.network) <= CPSAT_VARIABLES
            for state in self.states
        ):
            return Termination.GAP
        return Termination.TIME_LIMIT if self.left <= 0 else None

    def _close_enough(self) -> bool:
        """Tell whether the gap is small enough; method cpsat accepts none."""
        wanted = self.parameters.gap if self.parameters.method == "auto" else 0.0
        return relative_gap(self.cost, self.bound) <= wanted

    @property
    def cost(self) -> float:
        """Cost of the best plan known."""
        return min(sum(state.cost for state in self.states), self.cutoff)

    @property
    def bound(self) -> float:
        """Lower bound on the cost of every plan."""
        return sum(state.bound for state in self.states)

    def _report(self, phase: str) -> None:
        progress = SearchProgress(self.cost, min(self.bound, self.cost), phase, self.work)
        self.task_pool.callback.report(progress)

    def _round(self, *, finer: bool = False) -> bool:
        """Relax subproblems, round and refine the result; tell whether there was work for any."""
        chosen = self._affordable([state for state in self.states if (state.groups > 0) == finer])
        if not chosen:
            return False
        results = self.task_pool.run(relax, [(state.network, groups) for state, groups in chosen])
        drafts: list[DisaggregatedPlan] = []
        for (state, groups), result in zip(chosen, results, strict=True):
            if result is None:
                continue
            self.work += result.work
            state.groups = groups
            state.raise_bound(result.bound, self.denominator)
            if result.network is not None:
                drafts.append(DisaggregatedPlan(state, result.network))
        self._report("relaxed")
        self._round_off(drafts)
        if sum(proof_work(state.network) for state in self.states if not state.closed) > self.left:
            self._refine(drafts)
        return True

    def _affordable(self, waiting: list[SubproblemState]) -> list[tuple[SubproblemState, int]]:
        """Choose subproblems to relax, and the number of groups, by decreasing gap."""
        waiting = [
            state
            for state in waiting
            if not state.closed and state.groups < len(state.network.room)
        ]
        waiting.sort(key=lambda state: state.bound - state.cost)
        total = sum(size(state.network) for state in waiting)
        chosen: list[tuple[SubproblemState, int]] = []
        spent = 0.0
        for state in waiting:
            resources = len(state.network.room)
            most = FOR_RELAXATIONS * self.left * size(state.network) / total
            groups = min(max(1, FINER * state.groups), resources)
            while (
                groups < resources
                and relaxation_work(state.network, min(2 * groups, resources)) <= most
            ):
                groups = min(2 * groups, resources)
            needs = relaxation_work(state.network, groups) + rounding_work(state.network)
            if spent + needs > self.left:
                self.short = True
                continue
            chosen.append((state, groups))
            spent += needs
        return chosen

    def _round_off(self, drafts: list[DisaggregatedPlan]) -> None:
        """Relax and round the resources of drafts."""
        tasks = [(draft, resources) for draft in drafts for resources in draft.chunks()]
        results = self.task_pool.run(
            round_resources, [(draft.network.restricted(resources),) for draft, resources in tasks]
        )
        for (draft, resources), result in zip(tasks, results, strict=True):
            if result is not None:
                self.work += result.work
                draft.bound[resources] = raised_to_multiple(result.bound, self.denominator)
                draft.set_sends(resources, result.sends)
        for draft in drafts:
            draft.submit()
        self._report("rounded")

    def _refine(self, drafts: list[DisaggregatedPlan]) -> None:
        """Refine resources, those with most to gain first, with more work each time."""
        drafts = [draft for draft in drafts if draft.complete]
        while self.left > 0 and self.task_pool.stopped is None and not self._close_enough():
            resources = self._worthwhile(drafts)
            if not resources:
                return
            results = self.task_pool.run(
                refine,
                [
                    (*draft.single(resource), self.denominator, limit, self.parameters.seed)
                    for draft, resource, limit in resources
                ],
            )
            for (draft, resource, limit), result in zip(resources, results, strict=True):
                if result is None:
                    continue
                self.work += result.work
                draft.limit[resource] = limit * LONGER
                draft.ended[resource] = result.ended
                draft.set_sends(np.array([resource]), result.sends)
            for draft in drafts:
                draft.submit()
            self._report("refined")

    def _worthwhile(
        self, drafts: list[DisaggregatedPlan]
    ) -> list[tuple[DisaggregatedPlan, int, float]]:
        """Choose resources to refine within the work left, and the work limit of each."""
        found = [
            (draft.limit[resource], -draft.slack[resource], place, resource)
            for place, draft in enumerate(drafts)
            if not draft.state.closed
            for resource in np.flatnonzero(~draft.ended & (draft.limit <= LONGEST))
        ]
        chosen: list[tuple[DisaggregatedPlan, int, float]] = []
        left = self.left
        for limit, _, place, resource in sorted(found):
            # With less it might find that too little to begin with, again and again.
            if limit > left:
                self.short = True
                break
            chosen.append((drafts[place], int(resource), float(limit)))
            left -= limit
        return chosen

    def _prove(self) -> bool:
        """Solve subproblems as a whole; tell whether there was work left for any."""
        waiting = [state for state in self.states if not state.closed]
        # A second time only with much more work.
        each = self.left / max(len(waiting), 1)
        waiting = [state for state in waiting if LONGER * state.tried <= each]
        waiting.sort(key=lambda state: state.bound - state.cost)
        chosen: list[SubproblemState] = []
        spent = 0.0
        for state in waiting:
            needs = proof_work(state.network)
            if spent + needs <= self.left:
                chosen.append(state)
                spent += needs
            elif np.isfinite(needs):
                self.short = True
        if not chosen:
            return False
        limit = self.left / len(chosen)
        results = self.task_pool.run(
            prove,
            [
                (state.network, state.sends, self.denominator, limit, self.parameters.seed)
                for state in chosen
            ],
        )
        for state, result in zip(chosen, results, strict=True):
            state.tried = limit if size(state.network) <= CPSAT_VARIABLES else np.inf
            if result is None:
                continue
            self.work += result.work
            self.late |= not result.on_time
            state.offer(result.sends)
            state.raise_bound(result.bound, self.denominator)
        self._report("proved")
        return True
