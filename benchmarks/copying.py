"""Rows in and out of PostgreSQL by COPY: the limits that the planner's own storage is held to."""

import datetime as dt
import io
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg2.extensions import connection as Session

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_EPOCH_DAYS = 10_957
"""PostgreSQL counts days and microseconds from 2000-01-01."""


def vacuum(session: Session, *tables: str) -> None:
    """Leave tables as autovacuum would find time to leave them, and the disk at rest."""
    session.commit()
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")
        cursor.execute("CHECKPOINT")
    session.autocommit = False


def binary_rows(columns: Sequence[npt.NDArray[Any]]) -> io.BytesIO:
    """Encode columns of equal length as a binary COPY stream without nulls.

    Parameters
    ----------
    columns
        int64 for bigint, int32 for integer, datetime64[D] for date, datetime64[us] for timestamptz.

    Returns
    -------
    io.BytesIO
        At its beginning.
    """
    values = [_big_endian(column) for column in columns]
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for i, value in enumerate(values):
        fields += [(f"length{i}", ">i4"), (f"value{i}", value.dtype.str)]
    rows = np.empty(len(values[0]), dtype=fields)
    rows["columns"] = len(values)
    for i, value in enumerate(values):
        rows[f"length{i}"] = value.dtype.itemsize
        rows[f"value{i}"] = value
    return io.BytesIO(_HEADER + rows.tobytes() + _TRAILER)


def _big_endian(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype == "datetime64[D]":
        return (column.astype(np.int64) - _EPOCH_DAYS).astype(">i4")
    if column.dtype.kind == "M":
        since = column.astype("datetime64[us]").astype(np.int64)
        return (since - _EPOCH_DAYS * 86_400_000_000).astype(">i8")
    return column.astype(column.dtype.newbyteorder(">"))


def copy_in(session: Session, table: str, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Append rows without nulls to a table by binary COPY."""
    with session.cursor() as cursor:
        cursor.copy_expert(
            f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)",
            binary_rows(list(columns.values())),
        )


def copy_out(session: Session, query: str) -> io.BytesIO:
    """Fetch the rows of a query as a binary COPY stream, undecoded and at its beginning."""
    buffer = io.BytesIO()
    with session.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", buffer)
    buffer.seek(0)
    return buffer


def clone_with_keys(session: Session) -> None:
    """Make an empty table ``clone`` with all that ``scheduled_emails`` checks and indexes."""
    with session.cursor() as cursor:
        cursor.execute(_CLONE)
    vacuum(session, "clone")


_CLONE = """
CREATE TABLE clone (LIKE scheduled_emails INCLUDING ALL);
DO $$
DECLARE definition text;
BEGIN
    FOR definition IN SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = 'scheduled_emails'::regclass AND contype = 'f'
    LOOP
        EXECUTE 'ALTER TABLE clone ADD ' || definition;
    END LOOP;
END
$$
"""


def read(
    session: Session, query: str, columns: Mapping[str, npt.DTypeLike]
) -> dict[str, npt.NDArray[Any]]:
    """Fetch rows without nulls by binary COPY.

    Parameters
    ----------
    session
        An open connection.
    query
        The rows.
    columns
        By name in the query's order: int64, int32, datetime64[D] or datetime64[us].

    Returns
    -------
    dict of str to ndarray
        Native arrays.
    """
    fields: list[tuple[str, str]] = [("columns", ">i2")]
    for name, dtype in columns.items():
        width = 4 if np.dtype(dtype) in ("int32", "datetime64[D]") else 8
        fields += [(f"length of {name}", ">i4"), (name, f">i{width}")]
    stream = copy_out(session, query).getvalue()
    rows = np.frombuffer(stream[len(_HEADER) : -len(_TRAILER)], dtype=fields)
    if len(rows) and (rows["columns"] != len(columns)).any():
        msg = "the query gives other columns than expected"
        raise ValueError(msg)
    result = {}
    for name, dtype in columns.items():
        value = rows[name].astype(np.int64)
        if np.dtype(dtype) == "datetime64[D]":
            value = (value + _EPOCH_DAYS).astype("datetime64[D]")
        elif np.dtype(dtype).kind == "M":
            value = (value + _EPOCH_DAYS * 86_400_000_000).astype("datetime64[us]")
        result[name] = value.astype(dtype)
    return result


class Stopwatch:
    """What a ``with`` block took: the time on the wall, and the processors' share of it.

    On a machine that others use too, the latter is the steadier figure.

    Parameters
    ----------
    session
        A connection whose server process is counted in, where the system tells (Linux).
    """

    began: float
    """On the monotonic clock, which all processes of a machine share."""
    ended: float

    def __init__(self, session: Session | None = None) -> None:
        self._backend = session.info.backend_pid if session else None
        self._worked = 0.0

    def __enter__(self) -> "Stopwatch":
        """Start."""
        self._worked = -self._processor_seconds()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stop."""
        self.ended = time.monotonic()
        self._worked += self._processor_seconds()

    @property
    def seconds(self) -> float:
        """Seconds between entry and exit."""
        return self.ended - self.began

    @property
    def worked(self) -> float:
        """Seconds of processor time, of this process and the server's."""
        return self._worked

    def _processor_seconds(self) -> float:
        own = time.process_time()
        if self._backend is None:
            return own
        try:
            fields = Path(f"/proc/{self._backend}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return math.nan
        return own + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def today() -> str:
    """Return the date of a measurement."""
    return dt.datetime.now(dt.UTC).date().isoformat()
