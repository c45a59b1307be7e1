"""Executors that plan the parts of a run: processes of this machine or a Dask cluster."""

import importlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sendplan.io.errors import SendplanError

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10
"""Seconds that the scheduler of a cluster has for its first answer."""


class ExecutorError(SendplanError):
    """The executor cannot be reached, or its workers are lost again and again."""

    exit_code = 1


class ExecutorAddressError(ExecutorError):
    """The address of an executor cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class Workplace:
    """Where parts are planned.

    Parameters
    ----------
    open : callable
        Opens a context that holds an executor.
    near : bool
        Whether its processes run on this machine, and get the URL of the database. An interrupted
        run does not wait for others.
    drop : callable
        Ends the processes of its executor at once.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    near: bool
    drop: Callable[[], None] = lambda: None


def processes(workers: int) -> Workplace:
    """Return a pool of processes on this machine.

    Parameters
    ----------
    workers : int
        How many.
    """
    started: list[_Processes] = []

    @contextmanager
    def opened() -> Iterator[Executor]:
        # Not forked: threads and sessions of this process would not survive that.
        context = multiprocessing.get_context("spawn")
        pool = _Processes(workers, mp_context=context, initializer=_end_with_parent)
        started.append(pool)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    def drop() -> None:
        for pool in started:
            pool.kill()

    return Workplace(opened, near=True, drop=drop)


class _Processes(ProcessPoolExecutor):
    """Processes that ignore Ctrl-C: they finish the parts that they have begun."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Processes start here and inherit the mask: Ctrl-C must not reach them before they could
        # block it themselves.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def kill(self) -> None:
        """End the processes; the database rolls back open transactions."""
        for process in list((self._processes or {}).values()):
            process.kill()


def _end_with_parent() -> None:
    """End this process when its parent ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def dask_cluster(address: str) -> Workplace:
    """Return a Dask cluster.

    Parameters
    ----------
    address : str
        ``dask://HOST:PORT``, of its scheduler. Everything else, certificates too, is read from
        Dask's own configuration.

    Raises
    ------
    ExecutorAddressError
        If the address cannot be read, or Dask is not installed.
    """
    try:
        parts = urlsplit(address)
        sound = parts.scheme == "dask" and parts.hostname and parts.port
    except ValueError:
        sound = False
    if not sound or parts.path.strip("/") or parts.query or "@" in parts.netloc:
        raise ExecutorAddressError(
            f"{address!r} is not the address of an executor; write dask://HOST:PORT"
        )
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ExecutorAddressError(
            "Planning on a Dask cluster needs Dask: pip install 'sendplan[dask]'"
        ) from None

    @contextmanager
    def opened() -> Iterator[Executor]:
        try:
            client = distributed.Client(parts.netloc, timeout=CONNECT_SECONDS, set_as_default=False)
        except OSError as error:
            raise ExecutorError(
                f"The Dask scheduler at {parts.netloc} does not answer: {error or 'timed out'}"
            ) from error
        with client:
            if not client.scheduler_info()["workers"]:
                # A cluster may start workers on demand, so this is no error.
                logger.warning("The Dask cluster has no workers yet; the parts wait for them")
            # Dask must not merge tasks with equal arguments.
            yield client.get_executor(pure=False)

    return Workplace(opened, near=False)


def is_lost(error: BaseException) -> bool:
    """Tell whether the worker failed, not its task."""
    kind = type(error)
    on_dask = kind.__module__.partition(".")[0] == "distributed"
    return isinstance(error, BrokenExecutor | CancelledError) or (
        on_dask and kind.__name__ in ("KilledWorker", "CommClosedError")
    )
