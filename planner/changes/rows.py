"""Rows of canonical frames: found by id, changed and appended without touching the frame."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.changes.refusals import unknown
from sendplan.planner.schema.readers import NULL


def row_of(frame: pd.DataFrame, noun: str, key: int) -> int:
    """Return the place of an id in a frame.

    Raises
    ------
    ProblemError
        If the frame does not have it.
    """
    rows = np.flatnonzero(frame["id"].to_numpy() == key)
    if not rows.size:
        raise unknown(noun, key, frame["id"])
    return int(rows[0])


def named(frame: pd.DataFrame, noun: str, keys: Iterable[int] | None) -> np.ndarray:
    """Return the mask of the rows that ids name, all rows for None; raises as `row_of` does."""
    chosen = np.full(len(frame), keys is None)
    for key in keys or ():
        chosen[row_of(frame, noun, key)] = True
    return chosen


def next_id(frame: pd.DataFrame) -> int:
    """Return an id above all that the frame has."""
    return int(frame["id"].max()) + 1 if len(frame) else 1


def with_values(
    frame: pd.DataFrame, where: int | np.ndarray, values: Mapping[str, Any]
) -> pd.DataFrame:
    """Return a frame with other values in one row, or in the rows that a mask marks."""
    columns = {}
    for name, value in values.items():
        column = frame[name].to_numpy(copy=True)
        column[where] = value
        columns[name] = pd.Series(column, dtype=column.dtype)
    return frame.assign(**columns)


def appended(frame: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a frame with rows at its end, of the same types."""
    values = {name: [row[name] for row in rows] for name in frame.columns}
    return extended(frame, values, len(rows))


def linked(links: pd.DataFrame, fresh: list[dict[str, Any]]) -> pd.DataFrame:
    """Return links of mailboxes with fresh ones among them, each one once and in order."""
    key = ["sequence_id", "mailbox_id"]
    return appended(links, fresh).drop_duplicates(key).sort_values(key, ignore_index=True)


def extended(frame: pd.DataFrame, values: Mapping[str, Any], count: int) -> pd.DataFrame:
    """Return a frame with rows at its end, given column by column.

    Parameters
    ----------
    frame : DataFrame
        Canonical.
    values : mapping
        By column, one value for each of the rows, or one for all; null where there is none.
    count : int
        How many rows.
    """
    columns = {}
    for name in frame.columns:
        known = frame[name].to_numpy()
        column = np.empty(len(known) + count, dtype=known.dtype)
        column[: len(known)] = known
        column[len(known) :] = values.get(name, None if known.dtype == object else NULL)
        columns[name] = pd.Series(column, dtype=column.dtype)
    return pd.DataFrame(columns)
