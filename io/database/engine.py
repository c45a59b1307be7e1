"""Connections to a PostgreSQL database, migrations, and one kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from sendplan.io.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.config import Config

APPLICATION_NAME = "sendplan"
OLDEST_SERVER = 14
"""The oldest major version of PostgreSQL that sendplan runs on."""

SCHEMA_VERSION = "0006"
"""The newest migration, so that a check need not import Alembic."""

MIGRATION_LOCK = 5_376_001
"""Key of the advisory lock of a migration."""

_DRIVERS = {"postgres", "postgresql", "postgresql+psycopg2"}


def connect(url: str) -> Engine:
    """Connect to a database and check that it can be used.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/database``, or the same with ``postgres://`` or
        ``postgresql+psycopg2://``. What it leaves out, libpq takes from its own settings.

    Returns
    -------
    Engine
        Its sessions run in UTC and show up as ``sendplan`` in ``pg_stat_activity``.

    Raises
    ------
    DatabaseError
        If the URL is not one of PostgreSQL, the server does not answer, or is too old.
    """
    target = _parse(url)
    engine = create_engine(
        target,
        connect_args={"fallback_application_name": APPLICATION_NAME},
        # Parameters are contacts' addresses and texts: they do not belong in a log.
        hide_parameters=True,
        pool_pre_ping=True,
    )
    event.listen(engine, "connect", _prepare_session)
    try:
        with translated_errors(f"connecting to {target.render_as_string(hide_password=True)}"):
            engine.connect().close()
    except DatabaseError:
        engine.dispose()
        raise
    return engine


def _parse(url: str) -> URL:
    try:
        target = make_url(url)
    except (ArgumentError, ValueError):
        # Without its cause, which may quote the password.
        raise DatabaseError(
            "The database URL cannot be read: expected postgresql://user:password@host:port/name,"
            " with @ : / ? # % in the password written as %40 %3A %2F %3F %23 %25."
        ) from None
    if target.drivername not in _DRIVERS:
        raise DatabaseError(
            f"The database URL begins with {target.drivername}://, but sendplan runs on PostgreSQL"
            " only: give a URL that begins with postgresql://."
        )
    return target.set(drivername="postgresql+psycopg2")


def _prepare_session(connection: Any, _record: object) -> None:
    major = connection.server_version // 10_000
    if major < OLDEST_SERVER:
        raise DatabaseError(
            f"The server runs PostgreSQL {major}, but sendplan needs {OLDEST_SERVER} or newer:"
            " upgrade it, or leave out the URL to use the embedded server."
        )
    with connection.cursor() as cursor:
        # Not a start-up option, which poolers such as PgBouncer refuse.
        cursor.execute("SET TIME ZONE 'UTC'")
    # A rollback would undo the setting.
    connection.commit()


@contextmanager
def translated_errors(doing: str = "") -> Iterator[None]:
    """Turn errors of the driver and of SQLAlchemy into `DatabaseError`, keeping their cause.

    Parameters
    ----------
    doing : str, optional
        The action for the message, such as ``"storing the plan"``.

    Raises
    ------
    DatabaseError
        In place of any `psycopg2.Error` or `sqlalchemy.exc.SQLAlchemyError` in the block.
    """
    try:
        yield
    except (SQLAlchemyError, psycopg2.Error) as error:
        driver_error = error.orig if isinstance(error, DBAPIError) else error
        # The first line of str(SQLAlchemyError) is the driver's; the statement follows.
        reason = str(driver_error).strip() or type(driver_error).__name__
        failed = f"Database error while {doing}" if doing else "Database error"
        raise DatabaseError(f"{failed}: {reason}") from error


@contextmanager
def committing(engine: Engine, doing: str) -> Iterator[Connection]:
    """Open a connection, commit at the end of the block, and translate errors."""
    with translated_errors(doing), engine.connect() as connection:
        yield connection
        connection.commit()


def migrate(engine: Engine) -> None:
    """Create the schema, or bring it up to date, in one transaction.

    One process at a time: a second one waits, then finds nothing to do. Checks that stored rows
    break are left out, and named in the log.

    Raises
    ------
    DatabaseError
        If the schema is newer than this sendplan, or a statement is refused.
    """
    from alembic import command

    from sendplan.io.database.value_checks import add_missing_checks

    with translated_errors("migrating the schema"), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        _refuse_newer(schema_version(connection))
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        add_missing_checks(connection)


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "sendplan.io:migrations")
    return config


def schema_version(connection: Connection) -> str | None:
    """Return the newest migration of the database, or None before the first."""
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def require_schema(engine: Engine) -> None:
    """Refuse a database with another schema than `SCHEMA_VERSION`.

    Raises
    ------
    DatabaseError
        If the schema is missing, older or newer.
    """
    with translated_errors("looking for the schema"), engine.connect() as connection:
        version = schema_version(connection)
    _refuse_newer(version)
    if version is None:
        raise DatabaseError("The database has no sendplan schema yet: run `sendplan init`.")
    if version < SCHEMA_VERSION:
        raise DatabaseError(
            f"The database has schema {version}, but this sendplan needs {SCHEMA_VERSION}:"
            " run `sendplan init` to bring it up to date."
        )


def _refuse_newer(version: str | None) -> None:
    if version is not None and version > SCHEMA_VERSION:
        raise DatabaseError(
            f"The database has schema {version}, but this sendplan knows {SCHEMA_VERSION} at most:"
            " upgrade sendplan, or check that the database is not another program's."
        )
