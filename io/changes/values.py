"""Settings on the command line, read by the declarations of their columns."""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

from sendplan.io.campaigns.file_columns import weekday
from sendplan.io.documents.known_names import country_fault, zone_fault
from sendplan.io.documents.texts import shown
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.contracts import read_values
from sendplan.planner.schema.errors import Fault, ProblemError

NONE = "none"
"""Stands for null on the command line."""


class Null(Enum):
    """Null once it is read; None means not given."""

    NULL = None


def read_argument(table: str, column: str, text: str) -> Any:
    """Read the value of a setting.

    Parameters
    ----------
    table, column : str
        The column, as in `sendplan.planner.schema.columns`.
    text : str
        As written.

    Returns
    -------
    object
        A value that the column takes, or `Null.NULL`.

    Raises
    ------
    ValueError
        With what is wrong, and how to write it.
    """
    declared = COLUMNS[table][column]
    may_be_none = declared.setting is not None and declared.setting.none
    if may_be_none and text.strip().lower() == NONE:
        return Null.NULL
    if declared.form in ("secret", "subject", "template", "url"):
        return text
    unknown = _NAMES[declared.form](text) if declared.form in _NAMES else None
    if unknown is not None:
        raise ValueError(str(unknown))
    value: Any = text.strip()
    if declared.kind in _FORMS:
        read, form = _FORMS[declared.kind]
        try:
            value = read(value)
        except ValueError:
            otherwise = f", or {NONE}" if may_be_none else ""
            raise ValueError(f"{shown(text)} cannot be read; write {form}{otherwise}") from None
    try:
        read_values(table, {column: value}, "")
    except ProblemError as error:
        fault = replace(error.faults[0], where=shown(text), offenders=())
        if declared.kind == "time":
            # Its bounds are in seconds.
            fault = Fault(shown(text), "no time of day here", "write it as HH:MM or HH:MM:SS")
        raise ValueError(str(fault)) from error
    return value


def _weekdays(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    days = [weekday(int(word) if word.isdigit() else word) for word in words]
    if None in days:
        raise ValueError(text)
    return tuple(sorted({day for day in days if day is not None}))


_FORMS: dict[str, tuple[Callable[[str], Any], str]] = {
    "key": (int, "a whole number"),
    "integer": (int, "a whole number"),
    "number": (float, "a number"),
    "weekdays": (_weekdays, "days such as mon,tue or 1,2"),
}
_NAMES: dict[str, Callable[[str], Fault | None]] = {
    "country": country_fault,
    "zone": zone_fault,
}
