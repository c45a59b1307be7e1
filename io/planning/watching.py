"""Waiting for changes: a session of its own that listens for the database's notices."""

import logging
import select
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sendplan.io.database.reconnection import ASKED_EVERY, persistently, reason
from sendplan.io.snapshot.requests import CHANNEL

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Session

logger = logging.getLogger(__name__)


def notices(
    engine: Engine,
    stopped: Callable[[], bool],
    *,
    settle: float = 0.2,
    longest: float = 2.0,
    every: float = 60.0,
) -> Iterator[None]:
    """Wait for changes; yield whenever there may be requests to read.

    That is at the start; after every burst of notices; after a lost connection, since notices may
    have been missed; and after a long silence, since a pooler may keep notices back.

    Listening takes a session outside of the engine's pool, which ends with the generator. Notices
    that come between two steps of the generator are yielded with the next one.

    Parameters
    ----------
    engine : Engine
        The database.
    stopped : callable
        Called every half a second at least; the generator ends once it returns True. The
        ``is_set`` of a `threading.Event`, for one.
    settle : float
        Seconds of silence that end a burst.
    longest : float
        Seconds of a burst at most.
    every : float
        Seconds between two yields at most.

    Yields
    ------
    None

    Raises
    ------
    DatabaseError
        If the server is too old. A server that does not answer is waited for.
    """
    session: Session | None = None
    try:
        while not stopped():
            try:
                if session is None:
                    session = _listening(engine, stopped)
                elif _heard(session, every, stopped):
                    _collect(session, settle, longest, stopped)
            except psycopg2.Error as error:
                logger.warning("The connection to the database was lost: %s", reason(error))
                if session is not None:
                    session.close()
                session = None
                continue
            if not stopped():
                yield
    finally:
        if session is not None:
            session.close()


def _listening(engine: Engine, stopped: Callable[[], bool]) -> "Session | None":
    """Open a session that listens, with retries; None if stopped meanwhile."""
    errors = (psycopg2.Error, SQLAlchemyError)
    session = persistently(lambda: _listen(engine), stopped, None, errors)
    if session is not None:
        logger.info("Listening for changes")
    return session


def _listen(engine: Engine) -> "Session":
    pooled = engine.raw_connection()
    session = cast("Session", pooled.driver_connection)
    # Out of the pool for good: it must not hand out a session that listens.
    pooled.detach()
    try:
        # An open transaction would hold notices back for all listeners.
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SET idle_session_timeout = 0")
            cursor.execute(f"LISTEN {CHANNEL}")
    except psycopg2.Error:
        session.close()
        raise
    return session


def _heard(session: "Session", seconds: float, stopped: Callable[[], bool]) -> bool:
    """Wait for a notice, and tell whether one came in time."""
    until = time.monotonic() + seconds
    while not stopped() and (left := until - time.monotonic()) > 0:
        readable, _, _ = select.select([session], [], [], min(left, ASKED_EVERY))
        if readable:
            session.poll()
            heard = bool(session.notifies)
            session.notifies.clear()
            if heard:
                return True
    return False


def _collect(
    session: "Session", settle: float, longest: float, stopped: Callable[[], bool]
) -> None:
    """Wait for a burst to be over."""
    until = time.monotonic() + longest
    while _heard(session, min(settle, until - time.monotonic()), stopped):
        pass
