"""Reading columns: what users put into frames, as integers, numbers and text.

The kinds and their canonical columns are listed in `sendplan.planner.schema.columns`.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.schema.column import Kind
from sendplan.planner.schema.errors import Fault, ProblemError

NULL = int(np.iinfo(np.int64).min)
"""Null in canonical integer columns; equals the integer behind ``NaT``."""


def _unreadable(
    rule: str, remedy: str, series: pd.Series | None = None, bad: np.ndarray | None = None
) -> ProblemError:
    """Return the error of a column whose values cannot be read as its kind."""
    offenders = []
    if series is not None and bad is not None:
        offenders = [f"row {row}: {series.iloc[row]!r}" for row in np.flatnonzero(bad)]
    return ProblemError([Fault("", rule, remedy, offenders)])


def _read_integer(series: pd.Series) -> np.ndarray:
    if pd.api.types.is_bool_dtype(series.dtype):
        raise _unreadable("must hold whole numbers, not true and false", "convert it")
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu":
        return series.to_numpy(dtype=np.int64)
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.to_numpy(dtype=np.int64, na_value=NULL)
    null = series.isna().to_numpy()
    numeric = pd.to_numeric(series.where(~null, 0), errors="coerce")
    as_float = numeric.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~null & ~(np.isfinite(as_float) & (as_float == np.floor(as_float)))
    if numeric.dtype.kind != "i":
        bad |= ~null & (np.abs(as_float) >= 2.0**63)
    if bad.any():
        raise _unreadable("must hold whole numbers", "correct them", series, bad)
    values = numeric.astype("Int64").to_numpy(dtype=np.int64, na_value=0)
    return np.where(null, NULL, values)


def _read_number(series: pd.Series) -> np.ndarray:
    null = series.isna().to_numpy()
    numeric = pd.to_numeric(series.where(~null, 0).astype(object), errors="coerce")
    values = numeric.to_numpy(dtype=np.float64, na_value=np.nan)
    if (bad := ~null & np.isnan(values)).any():
        raise _unreadable("must hold numbers", "correct them", series, bad)
    return np.where(null, np.nan, values)


def _read_text(series: pd.Series) -> np.ndarray:
    if isinstance(series.dtype, pd.CategoricalDtype):
        words_of = _read_text(pd.Series(series.cat.categories))
        with_null = np.append(words_of, np.array([None], dtype=object))
        return np.asarray(with_null[series.cat.codes.to_numpy()])
    values = series.astype(object).to_numpy(dtype=object, copy=True)
    values[series.isna().to_numpy()] = None
    kinds = {type(value) for value in pd.unique(values)}
    if any(not issubclass(kind, str) and kind is not type(None) for kind in kinds):
        bad = np.array([not isinstance(value, str | None) for value in values])
        raise _unreadable("must hold text", "convert it", series, bad)
    return values


def _read_each(
    series: pd.Series, read: Callable[[Any], Any], dtype: type, rule: str, remedy: str
) -> np.ndarray:
    """Read values one by one with a function that raises `ValueError` for those it cannot read."""
    values: np.ndarray = np.empty(len(series), dtype=dtype)
    bad = np.zeros(len(series), dtype=bool)
    for row, value in enumerate(series):
        try:
            values[row] = read(value)
        except (TypeError, ValueError):
            bad[row] = True
    if bad.any():
        raise _unreadable(rule, remedy, series, bad)
    return values


def _read_time(series: pd.Series) -> np.ndarray:
    rule, remedy = "must hold times of day", "write them as HH:MM or HH:MM:SS"
    return _read_each(series, _seconds, np.int64, rule, remedy)


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
        remedy = "take the local date of the email's zone"
        raise _unreadable("must hold dates, not points in time", remedy)
    null = series.isna().to_numpy()
    stamps = (
        series
        if series.dtype.kind == "M"
        else pd.to_datetime(series.astype(object).where(~null, None), errors="coerce")
    )
    if (bad := ~null & stamps.isna().to_numpy()).any():
        raise _unreadable("must hold dates", "write YYYY-MM-DD", series, bad)
    return stamps.to_numpy().astype("datetime64[D]").astype(np.int64)


def _read_instant(series: pd.Series) -> np.ndarray:
    null = series.isna().to_numpy()
    if null.all():
        return np.full(len(series), NULL, dtype=np.int64)
    if not isinstance(series.dtype, pd.DatetimeTZDtype):
        naive = _naive(series, null)
        if naive.any():
            raise _unreadable("must hold times with a zone", "add the UTC offset", series, naive)
        stamps = pd.to_datetime(series.astype(object), utc=True, errors="coerce", format="ISO8601")
        if (bad := ~null & stamps.isna().to_numpy()).any():
            raise _unreadable("must hold times", "write ISO 8601", series, bad)
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
    rule = "must hold at least one ISO weekday, 1 (Monday) to 7 (Sunday)"
    remedy = "list the weekdays on which the sequence may send"
    return _read_each(series, _weekdays, object, rule, remedy)


def _weekdays(value: Any) -> tuple[int, ...]:
    days = tuple(sorted({int(day) for day in value}))
    if not days or days[0] < 1 or days[-1] > 7:
        raise ValueError(value)
    return days


READERS: Mapping[Kind, Callable[[pd.Series], np.ndarray]] = {
    "key": _read_integer,
    "integer": _read_integer,
    "number": _read_number,
    "text": _read_text,
    "time": _read_time,
    "date": _read_date,
    "instant": _read_instant,
    "weekdays": _read_weekdays,
}
