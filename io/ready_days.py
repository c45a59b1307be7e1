"""The day on which the first email of a new enrollment is ready."""

import datetime as dt
from typing import Any

import numpy as np
from sqlalchemy import Row

from sendplan.io.errors import DataError, Problem
from sendplan.io.texts import shown
from sendplan.planner import dates

CALENDAR_DAYS = 800
"""Days in which a sending day must turn up: two years, holidays and all."""


class ReadyDays:
    """The ready day of a first email by time zone (SPEC §4).

    Parameters
    ----------
    sequence : Row
        Its columns start_second, end_second (of the day), send_days and holidays.
    instant : int
        The time of enrolment, in microseconds since 1970-01-01 UTC.
    """

    def __init__(self, sequence: Row[Any], instant: int) -> None:
        self._sequence = sequence
        self._instant = instant
        today = instant // dates.DAY
        self._days = dates.SendingDays(
            tuple(sequence.send_days), sequence.holidays, today - 2, today + CALENDAR_DAYS
        )

    def slot(self, zone: str) -> tuple[dt.date, dt.datetime]:
        """Return the ready day in a zone, and the instant at which the window opens on it."""
        today = dates.local_days(np.array([self._instant]), zone)
        closes = dates.instants_at(today, self._sequence.end_second, zone)
        ready = self._days.on_or_after(today + (self._instant >= closes))
        if ready[0] > self._days.last:
            what = f"sequence {shown(self._sequence.name)} has no sending day in sight"
            raise DataError([Problem("sequence", what, "check its send_days and holidays")])
        opens = int(dates.instants_at(ready, self._sequence.start_second, zone)[0])
        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return dates.to_date(int(ready[0])), epoch + dt.timedelta(microseconds=opens)
