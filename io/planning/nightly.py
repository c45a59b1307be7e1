"""The nightly run: snapshot, plan, check, publish."""

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace

from sqlalchemy import Engine

from sendplan.io.errors import SendplanError
from sendplan.io.planning.executors import Workplace, processes
from sendplan.io.planning.partitioned_run import plan_in_parts
from sendplan.io.planning.run import Clock, Report, Run, WallClock, planned, retried
from sendplan.io.publish.planner_lock import planner_lock
from sendplan.io.publish.run_records import RunRecord
from sendplan.io.publish.store import store, tidy
from sendplan.io.snapshot.load import load
from sendplan.io.snapshot.partition import PART_SIZE, divide
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Termination
from sendplan.planner.schema.wording import counted

ATTEMPTS = 4
"""How often a run is tried when changes overtake it."""


class PartsStayError(SendplanError):
    """Parts are published as soon as they are planned, so Ctrl-C cannot discard them."""

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
    """Plan the pending emails of a database and publish the plan.

    A database of several parts is planned and published part by part
    (`sendplan.io.snapshot.partition`), by as many processes as there are workers.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        Planning parameters.
    dry_run : bool
        Plan and check, but write nothing.
    workplace : Workplace, optional
        Plans the parts instead, even a single one.
    part_size : int
        Active enrollments up to which components are planned together.
    report : callable
        Called with the name of each phase as it begins.
    progress : callable
        Called with each step of the search, unless planned part by part.
    done : callable
        Called with the number of parts that are done, and of all parts.
    keep : callable
        Decides whether to store a plan that Ctrl-C has interrupted; published parts stay.
    revocable : bool
        Whether an interrupted run must be discarded whole, which rules parts out.

    Returns
    -------
    Run
        The plan and what was written.

    Raises
    ------
    PlannerBusyError
        If another planner is running.
    DataError
        If the tables cannot be planned.
    UnsoundPlanError
        If the checker found a broken rule; nothing was written.
    OvertakenError
        If the tables changed under every attempt; nothing was written.
    PartsStayError
        If the database is planned in parts, but `revocable`; nothing was planned.
    PartsMissingError
        If only some parts could be planned; these are published.
    ExecutorError
        If the executor cannot be reached.
    LockLostError
        If the session with the planner's lock has ended; nothing was written since.
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
                    f"Ctrl-C cannot discard a plan in {counted(len(partition.parts), 'part')}: each"
                    " part is stored as soon as it is planned. Leave out --on-interrupt discard, or"
                    " plan a single part: raise --part-size and leave out --executor."
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
        started_at = dt.datetime.now(dt.UTC)

        def attempt() -> Run:
            callback = WallClock(parameters, progress)
            with clock.phase("load"):
                snapshot = load(engine, now)
            problem, plan = planned(snapshot, now, parameters, clock, callback)
            run = Run(plan.summary(), None, {}, plan, set_aside=snapshot.set_aside.values)
            if session is None:
                return replace(run, seconds=clock.total())
            if plan.stopped == Termination.INTERRUPTED and not keep(plan):
                return replace(run, seconds=clock.total(), discarded=True)
            how = asdict(parameters)
            record = RunRecord("plan", started_at, how, clock.seconds, callback.steps)
            with clock.phase("store"):
                published = store(session.proven(), snapshot, problem, plan, record)
                tidy(engine, published)
            return replace(run, published=published, seconds=clock.total())

        remedy = "Nothing was written. Plan again when the database is less busy."
        return retried(attempt, ATTEMPTS, remedy, report)
