"""Rows in and out of PostgreSQL as numpy columns, by binary COPY.

Columns of fixed width are read in place, without parsing or printing: integers, dates and times
only; words are numbers.
"""

import io
import struct
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from sendplan.planner.schema.readers import NULL

WIDTHS = {"bigint": ">i8", "smallint": ">i2", "date": ">i4", "timestamptz": ">i8"}
"""The types that can be copied, in the byte order of COPY."""

EPOCH_DAYS = 10_957
"""PostgreSQL counts dates and times from 2000-01-01."""

SHIFTS = {"date": EPOCH_DAYS, "timestamptz": EPOCH_DAYS * 86_400_000_000}
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = struct.pack(">h", -1)

CHUNK = 1 << 20
"""Bytes that are decoded at a time, so that no stream is held whole."""


def copy_out(connection: Connection, query: str, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Run a query of fixed-width columns at the speed of COPY.

    Parameters
    ----------
    connection : Connection
        An open transaction; the query is part of it.
    query : str
        Selects the columns of `kinds`, in that order; none may be null. The least value of its type
        stands for null, which for dates and times is ``'-infinity'``; infinity is read as null.
    kinds : mapping of str
        Columns and their types: ``bigint``, ``smallint``, ``date`` or ``timestamptz``.

    Returns
    -------
    dict of ndarray
        Native columns, the rows in the query's order: smallint as int16, all else as int64, dates
        in days and times in microseconds since 1970-01-01, `NULL` for null.

    Raises
    ------
    ValueError
        If a column is null or of another type.
    """
    rows = _Rows(kinds)
    cursor: Any = connection.connection.cursor()
    with closing(cursor), io.BufferedWriter(rows, CHUNK) as stream:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", stream)
        stream.flush()
        return rows.columns()


class _Rows(io.RawIOBase):
    """Decodes a stream of COPY as it arrives; `kinds` as in `copy_out`."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = kinds
        self.dtype = _row_type(kinds)
        self.chunks: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
        self.undecoded = b""
        self.header_to_come = len(HEADER)
        self.fault: Exception | None = None

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        given = len(content)
        if self.fault is None:
            try:
                self._read(self.undecoded + bytes(content))
            except ValueError as error:
                # Raised later, since a connection is lost if COPY is left amid the stream.
                self.fault = error
        return given

    def _read(self, content: bytes) -> None:
        if len(content) >= self.header_to_come:
            content = content[self.header_to_come :]
            self.header_to_come = 0
            whole = len(content) // self.dtype.itemsize
            self._decode(np.frombuffer(content, dtype=self.dtype, count=whole))
            content = content[whole * self.dtype.itemsize :]
        self.undecoded = content

    def _decode(self, rows: np.ndarray) -> None:
        if (rows["columns"] != len(self.kinds)).any():
            raise ValueError("the query gives other columns than expected, or a null")
        for name, kind in self.kinds.items():
            if (rows[f"{name} width"] != self.dtype[name].itemsize).any():
                raise ValueError(f"column {name} of the query is null, or no {kind}")
            self.chunks[name].append(_native(rows[name], kind))

    def columns(self) -> dict[str, np.ndarray]:
        """Return all rows; once only."""
        if self.fault is not None:
            raise self.fault
        if self.undecoded != TRAILER:
            raise ValueError("a column of the query is null")
        # One by one, so that only one column at a time is in memory twice.
        return {name: np.concatenate(self.chunks.pop(name)) for name in self.kinds}


def _native(raw: np.ndarray, kind: str) -> np.ndarray:
    if kind == "smallint":
        return raw.astype(np.int16)
    values = raw.astype(np.int64)
    if kind in SHIFTS:
        limits = np.iinfo(raw.dtype)
        null = (values == limits.min) | (values == limits.max)
        values += SHIFTS[kind]
        values[null] = NULL
    return values


def copy_in(
    connection: Connection, table: str, frame: pd.DataFrame, kinds: Mapping[str, str]
) -> None:
    """Append a frame to a table.

    Parameters
    ----------
    connection : Connection
        An open transaction.
    table : str
    frame : DataFrame
        int64 columns: dates in days and times in microseconds since 1970-01-01, `NULL` for null.
    kinds : mapping of str
        The columns to write and their types, as in `copy_out`.
    """
    cursor: Any = connection.connection.cursor()
    with closing(cursor):
        cursor.copy_expert(
            f"COPY {table} ({', '.join(kinds)}) FROM STDIN (FORMAT binary)",
            io.BytesIO(_binary_rows(frame, kinds)),
        )


def _binary_rows(frame: pd.DataFrame, kinds: Mapping[str, str]) -> bytes:
    """Return columns in the format of binary COPY.

    A header, then for every row the number of columns and for every column its width and value,
    big-endian, a null with width −1 and no value, then a trailer.
    """
    dtype = _row_type(kinds)
    rows = np.zeros(len(frame), dtype=dtype)
    rows["columns"] = len(kinds)
    absent: list[tuple[str, np.ndarray]] = []
    for name, kind in kinds.items():
        values = frame[name].to_numpy(dtype=np.int64)
        null = values == NULL
        rows[f"{name} width"] = np.where(null, -1, dtype[name].itemsize)
        rows[name] = np.where(null, 0, values - SHIFTS.get(kind, 0))
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
    return HEADER + content.tobytes() + TRAILER


def _row_type(kinds: Mapping[str, str]) -> np.dtype[Any]:
    """Return the layout of a row without nulls."""
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name} width", ">i4"), (name, WIDTHS[kind])]
    return np.dtype(fields)
