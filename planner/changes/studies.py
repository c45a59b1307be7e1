"""Changes that only studies make.

They answer "what would happen if", and have no counterpart in the tables: ten mailboxes without
addresses, or contacts who have not enrolled yet.
"""

import datetime as dt
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.changes.change import UNCHANGED, Change, Unchanged, read_key
from sendplan.planner.changes.pools import Pools, usual_capacity
from sendplan.planner.changes.refusals import refuse_half_a_ramp
from sendplan.planner.changes.rows import appended, extended, linked, named, next_id, row_of
from sendplan.planner.problem.problem import Frames, Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.vocabulary import EnrollmentStatus, MailboxStatus

MOST = 1_000_000
"""Mailboxes, or contacts a day, that a study may add; more is a slip of the pen."""


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
            rule = "must be a finite number, at least 0"
            raise self.refused(rule, "correct it", "factor", self.factor)

    def revise(self, problem: Problem) -> Frames:
        """Multiply the capacities."""
        mailboxes = problem.mailboxes
        chosen = named(mailboxes, "mailbox", self.mailbox_ids)
        capacity = mailboxes["daily_capacity"].to_numpy()
        scaled = np.floor(capacity * self.factor + 0.5).astype(np.int64)
        return {"mailboxes": mailboxes.assign(daily_capacity=np.where(chosen, scaled, capacity))}


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
        refuse_half_a_ramp(self.where, self.columns)

    def revise(self, problem: Problem) -> Frames:
        """Append the mailboxes, and link each to the sequences that it sends for."""
        mailboxes = problem.mailboxes
        named(problem.sequences, "sequence", self.sequence_ids)
        values: dict[str, Any] = {"min_gap_seconds": 0}
        if self.like is None:
            values["daily_capacity"] = usual_capacity(problem)
        else:
            model = mailboxes.iloc[row_of(mailboxes, "mailbox", self.like)]
            values |= {name: int(model[name]) for name in ("daily_capacity", "min_gap_seconds")}
        values |= {"email": None, "status": str(MailboxStatus.ACTIVE), **self.columns}
        ids = next_id(mailboxes) + np.arange(self.count)
        fresh = [
            {"sequence_id": int(sequence_id), "mailbox_id": int(mailbox_id)}
            for mailbox_id, pool in zip(
                ids, self._sequences_of_each(problem, int(values["daily_capacity"])), strict=False
            )
            for sequence_id in pool
        ]
        return {
            "mailboxes": extended(mailboxes, {"id": ids, **values}, self.count),
            "sequence_mailboxes": linked(problem.sequence_mailboxes, fresh),
        }

    def _sequences_of_each(self, problem: Problem, daily_capacity: int) -> list[np.ndarray]:
        if self.sequence_ids is not None:
            return [np.array(self.sequence_ids, dtype=np.int64)] * self.count
        if self.like is not None:
            links = problem.sequence_mailboxes
            own = links["sequence_id"][links["mailbox_id"] == self.like].to_numpy()
            return [own] * self.count
        pools = Pools(problem)
        return [pools.sequence_ids(pool) for pool in pools.shared_out(self.count, daily_capacity)]


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
            raise self.refused("must list dates", "write them as 2026-12-24", "days", given)
        days = tuple(sorted({_date(self, "days", each) for each in given}))
        if not days:
            raise self.refused("no date is given", "add one", "days")
        self._put("days", days)

    def revise(self, problem: Problem) -> Frames:
        """Add the dates to the days off of the sequences."""
        sequences, columns = problem.sequences, ["sequence_id", "day"]
        fresh = [
            {"sequence_id": int(key), "day": _day_number(day)}
            for key in sequences["id"][named(sequences, "sequence", self.sequence_ids)]
            for day in self.days
        ]
        days_off = appended(problem.days_off, fresh).drop_duplicates(columns)
        return {"days_off": days_off.sort_values(columns, ignore_index=True)}


@dataclass(frozen=True, repr=False)
class Arrivals(Change):
    """Contacts who enrol day after day, before the window opens; for studies only.

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
            rule, many = f"must be at most {MOST:,}", self.per_day * self.days
            raise self.refused(rule, "correct it", "per_day × days", many)
        self._put("first_day", _date(self, "first_day", self.first_day))

    def revise(self, problem: Problem) -> Frames:
        """Append enrollments, a day's worth at the first instant of each day."""
        sequences, people = problem.sequences, problem.enrollments
        row = row_of(sequences, "sequence", self.sequence_id)
        days = _day_number(self.first_day) + np.arange(self.days)
        begin = dates.instants_at(days, 0, sequences["timezone"].iloc[row])
        count = self.per_day * self.days
        values = {
            "id": next_id(people) + np.arange(count),
            "sequence_id": self.sequence_id,
            "enrolled_at": np.repeat(begin, self.per_day),
            "status": str(EnrollmentStatus.ACTIVE),
        }
        return {"enrollments": extended(people, values, count)}


def _refuse_number(change: Change, name: str, value: Any, *, least: int) -> None:
    sound = hasattr(value, "__index__") and not isinstance(value, bool)
    if not sound or not least <= value <= MOST:
        rule = f"must be a whole number from {least} to {MOST:,}"
        raise change.refused(rule, "correct it", name, value)
    change._put(name, int(value))


def _date(change: Change, name: str, value: Any) -> str:
    """Return a date as text, which a change reads and prints alike."""
    refused = change.refused("must be a date", "write it as 2026-12-24", name, value)
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError):
        raise refused from None
    if pd.isna(stamp) or stamp.tzinfo is not None or stamp != stamp.normalize():
        raise refused
    return stamp.date().isoformat()


def _day_number(day: str) -> int:
    return dates.to_day(dt.date.fromisoformat(day))
