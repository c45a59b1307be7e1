"""The original design, as a baseline: a job that decides each day by itself, never looking ahead.

Every day all emails that are ready compete for what the mailboxes may send that day, in one of two
orders; whatever is left over is pushed to tomorrow. A contact without a thread takes the mailbox of
its pool with the most residual capacity, and stays there. Calendars, waits, ramps and
``max_new_per_day`` are honoured; minimum gaps, windows too short for the capacity and contacts in
two sequences are not, which can only flatter the baseline.

Run as a program, it prints both orders on the reference instance.
"""

import argparse
import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd

from sendplan.planner.synthetic import instances as synthetic

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Roll = Literal["forward", "backward"]

NO_MAILBOX = -1
SLIP_WEIGHT = 20.0
LONGEST_DAYS = 3 * 366


class Order(StrEnum):
    """Order of emails on a day that lacks capacity for all."""

    FIRST_IN_FIRST_OUT = "first in, first out"
    FOLLOW_UPS_FIRST = "follow-ups first"


@dataclass(frozen=True)
class Outcome:
    """What the daily job would have sent.

    Parameters
    ----------
    sends
        One row an email: enrollment_id, step_id, position, mailbox_id, send_day.
    cost
        The objective (planner/README.md).
    late_follow_ups
        Follow-ups sent after their ready day.
    slip_days, lateness_days
        Sums over all emails.
    finish_day
        The last day on which anything is sent; None when nothing is.
    """

    sends: pd.DataFrame
    cost: float
    late_follow_ups: int
    slip_days: int
    lateness_days: int
    finish_day: dt.date | None


class _Calendar:
    """Sending days and waits of one sequence, on days since 1970-01-01."""

    def __init__(self, sequence: Mapping[Any, Any], now: dt.datetime) -> None:
        country = sequence["holidays"]
        years = range(now.year - 1, now.year + 4)
        free = sorted(holidays.country_holidays(country, years=years)) if country else []
        mask = [weekday in sequence["send_days"] for weekday in range(1, 8)]
        self._days = np.busdaycalendar(mask, free)
        self._in_sending_days = sequence["wait_unit"] == "sending"

    def sends_on(self, day: int) -> bool:
        return bool(np.is_busday(np.datetime64(day, "D"), busdaycal=self._days))

    def on_or_after(self, day: IntArray) -> IntArray:
        return self._offset(day, 0, "forward")

    def after_wait(self, day: IntArray, wait: IntArray) -> IntArray:
        """Ready days of a step whose predecessor left on `day` (the calendar)."""
        if not self._in_sending_days:
            return self.on_or_after(day + wait)
        # From a day off, the first sending day after it counts as one; with no wait it is the goal.
        return np.where(wait > 0, self._offset(day, wait, "backward"), self.on_or_after(day))

    def _offset(self, day: IntArray, by: IntArray | int, roll: Roll) -> IntArray:
        days, offsets = day.astype("datetime64[D]"), np.asarray(by)
        moved = np.busday_offset(days, offsets, roll=roll, busdaycal=self._days)
        return np.asarray(moved).astype(np.int64)


class _Campaigns:
    """Sequences and their steps as arrays; a step is known by its index in the sorted frame."""

    def __init__(self, frames: Mapping[str, pd.DataFrame], now: dt.datetime) -> None:
        sequences, steps = frames["sequences"], frames["steps"]
        self.steps = steps[steps["position"].notna()].sort_values(["sequence_id", "position"])
        self.ids = sequences["id"].to_numpy()
        self.priority = sequences["priority"].to_numpy(dtype=np.float64)
        unlimited = np.iinfo(np.int64).max
        self.max_new = sequences["max_new_per_day"].fillna(unlimited).to_numpy(dtype=np.int64)
        self.sequence = pd.Index(self.ids).get_indexer(self.steps["sequence_id"])
        self.first = np.searchsorted(self.sequence, np.arange(len(sequences)))
        self.end = np.searchsorted(self.sequence, np.arange(len(sequences)), side="right")
        self.wait = self.steps["wait_days"].to_numpy(dtype=np.int64)
        self.calendars = [_Calendar(row, now) for row in sequences.to_dict("records")]
        links = frames["sequence_mailboxes"]
        boxes = pd.Index(frames["mailboxes"]["id"])
        pools = links.groupby("sequence_id")["mailbox_id"]
        self.pools: list[tuple[int, ...]] = []
        self.pool = np.full(len(sequences), -1)
        for sequence_id, members in pools:
            pool = tuple(np.sort(boxes.get_indexer(members)))
            if pool not in self.pools:
                self.pools.append(pool)
            self.pool[self.ids == sequence_id] = self.pools.index(pool)

    def on_or_after(self, sequence: IntArray, day: IntArray) -> IntArray:
        result = day.copy()
        for s, mine in _groups(sequence):
            result[mine] = self.calendars[s].on_or_after(day[mine])
        return result

    def after_wait(self, step: IntArray, day: IntArray, earliest: IntArray) -> IntArray:
        """Ready days of steps whose predecessors left on `day`, none before `earliest`."""
        result = day.copy()
        for s, mine in _groups(self.sequence[step]):
            calendar = self.calendars[s]
            ready = calendar.after_wait(day[mine], self.wait[step[mine]])
            result[mine] = np.maximum(ready, calendar.on_or_after(earliest[mine]))
        return result


def day_by_day(
    frames: Mapping[str, pd.DataFrame],
    now: dt.datetime,
    order: Order,
    *,
    slip_weight: float = SLIP_WEIGHT,
) -> Outcome:
    """Simulate the daily job until everything is sent.

    Parameters
    ----------
    frames
        Frames as `synthetic.reference` gives them; all enrollments must be active.
    now
        The moment of the first run.
    order
        Order of emails on a full day.
    slip_weight
        Price of a follow-up's day of slip, in days of lateness.

    Returns
    -------
    Outcome
        All sends, and what they cost.

    Raises
    ------
    RuntimeError
        If emails are still waiting after three years.
    """
    campaigns = _Campaigns(frames, now)
    enrollments = frames["enrollments"].sort_values(["enrolled_at", "id"], ignore_index=True)
    sequence = pd.Index(campaigns.ids).get_indexer(enrollments["sequence_id"])
    boxes = pd.Index(frames["mailboxes"]["id"])
    mailbox = boxes.get_indexer(enrollments["mailbox_id"].astype("Float64").fillna(-1))
    fresh = enrollments["current_step_id"].isna().to_numpy()
    last = pd.Index(campaigns.steps["id"]).get_indexer(enrollments["current_step_id"].fillna(-1))
    step = np.where(fresh, campaigns.first[sequence], last + 1)
    is_first = fresh.copy()

    earliest, enrolled = _first_usable(frames["sequences"], enrollments, sequence, now)
    ready = campaigns.on_or_after(sequence, np.maximum(earliest, enrolled))
    running = ~fresh & (step < campaigns.end[sequence])
    sent_day = enrollments["last_sent_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    ready[running] = campaigns.after_wait(step[running], sent_day[running], earliest[running])
    ideal = ready.copy()

    waiting = step < campaigns.end[sequence]
    log: list[dict[str, IntArray]] = []
    day = int(ready[waiting].min()) if waiting.any() else 0
    final_day = day + LONGEST_DAYS
    while waiting.any():
        if day > final_day:
            msg = f"{int(waiting.sum())} contacts still wait after {LONGEST_DAYS} days"
            raise RuntimeError(msg)
        open_today = np.array([calendar.sends_on(day) for calendar in campaigns.calendars])
        due = np.flatnonzero(waiting & (ready <= day) & open_today[sequence])
        chosen = _choose(due, ready, is_first, mailbox, sequence, campaigns, order,
                         _capacity(frames["mailboxes"], day))  # fmt: skip
        log.append(
            {
                "person": chosen,
                "step": step[chosen],
                "day": np.full(len(chosen), day),
                "ready": ready[chosen],
                "ideal": ideal[chosen],
                "is_first": is_first[chosen].astype(np.int64),
            }
        )
        step[chosen] += 1
        is_first[chosen] = False
        waiting[chosen] = step[chosen] < campaigns.end[sequence[chosen]]
        on = chosen[waiting[chosen]]
        ready[on] = campaigns.after_wait(step[on], np.full(len(on), day), earliest[on])
        ideal[on] = campaigns.after_wait(step[on], ideal[on], earliest[on])
        day += 1
    columns = log[0].keys() if log else ()
    sent = {name: np.concatenate([part[name] for part in log]) for name in columns}
    return _outcome(sent, enrollments, mailbox, frames, campaigns, slip_weight)


def _choose(
    due: IntArray,
    ready: IntArray,
    is_first: BoolArray,
    mailbox: IntArray,
    sequence: IntArray,
    campaigns: _Campaigns,
    order: Order,
    left_today: IntArray,
) -> IntArray:
    """Use today's capacity in order; new threads get their mailbox in `mailbox`.

    Emails of one rank are taken at once, threads before contacts without a mailbox.
    """
    if len(due) == 0:
        return due
    rank = ready[due] - ready[due].min()
    if order is Order.FOLLOW_UPS_FIRST:
        rank = rank + is_first[due] * (rank.max() + 1)
    new_left = campaigns.max_new.copy()
    chosen = []
    for _, mine in _groups(rank):
        batch = due[mine]
        limited = is_first[batch]
        within = _place_in_group(sequence[batch][limited]) < new_left[sequence[batch][limited]]
        batch = np.sort(np.concatenate([batch[~limited], batch[limited][within]]))
        bound = batch[mailbox[batch] != NO_MAILBOX]
        taken = [bound[_place_in_group(mailbox[bound]) < left_today[mailbox[bound]]]]
        np.subtract.at(left_today, mailbox[taken[0]], 1)
        free = batch[mailbox[batch] == NO_MAILBOX]
        for p, here in _groups(campaigns.pool[sequence[free]]):
            given = _most_capacity_first(np.array(campaigns.pools[p]), left_today, int(here.sum()))
            served = free[here][: len(given)]
            mailbox[served] = given
            np.subtract.at(left_today, given, 1)
            taken.append(served)
        np.subtract.at(new_left, sequence[np.concatenate(taken)],
                       is_first[np.concatenate(taken)].astype(np.int64))  # fmt: skip
        chosen.extend(taken)
    return np.concatenate(chosen)


def _most_capacity_first(pool: IntArray, left_today: IntArray, wanted: int) -> IntArray:
    """Mailboxes for `wanted` contacts, each taking the one with the most left at its turn."""
    mailbox = np.repeat(pool, np.maximum(left_today[pool], 0))
    # The n-th email of a mailbox finds left_today[mailbox] - n left there.
    left = left_today[mailbox] - _place_in_group(mailbox)
    return mailbox[np.argsort(-left, kind="stable")[:wanted]]


def _capacity(mailboxes: pd.DataFrame, day: int) -> IntArray:
    """Capacity of all mailboxes on a day, ramps included."""
    capacity = mailboxes["daily_capacity"].to_numpy(dtype=np.int64)
    began = mailboxes["ramp_from"].to_numpy().astype("datetime64[D]").astype(np.int64)
    since = day - began
    start = mailboxes["ramp_start"].fillna(0).to_numpy(dtype=np.int64)
    increment = mailboxes["ramp_increment"].fillna(0).to_numpy(dtype=np.int64)
    ramp = np.where(since < 0, 0, start + increment * np.maximum(since, 0))
    active = (mailboxes["status"] == "active").to_numpy()
    return np.where(mailboxes["ramp_from"].isna(), capacity, np.minimum(capacity, ramp)) * active


def _first_usable(
    sequences: pd.DataFrame, enrollments: pd.DataFrame, sequence: IntArray, now: dt.datetime
) -> tuple[IntArray, IntArray]:
    """Return each enrollment's first usable day, and its first day from the enrolment on."""
    zone = enrollments["contact_timezone"].to_numpy(dtype=object)
    own = sequences["timezone"].to_numpy(dtype=object)[sequence]
    zone = np.where(pd.isna(zone), own, zone)
    closing = np.array([end.hour * 3600 + end.minute * 60 for end in sequences["end_time"]])
    earliest, enrolled = np.zeros((2, len(enrollments)), dtype=np.int64)
    codes, names = pd.factorize(zone)
    for z, name in enumerate(names):
        mine = np.flatnonzero(codes == z)
        moments = enrollments["enrolled_at"].iloc[mine].dt.tz_convert(name).dt.tz_localize(None)
        here = pd.Timestamp(now.astimezone(ZoneInfo(name)).replace(tzinfo=None)).as_unit("us")
        for local, result in ((moments.dt.as_unit("us"), enrolled), (here, earliest)):
            stamp = np.asarray(local, dtype="datetime64[us]")
            date = stamp.astype("datetime64[D]")
            second = (stamp - date).astype("timedelta64[s]").astype(np.int64)
            result[mine] = date.astype(np.int64) + (second >= closing[sequence[mine]])
    return earliest, enrolled


def _outcome(
    sent: Mapping[str, IntArray],
    enrollments: pd.DataFrame,
    mailbox: IntArray,
    frames: Mapping[str, pd.DataFrame],
    campaigns: _Campaigns,
    slip_weight: float,
) -> Outcome:
    if not sent:
        columns = ["enrollment_id", "step_id", "position", "mailbox_id", "send_day"]
        return Outcome(pd.DataFrame(columns=columns), 0.0, 0, 0, 0, None)
    lateness = sent["day"] - sent["ideal"]
    slip = (sent["day"] - sent["ready"]) * (1 - sent["is_first"])
    priority = campaigns.priority[campaigns.sequence[sent["step"]]]
    sends = pd.DataFrame(
        {
            "enrollment_id": enrollments["id"].to_numpy()[sent["person"]],
            "step_id": campaigns.steps["id"].to_numpy()[sent["step"]],
            "position": campaigns.steps["position"].to_numpy(dtype=np.int64)[sent["step"]],
            "mailbox_id": frames["mailboxes"]["id"].to_numpy()[mailbox[sent["person"]]],
            "send_day": sent["day"].astype("datetime64[D]").astype("datetime64[us]"),
        }
    )
    return Outcome(
        sends=sends,
        cost=float((priority * (lateness + slip_weight * slip)).sum()),
        late_follow_ups=int((slip > 0).sum()),
        slip_days=int(slip.sum()),
        lateness_days=int(lateness.sum()),
        finish_day=sends["send_day"].max().date(),
    )


def _groups(keys: IntArray) -> list[tuple[int, BoolArray]]:
    """Distinct keys in ascending order, each with the mask of its entries."""
    return [(int(key), keys == key) for key in np.unique(keys)]


def _place_in_group(keys: IntArray) -> IntArray:
    """How many equal keys stand before each entry."""
    by_key = np.argsort(keys, kind="stable")
    ordered = keys[by_key]
    place = np.empty(len(keys), dtype=np.int64)
    place[by_key] = np.arange(len(keys)) - np.searchsorted(ordered, ordered)
    return place


def main() -> None:
    """Print both orders on the reference instance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=50_000)
    parser.add_argument("--mailboxes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    for variant in ("tight", "shared", "mixed"):
        parser.add_argument(f"--{variant}", action="store_true")
    options = vars(parser.parse_args())
    frames = synthetic.reference(**options)
    for order in Order:
        began = time.perf_counter()
        outcome = day_by_day(frames, synthetic.REFERENCE_NOW, order)
        seconds = time.perf_counter() - began
        print(
            f"{order:20} {len(outcome.sends):9,} emails  cost {outcome.cost:13,.0f}  "
            f"late follow-ups {outcome.late_follow_ups:8,}  lateness {outcome.lateness_days:10,}  "
            f"finish {outcome.finish_day}  ({seconds:.2f} s)"
        )


if __name__ == "__main__":
    main()
