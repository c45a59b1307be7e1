"""The calendar one email at a time, for what must start without numpy and pandas.

The rules are those of the calendar; `sendplan.planner.schema.dates` has them for whole columns, and
shares with this module what does not depend on that: the end of a gap, and the holidays of a year.
"""

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sendplan.planner.schema.vocabulary import MAX_WAIT_DAYS, WaitUnit

ONE_DAY = dt.timedelta(days=1)
CALENDAR_DAYS = 800
"""Days in which a sending day must turn up: two years, holidays and all."""

UNREADABLE = (LookupError, ValueError, OSError, ArithmeticError, NotImplementedError)
"""What an unknown zone or country raises here, or a date beyond all calendars.

They come into the tables by plain SQL. Code that goes through many emails one at a time skips
those concerned; the planner reports what is wrong.
"""


def is_zone(name: str) -> bool:
    """Tell whether `name` is a time zone of the IANA database."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def is_country(code: str) -> bool:
    """Tell whether public holidays are known for the country `code`, such as ``"DE"``."""
    import holidays

    return code in holidays.list_supported_countries()


def local_day(instant: dt.datetime, zone: str) -> dt.date:
    """Return the local date of an aware instant in a time zone."""
    return instant.astimezone(ZoneInfo(zone)).date()


def instant_at(day: dt.date, seconds: int, zone: str) -> dt.datetime:
    """Return the instant of a local time of day.

    A local time that does not exist is the first instant after the gap; one that happens twice
    is its first occurrence.

    Parameters
    ----------
    day : date
        Local date.
    seconds : int
        Seconds since local midnight, up to 86,400.
    zone : str
        IANA time zone.

    Returns
    -------
    datetime
        In UTC.
    """
    rules = ZoneInfo(zone)
    clock = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=seconds)
    instant = clock.replace(tzinfo=rules).astimezone(dt.UTC)
    if instant.astimezone(rules).replace(tzinfo=None) != clock:
        return end_of_gap(clock, zone)
    return instant


@lru_cache(maxsize=16_384)
def window(
    day: dt.date, start_seconds: int, end_seconds: int, zone: str
) -> tuple[dt.datetime, dt.datetime]:
    """Return the instants, in UTC, at which the window of a day opens and closes in a zone."""
    return instant_at(day, start_seconds, zone), instant_at(day, end_seconds, zone)


def end_of_gap(missing: dt.datetime, zone: str) -> dt.datetime:
    """Return the first instant, in UTC, after the gap that swallows a local time.

    Parameters
    ----------
    missing : datetime
        A local time, without a zone, that the clocks of `zone` never show.
    zone : str
        IANA time zone.
    """
    rules = ZoneInfo(zone)
    before, after = (int(missing.replace(tzinfo=rules, fold=fold).timestamp()) for fold in (1, 0))
    offset = dt.datetime.fromtimestamp(before, rules).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if dt.datetime.fromtimestamp(middle, rules).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return dt.datetime.fromtimestamp(after, dt.UTC)


@lru_cache(maxsize=4096)
def holidays_in(country: str, year: int) -> frozenset[dt.date]:
    """Return the public holidays of a country in a year."""
    # Most sequences heed no holidays; the library would be a third of a dispatcher's start.
    import holidays

    return frozenset(holidays.country_holidays(country, years=year))


class ScalarSendingDays:
    """The sending days of a sequence: weekdays less holidays.

    Parameters
    ----------
    weekdays, country
        As for `sendplan.planner.schema.dates.SendingDays`.
    """

    def __init__(self, weekdays: tuple[int, ...], country: str | None) -> None:
        self._weekdays = frozenset(weekdays)
        self._country = country

    def is_sending_day(self, day: dt.date) -> bool:
        """Tell whether the sequence may send on a date."""
        if day.isoweekday() not in self._weekdays:
            return False
        return self._country is None or day not in holidays_in(self._country, day.year)

    def on_or_after(self, day: dt.date) -> dt.date | None:
        """Return the first sending day on or after a date; None if none is in sight.

        In sight are the next `CALENDAR_DAYS` days.
        """
        for ahead in range(CALENDAR_DAYS + 1):
            found = day + ahead * ONE_DAY
            if self.is_sending_day(found):
                return found
        return None

    def after_wait(self, day: dt.date, wait: int, unit: str) -> dt.date | None:
        """Return the day on which a step is ready whose predecessor left on `day`.

        Parameters
        ----------
        day : date
            Local date on which the step before left; need not be a sending day.
        wait : int
            The step's wait_days.
        unit : str
            A word of `WaitUnit`.

        Returns
        -------
        date or None
            None if no sending day is in sight (`on_or_after`), or `wait` exceeds the longest.
        """
        if wait > MAX_WAIT_DAYS:
            return None
        if unit == WaitUnit.CALENDAR or wait == 0:
            return self.on_or_after(day + wait * ONE_DAY)
        ready: dt.date | None = day
        for _ in range(wait):
            if ready is None:
                break
            ready = self.on_or_after(ready + ONE_DAY)
        return ready
