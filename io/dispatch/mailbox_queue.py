"""The queue of a mailbox: claimed emails that wait for its one transport."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sendplan.io.delivery.claim import Claim
    from sendplan.io.messages.outcomes import Transport

MOST_IN_HAND = 20
"""The most emails of one mailbox in a queue: after a crash they wait for their lease to end."""

logger = logging.getLogger(__name__)


class MailboxQueue:
    """Claimed emails of one mailbox, sent one at a time, and its transport.

    Parameters
    ----------
    pool : Executor
        Threads that send its emails, taking turns with other queues.
    send : callable
        Sends one email.

    Attributes
    ----------
    transport : Transport or None
        Kept open between emails; `send` opens and replaces it.
    reference : str or None
        The reference that the transport was opened for.
    failures : int
        Emails in a row that met no session, or were not accepted now.
    """

    def __init__(self, pool: Executor, send: Callable[["MailboxQueue", "Claim"], None]) -> None:
        self.transport: Transport | None = None
        self.reference: str | None = None
        self.failures = 0
        self._pool = pool
        self._send = send
        self._waiting: deque[Claim] = deque()
        self._lock = threading.Lock()
        self._in_use = False

    @property
    def room(self) -> int:
        """How many more emails it takes; one at a time after a failure."""
        return (1 if self.failures else MOST_IN_HAND) - len(self._waiting)

    def add(self, claim: "Claim") -> None:
        """Append an email."""
        with self._lock:
            self._waiting.append(claim)
        self._go_on(begin=True)

    def withdraw(self) -> list["Claim"]:
        """Remove and return all queued emails."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def rest(self) -> None:
        """Let an idle transport end its session, in the pool, as that may take long."""
        with self._lock:
            if self._in_use or self.transport is None:
                return
            self._in_use = True
        self._pool.submit(self._rest)

    def close(self) -> None:
        """Close the transport; only from `send`, or once the pool has ended."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def _go_on(self, *, begin: bool = False) -> None:
        with self._lock:
            if begin and self._in_use:
                return
            self._in_use = bool(self._waiting)
            if self._in_use:
                self._pool.submit(self._next)

    def _rest(self) -> None:
        try:
            if self.transport is not None:
                self.transport.rest()
        except Exception:
            logger.exception("An idle connection could not be closed")
        finally:
            self._go_on()

    def _next(self) -> None:
        with self._lock:
            claim = self._waiting.popleft() if self._waiting else None
        try:
            if claim is not None:
                self._send(self, claim)
        except Exception:
            logger.exception("The queue of a mailbox has failed")
        finally:
            self._go_on()
