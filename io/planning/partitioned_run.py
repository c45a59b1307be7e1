"""Runs planned part by part: the coordinator moves ids and figures only."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import asdict, replace

from sqlalchemy import Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import SendplanError
from sendplan.io.planning.executors import ExecutorError, Workplace, is_lost
from sendplan.io.planning.part_planning import PartJob, PlannedPart, installation_of, plan_part
from sendplan.io.planning.run import Clock, Run
from sendplan.io.publish.run_records import (
    Published,
    RunRecord,
    abandon_run,
    close_run,
    enter_figures,
    open_run,
)
from sendplan.io.publish.store import tidy
from sendplan.io.snapshot.partition import Division, Part
from sendplan.io.snapshot.requests import clear_requests
from sendplan.planner.plan.summary import joined
from sendplan.planner.problem.parameters import Parameters

ROUNDS = 4
"""How often parts are submitted when their workers are lost."""


class PartsMissingError(SendplanError):
    """Some parts of a run could not be planned; the others have been published."""


def plan_in_parts(
    engine: Engine,
    now: dt.datetime,
    parameters: Parameters,
    division: Division,
    workplace: Workplace,
    clock: Clock,
    *,
    dry_run: bool,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> Run:
    """Plan and publish parts, and join their figures.

    Each part is published whole or not at all, as soon as it is planned. A part whose worker is
    lost is submitted again; one that had been published already is not planned twice.

    Parameters
    ----------
    engine : Engine
        The database. The caller holds the planner's lock, except for a dry run.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        Planning parameters. The time limit is divided in proportion to enrollments, so that the
        plan does not depend on the number of workers.
    division : Division
        The parts.
    workplace : Workplace
        Where they are planned.
    clock : Clock
        The clock of the run.
    dry_run : bool
        Plan and check, but write nothing.
    done : callable
        Called with the number of parts that are done, and of all parts.

    Returns
    -------
    Run
        In figures. The seconds of its phases are sums over the parts.

    Raises
    ------
    PartsMissingError
        If parts could not be planned; the message says why. If nothing was published, the error of
        the first part instead.
    ExecutorError
        If the executor cannot be reached.
    DatabaseError
        If the database failed.
    """
    record = RunRecord("plan", dt.datetime.now(dt.UTC), asdict(parameters), clock.seconds)
    # Local processes get the password too, over a pipe; others have their own way.
    url = engine.url.render_as_string(hide_password=False) if workplace.near else None
    total = sum(part.enrollments for part in division.parts)
    installation = installation_of(engine)
    run_id = None
    if not dry_run:
        with translated_errors("opening the run"), engine.begin() as connection:
            run_id = open_run(connection, record, now)
    shares = [_share(parameters, part, total) for part in division.parts]
    jobs = [
        PartJob(part, run_id, now, share, installation, division.strays, url)
        for part, share in zip(division.parts, shares, strict=True)
    ]
    try:
        found = _all_planned(jobs, workplace, done)
        summary = joined([part.summary for part in found])
        for part in found:
            for phase, seconds in part.seconds.items():
                clock.seconds[phase] += seconds
        if run_id is None:
            return Run(summary, None, clock.total())
        written = [part.published for part in found if part.published]
        rows_changed = sum(each.rows_changed for each in written)
        published = Published(run_id, rows_changed, sum(each.skipped for each in written))
        with translated_errors("closing the run"), engine.begin() as connection:
            enter_figures(connection, run_id, summary)
            clear_requests(connection, division.requests.ids)
            close_run(connection, published, clock.seconds, finished=True)
    except BaseException:
        if run_id is not None:
            with translated_errors("giving the run up"), engine.begin() as connection:
                abandon_run(connection, run_id, clock.seconds)
        raise
    tidy(engine, published)
    return Run(summary, published, clock.total())


def _share(parameters: Parameters, part: Part, total: int) -> Parameters:
    share = part.enrollments / total if total else 1.0
    return replace(parameters, time_limit=parameters.time_limit * share, workers=1)


def _all_planned(
    jobs: Sequence[PartJob], workplace: Workplace, done: Callable[[int, int], None]
) -> list[PlannedPart]:
    """Submit parts until all are planned; return them in their order."""
    found: dict[int, PlannedPart] = {}
    failed: dict[int, SendplanError] = {}
    waiting = list(jobs)
    for _ in range(ROUNDS):
        lost: dict[int, Exception] = {}
        with workplace.open() as executor:
            try:
                for number, future in _submitted(executor, waiting):
                    try:
                        found[number] = future.result()
                    except SendplanError as error:
                        failed[number] = error
                    except Exception as error:
                        if not is_lost(error):
                            raise
                        lost[number] = error
                    done(len(found), len(jobs))
            except KeyboardInterrupt:
                raise PartsMissingError(
                    f"Interrupted: {len(found)} of {len(jobs)} parts are planned, and workers end"
                    " what they have begun. The other parts stay as they were."
                ) from None
        waiting = [job for job in waiting if job.part.number in lost]
        if not waiting:
            break
    else:
        raise ExecutorError(
            f"{len(waiting)} of {len(jobs)} parts lost their workers {ROUNDS} times in a row and"
            f" stay as they were; {len(found)} are planned. The last reason:"
            f" {lost[waiting[0].part.number]}"
        )
    if failed:
        _refuse(failed, found, len(jobs))
    return [found[job.part.number] for job in jobs]


def _submitted(
    executor: Executor, jobs: Sequence[PartJob]
) -> Iterator[tuple[int, Future[PlannedPart]]]:
    """Submit parts, and yield each with its number when it is done."""
    numbers: dict[Future[PlannedPart], int] = {}
    for job in jobs:
        try:
            future = executor.submit(plan_part, job)
        except BrokenExecutor as error:
            future = Future()
            future.set_exception(error)
        numbers[future] = job.part.number
    for future in as_completed(numbers):
        yield numbers[future], future


def _refuse(failed: dict[int, SendplanError], found: dict[int, PlannedPart], total: int) -> None:
    first = failed[min(failed)]
    if not any(part.published for part in found.values()):
        raise first
    error = PartsMissingError(
        f"{len(failed)} of {total} parts could not be planned and stay as they were; the others are"
        f" published. The first reason: {first}"
    )
    error.exit_code = first.exit_code
    raise error from first
