"""Summaries of plans as JSON, to be kept and read again."""

import datetime as dt
from typing import Any

import pandas as pd

from sendplan.planner.summary import Summary

DAYS = ("horizon_end", "finish_day")
FRAMES = ("sequences", "mailboxes", "unplaced")


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """Return an object of nothing but JSON's own types."""
    totals = dict(summary.totals)
    for name in DAYS:
        totals[name] = None if totals[name] is None else totals[name].isoformat()
    frames = {name: _columns(getattr(summary, name)) for name in FRAMES}
    return {
        "totals": totals,
        "as_of": summary.as_of.isoformat(),
        "stopped": summary.stopped,
    } | frames


def summary_from_json(written: dict[str, Any]) -> Summary:
    """Return the summary that `summary_to_json` has written down."""
    totals = dict(written["totals"])
    for name in DAYS:
        totals[name] = totals[name] and dt.date.fromisoformat(totals[name])
    frames = {name: pd.DataFrame(written[name]) for name in FRAMES}
    sequences = frames["sequences"]
    sequences["finish_day"] = pd.to_datetime(sequences["finish_day"])
    return Summary(
        totals=totals, as_of=pd.Timestamp(written["as_of"]), stopped=written["stopped"], **frames
    )


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {
        str(name): [None if pd.isna(value) else _plain(value) for value in column.tolist()]
        for name, column in frame.items()
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value
