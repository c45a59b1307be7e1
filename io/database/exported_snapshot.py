"""A second session with the snapshot of a first one, so that both read in parallel."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

ONE_MOMENT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Options of a transaction that sees the database as of one moment."""


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that sees the database as of one moment."""
    with engine.connect().execution_options(**ONE_MOMENT) as connection, connection.begin():
        yield connection


@contextmanager
def same_moment(connection: Connection) -> Iterator[Connection]:
    """Give a transaction of another session with the same snapshot.

    Parameters
    ----------
    connection : Connection
        A transaction of `one_moment`; it must stay open meanwhile.
    """
    snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
    with one_moment(connection.engine) as second:
        # An identifier of PostgreSQL, in a statement without parameters.
        second.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
        yield second
