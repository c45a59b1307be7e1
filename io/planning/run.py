"""Runs of the planner on a database: what one is, how long its phases take, who looks on."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sendplan.io.errors import SendplanError
from sendplan.io.publish.run_records import Published
from sendplan.io.snapshot.load import Snapshot
from sendplan.io.snapshot.set_aside import UnusableValue, to_json
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.plan.checker import violations
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.summary import Summary
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.vocabulary import Termination
from sendplan.planner.solver import plan_with

SAFETY = 2.0
SAFETY_MARGIN = 10.0
"""When the wall clock stops an improvement: so many times its time limit, and so many seconds.

A machine that is not overloaded comes nowhere near it.
"""

PHASES = ("load", "build", "solve", "check", "store")
Report = Callable[[str], None]


class UnsoundPlanError(SendplanError):
    """The checker found a broken rule in a plan before it was stored."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    summary : Summary
        What was planned, in figures.
    published : Published or None
        What was written; None for a dry run.
    seconds : dict of float
        By phase, and in total.
    plan : Plan or None
        The plan itself; None where it was made part by part.
    discarded : bool
        Whether the plan was interrupted, and not to be kept.
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
        totals, published = self.summary.totals, self.published
        finish_day = totals["finish_day"]
        return {
            "run_id": published.run_id if published else None,
            "method": totals["method"],
            "status": totals["status"],
            "as_of": self.summary.as_of.isoformat(),
            "horizon_end": totals["horizon_end"].isoformat(),
            "emails": totals["emails"],
            "unplaced": totals["unplaced"],
            "blocked": totals["blocked"],
            "cost": totals["cost"],
            "lower_bound": totals["lower_bound"],
            "gap": totals["gap"],
            "stopped": self.summary.stopped,
            "late_follow_ups": totals["late_follow_ups"],
            "slip_days": totals["slip_days"],
            "finish_day": finish_day.isoformat() if finish_day else None,
            "moved": totals["moved"],
            "unavoidable": totals["unavoidable"],
            "rows_changed": published.rows_changed if published else 0,
            "skipped": published.skipped if published else 0,
            "seconds": {phase: round(spent, 3) for phase, spent in self.seconds.items()},
            **to_json(self.set_aside),
        }


class Clock:
    """Seconds by phase, telling the reader which one begins.

    Parameters
    ----------
    report : callable
        Told the name of each phase.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.begun = self.last = time.perf_counter()

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self.report(phase)
        self.last = time.perf_counter()

    def leave(self, phase: str) -> None:
        """End a phase."""
        self.seconds[phase] += time.perf_counter() - self.last

    def total(self) -> dict[str, float]:
        """Return the seconds so far."""
        return self.seconds | {"total": time.perf_counter() - self.begun}


class WallClock:
    """Keeps the steps of an improvement, and an eye on the wall clock.

    Parameters
    ----------
    parameters : Parameters
        With the time limit.
    progress : callable
        Told of each step.
    """

    def __init__(self, parameters: Parameters, progress: Callable[[SearchProgress], None]) -> None:
        self.progress = progress
        self.steps: list[dict[str, Any]] = []
        self.begun: float | None = None
        self.longest = SAFETY * parameters.time_limit + SAFETY_MARGIN

    def report(self, progress: SearchProgress) -> None:
        """Keep a step."""
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
        """Say whether it takes too long."""
        late = self.begun is not None and time.perf_counter() - self.begun > self.longest
        return Termination.WALL_CLOCK if late else None


def planned(
    snapshot: Snapshot,
    now: dt.datetime,
    parameters: Parameters,
    clock: Clock,
    watch: WallClock,
    prepare: Callable[[Problem], Problem] = lambda problem: problem,
) -> tuple[Problem, Plan]:
    """Plan a snapshot, and check the plan.

    Parameters
    ----------
    snapshot : Snapshot
        What to plan.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        How to plan.
    clock, watch
        Who looks on.
    prepare : callable
        What is done to the problem before it is planned.

    Returns
    -------
    problem : Problem
        As planned.
    plan : Plan
        Sound.

    Raises
    ------
    DataError
        If the tables hold what cannot be planned.
    UnsoundPlanError
        If the checker found a broken rule.
    """
    clock.enter("build")
    problem = prepare(snapshot.problem(now))
    clock.leave("build")
    clock.enter("solve")
    plan = plan_with(problem, parameters, callback=watch)
    clock.leave("solve")
    clock.enter("check")
    broken = violations(problem, plan.sends, one_a_day=parameters.one_a_day)
    clock.leave("check")
    if len(broken):
        first = broken.iloc[0]
        raise UnsoundPlanError(
            f"The plan breaks {len(broken)} rules and was not stored; the first: {first['rule']},"
            f" step {first['step_id']} of enrollment {first['enrollment_id']}: {first['detail']}."
            " This is a fault of sendplan; please report it with the tables."
        )
    return problem, plan
