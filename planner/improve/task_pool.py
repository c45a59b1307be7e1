"""The task pool: tasks side by side, with a progress callback that may stop them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.schema.vocabulary import Termination

Result = TypeVar("Result")

POLL = 0.2
"""Seconds between two calls of the progress callback while tasks run."""


@dataclass(frozen=True)
class SearchProgress:
    """Progress of a search.

    Parameters
    ----------
    cost : float
        Cost of the best plan so far.
    lower_bound : float
        Lower bound on the cost of every plan.
    phase : str
        The step that has just ended.
    work : float
        Seconds of work spent, see `sendplan.planner.flow.work_estimates`.
    """

    cost: float
    lower_bound: float
    phase: str
    work: float

    @property
    def gap(self) -> float:
        """Relative gap between the cost and the lower bound."""
        return relative_gap(self.cost, self.lower_bound)


class ProgressCallback(Protocol):
    """What a search calls while it runs."""

    def report(self, progress: SearchProgress) -> None:
        """Take note of the progress."""

    def stop(self) -> Termination | None:
        """Return why the search is to end with the plan so far; None to go on."""


class SilentCallback:
    """A callback that never stops a search."""

    def report(self, progress: SearchProgress) -> None:
        """Ignore the progress."""

    def stop(self) -> Termination | None:
        """Go on."""
        return None


class TaskPool:
    """Tasks on an executor, until the callback or Ctrl-C stops them.

    Parameters
    ----------
    executor : Executor
        Threads, processes or machines; tasks are pure functions of values that can be pickled.
    callback : ProgressCallback
        Asked every `POLL` seconds while tasks run.
    """

    def __init__(self, executor: Executor, callback: ProgressCallback) -> None:
        self.executor = executor
        self.callback = callback
        self.stopped: Termination | None = None

    @classmethod
    @contextmanager
    def open(
        cls, executor: Executor | None, workers: int, callback: ProgressCallback, prefix: str = ""
    ) -> Iterator["TaskPool"]:
        """Open a pool, and shut its threads down afterwards.

        Parameters
        ----------
        executor : Executor or None
            What runs the tasks; None for threads of the pool's own.
        workers : int
            Number of these threads.
        callback : ProgressCallback
            Told of the progress.
        prefix : str
            Prefix of the names of these threads.
        """
        pool = executor or ThreadPoolExecutor(workers, prefix)
        try:
            yield cls(pool, callback)
        finally:
            if executor is None:
                pool.shutdown(wait=False, cancel_futures=True)

    def run(
        self, task: Callable[..., Result], arguments: Sequence[tuple[object, ...]]
    ) -> list[Result | None]:
        """Run a task on many arguments.

        Parameters
        ----------
        task : callable
            A pure function.
        arguments : sequence of tuples
            Arguments of each run.

        Returns
        -------
        list
            Results in the order of the arguments; None for runs that had not ended when the pool
            was stopped.
        """
        if self.stopped is not None:
            return [None] * len(arguments)
        futures: list[Future[Result]] = []
        try:
            futures = [self.executor.submit(task, *each) for each in arguments]
            open_ones = set(futures)
            while open_ones:
                _, open_ones = wait(open_ones, timeout=POLL, return_when=FIRST_COMPLETED)
                self.stopped = self.callback.stop()
                if self.stopped is not None:
                    break
        except KeyboardInterrupt:
            self.stopped = Termination.INTERRUPTED
        for future in futures:
            future.cancel()
        return [
            future.result() if future.done() and not future.cancelled() else None
            for future in futures
        ] + [None] * (len(arguments) - len(futures))
