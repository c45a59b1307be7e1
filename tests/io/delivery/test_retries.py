"""Emails that were not accepted now: when they are tried again, and when no more."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.io.delivery.retries import free_moment, retry_at
from sendplan.io.delivery.transitions import begin, postpone
from sendplan.tests.worlds.databases.due_emails import LEASE, Claiming, claim, email, emails_of, put
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:00")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    return module_engine


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 30), (2, 60), (3, 120), (4, 240)])
def test_the_wait_doubles_from_half_an_hour(attempts: int, minutes: int) -> None:
    assert retry_at(NOW, attempts) == NOW + minutes * MINUTE


@pytest.mark.parametrize(
    ("gap", "taken", "free"),
    [
        # No other; none near; one at that very moment, one before, one behind.
        (5, [], 0),
        (5, [-5, 5], 0),
        (5, [0], 5),
        (5, [-1], 4),
        (5, [3], 8),
        # The gaps between the others are too small, up to the one from 20 to 30.
        (5, [2, 8, 14, 20, 30], 25),
        (5, [30, 14, 2, 20, 8], 25),
        # The end lies at 60, and is no part of it.
        (5, [*range(0, 56, 5)], None),
        (5, [*range(0, 54, 5)], 55),
        (0, [0, 0], 0),
    ],
    ids=str,
)
def test_a_retry_keeps_its_distance(gap: int, taken: list[int], free: int | None) -> None:
    found = free_moment(
        NOW, NOW + 60 * MINUTE, gap * MINUTE, [NOW + minutes * MINUTE for minutes in taken]
    )
    assert found == (None if free is None else NOW + free * MINUTE)


def test_a_retry_is_in_whole_seconds_and_not_before() -> None:
    half = timedelta(milliseconds=500)
    found = free_moment(NOW + half, NOW + MINUTE, MINUTE * 0, [])
    assert found == NOW + timedelta(seconds=1)


# ---------------------------------------------------------------- in the tables


def world(clock: str = "09:00", **mailbox: Any) -> World:
    """Make a thread whose first email is due on Tuesday; the window ends at 17:00."""
    made = World(NOW).sequence(waits=(0, 1)).mailbox(5, **mailbox).enroll(1, contact_id=31)
    return made.email(1, 11, "pending", 1, clock, id=1)


def not_accepted(engine: Engine, moment: datetime, after: timedelta = MINUTE) -> None:
    with Claiming(engine) as claiming:
        (claimed,) = claiming.claim(moment)
        with claiming.writing() as cursor:
            assert begin(cursor, [claimed], LEASE) == {1}
            assert postpone(cursor, claimed, "DATA: 451 later", moment + after)


def queued(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT kind, sequence_id FROM change_requests")


def test_an_email_is_tried_again_on_the_same_day_from_the_same_mailbox(engine: Engine) -> None:
    put(engine, world())
    not_accepted(engine, NOW)
    again = at(1, "09:31")
    columns = "status, send_at, retry_at, last_error, attempts, plan_run_id, mailbox_id"
    assert email(engine, columns) == (
        "pending", again, again, "DATA: 451 later", 1, 1, 5,
    )  # fmt: skip
    assert email(engine, "claim_token, claimed_by, lease_until") == (None, None, None)
    assert queued(engine) == []
    assert claim(engine, again - timedelta(seconds=1)) == []
    (found,) = claim(engine, again)
    assert found.attempts == 2


def test_each_further_attempt_waits_twice_as_long_and_the_fifth_is_the_last(
    engine: Engine,
) -> None:
    put(engine, world().enroll(2).email(2, 11, "pending", 3, id=2))
    moment = NOW
    for minutes in (30, 60, 120, 240):
        not_accepted(engine, moment, after=0 * MINUTE)
        moment += minutes * MINUTE
        # At 16:30 for the last time: half an hour before the window ends.
        assert email(engine, "status, send_at") == ("pending", moment)
    not_accepted(engine, moment)
    assert email(engine, "status, attempts, last_error") == ("failed", 5, "DATA: 451 later")
    ended = rows(engine, "SELECT status, stop_reason FROM enrollments ORDER BY id")
    assert ended == [("failed", "not accepted"), ("active", None)]


def test_beyond_the_window_the_planner_finds_another_day(engine: Engine) -> None:
    put(engine, world("16:35"))
    # 16:36 and half an hour is past 17:00.
    not_accepted(engine, at(1, "16:35"))
    # Its slot is none any more, and stands only for where it was.
    assert email(engine, "status, plan_run_id, retry_at") == ("pending", None, at(1, "17:06"))
    assert queued(engine) == [("overdue", 1)]
    assert claim(engine, at(1, "16:40")) == []


def test_at_the_very_end_of_the_window_it_is_too_late(engine: Engine) -> None:
    put(engine, world("16:29"))
    not_accepted(engine, at(1, "16:29"))
    assert email(engine, "plan_run_id") == (None,)
    put(engine, world("16:29"))
    not_accepted(engine, at(1, "16:29"), after=timedelta(seconds=59))
    assert email(engine, "plan_run_id, send_at") == (1, at(1, "16:59:59"))


def test_a_retry_keeps_its_distance_to_what_is_planned(engine: Engine) -> None:
    # Ready at 9:31; others at 9:30, 9:40 and 9:45, ten minutes between two at least. 9:40 is taken
    # until 9:50, and 9:45 until 9:55.
    made = world(min_gap_seconds=600)
    for key, clock in ((2, "09:30"), (3, "09:40"), (4, "09:45")):
        made.enroll(key, contact_id=key).email(key, 11, "pending", 1, clock, id=key)
    # Another mailbox's does not count.
    made.mailbox(6).enroll(9).email(9, 11, "pending", 1, "09:55", id=9, mailbox_id=6)
    put(engine, made)
    not_accepted(engine, NOW)
    assert email(engine, "send_at, plan_run_id") == (at(1, "09:55"), 1)


def test_where_no_distance_can_be_kept_the_planner_finds_another_day(engine: Engine) -> None:
    # Every half hour one, and half an hour between two at least; the last one after the window.
    made = world(min_gap_seconds=1800)
    for key in range(2, 20):
        clock = f"{9 + key // 2:02}:{30 * (key % 2):02}"
        made.enroll(key, contact_id=key).email(key, 11, "pending", 1, clock, id=key)
    put(engine, made)
    not_accepted(engine, NOW)
    assert email(engine, "send_at, plan_run_id") == (NOW, None)
    assert queued(engine) == [("overdue", 1)]


def test_without_a_gap_other_emails_do_not_count(engine: Engine) -> None:
    made = world().enroll(2, contact_id=2).email(2, 11, "pending", 1, "09:31", id=2)
    put(engine, made)
    not_accepted(engine, NOW)
    assert email(engine, "send_at") == (at(1, "09:31"),)
    assert sorted(emails_of(claim(engine, at(1, "09:31")))) == [1, 2]


def test_a_lost_claim_postpones_nothing(engine: Engine) -> None:
    put(engine, world())
    with Claiming(engine) as claiming:
        (claimed,) = claiming.claim(NOW)
        run_sql(engine, "UPDATE scheduled_emails SET claim_token = gen_random_uuid()")
        with claiming.writing() as cursor:
            assert not postpone(cursor, claimed, "late", at(1, "16:50"))
    assert email(engine, "status, last_error") == ("claimed", None)
    assert queued(engine) == []
