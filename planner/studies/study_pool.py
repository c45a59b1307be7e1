"""Whole plans side by side: processes that get their subjects once."""

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Generic, TypeVar

from sendplan.planner.problem.parameters import MAX_WORKERS
from sendplan.planner.schema.errors import MethodError

Subject = TypeVar("Subject")
Result = TypeVar("Result")

_subjects: list[Any] = []
"""The subjects of this process, if it is one of the workers."""


class StudyWorkers(Generic[Subject]):
    """Runs tasks on subjects, each given by its number."""

    def __init__(self, executor: Executor | None, subjects: Sequence[Subject], own: bool) -> None:
        self._executor, self._subjects, self._own = executor, subjects, own

    def as_completed(
        self, task: Callable[..., Result], jobs: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        """Run a task many times, and give each result as soon as it is there.

        If one run fails, or the caller stops early, the others are cancelled.

        Parameters
        ----------
        task : callable
            Takes a subject and further arguments.
        jobs : iterable of tuples
            The number of a subject, and the further arguments.

        Yields
        ------
        tuple of int and result
            The index of the job, and its result.
        """
        if self._executor is None:
            for place, (number, *arguments) in enumerate(jobs):
                yield place, task(self._subjects[number], *arguments)
            return
        places = {self._submitted(task, *job): place for place, job in enumerate(jobs)}
        try:
            for future in as_completed(places):
                yield places[future], future.result()
        finally:
            for future in places:
                future.cancel()

    def map(self, task: Callable[..., Result], jobs: Iterable[tuple[Any, ...]]) -> list[Result]:
        """Return the results in the order of the jobs, once all are done."""
        return [result for _, result in sorted(self.as_completed(task, jobs), key=itemgetter(0))]

    def _submitted(
        self, task: Callable[..., Result], number: int, *arguments: Any
    ) -> Future[Result]:
        assert self._executor is not None
        if self._own:
            return self._executor.submit(_run, number, task, *arguments)
        return self._executor.submit(task, self._subjects[number], *arguments)


@contextmanager
def study_workers(
    executor: Executor | None, workers: int, subjects: Sequence[Subject]
) -> Iterator[StudyWorkers[Subject]]:
    """Open workers, and shut them down afterwards.

    Parameters
    ----------
    executor : Executor or None
        Runs the tasks; None for processes of their own.
    workers : int
        Number of these processes; with 1 everything runs in this one, job by job.
    subjects : sequence
        Each process gets them all once, and then only their numbers.

    Raises
    ------
    MethodError
        If the number of workers is out of range.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise MethodError(f"workers is {workers}; it must lie between 1 and {MAX_WORKERS}")
    if executor is not None or workers == 1:
        yield StudyWorkers(executor, subjects, own=False)
        return
    # Forked processes share the subjects without a copy.
    method = "fork" if sys.platform == "linux" else "spawn"
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context(method),
        initializer=_initialise,
        initargs=(list(subjects),),
    )
    try:
        yield StudyWorkers(pool, subjects, own=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _initialise(subjects: list[Any]) -> None:
    _subjects[:] = subjects


def _run(number: int, task: Callable[..., Result], *arguments: Any) -> Result:
    return task(_subjects[number], *arguments)
