"""The small tables of a snapshot, which shape a plan: sequences, steps, mailboxes and links."""

import pandas as pd
from sqlalchemy import Connection, text

Settings = dict[str, list[tuple[object, ...]]]
"""Rows by table, with the columns of `SMALL_COLUMNS`."""

SMALL = {
    "sequences": """
        SELECT id, name, extract(epoch FROM start_time)::integer AS start_time,
               extract(epoch FROM end_time)::integer AS end_time, timezone, send_days, holidays,
               wait_unit, priority::double precision AS priority, max_new_per_day, status
        FROM sequences ORDER BY id""",
    "steps": """
        SELECT id, sequence_id, position, wait_days, removed_at FROM steps ORDER BY id""",
    "mailboxes": """
        SELECT id, email, daily_capacity, min_gap_seconds, ramp_start, ramp_increment, ramp_from,
               status
        FROM mailboxes ORDER BY id""",
    "sequence_mailboxes": """
        SELECT sequence_id, mailbox_id FROM sequence_mailboxes
        ORDER BY sequence_id, mailbox_id""",
}


SMALL_COLUMNS = {
    "sequences": (
        "id", "name", "start_time", "end_time", "timezone", "send_days", "holidays", "wait_unit",
        "priority", "max_new_per_day", "status",
    ),
    "steps": ("id", "sequence_id", "position", "wait_days", "removed_at"),
    "mailboxes": (
        "id", "email", "daily_capacity", "min_gap_seconds", "ramp_start", "ramp_increment",
        "ramp_from", "status",
    ),
    "sequence_mailboxes": ("sequence_id", "mailbox_id"),
}  # fmt: skip


def settings_frame(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Write the rows of a table as the frame that a problem takes."""
    frame = pd.DataFrame(rows, columns=list(SMALL_COLUMNS[name]), dtype=object)
    if name == "sequences":
        for column in ("start_time", "end_time"):
            frame[column] = pd.to_timedelta(frame[column].astype("int64"), unit="s")
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
        name: [tuple(row) for row in connection.execute(text(query))]
        for name, query in SMALL.items()
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
