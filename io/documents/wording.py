"""Counts, names, days and figures as a person reads them."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Kind = Literal["text", "count", "decimal", "share", "day"]
"""What a figure is, which says how it is written."""

Columns = Mapping[Any, tuple[str, Kind]]
"""Columns of a table by the name of their values: heading and kind."""

MISSING = "–"


def called(name: Any, noun: str, key: int) -> str:
    """Return a name, or the noun and id of what has none."""
    return name if isinstance(name, str) and name else f"{noun} {key}"


def named(
    rows: Iterable[Mapping[Any, Any]], noun: str, name: str = "name", key: str = "id"
) -> list[dict[Any, Any]]:
    """Return rows whose names are filled in where they are missing."""
    return [{**row, name: called(row[name], noun, row[key])} for row in rows]


def day_text(day: dt.date) -> str:
    """Write a date."""
    return f"{day.day} {day:%b %Y}"


def time_text(at: dt.datetime) -> str:
    """Write a moment to the minute."""
    at = at.astimezone(dt.UTC)
    return f"{at:%a} {day_text(at)} {at:%H:%M} UTC"


def written(value: Any, kind: Kind) -> str:
    """Write a value; a dash where it is missing."""
    if value is None or value != value:
        return MISSING
    match kind:
        case "count":
            return f"{value:,.0f}"
        case "decimal":
            return f"{value:,.0f}" if abs(value) >= 10 else f"{value:,.1f}"
        case "share":
            return f"{value:.0%}"
        case "day":
            return day_text(value)
    return str(value)
