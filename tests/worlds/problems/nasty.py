"""Small nasty instances: seeded (``random_frames``) and as a Hypothesis strategy (``instances``).

Every instance is legal, however unkind: what stands in it is what users' own SQL,
yesterday's plan and a night of dispatching may have left. A feature that is not asked for leaves
its columns out or at their defaults, so that a shrunk example is short.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from hypothesis import strategies as st

from sendplan.tests.worlds.oracle.facts import is_null, local_day, window

Frames = dict[str, pd.DataFrame]
Row = dict[str, Any]
DAY = timedelta(days=1)

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Asia/Tokyo",
    "Pacific/Kiritimati",
)
# Local dates whose nights have a gap or a doubled hour; Santiago's lie at midnight, Lord Howe's
# move by half an hour.
CLOCK_CHANGES = (
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/New_York", date(2026, 11, 1)),
    ("America/Santiago", date(2026, 4, 5)),
    ("America/Santiago", date(2026, 9, 6)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
)
COUNTRIES = ("DE", "US", "CL", "AU", "JP")

FEATURES = (
    "zones",  # sequences in several time zones
    "contact_zones",
    "windows",  # windows of all lengths, down to seconds, and overlapping ones
    "clock_change",  # now near one, windows in the small hours
    "calendars",  # odd weekdays
    "holidays",
    "sending_waits",
    "zero_waits",
    "priorities",
    "max_new",
    "gaps",  # min_gap_seconds
    "ramps",
    "shared",  # contacts in several sequences
    "history",  # sent rows
    "columns_only",  # with history: no rows, only the enrollments' own columns
    "sparse_rows",  # sent rows as plain SQL may insert them: mailbox and sent_at only
    "in_flight",  # claimed, sending, uncertain, failed rows
    "edited_steps",  # removed, reordered, inserted
    "mailbox_states",  # paused, removed, unlinked, threads bound to them
    "statuses",  # stopped, completed, failed, suppressed
    "paused_sequences",
    "slots",  # pending rows of an earlier plan, overdue ones, provisional ones
    "used",
    "midwindow",  # now inside a window
    "fraction",  # now within a second
    "closed",  # now after the windows
    "starved",  # what no horizon has room for: capacity 0, max_new_per_day 0
    "dates",  # date columns as Python dates, as a driver gives them
)
RARE = {"starved": 0.06, "columns_only": 0.15, "closed": 0.15, "dates": 0.2}


def random_features(rng: random.Random) -> frozenset[str]:
    share = rng.choice((0.15, 0.35, 0.6))
    return frozenset(f for f in FEATURES if rng.random() < RARE.get(f, share))


@dataclass
class Builder:
    """One instance in the making."""

    rng: random.Random
    features: frozenset[str]
    size: int
    home: str = "UTC"
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    sequences: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    mailboxes: list[Row] = field(default_factory=list)
    links: list[Row] = field(default_factory=list)
    enrollments: list[Row] = field(default_factory=list)
    emails: list[Row] = field(default_factory=list)
    used: list[Row] = field(default_factory=list)
    last_id: int = 0
    received: dict[int, int] = field(default_factory=dict)  # by enrollment: how many steps

    def has(self, feature: str, chance: float = 1.0) -> bool:
        return feature in self.features and self.rng.random() < chance

    def new_id(self) -> int:
        self.last_id += self.rng.choice((1, 1, 1, 2, 7))
        return self.last_id

    # -------------------------------------------------------- the world

    def choose_now(self) -> None:
        rng = self.rng
        self.home = rng.choice(ZONES) if self.features & {"zones", "windows"} else "UTC"
        day = date(2026, 1, 1) + rng.randrange(500) * DAY
        if "holidays" in self.features and rng.random() < 0.7:
            day = date(2026, 12, 18) + rng.randrange(14) * DAY
        if "clock_change" in self.features:
            self.home, day = rng.choice(CLOCK_CHANGES)
            day -= rng.randrange(4) * DAY
        clock = rng.choice((time(0, 0), time(2, 30), time(5, 0), time(6, 59, 59), time(8, 0)))
        if "midwindow" in self.features:
            clock = time(rng.randrange(9, 17), rng.randrange(60), rng.randrange(60))
            if "clock_change" in self.features and rng.random() < 0.5:
                clock = time(rng.randrange(0, 4), rng.randrange(60))
        elif "closed" in self.features:
            clock = rng.choice((time(17, 0), time(18, 30), time(23, 59, 59)))
        moment = datetime.combine(day, clock, tzinfo=ZoneInfo(self.home)).astimezone(UTC)
        if "fraction" in self.features:
            moment += timedelta(microseconds=rng.choice((1, 250_000, 500_000, 999_999)))
        self.now = moment

    def clock_times(self) -> tuple[time, time]:
        rng = self.rng
        choices = [(time(9), time(17))]
        if "windows" in self.features:
            choices += [
                (time(8, 30), time(12)),
                (time(12), time(17, 0, 1)),
                (time(0), time(23, 59, 59)),
                (time(10), time(10, 0, 7)),
                (time(16, 50), time(17)),
                (time(9, 0, 30), time(9, 5)),
            ]
        if "clock_change" in self.features:
            choices += [
                (time(1), time(4)),
                (time(2, 15), time(3, 30)),
                (time(0), time(2, 30)),
                (time(0, 30), time(23, 30)),
                (time(22), time(23, 45)),
            ]
        return rng.choice(choices)

    def add_sequence(self, mailboxes: list[int]) -> None:
        rng, key = self.rng, self.new_id()
        start, end = self.clock_times()
        row: Row = {"id": key, "name": f"s{key}", "start_time": start, "end_time": end}
        row["timezone"] = rng.choice(ZONES) if self.has("zones", 0.6) else self.home
        if self.has("calendars", 0.6):
            row["send_days"] = sorted(rng.sample(range(1, 8), rng.choice((1, 2, 3, 5, 6, 7))))
        if self.has("holidays", 0.8):
            row["holidays"] = rng.choice(COUNTRIES)
        if self.has("sending_waits", 0.7):
            row["wait_unit"] = "sending"
        if self.has("priorities", 0.7):
            row["priority"] = rng.choice((0.5, 2, 3.25, 10))
        if self.has("max_new", 0.8):
            row["max_new_per_day"] = rng.choice((1, 1, 2, 3))
        if self.has("starved", 0.2):
            row["max_new_per_day"] = 0
        if self.has("paused_sequences", 0.4):
            row["status"] = "paused"
        self.sequences.append(row)
        for position in range(1, rng.choice((1, 2, 3, 3, 4, 5)) + 1):
            waits = (0, 0, 1, 2) if "zero_waits" in self.features else (1, 1, 2, 3, 5, 7)
            self.steps.append(
                {
                    "id": self.new_id(),
                    "sequence_id": key,
                    "position": position,
                    "wait_days": rng.choice(waits),
                    "removed_at": None,
                }
            )
        pool = rng.sample(mailboxes, rng.randint(1, len(mailboxes)))
        self.links += [{"sequence_id": key, "mailbox_id": m} for m in pool]

    def add_mailbox(self, user: int) -> int:
        rng, key = self.rng, self.new_id()
        row: Row = {"id": key, "user_id": user, "email": f"m{key}@example.org"}
        row["daily_capacity"] = rng.choice((1, 1, 2, 3, 5, 8, 20))
        if self.has("gaps", 0.8):
            row["min_gap_seconds"] = rng.choice((1, 7, 60, 600, 3600, 7200, 10_800))
            if rng.random() < 0.5:  # so that the gap binds before the capacity does
                row["daily_capacity"] = rng.choice((5, 8, 20))
        if self.has("ramps", 0.7):
            row["ramp_start"] = rng.randrange(3)
            row["ramp_increment"] = rng.choice((1, 1, 2))
            row["ramp_from"] = self.now.date() + rng.randint(-8, 8) * DAY
            if rng.random() < 0.15:  # half a ramp is none
                row[rng.choice(("ramp_start", "ramp_from"))] = None
        if self.has("starved", 0.3):
            row["daily_capacity"] = 0
        self.mailboxes.append(row)
        return key

    # -------------------------------------------------------- people

    def add_enrollments(self) -> None:
        rng = self.rng
        shared = "shared" in self.features
        contacts = range(1, (max(1, self.size // 2) if shared else 10 * self.size) + 1)
        zones = {
            c: rng.choice((*ZONES, None)) if "contact_zones" in self.features else None
            for c in contacts
        }
        pairs = [(c, s["id"]) for c in contacts for s in self.sequences]
        for contact, sequence_id in rng.sample(pairs, min(self.size, len(pairs))):
            row: Row = {"id": self.new_id(), "contact_id": contact, "sequence_id": sequence_id}
            row["contact_timezone"] = zones[contact]
            back = timedelta(seconds=rng.choice((0, 60, 3600, 40_000, 90_000, 300_000)))
            row["enrolled_at"] = self.now - back * rng.choice((1, 1, 2))
            for name in ("current_step_id", "mailbox_id", "last_sent_day", "suppressed_at"):
                row[name] = None
            row["status"] = "active"
            self.enrollments.append(row)
        suppressed = {c for c in contacts if self.has("statuses", 0.1)}
        for row in self.enrollments:
            if self.has("statuses", 0.25):
                row["status"] = rng.choice(("stopped", "failed"))
            if row["contact_id"] in suppressed:
                row["suppressed_at"] = self.now - DAY

    def sequence(self, enrollment: Row) -> Row:
        return next(s for s in self.sequences if s["id"] == enrollment["sequence_id"])

    def zone(self, enrollment: Row) -> ZoneInfo:
        return ZoneInfo(enrollment["contact_timezone"] or self.sequence(enrollment)["timezone"])

    def window(self, enrollment: Row, day: date) -> tuple[datetime, datetime]:
        sequence = self.sequence(enrollment)
        return window(self.zone(enrollment), day, sequence["start_time"], sequence["end_time"])

    def moment_on(self, enrollment: Row, day: date) -> datetime | None:
        """Give a time in the window of ``day`` that has passed."""
        start, end = self.window(enrollment, day)
        room = (min(end, self.now) - start) // timedelta(seconds=1)
        if room <= 0:
            return None
        # Near the end half the time: that is where what comes next feels it.
        offset = self.rng.choice((self.rng.randrange(room), max(0, room - 1 - 60)))
        return start + timedelta(seconds=offset, microseconds=self.rng.choice((0, 0, 123_456)))

    def live_steps(self, enrollment: Row) -> list[Row]:
        mine = [s for s in self.steps if s["sequence_id"] == enrollment["sequence_id"]]
        return sorted((s for s in mine if s["position"]), key=lambda s: s["position"])

    def pool(self, enrollment: Row) -> list[int]:
        key = enrollment["sequence_id"]
        return [link["mailbox_id"] for link in self.links if link["sequence_id"] == key]

    def past_days(self, enrollment: Row, count: int) -> list[date]:
        """Give days for ``count`` sends, newest last, on which the sequence may have sent."""
        sequence = self.sequence(enrollment)
        weekdays = sequence.get("send_days", (1, 2, 3, 4, 5))
        day = local_day(self.zone(enrollment), self.now)
        days: list[date] = []
        skip = self.rng.choice((0, 0, 1, 2, 5))
        for _ in range(400):
            fits = day.isoweekday() in weekdays and self.moment_on(enrollment, day) is not None
            if fits and skip <= 0:
                days.append(day)
                skip = self.rng.randrange(3)
            if len(days) == count:
                break
            day -= DAY
            skip -= 1
        return days[::-1]

    def email(self, enrollment: Row, step: Row, **values: Any) -> Row:
        row: Row = {
            "id": self.new_id(),
            "enrollment_id": enrollment["id"],
            "step_id": step["id"],
            "mailbox_id": None,
            "send_day": None,
            "send_at": None,
            "sent_at": None,
            "plan_run_id": None,
            "unplaced_reason": None,
            "status": "pending",
        }
        return row | values

    def add_history(self, enrollment: Row) -> None:
        rng, steps = self.rng, self.live_steps(enrollment)
        in_flight = self.has("in_flight", 0.4)
        count = rng.randint(0 if in_flight else 1, len(steps))
        if not self.has("history", 0.6):
            if not in_flight:
                return
            count = 0
        last_status = ""
        if in_flight and count < len(steps):
            last_status = rng.choice(("claimed", "sending", "uncertain", "failed"))
        days = self.past_days(enrollment, count + (1 if last_status else 0))
        if not days:
            return
        mailbox = rng.choice(self.pool(enrollment))
        sparse: list[Row] = []
        for step, day in zip(steps, days, strict=False):
            at = self.moment_on(enrollment, day)
            assert at is not None
            planned = at.replace(microsecond=0)
            row = self.email(enrollment, step, mailbox_id=mailbox, send_day=day, send_at=planned)
            row |= {"plan_run_id": 1, "status": "sent", "sent_at": at}
            self.emails.append(row)
            if self.has("sparse_rows", 0.5):
                sparse.append(row)
        if last_status:
            self.emails[-1] |= {"status": last_status, "sent_at": None}
        self.received[enrollment["id"]] = len(days)
        enrollment["enrolled_at"] = min(
            enrollment["enrolled_at"], self.emails[-len(days)]["send_at"] - timedelta(hours=30)
        )
        sent = [row for row in self.emails[-len(days) :] if row["status"] == "sent"]
        if sent:
            # Users' own SQL may know the rows only; the application keeps all three.
            keeps = "columns_only" in self.features or rng.random() < 0.6
            if keeps:
                enrollment["current_step_id"] = sent[-1]["step_id"]
                enrollment["mailbox_id"] = mailbox
                enrollment["last_sent_day"] = sent[-1]["send_day"]
        for row in sparse:
            if row["status"] == "sent":
                row |= {"plan_run_id": None, "send_day": None, "send_at": None}
        if not last_status and len(days) == len(steps) and rng.random() < 0.5:
            enrollment["status"] = "completed"

    # -------------------------------------------------------- what changed since

    def edit_steps(self) -> None:
        rng = self.rng
        for sequence in self.sequences:
            mine = [s for s in self.steps if s["sequence_id"] == sequence["id"]]
            if self.has("edited_steps", 0.5) and len(mine) > 1:
                current = {e["current_step_id"] for e in self.enrollments}
                spare = [s for s in mine if s["id"] not in current]
                # Without rows it is unknown what came before a removed current step.
                gone = rng.choice((spare or mine) if "columns_only" in self.features else mine)
                if gone["id"] in current and "columns_only" in self.features:
                    continue
                gone["removed_at"] = self.now - timedelta(hours=1)
                mine.remove(gone)
                gone["position"] = None
            if self.has("edited_steps", 0.4):
                extra = dict(mine[0]) | {"id": self.new_id(), "wait_days": rng.randrange(3)}
                self.steps.append(extra)
                mine.insert(rng.randint(0, len(mine)), extra)
            # Without rows it is unknown which steps came before the current one.
            if self.has("edited_steps", 0.4) and "columns_only" not in self.features:
                rng.shuffle(mine)
            for position, step in enumerate(mine, start=1):
                step["position"] = position

    def change_mailboxes(self) -> None:
        for mailbox in self.mailboxes:
            if self.has("mailbox_states", 0.35):
                mailbox["status"] = self.rng.choice(("paused", "paused", "removed"))
        for link in list(self.links):
            if self.has("mailbox_states", 0.2):
                self.links.remove(link)
        # A thread whose mailbox went may have moved with an email still in flight.
        gone = {m["id"] for m in self.mailboxes if m.get("status") == "removed"}
        for row in self.emails:
            enrollment = next(e for e in self.enrollments if e["id"] == row["enrollment_id"])
            others = [m for m in self.pool(enrollment) if m not in gone]
            moved = row["status"] in ("claimed", "sending") and enrollment["mailbox_id"] in gone
            if moved and others and self.rng.random() < 0.5:
                row["mailbox_id"] = self.rng.choice(others)

    def add_pending(self, enrollment: Row) -> None:
        """Leave rows of an earlier plan: good ones, stale ones, overdue and provisional ones."""
        rng = self.rng
        had = {r["step_id"] for r in self.emails if r["enrollment_id"] == enrollment["id"]}
        if "columns_only" in self.features:  # received, though no row says so
            steps = self.live_steps(enrollment)
            point = [s["position"] for s in steps if s["id"] == enrollment["current_step_id"]]
            had |= {s["id"] for s in steps if point and s["position"] <= point[0]}
        mailboxes = self.pool(enrollment) or [m["id"] for m in self.mailboxes]
        mailbox = enrollment["mailbox_id"] or rng.choice(mailboxes)
        day = local_day(self.zone(enrollment), self.now) + rng.choice((-1, 0, 0, 0, 1, 2)) * DAY
        for step in self.live_steps(enrollment):
            if step["id"] in had:
                continue
            start, end = self.window(enrollment, day)
            at = start + timedelta(
                seconds=rng.randrange(max(1, int((end - start).total_seconds())))
            )
            kind = rng.choice(("slot", "slot", "slot", "provisional", "unplaced", "none"))
            row = self.email(enrollment, step)
            if kind in ("slot", "provisional"):
                row |= {"mailbox_id": mailbox, "send_day": day, "send_at": at}
            if kind == "slot":
                row["plan_run_id"] = 1
            if kind == "unplaced":
                row |= {"plan_run_id": 1, "unplaced_reason": "no_room"}
            if kind != "none":
                self.emails.append(row)
            day += rng.choice((0, 1, 1, 3)) * DAY
        if rng.random() < 0.2 and self.live_steps(enrollment):
            self.emails.append(self.email(enrollment, self.live_steps(enrollment)[-1]))
            self.emails[-1] |= {"status": "cancelled", "send_day": day, "mailbox_id": mailbox}

    def add_used(self) -> None:
        for mailbox in self.mailboxes:
            for ahead in range(-1, 5):
                if self.has("used", 0.5):
                    count = self.rng.randint(0, mailbox["daily_capacity"] + 1)
                    day = self.now.date() + ahead * DAY
                    self.used.append({"mailbox_id": mailbox["id"], "send_day": day, "used": count})

    # -------------------------------------------------------- frames

    def build(self) -> Frames:
        rng = self.rng
        self.choose_now()
        for user in range(1, rng.choice((1, 1, 2)) + 1):
            mailboxes = [self.add_mailbox(user) for _ in range(rng.randint(1, 3))]
            for _ in range(rng.randint(1, 3)):
                self.add_sequence(mailboxes)
        self.add_enrollments()
        for enrollment in self.enrollments:
            self.add_history(enrollment)
        if "columns_only" in self.features:
            self.forget_rows()
        self.edit_steps()
        self.change_mailboxes()
        for enrollment in self.enrollments:
            if self.has("slots", 0.7):
                self.add_pending(enrollment)
        self.add_used()
        return self.frames()

    def forget_rows(self) -> None:
        """Keep what the columns of enrollments tell; without values nothing was received."""
        self.emails.clear()

    def frames(self) -> Frames:
        tables = {
            "sequences": self.sequences,
            "steps": self.steps,
            "mailboxes": self.mailboxes,
            "sequence_mailboxes": self.links,
            "enrollments": self.enrollments,
        }
        if self.emails:
            tables["scheduled_emails"] = self.emails
        if self.used:
            tables["used"] = self.used
        return {name: self.table(name, rows) for name, rows in tables.items()}

    def table(self, name: str, rows: list[Row]) -> pd.DataFrame:
        rng = self.rng
        names = list(dict.fromkeys(n for row in rows for n in row)) or list(EMPTY_COLUMNS[name])
        columns = {n: [row.get(n, DEFAULTS.get((name, n))) for row in rows] for n in names}
        # What is at its default throughout may be left out, too.
        if name == "enrollments" and "shared" not in self.features and rng.random() < 0.3:
            columns.pop("contact_id", None)
        for n in list(columns):
            default = DEFAULTS.get((name, n), "required")
            usual = default != "required" and all(v == default for v in columns[n])
            if usual and rng.random() < 0.5:
                del columns[n]
        dates = "dates" in self.features
        frame = pd.DataFrame({n: typed(n, v, dates=dates) for n, v in columns.items()})
        if name == "sequence_mailboxes":
            return frame  # its order carries meaning
        return frame.sample(frac=1, random_state=rng.randrange(2**31)).reset_index(drop=True)


INTEGERS = frozenset(
    (
        "id",
        "sequence_id",
        "position",
        "wait_days",
        "user_id",
        "daily_capacity",
        "min_gap_seconds",
        "ramp_start",
        "ramp_increment",
        "max_new_per_day",
        "contact_id",
        "current_step_id",
        "mailbox_id",
        "enrollment_id",
        "step_id",
        "plan_run_id",
        "used",
    )
)
DEFAULTS: dict[tuple[str, str], Any] = {
    ("sequences", "timezone"): "UTC",
    ("sequences", "send_days"): [1, 2, 3, 4, 5],
    ("sequences", "holidays"): None,
    ("sequences", "wait_unit"): "calendar",
    ("sequences", "priority"): 1.0,
    ("sequences", "max_new_per_day"): None,
    ("sequences", "status"): "active",
    ("steps", "removed_at"): None,
    ("mailboxes", "min_gap_seconds"): 0,
    ("mailboxes", "ramp_start"): None,
    ("mailboxes", "ramp_increment"): None,
    ("mailboxes", "ramp_from"): None,
    ("mailboxes", "status"): "active",
    ("enrollments", "contact_timezone"): None,
    ("enrollments", "current_step_id"): None,
    ("enrollments", "mailbox_id"): None,
    ("enrollments", "last_sent_day"): None,
    ("enrollments", "suppressed_at"): None,
    ("enrollments", "status"): "active",
    ("scheduled_emails", "plan_run_id"): None,
    ("scheduled_emails", "unplaced_reason"): None,
    ("scheduled_emails", "sent_at"): None,
}
EMPTY_COLUMNS = {
    "sequence_mailboxes": ("sequence_id", "mailbox_id"),
    "scheduled_emails": ("mailbox_id", "send_day", "send_at", "plan_run_id"),
}


def random_frames(
    seed: int, size: int = 12, features: Collection[str] | None = None
) -> tuple[Frames, pd.Timestamp]:
    """Give a legal instance of about ``size`` enrollments, and its ``now``.

    The same arguments give the same instance. Without ``features`` the seed chooses them.
    """
    rng = random.Random(seed)
    chosen = random_features(rng) if features is None else frozenset(features)
    unknown = chosen - set(FEATURES)
    if unknown:
        raise ValueError(f"no such features: {sorted(unknown)}")
    builder = Builder(rng, chosen, size)
    frames = builder.build()
    return frames, pd.Timestamp(builder.now)


def with_plan(
    frames: Frames, sends: pd.DataFrame, unplaced: pd.DataFrame, plan_run_id: int = 2
) -> Frames:
    """Give the frames as they stand once a plan has been stored: what a second run reads.

    Pending rows of other emails are cancelled, as the store does with what will never go.
    """
    columns = ["enrollment_id", "step_id", "mailbox_id", "send_day", "send_at"]
    placed = sends[columns].assign(status="pending", plan_run_id=plan_run_id)
    left = unplaced[["enrollment_id", "step_id"]].assign(
        status="pending", plan_run_id=plan_run_id, unplaced_reason=unplaced["reason"].astype(object)
    )
    rows = [frame.astype(object) for frame in (placed, left) if len(frame)]
    old = frames.get("scheduled_emails")
    if old is not None:
        kept = old[~old["status"].isin(["pending", "cancelled"])]
        rows.insert(0, kept.drop(columns=["id"], errors="ignore").astype(object))
    if not rows:
        return {name: frame for name, frame in frames.items() if name != "scheduled_emails"}
    names = dict.fromkeys([*EMPTY_COLUMNS["scheduled_emails"], *(n for r in rows for n in r)])
    table = pd.concat(rows, ignore_index=True).reindex(columns=list(names))
    table["id"] = range(1, len(table) + 1)
    for name in ("send_at", "sent_at"):
        if name in table:
            table[name] = pd.to_datetime(table[name], utc=True).astype("datetime64[us, UTC]")
    table["send_day"] = pd.to_datetime(table["send_day"]).astype("datetime64[s]")
    for name in ("id", "enrollment_id", "step_id", "mailbox_id", "plan_run_id"):
        table[name] = table[name].astype("Int64")
    return frames | {"scheduled_emails": table}


def advanced(frames: Frames, later: pd.Timestamp, rng: random.Random) -> Frames:
    """Give the frames of ``with_plan`` as a dispatcher leaves them at ``later``.

    What was due has been sent a few seconds late, the newest email of some threads is in flight,
    and few rows were missed and are overdue now.
    """
    emails = as_rows(frames["scheduled_emails"])
    people = as_rows(frames["enrollments"])
    by_id = {int(row["id"]): row for row in people}
    held: set[int] = set()  # nothing leaves behind an email that has not been sent
    in_flight = [row for row in emails if row["status"] in ("claimed", "sending")]
    due = [row for row in emails if row["status"] == "pending" and row["send_at"] <= later]
    due.sort(key=lambda row: (row["send_at"], row["id"]))
    for row in in_flight + due:
        if row["enrollment_id"] in held:
            continue
        fate = rng.choice(("sent", "sent", "sent", "sent", "sent", "claimed", "missed"))
        if fate == "sent":
            at = min(row["send_at"] + pd.Timedelta(seconds=rng.choice((0, 0, 3))), later)
            row |= {"status": "sent", "sent_at": at}
            by_id[row["enrollment_id"]] |= {
                "current_step_id": row["step_id"],
                "mailbox_id": row["mailbox_id"],
                "last_sent_day": row["send_day"],
            }
        else:
            held.add(row["enrollment_id"])
            if fate == "claimed" and row["status"] == "pending":
                row["status"] = "claimed"
    return frames | {"scheduled_emails": framed(emails), "enrollments": framed(people)}


def as_rows(frame: pd.DataFrame) -> list[Row]:
    rows = frame.astype(object).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def framed(rows: list[Row], *, dates: bool = False) -> pd.DataFrame:
    names = list(dict.fromkeys(n for row in rows for n in row))
    return pd.DataFrame({n: typed(n, [row.get(n) for row in rows], dates=dates) for n in names})


def typed(name: str, values: list[Any], *, dates: bool) -> Any:
    """Give a column the type that a database driver would."""
    if name in INTEGERS:
        return pd.array([pd.NA if is_null(v) else v for v in values], dtype="Int64")
    if name.endswith("_at"):
        moments = pd.to_datetime(pd.Series(values, dtype=object), utc=True)
        return moments.astype("datetime64[us, UTC]")
    if name in ("send_day", "last_sent_day", "ramp_from"):
        days = pd.Series(values, dtype=object)
        return days if dates else pd.to_datetime(days).astype("datetime64[s]")
    if name in ("send_days", "start_time", "end_time"):
        return pd.Series(values, dtype=object)
    if name == "priority":
        return [float(v) for v in values]
    return values


@st.composite
def instances(
    draw: st.DrawFn, max_size: int = 15, features: Collection[str] = FEATURES
) -> tuple[Frames, pd.Timestamp]:
    """Draw instances that shrink towards few enrollments and no features."""
    size = draw(st.integers(1, max_size), label="size")
    chosen = draw(st.frozensets(st.sampled_from(sorted(features))), label="features")
    seed = draw(st.integers(0, 2**31 - 1), label="seed")
    return random_frames(seed, size, chosen)


def instance_cases(count: int, first_seed: int = 0, size: int = 12) -> list[tuple[int, int]]:
    """Give (seed, size) pairs for ``pytest.mark.parametrize``."""
    return [(first_seed + i, size) for i in range(count)]


__all__ = ["FEATURES", "advanced", "instance_cases", "instances", "random_frames", "with_plan"]
