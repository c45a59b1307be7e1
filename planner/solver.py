"""The solver: a problem in, a plan out."""

from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.greedy.construction import construct
from sendplan.planner.improve.search import Search
from sendplan.planner.improve.task_pool import ProgressCallback, SilentCallback, TaskPool
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.completion import Candidate, cheaper, completed, cost_of
from sendplan.planner.plan.assembly import assemble
from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import THREADS, Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.replanning.incumbent import incumbent
from sendplan.planner.replanning.repair import repair
from sendplan.planner.replanning.slot_matching import match
from sendplan.planner.schema.vocabulary import Termination

WORTHWHILE = 0.02
"""Relative improvement for which a plan from scratch replaces one that moves far fewer emails.

Heuristics find both; a smaller difference says little about them.
"""

GOOD = 0.01
"""Gap at which a search for a plan other than the repaired one may end."""


def solve(
    problem: Problem,
    method: str = "auto",
    time_limit: float = Parameters.time_limit,
    *,
    horizon_days: int | None = None,
    slip_weight: float = Parameters.slip_weight,
    one_a_day: bool = True,
    seed: int = 0,
    gap: float = Parameters.gap,
    workers: int = Parameters.workers,
    change_weight: float = Parameters.change_weight,
    executor: Executor | None = None,
    callback: ProgressCallback | None = None,
) -> Plan:
    """Plan all pending emails of a problem.

    Ctrl-C during the search returns the best plan so far.

    Parameters
    ----------
    problem : Problem
        The problem.
    method : str
        ``"greedy"``; ``"auto"``, which improves that plan until the gap is at most `gap`; or
        ``"cpsat"``, which searches for the optimum.
    time_limit : float
        Seconds of work, on one core, of the search.
    horizon_days : int, optional
        Last day that may be used, in days after today's UTC date; by default the horizon is as
        long as needed, 366 days at most.
    slip_weight : float
        Cost of a day of slip of a follow-up, in days of lateness.
    one_a_day : bool
        Whether a contact gets at most one email a day.
    seed : int
        Seed of random numbers.
    gap : float
        Relative gap at which ``"auto"`` stops.
    workers : int
        Number of threads that run tasks side by side.
    change_weight : float
        Cost of moving an email from its existing slot, in days of lateness. With 0 emails move
        wherever that makes the plan cheaper; with more, existing slots are repaired after a change,
        and planned from scratch only where that pays.
    executor : Executor, optional
        Runs the tasks instead of such threads, for instance a process pool.
    callback : ProgressCallback, optional
        Told of the progress, and may stop the search.

    Returns
    -------
    Plan
        The same for the same input, whatever runs the tasks.

    Raises
    ------
    MethodError
        If the method or a parameter does not exist or is out of range.
    """
    parameters = Parameters(
        method, time_limit, horizon_days, slip_weight, one_a_day, seed, gap, workers, change_weight
    )
    return plan_with(problem, parameters, executor=executor, callback=callback)


def plan_with(
    problem: Problem,
    parameters: Parameters,
    *,
    executor: Executor | None = None,
    callback: ProgressCallback | None = None,
) -> Plan:
    """Plan all pending emails of a problem, with parameters as one value; see `solve`."""
    instance = build_instance(problem)
    job = _Job(
        instance,
        limits_of(instance, parameters),
        parameters,
        executor,
        callback or SilentCallback(),
    )
    existing = incumbent(instance, job.limits)
    if not len(instance.chains):
        found = _Found(completed(instance, job.limits, Placement.empty(instance)), job.method)
    elif existing is None:
        found = _planned(job, None)
    elif parameters.change_weight:
        found = _replanned(job, existing.placement)
    else:
        found = _planned(job, existing.placement)
    return assemble(
        instance,
        job.limits,
        parameters,
        found.candidate.placement,
        found.candidate.at,
        method=found.method,
        lower_bound=found.lower_bound,
        stopped=found.stopped,
        untenable=0 if existing is None else existing.untenable,
    )


class _Job:
    """An instance, its parameters and what runs tasks."""

    def __init__(
        self,
        instance: Instance,
        limits: Limits,
        parameters: Parameters,
        executor: Executor | None,
        callback: ProgressCallback,
    ) -> None:
        self.instance, self.limits, self.parameters = instance, limits, parameters
        self.executor, self.callback = executor, callback

    @property
    def method(self) -> str:
        """The method of a plan that no search has improved."""
        return "cpsat" if self.parameters.method == "cpsat" else "greedy"

    @property
    def tolerance(self) -> float:
        """Relative improvement for which a plan replaces the existing one."""
        tolerances = {"greedy": WORTHWHILE, "auto": self.parameters.gap, "cpsat": 0.0}
        return tolerances[self.parameters.method]

    def task_pool(self) -> AbstractContextManager[TaskPool]:
        return TaskPool.open(self.executor, self.parameters.workers, self.callback, THREADS)

    def constructed(self, placement: Placement) -> Candidate:
        """Complete a placement by the construction heuristic; what is placed stays."""
        fixed = placement.day != NONE
        construct(self.instance, self.limits, placement, self.parameters)
        return self.candidate(placement, fixed)

    def candidate(self, placement: Placement, fixed: np.ndarray | None = None) -> Candidate:
        """Complete a placement, with chains in their existing slots where they fit."""
        match(self.instance, self.limits, placement)
        return completed(self.instance, self.limits, placement, fixed)

    def cheaper(self, known: Candidate, other: Candidate, margin: float = 0.0) -> Candidate:
        return cheaper(self.instance, self.limits, self.parameters, known, other, margin=margin)

    def cost(self, candidate: Candidate) -> float:
        return cost_of(self.instance, self.limits, self.parameters, candidate.placement)

    def gap(self, found: "_Found") -> float:
        return relative_gap(self.cost(found.candidate), found.lower_bound or 0.0)


@dataclass
class _Found:
    """The best candidate so far."""

    candidate: Candidate
    method: str
    lower_bound: float | None = None
    stopped: Termination | None = None


def _planned(job: _Job, kept: Placement | None) -> _Found:
    """Plan from scratch; components whose existing plan is about as good keep it."""
    fresh = best = job.constructed(Placement.empty(job.instance))
    carried_on = None if kept is None else job.constructed(kept)
    # The search starts from scratch, so that planning again finds the same, and nothing moves.
    search = Search(job.instance, job.limits, job.parameters, fresh.placement)
    stopped = None
    if job.parameters.method != "greedy":
        cutoff = np.inf if carried_on is None else job.cost(job.cheaper(carried_on, fresh))
        with job.task_pool() as task_pool:
            stopped = search.run(task_pool, cutoff)
        for placement in search.improved_placements(fresh.placement):
            best = job.cheaper(best, job.candidate(placement))
    found = best if carried_on is None else job.cheaper(carried_on, best, job.tolerance)
    searched = found is not carried_on and best is not fresh
    method = "cpsat" if searched else job.method
    return _Found(found, method, search.lower_bound(found.placement), stopped)


def _replanned(job: _Job, kept: Placement) -> _Found:
    """Repair the existing plan, and search for another only if its gap has become large."""
    parameters = job.parameters
    # With displaced emails at the first fit: min_gap_seconds may undo what repair gains.
    unrepaired = completed(job.instance, job.limits, kept.copy())
    repair(job.instance, job.limits, parameters, kept)
    repaired = job.cheaper(unrepaired, completed(job.instance, job.limits, kept))
    bounds = Search(job.instance, job.limits, parameters, repaired.placement)
    found = _Found(repaired, job.method, bounds.lower_bound(repaired.placement))
    if parameters.method == "greedy":
        return found
    wanted = parameters.gap if parameters.method == "auto" else 0.0
    with job.task_pool() as task_pool:
        if _solve_small(job, task_pool, found):
            # For small problems the bound without moves is quick to find.
            found.stopped = bounds.run(task_pool, job.cost(found.candidate))
            found.lower_bound = bounds.lower_bound(found.candidate.placement)
            return found
        if job.gap(found) > wanted:
            _search_again(job, task_pool, found)
        else:
            found.stopped = Termination.GAP
    return found


def _solve_small(job: _Job, task_pool: TaskPool, found: _Found) -> bool:
    """Find the best plan, with moves counted, of the subproblems that are small enough.

    Returns whether these are all.
    """
    exact = replace(job.parameters, method="cpsat")
    search = Search(job.instance, job.limits, exact, found.candidate.placement, with_moves=True)
    if search.states:
        found.stopped = search.run(task_pool)
        before = found.candidate
        for placement in search.improved_placements(before.placement):
            better = completed(job.instance, job.limits, placement)
            found.candidate = job.cheaper(found.candidate, better)
        if found.candidate is not before:
            found.method = "cpsat"
    return search.covers_everything


def _search_again(job: _Job, task_pool: TaskPool, found: _Found) -> None:
    """Search for a plan from scratch, and take it where it is much better."""
    fresh = job.constructed(Placement.empty(job.instance))
    thorough = replace(job.parameters, gap=min(job.parameters.gap, GOOD))
    search = Search(job.instance, job.limits, thorough, fresh.placement)
    before = found.candidate
    found.stopped = search.run(task_pool, job.cost(before))
    for placement in search.improved_placements(fresh.placement):
        other = job.candidate(placement)
        found.candidate = job.cheaper(found.candidate, other, WORTHWHILE)
    if found.candidate is not before:
        found.method = "cpsat"
    found.lower_bound = search.lower_bound(found.candidate.placement)
