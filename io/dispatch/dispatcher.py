"""The dispatcher: claims what is due, has it sent, and takes back what dead dispatchers left.

It decides no times. Any number of dispatchers may run, on any number of machines: they share the
database only.
"""

import datetime as dt
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import psycopg2
from sqlalchemy import Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.reconnection import persistently
from sendplan.io.delivery.claim import MAX_CLAIMS, Claim, Claimed
from sendplan.io.delivery.claimer import PREPARED, Claimer
from sendplan.io.delivery.overdue import hand_over
from sendplan.io.delivery.recovery import recover
from sendplan.io.delivery.transactions import Transactions
from sendplan.io.dispatch.commands import DEFAULT_LEASE, DEFAULT_WORKERS
from sendplan.io.dispatch.mailbox_queue import MOST_IN_HAND, MailboxQueue
from sendplan.io.dispatch.outcome_recorder import OutcomeRecorder
from sendplan.io.dispatch.sender import Sender
from sendplan.io.messages.outcomes import Outcome, Verdict
from sendplan.planner.schema.vocabulary import GRACE_SECONDS

POLL = 1.0
"""Seconds between two looks for due emails when nothing is due."""

SHORT_POLL = 0.05
"""Seconds before another look when due emails may have been locked or more than the limit."""

LOOKS_IN_VAIN = 8
"""Empty looks in a row, 0.4 seconds in all, after which nothing is due any more."""

OVERDUE_EVERY = 30.0
REST_EVERY = 5.0
"""Seconds between looks for overdue emails, and for idle connections."""

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Settings:
    """Settings of a dispatcher.

    Parameters
    ----------
    outbox : Path or None
        Folder for messages that are written instead of being sent; None: SMTP.
    workers : int
        The most emails sent at a time.
    lease : timedelta
        How long a claim holds. An email must have left by then.
    grace : timedelta
        How long after its slot an email may still leave.
    once : bool
        Whether to end when nothing is due any more.
    until : aware datetime or None
        The moment to end.
    """

    outbox: Path | None = None
    workers: int = DEFAULT_WORKERS
    lease: dt.timedelta = dt.timedelta(seconds=DEFAULT_LEASE)
    grace: dt.timedelta = dt.timedelta(seconds=GRACE_SECONDS)
    once: bool = False
    until: dt.datetime | None = None


@dataclass(frozen=True)
class Dispatched:
    """Result of a dispatcher.

    Parameters
    ----------
    outcomes : mapping of int
        Emails by `Verdict`; ``stale`` are those whose claims were lost before the outcome.
    recovered : mapping of int
        Emails taken back from dispatchers that died, by their new status.
    """

    outcomes: Mapping[str, int]
    recovered: Mapping[str, int]


def dispatch(
    engine: Engine,
    settings: Settings,
    clock: Callable[[], dt.datetime],
    stopped: Callable[[], bool] = lambda: False,
) -> Dispatched:
    """Execute due slots.

    Parameters
    ----------
    engine : Engine
        The database.
    settings : Settings
    clock : callable
        Gives the moment, aware.
    stopped : callable
        Called at least every second. Once it is true, emails in hand are finished, other claims
        are given back, and the dispatcher ends.

    Returns
    -------
    Dispatched

    Raises
    ------
    DatabaseError
        If the database refuses a statement. One that is away is waited for.
    """
    with translated_errors("dispatching"):
        return _Dispatcher(engine, settings, clock, stopped).run()


class _Dispatcher:
    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        clock: Callable[[], dt.datetime],
        stopped: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._stopped = stopped
        self._transactions = Transactions(engine, PREPARED)
        self._in_hand = 0
        self._counting = threading.Lock()
        self._freed = threading.Event()
        self._queues: dict[int, MailboxQueue] = {}
        self._limit = max(3 * MOST_IN_HAND, 3 * settings.workers)
        self._recovered: dict[str, int] = {}
        self._upkeep = {
            self._recover: min(settings.lease.total_seconds() / 4, 15.0),
            self._hand_over: OVERDUE_EVERY,
            self._rest: REST_EVERY,
        }
        self._next_upkeep = dict.fromkeys(self._upkeep, 0.0)
        self._recorder = OutcomeRecorder(engine, settings.lease, self._one_less)

    def run(self) -> Dispatched:
        installation = self._wait_for(self._installation)
        if installation is None:
            return Dispatched({}, {})
        settings = self._settings
        claimed_by = f"{socket.gethostname()}/{os.getpid()}"
        self._claimer = Claimer(
            installation, claimed_by, lease=settings.lease, grace=settings.grace
        )
        self._sender = Sender(
            self._recorder,
            installation,
            self._clock,
            lease=settings.lease,
            grace=settings.grace,
            outbox=settings.outbox,
        )
        logger.info("Dispatching", extra={"claimed_by": claimed_by, "workers": settings.workers})
        with self._recorder:
            self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="sendplan-queue")
            try:
                self._work()
            finally:
                self._finish()
        if self._recorder.error is not None:
            raise self._recorder.error
        logger.info("Dispatching ended", extra=dict(self._recorder.counts))
        return Dispatched(
            MappingProxyType(self._recorder.counts), MappingProxyType(self._recovered)
        )

    def _work(self) -> None:
        looks_in_vain = 0
        while not self._at_end():
            self._look_after()
            claimed = self._wait_for(self._claim)
            if claimed is None:
                continue
            for claim in claimed.claims:
                self._queue(claim.mailbox_id).add(claim)
            for claim in claimed.exhausted:
                why = f"given up: {MAX_CLAIMS} times claimed, and never finished"
                self._recorder.end(claim, Outcome(Verdict.REFUSED, why), self._clock())
            if claimed.claims or self._in_hand:
                looks_in_vain = 0
            else:
                looks_in_vain += 1
                # Another dispatcher may have held due rows just now.
                again = claimed.more or self._claimer.contended
                if self._settings.once and (looks_in_vain >= LOOKS_IN_VAIN or not again):
                    return
            self._pause(claimed)

    def _at_end(self) -> bool:
        until = self._settings.until
        if self._stopped() or self._recorder.error is not None:
            return True
        return until is not None and self._clock() >= until

    def _pause(self, claimed: Claimed) -> None:
        """Wait until another look may find due emails."""
        if self._in_hand > self._limit // 2:
            until = time.monotonic() + POLL
            while self._in_hand > self._limit // 2 and time.monotonic() < until:
                self._freed.wait(POLL)
                self._freed.clear()
        elif not claimed.claims:
            soon = claimed.more or self._settings.once
            self._freed.clear()
            self._freed.wait(SHORT_POLL if soon else POLL)

    def _claim(self) -> Claimed:
        limit = self._limit - self._in_hand
        if limit <= 0:
            return Claimed()
        busy = {key for key, queue in self._queues.items() if queue.room <= 0}
        with self._transactions.begin() as cursor:
            claimed = self._claimer.claim(
                cursor.connection,
                self._clock(),
                limit,
                lambda mailbox_id: self._queue(mailbox_id).room,
                busy.union(self._sender.held()),
            )
        with self._counting:
            self._in_hand += len(claimed.claims) + len(claimed.exhausted)
        return claimed

    def _queue(self, mailbox_id: int) -> MailboxQueue:
        queue = self._queues.get(mailbox_id)
        if queue is None:
            queue = self._queues[mailbox_id] = MailboxQueue(self._pool, self._sender.send)
        return queue

    def _one_less(self, claim: Claim) -> None:
        with self._counting:
            self._in_hand -= 1
        self._freed.set()

    def _look_after(self) -> None:
        now = time.monotonic()
        for task, every in self._upkeep.items():
            if self._next_upkeep[task] <= now:
                self._wait_for(task)
                self._next_upkeep[task] = now + every

    def _recover(self) -> None:
        with self._transactions.begin() as cursor:
            recovered = recover(cursor)
        for email_id, status in recovered.items():
            self._recovered[status] = self._recovered.get(status, 0) + 1
            logger.warning("A lease ran out", extra={"email_id": email_id, "now": status})

    def _hand_over(self) -> None:
        with self._transactions.begin() as cursor:
            sequence_ids = hand_over(cursor, self._clock(), self._settings.grace)
        if sequence_ids:
            extra = {"sequence_ids": sequence_ids}
            logger.warning("Overdue emails were handed to the planner", extra=extra)

    def _rest(self) -> None:
        for queue in self._queues.values():
            queue.rest()

    def _installation(self) -> uuid.UUID:
        with self._transactions.begin() as cursor:
            cursor.execute("SELECT id FROM installation")
            row = cursor.fetchone()
        if row is None:
            raise psycopg2.DataError(
                "the table installation is empty: run INSERT INTO installation DEFAULT VALUES"
            )
        found: uuid.UUID = row[0]
        return found

    def _wait_for(self, task: Callable[[], Result]) -> Result | None:
        """Run a task on the database; None if it was away until the end."""
        return persistently(task, self._at_end, None)

    def _finish(self) -> None:
        """Give back what is queued, finish what is in hand, and close all connections."""
        for queue in self._queues.values():
            for claim in queue.withdraw():
                self._sender.give_back(claim)
        self._pool.shutdown(wait=True)
        with ThreadPoolExecutor(self._settings.workers) as pool:
            list(pool.map(MailboxQueue.close, self._queues.values()))
        self._transactions.close()
