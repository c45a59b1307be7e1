"""The calendar one email at a time: equal to the planner's own for whole columns."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendplan.planner.schema import dates, scalar_dates
from sendplan.planner.schema.scalar_dates import ScalarSendingDays

EPOCH = date(1970, 1, 1)
ONE_DAY = timedelta(days=1)
# Half-hour gaps, gaps at midnight, a winter that is the exception, a date that never was.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Honolulu",
)


def number(day: date) -> int:
    return (day - EPOCH).days


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# ---------------------------------------------------------------- instants


def days_of_interest(zone: str) -> list[date]:
    """Days around every change of the clocks of 33 years, and a few of every month."""
    rules = ZoneInfo(zone)
    days = [date(2005, 1, 1) + ahead * ONE_DAY for ahead in range(33 * 365)]
    noons = [datetime(day.year, day.month, day.day, 12, tzinfo=rules) for day in days]
    offsets = [noon.utcoffset() for noon in noons]
    places = set(range(0, len(days), 11))
    for place in range(1, len(days) - 1):
        if offsets[place] != offsets[place - 1]:
            places |= {place - 2, place - 1, place, place + 1}
    return [days[place] for place in sorted(places)]


@pytest.mark.parametrize("zone", ZONES)
def test_instants_are_those_that_whole_columns_get(zone: str) -> None:
    days = days_of_interest(zone)
    numbers = np.array([number(day) for day in days])
    for seconds in (0, 900, 3599, 5400, 7200, 8100, 9000, 34_201, 82_800, 86_400):
        found = [micros(scalar_dates.instant_at(day, seconds, zone)) for day in days]
        assert found == dates.instants_at(numbers, seconds, zone).tolist(), seconds


def test_a_date_that_never_was_opens_and_closes_with_the_next() -> None:
    # Samoa went from the 29th of December 2011, at -10, to the 31st, at +14: both are 10:00 UTC.
    midnight = datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert scalar_dates.window(date(2011, 12, 30), 9 * 3600, 17 * 3600, "Pacific/Apia") == (
        midnight,
        midnight,
    )
    assert scalar_dates.window(date(2011, 12, 31), 0, 3600, "Pacific/Apia") == (
        midnight,
        midnight + timedelta(hours=1),
    )


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    moment=st.datetimes(datetime(2005, 1, 1), datetime(2038, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
def test_the_local_day_is_the_one_that_whole_columns_get(moment: datetime, zone: str) -> None:
    found = dates.local_days(np.array([micros(moment)]), zone)
    assert found.tolist() == [number(scalar_dates.local_day(moment, zone))]


# ---------------------------------------------------------------- sending days


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    weekdays=st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days))),
    country=st.sampled_from((None, "DE", "US", "JP", "IL")),
    first=st.dates(date(2015, 1, 1), date(2045, 1, 1)),
    wait=st.one_of(st.integers(0, 12), st.integers(13, 400)),
    unit=st.sampled_from(("calendar", "sending")),
)
def test_waits_are_those_that_whole_columns_get(
    weekdays: tuple[int, ...], country: str | None, first: date, wait: int, unit: str
) -> None:
    days = [first + ahead * ONE_DAY for ahead in range(8)]
    numbers = np.array([number(day) for day in days])
    # One sending day a week, holidays and all: none lies further away.
    whole = dates.SendingDays(weekdays, country, number(first), number(first) + 10 * wait + 200)
    single = ScalarSendingDays(weekdays, country)
    found = [single.after_wait(day, wait, unit) for day in days]
    assert [number(day) for day in found if day] == whole.after_wait(numbers, wait, unit).tolist()
    ready = [single.on_or_after(day) for day in days]
    assert [number(day) for day in ready if day] == whole.on_or_after(numbers).tolist()
    sends = [single.is_sending_day(day) for day in days]
    assert sends == whole.sends[:8].tolist()


def test_the_longest_wait_has_a_day() -> None:
    # 3,650 Mondays from a Sunday: the last is 3,649 weeks after the first.
    found = ScalarSendingDays((1,), None).after_wait(date(2026, 3, 1), 3_650, "sending")
    assert found == date(2026, 3, 2) + 3_649 * timedelta(weeks=1)


def test_where_no_day_sends_none_is_in_sight() -> None:
    never = ScalarSendingDays((), None)
    assert never.on_or_after(date(2026, 3, 2)) is None
    assert never.after_wait(date(2026, 3, 2), 3, "calendar") is None
    assert never.after_wait(date(2026, 3, 2), 3, "sending") is None


def test_the_calendar_starts_without_what_is_slow_to_import() -> None:
    # holidays as well, until a sequence heeds them.
    code = """
import sys
from datetime import date
from sendplan.planner.schema.scalar_dates import ScalarSendingDays
ScalarSendingDays((1,), None).on_or_after(date(2026, 3, 3))
print(sorted({"numpy", "pandas", "ortools", "holidays"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
