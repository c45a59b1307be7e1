"""What the input frames mean, read a second time from the pages, in plain Python.

Part of the oracle (``oracle.py``): it shares no code with the planner but the vocabulary, so that a
misreading on either side shows up as a disagreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import pandas as pd

from sendplan.planner.schema.vocabulary import (
    IN_FLIGHT,
    MAX_HORIZON_DAYS,
    OCCUPYING,
    EmailStatus,
    Reason,
)

ONE_DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SEARCH_DAYS = 4000  # a sequence without any sending day in ten years is no legal input


# ---------------------------------------------------------------- reading cells


def is_null(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (list, tuple, set)) or getattr(value, "ndim", 0) > 0:
        return False
    return bool(pd.isna(value))


def records(frame: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows as dictionaries without their null cells, so that ``get`` gives the default."""
    if frame is None:
        return []
    names = list(frame.columns)
    return [
        {n: v for n, v in zip(names, row, strict=True) if not is_null(v)}
        for row in frame.itertuples(index=False, name=None)
    ]


def as_day(value: Any) -> date:
    if isinstance(value, datetime):  # pandas' Timestamp included
        return value.date()
    if isinstance(value, date):
        return value
    return pd.Timestamp(value).date()


def as_instant(value: Any) -> datetime:
    moment = pd.Timestamp(value)
    if moment.tzinfo is None:
        raise ValueError(f"naive time {value!r}")
    return moment.tz_convert("UTC").floor("us").to_pydatetime().astimezone(UTC)


def as_time(value: Any) -> time:
    return value if isinstance(value, time) else time.fromisoformat(str(value))


def whole_second_from(moment: datetime) -> datetime:
    """Give the first whole second that is not before ``moment``."""
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + SECOND


# ---------------------------------------------------------------- the calendar


def offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def local_instant(zone: ZoneInfo, day: date, clock: time) -> datetime:
    """Give the instant of a local time: the first of two, or the first one after a gap."""
    naive = datetime.combine(day, clock)
    before = (naive - offset_at(zone, naive.replace(tzinfo=UTC) - 2 * ONE_DAY)).replace(tzinfo=UTC)
    # Every instant that could show this local time lies within a day of `before`; walk over the
    # offsets met there instead of trusting `fold`.
    low, high = before - 2 * ONE_DAY, before + 2 * ONE_DAY
    offsets = {offset_at(zone, low + i * timedelta(minutes=30)) for i in range(4 * 48 + 1)}
    shown = [
        utc
        for offset in offsets
        if (utc := (naive - offset).replace(tzinfo=UTC))
        and utc.astimezone(zone).replace(tzinfo=None) == naive
    ]
    if shown:
        return min(shown)
    # In a gap: local time jumps over `naive`; find the first instant that shows a later time.
    while high - low > timedelta(microseconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < naive:
            low = middle
        else:
            high = middle
    return high


def local_day(zone: ZoneInfo, moment: datetime) -> date:
    return moment.astimezone(zone).date()


@cache
def holiday_calendar(country: str) -> holidays.HolidayBase:
    return holidays.country_holidays(country)


@dataclass(frozen=True)
class Step:
    id: int
    position: int
    wait_days: int


@dataclass(frozen=True)
class Sequence:
    id: int
    start: time
    end: time
    zone: str
    weekdays: frozenset[int]
    country: str | None
    sending_waits: bool
    priority: float
    max_new: int | None
    active: bool
    steps: tuple[Step, ...]  # those that exist, in order
    pool: tuple[int, ...]

    def sends_on(self, day: date) -> bool:
        if day.isoweekday() not in self.weekdays:
            return False
        return self.country is None or day not in holiday_calendar(self.country)

    def sending_day_from(self, day: date) -> date:
        for _ in range(SEARCH_DAYS):
            if self.sends_on(day):
                return day
            day += ONE_DAY
        raise ValueError(f"sequence {self.id} never sends")

    def day_after_wait(self, day: date, wait_days: int) -> date:
        """Give the ready day that a send on ``day`` gives, before any clamping."""
        if not self.sending_waits:
            return self.sending_day_from(day + wait_days * ONE_DAY)
        if wait_days == 0:
            return self.sending_day_from(day)
        for _ in range(wait_days):
            day = self.sending_day_from(day + ONE_DAY)
        return day


@dataclass(frozen=True)
class Mailbox:
    id: int
    daily_capacity: int
    gap: timedelta
    ramp_start: int | None
    ramp_increment: int
    ramp_from: date | None
    status: str

    def capacity(self, day: date) -> int:
        if self.ramp_from is None or self.ramp_start is None:
            return self.daily_capacity
        grown = self.ramp_increment * max(0, (day - self.ramp_from).days)
        return min(self.daily_capacity, self.ramp_start + grown)


@dataclass(frozen=True)
class Email:
    """One row of ``scheduled_emails``."""

    enrollment_id: int
    step_id: int
    mailbox_id: int | None
    day: date | None  # send_day, or the local day of its time
    at: datetime | None  # sent_at, or send_at where it has not been sent
    sent_local_day: date | None  # what a wait counts from
    status: str
    slotted: bool  # a plan gave the slot

    @property
    def occupies(self) -> bool:
        return self.status in OCCUPYING


@dataclass(frozen=True)
class Enrollment:
    id: int
    contact: tuple[str, int]
    sequence: Sequence
    zone: ZoneInfo
    enrolled_at: datetime
    current_step_id: int | None
    mailbox_id: int | None
    last_sent_day: date | None
    live: bool  # active, not suppressed
    emails: tuple[Email, ...]

    def window(self, day: date) -> tuple[datetime, datetime]:
        return window(self.zone, day, self.sequence.start, self.sequence.end)


@cache
def window(zone: ZoneInfo, day: date, start: time, end: time) -> tuple[datetime, datetime]:
    return local_instant(zone, day, start), local_instant(zone, day, end)


@dataclass(frozen=True)
class Chain:
    """The emails that an enrollment still has to get, and what is known when planning starts."""

    enrollment: Enrollment
    steps: tuple[Step, ...]
    started: bool  # something was sent or is in flight: the next email is a follow-up
    base_day: date | None  # the day that the next email's wait counts from
    sender: int | None  # the mailbox that the thread is bound to
    blocked: frozenset[str]  # the reasons that block it (any of them is right), empty if none
    first_usable: date
    last_day: date  # of any plan made now

    def blocked_by(self, step: Step) -> frozenset[str]:
        """Give the reasons for which no plan places an email, any of them being right."""
        if self.blocked or self.ideal_days()[self.steps.index(step)] <= self.last_day:
            return self.blocked
        return frozenset({str(Reason.BEYOND_HORIZON)})

    @property
    def placeable(self) -> tuple[Step, ...]:
        """The emails that some plan places, a beginning of the chain."""
        return tuple(step for step in self.steps if not self.blocked_by(step))

    @property
    def first_ready(self) -> date:
        if not self.started:
            return self.not_before(first_step_day(self.enrollment))
        if self.base_day is None:
            return self.not_before(self.first_usable)
        return self.ready_after(self.base_day, self.steps[0])

    def not_before(self, day: date) -> date:
        return self.enrollment.sequence.sending_day_from(max(day, self.first_usable))

    def ready_after(self, previous_day: date, step: Step) -> date:
        waited = self.enrollment.sequence.day_after_wait(previous_day, step.wait_days)
        return self.not_before(waited)

    def ideal_days(self) -> list[date]:
        days = [self.first_ready]
        for step in self.steps[1:]:
            days.append(self.ready_after(days[-1], step))
        return days


@dataclass
class Facts:
    """Everything the frames say."""

    now: datetime
    sequences: dict[int, Sequence]
    mailboxes: dict[int, Mailbox]
    enrollments: dict[int, Enrollment]
    steps: dict[int, Step]
    chains: dict[int, Chain]  # by enrollment id; only those with emails to get
    used: dict[tuple[int, date], int] = field(default_factory=dict)

    def all_emails(self) -> Iterator[tuple[Enrollment, Email]]:
        for enrollment in self.enrollments.values():
            for email in enrollment.emails:
                yield enrollment, email

    def history_times(self, mailbox_id: int) -> list[tuple[date | None, datetime]]:
        return [
            (email.day, email.at)
            for _, email in self.all_emails()
            if email.occupies and email.mailbox_id == mailbox_id and email.at is not None
        ]


# ---------------------------------------------------------------- first days


def first_usable_day(enrollment: Enrollment, now: datetime) -> date:
    today = local_day(enrollment.zone, now)
    _, end = enrollment.window(today)
    return today if now < end else today + ONE_DAY


def first_step_day(enrollment: Enrollment) -> date:
    day = local_day(enrollment.zone, enrollment.enrolled_at)
    _, end = enrollment.window(day)
    if enrollment.enrolled_at >= end:
        day += ONE_DAY
    return enrollment.sequence.sending_day_from(day)


# ---------------------------------------------------------------- steps in flight


def received_in_order(enrollment: Enrollment) -> list[tuple[int, Email | None]]:
    """Give what the contact has got or is about to get, oldest first.

    ``current_step_id`` without a row of its own was the last step sent: it stands after the rows
    that were sent and before those in flight.
    """
    got = [email for email in enrollment.emails if email.occupies]
    sent = [email for email in got if email.status == EmailStatus.SENT]
    open_ones = [email for email in got if email.status != EmailStatus.SENT]

    def age(email: Email) -> tuple[bool, datetime, bool]:
        at = email.at or datetime.min.replace(tzinfo=UTC)
        return email.at is not None, at, email.step_id == enrollment.current_step_id

    ordered: list[tuple[int, Email | None]] = [(e.step_id, e) for e in sorted(sent, key=age)]
    current = enrollment.current_step_id
    if current is not None and current not in {email.step_id for email in got}:
        ordered.append((current, None))
    return ordered + [(e.step_id, e) for e in sorted(open_ones, key=age)]


def steps_to_come(sequence: Sequence, received: list[int]) -> tuple[Step, ...]:
    exists = {step.id: step for step in sequence.steps}
    point = next((exists[i].position for i in reversed(received) if i in exists), None)
    return tuple(
        step
        for step in sequence.steps
        if step.id not in received and (point is None or step.position > point)
    )


def first_email(enrollment: Enrollment) -> Email | None:
    """Give the row of the first email that this enrollment got, if a row tells of it."""
    received = received_in_order(enrollment)
    return received[0][1] if received else None


def wait_base(enrollment: Enrollment, received: list[tuple[int, Email | None]]) -> date | None:
    """Give the day the next wait counts from: the newest send, or the day of one in flight."""
    if not received:
        return None
    _, newest = received[-1]
    if newest is None:
        return enrollment.last_sent_day
    if newest.status in IN_FLIGHT:
        return newest.day
    return newest.sent_local_day or enrollment.last_sent_day


def is_gone(mailbox_id: int, sequence: Sequence, mailboxes: Mapping[int, Mailbox]) -> bool:
    """Tell whether a thread has to leave its mailbox (hard rule One sender)."""
    mailbox = mailboxes.get(mailbox_id)
    return mailbox is None or mailbox.status == "removed" or mailbox_id not in sequence.pool


def thread_sender(
    enrollment: Enrollment,
    received: list[tuple[int, Email | None]],
    mailboxes: Mapping[int, Mailbox],
) -> int | None:
    """Give the mailbox that the rest of the thread has to leave from, or None if it is free.

    A thread whose recorded mailbox has gone may have its next email in flight from another one
    already: then that one is its sender.
    """
    from_rows = [e.mailbox_id for _, e in received if e is not None and e.mailbox_id is not None]
    for candidate in (enrollment.mailbox_id, from_rows[-1] if from_rows else None):
        if candidate is not None and not is_gone(candidate, enrollment.sequence, mailboxes):
            return candidate
    return None


def blocking_reasons(
    enrollment: Enrollment,
    started: bool,
    sender: int | None,
    mailboxes: Mapping[int, Mailbox],
    last_day: date,
) -> frozenset[str]:
    reasons = set()
    if not started and enrollment.sequence.max_new == 0:
        reasons.add(str(Reason.NO_NEW_CONTACTS))
    pool = enrollment.sequence.pool if sender is None else (sender,)
    # Ramps only rise, so that the last day has the most.
    if not any(
        mailboxes[m].capacity(last_day) for m in pool if sender or mailboxes[m].status == "active"
    ):
        reasons.add(str(Reason.NO_CAPACITY))
    if any(email.status == EmailStatus.UNCERTAIN for email in enrollment.emails):
        reasons.add(str(Reason.BEHIND_UNCERTAIN))
    if sender is not None:
        if mailboxes[sender].status == "paused":
            reasons.add(str(Reason.MAILBOX_PAUSED))
    elif not any(mailboxes[m].status == "active" for m in enrollment.sequence.pool):
        reasons = reasons - {str(Reason.NO_CAPACITY)} | {str(Reason.NO_ACTIVE_MAILBOX)}
    return frozenset(reasons)


def chain_of(
    enrollment: Enrollment, mailboxes: Mapping[int, Mailbox], now: datetime
) -> Chain | None:
    if not enrollment.live or not enrollment.sequence.active:
        return None
    if any(email.status == EmailStatus.FAILED for email in enrollment.emails):
        return None
    received = received_in_order(enrollment)
    steps = steps_to_come(enrollment.sequence, [step_id for step_id, _ in received])
    if not steps:
        return None
    sender = thread_sender(enrollment, received, mailboxes)
    last_day = now.date() + MAX_HORIZON_DAYS * ONE_DAY
    return Chain(
        enrollment=enrollment,
        steps=steps,
        started=bool(received),
        base_day=wait_base(enrollment, received),
        sender=sender,
        blocked=blocking_reasons(enrollment, bool(received), sender, mailboxes, last_day),
        first_usable=first_usable_day(enrollment, now),
        last_day=last_day,
    )


# ---------------------------------------------------------------- frames to facts


def read_steps(frame: pd.DataFrame) -> dict[int, list[Step]]:
    steps: dict[int, list[Step]] = {}
    for row in records(frame):
        if "removed_at" in row or "position" not in row:
            continue
        step = Step(int(row["id"]), int(row["position"]), int(row.get("wait_days", 0)))
        steps.setdefault(int(row["sequence_id"]), []).append(step)
    return steps


def read_sequences(frames: Mapping[str, pd.DataFrame | None]) -> dict[int, Sequence]:
    steps_frame, links_frame = frames["steps"], frames["sequence_mailboxes"]
    assert steps_frame is not None
    steps = read_steps(steps_frame)
    links: dict[int, list[int]] = {}
    for row in records(links_frame):
        links.setdefault(int(row["sequence_id"]), []).append(int(row["mailbox_id"]))
    sequences = {}
    for row in records(frames["sequences"]):
        key = int(row["id"])
        sequences[key] = Sequence(
            id=key,
            start=as_time(row["start_time"]),
            end=as_time(row["end_time"]),
            zone=row.get("timezone", "UTC"),
            weekdays=frozenset(int(d) for d in row.get("send_days", (1, 2, 3, 4, 5))),
            country=row.get("holidays"),
            sending_waits=row.get("wait_unit", "calendar") == "sending",
            priority=float(row.get("priority", 1)),
            max_new=int(row["max_new_per_day"]) if "max_new_per_day" in row else None,
            active=row.get("status", "active") == "active",
            steps=tuple(sorted(steps.get(key, []), key=lambda step: step.position)),
            pool=tuple(links.get(key, [])),
        )
    return sequences


def read_mailboxes(frame: pd.DataFrame | None) -> dict[int, Mailbox]:
    return {
        int(row["id"]): Mailbox(
            id=int(row["id"]),
            daily_capacity=int(row["daily_capacity"]),
            gap=timedelta(seconds=int(row.get("min_gap_seconds", 0))),
            ramp_start=int(row["ramp_start"]) if "ramp_start" in row else None,
            ramp_increment=int(row.get("ramp_increment", 0)),
            ramp_from=as_day(row["ramp_from"]) if "ramp_from" in row else None,
            status=row.get("status", "active"),
        )
        for row in records(frame)
    }


def read_email(row: Mapping[str, Any], zone: ZoneInfo) -> Email:
    send_at = as_instant(row["send_at"]) if "send_at" in row else None
    sent_at = as_instant(row["sent_at"]) if "sent_at" in row else None
    at = sent_at or send_at
    day = as_day(row["send_day"]) if "send_day" in row else (local_day(zone, at) if at else None)
    return Email(
        enrollment_id=int(row["enrollment_id"]),
        step_id=int(row["step_id"]),
        mailbox_id=int(row["mailbox_id"]) if "mailbox_id" in row else None,
        day=day,
        at=at,
        sent_local_day=local_day(zone, sent_at) if sent_at else day,
        status=str(row.get("status", "pending")),
        slotted="plan_run_id" in row,
    )


def read_enrollments(
    frames: Mapping[str, pd.DataFrame | None], sequences: Mapping[int, Sequence], now: datetime
) -> dict[int, Enrollment]:
    rows_of: dict[int, list[Mapping[str, Any]]] = {}
    for row in records(frames.get("scheduled_emails")):
        if row.get("status") != EmailStatus.CANCELLED:
            rows_of.setdefault(int(row["enrollment_id"]), []).append(row)
    enrollments = {}
    for row in records(frames["enrollments"]):
        key, sequence = int(row["id"]), sequences[int(row["sequence_id"])]
        zone = ZoneInfo(row.get("contact_timezone", sequence.zone))
        has_contact = "contact_id" in row
        enrollments[key] = Enrollment(
            id=key,
            contact=("contact", int(row["contact_id"])) if has_contact else ("enrollment", key),
            sequence=sequence,
            zone=zone,
            enrolled_at=as_instant(row["enrolled_at"]) if "enrolled_at" in row else now,
            current_step_id=int(row["current_step_id"]) if "current_step_id" in row else None,
            mailbox_id=int(row["mailbox_id"]) if "mailbox_id" in row else None,
            last_sent_day=as_day(row["last_sent_day"]) if "last_sent_day" in row else None,
            live=row.get("status", "active") == "active" and "suppressed_at" not in row,
            emails=tuple(read_email(r, zone) for r in rows_of.get(key, [])),
        )
    return enrollments


def read_used(frame: pd.DataFrame | None, emails: Iterable[Email]) -> dict[tuple[int, date], int]:
    used: dict[tuple[int, date], int] = {}
    for row in records(frame):
        key = int(row["mailbox_id"]), as_day(row["send_day"])
        used[key] = used.get(key, 0) + int(row.get("used", 0))
    for email in emails:
        if email.occupies and email.mailbox_id is not None and email.day is not None:
            used[email.mailbox_id, email.day] = used.get((email.mailbox_id, email.day), 0) + 1
    return used


def read(frames: Mapping[str, pd.DataFrame | None], now: Any) -> Facts:
    moment = as_instant(now)
    sequences = read_sequences(frames)
    mailboxes = read_mailboxes(frames["mailboxes"])
    enrollments = read_enrollments(frames, sequences, moment)
    chains = {
        key: chain
        for key, enrollment in enrollments.items()
        if (chain := chain_of(enrollment, mailboxes, moment)) is not None
    }
    return Facts(
        now=moment,
        sequences=sequences,
        mailboxes=mailboxes,
        enrollments=enrollments,
        steps={step.id: step for s in sequences.values() for step in s.steps},
        chains=chains,
        used=read_used(
            frames.get("used"), (email for e in enrollments.values() for email in e.emails)
        ),
    )
