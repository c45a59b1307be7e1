"""Calendars, time zones and windows: the one place that turns dates into integers and back.

Inside the planner a day is an integer, days since 1970-01-01, or an index into a horizon
(`Horizon`); a point in time is an integer, microseconds since 1970-01-01 UTC.
The rules are those of the calendar (planner/README.md).
"""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from sendplan.planner.schema import scalar_dates
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import DAY_SECONDS, MAX_HORIZON_DAYS, WaitUnit

SECOND = 1_000_000
DAY = DAY_SECONDS * SECOND


@dataclass(frozen=True)
class Horizon:
    """The days a plan may use, as indices.

    Index 0 is the day before today's UTC date, since today can still be yesterday west of
    Greenwich; index `last` is the last day that may be used; `beyond` stands for every later day.

    Parameters
    ----------
    origin : int
        The day of index 0, in days since 1970-01-01.
    """

    origin: int

    @classmethod
    def at(cls, now: int) -> "Horizon":
        """Build the horizon of a plan made at `now` (microseconds since 1970-01-01 UTC)."""
        return cls(now // DAY - 1)

    @property
    def last(self) -> int:
        """Index of the last day that any plan may use: 366 days ahead."""
        return MAX_HORIZON_DAYS + 1

    @property
    def beyond(self) -> int:
        """Index that stands for every day after `last`."""
        return self.last + 1

    @property
    def size(self) -> int:
        """Number of indices, `beyond` included."""
        return self.last + 2

    def totals(
        self, rows: int, row: np.ndarray, day: np.ndarray, amount: np.ndarray | int = 1
    ) -> np.ndarray:
        """Sum amounts by row and day up to `last`; negative rows and other days are left out.

        Parameters
        ----------
        rows : int
            Rows of the table.
        row, day : ndarray of int, shape (entries,)
            Row of each entry, and its day since 1970-01-01.
        amount : int or ndarray of int, shape (entries,)
            What each entry adds.

        Returns
        -------
        ndarray of int64, shape (rows, last + 1)
        """
        index = day - self.origin
        within = (row >= 0) & (index >= 0) & (index <= self.last)
        table = np.zeros((rows, self.last + 1), dtype=np.int64)
        amounts = np.broadcast_to(amount, row.shape)[within]
        np.add.at(table, (row[within], index[within]), amounts)
        return table


@lru_cache(maxsize=256)
def _holidays(country: str, first_year: int, last_year: int) -> tuple[int, ...]:
    epoch = dt.date(1970, 1, 1)
    years = range(first_year, last_year + 1)
    free = (date for year in years for date in scalar_dates.holidays_in(country, year))
    return tuple(sorted((date - epoch).days for date in free))


class SendingDays:
    """The sending days of one calendar: weekdays less holidays and days off.

    Parameters
    ----------
    weekdays : tuple of int
        ISO weekdays on which the sequence may send.
    country : str or None
        Country whose public holidays are no sending days.
    first, last : int
        The days covered, both inclusive, in days since 1970-01-01.
    days_off : tuple of int
        Further days that are no sending days.
    """

    def __init__(
        self,
        weekdays: tuple[int, ...],
        country: str | None,
        first: int,
        last: int,
        days_off: tuple[int, ...] = (),
    ) -> None:
        days = np.arange(first, last + 1)
        allowed = np.zeros(8, dtype=bool)
        allowed[list(weekdays)] = True
        sends = allowed[(days + 3) % 7 + 1]
        if country is not None:
            years = [dt.date.fromordinal(719_163 + day).year for day in (first, last)]
            free = np.array(_holidays(country, years[0], years[1]), dtype=np.int64)
            free = free[(free >= first) & (free <= last)]
            sends[free - first] = False
        sends[[day - first for day in days_off if first <= day <= last]] = False
        self.first = first
        self.last = last
        self.sends = sends
        self._days = np.append(days[sends], last + 1)
        self._at_or_after = np.searchsorted(self._days, np.append(days, last + 1))

    def on_or_after(self, days: np.ndarray) -> np.ndarray:
        """Return the first sending day on or after each day; ``last + 1`` beyond the calendar."""
        place = self._at_or_after[np.clip(days, self.first, self.last + 1) - self.first]
        return np.asarray(self._days[place])

    def after_wait(self, days: np.ndarray, wait: np.ndarray | int, unit: str) -> np.ndarray:
        """Return the day on which a step is ready whose predecessor left on `days` (the calendar).

        Parameters
        ----------
        days : ndarray of int64
            Days on which the step before left; need not be sending days.
        wait : int or ndarray of int64
            The step's wait_days.
        unit : str
            A word of `WaitUnit`.

        Returns
        -------
        ndarray of int64
            Ready days; ``last + 1`` stands for any day beyond the calendar.
        """
        days = np.clip(days, self.first, self.last + 1)
        if unit == WaitUnit.CALENDAR:
            return self.on_or_after(days + wait)
        following = self._at_or_after[np.clip(days + 1, self.first, self.last + 1) - self.first]
        place = np.where(wait == 0, self._at_or_after[days - self.first], following + wait - 1)
        return np.asarray(self._days[np.minimum(place, len(self._days) - 1)])


def ceil_seconds(instants: np.ndarray) -> np.ndarray:
    """Return microseconds as whole seconds, rounded up."""
    return -(-instants // SECOND)


def local_days(instants: np.ndarray, zone: str | np.ndarray) -> np.ndarray:
    """Return the local date of each instant in a time zone.

    Parameters
    ----------
    instants : ndarray of int64
        Microseconds since 1970-01-01 UTC.
    zone : str or ndarray of object
        IANA time zone, or one of each instant.

    Returns
    -------
    ndarray of int64
        Days since 1970-01-01.
    """
    if not isinstance(zone, str):
        days = np.empty(len(instants), dtype=np.int64)
        codes, names = pd.factorize(zone)
        for code, name in enumerate(names):
            days[codes == code] = local_days(instants[codes == code], name)
        return days
    utc = pd.DatetimeIndex(instants.astype("datetime64[us]")).tz_localize("UTC")
    local = utc.tz_convert(zone).tz_localize(None)
    return np.asarray(local.to_numpy().astype("datetime64[D]").astype(np.int64))


def instants_at(days: np.ndarray, seconds: int | np.ndarray, zone: str) -> np.ndarray:
    """Return the instants of local times of day.

    A local time that does not exist is the first instant after the gap; one that happens twice
    is its first occurrence (the calendar).

    Parameters
    ----------
    days : ndarray of int64
        Local dates, in days since 1970-01-01.
    seconds : int or ndarray of int64
        Seconds since local midnight, up to 86,400.
    zone : str
        IANA time zone.

    Returns
    -------
    ndarray of int64
        Microseconds since 1970-01-01 UTC.
    """
    naive = pd.DatetimeIndex((days * DAY + seconds * SECOND).astype("datetime64[us]"))
    first_occurrence = np.ones(len(days), dtype=bool)
    # pandas' own shift_forward lands half an hour late in zones whose gap is not a full hour.
    aware = naive.tz_localize(zone, nonexistent="NaT", ambiguous=first_occurrence)
    utc = aware.tz_convert("UTC").tz_localize(None)
    instants = np.asarray(utc.to_numpy().astype("datetime64[us]").astype(np.int64))
    for place in np.flatnonzero(instants == NULL):
        end = scalar_dates.end_of_gap(naive[int(place)].to_pydatetime(), zone)
        instants[place] = int(end.timestamp()) * SECOND
    return instants


def to_date(day: int) -> dt.date:
    """Return the date of a day number."""
    return dt.date.fromordinal(719_163 + int(day))


def to_day(date: dt.date) -> int:
    """Return the number of a date."""
    return date.toordinal() - 719_163


def to_dates(days: np.ndarray) -> pd.Series:
    """Return day numbers as a datetime64 column at midnight, without a zone."""
    return pd.Series(days.astype("datetime64[D]").astype("datetime64[s]"))


def to_instants(instants: np.ndarray) -> pd.Series:
    """Return microseconds since 1970-01-01 UTC as an aware datetime column."""
    return pd.Series(pd.DatetimeIndex(instants.astype("datetime64[us]")).tz_localize("UTC"))


def to_microseconds(now: dt.datetime | pd.Timestamp | str) -> int:
    """Return an aware point in time as microseconds since 1970-01-01 UTC.

    Raises
    ------
    ValueError
        If `now` carries no time zone.
    """
    stamp = pd.Timestamp(now)
    if stamp.tzinfo is None:
        raise ValueError(
            f"the time {now} has no zone; add the UTC offset, such as {stamp.isoformat()}+00:00"
        )
    return int(
        stamp.tz_convert("UTC")
        .tz_localize(None)
        .to_datetime64()
        .astype("datetime64[us]")
        .astype(np.int64)
    )
