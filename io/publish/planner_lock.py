"""One planner at a time: an advisory lock from before the snapshot until after the commit.

A planner whose session broke may have left processes behind that publish parts of its run. The next
planner gives that run up first, see `sendplan.io.publish.run_records`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.planner_lock_key import PLANNER_LOCK, lock_is_held
from sendplan.io.errors import DatabaseError, SendplanError
from sendplan.io.publish.run_records import give_up_runs

# In the session itself: a transaction pooler may hand statements to a session without the lock.
HOLDS = f"SELECT {lock_is_held('pg_backend_pid()')}"


class PlannerBusyError(SendplanError):
    """Another planner is running on this database."""

    exit_code = 0


class LockLostError(DatabaseError):
    """The planner's session has ended, and its lock with it."""


@dataclass(frozen=True)
class PlannerSession:
    """The session with the planner's lock; a planner publishes through it.

    A session keeps its lock until its last transaction is over, so what commits here was published
    under the lock.

    Parameters
    ----------
    pid : int
        The process of the server behind the session, as in ``pg_locks``.
    """

    _connection: Connection
    pid: int

    def proven(self) -> Connection:
        """Return the session, with no transaction open, once it is proven to hold the lock.

        Raises
        ------
        LockLostError
            If it has ended, or another session answers in its place.
        """
        held = False
        # A broken session would be replaced silently, but without the lock.
        with suppress(SQLAlchemyError), self._connection.begin():
            held = bool(self._connection.scalar(text(HOLDS)))
        if not held:
            raise LockLostError(
                "The planner's session has ended, and with it the lock that lets one planner"
                " publish at a time; nothing more was published. Plan again. If this happens every"
                " time, look for an idle time-out or a transaction pooler before the server."
            )
        return self._connection


@contextmanager
def planner_lock(engine: Engine) -> Iterator[PlannerSession]:
    """Hold the planner's lock; give up runs that an earlier planner left open.

    Yields
    ------
    PlannerSession
        To publish through.

    Raises
    ------
    PlannerBusyError
        If another planner holds it.
    """
    with translated_errors("taking the planner's lock"), engine.connect() as connection:
        with connection.begin():
            # The session is idle while the planner solves.
            connection.execute(text("SET idle_session_timeout = 0"))
            mine, pid = connection.execute(
                text("SELECT pg_try_advisory_lock(:key), pg_backend_pid()"), {"key": PLANNER_LOCK}
            ).one()
        if not mine:
            raise PlannerBusyError(
                "Another planner is running on this database; nothing was planned or changed."
            )
        try:
            with connection.begin():
                give_up_runs(connection)
            yield PlannerSession(connection, pid)
        finally:
            _release(connection)


def _release(connection: Connection) -> None:
    """Give the lock back; a session that has broken is no reason to forget what was done."""
    try:
        connection.rollback()
        with connection.begin():
            connection.execute(text("RESET idle_session_timeout"))
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": PLANNER_LOCK})
    except SQLAlchemyError:
        # Back in the pool it might hold the lock for good.
        with suppress(SQLAlchemyError):
            connection.invalidate()
