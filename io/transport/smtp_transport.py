"""Sending over SMTP: one mailbox, one session that is kept open, one email at a time."""

import time
from collections.abc import Callable

from sendplan.io.messages.outcomes import Message, Outcome, Verdict
from sendplan.io.transport.smtp_auth import secrets_of
from sendplan.io.transport.smtp_replies import Phase, outcome
from sendplan.io.transport.smtp_session import Failure, Session, trust, wire_form
from sendplan.io.transport.transport_urls import Server, StartTls

TIMEOUT = 30.0
ANSWER_TIMEOUT = 60.0
KEPT = 90.0

CHECKED_AFTER = 5.0
"""Seconds without an email after which RSET checks that a session is alive."""

FAREWELL = 2.0
"""Seconds that QUIT may take."""


class SmtpTransport:
    """Hands the emails of one mailbox to its server.

    The session is opened with the first email and kept for the next. One email takes at most
    `longest` seconds, apart from the look-up of the server's name.

    Parameters
    ----------
    server : Server
    hostname : str
        This machine's name in EHLO; looked up by the caller, as that may take long.
    timeout : float
        Seconds until the recipient is accepted, the opening of a session included, and once more
        for handing over the message. The server's own timeout takes precedence.
    answer_timeout : float
        Seconds to wait for the reply to the message, or the server's own timeout if that is longer:
        without a reply the outcome is uncertain.
    kept : float
        Seconds without an email after which `rest` ends the session.
    clock : callable
        A monotonic clock in seconds, for `kept`.

    Raises
    ------
    DataError
        If the server's certificates cannot be read.
    """

    def __init__(
        self,
        server: Server,
        *,
        hostname: str,
        timeout: float = TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
        kept: float = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        encrypts = server.tls or server.starttls is not StartTls.NEVER
        self._server = server
        self._hostname = hostname
        self._context = trust(server.ca) if encrypts else None
        self._timeout = server.timeout or timeout
        self._answer_timeout = max(answer_timeout, server.timeout or 0.0)
        self._kept = kept
        self._clock = clock
        self._secrets = secrets_of(server)
        self._session: Session | None = None
        self._used = 0.0
        self._unfinished = False

    @property
    def longest(self) -> float:
        """The most seconds that one email takes."""
        return 2 * self._timeout + self._answer_timeout

    def deliver(self, message: Message, begin: Callable[[], bool]) -> Outcome:
        """Hand over a message; see `Transport.deliver`."""
        until = time.monotonic() + self._timeout
        try:
            session = self._introduced(message, until)
            session.command(Phase.RCPT, f"RCPT TO:<{message.recipient}>")
            # Before `begin`, after which a crash leaves the outcome open.
            data = wire_form(message.data)
            if not begin():
                self._unfinished = True
                return Outcome(Verdict.WITHDRAWN)
            session.allow(self._timeout)
            session.command(Phase.DATA, "DATA", hoped=3)
            session.send(Phase.BODY, data)
            session.allow(self._answer_timeout)
            # Apart from the message, so that a failure before it is no acceptance.
            session.send(Phase.DOT, b".\r\n")
            reply = session.expect(Phase.DOT, 2)
        except Failure as failure:
            return self._failed(failure)
        except BaseException:
            # `begin` may raise; the transaction must not go on.
            self._drop()
            raise
        self._unfinished = False
        self._used = self._clock()
        return self._outcome(Phase.DOT, reply.code, reply.text)

    def rest(self) -> None:
        """End the session after `kept` seconds without an email."""
        if self._session is not None and self._clock() - self._used >= self._kept:
            self.close()

    def close(self) -> None:
        """End the session; the next email opens another one."""
        if self._session is not None:
            self._session.allow(FAREWELL)
            self._session.quit()
            self._drop()

    def _introduced(self, message: Message, until: float) -> Session:
        """Return a session that has accepted the sender, a new one if need be."""
        session = self._kept_session(message, until)
        if session is None:
            self._drop()
            session = self._session = Session(self._server, self._hostname, self._context)
            session.allow(until - time.monotonic())
            session.open()
            session.command(Phase.MAIL, _mail(message))
        return session

    def _kept_session(self, message: Message, until: float) -> Session | None:
        """Return the session that was kept, with the sender accepted; None if it has died."""
        session = self._session
        if session is None or not session.is_quiet():
            return None
        # A dead one must leave time for a new one.
        session.allow((until - time.monotonic()) / 3)
        try:
            if self._unfinished or self._clock() - self._used >= CHECKED_AFTER:
                # Like NOOP, and clears what the last email may have left.
                session.command(Phase.RSET, "RSET")
                self._unfinished = False
            session.command(Phase.MAIL, _mail(message))
        except Failure as failure:
            if failure.phase is Phase.RSET or failure.code in (None, 421):
                # The server has ended the session, which says nothing of the email.
                return None
            raise
        session.allow(until - time.monotonic())
        return session

    def _failed(self, failure: Failure) -> Outcome:
        spoke = failure.code is not None and failure.code >= 400 and failure.code != 421
        if spoke and failure.phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT):
            self._unfinished = True
            self._used = self._clock()
        else:
            self._drop()
        return self._outcome(failure.phase, failure.code, failure.text)

    def _outcome(self, phase: Phase, code: int | None, text: str) -> Outcome:
        # Some servers repeat a command that they refuse, the one with the password too.
        return outcome(phase, code, self._secrets.sub("…", text) if self._secrets else text)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.drop()
            self._session = None
        self._unfinished = False


def _mail(message: Message) -> str:
    return f"MAIL FROM:<{message.sender}>"
