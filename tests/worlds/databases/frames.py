"""Frames (planner/README.md) into the tables and out of them again, by plain SQL as users write it.

Nothing of ``io/snapshot/load.py`` and ``io/publish/store.py`` is used here, so that what these do
can be compared with it, and a stored plan can be judged from the rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, text

from sendplan.tests.worlds.oracle.facts import as_day, records

Frames = dict[str, pd.DataFrame]
Row = dict[str, Any]

TABLES = (
    "sequences",
    "steps",
    "mailboxes",
    "sequence_mailboxes",
    "contacts",
    "enrollments",
    "plan_runs",
    "scheduled_emails",
)
"""In the order in which references allow them to be filled."""

OF_CONTACTS = ("contact_timezone", "suppressed_at")
NOT_STORED = ("last_sent_day",)

QUERIES = {
    "sequences": "SELECT * FROM sequences ORDER BY id",
    "steps": "SELECT id, sequence_id, position, wait_days, removed_at FROM steps ORDER BY id",
    "mailboxes": "SELECT * FROM mailboxes ORDER BY id",
    "sequence_mailboxes": "SELECT * FROM sequence_mailboxes ORDER BY sequence_id, mailbox_id",
    "enrollments": """
        SELECT enrollments.*, contacts.timezone AS contact_timezone, contacts.suppressed_at
        FROM enrollments JOIN contacts ON contacts.id = contact_id ORDER BY enrollments.id""",
    "scheduled_emails": """
        SELECT id, enrollment_id, step_id, mailbox_id, send_day, send_at, sent_at, plan_run_id,
               unplaced_reason, status
        FROM scheduled_emails ORDER BY id""",
}

SENDS = """
    SELECT enrollment_id, step_id, position, mailbox_id, send_day, send_at
    FROM scheduled_emails AS email JOIN steps ON steps.id = email.step_id
    WHERE status = 'pending' AND plan_run_id IS NOT NULL
    ORDER BY enrollment_id, position
"""
UNPLACED = """
    SELECT enrollment_id, step_id, unplaced_reason AS reason
    FROM scheduled_emails WHERE status = 'pending' AND unplaced_reason IS NOT NULL
    ORDER BY enrollment_id, step_id
"""


# ---------------------------------------------------------------- in


def put_frames(connection: Connection, frames: Mapping[str, pd.DataFrame], now: datetime) -> None:
    """Fill empty tables with an instance.

    Contacts follow from the enrollments, each of which gets one of its own without ``contact_id``.
    ``used`` becomes emails of ended enrollments in a sequence of their own, and a
    ``last_sent_day`` that no row tells of becomes a sent row of the current step, as the tables
    have no other place for it.
    """
    rows = {name: records(frames.get(name)) for name in ("sequences", "steps", "mailboxes")}
    rows["sequence_mailboxes"] = records(frames.get("sequence_mailboxes"))
    rows["enrollments"] = records(frames.get("enrollments"))
    rows["scheduled_emails"] = [
        _with_whole_slot(row) for row in records(frames.get("scheduled_emails"))
    ]
    used = records(frames.get("used"))
    _add_last_sent(rows, now)
    # Ids of our own making stay clear of those in the frames.
    spare = 1 + max(
        (int(row.get("contact_id", row["id"])) for row in rows["enrollments"]), default=0
    )
    for row in rows["enrollments"]:
        if "contact_id" not in row:
            row["contact_id"] = spare
            spare += 1
    contacts: dict[int, Row] = {}
    for row in rows["enrollments"]:
        contact = contacts.setdefault(int(row["contact_id"]), {"id": row["contact_id"]})
        for column in OF_CONTACTS:
            if column in row:
                contact[column.removeprefix("contact_")] = row.pop(column)
        for column in NOT_STORED:
            row.pop(column, None)
    if used:
        _add_used(rows, contacts, used, now)
    rows["contacts"] = [
        row | {"email": f"contact{key}@example.com"} for key, row in contacts.items()
    ]
    runs = {row["plan_run_id"] for row in rows["scheduled_emails"] if "plan_run_id" in row}
    rows["plan_runs"] = [{"id": run} for run in sorted(runs)]
    for table in TABLES:
        insert_rows(connection, table, rows[table])


def insert_rows(connection: Connection, table: str, rows: Iterable[Row]) -> None:
    """Insert rows with the columns that each one knows."""
    for row in rows:
        names = list(row)
        values = ", ".join(f":{name}" for name in names)
        connection.execute(
            text(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"),
            {name: _plain(value) for name, value in row.items()},
        )


def _plain(value: Any) -> Any:
    """Give a value in the type that the driver knows."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, list | tuple):
        return [int(day) for day in value]
    return value.item() if hasattr(value, "item") else value


def _with_whole_slot(row: Row) -> Row:
    """Drop the run of a row without a slot, as no plan has given it one."""
    whole = {"mailbox_id", "send_day", "send_at"} <= set(row)
    return row if whole else {name: value for name, value in row.items() if name != "plan_run_id"}


def _after(taken: Iterable[Row]) -> int:
    """Give an id that is not taken."""
    return 1 + max((int(row["id"]) for row in taken), default=0)


def _add_last_sent(rows: dict[str, list[Row]], now: datetime) -> None:
    told = {(row["enrollment_id"], row["step_id"]) for row in rows["scheduled_emails"]}
    zones = {row["id"]: row.get("timezone", "UTC") for row in rows["sequences"]}
    email = _after(rows["scheduled_emails"])
    for row in rows["enrollments"]:
        silent = (row["id"], row.get("current_step_id")) not in told
        if "current_step_id" not in row or "last_sent_day" not in row or not silent:
            continue
        zone = ZoneInfo(row.get("contact_timezone", zones[row["sequence_id"]]))
        day = as_day(row["last_sent_day"])
        at = min(datetime.combine(day, time(12), tzinfo=zone), now - timedelta(seconds=1))
        rows["scheduled_emails"].append(
            {
                "id": email,
                "enrollment_id": row["id"],
                "step_id": row["current_step_id"],
                "send_day": day,
                "sent_at": at,
                "status": "sent",
            }
            | ({"mailbox_id": row["mailbox_id"]} if "mailbox_id" in row else {})
        )
        email += 1


def _add_used(
    rows: dict[str, list[Row]], contacts: dict[int, Row], used: list[Row], now: datetime
) -> None:
    sequence, step = _after(rows["sequences"]), _after(rows["steps"])
    rows["sequences"].append({"id": sequence, "start_time": time(9), "end_time": time(17)})
    rows["steps"].append({"id": step, "sequence_id": sequence, "position": 1})
    contact, enrollment = _after(contacts.values()), _after(rows["enrollments"])
    email = _after(rows["scheduled_emails"])
    for row in used:
        day = as_day(row["send_day"])
        at = datetime.combine(day, time(12), tzinfo=UTC)
        for _ in range(int(row["used"])):
            contacts[contact] = {"id": contact}
            rows["enrollments"].append(
                {
                    "id": enrollment,
                    "contact_id": contact,
                    "sequence_id": sequence,
                    "enrolled_at": min(at, now) - timedelta(days=2),
                    "status": "stopped",
                }
            )
            state = {"status": "sent", "sent_at": at} if at < now else {"status": "claimed"}
            rows["scheduled_emails"].append(
                {
                    "id": email,
                    "enrollment_id": enrollment,
                    "step_id": step,
                    "mailbox_id": row["mailbox_id"],
                    "send_day": day,
                    "send_at": at,
                }
                | state
            )
            contact, enrollment, email = contact + 1, enrollment + 1, email + 1


def clear_tables(connection: Connection) -> None:
    """Empty every table, for the next instance."""
    connection.execute(text(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY"))


# ---------------------------------------------------------------- out


def read_frames(connection: Connection) -> Frames:
    """Give everything in the tables as frames, history of all times included."""
    return {name: _frame(connection, query) for name, query in QUERIES.items()}


def read_plan(connection: Connection) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the stored slots and what has none, with the columns of a plan's."""
    sends = _frame(connection, SENDS)
    return sends, _frame(connection, UNPLACED)


def _frame(connection: Connection, query: str) -> pd.DataFrame:
    result = connection.execute(text(query))
    frame = pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()), dtype=object)
    moments = [name for name in frame.columns if name.endswith("_at")]
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in moments})


def dump(connection: Connection, *tables: str) -> dict[str, list[str]]:
    """Give every row as text, with the transaction that wrote it; of all tables by default."""
    return {
        table: list(
            connection.scalars(
                text(f"SELECT concat(xmin, ' ', t) FROM {table} AS t ORDER BY t::text")
            )
        )
        for table in tables or TABLES
    }
