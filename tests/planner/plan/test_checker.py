"""The checker: for every rule a sound plan that it accepts and a breach that it finds and names.

One sequence (1) of two steps (11, 12; wait 1 day), mailbox 5 of ten emails a day; mailbox 6 is
linked, too, 7 is not. Slots are (enrollment, step, mailbox, day, time), see `worlds`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import Any

import pandas as pd
import pytest

import sendplan
from sendplan.planner.plan.checker import COLUMNS
from sendplan.tests.worlds.problems.tiny import Slot, World, at, day, sends_of

NINE = "09:00:00"
SOUND: list[Slot] = [(1, 11, 5, 0, NINE), (1, 12, 5, 1, NINE)]


def world(**sequence: Any) -> World:
    built = World().sequence(**sequence).mailbox().mailbox(6).mailbox(7, sequences=())
    return built.enroll(1)


def found(built: World, slots: Sequence[Slot], **more: Any) -> pd.DataFrame:
    return sendplan.violations(built.problem(), sends_of(slots), **more)


def breaches(built: World, slots: Sequence[Slot], **more: Any) -> list[tuple[str, int, int]]:
    rows = found(built, slots, **more).itertuples(index=False)
    return sorted((row.rule, row.enrollment_id, row.step_id) for row in rows)


def test_a_sound_plan_is_an_empty_frame() -> None:
    result = found(world(), SOUND)
    assert result.empty
    assert result.columns.tolist() == list(COLUMNS)
    assert found(world(), []).empty


def test_a_plan_of_the_planner_is_accepted_as_it_is() -> None:
    built = world()
    plan = built.plan()
    assert sendplan.violations(built.problem(), plan.sends).empty


def test_a_breach_is_told_with_its_slot() -> None:
    (row,) = found(world(), [(1, 11, 5, 0, "08:59:59")]).to_dict("records")
    assert row == {
        "rule": "window",
        "enrollment_id": 1,
        "step_id": 11,
        "mailbox_id": 5,
        "send_day": pd.Timestamp(day(0)),
        "send_at": pd.Timestamp(at(0, "08:59:59")),
        "detail": "outside the window of its day",
    }


@pytest.mark.parametrize(
    "column", ["enrollment_id", "step_id", "mailbox_id", "send_day", "send_at"]
)
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(ValueError, match=f"sends lacks the columns {column}"):
        sendplan.violations(world().problem(), sends_of(SOUND).drop(columns=column))


# ---------------------------------------------------------------- whose email it is


@pytest.mark.parametrize(
    "slot", [(9, 11, 5, 0, NINE), (1, 99, 5, 0, NINE), (1, 11, 9, 0, NINE), (1, 21, 5, 0, NINE)]
)
def test_unknown(slot: Slot) -> None:
    # Enrollment 9, step 99, mailbox 9; step 21 is of another sequence.
    built = world().sequence(2)
    assert breaches(built, [slot]) == [("unknown", slot[0], slot[1])]


def test_unknown_names_removed_steps() -> None:
    built = world().step(19, None)
    assert breaches(built, [*SOUND, (1, 19, 5, 2, NINE)]) == [("unknown", 1, 19)]


def test_twice() -> None:
    limits = {rule for rule, _, _ in breaches(world(), [*SOUND, (1, 12, 5, 2, NINE)])}
    assert "twice" in limits


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "stopped"},
        {"status": "completed"},
        {"status": "failed"},
        {"suppressed_at": at(-1, NINE)},
    ],
)
def test_idle_enrollments(columns: dict[str, Any]) -> None:
    built = World().sequence().mailbox().enroll(1, **columns).enroll(2)
    sound: list[Slot] = [(2, 11, 5, 0, NINE)]
    assert breaches(built, sound) == []
    assert breaches(built, [*sound, (1, 11, 5, 0, "10:00:00")]) == [("idle", 1, 11)]


def test_idle_sequences() -> None:
    assert breaches(world(status="paused"), SOUND[:1]) == [("idle", 1, 11)]


@pytest.mark.parametrize("status", ["failed", "uncertain"])
def test_idle_chains(status: str) -> None:
    built = world().email(1, 11, status, -3)
    assert ("idle", 1, 12) in breaches(built, [(1, 12, 5, 0, NINE)])
    assert breaches(world().email(1, 11, "sent", -3), [(1, 12, 5, 0, NINE)]) == []


@pytest.mark.parametrize("status", ["sent", "claimed", "sending"])
def test_idle_steps(status: str) -> None:
    # Received already, or on its way.
    built = world().email(1, 11, status, -3)
    assert ("idle", 1, 11) in breaches(built, [(1, 11, 5, 0, NINE)])


def test_idle_steps_before_the_point() -> None:
    # Step 12 came first, then step 11 was put before it.
    built = world().email(1, 12, "sent", -3)
    assert ("idle", 1, 11) in breaches(built, [(1, 11, 5, 0, NINE)])


# ---------------------------------------------------------------- Capacity, and its gap


def crowd(count: int, **mailbox: Any) -> World:
    return World().sequence(waits=(0,)).mailbox(**mailbox).enroll(*range(1, count + 1))


def test_capacity() -> None:
    built = crowd(3, capacity=2)
    two: list[Slot] = [(1, 11, 5, 0, NINE), (2, 11, 5, 0, "13:00:00")]
    assert breaches(built, [*two, (3, 11, 5, 1, NINE)]) == []
    assert breaches(built, [*two, (3, 11, 5, 0, "15:00:00")]) == [("capacity", 3, 11)]


@pytest.mark.parametrize("status", ["sent", "claimed", "sending", "uncertain", "used"])
def test_capacity_counts_what_has_left(status: str) -> None:
    built = crowd(2, capacity=2).enroll(9, status="stopped")
    built = built.use(5, 0, 1) if status == "used" else built.email(9, 11, status, 0, "05:00")
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == []
    both: list[Slot] = [(1, 11, 5, 0, NINE), (2, 11, 5, 0, "13:00:00")]
    assert breaches(built, both) == [("capacity", 2, 11)]


def test_capacity_on_a_ramp() -> None:
    # From Monday 1, then 1 more each day, never above 2: 1 on Monday, 2 on Tuesday, Wednesday.
    built = crowd(3, capacity=2, ramp_start=1, ramp_increment=1, ramp_from=day(0))
    for number, room in ((0, 1), (1, 2), (2, 2)):
        slots: list[Slot] = [(key, 11, 5, number, f"{8 + key:02}:00:00") for key in (1, 2, 3)]
        assert breaches(built, slots[:room]) == []
        assert len(breaches(built, slots)) == 3 - room
    # Before it begins: 0 days of increment.
    built = crowd(2, capacity=2, ramp_start=1, ramp_increment=1, ramp_from=day(1))
    two: list[Slot] = [(1, 11, 5, 0, NINE), (2, 11, 5, 0, "13:00:00")]
    assert breaches(built, two) == [("capacity", 2, 11)]


def test_gap() -> None:
    built = crowd(2, min_gap_seconds=3600)
    first: Slot = (1, 11, 5, 0, NINE)
    assert breaches(built, [first, (2, 11, 5, 0, "10:00:00")]) == []
    assert breaches(built, [first, (2, 11, 5, 0, "09:59:59")]) == [("gap", 2, 11)]


@pytest.mark.parametrize("status", ["sent", "claimed", "sending", "uncertain"])
def test_gap_to_what_has_left(status: str) -> None:
    # Mailbox 5's email of 8:30, before now.
    built = World(at(0, "08:45")).sequence(waits=(0,)).mailbox(min_gap_seconds=3600)
    built.enroll(1).enroll(9, status="stopped").email(9, 11, status, 0, "08:30")
    assert breaches(built, [(1, 11, 5, 0, "09:30:00")]) == []
    assert breaches(built, [(1, 11, 5, 0, "09:29:59")]) == [("gap", 1, 11)]


def test_gap_over_send_days() -> None:
    # 17:00 on Monday in Honolulu is 3:00 UTC on Tuesday, as is 17:00 on Tuesday in Kiritimati.
    built = World().sequence(waits=(0,)).mailbox(min_gap_seconds=3600)
    built.enroll(1, contact_timezone="Pacific/Honolulu")
    built.enroll(2, contact_timezone="Pacific/Kiritimati")
    sends = sends_of([(1, 11, 5, 0, NINE), (2, 11, 5, 1, NINE)])
    sends["send_at"] = [at(1, "02:30"), at(1, "01:30")]
    assert sendplan.violations(built.problem(), sends).empty
    sends["send_at"] = [at(1, "02:30"), at(1, "02:00")]
    result = sendplan.violations(built.problem(), sends)
    assert result["rule"].tolist() == ["gap"]


# ---------------------------------------------------------------- Step order and Window: when


def test_order_of_days() -> None:
    limits = breaches(world(), [(1, 11, 5, 1, NINE), (1, 12, 5, 0, NINE)])
    assert ("order", 1, 12) in limits


def test_order_within_a_day() -> None:
    built = World().sequence(waits=(0, 0)).mailbox().enroll(1)
    right: list[Slot] = [(1, 11, 5, 0, NINE), (1, 12, 5, 0, "10:00:00")]
    wrong: list[Slot] = [(1, 11, 5, 0, "10:00:00"), (1, 12, 5, 0, NINE)]
    assert breaches(built, right, one_a_day=False) == []
    assert breaches(built, wrong, one_a_day=False) == [("order", 1, 12)]


def test_order_without_gaps() -> None:
    built = World().sequence(waits=(0, 1, 1)).mailbox().enroll(1)
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == []
    limits = breaches(built, [(1, 11, 5, 0, NINE), (1, 13, 5, 3, NINE)])
    assert limits == [("order", 1, 13)]
    assert breaches(built, [(1, 12, 5, 3, NINE)]) == [("order", 1, 12)]


@pytest.mark.parametrize(("wait", "ready"), [(1, 1), (2, 2), (3, 3)])
def test_ready_after_the_wait(wait: int, ready: int) -> None:
    built = World().sequence(waits=(0, wait, 0)).mailbox().enroll(1)
    first: Slot = (1, 11, 5, 0, NINE)
    assert breaches(built, [first, (1, 12, 5, ready, NINE)]) == []
    early = breaches(built, [first, (1, 12, 5, ready - 1, "10:00:00")], one_a_day=False)
    assert early == [("ready", 1, 12)]


def test_ready_after_the_wait_in_sending_days() -> None:
    # Friday and one sending day: Monday, the 7th day, not the weekend; two: Tuesday.
    for wait, ready in ((1, 7), (2, 8)):
        built = World(at(4, "06:00")).sequence(waits=(0, wait), wait_unit="sending").mailbox()
        built.enroll(1)
        first: Slot = (1, 11, 5, 4, NINE)
        assert breaches(built, [first, (1, 12, 5, ready, NINE)]) == []
        early: Slot = (1, 12, 5, 7 if wait == 2 else 4, "10:00:00")
        limits = breaches(built, [first, early], one_a_day=False)
        assert limits == [("ready", 1, 12)]


@pytest.mark.parametrize("status", ["sent", "claimed"])
def test_ready_after_what_has_left(status: str) -> None:
    # Today's step 11; step 12 waits for two days.
    built = World().sequence(waits=(0, 2)).mailbox().enroll(1)
    built.email(1, 11, status, 0, "05:00")
    assert breaches(built, [(1, 12, 5, 2, NINE)]) == []
    assert breaches(built, [(1, 12, 5, 1, NINE)]) == [("ready", 1, 12)]


def test_ready_on_enrolment() -> None:
    # Enrolled on Wednesday at 17:00, when the window had closed: ready on Thursday.
    built = World().sequence(waits=(0,)).mailbox().enroll(1, enrolled_at=at(2, "17:00"))
    assert breaches(built, [(1, 11, 5, 3, NINE)]) == []
    assert breaches(built, [(1, 11, 5, 2, NINE)]) == [("ready", 1, 11)]


@pytest.mark.parametrize(
    ("number", "clock", "sound"),
    [
        (0, "09:00:00", True),
        (0, "16:59:59", True),
        (0, "17:00:00", False),
        (0, "08:59:59", False),
        (5, "09:00:00", False),  # Saturday
    ],
)
def test_window(number: int, clock: str, sound: bool) -> None:
    limits = breaches(world(), [(1, 11, 5, number, clock)])
    assert limits == ([] if sound else [("window", 1, 11)])


def test_window_of_the_contacts_zone() -> None:
    # 9:00 to 17:00 in Tokyo is 0:00 to 8:00 UTC of the same date.
    built = World().sequence(waits=(0,)).mailbox().enroll(1, contact_timezone="Asia/Tokyo")
    assert breaches(built, [(1, 11, 5, 0, "07:59:59")]) == []
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == [("window", 1, 11)]


def test_window_on_a_holiday() -> None:
    # Good Friday 2026 is 3 April, day 32.
    for country, limits in ((None, []), ("DE", [("window", 1, 11)])):
        assert breaches(world(holidays=country), [(1, 11, 5, 32, NINE)]) == limits


def test_window_on_the_date_of_its_send_day() -> None:
    sends = sends_of(SOUND)
    sends.loc[0, "send_at"] = pd.Timestamp(at(1, "10:00"))  # send_day still says Monday
    limits = sendplan.violations(world().problem(), sends)["rule"]
    assert "window" in set(limits)


def test_window_in_whole_seconds() -> None:
    sends = sends_of(SOUND)
    sends.loc[0, "send_at"] += pd.Timedelta(milliseconds=1)
    assert sendplan.violations(world().problem(), sends)["rule"].tolist() == ["window"]


def test_past() -> None:
    built = World(datetime(2026, 3, 2, 12, 0, 0, 1, tzinfo=UTC)).sequence(waits=(0,))
    built.mailbox().enroll(1)
    assert breaches(built, [(1, 11, 5, 0, "12:00:01")]) == []
    assert breaches(built, [(1, 11, 5, 0, "12:00:00")]) == [("past", 1, 11)]


# ---------------------------------------------------------------- Pool and One sender: from where


def test_pool() -> None:
    assert breaches(world(), [(1, 11, 6, 0, NINE)]) == []
    assert breaches(world(), [(1, 11, 7, 0, NINE)]) == [("pool", 1, 11)]


@pytest.mark.parametrize("status", ["paused", "removed"])
def test_pool_of_active_mailboxes(status: str) -> None:
    built = World().sequence().mailbox(status=status).mailbox(6).enroll(1)
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == [("pool", 1, 11)]


def test_thread() -> None:
    changed: list[Slot] = [(1, 11, 5, 0, NINE), (1, 12, 6, 1, NINE)]
    assert breaches(world(), changed) == [("thread", 1, 12)]


@pytest.mark.parametrize("how", ["row", "column", "in flight"])
def test_thread_that_is_bound(how: str) -> None:
    built = World().sequence().mailbox().mailbox(6)
    built.enroll(1, mailbox_id=6 if how == "column" else None)
    built.email(1, 11, "claimed" if how == "in flight" else "sent", -3, mailbox_id=6)
    assert breaches(built, [(1, 12, 6, 0, NINE)]) == []
    assert breaches(built, [(1, 12, 5, 0, NINE)]) == [("thread", 1, 12)]


@pytest.mark.parametrize("how", ["removed", "unlinked", "paused"])
def test_thread_whose_mailbox_has_gone(how: str) -> None:
    # Removed or unlinked it is replaced; a paused one is waited for.
    built = World().sequence(waits=(0, 1, 1)).mailbox().mailbox(7)
    built.mailbox(6, sequences=() if how == "unlinked" else (1,))
    if how != "unlinked":
        built.rows["mailboxes"][-1]["status"] = how
    built.enroll(1).email(1, 11, "sent", -3, mailbox_id=6)
    rest: list[Slot] = [(1, 12, 5, 0, NINE), (1, 13, 5, 1, NINE)]
    expected = [("thread", 1, 12), ("thread", 1, 13)] if how == "paused" else []
    assert breaches(built, rest) == expected
    # The whole rest moves to one other mailbox.
    torn: list[Slot] = [(1, 12, 5, 0, NINE), (1, 13, 7, 1, NINE)]
    assert ("thread", 1, 13) in breaches(built, torn)


# ------------------------------------------------------------ One a day, New per day: how many


def test_contact() -> None:
    built = World().sequence(waits=(0,)).sequence(2, waits=(0,)).mailbox(sequences=(1, 2))
    built.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7).enroll(3, sequence=2)
    first: Slot = (1, 11, 5, 0, NINE)
    assert breaches(built, [first, (2, 21, 5, 1, NINE), (3, 21, 5, 0, "10:00:00")]) == []
    same: list[Slot] = [first, (2, 21, 5, 0, "10:00:00")]
    assert breaches(built, same) == [("contact", 2, 21)]
    assert breaches(built, same, one_a_day=False) == []


@pytest.mark.parametrize("status", ["sent", "claimed", "sending", "uncertain"])
def test_contact_that_has_had_an_email(status: str) -> None:
    built = World().sequence(waits=(0,)).sequence(2, waits=(0,)).mailbox(sequences=(1, 2))
    built.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7, status="stopped")
    built.email(2, 21, status, 0, "05:00")
    assert breaches(built, [(1, 11, 5, 1, NINE)]) == []
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == [("contact", 1, 11)]


def test_new() -> None:
    built = World().sequence(waits=(0, 1), max_new_per_day=2).mailbox().enroll(1, 2, 3, 4)
    built.email(1, 11, "sent", 0, "05:00").email(4, 11, "sent", -3)
    # One start today has gone; a second one, a follow-up, and tomorrow's two are right.
    sound: list[Slot] = [(2, 11, 5, 0, NINE), (4, 12, 5, 0, "10:00:00"), (3, 11, 5, 1, NINE)]
    assert breaches(built, sound) == []
    over: list[Slot] = [*sound[:2], (3, 11, 5, 0, "11:00:00")]
    assert breaches(built, over) == [("new", 3, 11)]


def test_new_without_emails() -> None:
    built = World().sequence(max_new_per_day=0).mailbox().enroll(1, 2).email(2, 11, "sent", -3)
    assert breaches(built, [(2, 12, 5, 0, NINE)]) == []
    assert breaches(built, [(1, 11, 5, 0, NINE)]) == [("new", 1, 11)]


def test_every_breach_of_a_plan_is_told() -> None:
    # In the past, outside the window, not in the pool: one slot, three rules.
    built = World(at(0, "12:00")).sequence(waits=(0,), end_time=time(17)).mailbox()
    built.mailbox(7, sequences=()).enroll(1)
    limits = breaches(built, [(1, 11, 7, 0, "08:00:00")])
    assert limits == [("past", 1, 11), ("pool", 1, 11), ("window", 1, 11)]
