"""Rows in and out of PostgreSQL as numpy columns, by binary COPY.

Nothing is parsed or printed: a column of fixed width is read in place. Whole numbers, dates and
times only; words travel as numbers.
"""

import io
import struct
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from sendplan.io.errors import DataError
from sendplan.planner.reading import NULL

WIDTHS = {20: ">i8", 21: ">i2", 23: ">i4", 1082: ">i4", 1184: ">i8"}
"""How COPY writes bigint, smallint, integer, date and timestamptz, by type number."""

DATE, TIMESTAMPTZ = 1082, 1184
EPOCH_DAYS = 10_957
"""PostgreSQL counts dates and times from 2000-01-01."""


def copy_out(connection: Connection, query: str) -> pd.DataFrame:
    """Run a query of fixed-width columns at the speed of COPY.

    Parameters
    ----------
    connection : Connection
        An open transaction; the query is part of it.
    query : str
        Gives whole numbers, dates and timestamptz; none may be null, and ``'-infinity'`` stands
        for one.

    Returns
    -------
    DataFrame
        int64 columns under the query's names: dates in days and times in microseconds since
        1970-01-01, sorted by the first column.

    Raises
    ------
    ValueError
        If a column is null or of another type.
    DataError
        If a date or time is infinity.
    """
    buffer = io.BytesIO()
    cursor: Any = connection.connection.cursor()
    with closing(cursor):
        cursor.execute(f"SELECT * FROM ({query}) AS described LIMIT 0")
        kinds = {column.name: column.type_code for column in cursor.description}
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", buffer)
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name} width", ">i4"), (name, WIDTHS[kind])]
    dtype = np.dtype(fields)
    header, trailer = 19, 2
    content = buffer.getbuffer()[header : buffer.tell() - trailer]
    if len(content) % dtype.itemsize:
        raise ValueError("a column of the query is null")
    rows = np.frombuffer(content, dtype=dtype)
    rows = rows[np.argsort(rows[next(iter(kinds))], kind="stable")]
    columns = {}
    for name, kind in kinds.items():
        if (rows[f"{name} width"] != int(WIDTHS[kind][-1])).any():
            raise ValueError(f"column {name} of the query is null")
        columns[name] = _from_2000(name, rows[name], kind)
    return pd.DataFrame(columns)


def _from_2000(name: str, raw: np.ndarray, kind: int) -> np.ndarray:
    values = raw.astype(np.int64)
    if kind not in (DATE, TIMESTAMPTZ):
        return values
    if (raw == np.iinfo(raw.dtype).max).any():
        raise DataError(f"A value of {name} is infinity; write a real date or time.")
    return np.where(raw == np.iinfo(raw.dtype).min, NULL, values + _shift(kind))


def copy_in(
    connection: Connection, table: str, frame: pd.DataFrame, kinds: Mapping[str, str]
) -> None:
    """Append a frame to a table.

    Parameters
    ----------
    connection : Connection
        An open transaction.
    table : str
        The table.
    frame : DataFrame
        int64 columns: dates in days and times in microseconds since 1970-01-01, `NULL` for null.
    kinds : mapping of str
        The columns to write, and the type of each: ``bigint``, ``smallint``, ``date`` or
        ``timestamptz``.
    """
    cursor: Any = connection.connection.cursor()
    with closing(cursor):
        cursor.copy_expert(
            f"COPY {table} ({', '.join(kinds)}) FROM STDIN (FORMAT binary)",
            io.BytesIO(_binary_rows(frame, kinds)),
        )


NUMBERS = {"bigint": 20, "smallint": 21, "date": DATE, "timestamptz": TIMESTAMPTZ}


def _binary_rows(frame: pd.DataFrame, kinds: Mapping[str, str]) -> bytes:
    """Return columns as COPY reads them.

    A header, then for every row the number of columns and for every column its width and value,
    big-endian, a null having width −1 and no value, then a trailer.
    """
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name} width", ">i4"), (name, WIDTHS[NUMBERS[kind]])]
    dtype = np.dtype(fields)
    rows = np.zeros(len(frame), dtype=dtype)
    rows["columns"] = len(kinds)
    absent: list[tuple[str, np.ndarray]] = []
    for name, kind in kinds.items():
        values = frame[name].to_numpy(dtype=np.int64)
        null = values == NULL
        rows[f"{name} width"] = np.where(null, -1, dtype[name].itemsize)
        rows[name] = np.where(null, 0, values - _shift(NUMBERS[kind]))
        if null.any():
            absent.append((name, null))
    content = rows.view(np.uint8).reshape(len(rows), dtype.itemsize)
    if absent:
        keep = np.ones(content.shape, dtype=bool)
        for name, null in absent:
            # Only a dtype without fields has None there.
            begin = dtype.fields[name][1]  # type: ignore[index]
            keep[null, begin : begin + dtype[name].itemsize] = False
        content = content[keep]
    return b"PGCOPY\n\xff\r\n\x00" + bytes(8) + content.tobytes() + struct.pack(">h", -1)


def _shift(kind: int) -> int:
    return {DATE: EPOCH_DAYS, TIMESTAMPTZ: EPOCH_DAYS * 86_400_000_000}.get(kind, 0)
