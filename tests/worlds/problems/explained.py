"""What an explanation says, held against the plan, fact by fact.

Days are worked out by ``oracle_facts``, rules are broken or kept by `sendplan.violations`, costs
are those of the oracle's judge: nothing here asks the code that made the explanation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

import pandas as pd

import sendplan
from sendplan.planner.explain.facts import DayBetween, Move
from sendplan.planner.explain.texts import Explanation
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.placing.send_times import timetable
from sendplan.planner.plan.reading import email_numbers, read_plan
from sendplan.planner.schema.dates import SECOND
from sendplan.tests.worlds.oracle.facts import ONE_DAY, Facts, read
from sendplan.tests.worlds.oracle.judge import judge

KEYS = ["enrollment_id", "step_id"]

BREAKS = {
    "closed": {"window"},
    "window": {"window", "past"},
    "in_flight": {"order", "window", "past"},
    "contact": {"contact"},
    "max_new": {"new"},
    "full": {"capacity"},
}
"""The rules that leaving on a day breaks, by the obstacle that an explanation names."""


@dataclass(frozen=True)
class Asked:
    """A plan, and how it was made."""

    frames: Mapping[str, pd.DataFrame]
    now: datetime
    plan: sendplan.Plan
    slip_weight: float = 20.0
    horizon_days: int | None = None
    one_a_day: bool = True

    @cached_property
    def facts(self) -> Facts:
        return read(self.frames, self.now)

    @cached_property
    def problem(self) -> sendplan.Problem:
        return sendplan.Problem.from_frames(**self.frames, now=self.now)

    @cached_property
    def instance(self) -> Instance:
        return build_instance(self.problem)

    @property
    def how(self) -> dict[str, Any]:
        names = ("slip_weight", "horizon_days", "one_a_day")
        return {name: getattr(self, name) for name in names}

    def explain(self, enrollment_id: int, step_id: int) -> Explanation:
        return sendplan.explain(self.problem, self.plan, enrollment_id, step_id, **self.how)

    def moved(self, slots: Iterable[tuple[int, int, int, date]]) -> pd.DataFrame:
        """Give the sends with other mailboxes and days, and the minutes that follow from them."""
        sends = self.plan.sends.copy().set_index(KEYS)
        for enrollment_id, step_id, mailbox_id, day in slots:
            own = sends.index.get_level_values(0) == enrollment_id
            sends.loc[own, "mailbox_id"] = mailbox_id
            sends.loc[(enrollment_id, step_id), "send_day"] = pd.Timestamp(day)
        sends = sends.reset_index()
        instance = self.instance
        seconds = timetable(instance, read_plan(instance, sends).placement).at
        at = seconds[email_numbers(instance, sends["enrollment_id"], sends["step_id"])]
        assert (at >= 0).all(), "an email finds no minute"
        sends["send_at"] = pd.DatetimeIndex((at * SECOND).astype("datetime64[us]"), tz="UTC")
        return sends[self.plan.sends.columns]

    def complaints(self, sends: pd.DataFrame, cost: float) -> list[str]:
        """Judge slots; a given horizon may then have room for an email that is left out."""
        end = self.plan.horizon_end if self.horizon_days is not None else sends["send_day"].max()
        found = judge(
            self.frames,
            self.now,
            sends,
            self.plan.unplaced,
            cost,
            end,
            slip_weight=self.slip_weight,
            horizon_given=self.horizon_days is not None,
            one_a_day=self.one_a_day,
        )
        return [text for text in found if not text.startswith("room")]


def contradictions(asked: Asked, found: Explanation) -> Iterator[str]:
    """Give what an explanation says that is not so; nothing for a true one."""
    key = (found.enrollment_id, found.step_id)
    slot = asked.plan.sends.set_index(KEYS).loc[key]
    delay = asked.plan.delays.set_index(KEYS).loc[key]
    if (found.mailbox_id, found.send_day) != (slot["mailbox_id"], slot["send_day"].date()):
        yield "mailbox or day differ from the slot"
    if found.send_at != slot["send_at"].to_pydatetime():
        yield "the time differs from the slot"
    if (found.lateness, found.slip, found.cost) != tuple(delay[["lateness", "slip", "cost"]]):
        yield "lateness, slip or cost differ"
    yield from _about_ready(asked, found)
    yield from _about_days(asked, found)
    yield from _about_minute(asked, found)
    exchange = found.exchange
    if exchange is not None:
        slots = [_slot(move) for move in exchange.moves]
        yield from _costs(asked, slots, exchange.cost, f"exchange on {exchange.day}")
        moves = {(move.enrollment_id, move.step_id): move for move in exchange.moves}
        if moves[key].to_day != exchange.day or exchange.yields not in exchange.moves:
            yield "the exchange is not one"
        if exchange.yields.from_day != exchange.day:
            yield "who yields does not leave there"
    if found.sender is not None and found.sender.mailbox_id != found.mailbox_id:
        yield "the sender differs"
    if not str(found):
        yield "nothing is said"


def _slot(move: Move) -> tuple[int, int, int, date]:
    return move.enrollment_id, move.step_id, move.to_mailbox_id, move.to_day


def _costs(
    asked: Asked, slots: list[tuple[int, int, int, date]], more: float, what: str
) -> Iterator[str]:
    """See that slots keep every rule, and cost what is said."""
    sends = asked.moved(slots)
    broken = sendplan.violations(asked.problem, sends, one_a_day=asked.one_a_day)
    if len(broken):
        yield f"{what} breaks rules: {set(broken['rule'])}"
    yield from (f"{what}: {text}" for text in asked.complaints(sends, asked.plan.cost + more))


def _about_ready(asked: Asked, found: Explanation) -> Iterator[str]:
    facts = asked.facts
    chain = facts.chains[found.enrollment_id]
    place = next(n for n, step in enumerate(chain.steps) if step.id == found.step_id)
    days = asked.plan.sends.set_index(KEYS)["send_day"]
    if place:
        before = days.loc[(found.enrollment_id, chain.steps[place - 1].id)].date()
        expected = chain.ready_after(before, chain.steps[place])
        if found.ready is None or found.ready.since_day != before:
            yield "it is not ready since the day of the email before"
    else:
        expected = chain.first_ready
    if found.ready is None or found.ready.day != expected:
        yield f"ready on {found.ready and found.ready.day}, not {expected}"
        return
    sequence = facts.enrollments[found.enrollment_id].sequence
    for day, _ in found.ready.closed:
        if sequence.sends_on(day):
            yield f"{day} is a sending day"
    # From where it counts to the ready day, all days are waited or left out.
    wait = found.ready.wait_days or 0
    passed = (found.ready.day - found.ready.since_day).days
    if found.ready.since == "previous" and passed != wait + len(found.ready.closed):
        yield f"{passed} days are not {wait} of waiting and {len(found.ready.closed)} left out"


def _about_days(asked: Asked, found: Explanation) -> Iterator[str]:
    assert found.ready is not None
    assert found.send_day is not None
    span = (found.send_day - found.ready.day).days
    if [day.day for day in found.days] != [found.ready.day + n * ONE_DAY for n in range(span)]:
        yield "the days between are not those from the ready day to the slot"
    for day in found.days:
        yield from _about_loads(asked, day)
        for obstacle in day.obstacles:
            yield from _breaks(asked, found, day, obstacle)
        if not day.obstacles:
            option = day.alternative
            if option is None:
                if (asked.plan.unplaced["enrollment_id"] != found.enrollment_id).all():
                    yield f"{day.day}: no obstacle is named"
                continue
            slots = [(found.enrollment_id, found.step_id, option.mailbox_id, day.day)]
            slots += [
                (found.enrollment_id, one.step_id, option.mailbox_id, one.day)
                for one in option.follow_ups
            ]
            yield from _costs(asked, slots, option.cost, f"leaving on {day.day}")


def _about_loads(asked: Asked, day: DayBetween) -> Iterator[str]:
    facts = asked.facts
    sends = asked.plan.sends
    that_day = sends[sends["send_day"] == pd.Timestamp(day.day)]
    boxes = [load.mailbox_id for load in day.loads]
    for load in day.loads:
        box = facts.mailboxes[load.mailbox_id]
        used = facts.used.get((load.mailbox_id, day.day), 0)
        count = int((that_day["mailbox_id"] == load.mailbox_id).sum())
        if (load.capacity, load.used, load.planned) != (box.capacity(day.day), used, count):
            yield f"{day.day}: the load of mailbox {load.mailbox_id} differs"
    counted = that_day[that_day["mailbox_id"].isin(boxes)]["position"].value_counts().to_dict()
    told: Counter[int] = Counter()
    for kind in day.contents:
        told[kind.position] += kind.emails
    if dict(told) != counted:
        yield f"{day.day}: {dict(told)} is not what fills it, but {counted}"


def _breaks(asked: Asked, found: Explanation, day: DayBetween, obstacle: str) -> Iterator[str]:
    """See that leaving on a day really breaks the rule that is said to forbid it."""
    if obstacle == "min_gap":
        return
    facts = asked.facts
    enrollment = facts.enrollments[found.enrollment_id]
    opens, closes = enrollment.window(day.day)
    at = max(opens, min(asked.now + timedelta(seconds=1), closes)).astimezone(UTC)
    boxes = [load.mailbox_id for load in day.loads] or [found.mailbox_id]
    for mailbox_id in boxes:
        sends = asked.plan.sends.copy()
        own = sends["enrollment_id"] == found.enrollment_id
        mine = own & (sends["step_id"] == found.step_id)
        sends.loc[own, "mailbox_id"] = mailbox_id
        sends.loc[mine, "send_day"] = pd.Timestamp(day.day)
        sends.loc[mine, "send_at"] = pd.Timestamp(at)
        broken = sendplan.violations(asked.problem, sends, one_a_day=asked.one_a_day)
        here = broken[broken["send_day"] == pd.Timestamp(day.day)]
        if not set(here["rule"]) & BREAKS[obstacle]:
            yield f"{day.day}: leaving from {mailbox_id} does not break {obstacle}"


def _about_minute(asked: Asked, found: Explanation) -> Iterator[str]:
    minute, sends = found.minute, asked.plan.sends
    assert minute is not None
    assert found.send_at is not None
    there = sends[
        (sends["mailbox_id"] == found.mailbox_id)
        & (sends["send_day"] == pd.Timestamp(found.send_day))
    ]
    earlier = there[there["send_at"] < found.send_at]
    if (minute.number, minute.of) != (len(earlier) + 1, len(there)):
        yield f"number {minute.number} of {minute.of}, not {len(earlier) + 1} of {len(there)}"
    facts = asked.facts
    opens, closes = facts.enrollments[found.enrollment_id].window(found.send_day)
    if minute.closes != closes or not minute.opens <= found.send_at < closes:
        yield "the window differs"
    if minute.opens != opens and minute.opens < asked.now.replace(microsecond=0):
        yield "the window opens at another time"
    if minute.spread == "even":
        length = (minute.closes - minute.opens) // timedelta(seconds=1)
        share = length * (minute.number - 1) / minute.of
        off = (found.send_at - minute.opens).total_seconds() - share
        if not -1.001 <= off <= 1.001:
            yield f"{off} s away from the even spread"
    moments = sorted(there["send_at"])
    place = moments.index(pd.Timestamp(found.send_at))
    if not any(
        email.day == found.send_day
        for _, email in facts.all_emails()
        if email.occupies and email.mailbox_id == found.mailbox_id
    ):
        gaps = [(after - before).total_seconds() for before, after in pairwise(moments)]
        before = gaps[place - 1] if place else None
        after = gaps[place] if place < len(gaps) else None
        if (minute.gap_before, minute.gap_after) != (before, after):
            yield f"gaps {minute.gap_before}, {minute.gap_after}, not {before}, {after}"
    if minute.follow_ups_before + minute.first_emails_before != len(earlier):
        yield "what leaves before it is miscounted"
