"""The small tables of a snapshot, which shape a plan: sequences, steps, mailboxes and links."""

import pandas as pd
from sqlalchemy import Connection, text

from sendplan.planner.schema.columns import in_frame

Settings = dict[str, list[tuple[object, ...]]]
"""Rows by table, with the columns of its frame."""

SMALL = ("sequences", "steps", "mailboxes", "sequence_mailboxes")

_READ = {"time": "extract(epoch FROM {})::integer", "number": "{}::double precision"}
"""How columns of some kinds are read; all others as they are."""


def _query(name: str) -> str:
    columns = in_frame(name)
    read = ", ".join(_READ.get(column.kind, "{}").format(key) for key, column in columns.items())
    keys = "id" if "id" in columns else ", ".join(columns)
    return f"SELECT {read} FROM {name} ORDER BY {keys}"


def settings_frame(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Write the rows of a table as the frame that a problem takes."""
    columns = in_frame(name)
    frame = pd.DataFrame(rows, columns=list(columns), dtype=object)
    for key, column in columns.items():
        if column.kind == "time":
            frame[key] = pd.to_timedelta(frame[key].astype("int64"), unit="s")
    return frame


def read_settings(connection: Connection, reach: frozenset[int] | None = None) -> Settings:
    """Return the rows of the small tables that shape a plan.

    Parameters
    ----------
    connection : Connection
        A transaction.
    reach : frozenset of int, optional
        Only sequences among these, their steps and links; mailboxes are all there.
    """
    settings = {
        name: [tuple(row) for row in connection.execute(text(_query(name)))] for name in SMALL
    }
    if reach is None:
        return settings
    # Threads may still be bound to mailboxes that are no longer linked.
    for name, column in (("sequences", 0), ("steps", 1), ("sequence_mailboxes", 0)):
        settings[name] = [row for row in settings[name] if row[column] in reach]
    return settings


def same_settings(one: Settings, other: Settings, reach: frozenset[int] | None) -> bool:
    """Tell whether nothing that shapes the plan of the sequences within reach differs.

    Parameters
    ----------
    one, other : dict of list
        As read at two moments.
    reach : frozenset of int or None
        As they were read.
    """
    return _concerned(one, reach) == _concerned(other, reach)


def _concerned(settings: Settings, reach: frozenset[int] | None) -> Settings:
    """Leave out mailboxes that are not linked to any sequence within reach."""
    if reach is None:
        return dict(settings)
    linked = {row[1] for row in settings["sequence_mailboxes"]}
    mailboxes = [row for row in settings["mailboxes"] if row[0] in linked]
    return {**settings, "mailboxes": mailboxes}
