"""Runs of the planner on a database: their result, their phases, their wall clock."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from sendplan.io.errors import SendplanError
from sendplan.io.publish.run_records import OvertakenError, Published
from sendplan.io.publish.summaries import totals_to_json
from sendplan.io.snapshot.load import Snapshot
from sendplan.io.snapshot.set_aside import UnusableValue, to_json
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.plan.checker import violations
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.summary import Summary
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.vocabulary import Termination
from sendplan.planner.schema.wording import counted
from sendplan.planner.solver import plan_with

SAFETY = 2.0
SAFETY_MARGIN = 10.0
"""The wall clock stops a search after `SAFETY` times its time limit and `SAFETY_MARGIN` seconds.

Only an overloaded machine gets there.
"""

PHASES = ("load", "build", "solve", "check", "store")
Report = Callable[[str], None]
Result = TypeVar("Result")


class UnsoundPlanError(SendplanError):
    """The checker found a broken rule in a plan before it was stored."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    summary : Summary
        The plan in figures.
    published : Published or None
        What was written; None for a dry run.
    seconds : dict of float
        By phase, and in total.
    plan : Plan or None
        The plan itself; None if it was made part by part.
    discarded : bool
        Whether the plan was interrupted and not kept.
    set_aside : tuple of UnusableValue
        Values that could not be used, see `sendplan.io.snapshot.set_aside`.
    """

    summary: Summary
    published: Published | None
    seconds: dict[str, float]
    plan: Plan | None = None
    discarded: bool = False
    set_aside: tuple[UnusableValue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``plan --json`` prints."""
        published = self.published
        return {
            "run_id": published.run_id if published else None,
            "as_of": self.summary.as_of.isoformat(),
            **totals_to_json(self.summary),
            "stopped": self.summary.stopped,
            "rows_changed": published.rows_changed if published else 0,
            "skipped": published.skipped if published else 0,
            "seconds": {phase: round(spent, 3) for phase, spent in self.seconds.items()},
            **to_json(self.set_aside),
        }


class Clock:
    """Seconds by phase.

    Parameters
    ----------
    report : callable
        Called with the name of each phase as it begins.
    """

    def __init__(self, report: Report = lambda phase: None) -> None:
        self.report = report
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.begun = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report a phase, and add its seconds."""
        self.report(name)
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

    def total(self) -> dict[str, float]:
        """Return the seconds so far."""
        return self.seconds | {"total": time.perf_counter() - self.begun}


class WallClock:
    """The callback of a search: records its steps, and stops it by the wall clock.

    Parameters
    ----------
    parameters : Parameters
        With the time limit.
    progress : callable
        Called with each step.
    """

    def __init__(
        self,
        parameters: Parameters,
        progress: Callable[[SearchProgress], None] = lambda step: None,
    ) -> None:
        self.progress = progress
        self.steps: list[dict[str, Any]] = []
        self.begun: float | None = None
        self.longest = SAFETY * parameters.time_limit + SAFETY_MARGIN

    def report(self, progress: SearchProgress) -> None:
        """Record a step."""
        now = time.perf_counter()
        self.begun = now if self.begun is None else self.begun
        self.steps.append(
            {
                "phase": progress.phase,
                "cost": progress.cost,
                "lower_bound": progress.lower_bound,
                "gap": progress.gap,
                "seconds": round(now - self.begun, 3),
                "work": round(progress.work, 3),
            }
        )
        self.progress(progress)

    def stop(self) -> Termination | None:
        """Return why to stop, if it takes too long."""
        late = self.begun is not None and time.perf_counter() - self.begun > self.longest
        return Termination.WALL_CLOCK if late else None


def planned(
    snapshot: Snapshot,
    now: dt.datetime,
    parameters: Parameters,
    clock: Clock,
    callback: WallClock,
    prepare: Callable[[Problem], Problem] = lambda problem: problem,
) -> tuple[Problem, Plan]:
    """Plan a snapshot, and check the plan.

    Parameters
    ----------
    snapshot : Snapshot
        The tables.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        Planning parameters.
    clock : Clock
        Times the phases.
    callback : WallClock
        Callback of the search.
    prepare : callable
        Applied to the problem before it is planned.

    Returns
    -------
    problem : Problem
        As planned.
    plan : Plan
        It breaks no rule.

    Raises
    ------
    DataError
        If the tables cannot be planned.
    UnsoundPlanError
        If the checker found a broken rule.
    """
    with clock.phase("build"):
        problem = prepare(snapshot.problem(now))
    with clock.phase("solve"):
        plan = plan_with(problem, parameters, callback=callback)
    with clock.phase("check"):
        broken = violations(problem, plan.sends, one_a_day=parameters.one_a_day)
    if len(broken):
        first = broken.iloc[0]
        raise UnsoundPlanError(
            f"The plan breaks hard rules ({counted(len(broken), 'violation')}) and was not stored."
            f" First: {first['rule']}, step {first['step_id']} of enrollment"
            f" {first['enrollment_id']}: {first['detail']}."
            " This is a bug of sendplan; please report it with the tables."
        )
    return problem, plan


def retried(attempt: Callable[[], Result], attempts: int, remedy: str, report: Report) -> Result:
    """Call an attempt, again whenever changes overtake it; return its result.

    Parameters
    ----------
    attempt : callable
        Plans from a new snapshot, and publishes.
    attempts : int
        How often it is called at most.
    remedy : str
        Ends the message when all attempts were overtaken.
    report : callable
        Called before each further attempt.

    Raises
    ------
    OvertakenError
        If every attempt was overtaken.
    """
    for number in count(1):
        try:
            return attempt()
        except OvertakenError as error:
            if number == attempts:
                raise OvertakenError(
                    f"{error} This happened {counted(attempts, 'time')} in a row. {remedy}".rstrip()
                ) from error
            report("Planning again: the tables have changed")
    raise AssertionError("an attempt returns or raises")
