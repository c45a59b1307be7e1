"""The outcome recorder: writes the outcomes of claims, many in one transaction.

Each email takes two commits, one before it may leave and one after. Workers hand both over, and
all that have gathered since the last transaction are written in the next. No email leaves before
its commit, and what has left is recorded however long the database is away.
"""

import datetime as dt
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import psycopg2
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Engine

from sendplan.io.database.reconnection import persistently, reason
from sendplan.io.delivery.claim import Claim
from sendplan.io.delivery.transactions import Transactions
from sendplan.io.delivery.transitions import (
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
from sendplan.io.dispatch.batch_writer import BatchWriter
from sendplan.io.messages.outcomes import Outcome, Verdict

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

MOST_UNWRITTEN = 16
"""Most outcomes not yet written while another email may leave: a crash makes them uncertain."""

LOCK_TIMEOUT = "SET lock_timeout = '1s'"
"""A row that another session has locked for long must not hold up other rows."""

LAST_PATIENCE = 30.0
"""Seconds for which outcomes are still written when the dispatcher ends."""

BOUNCED = "bounced"
REFUSED = "refused"

_GIVEN_UP = object()

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


class OutcomeRecorder:
    """Writes transitions, in threads of its own, from entering the context to leaving it.

    Beginnings and endings have a thread each, since an email waits for the former only.

    Parameters
    ----------
    engine : Engine
        The database; sessions are the recorder's own.
    lease : timedelta
        How long an email may take from its last check to the answer of the server.
    written : callable
        Called with each claim that is over, in a thread of the recorder.

    Attributes
    ----------
    counts : Counter of str
        Endings that were written, by verdict; ``stale`` counts those that came too late.
    """

    def __init__(
        self, engine: Engine, lease: dt.timedelta, written: Callable[[Claim], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._lease = lease
        self._written = written
        self._giving_up = threading.Event()
        self._unwritten = 0
        self._space = threading.Condition()
        self._before = Transactions(engine, PREPARED, LOCK_TIMEOUT)
        self._after = Transactions(engine, PREPARED, LOCK_TIMEOUT)
        self._later = Transactions(engine, PREPARED, LOCK_TIMEOUT)
        self._beginnings = BatchWriter("sendplan-beginnings", self._write_beginnings)
        self._endings = BatchWriter("sendplan-endings", self._write_endings)
        self._held_up = BatchWriter("sendplan-held-up", self._write_held_up)

    @property
    def error(self) -> Exception | None:
        """The unexpected error that has ended one of its threads, if any."""
        return self._beginnings.error or self._endings.error or self._held_up.error

    def __enter__(self) -> Self:
        """Start writing."""
        self._beginnings.start()
        self._endings.start()
        self._held_up.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left, for some time even if the database is away."""
        self._beginnings.finish()
        self._beginnings.join()
        until = time.monotonic() + LAST_PATIENCE
        for writer in (self._endings, self._held_up):
            writer.finish()
            writer.join(max(until - time.monotonic(), 0))
            if writer.is_at_work:
                self._giving_up.set()
            writer.join()
        for transactions in (self._before, self._after, self._later):
            transactions.close()

    def begin(self, claim: Claim) -> bool:
        """Commit that an email may have left from now on, and return whether it may leave.

        It may not if the claim is lost, if its thread, sequence or mailbox was stopped, or if the
        database does not answer within the lease.
        """
        patience = self._lease.total_seconds() / 2
        with self._space:
            if not self._space.wait_for(lambda: self._unwritten < MOST_UNWRITTEN, patience):
                return False
        if self.error is not None:
            return False
        entry = _Beginning(claim)
        self._beginnings.put(entry)
        try:
            return entry.answer.result(patience)
        except FutureTimeoutError:
            if entry.answer.cancel() or self.error is not None:
                return False
            # It is being written now.
            return entry.answer.result()

    def end(self, claim: Claim, outcome: Outcome, moment: dt.datetime) -> None:
        """Hand over the outcome of an email; returns at once.

        Parameters
        ----------
        claim : Claim
        outcome : Outcome
        moment : aware datetime
            When the attempt ended.
        """
        with self._space:
            self._unwritten += 1
        self._endings.put(_Ending(claim, outcome, moment))

    def _write_beginnings(self, entries: list[_Beginning]) -> None:
        wanted = [entry for entry in entries if entry.answer.set_running_or_notify_cancel()]
        if not wanted:
            return
        begun: set[int] = set()
        try:
            with self._before.begin() as cursor:
                found = begin(cursor, [entry.claim for entry in wanted], self._lease)
            begun = found
        except psycopg2.Error as error:
            # It may have been committed or not, so none may leave.
            _warn(error)
        finally:
            for entry in wanted:
                entry.answer.set_result(entry.claim.email_id in begun)

    def _write_endings(self, entries: list[_Ending]) -> None:
        accepted = [entry for entry in entries if entry.outcome.verdict is Verdict.SENT]
        if accepted:
            try:
                with self._after.begin() as cursor:
                    sent = [(entry.claim, entry.moment) for entry in accepted]
                    recorded = succeed(cursor, sent)
            except Exception as error:
                # One by one, so that one that cannot be written holds up no other.
                _warn(error)
                for entry in accepted:
                    self._end(entry)
            else:
                for entry in accepted:
                    self._note(entry, entry.claim.email_id in recorded)
        for entry in entries:
            if entry.outcome.verdict is not Verdict.SENT:
                self._end(entry)

    def _end(self, entry: _Ending) -> None:
        """Write one ending once the database answers, unless its rows are locked."""

        def attempt() -> bool | None:
            try:
                with self._after.begin() as cursor:
                    return _written(cursor, entry)
            except LockNotAvailable:
                return None

        if not self._attempted(entry, attempt):
            self._held_up.put(entry)

    def _write_held_up(self, entries: list[_Ending]) -> None:
        """Write endings whose rows are locked, however long that takes."""

        def attempt(entry: _Ending) -> bool:
            with self._later.begin() as cursor:
                return _written(cursor, entry)

        for entry in entries:
            self._attempted(entry, partial(attempt, entry))

    def _attempted(self, entry: _Ending, attempt: Callable[[], bool | None]) -> bool:
        """Write one ending and note the result; False if its rows are locked."""
        try:
            held = persistently(attempt, self._giving_up.is_set, _GIVEN_UP)
        except Exception as error:
            # The row stays as it is, and is uncertain once its lease has run out.
            extra = _extra(entry) | {"reason": reason(error)}
            logger.error("Could not be recorded", extra=extra, exc_info=_unexpected(error))
            self._over(entry)
            return True
        if held is _GIVEN_UP:
            logger.error("Could not be recorded before the end", extra=_extra(entry))
            self._over(entry)
        elif held is not None:
            self._note(entry, bool(held))
        return held is not None

    def _note(self, entry: _Ending, held: bool) -> None:
        verdict = entry.outcome.verdict
        if held:
            self.counts[verdict] += 1
            level = _LEVELS.get(verdict, logging.INFO)
            logger.log(level, _WORDS[verdict], extra=_extra(entry))
        else:
            self.counts["stale"] += 1
            logger.warning("The claim was lost before it could be recorded", extra=_extra(entry))
        self._over(entry)

    def _over(self, entry: _Ending) -> None:
        with self._space:
            self._unwritten -= 1
            self._space.notify_all()
        self._written(entry.claim)


def _written(cursor: "Cursor", entry: _Ending) -> bool:
    claim, detail, moment = entry.claim, entry.outcome.detail, entry.moment
    match entry.outcome.verdict:
        case Verdict.SENT:
            return bool(succeed(cursor, [(claim, moment)]))
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
    Verdict.UNCERTAIN: "Uncertain: look whether it was sent, and run `sendplan uncertain`",
    Verdict.TEMPORARY: "Not accepted now",
    Verdict.REFUSED: "Refused",
    Verdict.RECIPIENT: "No such address",
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
    extra: dict[str, object] = {
        "email_id": claim.email_id,
        "enrollment_id": claim.enrollment_id,
        "mailbox_id": claim.mailbox_id,
        "message_id": claim.message_id,
        "attempt": claim.attempts,
    }
    if entry.outcome.verdict is Verdict.SENT:
        extra["late_seconds"] = round((entry.moment - claim.send_at).total_seconds(), 1)
    if entry.outcome.detail:
        extra["detail"] = entry.outcome.detail
    return extra


def _warn(error: Exception) -> None:
    extra = {"reason": reason(error)}
    logger.warning("Outcomes could not be recorded", extra=extra, exc_info=_unexpected(error))


def _unexpected(error: Exception) -> bool:
    """Return whether an error is no one of the database, so that its traceback is needed."""
    return not isinstance(error, psycopg2.Error)
