"""Checks of single values that are left out as long as stored rows break them."""

import logging
from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Connection, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.conditions import WINDOW, rules
from sendplan.io.database.tables import metadata
from sendplan.planner.schema.columns import COLUMNS

BROKEN = ("23514", "22023")
"""A row that breaks a check, and a time zone that PostgreSQL does not know."""

HELD = """
    SELECT conrelid::regclass::text || ' ' || conname
    FROM pg_constraint WHERE contype = 'c' AND convalidated
      AND connamespace = current_schema()::regnamespace
"""

logger = logging.getLogger(__name__)


def rules_of(table: str, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield column, check and condition of each rule about the single values of a table.

    Parameters
    ----------
    table : str
        The table.
    prefix : str
        What stands before a column in the condition: ``"email."``.
    """
    for name, column in COLUMNS[table].items():
        if column.stored:
            for rule, condition in rules(f"{prefix}{name}", column):
                yield name, f"{table}_{name}_{rule}", condition


def usable(**rows: str) -> str:
    """Return the condition, in SQL, that rows hold no value that must be set aside.

    Parameters
    ----------
    **rows : str
        Tables by the name of their row in the query: ``email="scheduled_emails"``.
    """
    conditions = [
        f"({condition}) IS NOT FALSE"
        for row, table in rows.items()
        for _, _, condition in rules_of(table, f"{row}.")
    ]
    for row, table in rows.items():
        if table == "sequences":
            window = WINDOW.replace("end_time", f"{row}.end_time")
            conditions.append(window.replace("start_time", f"{row}.start_time"))
    return " AND ".join(conditions)


def held_checks(connection: Connection) -> frozenset[tuple[str, str]]:
    """Return table and name of every check that all stored rows keep."""
    found = connection.scalars(text(HELD))
    return frozenset((table, name) for table, name in map(str.split, found))


def add_missing_checks(connection: Connection) -> None:
    """Add the checks that a migration has left out, where no row breaks them any more.

    Parameters
    ----------
    connection : Connection
        The transaction that migrates; what rows still break is named in the log.
    """
    held = held_checks(connection)
    for table in metadata.sorted_tables:
        for check in table.constraints:
            if not isinstance(check, CheckConstraint):
                continue
            name = full_name(table.name, str(check.name))
            if (table.name, name) not in held:
                _add(connection, table.name, name, str(check.sqltext))


def full_name(table: str, check: str) -> str:
    """Return the name of a check in the database."""
    return check if check.startswith(f"{table}_") else f"{table}_{check}"


def _add(connection: Connection, table: str, name: str, rule: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"))
            # As it stands, as colons are casts.
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule})")
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in BROKEN:
            raise
        logger.warning(
            "Rows of %s break the check %s, which stays left out: `sendplan check` names them;"
            " mend them, then run `sendplan init` again",
            table,
            name,
        )
