"""Executors: who plans the parts of a run, processes of this machine or a Dask cluster."""

import importlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sendplan.io.errors import SendplanError

CONNECT_SECONDS = 10
"""How long the scheduler of a cluster has for its first answer."""


class ExecutorError(SendplanError):
    """Who was to plan the parts cannot be reached, or is lost again and again."""

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
        Gives a context that holds an executor.
    near : bool
        Whether its processes run beside this one, and can be told where the database is.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    near: bool


def processes(workers: int) -> Workplace:
    """Return a pool of processes on this machine.

    Parameters
    ----------
    workers : int
        How many.
    """

    @contextmanager
    def opened() -> Iterator[Executor]:
        # Not forked: threads and sessions of this process would not survive that.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    return Workplace(opened, near=True)


def _leave_interrupts() -> None:
    """Leave Ctrl-C to who started the processes: a part is published whole or not at all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def dask_cluster(address: str) -> Workplace:
    """Return a Dask cluster.

    Parameters
    ----------
    address : str
        ``dask://HOST:PORT``, of its scheduler. Everything else, certificates too, is said by
        Dask's own configuration.

    Raises
    ------
    ExecutorAddressError
        If that is no such address, or Dask is not installed.
    """
    try:
        parts = urlsplit(address)
        sound = parts.scheme == "dask" and parts.hostname and parts.port
    except ValueError:
        sound = False
    if not sound or parts.path.strip("/") or parts.query or parts.username:
        raise ExecutorAddressError(f"{address!r} is no executor; write dask://HOST:PORT")
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
            # Each part is a task of its own: two alike are not the same.
            yield client.get_executor(pure=False)

    return Workplace(opened, near=False)


def is_lost(error: BaseException) -> bool:
    """Tell whether it was the worker that failed, and not what it was doing."""
    return isinstance(error, BrokenExecutor) or _is_lost_on_dask(error)


def _is_lost_on_dask(error: Any) -> bool:
    return type(error).__module__.partition(".")[0] == "distributed" and type(error).__name__ in (
        "KilledWorker",
        "CommClosedError",
        "FutureCancelledError",
    )
