"""Transactions of a dispatcher, on a session that comes back after the database was away."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import psycopg2
from psycopg2.extras import register_default_jsonb, register_uuid
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

SHORTEST_WAIT = 0.25
LONGEST_WAIT = 15.0
"""Seconds before another attempt to reach the database: the second, and doubled up to the last."""

ASKED_EVERY = 0.5
"""Seconds after which a wait asks again whether to stop."""

AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""What the driver raises when the database goes away, or undoes a transaction to end a deadlock."""

BY_KEY = """
    SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan
"""
"""Each statement looks a handful of rows up by key. What the server knows of the tables may be as
old as their being empty, and a plan for that would read them through once they are full."""

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Prepared:
    """A statement that the server plans once a session, for what runs with every email.

    Parameters
    ----------
    name : str
        Within a session.
    types : tuple of str
        Of its parameters, in order.
    statement : str
        With ``$1``, ``$2`` … for them.
    """

    name: str
    types: tuple[str, ...]
    statement: str

    def execute(self, cursor: "Cursor", *values: object) -> None:
        """Run it on a session of `Transactions`."""
        places = ", ".join(f"%s::{kind}" for kind in self.types)
        cursor.execute(f"EXECUTE {self.name} ({places})", values)

    def prepare(self, cursor: "Cursor") -> None:
        """Make it known to a session."""
        cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.statement}")


class Transactions:
    """One connection, outside of the engine's pool, for transactions one after another.

    Parameters
    ----------
    engine : Engine
        The database. Nothing is opened before the first transaction.
    statements : iterable of Prepared
        What will be run on it.
    settings : str, optional
        ``SET`` statements for its session.
    """

    def __init__(
        self, engine: Engine, statements: Iterable[Prepared] = (), settings: str = ""
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._statements = tuple(statements)
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator["Cursor"]:
        """Give a cursor; commit at the end of the block, undo everything if it raises.

        Raises
        ------
        psycopg2.Error
            As the driver has it. One of `AWAY` leaves it open whether a commit went through.
        """
        if self._connection is None:
            self._connection = self._open()
        try:
            with self._connection, self._connection.cursor() as cursor:
                yield cursor
        except AWAY:
            self.close()
            raise
        except psycopg2.DatabaseError as error:
            if type(error) is not psycopg2.DatabaseError or error.pgcode is not None:
                raise
            # What the driver makes of a server that hangs up without a word amid a statement.
            self.close()
            raise psycopg2.OperationalError(reason(error)) from error

    def close(self) -> None:
        """Close the connection, if there is one; the next transaction opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> "Connection":
        try:
            pooled = self._engine.raw_connection()
        except SQLAlchemyError as error:
            # One kind of error for whoever waits for the database to come back.
            raise psycopg2.OperationalError(reason(error.__cause__ or error)) from error
        connection = cast("Connection", pooled.driver_connection)
        pooled.detach()
        register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]
        register_default_jsonb(connection, loads=_json)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"{BY_KEY}; {self._settings}" if self._settings else BY_KEY)
            for statement in self._statements:
                statement.prepare(cursor)
        return connection


def persistently(
    attempt: Callable[[], Result], stopped: Callable[[], bool], default: Result
) -> Result:
    """Repeat what the database's absence has stopped, until it works or is told to stop.

    Parameters
    ----------
    attempt : callable
        Repeated while it raises one of `AWAY`; must be safe to repeat.
    stopped : callable
        Asked every half a second at least.
    default : object
        What is returned when told to stop.
    """

    def pause(seconds: float) -> None:
        until = time.monotonic() + seconds
        while not stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, ASKED_EVERY))

    retrying = Retrying(
        retry=retry_if_exception_type(AWAY),
        wait=wait_exponential(multiplier=SHORTEST_WAIT, max=LONGEST_WAIT),
        sleep=pause,
        stop=lambda _: stopped(),
        before_sleep=_log_failure,
        retry_error_callback=lambda _: default,
    )
    result: Result = retrying(attempt)
    return result


def _json(text: str) -> object:
    """Read JSON; None for what PostgreSQL stores but Python cannot read, such as endless numbers.

    Raising would hold up all rows that are fetched together with this one.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def reason(error: BaseException | None) -> str:
    """Give what an error says in one line."""
    return " ".join(str(error).split())


def _log_failure(state: RetryCallState) -> None:
    if state.outcome is not None and state.next_action is not None:
        extra = {
            "again_in": round(state.next_action.sleep, 2),
            "reason": reason(state.outcome.exception()),
        }
        logger.warning("The database does not answer", extra=extra)
