"""Sending one email: made, handed to its mailbox's transport, and its outcome written down."""

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
"""Seconds a mailbox is left alone after a session failed: the first time, and doubled up to."""

TOLERATED = 3
"""Emails in a row that a server does not accept now, before its mailbox is left alone, too."""

logger = logging.getLogger(__name__)


class Sender:
    """Sends emails, each on the line of its mailbox; used by many threads.

    Parameters
    ----------
    outcome recorder : Outcome recorder
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
        self._ledger = recorder
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
        """Return the mailboxes that are left alone for now."""
        now = time.monotonic()
        return [mailbox_id for mailbox_id, until in list(self._held.items()) if until > now]

    def send(self, line: MailboxQueue, claim: Claim) -> None:
        """Send an email, and leave its outcome to the outcome recorder."""
        began = time.monotonic()
        outcome = self._outcome(line, claim)
        self._ledger.end(claim, outcome, self._clock())
        self._heed(line, claim, outcome)
        if time.monotonic() - began > self._patience:
            # At this pace their leases would run out while they wait.
            self._give_back_waiting(line)

    def give_back(self, claim: Claim) -> None:
        """Give back an email that is not to be sent from here."""
        self._ledger.end(claim, Outcome(Verdict.WITHDRAWN), self._clock())

    def _outcome(self, line: MailboxQueue, claim: Claim) -> Outcome:
        """Try to send an email; what nobody thought of is an outcome, too."""
        begun = False

        def begin() -> bool:
            nonlocal begun
            now = self._clock()
            in_time = now < claim.closes and now <= claim.send_at + self._grace
            begun = in_time and self._ledger.begin(claim)
            return begun

        try:
            return self._attempt(line, claim, begin)
        except Exception as error:
            logger.exception("Sending failed", extra={"email_id": claim.email_id})
            # Who knows how far it came, once it could leave.
            verdict = Verdict.UNCERTAIN if begun else Verdict.TEMPORARY
            return Outcome(verdict, f"sendplan failed: {type(error).__name__}")

    def _attempt(self, line: MailboxQueue, claim: Claim, begin: Callable[[], bool]) -> Outcome:
        try:
            message = compose(claim.texts, self._installation, self._clock())
        except FlawedTemplateError as error:
            return Outcome(Verdict.FLAWED, _line(error))
        except SenderError as error:
            return Outcome(Verdict.MAILBOX, _line(error))
        except DataError as error:
            return Outcome(Verdict.REFUSED, _line(error))
        try:
            transport = self._transport(line, claim)
        except DataError as error:
            return Outcome(Verdict.UNREACHABLE, _line(error))
        return transport.deliver(message, begin)

    def _transport(self, line: MailboxQueue, claim: Claim) -> Transport:
        """Return the line's transport, opened anew where the mailbox has got another one."""
        if self._outbox is not None:
            return self._outbox
        if claim.transport is None:
            where, what = f"mailbox {claim.texts.sender}", "it has no transport"
            remedy = "name one with `sendplan mailbox set … --transport env:NAME`"
            raise DataError([Fault(where, what, remedy)])
        if line.transport is None or line.reference != claim.transport:
            line.close()
            server = parse_url(read_reference(claim.transport, os.environ))
            if server.timeout:
                # Longer than the lease, others would take the email for lost meanwhile.
                server = replace(server, timeout=min(server.timeout, self._timeout))
            line.transport = SmtpTransport(
                server,
                hostname=self._hostname,
                timeout=self._timeout,
                answer_timeout=self._answer_timeout,
            )
            line.reference = claim.transport
        return line.transport

    def _heed(self, line: MailboxQueue, claim: Claim, outcome: Outcome) -> None:
        """Leave a mailbox alone for a while whose server cannot be reached, or takes nothing."""
        verdict = outcome.verdict
        if verdict is Verdict.WITHDRAWN:
            return
        failed = verdict in (Verdict.UNREACHABLE, Verdict.TEMPORARY)
        line.failures = line.failures + 1 if failed else 0
        hold = verdict in (Verdict.UNREACHABLE, Verdict.MAILBOX) or line.failures >= TOLERATED
        if not hold:
            return
        # The secret may be another one by then.
        line.close()
        seconds = min(SHORTEST_HOLD * 2 ** min(line.failures - 1, 10), LONGEST_HOLD)
        # Not all mailboxes of a server that was away at the same moment.
        seconds *= random.uniform(0.8, 1.2)
        self._held[claim.mailbox_id] = time.monotonic() + seconds
        extra = {"mailbox_id": claim.mailbox_id, "seconds": round(seconds)}
        logger.warning("The mailbox is left alone for a while", extra=extra)
        self._give_back_waiting(line)

    def _give_back_waiting(self, line: MailboxQueue) -> None:
        for waiting in line.withdraw():
            self.give_back(waiting)


def _line(error: DataError) -> str:
    return " ".join(str(error).split())
