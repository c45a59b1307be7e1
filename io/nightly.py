"""The nightly run: snapshot, plan, check, publish."""

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine

from sendplan.io.errors import SendplanError
from sendplan.io.load import Snapshot, load
from sendplan.io.store import OvertakenError, Published, planner_lock, store
from sendplan.planner.crew import Progress
from sendplan.planner.parameters import Parameters
from sendplan.planner.plan import Plan
from sendplan.planner.problem import Problem
from sendplan.planner.solver import plan_with
from sendplan.planner.verify import violations
from sendplan.planner.vocabulary import Stop

SAFETY = 2.0
SAFETY_MARGIN = 10.0
"""When the wall clock stops an improvement: so many times its time limit, and so many seconds.

A machine that is not overloaded comes nowhere near it.
"""

ATTEMPTS = 4
"""How often a run starts over when what it planned from has changed under it."""

PHASES = ("load", "build", "solve", "check", "store")
Report = Callable[[str], None]


class UnsoundPlanError(SendplanError):
    """The checker found a broken rule in a plan before it was stored."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    plan : Plan
        What was planned.
    published : Published or None
        What was written; None for a dry run.
    seconds : dict of float
        By phase, and in total.
    discarded : bool
        Whether the plan was interrupted, and not to be kept.
    """

    plan: Plan
    published: Published | None
    seconds: dict[str, float]
    discarded: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``plan --json`` prints (SPEC §7)."""
        plan, published = self.plan, self.published
        return {
            "run_id": published.run_id if published else None,
            "method": plan.method,
            "status": plan.status,
            "as_of": plan.as_of.isoformat(),
            "horizon_end": plan.horizon_end.isoformat(),
            "emails": len(plan.sends),
            "unplaced": len(plan.unplaced),
            "blocked": plan.blocked,
            "cost": plan.cost,
            "lower_bound": plan.lower_bound,
            "gap": plan.gap,
            "stopped": plan.stopped,
            "late_follow_ups": plan.late_follow_ups,
            "slip_days": plan.slip_days,
            "finish_day": plan.finish_day.isoformat() if plan.finish_day else None,
            "moved": plan.moved,
            "rows_changed": published.rows_changed if published else 0,
            "skipped": published.skipped if published else 0,
            "seconds": {phase: round(spent, 3) for phase, spent in self.seconds.items()},
        }


class _Clock:
    """Seconds by phase, telling the reader which one begins."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.begun = self.last = time.perf_counter()

    def enter(self, phase: str) -> None:
        self.report(phase)
        self.last = time.perf_counter()

    def leave(self, phase: str) -> None:
        self.seconds[phase] += time.perf_counter() - self.last

    def total(self) -> dict[str, float]:
        return self.seconds | {"total": time.perf_counter() - self.begun}


def run_plan(
    engine: Engine,
    now: dt.datetime,
    parameters: Parameters,
    *,
    dry_run: bool = False,
    report: Report = lambda phase: None,
    progress: Callable[[Progress], None] = lambda step: None,
    keep: Callable[[Plan], bool] = lambda plan: False,
) -> Run:
    """Plan the pending work of a database and publish the plan.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        How to plan.
    dry_run : bool
        Plan and check, but write nothing.
    report : callable
        Told the name of each phase as it begins.
    progress : callable
        Told how far the plan has come.
    keep : callable
        Asked whether a plan that Ctrl-C has interrupted is to be stored.

    Returns
    -------
    Run
        The plan and what was written.

    Raises
    ------
    PlannerBusyError
        If another planner is at work.
    DataError
        If the tables hold what cannot be planned.
    UnsoundPlanError
        If the checker found a broken rule; nothing was written.
    OvertakenError
        If the tables changed under every attempt; nothing was written.
    DatabaseError
        If the database failed; nothing was written.
    """
    clock = _Clock(report)
    started_at = dt.datetime.now(dt.UTC)
    if dry_run:
        _, _, plan = _planned(engine, now, parameters, clock, _Watch(parameters, progress))
        return Run(plan, None, clock.total())
    with planner_lock(engine):
        for attempt in range(1, ATTEMPTS + 1):
            watch = _Watch(parameters, progress)
            snapshot, problem, plan = _planned(engine, now, parameters, clock, watch)
            if plan.stopped == Stop.INTERRUPTED and not keep(plan):
                return Run(plan, None, clock.total(), discarded=True)
            clock.enter("store")
            try:
                published = store(
                    engine,
                    snapshot,
                    problem,
                    plan,
                    started_at=started_at,
                    parameters=asdict(parameters),
                    seconds=clock.seconds,
                    progress=watch.steps,
                )
            except OvertakenError as error:
                if attempt == ATTEMPTS:
                    raise OvertakenError(
                        f"{error} This happened {ATTEMPTS} times in a row; nothing was written."
                        " Plan again when the database is quieter."
                    ) from error
                report("again, since the tables changed meanwhile")
                continue
            finally:
                clock.leave("store")
            return Run(plan, published, clock.total())
    raise AssertionError("the last attempt returns or raises")


class _Watch:
    """Keeps the steps of an improvement, and an eye on the wall clock."""

    def __init__(self, parameters: Parameters, progress: Callable[[Progress], None]) -> None:
        self.progress = progress
        self.steps: list[dict[str, Any]] = []
        self.begun: float | None = None
        self.longest = SAFETY * parameters.time_limit + SAFETY_MARGIN

    def report(self, progress: Progress) -> None:
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

    def stop(self) -> Stop | None:
        late = self.begun is not None and time.perf_counter() - self.begun > self.longest
        return Stop.WALL_CLOCK if late else None


def _planned(
    engine: Engine, now: dt.datetime, parameters: Parameters, clock: _Clock, watch: _Watch
) -> tuple[Snapshot, Problem, Plan]:
    clock.enter("load")
    snapshot = load(engine, now)
    clock.leave("load")
    clock.enter("build")
    problem = snapshot.problem(now)
    clock.leave("build")
    clock.enter("solve")
    plan = plan_with(problem, parameters, watch=watch)
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
    return snapshot, problem, plan
