"""Changes that only studies make, as values; part of `sendplan.planner.changes`.

They answer "what would happen if", and have no counterpart in the tables: nobody stores ten
mailboxes without addresses, or people who have not enrolled yet.
"""

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sendplan.planner import refusals
from sendplan.planner.change import UNCHANGED, Change, Unchanged, read_key
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.readers import NULL

MOST = 1_000_000
"""Mailboxes, or people a day, that a study may add; more is a slip of the pen."""


@dataclass(frozen=True, repr=False)
class ScaleCapacities(Change):
    """Daily capacities multiplied, to the nearest whole email; for studies only.

    Ramps stay as they are, since no budget makes a mailbox warm up faster.

    Parameters
    ----------
    factor : float
        0 or more.
    mailbox_ids : iterable of int, optional
        All mailboxes by default.
    """

    WHERE = "capacities"

    factor: float
    mailbox_ids: Iterable[int] | None = None

    def _refuse(self) -> None:
        sound = isinstance(self.factor, int | float) and not isinstance(self.factor, bool)
        if not sound or not math.isfinite(self.factor) or self.factor < 0:
            raise self.fault("factor", "must be a finite number, at least 0", self.factor)


@dataclass(frozen=True, repr=False)
class AddMailboxes(Change):
    """Several new mailboxes at once; for studies only.

    Where neither `like` nor `sequence_ids` says for whom they send, they are shared out: one by
    one, each to the sequences that share mailboxes and have most emails left for their capacity.

    Parameters
    ----------
    count : int
        How many.
    daily_capacity : int, optional
        Emails a day at most, of each; by default that of `like`, else the median of the active
        mailboxes.
    like : int, optional
        The id of a mailbox whose settings and sequences they share. Its ramp is not, as that has
        its own first day; give one, or they send at full capacity at once.
    sequence_ids : iterable of int, optional
        The sequences that they send for.
    min_gap_seconds : int, optional
        By default that of `like`, else 0.
    ramp_start, ramp_increment, ramp_from : optional
        As in the table.
    """

    WHERE = "new mailboxes"
    TABLE = "mailboxes"
    VALUES = (
        "daily_capacity", "min_gap_seconds", "ramp_start", "ramp_increment", "ramp_from"
    )  # fmt: skip

    count: int
    daily_capacity: int | Unchanged = UNCHANGED
    like: int | None = None
    sequence_ids: Iterable[int] | None = None
    min_gap_seconds: int | Unchanged = UNCHANGED
    ramp_start: int | None = None
    ramp_increment: int | None = None
    ramp_from: Any = None

    def _refuse(self) -> None:
        _refuse_number(self, "count", self.count, least=0)
        if self.like is not None:
            self._put("like", read_key("like", self.like))
        if (self.columns["ramp_start"] == NULL) != (self.columns["ramp_from"] == NULL):
            raise refusals.half_a_ramp(self.where)


@dataclass(frozen=True, repr=False)
class DaysOff(Change):
    """Dates on which nothing is sent, as if they were holidays; for studies only.

    Ready days move to the next sending day, as they do over any holiday, and a wait in sending
    days does not count these.

    Parameters
    ----------
    days : iterable of date or str
        ISO dates, such as ``"2026-12-24"``; one date alone will do.
    sequence_ids : iterable of int, optional
        All sequences by default.
    """

    WHERE = "days off"

    days: Iterable[Any]
    sequence_ids: Iterable[int] | None = None

    def _refuse(self) -> None:
        given = [self.days] if isinstance(self.days, str | dt.date) else self.days
        if not isinstance(given, Iterable):
            raise self.fault("days", "must list dates", given, "Write them as 2026-12-24")
        days = tuple(sorted({_date(self, "days", each) for each in given}))
        if not days:
            raise ProblemError([Fault(f"{self.where}, days", "no date is given", [], "Add one")])
        self._put("days", days)


@dataclass(frozen=True, repr=False)
class Arrivals(Change):
    """People who enrol day after day, before the window opens; for studies only.

    Each is a contact of its own, in the sequence's time zone. Those of a day on which the sequence
    does not send are ready on the next on which it does.

    Parameters
    ----------
    sequence_id : int
    per_day : int
        How many enrol on each day.
    first_day : date or str
        The first of these days, by the sequence's time zone.
    days : int
        Over how many days in a row, weekends and holidays included.
    """

    WHERE = "arrivals of sequence {sequence_id}"

    sequence_id: int
    per_day: int
    first_day: Any
    days: int = 1

    def _refuse(self) -> None:
        _refuse_number(self, "per_day", self.per_day, least=0)
        _refuse_number(self, "days", self.days, least=1)
        if self.per_day * self.days > MOST:
            many = self.per_day * self.days
            raise self.fault("per_day × days", f"must be at most {MOST:,}", many)
        self._put("first_day", _date(self, "first_day", self.first_day))


def _refuse_number(change: Change, name: str, value: Any, *, least: int) -> None:
    sound = hasattr(value, "__index__") and not isinstance(value, bool)
    if not sound or not least <= value <= MOST:
        raise change.fault(name, f"must be a whole number from {least} to {MOST:,}", value)
    change._put(name, int(value))


def _date(change: Change, name: str, value: Any) -> str:
    """Return a date as text, which a change reads and prints alike."""
    refused = change.fault(name, "must be a date", value, "Write it as 2026-12-24")
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError):
        raise refused from None
    if pd.isna(stamp) or stamp.tzinfo is not None or stamp != stamp.normalize():
        raise refused
    return stamp.date().isoformat()
