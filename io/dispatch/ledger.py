"""The ledger: one thread that writes what becomes of claims, many in one transaction.

Each email takes two commits, one before it may leave and one after. Workers hand these to the
ledger, which writes all that have gathered while it was writing the last ones. Nothing leaves
before its commit is through, and what has left is written down however long the database is away.
"""

import datetime as dt
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psycopg2
from sqlalchemy import Engine

from sendplan.io.dispatch.claims import Claim
from sendplan.io.dispatch.outcomes import Outcome, Verdict
from sendplan.io.dispatch.transactions import Transactions, persistently, reason
from sendplan.io.dispatch.transitions import (
    PREPARED,
    begin,
    doubt,
    fail,
    pause_mailbox,
    pause_sequence,
    postpone,
    release,
    succeed,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

MOST_AT_ONCE = 500
"""Entries written in one transaction."""

LAST_PATIENCE = 30.0
"""Seconds to go on trying to write down what has left, when the dispatcher is to end."""

BOUNCED = "bounced"
REFUSED = "refused"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Beginning:
    claim: Claim
    answer: "Future[bool]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _Ending:
    claim: Claim
    outcome: Outcome
    moment: dt.datetime


class Ledger:
    """Writes transitions, in a thread of its own, from entering the context to leaving it.

    Parameters
    ----------
    engine : Engine
        The database, for a session of the ledger's own.
    lease : timedelta
        How long an email may take from its last check to the answer of the server.
    written : callable
        Told, in the ledger's thread, of each claim that is over.

    Attributes
    ----------
    counts : Counter of str
        Ends that were written, by verdict; ``stale`` counts those that came too late.
    error : Exception or None
        What nobody thought of and has ended the thread; nothing may begin any more.
    """

    def __init__(
        self, engine: Engine, lease: dt.timedelta, written: Callable[[Claim], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.error: Exception | None = None
        self._transactions = Transactions(engine, PREPARED)
        self._lease = lease
        self._written = written
        self._entries: queue.SimpleQueue[_Beginning | _Ending | None] = queue.SimpleQueue()
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sendplan-ledger", daemon=True)

    def __enter__(self) -> Self:
        """Start writing."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, for some time even if the database is away."""
        self._entries.put(None)
        self._thread.join(LAST_PATIENCE)
        self._giving_up.set()
        self._thread.join()
        self._transactions.close()

    def begin(self, claim: Claim) -> bool:
        """Commit that an email may have left from now on, and tell whether it may leave.

        It may not if the claim is lost, if something was stopped, or if the database does not
        answer within half the lease.
        """
        if self.error is not None:
            return False
        entry = _Beginning(claim)
        self._entries.put(entry)
        try:
            return entry.answer.result(self._lease.total_seconds() / 2)
        except FutureTimeoutError:
            if entry.answer.cancel() or self.error is not None:
                return False
            # It is being written this very moment.
            return entry.answer.result()

    def end(self, claim: Claim, outcome: Outcome, moment: dt.datetime) -> None:
        """Leave to the ledger what has become of an email; returns at once.

        Parameters
        ----------
        claim : Claim
        outcome : Outcome
        moment : aware datetime
            When that was.
        """
        self._entries.put(_Ending(claim, outcome, moment))

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error
            logger.exception("The ledger has failed")

    def _work(self) -> None:
        while (first := self._entries.get()) is not None:
            entries = [first]
            while len(entries) < MOST_AT_ONCE:
                try:
                    entry = self._entries.get_nowait()
                except queue.Empty:
                    break
                if entry is None:
                    # The end of work comes last, but for what ends in this very batch.
                    self._entries.put(None)
                    break
                entries.append(entry)
            self._write(entries)

    def _write(self, entries: list[_Beginning | _Ending]) -> None:
        beginnings = [
            entry
            for entry in entries
            if isinstance(entry, _Beginning) and entry.answer.set_running_or_notify_cancel()
        ]
        endings = [entry for entry in entries if isinstance(entry, _Ending)]
        accepted = [entry for entry in endings if entry.outcome.verdict is Verdict.SENT]
        try:
            with self._transactions.begin() as cursor:
                begun = _begin(cursor, beginnings, self._lease)
                recorded = _succeed(cursor, accepted)
        except psycopg2.Error as error:
            # Whether it was committed is open: nothing may leave, and what has left is written
            # one by one, so that what cannot be written holds nobody else up.
            logger.warning("The ledger could not write", extra={"reason": reason(error)})
            for beginning in beginnings:
                beginning.answer.set_result(False)
            for ending in accepted:
                self._end(ending)
        else:
            for beginning in beginnings:
                beginning.answer.set_result(beginning.claim.email_id in begun)
            for ending in accepted:
                self._note(ending, ending.claim.email_id in recorded)
        for ending in endings:
            if ending.outcome.verdict is not Verdict.SENT:
                self._end(ending)

    def _end(self, entry: _Ending) -> None:
        """Write one end, as soon as the database is there."""

        def attempt() -> bool:
            with self._transactions.begin() as cursor:
                return _written(cursor, entry)

        try:
            held = persistently(attempt, self._giving_up.is_set, None)
        except psycopg2.Error as error:
            logger.error("Could not be recorded", extra=_extra(entry) | {"reason": reason(error)})
            self._written(entry.claim)
        else:
            if held is None:
                logger.error("Could not be recorded before the end", extra=_extra(entry))
                self._written(entry.claim)
            else:
                self._note(entry, held)

    def _note(self, entry: _Ending, held: bool) -> None:
        verdict = entry.outcome.verdict
        if held:
            self.counts[verdict] += 1
            level = _LEVELS.get(verdict, logging.INFO)
            logger.log(level, _WORDS[verdict], extra=_extra(entry))
        else:
            self.counts["stale"] += 1
            logger.warning("The claim was lost before it could be recorded", extra=_extra(entry))
        self._written(entry.claim)


def _begin(cursor: "Cursor", beginnings: list[_Beginning], lease: dt.timedelta) -> set[int]:
    if not beginnings:
        return set()
    return begin(cursor, [entry.claim for entry in beginnings], lease)


def _succeed(cursor: "Cursor", accepted: list[_Ending]) -> set[int]:
    if not accepted:
        return set()
    return succeed(cursor, [(entry.claim, entry.moment) for entry in accepted])


def _written(cursor: "Cursor", entry: _Ending) -> bool:
    claim, detail, moment = entry.claim, entry.outcome.detail, entry.moment
    match entry.outcome.verdict:
        case Verdict.SENT:
            return bool(_succeed(cursor, [entry]))
        case Verdict.UNCERTAIN:
            return doubt(cursor, claim, detail)
        case Verdict.TEMPORARY:
            return postpone(cursor, claim, detail, moment)
        case Verdict.RECIPIENT:
            return fail(cursor, claim, detail, BOUNCED, moment, suppress=True)
        case Verdict.FLAWED:
            return pause_sequence(cursor, claim, detail)
        case Verdict.REFUSED:
            return fail(cursor, claim, detail, REFUSED, moment)
        case Verdict.MAILBOX:
            return pause_mailbox(cursor, claim, detail)
        case Verdict.UNREACHABLE | Verdict.WITHDRAWN:
            return release(cursor, claim, detail or None)


_WORDS = {
    Verdict.SENT: "Sent",
    Verdict.UNCERTAIN: "Uncertain: look whether it was sent, and tell `sendplan uncertain`",
    Verdict.TEMPORARY: "Not accepted now",
    Verdict.REFUSED: "Refused",
    Verdict.RECIPIENT: "Refused for its address",
    Verdict.MAILBOX: "The mailbox was paused",
    Verdict.FLAWED: "The sequence was paused",
    Verdict.UNREACHABLE: "No session with the server",
    Verdict.WITHDRAWN: "Given back",
}

_LEVELS = {
    Verdict.UNCERTAIN: logging.ERROR,
    Verdict.TEMPORARY: logging.WARNING,
    Verdict.REFUSED: logging.WARNING,
    Verdict.RECIPIENT: logging.WARNING,
    Verdict.MAILBOX: logging.ERROR,
    Verdict.FLAWED: logging.ERROR,
    Verdict.UNREACHABLE: logging.WARNING,
}


def _extra(entry: _Ending) -> dict[str, object]:
    claim = entry.claim
    told: dict[str, object] = {
        "email_id": claim.email_id,
        "enrollment_id": claim.enrollment_id,
        "mailbox_id": claim.mailbox_id,
        "message_id": claim.message_id,
        "attempt": claim.attempts,
    }
    if entry.outcome.verdict is Verdict.SENT:
        told["late_seconds"] = round((entry.moment - claim.send_at).total_seconds(), 1)
    if entry.outcome.detail:
        told["detail"] = entry.outcome.detail
    return told
