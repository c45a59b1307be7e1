"""Frames checked against the columns that are declared for them.

One loop (`validate`) checks every frame against its contract and returns it with canonical
columns: integers throughout, so that everything behind it computes without asking again. Columns
that are canonical already (`Columns`) need no reading, only the same checks. A null of the integer
kinds is `NULL`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.schema.column import Column
from sendplan.planner.schema.columns import COLUMNS, in_frame
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.readers import NULL, READERS

CONTRACTS: dict[str, dict[str, Column]] = {
    name: columns for name in COLUMNS if (columns := in_frame(name))
}
"""What each frame carries (planner/README.md, frames); columns not named here are ignored."""


@dataclass(frozen=True, eq=False)
class Columns:
    """A table whose columns are canonical already.

    Parameters
    ----------
    of : mapping of ndarray or Categorical
        By name, of equal length and of the kinds in the module's table; text may come as words
        with their codes. They must not change any more.
    """

    of: Mapping[str, np.ndarray | pd.Categorical]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.of.values())))


def validate(name: str, table: pd.DataFrame | Columns) -> pd.DataFrame:
    """Check one table against its contract and return it as a frame with canonical columns.

    Parameters
    ----------
    name : str
        The frame's name, a key of `CONTRACTS`.
    table : DataFrame or Columns
        A frame as handed in by the user, left untouched; or canonical columns, taken over without
        a copy.

    Returns
    -------
    DataFrame
        Exactly the contract's columns, canonical, with a fresh index.

    Raises
    ------
    ProblemError
        Naming every column that is missing or holds a value of the wrong kind or range.
    TypeError
        If a column of `Columns` is not canonical.
    """
    if not isinstance(table, pd.DataFrame | Columns):
        raise ProblemError(
            [Fault(name, f"must be a DataFrame, not {type(table).__name__}", "pass a frame")]
        )
    given: Any = table.of if isinstance(table, Columns) else table
    read = _taken_over if isinstance(table, Columns) else _read
    rows = pd.DataFrame({"id": given["id"]} if "id" in given else {})
    faults: list[Fault] = []
    columns: dict[str, Any] = {}
    for column_name, column in CONTRACTS[name].items():
        where = f"{name}.{column_name}"
        if column_name in given:
            columns[column_name], found = read(where, column, given[column_name], rows)
            faults.extend(found)
        elif column.required:
            faults.append(Fault(where, "the column is missing", "add it"))
        else:
            columns[column_name] = _filled(column, len(table))
    if faults:
        raise ProblemError(faults)
    # Left to itself, pandas would turn objects into its string type, whose null is a float.
    return pd.DataFrame(
        {key: pd.Series(values, dtype=values.dtype, copy=False) for key, values in columns.items()},
        copy=not isinstance(table, Columns),
    )


CANONICAL = {"number": np.dtype(np.float64), "text": np.dtype(object), "weekdays": np.dtype(object)}
"""How the kinds that are not integers are kept."""


def _taken_over(
    where: str, column: Column, given: Any, rows: pd.DataFrame
) -> tuple[Any, list[Fault]]:
    coded = isinstance(given, pd.Categorical)
    values = READERS["text"](pd.Series(given)) if coded else given
    if values.dtype != CANONICAL.get(column.kind, np.dtype(np.int64)):
        raise TypeError(f"{where} comes as {values.dtype}")
    if _has_known_words(column, given):
        return values, []
    return values, _check_values(where, column, values, rows)


def _has_known_words(column: Column, values: np.ndarray | pd.Categorical) -> bool:
    """Tell whether nothing can be wrong with words, from their codes: that is much quicker."""
    if not isinstance(values, pd.Categorical):
        return False
    codes = np.unique(values.codes)
    if codes.min(initial=0) < 0 and not column.nullable:
        return False
    if column.choices is None:
        return True
    return {str(word) for word in column.choices}.issuperset(values.categories[codes[codes >= 0]])


def read_values(name: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check single values against the declarations of their columns.

    Parameters
    ----------
    name : str
        A table of `sendplan.planner.schema.columns`, also one that frames do not have.
    values : mapping
        Values by column, such as users put into frames.
    where : str
        What the values belong to, for messages: ``"step 12"``.

    Returns
    -------
    dict
        The values by column, canonical.

    Raises
    ------
    ProblemError
        Naming every value of the wrong kind or range.
    """
    faults: list[Fault] = []
    read: dict[str, Any] = {}
    for column, value in values.items():
        row = pd.DataFrame({column: pd.Series([value])})
        array, found = _read(f"{where}, {column}", COLUMNS[name][column], row[column], row)
        faults.extend(replace(fault, offenders=[repr(value)]) for fault in found)
        if not found:
            read[column] = array[0]
    if faults:
        raise ProblemError(faults)
    return read


def rows_named(frame: pd.DataFrame, mask: np.ndarray) -> list[str]:
    """Name the offending rows of a frame, by id where it has one.

    Parameters
    ----------
    frame : DataFrame
        The frame with the offenders.
    mask : ndarray of bool, shape (rows,)
        True at the offending rows.

    Returns
    -------
    list of str
        Such as ``"id 17"`` or, without an id column, ``"row 3"``.
    """
    where = np.flatnonzero(mask)
    if "id" in frame.columns:
        return [f"id {value}" for value in frame["id"].to_numpy()[where]]
    return [f"row {value}" for value in where]


def _filled(column: Column, length: int) -> Any:
    if column.kind in ("text", "weekdays"):
        values = np.empty(length, dtype=object)
        values[:] = [column.default] * length if column.kind == "weekdays" else column.default
        return values
    if column.kind == "number":
        return np.full(length, np.nan if column.default is None else column.default)
    return np.full(length, NULL if column.default is None else column.default, dtype=np.int64)


def _read(
    where: str, column: Column, series: pd.Series, frame: pd.DataFrame
) -> tuple[Any, list[Fault]]:
    try:
        values = READERS[column.kind](series)
    except ProblemError as error:
        return None, [fault.within(where) for fault in error.faults]
    return values, _check_values(where, column, values, frame)


def _check_values(
    where: str, column: Column, values: np.ndarray, frame: pd.DataFrame
) -> list[Fault]:
    faults: list[Fault] = []
    null = _is_null(column, values)
    if not column.nullable and null.any():
        faults.append(Fault(where, "a value is missing", "fill it in", rows_named(frame, null)))
    if column.choices is not None:
        allowed = [str(word) for word in column.choices]
        bad = ~null & ~pd.Series(values).isin(allowed).to_numpy()
        if bad.any():
            found = sorted({repr(value) for value in values[bad]})
            faults.append(
                Fault(where, "holds an unknown word", f"use one of {', '.join(allowed)}", found)
            )
    if column.kind in ("text", "weekdays"):
        return faults
    limits: list[tuple[bool, Callable[[], np.ndarray], str]] = [
        (column.least is not None, lambda: values < column.least, f"at least {column.least}"),
        (column.most is not None, lambda: values > column.most, f"at most {column.most}"),
        (column.positive, lambda: ~((values > 0) & np.isfinite(values)), "finite and above 0"),
    ]
    for active, broken, rule in limits:
        if active and (bad := broken() & ~null).any():
            named = [
                f"{row} has {value}"
                for row, value in zip(rows_named(frame, bad), values[bad], strict=True)
            ]
            faults.append(Fault(where, f"must be {rule}", "correct the value", named))
    return faults


def _is_null(column: Column, values: np.ndarray) -> np.ndarray:
    if column.kind == "number":
        return np.asarray(np.isnan(values))
    if column.kind in ("text", "weekdays"):
        return np.asarray(pd.isna(pd.Series(values, dtype=object)), dtype=bool)
    return np.asarray(values == NULL)
