"""The day on which the first email of a new enrollment is ready."""

import datetime as dt
from typing import Any

from sqlalchemy import Row

from sendplan.io.documents.texts import shown
from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.scalar_dates import ONE_DAY, ScalarSendingDays, instant_at, local_day


class ReadyDays:
    """The ready day of a first email by time zone (the calendar).

    Parameters
    ----------
    sequence : Row
        Its columns start_second, end_second (of the day), send_days and holidays.
    instant : int
        The time of enrolment, in microseconds since 1970-01-01 UTC.
    """

    def __init__(self, sequence: Row[Any], instant: int) -> None:
        self._sequence = sequence
        self._instant = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=instant)
        self._days = ScalarSendingDays(tuple(sequence.send_days), sequence.holidays)

    def slot(self, zone: str) -> tuple[dt.date, dt.datetime]:
        """Return the ready day in a zone, and the instant at which the window opens on it."""
        today = local_day(self._instant, zone)
        closed = self._instant >= instant_at(today, self._sequence.end_second, zone)
        ready = self._days.on_or_after(today + ONE_DAY if closed else today)
        if ready is None:
            what = f"sequence {shown(self._sequence.name)} has no sending day"
            raise DataError([Fault("sequence", what, "check its send_days and holidays")])
        return ready, instant_at(ready, self._sequence.start_second, zone)
