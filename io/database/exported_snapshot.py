"""A second session that sees what a first one sees, so that both can read at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

ONE_MOMENT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""How a transaction runs in which everything is seen as of one moment."""


@contextmanager
def one_moment(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which everything is seen as of one moment."""
    with engine.connect().execution_options(**ONE_MOMENT) as connection, connection.begin():
        yield connection


@contextmanager
def same_moment(connection: Connection) -> Iterator[Connection]:
    """Give a transaction of another session that sees the same.

    Parameters
    ----------
    connection : Connection
        A transaction of `one_moment`; it must stay open meanwhile.
    """
    snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
    with one_moment(connection.engine) as second:
        # An identifier made by PostgreSQL, where it takes no parameter.
        second.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
        yield second
