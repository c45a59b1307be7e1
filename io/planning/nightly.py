"""The nightly run: snapshot, plan, check, publish."""

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict

from sqlalchemy import Engine

from sendplan.io.errors import SendplanError
from sendplan.io.planning.executors import Workplace, processes
from sendplan.io.planning.partitioned_run import plan_in_parts
from sendplan.io.planning.run import Clock, Report, Run, WallClock, planned
from sendplan.io.publish.planner_lock import PlannerSession, planner_lock
from sendplan.io.publish.run_records import OvertakenError, RunRecord
from sendplan.io.publish.store import store, tidy
from sendplan.io.snapshot.load import Snapshot, load
from sendplan.io.snapshot.partition import PART_SIZE, divide
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination

ATTEMPTS = 4
"""How often a run starts over when what it planned from has changed under it."""


class PartsStayError(SendplanError):
    """What an interrupted run in parts has published cannot be discarded, as was asked for."""

    exit_code = 2


def run_plan(
    engine: Engine,
    now: dt.datetime,
    parameters: Parameters,
    *,
    dry_run: bool = False,
    workplace: Workplace | None = None,
    part_size: int = PART_SIZE,
    report: Report = lambda phase: None,
    progress: Callable[[SearchProgress], None] = lambda step: None,
    done: Callable[[int, int], None] = lambda done, total: None,
    keep: Callable[[Plan], bool] = lambda plan: False,
    revocable: bool = False,
) -> Run:
    """Plan the pending work of a database and publish the plan.

    What is more than one part is planned part by part (`sendplan.io.snapshot.partition`), by as
    many processes as there are workers, and published likewise.

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
    workplace : Workplace, optional
        Who plans the parts instead; then even a single one.
    part_size : int
        Active enrollments up to which components are planned together.
    report : callable
        Told the name of each phase as it begins.
    progress : callable
        Told how far the plan has come, if it is made at once.
    done : callable
        Told how many parts are done, and of how many, if it is made part by part.
    keep : callable
        Asked whether a plan that Ctrl-C has interrupted is to be stored; parts that have been
        published are.
    revocable : bool
        Whether it is a condition that an interrupted run leaves nothing behind, which rules parts
        out.

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
    PartsStayError
        If the work is planned in parts, and was to be revocable; nothing was planned.
    PartsMissingError
        If only some parts could be planned; these are published.
    ExecutorError
        If those who plan the parts cannot be reached.
    LockLostError
        If the session that holds the planner's lock has ended; nothing was written since.
    DatabaseError
        If the database failed; nothing was written but whole parts.
    """
    clock = Clock(report)
    with nullcontext() if dry_run else planner_lock(engine) as session:
        partition = divide(engine, part_size)
        if workplace is None and len(partition.parts) > 1:
            workplace = processes(min(parameters.workers, len(partition.parts)))
        if workplace is not None:
            if revocable and not dry_run:
                raise PartsStayError(
                    f"{len(partition.parts)} parts are each stored as soon as they are planned, so"
                    " that Ctrl-C cannot discard them: leave out --on-interrupt discard, or plan"
                    " all in one part with a larger --part-size and no --executor."
                )
            report("parts")
            return plan_in_parts(
                engine,
                session,
                now,
                parameters,
                partition,
                workplace,
                clock,
                part_size=part_size,
                done=done,
            )
        watch = WallClock(parameters, progress)
        if session is None:
            snapshot = _loaded(engine, now, clock)
            _, plan = planned(snapshot, now, parameters, clock, watch)
            aside = snapshot.set_aside.values
            return Run(plan.summary(), None, clock.total(), plan, set_aside=aside)
        return _at_once(engine, session, now, parameters, clock, progress, keep)


def _at_once(
    engine: Engine,
    session: PlannerSession,
    now: dt.datetime,
    parameters: Parameters,
    clock: Clock,
    progress: Callable[[SearchProgress], None],
    keep: Callable[[Plan], bool],
) -> Run:
    """Plan everything as one, and publish it in one transaction."""
    started_at = dt.datetime.now(dt.UTC)
    for attempt in range(1, ATTEMPTS + 1):
        watch = WallClock(parameters, progress)
        snapshot = _loaded(engine, now, clock)
        problem, plan = planned(snapshot, now, parameters, clock, watch)
        aside = snapshot.set_aside.values
        if plan.stopped == Termination.INTERRUPTED and not keep(plan):
            total = clock.total()
            return Run(plan.summary(), None, total, plan, discarded=True, set_aside=aside)
        clock.enter("store")
        try:
            record = RunRecord("plan", started_at, asdict(parameters), clock.seconds, watch.steps)
            published = store(session.proven(), snapshot, problem, plan, record)
            tidy(engine, published)
        except OvertakenError as error:
            if attempt == ATTEMPTS:
                raise OvertakenError(
                    f"{error} This happened {ATTEMPTS} times in a row; nothing was written."
                    " Plan again when the database is quieter."
                ) from error
            clock.report("again, since the tables changed meanwhile")
            continue
        finally:
            clock.leave("store")
        return Run(plan.summary(), published, clock.total(), plan, set_aside=aside)
    raise AssertionError("the last attempt returns or raises")


def _loaded(engine: Engine, now: dt.datetime, clock: Clock) -> Snapshot:
    clock.enter("load")
    snapshot = load(engine, now)
    clock.leave("load")
    return snapshot
