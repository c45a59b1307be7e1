"""A slow, independent judge of plans: calendar and hard rules in plain Python, by email.

It stands in for the customer's separate checker. Nothing here is shared with ``planner/`` but the
vocabulary; where a rule allows two readings, both are accepted (each such place says so).

    from sendplan.tests.worlds.oracle.judge import judge
    assert judge(frames, now, plan.sends, plan.unplaced, plan.cost, plan.horizon_end) == []

Every complaint starts with the name of its rule and a colon; ``RULES`` lists them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd

from sendplan.planner.schema.vocabulary import BLOCKED, MAX_HORIZON_DAYS, EmailStatus, Reason
from sendplan.tests.worlds.oracle.facts import (
    ONE_DAY,
    SECOND,
    Chain,
    Enrollment,
    Facts,
    Step,
    as_day,
    as_instant,
    first_email,
    local_day,
    read,
    records,
    whole_second_from,
)
from sendplan.tests.worlds.oracle.largest_gap import EPOCH, Span, largest_gap, regions_around

RULES = (
    "format",  # columns, aware times, known ids
    "emails",  # sends and unplaced are exactly the emails still to get, once each
    "prefix",  # nothing is placed behind an email left out
    "order",  # steps in order, on or after their ready days
    "window",  # inside the window of a sending day
    "past",
    "seconds",
    "pool",
    "sender",
    "capacity",
    "gap",
    "contact",
    "new",
    "blocked",
    "reason",
    "room",
    "horizon",
    "cost",
    "minutes",
    "turn",  # who goes first within one window
)
MICRO = timedelta(microseconds=1)


@dataclass(frozen=True)
class Send:
    """One slot of the plan."""

    chain: Chain
    step: Step
    mailbox_id: int
    day: date
    at: datetime

    @property
    def enrollment(self) -> Enrollment:
        return self.chain.enrollment

    @property
    def is_first(self) -> bool:
        return not self.chain.started and self.step == self.chain.steps[0]

    @property
    def window(self) -> tuple[datetime, datetime]:
        return self.enrollment.window(self.day)

    def __str__(self) -> str:
        return (
            f"step {self.step.id} of enrollment {self.enrollment.id} "
            f"(mailbox {self.mailbox_id}, {self.day}, {self.at:%Y-%m-%d %H:%M:%S}Z)"
        )


@dataclass(frozen=True)
class LeftOut:
    """One email without a slot."""

    chain: Chain
    step: Step
    reason: str

    def __str__(self) -> str:
        return f"step {self.step.id} of enrollment {self.chain.enrollment.id} ({self.reason})"


@dataclass
class Case:
    """A plan beside the facts that it has to fit."""

    facts: Facts
    sends: list[Send]
    left_out: list[LeftOut]
    cost: float
    horizon_end: date | None
    horizon_given: bool
    slip_weight: float
    one_a_day: bool

    def __post_init__(self) -> None:
        self.by_chain: dict[int, list[Send]] = defaultdict(list)
        self.by_mailbox: dict[int, list[Send]] = defaultdict(list)
        self.by_mailbox_day: dict[tuple[int, date], list[Send]] = defaultdict(list)
        for send in sorted(self.sends, key=lambda s: (s.at, s.step.position)):
            self.by_mailbox[send.mailbox_id].append(send)
            self.by_mailbox_day[send.mailbox_id, send.day].append(send)
        for send in sorted(self.sends, key=lambda s: s.step.position):
            self.by_chain[send.enrollment.id].append(send)

    @property
    def now(self) -> datetime:
        return self.facts.now

    @property
    def last_day(self) -> date:
        """The last day on which an email could have been placed."""
        if self.horizon_given and self.horizon_end is not None:
            return self.horizon_end
        return self.now.date() + MAX_HORIZON_DAYS * ONE_DAY


# ---------------------------------------------------------------- the plan itself


def read_sends(facts: Facts, frame: pd.DataFrame) -> Iterator[Send | str]:
    for row in records(frame):
        key, step_id = int(row["enrollment_id"]), int(row["step_id"])
        chain, step = facts.chains.get(key), facts.steps.get(step_id)
        if chain is None or step is None or step not in chain.steps:
            yield f"emails: step {step_id} of enrollment {key} is planned, but not to be sent"
            continue
        if int(row["position"]) != step.position:
            yield f"format: step {step_id} has position {step.position}, not {row['position']}"
        try:
            at = as_instant(row["send_at"])
        except ValueError as error:
            yield f"format: send_at of step {step_id} of enrollment {key}: {error}"
            continue
        yield Send(chain, step, int(row["mailbox_id"]), as_day(row["send_day"]), at)


def read_left_out(facts: Facts, frame: pd.DataFrame) -> Iterator[LeftOut | str]:
    for row in records(frame):
        key, step_id = int(row["enrollment_id"]), int(row["step_id"])
        chain, step = facts.chains.get(key), facts.steps.get(step_id)
        if chain is None or step is None or step not in chain.steps:
            yield f"emails: step {step_id} of enrollment {key} is unplaced, but not to be sent"
            continue
        reason = str(row.get("reason", ""))
        if reason not in set(Reason):
            yield f"reason: {reason!r} of step {step_id} of enrollment {key} is no known reason"
        yield LeftOut(chain, step, reason)


def columns_present(sends: pd.DataFrame, unplaced: pd.DataFrame) -> Iterator[str]:
    wanted = {
        "sends": ["enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at"],
        "unplaced": ["enrollment_id", "step_id", "reason"],
    }
    for name, frame in (("sends", sends), ("unplaced", unplaced)):
        missing = [column for column in wanted[name] if column not in frame.columns]
        if missing:
            yield f"format: {name} lacks {missing}"
        elif name == "sends" and frame[wanted[name]].isna().any(axis=None):
            yield "format: sends has empty cells"
    if "send_at" in sends.columns and str(getattr(sends["send_at"].dtype, "tz", None)) != "UTC":
        yield f"format: send_at is {sends['send_at'].dtype}, not in UTC"


def exactly_the_emails_to_get(case: Case) -> Iterator[str]:
    seen = Counter((s.enrollment.id, s.step.id) for s in case.sends)
    seen.update((e.chain.enrollment.id, e.step.id) for e in case.left_out)
    for (key, step_id), times in seen.items():
        if times > 1:
            yield f"emails: step {step_id} of enrollment {key} appears {times} times"
    for chain in case.facts.chains.values():
        for step in chain.steps:
            if (chain.enrollment.id, step.id) not in seen:
                yield f"emails: step {step.id} of enrollment {chain.enrollment.id} is missing"


def nothing_placed_behind_a_gap(case: Case) -> Iterator[str]:
    first_out = first_left_out(case)
    for send in case.sends:
        out = first_out.get(send.enrollment.id)
        if out is not None and out.step.position < send.step.position:
            yield f"prefix: {send} is placed behind {out}"


def first_left_out(case: Case) -> dict[int, LeftOut]:
    first: dict[int, LeftOut] = {}
    for email in sorted(case.left_out, key=lambda e: e.step.position):
        first.setdefault(email.chain.enrollment.id, email)
    return first


# ---------------------------------------------------------------- hard rules, per email and chain


def ready_days(chain: Chain, sends: list[Send]) -> list[date]:
    """Give the ready day of each placed email, from the actual or planned day before it."""
    days = [chain.first_ready]
    for before, send in pairwise(sends):
        days.append(chain.ready_after(before.day, send.step))
    return days


def steps_in_order(case: Case) -> Iterator[str]:
    for sends in case.by_chain.values():
        for ready, send in zip(ready_days(sends[0].chain, sends), sends, strict=True):
            if send.day < ready:
                yield f"order: {send} leaves before its ready day {ready}"
        for before, after in pairwise(sends):
            if after.at < before.at:
                yield f"order: {after} leaves before {before}"


def inside_the_window(case: Case) -> Iterator[str]:
    for send in case.sends:
        start, end = send.window
        if not send.enrollment.sequence.sends_on(send.day):
            yield f"window: {send} leaves on no sending day"
        if not start <= send.at < end:
            yield f"window: {send} leaves outside {start:%d %H:%M:%S}-{end:%d %H:%M:%S}Z"


def not_in_the_past(case: Case) -> Iterator[str]:
    for send in case.sends:
        if send.at < case.now:
            yield f"past: {send} leaves before now"


def on_whole_seconds(case: Case) -> Iterator[str]:
    for send in case.sends:
        if send.at.microsecond:
            yield f"seconds: {send} has a fraction of a second"


def from_the_pool(case: Case) -> Iterator[str]:
    for send in case.sends:
        mailbox = case.facts.mailboxes.get(send.mailbox_id)
        if mailbox is None or mailbox.status != "active":
            yield f"pool: {send} leaves from a mailbox that is not active"
        if send.mailbox_id not in send.enrollment.sequence.pool:
            yield f"pool: {send} leaves from a mailbox that is not linked to its sequence"


def one_sender_a_thread(case: Case) -> Iterator[str]:
    for key, sends in case.by_chain.items():
        senders = {send.mailbox_id for send in sends}
        bound = sends[0].chain.sender
        if len(senders) > 1:
            yield f"sender: enrollment {key} leaves from mailboxes {sorted(senders)}"
        if bound is not None and senders != {bound}:
            yield f"sender: enrollment {key} is bound to {bound}, not {sorted(senders)}"


# ---------------------------------------------------------------- hard rules, counted


def within_capacity(case: Case) -> Iterator[str]:
    for (mailbox_id, day), sends in case.by_mailbox_day.items():
        total = len(sends) + case.facts.used.get((mailbox_id, day), 0)
        room = capacity(case, mailbox_id, day)
        if total > room:
            yield f"capacity: mailbox {mailbox_id} has {total} of {room} emails on {day}"


def capacity(case: Case, mailbox_id: int, day: date) -> int:
    mailbox = case.facts.mailboxes.get(mailbox_id)
    return mailbox.capacity(day) if mailbox else 0


def minimum_gap_kept(case: Case) -> Iterator[str]:
    for mailbox_id, sends in case.by_mailbox.items():
        mailbox = case.facts.mailboxes.get(mailbox_id)
        if mailbox is None or not mailbox.gap:
            continue
        # The neighbours in time are the nearest, so only they need a look; pairs of history only
        # are no fault of the plan.
        times: list[tuple[datetime, Send | None]] = [
            (at, None) for _, at in case.facts.history_times(mailbox_id)
        ]
        times += [(send.at, send) for send in sends]
        times.sort(key=lambda pair: pair[0])
        for (before, first), (after, second) in pairwise(times):
            if after - before < mailbox.gap and (first or second):
                yield f"gap: {first or before} and {second or after} are {after - before} apart"


def contact_history(case: Case) -> Counter[tuple[tuple[str, int], date]]:
    return Counter(
        (enrollment.contact, email.day)
        for enrollment, email in case.facts.all_emails()
        if email.occupies and email.day is not None
    )


def one_email_a_day(case: Case) -> Iterator[str]:
    if not case.one_a_day:
        return
    had = contact_history(case)
    planned = Counter((send.enrollment.contact, send.day) for send in case.sends)
    for key, count in planned.items():
        if count + had[key] > 1:
            yield f"contact: {key[0]} gets {count} emails on {key[1]}, having had {had[key]}"


def first_emails_had(case: Case) -> Counter[tuple[int, date]]:
    had: Counter[tuple[int, date]] = Counter()
    for enrollment in case.facts.enrollments.values():
        email = first_email(enrollment)
        if email is not None and email.day is not None:
            had[enrollment.sequence.id, email.day] += 1
    return had


def new_contacts_limited(case: Case) -> Iterator[str]:
    had = first_emails_had(case)
    planned = Counter((s.enrollment.sequence.id, s.day) for s in case.sends if s.is_first)
    for key, count in planned.items():
        limit = case.facts.sequences[key[0]].max_new
        if limit is not None and count + had[key] > limit:
            yield f"new: sequence {key[0]} starts {count} + {had[key]} of {limit} on {key[1]}"


# ---------------------------------------------------------------- what is left out, and why


def blocked_exactly_when_due(case: Case) -> Iterator[str]:
    for send in case.sends:
        due = send.chain.blocked_by(send.step)
        if due:
            yield f"blocked: {send} is placed, but blocked by {sorted(due)}"
    for email in case.left_out:
        due = email.chain.blocked_by(email.step)
        if email.reason in BLOCKED and email.reason not in due:
            yield f"blocked: {email} is not blocked for that reason (rather {sorted(due)})"
        if due and email.reason not in due:
            yield f"blocked: {email} should say {sorted(due)}"


def reasons_in_order(case: Case) -> Iterator[str]:
    """Demand no_room of a chain's first email left out; of those behind it, either word."""
    for email in first_left_out(case).values():
        if not email.chain.blocked_by(email.step) and email.reason != Reason.NO_ROOM:
            yield f"reason: {email} is the first left out of its chain, so {Reason.NO_ROOM!s}"


def nothing_with_room_left_out(case: Case) -> Iterator[str]:
    for email in first_left_out(case).values():
        if email.chain.blocked_by(email.step):
            continue
        place = a_free_place(case, email)
        if place is not None:
            yield f"room: {email} has room in mailbox {place[0]} on {place[1]} at {place[2]}"


def a_free_place(case: Case, email: LeftOut) -> tuple[int, date, datetime] | None:
    """Find a place for ``email`` with every other slot as it is."""
    chain, enrollment = email.chain, email.chain.enrollment
    before = case.by_chain.get(enrollment.id, [])
    day = chain.ready_after(before[-1].day, email.step) if before else chain.first_ready
    had, started = contact_history(case), first_emails_had(case)
    had.update((send.enrollment.contact, send.day) for send in case.sends)
    started.update((s.enrollment.sequence.id, s.day) for s in case.sends if s.is_first)
    is_first = not chain.started and not before
    while day <= case.last_day:
        if (
            enrollment.sequence.sends_on(day)
            and not (case.one_a_day and contact_busy(case, enrollment, day, had))
            and not (is_first and start_refused(enrollment, day, started))
        ):
            for mailbox_id in mailboxes_for(case, chain, before):
                second = a_free_second(case, enrollment, mailbox_id, day, before)
                if second is not None:
                    return mailbox_id, day, second
        day += ONE_DAY
    return None


def contact_busy(
    case: Case, enrollment: Enrollment, day: date, had: Counter[tuple[tuple[str, int], date]]
) -> bool:
    """Tell whether the contact has its email of the day.

    ``last_sent_day`` without a row that says the same is taken as an email here (so leaving the
    day alone is right), but not in ``one_email_a_day`` (so using it is right, too): the rule
    names only emails, and an enrollment's columns are less than a row.
    """
    same = [e for e in case.facts.enrollments.values() if e.contact == enrollment.contact]
    return had[enrollment.contact, day] > 0 or any(e.last_sent_day == day for e in same)


def start_refused(enrollment: Enrollment, day: date, started: Counter[tuple[int, date]]) -> bool:
    limit = enrollment.sequence.max_new
    return limit is not None and started[enrollment.sequence.id, day] >= limit


def mailboxes_for(case: Case, chain: Chain, before: list[Send]) -> list[int]:
    bound = before[0].mailbox_id if before else chain.sender
    pool = [bound] if bound is not None else list(chain.enrollment.sequence.pool)
    return [m for m in pool if case.facts.mailboxes[m].status == "active"]


def a_free_second(
    case: Case, enrollment: Enrollment, mailbox_id: int, day: date, before: list[Send]
) -> datetime | None:
    there = case.by_mailbox_day.get((mailbox_id, day), [])
    if len(there) + case.facts.used.get((mailbox_id, day), 0) >= capacity(case, mailbox_id, day):
        return None
    gap = case.facts.mailboxes[mailbox_id].gap
    start, end = enrollment.window(day)
    earliest = whole_second_from(max(start, case.now))
    if before and before[-1].day == day:
        earliest = max(earliest, before[-1].at)
    taken = [at for _, at in case.facts.history_times(mailbox_id)]
    taken += [send.at for send in case.by_mailbox.get(mailbox_id, [])]
    if not gap:
        return earliest if earliest < end else None
    for second in sorted({earliest} | {whole_second_from(at + gap) for at in taken}):
        if earliest <= second < end and all(abs(second - at) >= gap for at in taken):
            return second
    return None


def horizon_kept(case: Case) -> Iterator[str]:
    for send in case.sends:
        if send.day > case.last_day:
            yield f"horizon: {send} lies behind {case.last_day}"
    if case.horizon_given or not case.sends:
        return
    last = max(send.day for send in case.sends)
    wanting = any(not email.chain.blocked_by(email.step) for email in case.left_out)
    # With emails that find no room in 366 days, either day is a fair answer.
    if case.horizon_end != last and not (wanting and case.horizon_end == case.last_day):
        yield f"horizon: horizon_end is {case.horizon_end}, the last slot's day {last}"


# ---------------------------------------------------------------- cost


def true_cost(case: Case) -> float:
    total = 0.0
    out_of: dict[int, set[int]] = defaultdict(set)
    for email in case.left_out:
        out_of[email.chain.enrollment.id].add(email.step.id)
    for chain in case.facts.chains.values():
        if chain.placeable:
            total += chain_cost(case, chain, out_of[chain.enrollment.id])
    return total


def chain_cost(case: Case, chain: Chain, left_out: set[int]) -> float:
    days = {send.step.id: send.day for send in case.by_chain.get(chain.enrollment.id, [])}
    cost, previous = 0.0, None
    for number, (step, ideal) in enumerate(zip(chain.placeable, chain.ideal_days(), strict=False)):
        if step.id in left_out:
            assert case.horizon_end is not None
            day = case.horizon_end + ONE_DAY
            if case.horizon_given:
                cost += chain.enrollment.sequence.priority * 366 * (1 + case.slip_weight)
        elif step.id in days:
            day = days[step.id]
        else:
            return cost  # a missing email has been reported already
        ready = chain.first_ready if previous is None else chain.ready_after(previous, step)
        lateness, slip = max(0, (day - ideal).days), max(0, (day - ready).days)
        follow_up = chain.started or number > 0
        cost += chain.enrollment.sequence.priority * (
            lateness + (case.slip_weight * slip if follow_up else 0)
        )
        previous = day
    return cost


def cost_as_reported(case: Case) -> Iterator[str]:
    if (
        case.horizon_end is None
        and case.left_out
        and any(not email.chain.blocked_by(email.step) for email in case.left_out)
    ):
        yield "horizon: emails are left out, but there is no horizon_end"
        return
    cost = true_cost(case)
    if case.cost is None or abs(cost - case.cost) > 1e-6 * max(1.0, abs(cost)):
        yield f"cost: the plan says {case.cost}, it is {cost}"


# ---------------------------------------------------------------- minutes


def minutes_right(case: Case) -> Iterator[str]:
    for (mailbox_id, day), sends in case.by_mailbox_day.items():
        if mailbox_id not in case.facts.mailboxes or kept_today(case, mailbox_id, day, sends):
            continue
        yield from spread_right(case, mailbox_id, day, sends)
        yield from turns_kept(sends)


def kept_today(case: Case, mailbox_id: int, day: date, sends: list[Send]) -> bool:
    """Tell whether these are today's existing slots, all of them at their times."""
    if not any(day <= local_day(send.enrollment.zone, case.now) for send in sends):
        return False
    slots = {
        (email.enrollment_id, email.step_id): email.at
        for _, email in case.facts.all_emails()
        if email.status == EmailStatus.PENDING
        and email.slotted
        and email.mailbox_id == mailbox_id
        and email.day == day
        and email.at is not None
        and email.at >= case.now
    }
    return slots == {(send.enrollment.id, send.step.id): send.at for send in sends}


def even_times(case: Case, sends: list[Send]) -> list[list[datetime]]:
    """Give the even spread of emails that share one window, in each reading.

    Where the window has begun, the spread starts now; with a fraction of a second in ``now`` it
    may start at that very instant (and the first email waits for the next whole second) or at the
    next whole second.
    """
    start, end = sends[0].window
    readings = []
    for begin in {max(start, case.now), max(start, whole_second_from(case.now))}:
        times = []
        for i in range(len(sends)):
            micros = ((begin - EPOCH) // MICRO) * len(sends) + i * ((end - begin) // MICRO)
            second = EPOCH + (micros // (len(sends) * 10**6)) * SECOND
            times.append(max(second, whole_second_from(begin)))
        readings.append(times)
    return readings


def spread_right(case: Case, mailbox_id: int, day: date, sends: list[Send]) -> Iterator[str]:
    times = [send.at for send in sends]
    windows = {send.window for send in sends}
    ahead = {(max(start, whole_second_from(case.now)), end) for start, end in windows}
    # Windows that differ only in the part that has gone by leave one window ahead: both the even
    # spread and the largest gap are fair.
    even_fits = len(ahead) == 1 and any(times == even for even in even_times(case, sends))
    if len(windows) == 1:
        if not even_fits and not any(
            clashes(case, mailbox_id, day, even) for even in even_times(case, sends)
        ):
            wanted = ", ".join(f"{at:%H:%M:%S}" for at in even_times(case, sends)[0])
            given = ", ".join(f"{at:%H:%M:%S}" for at in times)
            yield f"minutes: mailbox {mailbox_id} on {day} sends at {given}, not at {wanted}"
    elif not even_fits:
        yield from gap_largest(case, mailbox_id, day, sends)


def clashes(case: Case, mailbox_id: int, day: date, even: list[datetime]) -> bool:
    """Tell whether min_gap_seconds or emails of other days forbid the even spread.

    Another day's emails count both as they are planned and as their own even spread would have
    them, because it is open which of two days in conflict has to give way.
    """
    gap = case.facts.mailboxes[mailbox_id].gap
    if not gap:
        return False
    if any(after - before < gap for before, after in pairwise(even)):
        return True
    others = [at for _, at in case.facts.history_times(mailbox_id)]
    for other_day, sends in other_days(case, mailbox_id, day):
        if abs((other_day - day).days) <= 3:
            others += [send.at for send in sends]
            if len({send.window for send in sends}) == 1:
                others += [at for reading in even_times(case, sends) for at in reading]
    return any(abs(mine - other) < gap for mine in even for other in others)


def other_days(case: Case, mailbox_id: int, day: date) -> Iterable[tuple[date, list[Send]]]:
    for (mailbox, other_day), sends in case.by_mailbox_day.items():
        if mailbox == mailbox_id and other_day != day:
            yield other_day, sends


def smallest_gap(times: list[datetime]) -> int:
    ordered = sorted(times)
    return min((b - a) // SECOND for a, b in pairwise(ordered))


def gap_largest(case: Case, mailbox_id: int, day: date, sends: list[Send]) -> Iterator[str]:
    """Compare the smallest gap with the largest possible, in any reading of what is beside it.

    Between the emails planned for this mailbox-day: beside history only, or beside the slots of
    other days, too, as obstacles that min_gap_seconds keeps away. Or between these emails and the
    mailbox's other emails as well: those of the day's history, or of all days.
    """
    ours = [send.at for send in sends]
    spans: list[Span] = []
    for send in sends:
        start, end = send.window
        first = whole_second_from(max(start, case.now))
        spans.append(((first - EPOCH) // SECOND, -((EPOCH - end) // SECOND) - 1))
    if any(first > last for first, last in spans):
        return  # reported as a breach of the window
    least = case.facts.mailboxes[mailbox_id].gap // SECOND
    history = case.facts.history_times(mailbox_id)
    past = [at for _, at in history]
    same_day = [at for email_day, at in history if email_day == day]
    others = [s.at for _, sends_ in other_days(case, mailbox_id, day) for s in sends_]

    best = largest_gap(spans, lambda gap: regions_around(past, least))
    given = smallest_gap(ours)
    if best is None or given >= best:
        return
    beside = largest_gap(spans, lambda gap: regions_around(past + others, least))
    if others and beside is not None and given >= beside:
        return
    for company in (same_day, past + others):
        wide = largest_gap(
            spans,
            lambda gap, company=company: (  # type: ignore[misc]
                regions_around(past + others, least) + regions_around(company, gap)
            ),
        )
        if company and wide is not None and gap_beside(ours, company) >= wide:
            return
    yield (
        f"minutes: mailbox {mailbox_id} on {day} keeps its emails {given} s apart, "
        f"{best} s is possible"
    )


def gap_beside(ours: list[datetime], company: list[datetime]) -> int:
    nearest = min(abs(mine - other) // SECOND for mine in ours for other in company)
    return min(nearest, smallest_gap(ours))


def turns_kept(sends: list[Send]) -> Iterator[str]:
    """Follow-ups, then older enrolments, then ids, among the emails of one window.

    Emails of an enrollment that gets two on this day keep step order first of all, so they are
    left out of the comparison.
    """
    several = {key for key, n in Counter(s.enrollment.id for s in sends).items() if n > 1}
    by_window: dict[tuple[datetime, datetime], list[Send]] = defaultdict(list)
    for send in sends:
        if send.enrollment.id not in several:
            by_window[send.window].append(send)
    for group in by_window.values():
        for before, after in pairwise(sorted(group, key=lambda s: (s.at, turn(s)))):
            if turn(after) < turn(before):
                yield f"turn: {after} should leave before {before}"


def turn(send: Send) -> tuple[bool, datetime, int]:
    return send.is_first, send.enrollment.enrolled_at, send.enrollment.id


# ---------------------------------------------------------------- all together

CHECKS = (
    exactly_the_emails_to_get,
    nothing_placed_behind_a_gap,
    steps_in_order,
    inside_the_window,
    not_in_the_past,
    on_whole_seconds,
    from_the_pool,
    one_sender_a_thread,
    within_capacity,
    minimum_gap_kept,
    one_email_a_day,
    new_contacts_limited,
    blocked_exactly_when_due,
    reasons_in_order,
    nothing_with_room_left_out,
    horizon_kept,
    cost_as_reported,
    minutes_right,
)


def judge(
    frames: Mapping[str, pd.DataFrame | None],
    now: Any,
    sends: pd.DataFrame,
    unplaced: pd.DataFrame,
    cost: float,
    horizon_end: date | None,
    *,
    slip_weight: float = 20.0,
    horizon_given: bool = False,
    one_a_day: bool = True,
) -> list[str]:
    """Give every violation of calendar and hard rules in a plan, as sentences.

    Parameters
    ----------
    frames
        ``sequences``, ``steps``, ``mailboxes``, ``sequence_mailboxes``, ``enrollments``, and where
        there are such, ``scheduled_emails`` and ``used``.
    now
        The aware time at which the plan was made.
    sends, unplaced, cost, horizon_end
        The plan's own.
    horizon_given
        Whether ``horizon_end`` was asked for. Without, everything has to be placed that 366 days
        have room for.
    """
    complaints = list(columns_present(sends, unplaced))
    if complaints:
        return complaints
    facts = read(frames, now)
    read_rows: list[Send | LeftOut | str] = [*read_sends(facts, sends)]
    read_rows += [*read_left_out(facts, unplaced)]
    complaints += [row for row in read_rows if isinstance(row, str)]
    case = Case(
        facts=facts,
        sends=[row for row in read_rows if isinstance(row, Send)],
        left_out=[row for row in read_rows if isinstance(row, LeftOut)],
        cost=cost,
        horizon_end=None if horizon_end is None else as_day(horizon_end),
        horizon_given=horizon_given,
        slip_weight=slip_weight,
        one_a_day=one_a_day,
    )
    for check in CHECKS:
        complaints += check(case)
    return complaints
