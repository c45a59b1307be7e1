"""The task pool: who works on subproblems of a problem side by side, and who may call it off."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.schema.vocabulary import Termination

Result = TypeVar("Result")

POLL = 0.2
"""Seconds after which a waiting task pool looks up."""


@dataclass(frozen=True)
class SearchProgress:
    """How far a plan has come.

    Parameters
    ----------
    cost : float
        Cost of the best plan so far.
    lower_bound : float
        What every plan costs at least.
    phase : str
        What has just been done.
    work : float
        Seconds of work spent, see `sendplan.planner.flow.work_estimates`.
    """

    cost: float
    lower_bound: float
    phase: str
    work: float

    @property
    def gap(self) -> float:
        """Return by which part of its cost the plan may be above the best one."""
        return relative_gap(self.cost, self.lower_bound)


class ProgressCallback(Protocol):
    """Somebody who looks on."""

    def report(self, progress: SearchProgress) -> None:
        """Be told how far the plan has come."""

    def stop(self) -> Termination | None:
        """Say whether, and why, the plan so far is to be taken as it is."""


class SilentCallback:
    """A watch that watches nothing."""

    def report(self, progress: SearchProgress) -> None:
        """Be told, and do nothing."""

    def stop(self) -> Termination | None:
        """Let the work go on."""
        return None


class TaskPool:
    """Runs tasks on an executor, and stops where somebody says so.

    Parameters
    ----------
    executor : Executor
        Threads, processes or machines; tasks are pure functions of values that can be pickled.
    callback : ProgressCallback
        Asked every so often; Ctrl-C has the same effect.
    """

    def __init__(self, executor: Executor, callback: ProgressCallback) -> None:
        self.executor = executor
        self.callback = callback
        self.stopped: Termination | None = None

    @classmethod
    @contextmanager
    def called(
        cls, executor: Executor | None, workers: int, callback: ProgressCallback, prefix: str = ""
    ) -> Iterator["TaskPool"]:
        """Call together who works, and send them home afterwards.

        Parameters
        ----------
        executor : Executor or None
            Who works; None for threads of our own.
        workers : int
            How many threads.
        callback : ProgressCallback
            Who looks on.
        prefix : str
            How the names of these threads begin.
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
            What to do.
        arguments : sequence of tuples
            For each run.

        Returns
        -------
        list
            Results in the order of the arguments; None for runs that had not ended when the work
            was called off.
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
        ended = [future.done() and not future.cancelled() for future in futures]
        results: list[Result | None] = [None] * len(arguments)
        for place, (future, done) in enumerate(zip(futures, ended, strict=True)):
            if done:
                results[place] = future.result()
        return results
