"""Runs planned part by part: the coordinator moves ids and figures only."""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import asdict, replace

from sqlalchemy import Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import SendplanError
from sendplan.io.planning.executors import ExecutorError, Workplace, is_lost
from sendplan.io.planning.part_planning import (
    PartitionChangedError,
    PartJob,
    PlannedPart,
    installation_of,
    plan_part,
)
from sendplan.io.planning.run import Clock, Run
from sendplan.io.publish.planner_lock import PlannerSession
from sendplan.io.publish.run_records import (
    Published,
    RunRecord,
    abandon_run,
    close_run,
    enter_figures,
    enter_parts,
    open_run,
)
from sendplan.io.publish.store import tidy
from sendplan.io.snapshot.partition import PART_SIZE, Part, Partition, divide_again
from sendplan.io.snapshot.requests import clear_requests
from sendplan.io.snapshot.set_aside import find_unusable
from sendplan.planner.plan.summary import merge_summaries
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.wording import counted

ROUNDS = 4
"""How often parts are submitted when their workers are lost."""

DIVISIONS = 4
"""How often parts are formed again when links or enrollments change during the run."""

Done = Callable[[int, int], None]


class PartsMissingError(SendplanError):
    """Some parts of a run could not be planned; the others have been published."""


def plan_in_parts(
    engine: Engine,
    session: PlannerSession | None,
    now: dt.datetime,
    parameters: Parameters,
    partition: Partition,
    workplace: Workplace,
    clock: Clock,
    *,
    part_size: int = PART_SIZE,
    done: Done = lambda done, total: None,
) -> Run:
    """Plan and publish parts, and join their figures.

    Each part is published whole or not at all, as soon as it is planned. A part whose worker is
    lost is submitted again; one that had been published already is not planned twice. Parts that
    come to share mailboxes or contacts are merged, and planned again.

    After the first Ctrl-C workers finish their parts, the second one ends them.

    Parameters
    ----------
    engine : Engine
        The database.
    session : PlannerSession or None
        The session with the planner's lock; None for a dry run, which writes nothing.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        Planning parameters. The time limit is divided in proportion to enrollments, so that the
        plan does not depend on the number of workers.
    partition : Partition
        The parts.
    workplace : Workplace
        Where they are planned.
    clock : Clock
        The clock of the run.
    part_size : int
        Active enrollments of a part that is formed again.
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
    LockLostError
        If the session with the planner's lock has ended; no part was published since.
    DatabaseError
        If the database failed.
    """
    started_at = dt.datetime.now(dt.UTC)
    how = asdict(parameters) | {"parts": len(partition.parts)}
    # Local processes get the password too, over a pipe; others read `DATABASE_VARIABLE`.
    url = engine.url.render_as_string(hide_password=False) if workplace.near else None
    total = sum(part.enrollments for part in partition.parts)
    installation = installation_of(engine)
    with translated_errors("looking for unusable values"), engine.connect() as connection:
        aside = find_unusable(connection).values
    run_id = None
    if session is not None:
        record = RunRecord("plan", started_at, how, clock.seconds)
        connection = session.proven()
        with translated_errors("opening the run"), connection.begin():
            run_id = open_run(connection, record, now)

    def jobs(partition: Partition) -> list[PartJob]:
        return [
            PartJob(
                part,
                run_id,
                now,
                _share(parameters, part, total),
                installation,
                partition.strays,
                url,
                None if session is None else session.pid,
            )
            for part in partition.parts
        ]

    parts = _Parts(jobs(partition), workplace, clock, done)
    try:
        parts.plan()
        for _ in range(DIVISIONS):
            if not parts.changed:
                break
            clock.report("Planning some parts again: their links or enrollments have changed")
            known = [job.part for job in parts.jobs]
            formed = divide_again(engine, part_size, known, parts.changed)
            if run_id is not None:
                with translated_errors("opening the run"), engine.begin() as connection:
                    enter_parts(connection, run_id, max(part.number for part in formed.parts))
            parts.replace(jobs(formed))
            parts.plan()
        parts.refuse_failed()
        found = [parts.found[job.part.number] for job in parts.jobs]
        summary = merge_summaries([part.summary for part in found])
        for part in found:
            for phase, seconds in part.seconds.items():
                clock.seconds[phase] += seconds
        if session is None or run_id is None:
            return Run(summary, None, clock.total(), set_aside=aside)
        published = Published(
            run_id,
            sum(each.rows_changed for each in parts.written),
            sum(each.skipped for each in parts.written),
        )
        connection = session.proven()
        with translated_errors("closing the run"), connection.begin():
            enter_figures(connection, run_id, summary)
            clear_requests(connection, partition.requests.ids)
            close_run(connection, published, clock.seconds, finished=True)
    except BaseException:
        if run_id is not None:
            with translated_errors("marking the run as unfinished"), engine.begin() as connection:
                abandon_run(connection, run_id, clock.seconds)
        raise
    tidy(engine, published)
    return Run(summary, published, clock.total(), set_aside=aside)


def _share(parameters: Parameters, part: Part, total: int) -> Parameters:
    share = part.enrollments / total if total else 1.0
    return replace(parameters, time_limit=parameters.time_limit * share, workers=1)


class _Parts:
    """The parts of a run, and their results."""

    def __init__(
        self, jobs: Sequence[PartJob], workplace: Workplace, clock: Clock, done: Done
    ) -> None:
        self.jobs = list(jobs)
        self.workplace = workplace
        self.clock = clock
        self.done = done
        self.found: dict[int, PlannedPart] = {}
        self.failed: dict[int, SendplanError] = {}
        self.written: list[Published] = []

    @property
    def changed(self) -> list[Part]:
        """Parts that have come to share mailboxes or contacts with others."""
        failed = {
            number
            for number, error in self.failed.items()
            if isinstance(error, PartitionChangedError)
        }
        return [job.part for job in self.jobs if job.part.number in failed]

    def replace(self, jobs: Sequence[PartJob]) -> None:
        """Replace the changed parts, and all parts that share sequences with the new ones."""
        again = frozenset[int]().union(*(job.part.sequence_ids for job in jobs))
        replaced = {part.number for part in self.changed} | {
            job.part.number for job in self.jobs if job.part.sequence_ids & again
        }
        for number in replaced:
            self.found.pop(number, None)
            self.failed.pop(number, None)
        self.jobs = [job for job in self.jobs if job.part.number not in replaced] + list(jobs)

    def plan(self) -> None:
        """Submit parts until all are planned or refused."""
        lost: dict[int, Exception] = {}
        for _ in range(ROUNDS):
            lost = self._submitted()
            if not lost:
                return
        raise ExecutorError(
            f"The workers of {_of(len(lost), self.jobs)} were lost {ROUNDS} times in a row. Planned"
            f" parts: {len(self.found):,}; the others keep their slots. Last error:"
            f" {lost[min(lost)]}"
        )

    def _submitted(self) -> dict[int, Exception]:
        """Submit the remaining parts; return those whose workers were lost, and why."""
        waiting = [
            job
            for job in self.jobs
            if job.part.number not in self.found and job.part.number not in self.failed
        ]
        lost: dict[int, Exception] = {}
        with self.workplace.open() as executor:
            futures = {}
            try:
                for job in waiting:
                    futures[_submitted(executor, job)] = job.part.number
                for future in as_completed(futures):
                    self._take(futures[future], future, lost)
            except KeyboardInterrupt:
                self._end(executor)
                for future, number in futures.items():
                    if number not in self.found and future.done() and not future.cancelled():
                        self._take(number, future, lost)
                raise PartsMissingError(
                    f"Interrupted: {_of(len(self.found), self.jobs)} planned; the others keep their"
                    " slots."
                ) from None
        return lost

    def _take(self, number: int, future: Future[PlannedPart], lost: dict[int, Exception]) -> None:
        """Take the result of a part."""
        try:
            part = future.result()
        except SendplanError as error:
            self.failed[number] = error
        except Exception as error:
            if not is_lost(error):
                raise
            lost[number] = error
        else:
            self.found[number] = part
            if part.published is not None:
                self.written.append(part.published)
        self.done(len(self.found), len(self.jobs))

    def _end(self, executor: Executor) -> None:
        """Wait for the parts that are being planned; a second Ctrl-C ends them."""
        so_far = f"Interrupted: {_of(len(self.found), self.jobs)} planned"
        if not self.workplace.near:
            self.clock.report(f"{so_far}; parts on other machines are discarded")
            return
        try:
            self.clock.report(
                f"{so_far}; finishing the parts in progress. Ctrl-C again discards them"
            )
            executor.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            self.clock.report("Discarding the parts in progress")
            self.workplace.drop()
            executor.shutdown(cancel_futures=True)

    def refuse_failed(self) -> None:
        """Raise the error of parts that could not be planned, if there are any."""
        if not self.failed:
            return
        first = self.failed[min(self.failed)]
        if not self.written:
            raise first
        error = PartsMissingError(
            f"{_of(len(self.failed), self.jobs)} could not be planned and keep their slots; the"
            f" others are published. First error: {first}"
        )
        error.exit_code = first.exit_code
        raise error from first


def _of(some: int, jobs: Sequence[PartJob]) -> str:
    return f"{some:,} of {counted(len(jobs), 'part')}"


def _submitted(executor: Executor, job: PartJob) -> Future[PlannedPart]:
    try:
        return executor.submit(plan_part, job)
    except BrokenExecutor as error:
        future: Future[PlannedPart] = Future()
        future.set_exception(error)
        return future
