"""Where an enrollment stands: steps in flight, and the hard rules on threads that are held up."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sendplan
from sendplan.planner.problem.enrollment_state import EnrollmentState, enrollment_state
from sendplan.planner.schema.readers import NULL
from sendplan.tests.worlds.problems.tiny import World, at, day, days_of, slots, without_slot

SINCE_1970 = (date(2026, 3, 2) - date(1970, 1, 1)).days
LETTERS = "ABCDE"


def step_id(letter: str) -> int:
    return 11 + LETTERS.index(letter)


def world(order: str, received: str = "", statuses: str = "") -> World:
    """Give enrollment 1 in a sequence of steps in `order`, lower case ones being removed.

    What it has received stands in rows of the last weekdays, the newest on Sunday, day -1; each
    is ``sent`` but for the `statuses` of the last ones: c(laimed), s(ending), u(ncertain),
    f(ailed).
    """
    built = World().sequence(waits=()).mailbox()
    for letter in sorted(set(LETTERS) - set(order.upper())):
        built.step(step_id(letter), None)
    position = 0
    for letter in order:
        position += letter.isupper()
        built.step(step_id(letter.upper()), position if letter.isupper() else None)
    words = {"c": "claimed", "s": "sending", "u": "uncertain", "f": "failed"}
    all_statuses = ["sent"] * (len(received) - len(statuses)) + [words[c] for c in statuses]
    for number, (letter, status) in enumerate(zip(received, all_statuses, strict=True)):
        built.email(1, step_id(letter), status, number - len(received))
    return built.enroll(1, enrolled_at=at(-20, "09:00"))


def state(built: World) -> EnrollmentState:
    return enrollment_state(built.problem())


def still_to_come(built: World) -> str:
    problem = built.problem()
    bits = int(enrollment_state(problem).remaining[0])
    ids = problem.live_steps["id"].tolist()
    return "".join(LETTERS[ids[i] - 11] for i in range(len(ids)) if bits >> i & 1)


# Received, oldest first; the steps as they stand now; what is still to come.
POINTS = [
    # Untouched steps: what follows the point.
    ("", "ABCD", "ABCD"),
    ("A", "ABCD", "BCD"),
    ("ABC", "ABCD", "D"),
    ("ABCD", "ABCD", ""),
    # Removed: the point falls back to the newest received step that still exists.
    ("A", "aBCD", "BCD"),
    ("AB", "AbCD", "CD"),
    ("AB", "abCD", "CD"),
    ("ABC", "AbcD", "D"),
    ("ABCD", "ABCd", ""),
    ("AB", "ABcD", "D"),
    ("", "aBCD", "BCD"),
    # Reordered: on with the first step after the point, in the new order, not received yet.
    ("A", "BACD", "CD"),  # B was moved before the point: skipped
    ("AB", "DCBA", ""),  # nothing but A stands behind B
    ("AB", "BACD", "CD"),  # A stands behind B, but has been received
    ("AB", "ADBC", "C"),
    ("AB", "ADCB", ""),
    ("ABC", "CDAB", "D"),
    ("A", "DCBA", ""),
    # Inserted: never one before the point.
    ("A", "AEBCD", "EBCD"),
    ("AB", "AEBCD", "CD"),
    ("AB", "EABCD", "CD"),
    ("AB", "ABECD", "ECD"),
    ("ABCD", "ABCDE", "E"),
    ("ABCD", "EABCD", ""),
    # Inserted where the removed newest step stood: the point is A, E lies behind it.
    ("AB", "AEbCD", "ECD"),
    # Removed, reordered and inserted: newest existing is A (C and B went), then E and D.
    ("ABC", "AEDbc", "ED"),
    # Received in another order than the steps stand: the newest is B, not the furthest.
    ("CB", "ABCD", "D"),
    ("CA", "ABCD", "BD"),
]


@pytest.mark.parametrize(("received", "order", "to_come"), POINTS)
def test_what_is_still_to_come(received: str, order: str, to_come: str) -> None:
    assert still_to_come(world(order, received)) == to_come


@pytest.mark.slow
@pytest.mark.parametrize(("received", "order", "to_come"), POINTS)
def test_the_plan_sends_exactly_that(received: str, order: str, to_come: str) -> None:
    plan = world(order, received).plan()
    assert [step for _, step, *_ in slots(plan)] == [step_id(letter) for letter in to_come]
    # Follow-ups, unless nothing was received: then the first email opens the thread.
    assert without_slot(plan) == []


@pytest.mark.slow
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    order=st.permutations(LETTERS),
    removed=st.sets(st.sampled_from(LETTERS)),
    received=st.lists(st.sampled_from(LETTERS), unique=True),
)
def test_any_point_in_any_order(order: list[str], removed: set[str], received: list[str]) -> None:
    live = [letter for letter in order if letter not in removed]
    known = [live.index(letter) for letter in reversed(received) if letter in live]
    behind = live[known[0] + 1 :] if known else live
    expected = "".join(letter for letter in behind if letter not in received)
    steps = "".join(letter.lower() if letter in removed else letter for letter in order)
    assert still_to_come(world(steps, "".join(received))) == expected


# ---------------------------------------------------------------- the enrollment's own columns


@pytest.mark.parametrize(
    ("received", "current", "order", "to_come"),
    [
        ("", "B", "ABCD", "CD"),
        ("", "B", "DCBA", "A"),  # no row tells that A came before
        ("", "B", "AbCD", "ACD"),  # the point has gone, and nothing else is known
        ("A", "C", "ABCD", "D"),  # the newest send has no row
        ("AC", "B", "ABCD", "D"),  # without a row it is newer than the rows that were sent
        ("AB", "A", "ABCD", "CD"),  # with one, the rows tell
        ("AB", "B", "ABCD", "CD"),
    ],
)
def test_current_step_id_counts_as_received(
    received: str, current: str, order: str, to_come: str
) -> None:
    built = world(order, received)
    built.rows["enrollments"][0]["current_step_id"] = step_id(current)
    assert still_to_come(built) == to_come
    assert state(built).received_any[0]


def test_a_current_step_without_a_row_stands_before_what_is_in_flight() -> None:
    built = world("ABCD", "C", "c")
    built.rows["enrollments"][0]["current_step_id"] = step_id("B")
    assert still_to_come(built) == "D"


def test_last_sent_day_alone_makes_the_next_email_a_follow_up() -> None:
    # Something was sent on Friday, day -3, nobody knows which step: all steps are to come. The
    # first of them waits a day (until Monday) and, being a follow-up, needs no start of the day.
    built = World().sequence(waits=(1, 1), max_new_per_day=0).mailbox()
    built.enroll(1, last_sent_day=day(-3))
    assert state(built).previous_day[0] == SINCE_1970 - 3
    # The oracle reads such a row otherwise, so it is not asked here.
    assert days_of(sendplan.solve(built.problem())) == {1: [0, 1]}


@pytest.mark.parametrize(
    ("last_sent", "wait", "first"),
    [
        (-3, 1, 0),  # Friday + 1: Saturday, moved to Monday
        (-3, 5, 2),
        (-10, 1, 0),  # long ready: not before the first usable day
        (0, 0, 0),
    ],
)
def test_the_wait_runs_from_last_sent_day_where_there_are_no_rows(
    last_sent: int, wait: int, first: int
) -> None:
    built = World().sequence(waits=(0, wait)).mailbox()
    built.enroll(1, current_step_id=11, last_sent_day=day(last_sent))
    plan = built.plan(one_a_day=False)
    assert days_of(plan) == {1: [first]}
    assert plan.cost == 0


def test_sent_without_any_day_is_ready_from_the_start() -> None:
    # enrolled_at is all that is left to count from: Friday and one day, moved to Monday.
    plan = World().sequence().mailbox().enroll(1, current_step_id=11).plan()
    assert days_of(plan) == {1: [0]}


# ---------------------------------------------------------------- rows in flight and the like


@pytest.mark.parametrize("status", ["claimed", "sending"])
def test_the_chain_goes_on_behind_an_email_in_flight(status: str) -> None:
    # B is on its way today (Monday) from mailbox 6; C waits a day from B's send_day.
    built = World().sequence(waits=(0, 1, 1, 1)).mailbox().mailbox(6)
    built.enroll(1).email(1, 11, "sent", -3)
    built.email(1, 12, status, 0, "05:59", mailbox_id=6)
    assert slots(built.plan()) == [
        (1, 13, 6, 1, "09:00:00"),
        (1, 14, 6, 2, "09:00:00"),
    ]


def test_a_wait_behind_a_late_email_in_flight_runs_from_its_send_day() -> None:
    # Claimed for Friday (day -3) and not sent yet: C is ready on Saturday, so on Monday.
    built = World().sequence(waits=(0, 1)).mailbox().enroll(1).email(1, 11, "claimed", -3)
    found = state(built)
    assert found.previous_day[0] == SINCE_1970 - 3
    plan = built.plan()
    assert days_of(plan) == {1: [0]}
    assert plan.cost == 0


def test_the_next_email_leaves_after_the_one_in_flight() -> None:
    # Wait 0, both may leave today: A is claimed for 12:00, B leaves behind it. (The oracle knows
    # no such early claims.)
    built = World().sequence(waits=(0, 0)).mailbox().enroll(1).email(1, 11, "claimed", 0, "12:00")
    plan = sendplan.solve(built.problem(), one_a_day=False)
    ((_, step, _, number, clock),) = slots(plan)
    assert (step, number) == (12, 0)
    assert clock >= "12:00:00"


def test_everything_behind_an_uncertain_email_is_blocked() -> None:
    built = world("ABCD", "AB", "u")
    assert state(built).uncertain[0]
    plan = built.plan()
    assert slots(plan) == []
    assert without_slot(plan) == [(1, 13, "behind_uncertain"), (1, 14, "behind_uncertain")]
    assert (plan.cost, plan.blocked, plan.late_follow_ups) == (0, 2, 0)


def test_nothing_is_planned_or_missing_behind_a_failed_email() -> None:
    built = world("ABCD", "AB", "f")
    assert state(built).failed[0]
    plan = built.plan()
    assert (len(plan.sends), len(plan.unplaced), plan.cost, plan.status) == (0, 0, 0, "empty")


def test_cancelled_and_pending_rows_are_no_history() -> None:
    built = world("ABCD")
    built.email(1, 11, "cancelled", -3).email(1, 12, "pending", -3)
    assert still_to_come(built) == "ABCD"
    assert not state(built).received_any[0]


@pytest.mark.parametrize(
    ("columns", "rows", "sender"),
    [
        ({}, [], None),
        ({"mailbox_id": 6}, [], 6),
        ({}, [("sent", -4, 5), ("sent", -3, 6)], 6),  # the newest
        ({"mailbox_id": 7}, [("sent", -3, 6)], 7),  # dispatching wrote it, with a success
        ({}, [("sent", -4, 5), ("claimed", 0, 6)], 6),
    ],
)
def test_the_threads_sender(
    columns: dict[str, Any], rows: list[tuple[str, int, int]], sender: int | None
) -> None:
    built = World().sequence(waits=(0, 1, 1)).mailbox().mailbox(6).mailbox(7).enroll(1, **columns)
    for step, (status, number, mailbox) in enumerate(rows, start=11):
        built.email(1, step, status, number, mailbox_id=mailbox)
    found = state(built).mailbox_id[0]
    assert found == (NULL if sender is None else sender)


def test_rows_as_plain_sql_inserts_them() -> None:
    # No send_day, no send_at: the day is that of sent_at, in the contact's zone, where 20:00 UTC
    # on Sunday is Monday; B waits a day from there.
    built = World().sequence().mailbox().enroll(1, contact_timezone="Asia/Tokyo")
    built.email(1, 11, "sent", -1, "20:00", send_day=None, send_at=None, plan_run_id=None)
    found = state(built)
    assert found.rows["day"].tolist() == [SINCE_1970]
    assert found.previous_day[0] == SINCE_1970


def test_only_the_first_email_of_an_enrollment_counts_as_a_start() -> None:
    # Enrollment 2's first email was sent before any row tells (its current step has none).
    built = World().sequence(waits=(0, 1, 1)).mailbox().enroll(1)
    built.enroll(2, current_step_id=12, last_sent_day=day(-4))
    built.email(1, 11, "sent", -4).email(1, 12, "sent", -3).email(2, 13, "claimed", 0)
    rows = state(built).rows
    first = dict(
        zip(zip(rows["enrollment_id"], rows["step_id"], strict=True), rows["first"], strict=True)
    )
    assert first == {(1, 11): True, (1, 12): False, (2, 13): False}


def test_nobody_and_nothing() -> None:
    nobody = World().sequence().mailbox()
    assert state(nobody).remaining.dtype == np.int64
    assert len(state(nobody).remaining) == 0
    stepless = World().sequence(waits=()).mailbox().enroll(1)
    assert state(stepless).remaining.tolist() == [0]
    assert stepless.plan().status == "empty"
