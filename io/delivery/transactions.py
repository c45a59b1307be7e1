"""Transactions of a dispatcher, on a session that is opened anew after the database was away."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import psycopg2
from psycopg2.extras import register_default_jsonb, register_uuid
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sendplan.io.database.reconnection import AWAY, reason

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

BY_KEY = """
    SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan
"""
"""Each statement looks up a few rows by key. The server's statistics may date from empty tables,
and a query plan for these would scan the full ones."""


@dataclass(frozen=True)
class Prepared:
    """A statement that the server plans once a session, as it runs with every email.

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
        """Prepare it on a session."""
        cursor.execute(f"PREPARE {self.name} ({', '.join(self.types)}) AS {self.statement}")


class Transactions:
    """One connection, outside of the engine's pool, for transactions one after another.

    Parameters
    ----------
    engine : Engine
        The database. Nothing is opened before the first transaction.
    statements : iterable of Prepared
        Prepared on it.
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
            As the driver raises it. After one of `AWAY`, the commit may or may not be done.
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
            # The driver's error where a server hangs up amid a statement.
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
            # The same kind of error as on an open connection, so that callers retry.
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


def _json(text: str) -> object:
    """Read JSON; None for what PostgreSQL stores but Python cannot read, such as endless numbers.

    Raising would hold up all rows that are fetched together with this one.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
