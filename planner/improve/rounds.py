"""The improvement: relax, share out, make whole, refine, prove, until the gap is closed.

1. A subproblem's relaxation, resources that are loaded alike taken as one, bounds what every plan
costs,
   and says how many chains each resource should start.
2. With those shared out, resources are apart. Each one's own relaxation is followed day by day in
   whole emails, and then refined by CP-SAT.
3. A subproblem that is small enough is solved at one go, resources and all.

The steps are tasks for a task pool, gathered in order. How much they may do is counted in work, not
in time, and decided between rounds of tasks; so the result is the same whoever works, and however
many do.
"""

import numpy as np

from sendplan.planner.improve.subproblem_state import (
    DisaggregatedPlan,
    SubproblemState,
    whole_costs,
)
from sendplan.planner.improve.task_pool import SearchProgress, TaskPool
from sendplan.planner.improve.tasks import (
    AT_ONE_GO,
    proof_work,
    prove,
    refine,
    relax,
    relaxation_work,
    round_off,
    rounding_work,
    size,
)
from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination

FOR_RELAXATIONS = 0.25
"""Part of what work is left that relaxations may take."""

FINER = 4
"""By how much the number of groups grows from round to round."""

LONGER = 4.0
"""How many times as much work a resource gets the next time."""

LONGEST = 20.0
"""Seconds of work after which a resource is left as it is."""


def improve(
    states: list[SubproblemState],
    unit: int | None,
    parameters: Parameters,
    task_pool: TaskPool,
    rival: float = np.inf,
) -> Termination:
    """Improve the subproblems' plans and bounds, in place.

    Parameters
    ----------
    subproblems : list of SubproblemState
        With the cost of a known plan, and a bound.
    unit : int or None
        See `sendplan.planner.flow.cpsat.unit_of`.
    parameters : Parameters
        Limits.
    task pool : Crew
        Who works.
    rival : float
        Cost of another plan of all subproblems: the search may end where that is good enough, but
        takes no other notice of it.

    Returns
    -------
    Termination
        Why it ended.
    """
    try:
        return _Search(states, unit, parameters, task_pool, rival).run()
    except KeyboardInterrupt:
        return Termination.INTERRUPTED


class _Search:
    """Rounds of tasks, and the work that is left for them."""

    def __init__(
        self,
        states: list[SubproblemState],
        unit: int | None,
        parameters: Parameters,
        task_pool: TaskPool,
        rival: float,
    ) -> None:
        self.rival = rival
        self.states, self.unit, self.task_pool = states, unit, task_pool
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
            # What can be proven at one go soon is proven, close as it may be.
            not state.tried and not state.closed and size(state.network) <= AT_ONE_GO
            for state in self.states
        ):
            return Termination.GAP
        return Termination.TIME_LIMIT if self.left <= 0 else None

    def _close_enough(self) -> bool:
        """Tell whether the gap is as small as wanted; asked for by name, CP-SAT has none."""
        wanted = self.parameters.gap if self.parameters.method == "auto" else 0.0
        return relative_gap(self.cost, self.bound) <= wanted

    @property
    def cost(self) -> float:
        """Return the cost of the best plan known."""
        return min(sum(state.cost for state in self.states), self.rival)

    @property
    def bound(self) -> float:
        """Return what every plan costs at least."""
        return sum(state.bound for state in self.states)

    def _report(self, phase: str) -> None:
        progress = SearchProgress(self.cost, min(self.bound, self.cost), phase, self.work)
        self.task_pool.callback.report(progress)

    def _round(self, *, finer: bool = False) -> bool:
        """Relax subproblems, round and refine the result; tell whether any was affordable."""
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
            state.bounded(result.bound, self.unit)
            if result.network is not None:
                drafts.append(DisaggregatedPlan(state, result.network))
        self._report("relaxed")
        self._follow(drafts)
        if sum(proof_work(state.network) for state in self.states if not state.closed) > self.left:
            self._refine(drafts)
        return True

    def _affordable(self, waiting: list[SubproblemState]) -> list[tuple[SubproblemState, int]]:
        """Choose subproblems to relax, and how finely, those first whose gaps are widest."""
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
            fair = FOR_RELAXATIONS * self.left * size(state.network) / total
            groups = min(max(1, FINER * state.groups), resources)
            while (
                groups < resources
                and relaxation_work(state.network, min(2 * groups, resources)) <= fair
            ):
                groups = min(2 * groups, resources)
            needs = relaxation_work(state.network, groups) + rounding_work(state.network)
            if spent + needs > self.left:
                self.short = True
                continue
            chosen.append((state, groups))
            spent += needs
        return chosen

    def _follow(self, drafts: list[DisaggregatedPlan]) -> None:
        tasks = [(draft, resources) for draft in drafts for resources in draft.chunks()]
        results = self.task_pool.run(
            round_off, [(draft.network.at(resources),) for draft, resources in tasks]
        )
        for (draft, resources), result in zip(tasks, results, strict=True):
            if result is not None:
                self.work += result.work
                draft.bound[resources] = whole_costs(result.bound, self.unit)
                draft.enter(resources, result.sends)
        for draft in drafts:
            draft.hand_in()
        self._report("made whole")

    def _refine(self, drafts: list[DisaggregatedPlan]) -> None:
        """Refine resources, those that may gain most first, each time by more work."""
        drafts = [draft for draft in drafts if draft.complete]
        while self.left > 0 and self.task_pool.stopped is None and not self._close_enough():
            resources = self._worthwhile(drafts)
            if not resources:
                return
            results = self.task_pool.run(
                refine,
                [
                    (*draft.alone(resource), self.unit, limit, self.parameters.seed)
                    for draft, resource, limit in resources
                ],
            )
            for (draft, resource, limit), result in zip(resources, results, strict=True):
                if result is None:
                    continue
                self.work += result.work
                draft.limit[resource] = limit * LONGER
                draft.ended[resource] = result.ended
                draft.enter(np.array([resource]), result.sends)
            for draft in drafts:
                draft.hand_in()
            self._report("refined")

    def _worthwhile(
        self, drafts: list[DisaggregatedPlan]
    ) -> list[tuple[DisaggregatedPlan, int, float]]:
        """Choose resources to refine within what work is left, and how much each may take."""
        found = [
            (draft.limit[resource], -draft.slack[resource], place, resource)
            for place, draft in enumerate(drafts)
            if not draft.part.closed
            for resource in np.flatnonzero(~draft.ended & (draft.limit <= LONGEST))
        ]
        chosen: list[tuple[DisaggregatedPlan, int, float]] = []
        left = self.left
        for limit, _, place, resource in sorted(found):
            # One that is given less may find that too little to begin with, again and again.
            if limit > left:
                self.short = True
                break
            chosen.append((drafts[place], int(resource), float(limit)))
            left -= limit
        return chosen

    def _prove(self) -> bool:
        """Solve subproblems at one go, as far as that can be afforded; tell whether any could."""
        waiting = [state for state in self.states if not state.closed]
        # Again only with much more work than the last time.
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
                (state.network, state.sends, self.unit, limit, self.parameters.seed)
                for state in chosen
            ],
        )
        for state, result in zip(chosen, results, strict=True):
            state.tried = limit if size(state.network) <= AT_ONE_GO else np.inf
            if result is None:
                continue
            self.work += result.work
            self.late |= not result.on_time
            state.take(result.sends)
            state.bounded(result.bound, self.unit)
        self._report("proved")
        return True
