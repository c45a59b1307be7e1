"""The oracle judged: for each rule a sound plan that it accepts and a breach that it names."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, time
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings

from sendplan.tests.worlds.oracle.facts import (
    ONE_DAY,
    Chain,
    Facts,
    local_instant,
    read,
    whole_second_from,
)
from sendplan.tests.worlds.oracle.judge import (
    RULES,
    Case,
    LeftOut,
    Send,
    contact_busy,
    contact_history,
    even_times,
    first_emails_had,
    judge,
    mailboxes_for,
    start_refused,
    true_cost,
    turn,
)
from sendplan.tests.worlds.oracle.largest_gap import EPOCH, largest_gap, placed, placed_by_trying
from sendplan.tests.worlds.problems.nasty import (
    FEATURES,
    Frames,
    Row,
    instances,
    random_frames,
    with_plan,
)
from sendplan.tests.worlds.problems.tiny import LEFT_OUT

pytestmark = pytest.mark.slow

MONDAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)  # a Monday, before every window below


def day(number: int) -> date:
    """Give the day ``number`` days after Monday 2 March 2026."""
    return MONDAY + number * ONE_DAY


def at(number: int, clock: str) -> datetime:
    return datetime.combine(day(number), time.fromisoformat(clock), tzinfo=UTC)


class World:
    """One sequence (id 1, 9:00-17:00 UTC, weekdays) of steps 11, 12, 13 with a wait of 1 day each.

    Mailboxes 5 (linked) and 6 (not linked) hold 10 emails a day; enrollments are 100, 101, … .
    """

    def __init__(self, steps: int = 2, people: int = 1, now: datetime = NOW) -> None:
        self.now = now
        self.sequences: list[Row] = [
            {"id": 1, "name": "s", "start_time": time(9), "end_time": time(17)}
        ]
        self.steps: list[Row] = [
            {"id": 10 + p, "sequence_id": 1, "position": p, "wait_days": 1, "removed_at": None}
            for p in range(1, steps + 1)
        ]
        self.mailboxes: list[Row] = [
            {"id": m, "daily_capacity": 10, "min_gap_seconds": 0, "status": "active"}
            for m in (5, 6)
        ]
        self.links = [{"sequence_id": 1, "mailbox_id": 5}]
        self.enrollments: list[Row] = [
            {
                "id": 100 + i,
                "contact_id": 1000 + i,
                "sequence_id": 1,
                "enrolled_at": at(-3, "10:00"),
                "status": "active",
                "current_step_id": None,
                "mailbox_id": None,
                "contact_timezone": None,
                "last_sent_day": None,
            }
            for i in range(people)
        ]
        self.emails: list[Row] = []
        self.used: list[Row] = []
        self.options: dict[str, Any] = {}

    def email(self, enrollment: int, step: int, status: str, when: datetime, **more: Any) -> None:
        row: Row = {"id": len(self.emails) + 1, "enrollment_id": enrollment, "step_id": step}
        row |= {"mailbox_id": 5, "send_day": when.date(), "send_at": when, "status": status}
        row |= {"sent_at": when if status == "sent" else None, "plan_run_id": 1}
        self.emails.append(row | more)

    def frames(self) -> Frames:
        frames = {
            "sequences": pd.DataFrame(self.sequences),
            "steps": pd.DataFrame(self.steps),
            "mailboxes": pd.DataFrame(self.mailboxes),
            "sequence_mailboxes": pd.DataFrame(
                self.links, columns=["sequence_id", "mailbox_id"], dtype="int64"
            ),
            "enrollments": pd.DataFrame(self.enrollments),
        }
        if self.emails:
            frames["scheduled_emails"] = pd.DataFrame(self.emails)
        if self.used:
            frames["used"] = pd.DataFrame(self.used)
        return frames

    def judge(
        self,
        sends: list[tuple[int, int, int, int, str]],
        unplaced: list[tuple[int, int, str]] = (),  # type: ignore[assignment]
        cost: float = 0.0,
        horizon: int | None = None,
    ) -> list[str]:
        """Judge slots (enrollment, step, mailbox, day number, "HH:MM:SS" in UTC)."""
        positions = {step["id"]: step["position"] for step in self.steps}
        frame = pd.DataFrame(
            [
                (e, s, positions.get(s) or 0, m, pd.Timestamp(day(d)), at(d, clock))
                for e, s, m, d, clock in sends
            ],
            columns=["enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at"],
        )
        frame["send_at"] = pd.to_datetime(frame["send_at"], utc=True)
        left = pd.DataFrame(list(unplaced), columns=["enrollment_id", "step_id", "reason"])
        last = max((d for *_, d, _ in sends), default=0) if horizon is None else horizon
        return judge(
            self.frames(),
            self.now,
            frame,
            left,
            cost,
            day(last),
            horizon_given=horizon is not None,
            **self.options,
        )


def named(complaints: list[str]) -> set[str]:
    rules = {complaint.split(":")[0] for complaint in complaints}
    assert rules <= set(RULES), complaints
    return rules


SOUND = [(100, 11, 5, 0, "09:00"), (100, 12, 5, 1, "09:00")]


def test_the_plain_plan_is_sound() -> None:
    assert World().judge(SOUND) == []


# ---------------------------------------------------------------- which emails


def test_emails_missing_twice_or_unknown() -> None:
    assert named(World().judge(SOUND[:1])) == {"emails"}
    assert "emails" in named(World().judge([*SOUND, SOUND[0]]))
    assert "emails" in named(World().judge(SOUND, [(100, 12, "no_room")]))
    assert "emails" in named(World().judge([*SOUND, (100, 99, 5, 2, "09:00")]))


@pytest.mark.parametrize("change", [{"status": "stopped"}, {"suppressed_at": NOW}])
def test_nothing_for_stopped_and_suppressed(change: dict[str, Any]) -> None:
    world = World()
    world.enrollments[0] |= change
    assert world.judge([]) == []
    assert "emails" in named(world.judge(SOUND))


def test_nothing_for_paused_sequences_and_behind_failed_emails() -> None:
    paused = World()
    paused.sequences[0]["status"] = "paused"
    assert paused.judge([]) == []
    failed = World()
    failed.email(100, 11, "failed", at(-3, "12:00"))
    assert failed.judge([]) == []
    assert "emails" in named(failed.judge(SOUND[1:]))


def test_reordered_steps_go_on_behind_the_newest_received() -> None:
    # Received: 11, then 12. The new order is 13, 12, 11, 14: the point is 12, the next is 14,
    # since 11 has been received; 13 lies before the point.
    world = World(steps=4)
    for step, position in ((11, 3), (12, 2), (13, 1), (14, 4)):
        next(s for s in world.steps if s["id"] == step)["position"] = position
    world.email(100, 11, "sent", at(-5, "12:00"))
    world.email(100, 12, "sent", at(-3, "12:00"))
    assert world.judge([(100, 14, 5, 0, "09:00")]) == []
    assert "emails" in named(world.judge([(100, 13, 5, 0, "09:00"), (100, 14, 5, 1, "09:00")]))


def test_a_removed_step_gives_the_point_back_to_the_one_before() -> None:
    # 11 and 12 received, 12 removed; 15 stands between 11 and 13 now and is still to come. The
    # wait runs from the actual last send all the same: Friday + 1 is Monday.
    world = World(steps=3)
    world.steps[1] |= {"position": None, "removed_at": at(-1, "12:00")}
    world.steps[2]["position"] = 3
    extra = {"id": 15, "sequence_id": 1, "position": 2, "wait_days": 1, "removed_at": None}
    world.steps.append(extra)
    world.email(100, 11, "sent", at(-5, "12:00"))
    world.email(100, 12, "sent", at(-3, "12:00"))
    assert world.judge([(100, 15, 5, 0, "09:00"), (100, 13, 5, 1, "09:00")]) == []
    assert "emails" in named(world.judge([(100, 13, 5, 0, "09:00")]))


def test_current_step_alone_tells_the_point() -> None:
    world = World()
    world.enrollments[0] |= {"current_step_id": 11, "mailbox_id": 5, "last_sent_day": day(-3)}
    assert world.judge([(100, 12, 5, 0, "09:00")]) == []
    assert "emails" in named(world.judge(SOUND))


def test_nothing_is_placed_behind_an_email_left_out() -> None:
    world = World()
    assert "prefix" in named(world.judge(SOUND[1:], [(100, 11, "no_room")], horizon=1))


# ---------------------------------------------------------------- days


def test_a_follow_up_waits_from_the_planned_day() -> None:
    # Step 1 a day late on Tuesday: lateness 1 for both emails, and no slip on Wednesday.
    late = [(100, 11, 5, 1, "09:00"), (100, 12, 5, 2, "09:00")]
    assert World().judge(late, cost=2.0) == []
    early = [(100, 11, 5, 1, "09:00"), (100, 12, 5, 1, "13:00")]
    assert "order" in named(World().judge(early, cost=1.0))


def test_waits_end_on_sending_days() -> None:
    # Friday + 1 calendar day: Monday. In sending days: Monday too, and with a wait of 2 Tuesday,
    # where the calendar says Sunday, so Monday.
    world = World(now=at(4, "06:00"))
    assert world.judge([(100, 11, 5, 4, "09:00"), (100, 12, 5, 7, "09:00")]) == []
    world.steps[1]["wait_days"] = 2
    assert world.judge([(100, 11, 5, 4, "09:00"), (100, 12, 5, 7, "09:00")]) == []
    world.sequences[0]["wait_unit"] = "sending"
    assert world.judge([(100, 11, 5, 4, "09:00"), (100, 12, 5, 8, "09:00")]) == []
    assert "order" in named(world.judge([(100, 11, 5, 4, "09:00"), (100, 12, 5, 7, "09:00")]))


def test_enrolled_after_the_window_is_ready_the_next_day() -> None:
    world = World(steps=1, now=at(0, "12:00"))
    world.enrollments[0]["enrolled_at"] = at(-3, "17:00")  # Friday, closed: Monday
    assert world.judge([(100, 11, 5, 0, "12:00")]) == []
    # At 17:00 the window has closed: the first usable day is Tuesday, and nothing is late.
    world.now = at(0, "17:00")
    assert world.judge([(100, 11, 5, 1, "09:00")]) == []


def test_waits_run_from_the_local_day_of_sent_at() -> None:
    # Sent on Sunday 23:30 UTC, which is Monday in Tokyo: the follow-up is ready on Tuesday there.
    world = World(now=at(0, "00:00"))
    world.enrollments[0]["contact_timezone"] = "Asia/Tokyo"
    world.email(100, 11, "sent", at(-1, "23:30"), send_day=day(0))
    assert world.judge([(100, 12, 5, 1, "00:00")]) == []
    assert "order" in named(world.judge([(100, 12, 5, 0, "00:00")]))


def test_behind_an_email_in_flight_the_wait_runs_from_its_day() -> None:
    world = World(now=at(0, "12:00"))
    world.email(100, 11, "claimed", at(0, "11:55"))
    assert world.judge([(100, 12, 5, 1, "09:00")]) == []
    assert "order" in named(world.judge([(100, 12, 5, 0, "12:00")]))


def test_holidays_are_no_sending_days() -> None:
    world = World(steps=1, now=datetime(2026, 12, 25, 6, tzinfo=UTC))
    world.enrollments[0]["enrolled_at"] = datetime(2026, 12, 24, 18, tzinfo=UTC)
    friday, monday = (date(2026, 12, 25) - MONDAY).days, (date(2026, 12, 28) - MONDAY).days
    assert world.judge([(100, 11, 5, friday, "09:00")]) == []
    world.sequences[0]["holidays"] = "DE"
    assert {"window", "order"} <= named(world.judge([(100, 11, 5, friday, "09:00")]))
    assert world.judge([(100, 11, 5, monday, "09:00")]) == []


# ---------------------------------------------------------------- windows and seconds


def test_windows_are_half_open_and_local() -> None:
    world = World(steps=1)
    world.enrollments[0]["contact_timezone"] = "Europe/Berlin"
    assert world.judge([(100, 11, 5, 0, "08:00")]) == []
    assert {"window"} <= named(world.judge([(100, 11, 5, 0, "07:59:59")]))
    assert {"window"} <= named(world.judge([(100, 11, 5, 0, "16:00")]))


def test_past_and_fractions() -> None:
    world = World(steps=1, now=at(0, "12:00") + pd.Timedelta("0.5s"))
    assert world.judge([(100, 11, 5, 0, "12:00:01")]) == []
    assert "past" in named(world.judge([(100, 11, 5, 0, "12:00:00")]))
    assert "seconds" in named(world.judge([(100, 11, 5, 0, "12:00:01.250")]))


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("Europe/Berlin", "2026-03-29 02:30", "2026-03-29 01:00"),  # skipped: after the gap
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25 00:30"),  # doubled: the first
        ("America/Santiago", "2026-09-06 00:00", "2026-09-06 04:00"),  # no midnight
        ("Australia/Lord_Howe", "2026-10-04 02:10", "2026-10-03 15:30"),  # half an hour
        ("Australia/Lord_Howe", "2026-04-05 01:40", "2026-04-04 14:40"),
        ("Pacific/Kiritimati", "2026-01-01 09:00", "2025-12-31 19:00"),
    ],
)
def test_local_times_on_days_of_a_clock_change(zone: str, local: str, utc: str) -> None:
    moment = datetime.fromisoformat(local)
    instant = local_instant(ZoneInfo(zone), moment.date(), moment.time())
    assert instant == datetime.fromisoformat(utc).replace(tzinfo=UTC)


# ---------------------------------------------------------------- mailboxes


def test_pool() -> None:
    assert "pool" in named(World(steps=1).judge([(100, 11, 6, 0, "09:00")]))


def test_one_sender_a_thread() -> None:
    world = World()
    world.links.append({"sequence_id": 1, "mailbox_id": 6})
    assert world.judge(SOUND) == []
    assert named(world.judge([SOUND[0], (100, 12, 6, 1, "09:00")])) == {"sender"}
    world.email(100, 11, "sent", at(-3, "12:00"))
    assert world.judge([(100, 12, 5, 0, "09:00")]) == []
    assert named(world.judge([(100, 12, 6, 0, "09:00")])) == {"sender"}


def test_a_thread_moves_when_its_mailbox_is_unlinked_and_waits_when_it_is_paused() -> None:
    world = World()
    world.email(100, 11, "sent", at(-3, "12:00"))
    world.links.append({"sequence_id": 1, "mailbox_id": 6})
    world.mailboxes[0]["status"] = "paused"
    assert world.judge([], [(100, 12, "mailbox_paused")]) == []
    assert "sender" in named(world.judge([(100, 12, 6, 0, "09:00")]))
    assert "blocked" in named(world.judge([], [(100, 12, "no_room")]))
    world.links.pop(0)
    assert world.judge([(100, 12, 6, 0, "09:00")]) == []
    assert "blocked" in named(world.judge([], [(100, 12, "mailbox_paused")]))
    world.links.pop(0)
    assert world.judge([], [(100, 12, "no_active_mailbox")]) == []


def test_behind_an_uncertain_email_all_is_blocked() -> None:
    world = World(steps=3)
    world.email(100, 11, "uncertain", at(-3, "12:00"))
    left = [(100, 12, "behind_uncertain"), (100, 13, "behind_uncertain")]
    assert world.judge([], left) == []
    assert "blocked" in named(world.judge([(100, 12, 5, 0, "09:00"), (100, 13, 5, 1, "09:00")]))


def test_capacity_counts_what_was_used() -> None:
    world = World(steps=1, people=2)
    two = [(100, 11, 5, 0, "09:00"), (101, 11, 5, 0, "13:00")]
    world.mailboxes[0]["daily_capacity"] = 2
    assert world.judge(two) == []
    world.used.append({"mailbox_id": 5, "send_day": day(0), "used": 1})
    assert named(world.judge(two)) == {"capacity"}
    world.used.clear()
    world.mailboxes[0] |= {"ramp_start": 1, "ramp_increment": 1, "ramp_from": day(0)}
    assert named(world.judge(two)) == {"capacity"}
    world.mailboxes[0]["ramp_from"] = day(-1)
    assert world.judge(two) == []
    world.email(100, 11, "uncertain", at(0, "05:00"))
    assert "capacity" in named(world.judge([(101, 11, 5, 0, "09:00"), (101, 11, 5, 0, "09:00")]))


def test_minimum_gap_holds_beside_history() -> None:
    world = World(people=2, steps=1, now=at(0, "09:00"))
    world.mailboxes[0]["min_gap_seconds"] = 600
    world.email(101, 11, "sent", at(0, "08:55"))
    # The even spread would begin at 9:00, five minutes behind the last email: only rules hold.
    assert world.judge([(100, 11, 5, 0, "09:05")]) == []
    assert named(world.judge([(100, 11, 5, 0, "09:04:59")])) == {"gap"}


# ---------------------------------------------------------------- contacts and new ones


def test_one_email_a_day_per_contact() -> None:
    world = World(steps=1, people=1)
    world.sequences.append(world.sequences[0] | {"id": 2})
    world.steps.append(world.steps[0] | {"id": 21, "sequence_id": 2})
    world.links.append({"sequence_id": 2, "mailbox_id": 5})
    world.enrollments.append(world.enrollments[0] | {"id": 101, "sequence_id": 2})
    same_day = [(100, 11, 5, 0, "09:00"), (101, 21, 5, 0, "13:00")]
    assert named(world.judge(same_day)) == {"contact"}
    assert world.judge([(100, 11, 5, 0, "09:00"), (101, 21, 5, 1, "09:00")], cost=1.0) == []
    world.options["one_a_day"] = False
    assert world.judge(same_day) == []
    for enrollment in world.enrollments:
        del enrollment["contact_id"]
    world.options["one_a_day"] = True
    assert world.judge(same_day) == []


def test_new_contacts_a_day() -> None:
    world = World(steps=1, people=2)
    world.sequences[0]["max_new_per_day"] = 1
    two = [(100, 11, 5, 0, "09:00"), (101, 11, 5, 0, "13:00")]
    assert named(world.judge(two)) == {"new"}
    assert world.judge([(100, 11, 5, 0, "09:00"), (101, 11, 5, 1, "09:00")], cost=1.0) == []
    world.now = at(0, "12:00")
    world.email(100, 11, "sent", at(0, "09:00"))
    assert named(world.judge([(101, 11, 5, 0, "12:00")])) == {"new"}


# ---------------------------------------------------------------- left out, cost


def test_with_a_horizon_nothing_with_room_is_left_out() -> None:
    # On Tuesday, the horizon's end, step 2 has room; on Monday it would have none. Left out, it
    # counts at Wednesday, lateness 1 and slip 1, and 366 × 21 on top.
    left = [(100, 12, "no_room")]
    assert named(World().judge(SOUND[:1], left, cost=21 + LEFT_OUT, horizon=1)) == {"room"}
    assert World().judge(SOUND[:1], left, cost=LEFT_OUT, horizon=0) == []
    full = World()
    full.used.append({"mailbox_id": 5, "send_day": day(1), "used": 10})
    assert full.judge(SOUND[:1], left, cost=21 + LEFT_OUT, horizon=1) == []
    assert named(full.judge(SOUND[:1], left, cost=21.0, horizon=1)) == {"cost"}


def test_behind_an_email_left_out_costs_count_from_the_horizon() -> None:
    # Both out with H = Monday, used up: ideal Mon, Tue; step 1 stands at Tue (1 late), step 2 at
    # Tue: no lateness against Tue, and ready on Wed: no slip. Each costs 366 × 21 on top.
    world = World()
    world.used.append({"mailbox_id": 5, "send_day": day(0), "used": 10})
    left = [(100, 11, "no_room"), (100, 12, "behind_unplaced")]
    cost = 1 + 2 * LEFT_OUT
    assert world.judge([], left, cost, horizon=0) == []
    assert named(world.judge([], [(100, 11, "behind_unplaced"), left[1]], cost, horizon=0)) == {
        "reason"
    }


def test_without_a_horizon_everything_is_placed() -> None:
    assert "room" in named(World().judge(SOUND[:1], [(100, 12, "no_room")]))


def test_room_needs_a_free_second() -> None:
    # 5 s of window ahead and a gap of 10 s behind an email sent just now: no room today.
    world = World(steps=1, people=2, now=at(0, "16:59:55"))
    world.mailboxes[0]["min_gap_seconds"] = 10
    world.email(101, 11, "sent", at(0, "16:59:52"))
    assert world.judge([], [(100, 11, "no_room")], cost=1 + LEFT_OUT, horizon=0) == []
    world.mailboxes[0]["min_gap_seconds"] = 7
    assert "room" in named(world.judge([], [(100, 11, "no_room")], cost=1.0, horizon=0))


def test_the_horizon_ends_with_the_last_slot() -> None:
    world = World(steps=1)
    slot = [(100, 11, 5, 0, "09:00")]
    assert named(world.judge([*slot], horizon=-1)) == {"horizon"}
    frames = world.frames()
    sends = pd.DataFrame(
        {
            "enrollment_id": [100],
            "step_id": [11],
            "position": [1],
            "mailbox_id": [5],
            "send_day": [pd.Timestamp(MONDAY)],
            "send_at": pd.to_datetime([at(0, "09:00")], utc=True),
        }
    )
    none = pd.DataFrame(columns=["enrollment_id", "step_id", "reason"])
    assert judge(frames, NOW, sends, none, 0.0, day(0)) == []
    assert named(judge(frames, NOW, sends, none, 0.0, day(1))) == {"horizon"}
    naive = sends.assign(send_at=sends["send_at"].dt.tz_localize(None))
    assert named(judge(frames, NOW, naive, none, 0.0, day(0))) == {"format"}


def test_priority_and_slip_weight_in_cost() -> None:
    # Step 2 two days late: lateness 2 and slip 2, at priority 3 and a slip weight of 5.
    world = World()
    world.sequences[0]["priority"] = 3
    world.options["slip_weight"] = 5.0
    slots = [SOUND[0], (100, 12, 5, 3, "09:00")]
    assert world.judge(slots, cost=3 * (2 + 5 * 2)) == []
    assert named(world.judge(slots, cost=36.5)) == {"cost"}


# ---------------------------------------------------------------- minutes


def test_even_spread_is_rounded_down() -> None:
    # Three emails in 10 s: at 0, 3.33 and 6.67 s.
    world = World(steps=1, people=3)
    world.sequences[0]["end_time"] = time(9, 0, 10)
    slots = [(100 + i, 11, 5, 0, f"09:00:0{s}") for i, s in enumerate((0, 3, 6))]
    assert world.judge(slots) == []
    slots[2] = (102, 11, 5, 0, "09:00:07")
    assert named(world.judge(slots)) == {"minutes"}


def test_today_the_spread_starts_now() -> None:
    world = World(steps=1, people=2, now=at(0, "13:00"))
    assert world.judge([(100, 11, 5, 0, "13:00"), (101, 11, 5, 0, "15:00")]) == []
    assert named(world.judge([(100, 11, 5, 0, "13:00"), (101, 11, 5, 0, "16:00")])) == {"minutes"}


def test_todays_slots_may_stay_as_they_are() -> None:
    world = World(steps=1, people=2, now=at(0, "13:00"))
    world.email(100, 11, "pending", at(0, "13:30"))
    world.email(101, 11, "pending", at(0, "16:00"))
    kept = [(100, 11, 5, 0, "13:30"), (101, 11, 5, 0, "16:00")]
    assert world.judge(kept) == []
    world.emails[1]["plan_run_id"] = None  # provisional: no existing slot
    assert named(world.judge(kept)) == {"minutes"}


def test_turns_within_a_window() -> None:
    # 102 gets a follow-up, so it goes first; then 101, enrolled before 100.
    world = World(steps=2, people=3)
    world.steps = world.steps[:1]
    world.steps.append({"id": 12, "sequence_id": 1, "position": 2, "wait_days": 1})
    world.enrollments[1]["enrolled_at"] = at(-5, "10:00")
    world.enrollments[2] |= {"current_step_id": 11, "mailbox_id": 5, "last_sent_day": day(-3)}
    tuesday = [(101, 12, 5, 1, "09:00"), (100, 12, 5, 1, "13:00")]
    monday = [(102, 12, 5, 0, "09:00"), (101, 11, 5, 0, "11:40"), (100, 11, 5, 0, "14:20")]
    assert world.judge(monday + tuesday) == []
    swapped = [(102, 12, 5, 0, "09:00"), (100, 11, 5, 0, "11:40"), (101, 11, 5, 0, "14:20")]
    assert named(world.judge(swapped + tuesday)) == {"turn"}
    late = [(101, 11, 5, 0, "09:00"), (100, 11, 5, 0, "11:40"), (102, 12, 5, 0, "14:20")]
    assert named(world.judge(late + tuesday)) == {"turn"}


def test_differing_windows_are_kept_as_far_apart_as_possible() -> None:
    # 9:00-17:00 in UTC and in Berlin, which is an hour earlier: one email at 8:00, the other in
    # the last second before 17:00.
    world = World(steps=1, people=2)
    world.enrollments[0]["contact_timezone"] = "Europe/Berlin"
    assert world.judge([(100, 11, 5, 0, "08:00"), (101, 11, 5, 0, "16:59:59")]) == []
    assert named(world.judge([(100, 11, 5, 0, "08:00"), (101, 11, 5, 0, "16:59:58")])) == {
        "minutes"
    }


def test_the_fast_feasibility_test_agrees_with_trying_everything() -> None:
    rng = random.Random(7)
    seen = set()
    for _ in range(4000):
        starts = [rng.randint(0, 16) for _ in range(rng.randint(1, 6))]
        windows = [(start, start + rng.randint(0, 12)) for start in starts]
        shut = [(s, s + rng.randint(0, 4)) for s in rng.choices(range(-2, 25), k=rng.randint(0, 3))]
        gap = rng.randint(0, 6)
        seconds = placed(windows, gap, shut)
        assert (seconds is not None) == placed_by_trying(windows, gap, shut), (windows, gap, shut)
        if seconds is not None:
            ordered = sorted(seconds)
            assert all(b - a >= gap for a, b in pairwise(ordered))
            assert all(a <= s <= b for s, (a, b) in zip(seconds, windows, strict=True))
            assert not any(a <= s <= b for s in seconds for a, b in shut)
        seen.add(seconds is None)
    assert seen == {True, False}


# ---------------------------------------------------------------- against a naive planner


def naive_plan(facts: Facts, last_day: date | None, one_a_day: bool) -> Case:
    """Plan day by day, first come first served, for mailboxes without a minimum gap."""
    plan = Case(facts, [], [], 0.0, last_day, last_day is not None, 20.0, one_a_day)
    had, started = contact_history(plan), first_emails_had(plan)
    used = dict(facts.used)
    done: dict[int, list[Send]] = {key: [] for key in facts.chains}
    open_chains = {
        key: replace(chain, steps=chain.placeable)
        for key, chain in facts.chains.items()
        if chain.placeable
    }
    today = facts.now.date() - 2 * ONE_DAY
    while today <= plan.last_day and open_chains:
        turns = sorted(open_chains.items(), key=lambda kv: (not kv[1].started, kv[0]))
        while turns:  # with waits of 0 days a chain may have several turns on one day
            key, chain = turns.pop(0)
            mailbox = room_on(plan, chain, done[key], today, used, had, started)
            if mailbox is None:
                continue
            step = chain.steps[len(done[key])]
            send = Send(chain, step, mailbox, today, facts.now)
            done[key].append(send)
            used[mailbox, today] = used.get((mailbox, today), 0) + 1
            had[chain.enrollment.contact, today] += 1
            if send.is_first:
                started[chain.enrollment.sequence.id, today] += 1
            if len(done[key]) == len(chain.steps):
                del open_chains[key]
            else:
                turns.insert(0, (key, chain))
        today += ONE_DAY
    sends = [send for chain_sends in done.values() for send in chain_sends]
    left_out = [
        LeftOut(chain, step, min(chain.blocked_by(step), default="no_room"))
        for key, chain in facts.chains.items()
        for step in chain.steps[len(done[key]) :]
    ]
    end = last_day or max((send.day for send in sends), default=facts.now.date())
    timed = with_minutes(
        Case(facts, sends, left_out, 0.0, end, last_day is not None, 20.0, one_a_day)
    )
    timed.cost = true_cost(timed)
    return timed


def room_on(
    plan: Case, chain: Chain, done: list[Send], today: date, used: Any, had: Any, started: Any
) -> int | None:
    enrollment, step = chain.enrollment, chain.steps[len(done)]
    ready = chain.ready_after(done[-1].day, step) if done else chain.first_ready
    start, end = enrollment.window(today)
    if today < ready or not enrollment.sequence.sends_on(today):
        return None
    if whole_second_from(max(start, plan.now)) >= end:
        return None
    if plan.one_a_day and contact_busy(plan, enrollment, today, had):
        return None
    if not chain.started and not done and start_refused(enrollment, today, started):
        return None
    for mailbox in mailboxes_for(plan, chain, done):
        if used.get((mailbox, today), 0) < plan.facts.mailboxes[mailbox].capacity(today):
            return mailbox
    return None


def with_minutes(plan: Case) -> Case:
    timed: list[Send] = []
    for sends in plan.by_mailbox_day.values():
        spans = []
        for send in sends:
            start, end = send.window
            first = (whole_second_from(max(start, plan.now)) - EPOCH).total_seconds()
            spans.append((int(first), int(-((EPOCH - end).total_seconds() // 1)) - 1))
        if len({send.window for send in sends}) == 1:
            times = even_times(plan, sends)[0]
        else:
            gap = largest_gap(spans, lambda _: [])
            seconds = placed(spans, gap or 0)
            assert seconds is not None
            times = [EPOCH + pd.Timedelta(seconds=s).to_pytimedelta() for s in seconds]
        for window in {send.window for send in sends}:
            group = [i for i, send in enumerate(sends) if send.window == window]
            slots = sorted(times[i] for i in group)
            queue = sorted((sends[i] for i in group), key=turn)
            # Two emails of one enrollment swap places where step order wants it.
            by_step = sorted(queue, key=lambda s: s.step.position)
            own = {s.enrollment.id: [t for t in by_step if t.chain == s.chain] for s in queue}
            queue = [own[send.enrollment.id].pop(0) for send in queue]
            for send, moment in zip(queue, slots, strict=True):
                timed.append(Send(send.chain, send.step, send.mailbox_id, send.day, moment))
    return Case(
        plan.facts,
        timed,
        plan.left_out,
        0.0,
        plan.horizon_end,
        plan.horizon_given,
        plan.slip_weight,
        plan.one_a_day,
    )


def plan_frames(plan: Case) -> tuple[pd.DataFrame, pd.DataFrame]:
    sends = pd.DataFrame(
        [
            (s.enrollment.id, s.step.id, s.step.position, s.mailbox_id, pd.Timestamp(s.day), s.at)
            for s in plan.sends
        ],
        columns=["enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at"],
    )
    sends["send_at"] = pd.to_datetime(sends["send_at"], utc=True)
    unplaced = pd.DataFrame(
        [(e.chain.enrollment.id, e.step.id, e.reason) for e in plan.left_out],
        columns=["enrollment_id", "step_id", "reason"],
    )
    return sends, unplaced


@pytest.mark.parametrize("seed", range(60))
def test_a_naive_plan_is_accepted(seed: int) -> None:
    rng = random.Random(seed)
    features = [f for f in FEATURES if f not in ("gaps", "slots") and rng.random() < 0.4]
    frames, now = random_frames(seed, 10, features)
    facts = read(frames, now)
    one_a_day = rng.random() < 0.7
    last_day = now.date() + rng.randrange(12) * ONE_DAY if rng.random() < 0.4 else None
    plan = naive_plan(facts, last_day, one_a_day)
    sends, unplaced = plan_frames(plan)
    options: dict[str, Any] = {"horizon_given": last_day is not None, "one_a_day": one_a_day}
    args = (now, sends, unplaced, plan.cost, plan.horizon_end)
    assert judge(frames, *args, **options) == []
    assert judge(with_plan(frames, sends, unplaced), *args, **options) == []


@settings(max_examples=60, deadline=None)
@given(instances())
def test_instances_are_legal(case: tuple[Frames, pd.Timestamp]) -> None:
    frames, now = case
    keys = {name: set(frames[name]["id"]) for name in frames if "id" in frames[name]}
    steps, sequences = frames["steps"], frames["sequences"]
    assert (sequences["start_time"] < sequences["end_time"]).all()
    live = steps[steps["position"].notna()]
    for _, mine in live.groupby("sequence_id"):
        assert sorted(mine["position"]) == list(range(1, len(mine) + 1))
    assert not frames["sequence_mailboxes"].duplicated().any()
    assert (frames["enrollments"]["enrolled_at"] <= now).all()
    emails = frames.get("scheduled_emails")
    if emails is not None:
        open_rows = emails[emails["status"] != "cancelled"]
        assert not open_rows.duplicated(["enrollment_id", "step_id"]).any()
        assert set(emails["enrollment_id"]) <= keys["enrollments"]
        assert set(emails["step_id"]) <= keys["steps"]
        assert set(emails["mailbox_id"].dropna()) <= keys["mailboxes"]
        gone = emails["status"].isin(["sent", "claimed", "sending", "uncertain", "failed"])
        times = (
            emails["sent_at"].fillna(emails["send_at"])
            if "sent_at" in emails
            else (emails["send_at"])
        )
        assert (times[gone] <= now).all()
    for chain in read(frames, now).chains.values():
        assert not chain.started or chain.base_day is not None


def test_instances_are_reproducible() -> None:
    first, now = random_frames(5)
    second, again = random_frames(5)
    assert now == again
    assert first.keys() == second.keys()
    for name, frame in first.items():
        pd.testing.assert_frame_equal(frame, second[name])
