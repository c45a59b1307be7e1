"""Whole plans side by side: processes that are given their problems once."""

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

_given: list[Any] = []
"""What this process works on, if it is one of the workers."""


class StudyWorkers(Generic[Subject]):
    """Who works on some subjects, each named by its number."""

    def __init__(self, executor: Executor | None, subjects: Sequence[Subject], own: bool) -> None:
        self._executor, self._subjects, self._own = executor, subjects, own

    def done(
        self, task: Callable[..., Result], jobs: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Result]]:
        """Have a task done many times, and give what comes of it as soon as it has.

        If one fails, or nobody waits any more, the others are called off.

        Parameters
        ----------
        task : callable
            What to do.
        jobs : iterable of tuples
            The number of a subject, and what the task takes besides.

        Yields
        ------
        tuple of int and result
            The place of the job, and what came of it.
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

    def in_order(
        self, task: Callable[..., Result], jobs: Iterable[tuple[Any, ...]]
    ) -> list[Result]:
        """Return the same in the order of the jobs, once all are done."""
        return [result for _, result in sorted(self.done(task, jobs), key=itemgetter(0))]

    def _submitted(
        self, task: Callable[..., Result], number: int, *arguments: Any
    ) -> Future[Result]:
        assert self._executor is not None
        if self._own:
            on_given: Callable[..., Result] = _on_given
            return self._executor.submit(on_given, number, task, *arguments)
        return self._executor.submit(task, self._subjects[number], *arguments)


@contextmanager
def study_workers(
    executor: Executor | None, workers: int, subjects: Sequence[Subject]
) -> Iterator[StudyWorkers[Subject]]:
    """Call together who works, and send them home afterwards.

    Parameters
    ----------
    executor : Executor or None
        Who works; None for processes of our own.
    workers : int
        How many processes; with 1 everything happens in this one, job by job as it is asked for.
    subjects : sequence
        What is worked on: each process gets all of it once, and only numbers from then on.

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
    # Where processes can be forked, what is worked on need not be copied at all.
    way = "fork" if sys.platform == "linux" else "spawn"
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context(way),
        initializer=_be_given,
        initargs=(list(subjects),),
    )
    try:
        yield StudyWorkers(pool, subjects, own=True)
    finally:
        pool.shutdown(cancel_futures=True)


def _be_given(subjects: list[Any]) -> None:
    _given[:] = subjects


def _on_given(number: int, task: Callable[..., Result], *arguments: Any) -> Result:
    return task(_given[number], *arguments)
