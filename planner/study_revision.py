"""A problem after changes that only studies make; part of `sendplan.planner.revision`."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sendplan.planner.frame_rows import appended, extended, next_id, row_of
from sendplan.planner.model.components import mailbox_components
from sendplan.planner.model.instance import goes_on
from sendplan.planner.model.mailbox_capacity import fleet_of
from sendplan.planner.problem.enrollment_state import Progress, progress
from sendplan.planner.schema import dates
from sendplan.planner.schema.vocabulary import EnrollmentStatus, MailboxStatus
from sendplan.planner.study_changes import AddMailboxes, Arrivals, DaysOff, ScaleCapacities

if TYPE_CHECKING:
    from sendplan.planner.problem.problem import Problem

Frames = dict[str, Any]
"""DataFrames by the name that a problem has for them."""


def scale_capacities(change: ScaleCapacities, problem: "Problem") -> Frames:
    """Multiply capacities."""
    mailboxes = problem.mailboxes
    chosen = np.ones(len(mailboxes), dtype=bool)
    if change.mailbox_ids is not None:
        for mailbox_id in change.mailbox_ids:
            row_of(mailboxes, "mailbox", mailbox_id)
        chosen = mailboxes["id"].isin(list(change.mailbox_ids)).to_numpy()
    capacity = mailboxes["daily_capacity"].to_numpy()
    scaled = np.floor(capacity * change.factor + 0.5).astype(np.int64)
    return {"mailboxes": mailboxes.assign(daily_capacity=np.where(chosen, scaled, capacity))}


def add_mailboxes(change: AddMailboxes, problem: "Problem") -> Frames:
    """Append mailboxes, and links to those for whom they send."""
    mailboxes = problem.mailboxes
    values = {"email": None, "min_gap_seconds": 0, **change.columns}
    if "daily_capacity" not in values:
        values["daily_capacity"] = usual_capacity(problem)
    for sequence_id in change.sequence_ids or ():
        row_of(problem.sequences, "sequence", sequence_id)
    if change.like is not None:
        model = mailboxes.iloc[row_of(mailboxes, "mailbox", change.like)]
        own = {name: int(model[name]) for name in ("daily_capacity", "min_gap_seconds")}
        values |= {name: value for name, value in own.items() if name not in change.columns}
    pools = _sequences_of_each(change, problem, int(values["daily_capacity"]))
    first = next_id(mailboxes)
    rows = [
        {"id": first + number, **values, "status": str(MailboxStatus.ACTIVE)}
        for number in range(change.count)
    ]
    fresh = [
        {"sequence_id": int(sequence_id), "mailbox_id": first + number}
        for number, pool in enumerate(pools)
        for sequence_id in pool
    ]
    links = appended(problem.sequence_mailboxes, fresh).sort_values(
        ["sequence_id", "mailbox_id"], ignore_index=True
    )
    return {"mailboxes": appended(mailboxes, rows), "sequence_mailboxes": links}


def usual_capacity(problem: "Problem") -> int:
    """Return the median daily capacity of the active mailboxes; 50 where there is none."""
    mailboxes = problem.mailboxes
    active = mailboxes["daily_capacity"][mailboxes["status"] == MailboxStatus.ACTIVE]
    return int(active.median()) if len(active) else 50


def _sequences_of_each(
    change: AddMailboxes, problem: "Problem", daily_capacity: int
) -> list[np.ndarray]:
    """Return for which sequences each new mailbox sends."""
    if change.sequence_ids is not None:
        return [np.array(change.sequence_ids, dtype=np.int64)] * change.count
    links = problem.sequence_mailboxes
    if change.like is not None:
        own = links["sequence_id"][links["mailbox_id"] == change.like].to_numpy()
        return [own] * change.count
    pools = Pools(problem)
    return [pools.sequence_ids(pool) for pool in pools.shared_out(change.count, daily_capacity)]


class Pools:
    """Sequences that share mailboxes, with the emails that they have left and what sends them.

    Parameters
    ----------
    problem : Problem
        The problem.

    Attributes
    ----------
    of_sequence : ndarray of int, shape (sequences,)
        Number of each sequence's pool, from 0.
    emails, capacity : ndarray of int, shape (pools,)
        Emails left, and emails a day that the active mailboxes may send.
    """

    def __init__(self, problem: "Problem") -> None:
        self._ids = problem.sequences["id"].to_numpy()
        state = progress(problem)
        pools = fleet_of(problem, state).pools
        # The numbers that `sendplan.planner.studies.deadline` gives them, too.
        self.of_sequence = mailbox_components(pools)
        count = int(self.of_sequence.max(initial=-1)) + 1
        size = problem.mailboxes["daily_capacity"].to_numpy()
        self.capacity = np.zeros(count, dtype=np.int64)
        for pool in range(count):
            members = [pools[place] for place in np.flatnonzero(self.of_sequence == pool)]
            self.capacity[pool] = size[np.unique(np.concatenate(members))].sum()
        self.emails = np.zeros(count, dtype=np.int64)
        np.add.at(self.emails, self.of_sequence, _emails_left(problem, state))

    def __len__(self) -> int:
        """Return the number of pools."""
        return len(self.emails)

    def sequence_ids(self, pool: int) -> np.ndarray:
        """Return the sequences of a pool."""
        return np.asarray(self._ids[self.of_sequence == pool])

    def shared_out(self, count: int, daily_capacity: int) -> list[int]:
        """Return the pool of each new mailbox: the one with most emails left for its capacity."""
        capacity = self.capacity.astype(float)
        chosen = []
        for _ in range(count if len(self) else 0):
            # A pool with no capacity at all needs a mailbox first, if it has anything to send.
            load = np.divide(self.emails, capacity, out=np.zeros(len(self)), where=capacity > 0)
            load = np.where((capacity == 0) & (self.emails > 0), np.inf, load)
            pool = int(load.argmax())
            capacity[pool] += max(daily_capacity, 1)
            chosen.append(pool)
        return chosen


def _emails_left(problem: "Problem", state: Progress) -> np.ndarray:
    """Return how many emails each sequence has left to send, blocked ones included."""
    sequences = problem.sequences
    sequence = pd.Index(sequences["id"]).get_indexer(problem.enrollments["sequence_id"])
    wanted = goes_on(problem, state, sequence)
    masks, inverse = np.unique(state.remaining, return_inverse=True)
    left = np.array([int(mask).bit_count() for mask in masks], dtype=np.int64)[inverse]
    result = np.zeros(len(sequences), dtype=np.int64)
    np.add.at(result, sequence[wanted], left[wanted])
    return result


def take_days_off(change: DaysOff, problem: "Problem") -> Frames:
    """Add dates to the days off of sequences."""
    for sequence_id in change.sequence_ids or ():
        row_of(problem.sequences, "sequence", sequence_id)
    chosen = change.sequence_ids
    ids = list(problem.sequences["id"] if chosen is None else chosen)
    fresh = [
        {"sequence_id": int(key), "day": _day_number(day)} for key in ids for day in change.days
    ]
    columns = ["sequence_id", "day"]
    days_off = appended(problem.days_off, fresh).drop_duplicates(columns)
    return {"days_off": days_off.sort_values(columns, ignore_index=True)}


def let_arrive(change: Arrivals, problem: "Problem") -> Frames:
    """Append enrollments, a day's worth at the first instant of each day."""
    sequences, people = problem.sequences, problem.enrollments
    row = row_of(sequences, "sequence", change.sequence_id)
    first = _day_number(change.first_day)
    days = np.arange(first, first + change.days)
    begin = dates.instants_at(days, 0, sequences["timezone"].iloc[row])
    count = change.per_day * change.days
    values: dict[str, Any] = {
        "id": next_id(people) + np.arange(count),
        "sequence_id": change.sequence_id,
        "enrolled_at": np.repeat(begin, change.per_day),
        "status": str(EnrollmentStatus.ACTIVE),
    }
    return {"enrollments": extended(people, values, count)}


def _day_number(day: str) -> int:
    return dates.to_day(dt.date.fromisoformat(day))
