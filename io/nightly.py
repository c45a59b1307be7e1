"""The nightly run: snapshot, plan, check, publish."""

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import Engine

from sendplan.io.load import Snapshot, load
from sendplan.io.planner_lock import planner_lock
from sendplan.io.running import Clock, Report, Run, WallClock, planned
from sendplan.io.store import OvertakenError, RunRecord, store
from sendplan.planner.crew import Progress
from sendplan.planner.parameters import Parameters
from sendplan.planner.plan import Plan
from sendplan.planner.vocabulary import Stop

ATTEMPTS = 4
"""How often a run starts over when what it planned from has changed under it."""


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
    clock = Clock(report)
    started_at = dt.datetime.now(dt.UTC)
    if dry_run:
        snapshot = _loaded(engine, now, clock)
        _, plan = planned(snapshot, now, parameters, clock, WallClock(parameters, progress))
        return Run(plan, None, clock.total())
    with planner_lock(engine):
        for attempt in range(1, ATTEMPTS + 1):
            watch = WallClock(parameters, progress)
            snapshot = _loaded(engine, now, clock)
            problem, plan = planned(snapshot, now, parameters, clock, watch)
            if plan.stopped == Stop.INTERRUPTED and not keep(plan):
                return Run(plan, None, clock.total(), discarded=True)
            clock.enter("store")
            try:
                record = RunRecord(
                    "plan", started_at, asdict(parameters), clock.seconds, watch.steps
                )
                published = store(engine, snapshot, problem, plan, record)
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


def _loaded(engine: Engine, now: dt.datetime, clock: Clock) -> Snapshot:
    clock.enter("load")
    snapshot = load(engine, now)
    clock.leave("load")
    return snapshot
