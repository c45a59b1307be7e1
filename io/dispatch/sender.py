"""Sending one email: composed, handed to its mailbox's transport, and its outcome recorded."""

import datetime as dt
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sendplan.io.delivery.claim import Claim
from sendplan.io.dispatch.mailbox_queue import MailboxQueue
from sendplan.io.dispatch.outcome_recorder import OutcomeRecorder
from sendplan.io.errors import DataError
from sendplan.io.messages.composing import SenderError, compose
from sendplan.io.messages.outcomes import Outcome, Transport, Verdict
from sendplan.io.messages.templates import FlawedTemplateError
from sendplan.io.transport.outbox import Outbox
from sendplan.io.transport.smtp_transport import ANSWER_TIMEOUT, TIMEOUT, SmtpTransport
from sendplan.io.transport.transport_urls import parse_url, read_reference
from sendplan.planner.schema.errors import Fault

SHORTEST_HOLD = 10.0
LONGEST_HOLD = 300.0
"""Seconds a mailbox is on hold after a failed session: the first time, and doubled up to this."""

TOLERATED = 3
"""Emails in a row that a server does not accept now, after which its mailbox is on hold, too."""

logger = logging.getLogger(__name__)


class Sender:
    """Sends emails, each by the transport of its mailbox's queue; used by many threads.

    Parameters
    ----------
    recorder : OutcomeRecorder
    installation : UUID
        Part of every Message-ID.
    clock : callable
        Gives the moment, aware.
    lease, grace : timedelta
        How long a claim holds, and how long after its slot an email may still leave.
    outbox : Path or None
        Folder for messages that are written instead of being sent.
    """

    def __init__(
        self,
        recorder: OutcomeRecorder,
        installation: uuid.UUID,
        clock: Callable[[], dt.datetime],
        *,
        lease: dt.timedelta,
        grace: dt.timedelta,
        outbox: Path | None,
    ) -> None:
        self._recorder = recorder
        self._installation = installation
        self._clock = clock
        self._grace = grace
        # Connection, addresses and text before the answer, all within the lease.
        self._timeout = min(TIMEOUT, lease.total_seconds() / 6)
        self._answer_timeout = min(ANSWER_TIMEOUT, lease.total_seconds() / 3)
        self._patience = lease.total_seconds() / 20
        self._outbox = None if outbox is None else Outbox(outbox)
        self._held: dict[int, float] = {}
        self._hostname = socket.gethostname()

    def held(self) -> list[int]:
        """Return the mailboxes that are on hold now."""
        now = time.monotonic()
        return [mailbox_id for mailbox_id, until in list(self._held.items()) if until > now]

    def send(self, queue: MailboxQueue, claim: Claim) -> None:
        """Send an email, and leave its outcome to the outcome recorder."""
        began = time.monotonic()
        outcome = self._outcome(queue, claim)
        self._recorder.end(claim, outcome, self._clock())
        self._heed(queue, claim, outcome)
        if time.monotonic() - began > self._patience:
            # At this pace the leases of queued emails would run out.
            self._give_back_waiting(queue)

    def give_back(self, claim: Claim) -> None:
        """Give back an email that was not tried."""
        self._recorder.end(claim, Outcome(Verdict.WITHDRAWN), self._clock())

    def _outcome(self, queue: MailboxQueue, claim: Claim) -> Outcome:
        """Try to send an email; an unexpected error is an outcome, too."""
        begun = False

        def begin() -> bool:
            nonlocal begun
            now = self._clock()
            in_time = now < claim.closes and now <= claim.send_at + self._grace
            begun = in_time and self._recorder.begin(claim)
            return begun

        try:
            return self._attempt(queue, claim, begin)
        except Exception as error:
            logger.exception("Sending failed", extra={"email_id": claim.email_id})
            # Once it could leave, it may have been accepted.
            verdict = Verdict.UNCERTAIN if begun else Verdict.TEMPORARY
            return Outcome(verdict, f"sendplan failed: {type(error).__name__}")

    def _attempt(self, queue: MailboxQueue, claim: Claim, begin: Callable[[], bool]) -> Outcome:
        try:
            message = compose(claim.texts, self._installation, self._clock())
        except FlawedTemplateError as error:
            return Outcome(Verdict.FLAWED, _line(error))
        except SenderError as error:
            return Outcome(Verdict.MAILBOX, _line(error))
        except DataError as error:
            return Outcome(Verdict.REFUSED, _line(error))
        try:
            transport = self._transport(queue, claim)
        except DataError as error:
            return Outcome(Verdict.UNREACHABLE, _line(error))
        return transport.deliver(message, begin)

    def _transport(self, queue: MailboxQueue, claim: Claim) -> Transport:
        """Return the queue's transport, opened anew where the mailbox has another reference."""
        if self._outbox is not None:
            return self._outbox
        if claim.transport is None:
            remedy = "name one with `sendplan mailbox set … --transport env:NAME`"
            where = f"mailbox {claim.texts.sender}"
            raise DataError([Fault(where, "it has no transport", remedy)])
        if queue.transport is None or queue.reference != claim.transport:
            queue.close()
            server = parse_url(read_reference(claim.transport, os.environ))
            if server.timeout:
                # Beyond the lease another dispatcher would take the email back.
                server = replace(server, timeout=min(server.timeout, self._timeout))
            queue.transport = SmtpTransport(
                server,
                hostname=self._hostname,
                timeout=self._timeout,
                answer_timeout=self._answer_timeout,
            )
            queue.reference = claim.transport
        return queue.transport

    def _heed(self, queue: MailboxQueue, claim: Claim, outcome: Outcome) -> None:
        """Put a mailbox on hold whose server cannot be reached, or accepts nothing."""
        verdict = outcome.verdict
        if verdict is Verdict.WITHDRAWN:
            return
        failed = verdict in (Verdict.UNREACHABLE, Verdict.TEMPORARY)
        queue.failures = queue.failures + 1 if failed else 0
        if verdict not in (Verdict.UNREACHABLE, Verdict.MAILBOX) and queue.failures < TOLERATED:
            return
        # The secret may have changed by the end of the hold.
        queue.close()
        seconds = min(SHORTEST_HOLD * 2 ** min(queue.failures - 1, 10), LONGEST_HOLD)
        # Spread, so that not all mailboxes of a server come back at the same moment.
        seconds *= random.uniform(0.8, 1.2)
        self._held[claim.mailbox_id] = time.monotonic() + seconds
        extra = {"mailbox_id": claim.mailbox_id, "seconds": round(seconds)}
        logger.warning("The mailbox is on hold", extra=extra)
        self._give_back_waiting(queue)

    def _give_back_waiting(self, queue: MailboxQueue) -> None:
        for waiting in queue.withdraw():
            self.give_back(waiting)


def _line(error: DataError) -> str:
    return " ".join(str(error).split())
