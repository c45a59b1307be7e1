"""The capacity that is needed: the fewest mailboxes, or the least of each, that reach a target.

Plans show what is enough, `sendplan.planner.studies.capacity_bounds` proves what is not. Where the
two meet, the answer is proven.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.changes import AddMailboxes, Change, ScaleCapacities
from sendplan.planner.changes.pools import Pools, usual_capacity
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters, named_parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.schema.vocabulary import BLOCKED
from sendplan.planner.schema.wording import counted
from sendplan.planner.solver import plan_with
from sendplan.planner.studies.bisection import Bracket
from sendplan.planner.studies.capacity_bounds import (
    LeastMailboxes,
    Target,
    find_obstacle,
    least_mailboxes,
    total_shortfall,
    waits_obstacle,
)
from sendplan.planner.studies.capacity_need import CapacityNeed
from sendplan.planner.studies.study_pool import StudyWorkers, study_workers

MOST_MAILBOXES = 2_000
"""Most new mailboxes of a pool beyond its lower bound."""

MOST_PERCENT = 10_000
"""Largest scale of today's capacities, in percent."""

HURRIED = (1.0, 0.0)
"""Further slip_weights where plans only have to end early: with less, more chains start at once."""

RETRIES = 5
"""Most times that mailboxes are added where pools that share contacts fall short together."""


def fewest_mailboxes(
    problem: Problem,
    finish_by: Any,
    max_late: int | None = None,
    *,
    daily_capacity: int | None = None,
    method: str = "greedy",
    workers: int = Parameters.workers,
    executor: Executor | None = None,
    progress: Callable[[str], None] = lambda message: None,
    **parameters: Any,
) -> CapacityNeed:
    """Find the fewest new mailboxes with which everything has left by a day.

    Each new mailbox sends for one pool: the sequences that share mailboxes today. It has no ramp.

    Parameters
    ----------
    problem : Problem
        The problem.
    finish_by : date or str
        The day by which every email must have left.
    max_late : int, optional
        Most late follow-ups; by default their number does not matter.
    daily_capacity : int, optional
        Emails a day of each new mailbox; by default the median of the active mailboxes.
    method : str
        Method of the plans, see `sendplan.solve`.
    workers : int
        Number of processes that plan side by side; the answer may depend on it where more mailboxes
        do not always make a better plan.
    executor : Executor, optional
        Runs the plans instead of such processes.
    progress : callable, optional
        Called with a sentence at each step of the search.
    **parameters
        Others of `Parameters`.

    Returns
    -------
    CapacityNeed
        What is enough, with its plan, and a lower bound.

    Raises
    ------
    MethodError
        If a parameter does not exist or is out of range, or the day has passed.
    """
    target, how, day = _read_target(problem, finish_by, max_late, method, parameters)
    size = usual_capacity(problem) if daily_capacity is None else daily_capacity
    if not isinstance(size, int) or size < 1:
        raise MethodError(f"daily_capacity is {size!r}; it must be a whole number above 0")
    answer = CapacityNeed("mailboxes", day, max_late, None, None, daily_capacity=size)
    progress("Bounding what is needed")
    least = least_mailboxes(problem, how, target, size)
    if least.by_pool is None:
        found = find_obstacle(problem, how, target, least.threads)
        return replace(answer, obstacle=found)
    with study_workers(executor, workers, [problem]) as task_pool:
        search = _MailboxSearch(problem, how, target, size, least, task_pool, workers, progress)
        count = search.run()
    fewest = int(least.by_pool.sum())
    if count is None:
        return replace(answer, at_least=fewest)
    changes = search.changes(count)
    plan = _best_plan(problem.with_(*changes), how, target)
    return replace(
        answer,
        needed=int(count.sum()),
        at_least=fewest,
        changes=changes,
        plan=plan,
        pools=pd.DataFrame(
            {
                "sequences": [tuple(search.pools.sequence_ids(p)) for p in range(len(count))],
                "mailboxes": count,
                "at_least": least.by_pool,
            }
        ),
    )


class _MailboxSearch:
    """Numbers of new mailboxes by pool; one plan of the whole problem tries all pools at once."""

    def __init__(
        self,
        problem: Problem,
        parameters: Parameters,
        target: Target,
        daily_capacity: int,
        least: LeastMailboxes,
        task_pool: StudyWorkers[Problem],
        width: int,
        progress: Callable[[str], None],
    ) -> None:
        assert least.by_pool is not None
        self.problem, self.parameters, self.target = problem, parameters, target
        self.daily_capacity, self.least = daily_capacity, least.by_pool
        self.task_pool, self.width, self.progress = task_pool, width, progress
        self.pools = Pools(problem)

    def run(self) -> np.ndarray | None:
        """Return numbers that are enough, or None."""
        apart = not self.target.max_late or len(self.least) == 1
        count = self._pool_by_pool(self.target) if apart else self._together()
        if count is None:
            return None
        for _ in range(RETRIES):
            short = self._shortfalls([count], self.target)[0]
            if short.sum() <= self.target.limit:
                return count
            count = count + (short > 0)
        return None

    def changes(self, count: np.ndarray) -> tuple[Change, ...]:
        """Return the changes that add these numbers."""
        return tuple(
            AddMailboxes(
                int(number),
                self.daily_capacity,
                sequence_ids=self.pools.sequence_ids(pool).tolist(),
            )
            for pool, number in enumerate(count)
            if number
        )

    def _pool_by_pool(self, target: Target) -> np.ndarray | None:
        """Search where each pool must reach the target by itself."""
        brackets = [Bracket(int(low) - 1, None, int(low) + MOST_MAILBOXES) for low in self.least]
        while not all(bracket.closed for bracket in brackets):
            points = [bracket.points(self.width) for bracket in brackets]
            # A pool that is settled, or has fewer numbers to try, keeps its last one.
            tried = [
                each or [bracket.settled] for each, bracket in zip(points, brackets, strict=True)
            ]
            trials = [
                np.array([each[min(number, len(each) - 1)] for each in tried])
                for number in range(max(len(each) for each in points))
            ]
            for trial, short in zip(trials, self._shortfalls(trials, target), strict=True):
                for pool, bracket in enumerate(brackets):
                    if points[pool]:
                        bracket.record(int(trial[pool]), holds=short[pool] <= target.limit)
        if any(bracket.high is None for bracket in brackets):
            return None
        return np.array([bracket.high for bracket in brackets])

    def _together(self) -> np.ndarray | None:
        """Search where pools share `max_late`: mailboxes are added in proportion to shortfalls."""
        base = self._pool_by_pool(replace(self.target, max_late=None))
        if base is None:
            return None
        weight = self._shortfalls([base], self.target)[0].astype(float)
        if weight.sum() <= self.target.limit:
            return base

        def numbers(total: int) -> np.ndarray:
            upto = np.cumsum(weight) * total / weight.sum()
            return np.asarray(base + np.diff(np.floor(upto + 0.5).astype(int), prepend=0))

        bracket = Bracket(0, None, MOST_MAILBOXES)
        while not bracket.closed:
            totals = bracket.points(self.width)
            trials = [numbers(total) for total in totals]
            for total, short in zip(totals, self._shortfalls(trials, self.target), strict=True):
                bracket.record(total, holds=short.sum() <= self.target.limit)
        return None if bracket.high is None else numbers(bracket.high)

    def _shortfalls(self, trials: list[np.ndarray], target: Target) -> list[np.ndarray]:
        """Plan with numbers of new mailboxes, and return the shortfall of each pool."""
        for trial in trials:
            self.progress(f"Trying {counted(int(trial.sum()), 'more mailbox')}")
        jobs = [(0, self.changes(trial), self.parameters, target) for trial in trials]
        results = self.task_pool.map(_least_shortfall, jobs)
        return [np.bincount(self.pools.of_sequence, result, len(self.pools)) for result in results]


def smallest_capacity(
    problem: Problem,
    finish_by: Any,
    max_late: int | None = None,
    *,
    method: str = "greedy",
    workers: int = Parameters.workers,
    executor: Executor | None = None,
    progress: Callable[[str], None] = lambda message: None,
    **parameters: Any,
) -> CapacityNeed:
    """Find the scale of all capacities at which everything has left by a day.

    Parameters
    ----------
    problem, finish_by, max_late, method, workers, executor, progress, **parameters
        As in `fewest_mailboxes`.

    Returns
    -------
    CapacityNeed
        In percent of today's capacities, see `sendplan.changes.ScaleCapacities`; it may be less
        than 100.

    Raises
    ------
    MethodError
        As in `fewest_mailboxes`.
    """
    target, how, day = _read_target(problem, finish_by, max_late, method, parameters)
    answer = CapacityNeed("capacity", day, max_late, None, None)
    if (waits := waits_obstacle(problem, how, target)) is not None:
        return replace(answer, obstacle=waits)
    with study_workers(executor, workers, [problem]) as task_pool:

        def smallest(
            task: Callable[..., Any], holds: Callable[[Any], bool], low: int
        ) -> int | None:
            # Today's capacities are tried first: the answer is rarely far away.
            bracket = Bracket(low, None, MOST_PERCENT, step=max(100 - low, 1))
            while not bracket.closed:
                points = bracket.points(workers)
                jobs = [(0, (ScaleCapacities(point / 100),), how, target) for point in points]
                for point, result in zip(points, task_pool.map(task, jobs), strict=True):
                    bracket.record(point, holds=holds(result))
            return bracket.high

        progress("Bounding what is needed")
        least = smallest(_shortfall, lambda short: not target.missed(short), -1)
        if least is None:
            return replace(answer, obstacle=find_obstacle(problem, how, target, {}))
        progress(f"Looking for plans with {least}% of the capacities and more")
        needed = smallest(_least_shortfall, lambda short: short.sum() <= target.limit, least - 1)
    if needed is None:
        return replace(answer, at_least=least)
    changes = (ScaleCapacities(needed / 100),)
    plan = _best_plan(problem.with_(*changes), how, target)
    return replace(answer, needed=needed, at_least=least, changes=changes, plan=plan)


def _read_target(
    problem: Problem,
    finish_by: Any,
    max_late: int | None,
    method: str,
    parameters: dict[str, Any],
) -> tuple[Target, Parameters, dt.date]:
    stamp = pd.to_datetime(finish_by, errors="coerce")
    if not isinstance(stamp, pd.Timestamp):
        raise MethodError(f"finish_by is {finish_by!r}; give a date, such as 2027-01-15")
    day = stamp.date()
    last = dates.to_day(day) - problem.horizon.origin
    today = 1
    if not today <= last <= problem.horizon.last:
        raise MethodError(
            f"finish_by is {day}; it must lie between {problem.now_at.date()}, the day of planning,"
            " and a year later"
        )
    if max_late is not None and (not isinstance(max_late, int) or max_late < 0):
        raise MethodError(f"max_late is {max_late!r}; it must be a whole number, at least 0")
    if "horizon_days" in parameters:
        raise MethodError("horizon_days cannot be given: finish_by says how far plans may go")
    # Emails that would leave later are left out, and so fall short.
    given = {"method": method, "horizon_days": last - today, "workers": 1}
    how = named_parameters({**parameters, **given})
    return Target(last, max_late, hurried=max_late is None), how, day


def _shortfall(
    problem: Problem, changes: tuple[Change, ...], parameters: Parameters, target: Target
) -> float:
    return total_shortfall(problem.with_(*changes), parameters, target)


def _least_shortfall(
    problem: Problem, changes: tuple[Change, ...], parameters: Parameters, target: Target
) -> np.ndarray:
    """Plan, and return the shortfall of each sequence in the best plan."""
    changed = problem.with_(*changes)
    plans = _plans(changed, parameters, target)
    return min((_shortfall_by_sequence(changed, plan, target) for plan in plans), key=np.sum)


def _plans(problem: Problem, parameters: Parameters, target: Target) -> Iterator[Plan]:
    """Plan, and again with smaller slip_weights where that falls short and they may be tried."""
    weights = [parameters.slip_weight]
    if target.hurried:
        weights += [weight for weight in HURRIED if weight < parameters.slip_weight]
    for weight in weights:
        plan = plan_with(problem, replace(parameters, slip_weight=weight))
        yield plan
        if _shortfall_by_sequence(problem, plan, target).sum() <= target.limit:
            return


def _best_plan(problem: Problem, parameters: Parameters, target: Target) -> Plan:
    """Return the plan that reaches the target: the last one that was tried."""
    return list(_plans(problem, parameters, target))[-1]


def _shortfall_by_sequence(problem: Problem, plan: Plan, target: Target) -> np.ndarray:
    sequences = pd.Index(problem.sequences["id"])
    weights = target.weights
    late = sequences.get_indexer(plan.delays["sequence_id"][plan.delays["late"]])
    short = np.bincount(late, minlength=len(sequences)) * weights.late
    open_ones = plan.unplaced["enrollment_id"][~plan.unplaced["reason"].isin(BLOCKED)]
    enrollment = pd.Index(problem.enrollments["id"]).get_indexer(open_ones)
    of_enrollment = problem.enrollments["sequence_id"].to_numpy()[enrollment]
    left_out = np.bincount(sequences.get_indexer(of_enrollment), minlength=len(sequences))
    return np.asarray(short + left_out * weights.left_out)
