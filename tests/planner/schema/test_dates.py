"""The calendar: sending days, time zones and windows."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendplan.planner.schema import dates, scalar_dates
from sendplan.tests.worlds.problems.tiny import World, days_of

WEEKDAYS = (1, 2, 3, 4, 5)
EPOCH = date(1970, 1, 1)
ONE_DAY = timedelta(days=1)


def number(day: date) -> int:
    return (day - EPOCH).days


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


# ---------------------------------------------------------------- sending days


def naive_on_or_after(day: date, weekdays: tuple[int, ...], country: str | None) -> date:
    free = holidays.country_holidays(country) if country else ()
    while day.isoweekday() not in weekdays or day in free:
        day += ONE_DAY
    return day


def naive_after_wait(
    day: date, wait: int, unit: str, weekdays: tuple[int, ...], country: str | None
) -> date:
    if unit == "calendar" or wait == 0:
        return naive_on_or_after(day + wait * ONE_DAY, weekdays, country)
    for _ in range(wait):
        day = naive_on_or_after(day + ONE_DAY, weekdays, country)
    return day


@pytest.mark.slow
@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    weekdays=st.sets(st.integers(1, 7), min_size=1).map(lambda s: tuple(sorted(s))),
    country=st.sampled_from((None, "DE", "US", "JP")),
    first=st.dates(date(2025, 11, 1), date(2026, 6, 1)),
    length=st.integers(0, 60),
    wait=st.integers(0, 12),
    unit=st.sampled_from(("calendar", "sending")),
)
def test_waits_agree_with_counting_day_by_day(
    weekdays: tuple[int, ...], country: str | None, first: date, length: int, wait: int, unit: str
) -> None:
    last = first + length * ONE_DAY
    calendar = dates.SendingDays(weekdays, country, number(first), number(last))
    covered = [first + i * ONE_DAY for i in range(length + 1)]
    # What lies beyond the calendar is the day after its last, whatever the distance.
    expected = [
        min(naive_after_wait(day, wait, unit, weekdays, country), last + ONE_DAY) for day in covered
    ]
    days = np.array([number(day) for day in covered])
    waits = np.full(len(days), wait)
    assert calendar.after_wait(days, wait, unit).tolist() == [number(day) for day in expected]
    assert calendar.after_wait(days, waits, unit).tolist() == [number(day) for day in expected]


# March 2026: the 6th is a Friday, the 7th a Saturday, the 9th a Monday.
@pytest.mark.parametrize(
    ("sent", "wait", "unit", "ready"),
    [
        (6, 0, "calendar", 6),
        (6, 1, "calendar", 9),  # Saturday, moved on to Monday
        (6, 3, "calendar", 9),
        (7, 0, "calendar", 9),
        (6, 0, "sending", 6),  # that day …
        (7, 0, "sending", 9),  # … or the next sending day
        (6, 1, "sending", 9),
        (6, 2, "sending", 10),
        (7, 1, "sending", 9),  # the first sending day after it, though Saturday was none
        (7, 2, "sending", 10),
        (8, 1, "sending", 9),
    ],
)
def test_waits_over_a_weekend(sent: int, wait: int, unit: str, ready: int) -> None:
    calendar = dates.SendingDays(
        WEEKDAYS, None, number(date(2026, 3, 1)), number(date(2026, 3, 31))
    )
    sent_day = np.array([number(date(2026, 3, sent))])
    assert calendar.after_wait(sent_day, wait, unit).tolist() == [number(date(2026, 3, ready))]


@pytest.mark.parametrize(
    ("country", "day", "ready"),
    [
        ("DE", date(2026, 5, 1), date(2026, 5, 4)),  # Labour Day, a Friday
        ("US", date(2026, 5, 1), date(2026, 5, 1)),
        (None, date(2026, 5, 1), date(2026, 5, 1)),
        ("US", date(2026, 7, 3), date(2026, 7, 6)),  # Independence Day, observed on the Friday
        ("DE", date(2026, 12, 24), date(2026, 12, 24)),
        ("DE", date(2026, 12, 25), date(2026, 12, 28)),  # two holidays and a Sunday
        ("DE", date(2027, 1, 1), date(2027, 1, 4)),  # the year after the calendar's first
    ],
)
def test_holidays_are_no_sending_days(country: str | None, day: date, ready: date) -> None:
    calendar = dates.SendingDays(
        WEEKDAYS, country, number(date(2026, 4, 1)), number(date(2027, 3, 1))
    )
    assert calendar.on_or_after(np.array([number(day)])).tolist() == [number(ready)]


def test_known_zones_and_countries() -> None:
    assert scalar_dates.is_zone("Europe/Berlin")
    assert not any(
        scalar_dates.is_zone(name) for name in ("Europe/Berln", "", "../etc/passwd", "/UTC")
    )
    assert scalar_dates.is_country("DE")
    assert not scalar_dates.is_country("XX")


# ---------------------------------------------------------------- instants


@pytest.mark.parametrize(
    ("zone", "day", "clock", "instant"),
    [
        # The gap from 2:00 to 3:00 ends at 1:00 UTC.
        ("Europe/Berlin", date(2026, 3, 29), "02:00", "2026-03-29T01:00Z"),
        ("Europe/Berlin", date(2026, 3, 29), "02:30", "2026-03-29T01:00Z"),
        ("Europe/Berlin", date(2026, 3, 29), "03:00", "2026-03-29T01:00Z"),
        # 2:30 comes at +2 and again at +1.
        ("Europe/Berlin", date(2026, 10, 25), "02:30", "2026-10-25T00:30Z"),
        ("America/New_York", date(2026, 3, 8), "02:59:59", "2026-03-08T07:00Z"),
        ("America/New_York", date(2026, 11, 1), "01:30", "2026-11-01T05:30Z"),
        # The gap lies at midnight: the date begins at 1:00.
        ("America/Santiago", date(2026, 9, 6), "00:00", "2026-09-06T04:00Z"),
        ("America/Santiago", date(2026, 9, 5), "24:00", "2026-09-06T04:00Z"),
        # At 24:00 it is 23:00 once more: 23:30 comes at -3 first, midnight comes once, at -4.
        ("America/Santiago", date(2026, 4, 4), "23:30", "2026-04-05T02:30Z"),
        ("America/Santiago", date(2026, 4, 4), "24:00", "2026-04-05T04:00Z"),
        # Half an hour: from 2:00 at +10:30 to 2:30 at +11.
        ("Australia/Lord_Howe", date(2026, 10, 4), "02:15", "2026-10-03T15:30Z"),
        ("Australia/Lord_Howe", date(2026, 10, 4), "02:45", "2026-10-03T15:45Z"),
        ("Australia/Lord_Howe", date(2026, 4, 5), "01:45", "2026-04-04T14:45Z"),
        # Ireland's summer is the standard time, its winter the exception.
        ("Europe/Dublin", date(2026, 3, 29), "01:30", "2026-03-29T01:00Z"),
        ("Europe/Dublin", date(2026, 10, 25), "01:30", "2026-10-25T00:30Z"),
        ("Europe/Berlin", date(2026, 6, 1), "24:00", "2026-06-01T22:00Z"),
    ],
)
def test_local_times_around_clock_changes(zone: str, day: date, clock: str, instant: str) -> None:
    hours, minutes, *seconds = (int(part) for part in clock.split(":"))
    since_midnight = 3600 * hours + 60 * minutes + sum(seconds)
    found = dates.instants_at(np.array([number(day)]), since_midnight, zone)
    assert found.tolist() == [micros(datetime.fromisoformat(instant))]


CLOCK_CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("America/Santiago", date(2026, 4, 5)),
    ("America/Santiago", date(2026, 9, 6)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Europe/Dublin", date(2026, 3, 29)),
    ("Europe/Dublin", date(2026, 10, 25)),
]
STEP = timedelta(minutes=15)


@pytest.mark.parametrize(("zone", "change"), CLOCK_CHANGES)
def test_an_instant_is_the_first_to_reach_its_local_time(zone: str, change: date) -> None:
    # First of two, and first after a gap: both are the first instant at which the clock shows
    # the wanted time or a later one. Every change happens on a quarter of an hour.
    rules = ZoneInfo(zone)
    shown: list[tuple[datetime, datetime]] = []
    moment = datetime.combine(change, time(0), tzinfo=UTC) - 3 * ONE_DAY
    for _ in range(6 * 96):
        shown.append((moment, moment.astimezone(rules).replace(tzinfo=None)))
        moment += STEP
    days = [change - ONE_DAY, change, change + ONE_DAY]
    for quarter in range(97):
        found = dates.instants_at(np.array([number(d) for d in days]), 900 * quarter, zone)
        wanted = [datetime.combine(d, time(0)) + quarter * STEP for d in days]
        expected = [next(utc for utc, local in shown if local >= clock) for clock in wanted]
        assert found.tolist() == [micros(utc) for utc in expected], quarter


@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    moments=st.lists(
        st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
    ),
    zone=st.sampled_from([zone for zone, _ in CLOCK_CHANGES] + ["Pacific/Kiritimati"]),
)
def test_local_days_are_those_of_zoneinfo(moments: list[datetime], zone: str) -> None:
    found = dates.local_days(np.array([micros(m) for m in moments], dtype=np.int64), zone)
    assert found.tolist() == [number(m.astimezone(ZoneInfo(zone)).date()) for m in moments]


def test_a_point_in_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match=r"2026-03-02T09:00:00\+00:00"):
        dates.to_microseconds("2026-03-02 09:00")
    moment = datetime(2026, 3, 2, 9, 0, 0, 5, tzinfo=UTC)
    assert dates.to_microseconds(moment) == micros(moment)
    assert dates.to_microseconds(moment.astimezone(ZoneInfo("Asia/Tokyo"))) == micros(moment)


def test_numbers_turn_back_into_dates_and_instants() -> None:
    days = np.array([number(date(1969, 12, 31)), number(date(2026, 3, 2))])
    assert [dates.to_date(day) for day in days] == [date(1969, 12, 31), date(2026, 3, 2)]
    assert dates.to_dates(days).dt.date.tolist() == [date(1969, 12, 31), date(2026, 3, 2)]
    moment = datetime(2026, 3, 2, 9, 0, 1, tzinfo=UTC)
    assert dates.to_instants(np.array([micros(moment)])).tolist() == [moment]


# ---------------------------------------------------------------- the first usable day


@pytest.mark.parametrize(
    ("now", "zone", "first"),
    [
        ("2026-03-02T06:00Z", "UTC", 0),
        ("2026-03-02T16:59:59Z", "UTC", 0),
        ("2026-03-02T17:00Z", "UTC", 1),  # the window's end has been reached
        ("2026-03-06T17:00Z", "UTC", 7),  # tomorrow is a Saturday
        # 13:00 on Tuesday in Kiritimati, on Monday in Honolulu.
        ("2026-03-02T23:00Z", "Pacific/Kiritimati", 1),
        ("2026-03-02T23:00Z", "Pacific/Honolulu", 0),
        # Monday's 22:00 in Honolulu is Tuesday in UTC; its tomorrow is Tuesday.
        ("2026-03-03T08:00Z", "Pacific/Honolulu", 1),
        # Tuesday's 1:00 in UTC is still Monday's 15:00 there.
        ("2026-03-03T01:00Z", "Pacific/Honolulu", 0),
    ],
)
def test_first_usable_day(now: str, zone: str, first: int) -> None:
    world = World(datetime.fromisoformat(now)).sequence(waits=(0,)).mailbox()
    world.enroll(1, contact_timezone=zone)
    plan = world.plan()
    assert days_of(plan) == {1: [first]}
    assert plan.cost == 0


def test_a_day_with_less_than_a_second_left_is_usable_but_has_no_room() -> None:
    # The end is not reached at 16:59:59.5, so that today is the ready day; the email cannot leave
    # on a whole second of it and is a day late.
    world = World(datetime(2026, 3, 2, 16, 59, 59, 500_000, tzinfo=UTC))
    plan = world.sequence(waits=(0,)).mailbox().enroll(1).plan()
    assert days_of(plan) == {1: [1]}
    assert plan.cost == 1


@pytest.mark.parametrize(
    ("enrolled", "first"),
    [
        ("2026-03-09T16:59Z", 7),
        ("2026-03-09T17:00Z", 8),  # closed by then: the next date
        ("2026-03-13T17:00Z", 14),  # … moved to the first sending day
        ("2026-03-14T08:00Z", 14),
        ("2020-01-01T08:00Z", 0),  # not before the first usable day
    ],
)
def test_step_one_is_ready_on_the_enrolment_date(enrolled: str, first: int) -> None:
    # Its own wait_days, 5 here, is ignored.
    world = World().sequence(waits=(5,)).mailbox()
    plan = world.enroll(1, enrolled_at=datetime.fromisoformat(enrolled)).plan()
    assert days_of(plan) == {1: [first]}
    assert plan.cost == 0


def test_a_window_on_a_short_day_is_the_interval_between_its_local_times() -> None:
    # Berlin, 29 March: 1:00 to 4:00 is two hours, midnight UTC to 2:00; four emails go every
    # half hour of real time. The 29th is a Sunday.
    world = World(datetime(2026, 3, 28, 12, tzinfo=UTC)).mailbox()
    world.sequence(
        waits=(0,), start_time="01:00", end_time="04:00", timezone="Europe/Berlin", send_days=[7]
    )
    plan = world.enroll(1, 2, 3, 4).plan()
    assert [f"{at:%d %H:%M:%S}" for at in plan.sends["send_at"]] == [
        "29 00:00:00",
        "29 00:30:00",
        "29 01:00:00",
        "29 01:30:00",
    ]


def test_send_day_is_the_local_date() -> None:
    # 9:00 on Tuesday in Kiritimati is 19:00 on Monday in UTC.
    world = World().sequence(waits=(0,)).mailbox()
    plan = world.enroll(1, contact_timezone="Pacific/Kiritimati", enrolled_at=world.now).plan()
    assert plan.sends["send_day"].dt.date.tolist() == [date(2026, 3, 3)]
    assert plan.sends["send_at"].tolist() == [datetime(2026, 3, 2, 19, tzinfo=UTC)]


def test_a_wait_runs_from_the_local_date_of_the_actual_send() -> None:
    # Sent at 20:00 UTC on Monday, which is Tuesday in Kiritimati; a wait of one day ends there
    # on Wednesday, the 4th, whatever send_day says.
    world = World(datetime(2026, 3, 2, 21, tzinfo=UTC)).sequence().mailbox()
    world.enroll(1, contact_timezone="Pacific/Kiritimati")
    world.email(1, 11, "sent", 0, "20:00", send_day=date(2026, 3, 2))
    assert days_of(world.plan()) == {1: [2]}
