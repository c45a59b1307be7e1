"""Lines: for each mailbox one way out, and the emails that wait for it."""

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
"""Emails of one mailbox that a dispatcher takes at most: what it dies with waits for its lease."""


logger = logging.getLogger(__name__)


class MailboxQueue:
    """A mailbox's way out; one thread at a time uses it.

    Parameters
    ----------
    pool : Executor
        Where its emails are worked off, one after the other, taking turns with other lines'.
    work : callable
        Sends one email.

    Attributes
    ----------
    transport : Transport or None
        What is kept open between emails; for `work` to open and to replace.
    reference : str or None
        What the transport was opened for.
    failures : int
        Sessions in a row that could not be opened.
    """

    def __init__(self, pool: Executor, work: Callable[["MailboxQueue", "Claim"], None]) -> None:
        self.transport: Transport | None = None
        self.reference: str | None = None
        self.failures = 0
        self._pool = pool
        self._work = work
        self._waiting: deque[Claim] = deque()
        self._lock = threading.Lock()
        self._in_use = False

    @property
    def room(self) -> int:
        """How many more emails it takes; one that fails must prove itself first."""
        return (1 if self.failures else MOST_IN_HAND) - len(self._waiting)

    def add(self, claim: "Claim") -> None:
        """Let an email wait for its turn."""
        with self._lock:
            self._waiting.append(claim)
        self._go_on(begin=True)

    def withdraw(self) -> list["Claim"]:
        """Take back all that wait."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        return waiting

    def rest(self) -> None:
        """Look after what is kept open, unless it is in use; in the pool, as it may take long."""
        with self._lock:
            if self._in_use or self.transport is None:
                return
            self._in_use = True
        self._pool.submit(self._rest)

    def close(self) -> None:
        """Let go of what is kept open; only for who is at work on the line, or after the last."""
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
            logger.exception("A connection could not be looked after")
        finally:
            self._go_on()

    def _next(self) -> None:
        with self._lock:
            claim = self._waiting.popleft() if self._waiting else None
        try:
            if claim is not None:
                self._work(self, claim)
        except Exception:
            logger.exception("A line has failed")
        finally:
            self._go_on()
