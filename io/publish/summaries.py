"""Summaries of plans as JSON, stored and read again."""

import datetime as dt
from typing import Any

import pandas as pd

from sendplan.planner.plan.summary import Summary

DAYS = ("horizon_end", "finish_day")
FRAMES = ("sequences", "mailboxes", "unplaced")
KINDS = {
    "sequence_id": "int64",
    "mailbox_id": "int64",
    "contacts": "int64",
    "emails": "int64",
    "finish_day": "datetime64[s]",
    "late_follow_ups": "int64",
    "cost": "float64",
    "planned": "int64",
    "capacity": "int64",
    "days": "int64",
    "use": "float64",
}
"""Types of columns whose values do not show them: there may be none, or only nulls."""


def totals_to_json(summary: Summary) -> dict[str, Any]:
    """Return the totals of a summary as an object of JSON's types."""
    return {name: _plain(value) for name, value in summary.totals.items()}


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return a summary as an object of JSON's types."""
    frames = {name: _columns(getattr(summary, name)) for name in FRAMES}
    return {
        "totals": totals_to_json(summary),
        "as_of": summary.as_of.isoformat(),
        "stopped": summary.stopped,
    } | frames


def summary_from_json(written: dict[str, Any]) -> Summary:
    """Return the summary of an object from `summary_to_json`."""
    totals = dict(written["totals"])
    for name in DAYS:
        totals[name] = totals[name] and dt.date.fromisoformat(totals[name])
    frames = {name: _frame(written[name]) for name in FRAMES}
    return Summary(
        totals=totals, as_of=pd.Timestamp(written["as_of"]), stopped=written["stopped"], **frames
    )


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): [None if pd.isna(value) else _plain(value) for value in column.tolist()]
        for name, column in frame.items()
    }


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series(values, dtype=KINDS.get(name)) for name, values in columns.items()}
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value
