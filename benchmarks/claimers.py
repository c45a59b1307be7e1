"""Processes that claim due emails while something else is measured, as dispatchers would."""

import datetime as dt
import itertools
import multiprocessing as mp
import time
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg2
from psycopg2.errors import DeadlockDetected

WIDE_CLAIM = """
UPDATE scheduled_emails SET status = 'claimed'
WHERE id IN (
    SELECT id FROM scheduled_emails
    WHERE status = 'pending' AND plan_run_id IS NOT NULL AND send_at <= %(now)s
    ORDER BY send_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
)
RETURNING id
"""
WIDE_FINISH = "UPDATE scheduled_emails SET status = 'sent', sent_at = send_at WHERE id = %s"

BATCH = 10
SENDING_SECONDS = 0.005
"""What sending a batch takes at the least: without it two claimers would just burn both cores."""


class Claims(NamedTuple):
    """What two claimers got done around a measured stretch of time."""

    before: float
    """Claims per second in the second before it."""
    during: float
    """Claims per second within it."""
    longest_stall: float
    """Longest time, in seconds, that a claimer went without a claim within it or across its ends;
    one that never claimed again waited at least so long."""
    deadlocks: int
    """How often PostgreSQL broke a deadlock between a claimer and the planner."""


class Claimers:
    """Claiming processes that run inside a ``with`` block.

    Parameters
    ----------
    url
        A libpq connection string.
    now
        Emails planned up to here are due.
    claim, finish
        Statements that claim a batch and record it as sent.
    count
        Number of processes.
    """

    def __init__(
        self,
        url: str,
        now: dt.datetime,
        claim: str = WIDE_CLAIM,
        finish: str = WIDE_FINISH,
        count: int = 2,
    ) -> None:
        context = mp.get_context("spawn")
        self._stop = context.Event()
        self._results = context.Queue()
        self._ready = [context.Event() for _ in range(count)]
        self._processes = [
            context.Process(
                target=_run,
                args=(url, now, claim, finish, ready, self._stop, self._results),
                daemon=True,
            )
            for ready in self._ready
        ]
        self._moments: list[list[float]] = []
        self._waits: list[list[float]] = []
        self._deadlocks = 0

    def __enter__(self) -> Self:
        """Start, and wait until all have claimed for a second."""
        for process in self._processes:
            process.start()
        for ready in self._ready:
            if not ready.wait(timeout=20):
                msg = "a claimer did not start"
                raise TimeoutError(msg)
        time.sleep(1.0)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop all and collect what they saw."""
        time.sleep(0.2)
        stopped = time.monotonic()
        self._stop.set()
        results = [self._results.get(timeout=60) for _ in self._processes]
        self._moments = [moments for moments, _ in results]
        self._deadlocks = sum(deadlocks for _, deadlocks in results)
        self._waits = [[*moments, stopped] for moments in self._moments]
        for process in self._processes:
            process.join(timeout=60)

    def around(self, began: float, ended: float) -> Claims:
        """Sum up the claims around a stretch on the monotonic clock; after the block only."""
        everyone = [moment for moments in self._moments for moment in moments]
        before = sum(began - 1 <= moment < began for moment in everyone)
        during = sum(began <= moment < ended for moment in everyone)
        stalls = [
            later - earlier
            for moments in self._waits
            for earlier, later in itertools.pairwise(moments)
            if later >= began and earlier <= ended
        ]
        rate = during / (ended - began)
        return Claims(float(before), rate, max(stalls, default=0.0), self._deadlocks)


def _run(
    url: str,
    now: dt.datetime,
    claim: str,
    finish: str,
    ready: Event,
    stop: Event,
    results: Any,
) -> None:
    moments: list[float] = []
    deadlocks = 0
    session = psycopg2.connect(url)
    with session.cursor() as cursor:
        while not stop.is_set():
            try:
                cursor.execute(claim, {"now": now, "batch": BATCH})
                claimed = [row[0] for row in cursor.fetchall()]
                session.commit()
                if claimed:
                    moments.append(time.monotonic())
                    ready.set()
                time.sleep(SENDING_SECONDS)
                # One by one: the fate of an email must not wait for others.
                for email in claimed:
                    cursor.execute(finish, (email,))
                    session.commit()
            except DeadlockDetected:
                # A dispatcher would try again; the benchmark drops this batch.
                session.rollback()
                deadlocks += 1
    session.close()
    results.put((moments, deadlocks))
