"""Whole plans side by side: processes that are given their problems once."""

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from sendplan.planner.errors import MethodError
from sendplan.planner.parameters import MAX_WORKERS

Subject = TypeVar("Subject")
Result = TypeVar("Result")
Rest = ParamSpec("Rest")

_given: list[Any] = []
"""What this process works on, if it is one of the workers."""


class StudyWorkers(Generic[Subject]):
    """Who works on some subjects, each named by its number."""

    def __init__(self, executor: Executor | None, subjects: Sequence[Subject], own: bool) -> None:
        self._executor, self._subjects, self._own = executor, subjects, own

    def submit(
        self,
        number: int,
        task: Callable[Concatenate[Subject, Rest], Result],
        /,
        *arguments: Rest.args,
        **keywords: Rest.kwargs,
    ) -> Future[Result]:
        """Have a task done on one of the subjects."""
        if self._executor is None:
            future: Future[Result] = Future()
            future.set_result(task(self._subjects[number], *arguments, **keywords))
            return future
        if self._own:
            on_given: Callable[..., Result] = _on_given
            return self._executor.submit(on_given, number, task, *arguments, **keywords)
        return self._executor.submit(task, self._subjects[number], *arguments, **keywords)


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
        How many processes; with 1 everything happens in this one, task by task as it is given.
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


def at_work(futures: Iterable[Future[Result]]) -> Iterator[Future[Result]]:
    """Give tasks as they end; if one fails, or nobody waits any more, call the others off."""
    waiting = list(futures)
    try:
        yield from as_completed(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _be_given(subjects: list[Any]) -> None:
    _given[:] = subjects


def _on_given(number: int, task: Callable[..., Result], *arguments: Any, **keywords: Any) -> Result:
    return task(_given[number], *arguments, **keywords)
