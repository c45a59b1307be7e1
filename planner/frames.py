"""Column contracts: what the frames of a problem must carry, declared as data.

One loop (`validate`) checks every frame against its contract and returns it with canonical
columns: integers throughout, so that everything behind it computes without asking again.

=========  ==================================================================
kind       canonical column
=========  ==================================================================
integer    int64
number     float64
text       object, None where null
time       int64, seconds since local midnight
date       int64, days since 1970-01-01
instant    int64, microseconds since 1970-01-01 UTC
weekdays   object, a sorted tuple of ISO weekdays
=========  ==================================================================

A null of the integer kinds is `NULL`.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from sendplan.planner import vocabulary as words
from sendplan.planner.errors import Fault, ProblemError

NULL = int(np.iinfo(np.int64).min)
"""Null in canonical integer columns; equals the integer behind ``NaT``."""

DAY_SECONDS = 86_400

Kind = Literal["integer", "number", "text", "time", "date", "instant", "weekdays"]


@dataclass(frozen=True)
class Column:
    """One column of a frame.

    Parameters
    ----------
    kind : str
        How values are read, see the module's table.
    required : bool
        Whether the frame must carry it.
    default : object
        The table's default, taken where the column is left out (None: null).
    nullable : bool
        Whether single values may be null.
    least, most : float or None
        Bounds of the value, both inclusive.
    positive : bool
        Whether the value must be above zero.
    choices : type of StrEnum or None
        The only words allowed.
    """

    kind: Kind
    required: bool = False
    default: Any = None
    nullable: bool = False
    least: float | None = None
    most: float | None = None
    positive: bool = False
    choices: Any = None


def _key() -> Column:
    return Column("integer", required=True)


def _reference() -> Column:
    return Column("integer", nullable=True)


CONTRACTS: dict[str, dict[str, Column]] = {
    "sequences": {
        "id": _key(),
        "name": Column("text", nullable=True),
        "start_time": Column("time", required=True, least=0, most=DAY_SECONDS - 1),
        "end_time": Column("time", required=True, least=1, most=DAY_SECONDS),
        "timezone": Column("text", default=words.DEFAULT_TIMEZONE),
        "send_days": Column("weekdays", default=words.DEFAULT_SEND_DAYS),
        "holidays": Column("text", nullable=True),
        "wait_unit": Column("text", default=words.WaitUnit.CALENDAR, choices=words.WaitUnit),
        "priority": Column("number", default=words.DEFAULT_PRIORITY, positive=True),
        "max_new_per_day": Column("integer", nullable=True, least=0),
        "status": Column("text", default=words.SequenceStatus.ACTIVE, choices=words.SequenceStatus),
    },
    "steps": {
        "id": _key(),
        "sequence_id": _key(),
        "position": Column("integer", required=True, nullable=True, least=1),
        "wait_days": Column("integer", default=0, least=0, most=words.MAX_WAIT_DAYS),
        "removed_at": Column("instant", nullable=True),
    },
    "mailboxes": {
        "id": _key(),
        "email": Column("text", nullable=True),
        "daily_capacity": Column("integer", required=True, least=0),
        "min_gap_seconds": Column("integer", default=0, least=0),
        "ramp_start": Column("integer", nullable=True, least=0),
        "ramp_increment": Column("integer", nullable=True, least=0),
        "ramp_from": Column("date", nullable=True),
        "status": Column("text", default=words.MailboxStatus.ACTIVE, choices=words.MailboxStatus),
    },
    "sequence_mailboxes": {"sequence_id": _key(), "mailbox_id": _key()},
    "enrollments": {
        "id": _key(),
        "contact_id": _reference(),
        "sequence_id": _key(),
        "enrolled_at": Column("instant", required=True),
        "current_step_id": _reference(),
        "completed_at": Column("instant", nullable=True),
        "mailbox_id": _reference(),
        "status": Column(
            "text", default=words.EnrollmentStatus.ACTIVE, choices=words.EnrollmentStatus
        ),
        "contact_timezone": Column("text", nullable=True),
        "last_sent_day": Column("date", nullable=True),
        "suppressed_at": Column("instant", nullable=True),
    },
    "scheduled_emails": {
        "id": _reference(),
        "enrollment_id": _key(),
        "step_id": _key(),
        "mailbox_id": _reference(),
        "send_day": Column("date", nullable=True),
        "send_at": Column("instant", nullable=True),
        "sent_at": Column("instant", nullable=True),
        "plan_run_id": _reference(),
        "unplaced_reason": Column("text", nullable=True),
        "status": Column("text", default=words.EmailStatus.PENDING, choices=words.EmailStatus),
    },
    "used": {
        "mailbox_id": _key(),
        "send_day": Column("date", required=True),
        "used": Column("integer", required=True, least=0),
    },
}
"""What each frame of SPEC §8 carries; columns not named here are ignored."""


def validate(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Check one frame against its contract and return it with canonical columns.

    Parameters
    ----------
    name : str
        The frame's name, a key of `CONTRACTS`.
    frame : DataFrame
        As handed in by the user; left untouched.

    Returns
    -------
    DataFrame
        Exactly the contract's columns, canonical, with a fresh index.

    Raises
    ------
    ProblemError
        Naming every column that is missing or holds a value of the wrong kind or range.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ProblemError(
            [Fault(name, f"must be a DataFrame, not {type(frame).__name__}", [], "Pass a frame")]
        )
    faults: list[Fault] = []
    columns: dict[str, Any] = {}
    for column_name, column in CONTRACTS[name].items():
        where = f"{name}.{column_name}"
        if column_name not in frame.columns:
            if column.required:
                faults.append(Fault(where, "the column is missing", [], "Add it"))
            else:
                columns[column_name] = _filled(column, len(frame))
            continue
        try:
            values = _READERS[column.kind](frame[column_name])
        except _UnreadableError as error:
            faults.append(Fault(where, error.rule, error.offenders, error.remedy))
            continue
        faults.extend(_check_values(where, column, values, frame))
        columns[column_name] = values
    if faults:
        raise ProblemError(faults)
    # Left to itself, pandas would turn objects into its string type, whose null is a float.
    return pd.DataFrame(
        {key: pd.Series(values, dtype=values.dtype) for key, values in columns.items()}
    )


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


class _UnreadableError(Exception):
    """A column whose values cannot be read as its kind."""

    def __init__(self, rule: str, offenders: list[str], remedy: str) -> None:
        super().__init__(rule)
        self.rule, self.offenders, self.remedy = rule, offenders, remedy


def _filled(column: Column, length: int) -> Any:
    if column.kind in ("text", "weekdays"):
        values = np.empty(length, dtype=object)
        values[:] = [column.default] * length if column.kind == "weekdays" else column.default
        return values
    if column.kind == "number":
        return np.full(length, np.nan if column.default is None else column.default)
    return np.full(length, NULL if column.default is None else column.default, dtype=np.int64)


def _check_values(
    where: str, column: Column, values: np.ndarray, frame: pd.DataFrame
) -> list[Fault]:
    faults: list[Fault] = []
    null = _is_null(column, values)
    if not column.nullable and null.any():
        faults.append(Fault(where, "a value is missing", rows_named(frame, null), "Fill it in"))
    if column.choices is not None:
        allowed = [str(word) for word in column.choices]
        bad = ~null & ~pd.Series(values).isin(allowed).to_numpy()
        if bad.any():
            found = sorted({repr(value) for value in values[bad]})
            faults.append(
                Fault(where, "holds an unknown word", found, f"Use one of {', '.join(allowed)}")
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
            faults.append(Fault(where, f"must be {rule}", named, "Correct the value"))
    return faults


def _is_null(column: Column, values: np.ndarray) -> np.ndarray:
    if column.kind == "number":
        return np.asarray(np.isnan(values))
    if column.kind in ("text", "weekdays"):
        return np.asarray(pd.isna(pd.Series(values, dtype=object)), dtype=bool)
    return np.asarray(values == NULL)


def _offenders(series: pd.Series, bad: np.ndarray) -> list[str]:
    return [f"row {row}: {series.iloc[row]!r}" for row in np.flatnonzero(bad)]


def _read_integer(series: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(series.dtype):
        raise _UnreadableError("must hold whole numbers, not true and false", [], "Convert it")
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu":
        return series.to_numpy(dtype=np.int64)
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.to_numpy(dtype=np.int64, na_value=NULL)
    null = series.isna().to_numpy()
    numeric = pd.to_numeric(series.where(~null, 0), errors="coerce")
    as_float = numeric.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~null & ~(np.isfinite(as_float) & (as_float == np.floor(as_float)))
    if bad.any():
        raise _UnreadableError("must hold whole numbers", _offenders(series, bad), "Correct them")
    values = numeric.astype("Int64").to_numpy(dtype=np.int64, na_value=0)
    return np.where(null, NULL, values)


def _read_number(series: pd.Series) -> np.ndarray:
    null = series.isna().to_numpy()
    numeric = pd.to_numeric(series.where(~null, 0).astype(object), errors="coerce")
    values = numeric.to_numpy(dtype=np.float64, na_value=np.nan)
    if (bad := ~null & np.isnan(values)).any():
        raise _UnreadableError("must hold numbers", _offenders(series, bad), "Correct them")
    return np.where(null, np.nan, values)


def _read_text(series: pd.Series) -> np.ndarray:
    if isinstance(series.dtype, pd.CategoricalDtype):
        words_of = _read_text(pd.Series(series.cat.categories))
        with_null = np.append(words_of, np.array([None], dtype=object))
        return np.asarray(with_null[series.cat.codes.to_numpy()])
    values = series.astype(object).to_numpy(dtype=object, copy=True)
    values[series.isna().to_numpy()] = None
    kinds = pd.unique(np.array([type(value) for value in pd.unique(values)], dtype=object))
    if any(not issubclass(kind, str) and kind is not type(None) for kind in kinds):
        bad = np.array([not isinstance(value, str | None) for value in values])
        raise _UnreadableError("must hold text", _offenders(series, bad), "Convert it")
    return values


def _read_time(series: pd.Series) -> np.ndarray:
    bad = np.zeros(len(series), dtype=bool)
    seconds = np.full(len(series), NULL, dtype=np.int64)
    for row, value in enumerate(series):
        try:
            seconds[row] = _seconds(value)
        except ValueError:
            bad[row] = True
    if bad.any():
        raise _UnreadableError(
            "must hold times of day", _offenders(series, bad), "Write them as HH:MM or HH:MM:SS"
        )
    return seconds


def _seconds(value: Any) -> int:
    if isinstance(value, dt.time):
        if value.tzinfo is not None or value.microsecond:
            raise ValueError(value)
        return value.hour * 3600 + value.minute * 60 + value.second
    if isinstance(value, dt.timedelta):
        return int(value.total_seconds())
    if isinstance(value, str) and (
        match := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.0*)?)?", value.strip())
    ):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if minutes < 60 and seconds < 60:
            return hours * 3600 + minutes * 60 + seconds
    if value is None or value is pd.NaT:
        return NULL
    raise ValueError(value)


def _read_date(series: pd.Series) -> np.ndarray:
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        raise _UnreadableError(
            "must hold dates, not points in time", [], "Take the local date of the email's zone"
        )
    null = series.isna().to_numpy()
    stamps = (
        series
        if series.dtype.kind == "M"
        else pd.to_datetime(series.astype(object).where(~null, None), errors="coerce")
    )
    if (bad := ~null & stamps.isna().to_numpy()).any():
        raise _UnreadableError("must hold dates", _offenders(series, bad), "Write YYYY-MM-DD")
    return stamps.to_numpy().astype("datetime64[D]").astype(np.int64)


def _read_instant(series: pd.Series) -> np.ndarray:
    null = series.isna().to_numpy()
    if null.all():
        return np.full(len(series), NULL, dtype=np.int64)
    if not isinstance(series.dtype, pd.DatetimeTZDtype):
        naive = _naive(series, null)
        if naive.any():
            raise _UnreadableError(
                "must hold times with a zone", _offenders(series, naive), "Add the UTC offset"
            )
        stamps = pd.to_datetime(series.astype(object), utc=True, errors="coerce", format="ISO8601")
        if (bad := ~null & stamps.isna().to_numpy()).any():
            raise _UnreadableError("must hold times", _offenders(series, bad), "Write ISO 8601")
        series = stamps
    return microseconds(series)


def microseconds(series: pd.Series) -> np.ndarray:
    """Read an aware datetime column as integers.

    Parameters
    ----------
    series : Series of datetime64 with a time zone
        Points in time.

    Returns
    -------
    ndarray of int64
        Microseconds since 1970-01-01 UTC; `NULL` where null.
    """
    utc = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(utc.to_numpy().astype("datetime64[us]").astype(np.int64))


def _naive(series: pd.Series, null: np.ndarray) -> np.ndarray:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "Miuf":
        return np.asarray(~null)

    def is_naive(value: object) -> bool:
        if isinstance(value, str):
            day_only = re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip())
            offset = re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", value.strip())
            return day_only is not None or offset is None
        return getattr(value, "tzinfo", None) is None

    naive = np.array([is_naive(value) for value in series], dtype=bool)
    return np.asarray(~null & naive)


def _read_weekdays(series: pd.Series) -> np.ndarray:
    read = np.empty(len(series), dtype=object)
    bad = np.zeros(len(series), dtype=bool)
    for row, value in enumerate(series):
        try:
            days = tuple(sorted({int(day) for day in value}))
        except (TypeError, ValueError):
            days = ()
        bad[row] = not days or days[0] < 1 or days[-1] > 7
        read[row] = days
    if bad.any():
        raise _UnreadableError(
            "must hold at least one ISO weekday, 1 (Monday) to 7 (Sunday)",
            _offenders(series, bad),
            "List the weekdays on which the sequence may send",
        )
    return read


_READERS: Mapping[Kind, Callable[[pd.Series], np.ndarray]] = {
    "integer": _read_integer,
    "number": _read_number,
    "text": _read_text,
    "time": _read_time,
    "date": _read_date,
    "instant": _read_instant,
    "weekdays": _read_weekdays,
}
