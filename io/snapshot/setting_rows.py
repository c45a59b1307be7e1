"""The small tables of a snapshot: sequences, steps, mailboxes and links."""

import pandas as pd
from sqlalchemy import Connection

from sendplan.io.database.conditions import rules
from sendplan.planner.schema.column import Column
from sendplan.planner.schema.columns import in_frame

Settings = dict[str, list[tuple[object, ...]]]
"""Rows by table, with the columns of its frame."""

SMALL = ("sequences", "steps", "mailboxes", "sequence_mailboxes")

_READ = {"time": "extract(epoch FROM {})::integer", "number": "{}::double precision"}
"""Conversions of kinds of columns; all others are read as they are. Null where a rule is broken."""


def _query(name: str) -> str:
    columns = in_frame(name)
    read = ", ".join(_cell(key, column) for key, column in columns.items())
    keys = "id" if "id" in columns else ", ".join(columns)
    return f"SELECT {read} FROM {name} ORDER BY {keys}"


def _cell(name: str, column: Column) -> str:
    read = _READ.get(column.kind, "{}").format(name)
    broken = " OR ".join(f"NOT ({condition})" for _, condition in rules(name, column))
    return f"CASE WHEN {broken} THEN NULL ELSE {read} END" if broken else read


def settings_frame(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Return the rows of a table as the frame of a problem."""
    columns = in_frame(name)
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    for key, column in columns.items():
        if column.kind == "time":
            frame[key] = pd.to_timedelta(frame[key].astype("int64"), unit="s")
    return frame


def read_settings(connection: Connection, reach: frozenset[int] | None = None) -> Settings:
    """Read the rows of the small tables.

    Parameters
    ----------
    connection : Connection
    reach : frozenset of int, optional
        Only these sequences, their steps and links; all mailboxes.
    """
    settings = {
        name: [tuple(row) for row in connection.exec_driver_sql(_query(name))] for name in SMALL
    }
    if reach is None:
        return settings
    # Threads may still be bound to mailboxes that are no longer linked.
    for name, column in (("sequences", 0), ("steps", 1), ("sequence_mailboxes", 0)):
        settings[name] = [row for row in settings[name] if row[column] in reach]
    return settings


def same_settings(one: Settings, other: Settings, reach: frozenset[int] | None) -> bool:
    """Return whether the settings of the sequences within reach are equal.

    Parameters
    ----------
    one, other : dict of list
        Read at two moments.
    reach : frozenset of int or None
        Their reach when they were read.
    """
    return _concerned(one, reach) == _concerned(other, reach)


def _concerned(settings: Settings, reach: frozenset[int] | None) -> Settings:
    """Leave out mailboxes that are not linked to any sequence within reach."""
    if reach is None:
        return dict(settings)
    linked = {row[1] for row in settings["sequence_mailboxes"]}
    mailboxes = [row for row in settings["mailboxes"] if row[0] in linked]
    return {**settings, "mailboxes": mailboxes}
