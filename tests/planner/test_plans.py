"""Plans of tiny problems, each worked out by hand from the calendar and the hard rules.

Unless a test says otherwise there is one sequence (1) of two steps (11, 12; wait 1 day) and one
mailbox (5) of 10 emails a day; see `worlds`. `World.plan` has every plan judged by the oracle, too.
"""

from datetime import UTC, datetime, time
from functools import cache
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.planner.plan.checker import violations
from sendplan.planner.schema.errors import MethodError
from sendplan.tests.worlds.problems.methods import METHODS
from sendplan.tests.worlds.problems.tiny import (
    LEFT_OUT,
    World,
    a_day,
    at,
    day,
    days_of,
    sends_of,
    slots,
    times_of,
    without_slot,
)


@pytest.fixture(params=METHODS, scope="session")
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def one_step(**more: Any) -> World:
    return World().sequence(waits=(0,), **more)


# ---------------------------------------------------------------- capacity


@pytest.mark.parametrize(
    ("capacity", "days", "cost"),
    [
        # The second 45 start a day late, with both emails (90); the last 10 two days (40).
        (100, {0: 45, 1: 90, 2: 55, 3: 10}, 130),
        # On day 1 the 45 follow-ups leave room for 35 starts, a day late (70); the last 20 start
        # on day 2, two days late (80).
        (80, {0: 45, 1: 80, 2: 55, 3: 20}, 150),
    ],
)
def test_the_worked_example(method: str, capacity: int, days: dict[int, int], cost: float) -> None:
    # Of notes/peers.md: 100 contacts, at most 45 new a day. No follow-up has to slip.
    world = World().sequence(max_new_per_day=45).mailbox(capacity=capacity)
    plan = world.enroll(*range(1, 101)).plan(method)
    assert a_day(plan) == days
    assert (plan.cost, plan.late_follow_ups, plan.slip_days) == (cost, 0, 0)
    assert plan.finish_day == day(3)


def test_capacity_goes_to_older_enrolments_then_lower_ids(method: str) -> None:
    world = one_step().mailbox(capacity=2).enroll(3, 2)
    plan = world.enroll(4, enrolled_at=at(-4, "10:00")).plan(method)
    assert days_of(plan) == {2: [0], 3: [1], 4: [0]}
    assert plan.cost == 1


def test_a_ramp_lowers_the_capacity(method: str) -> None:
    # From Tuesday: at most 1 on Monday (0 days) and Tuesday, 2 on Wednesday, then the cap of 2.
    world = one_step().mailbox(capacity=2, ramp_start=1, ramp_increment=1, ramp_from=day(1))
    plan = world.enroll(*range(1, 8)).plan(method)
    assert a_day(plan) == {0: 1, 1: 1, 2: 2, 3: 2, 4: 1}


def test_half_a_ramp_is_none(method: str) -> None:
    world = one_step().mailbox(capacity=3, ramp_start=None, ramp_increment=1, ramp_from=day(1))
    assert a_day(world.enroll(1, 2, 3).plan(method)) == {0: 3}


def test_what_is_used_is_gone(method: str) -> None:
    # Three a day: 2 used on Monday, 4 (more than all) on Tuesday, 1 and 1 on Wednesday.
    world = one_step().mailbox(capacity=3).enroll(*range(1, 6))
    world.use(5, 0, 2).use(5, 1, 4).use(5, 2, 1).use(5, 2, 1)
    assert a_day(world.plan(method)) == {0: 1, 2: 1, 3: 3}


def test_emails_that_left_or_are_leaving_count(method: str) -> None:
    # Four of the statuses use up a place of mailbox 5's five; three do not.
    world = one_step().mailbox(capacity=5)
    counted = ("sent", "claimed", "sending", "uncertain")
    others = ("failed", "pending", "cancelled")
    for key, status in enumerate(counted + others, start=1):
        world.enroll(key, status="stopped").email(key, 11, status, 0, "05:00")
    plan = world.enroll(11, 12).plan(method)
    assert days_of(plan) == {11: [0], 12: [1]}


def test_capacity_is_counted_by_send_day(method: str) -> None:
    # An email of Friday's send_day that is leaving now uses Friday's capacity, not today's.
    world = one_step().mailbox(capacity=1).enroll(1, status="stopped")
    world.email(1, 11, "sent", -3, sent_at=at(0, "05:00"))
    assert days_of(world.enroll(2).plan(method)) == {2: [0]}


# ---------------------------------------------------------------- looking ahead


def test_no_more_start_than_can_be_followed_up(method: str) -> None:
    # Tuesday has one place. Starting both on Monday (2 places) makes a follow-up slip: 1 + 20.
    # Starting the second on Wednesday costs 2 days for each of its emails: 4.
    world = World().sequence().mailbox(capacity=2).use(5, 1, 1).enroll(1, 2)
    plan = world.plan(method)
    assert days_of(plan) == {1: [0, 1], 2: [2, 3]}
    assert (plan.cost, plan.late_follow_ups) == (4, 0)


def test_follow_ups_that_a_weekend_brings_together(method: str) -> None:
    # Starts of Wednesday, Thursday and Friday all meet on Monday (wait 3, moved past Sunday),
    # which has room for two. Started on Thursday, contacts 3 and 4 would cost 1 + 1 + 20 each;
    # on Tuesday 8 (ideal 2) with the follow-up on Friday 11 (ideal 7) they cost 6 + 4 each.
    world = World(at(2, "06:00")).sequence(waits=(0, 3)).mailbox(capacity=2)
    plan = world.enroll(1, 2, 3, 4).plan(method)
    assert days_of(plan) == {1: [2, 7], 2: [2, 7], 3: [8, 11], 4: [8, 11]}
    assert (plan.cost, plan.late_follow_ups) == (20, 0)


def test_a_slip_moves_the_rest_of_the_chain(method: str) -> None:
    # Step 12 was ready on Monday, which is full: a day late, a day of slip. Step 13 is ready a
    # day after it, on Wednesday, and leaves then: late against the ideal Tuesday, no slip.
    world = World().sequence(waits=(0, 1, 1)).mailbox().enroll(1)
    world.email(1, 11, "sent", -3).use(5, 0, 10)
    plan = world.plan(method)
    assert days_of(plan) == {1: [1, 2]}
    assert (plan.cost, plan.late_follow_ups, plan.slip_days) == (1 + 20 + 1, 1, 1)
    assert world.plan(method, slip_weight=3).cost == 1 + 3 + 1
    assert world.plan(method, slip_weight=0).cost == 2


def test_delay_before_today_counts_neither_as_slip_nor_as_lateness(method: str) -> None:
    world = World().sequence().mailbox().enroll(1).email(1, 11, "sent", -20)
    world.enroll(2, enrolled_at=at(-40, "10:00"))
    plan = world.plan(method)
    assert days_of(plan) == {1: [0], 2: [0, 1]}
    assert plan.cost == 0


def test_follow_ups_go_before_first_emails(method: str) -> None:
    # One place a day: the follow-up would cost 1 + 20 a day, the first email 2 (two emails).
    world = World().sequence().mailbox(capacity=1)
    world.enroll(1, enrolled_at=at(-30, "10:00")).enroll(2).email(2, 11, "sent", -3)
    plan = world.plan(method)
    assert days_of(plan) == {1: [1, 2], 2: [0]}
    assert plan.cost == 2


def test_priorities_go_first_and_weigh_the_cost(method: str) -> None:
    # One place a day; the older enrolment is of the sequence that matters less.
    world = one_step(priority=0.5).sequence(2, waits=(0,), priority=4)
    world.mailbox(capacity=1, sequences=(1, 2)).enroll(1, enrolled_at=at(-9, "10:00"))
    plan = world.enroll(2, sequence=2).plan(method)
    assert days_of(plan) == {1: [1], 2: [0]}
    assert plan.cost == 0.5


def test_of_two_follow_ups_the_dearer_goes_first(method: str) -> None:
    # One place a day. A day of delay costs contact 1 a slip and three times lateness (20 + 3),
    # contact 2, of twice the priority, 2 × (20 + 1).
    world = World().sequence(waits=(0, 1, 1, 1)).sequence(2, priority=2)
    world.mailbox(capacity=1, sequences=(1, 2)).enroll(1).enroll(2, sequence=2)
    plan = world.email(1, 11, "sent", -3).email(2, 21, "sent", -3).plan(method)
    assert days_of(plan) == {1: [1, 2, 3], 2: [0]}
    assert plan.cost == 23


# ---------------------------------------------------------------- mailboxes and threads


def test_a_thread_keeps_its_mailbox(method: str) -> None:
    # Mailbox 6 is full on Monday: its thread waits, and blocks no other.
    world = World().sequence().mailbox().mailbox(6, 2).use(6, 0, 2).enroll(1, 2)
    world.email(1, 11, "sent", -3, mailbox_id=6)
    plan = world.plan(method)
    assert [(s[0], s[2], s[3]) for s in slots(plan)] == [(1, 6, 1), (2, 5, 0), (2, 5, 1)]


def test_a_new_thread_stays_with_one_mailbox(method: str) -> None:
    # Two mailboxes of one email a day; each contact's two emails leave from one of them.
    world = World().sequence().mailbox(5, 1).mailbox(6, 1).enroll(1, 2)
    plan = world.plan(method)
    assert a_day(plan) == {0: 2, 1: 2}
    assert plan.sends.groupby("enrollment_id")["mailbox_id"].nunique().tolist() == [1, 1]


@pytest.mark.parametrize("how", ["removed", "unlinked"])
def test_a_thread_whose_mailbox_has_gone_moves_to_one_other(method: str, how: str) -> None:
    world = World().sequence(waits=(0, 1, 1)).mailbox().mailbox(6, 1).mailbox(7, 1)
    if how == "removed":
        world.rows["mailboxes"][0]["status"] = "removed"
    else:
        del world.rows["sequence_mailboxes"][0]
    # 6 is full on Tuesday, 7 on Monday: the two emails go from one of them all the same.
    world.use(6, 1, 1).use(7, 0, 1)
    plan = world.enroll(1).email(1, 11, "sent", -3).plan(method)
    assert len(plan.sends) == 2
    assert set(plan.sends["mailbox_id"]) in ({6}, {7})


def test_a_paused_mailbox_keeps_its_threads_waiting(method: str) -> None:
    world = World().sequence(waits=(0, 1, 1)).mailbox(status="paused").mailbox(6)
    plan = world.enroll(1, 2).email(1, 11, "sent", -3).plan(method)
    assert without_slot(plan) == [(1, 12, "mailbox_paused"), (1, 13, "mailbox_paused")]
    # Who has no thread yet takes the other one. Blocked emails cost nothing and are late for
    # nothing; the horizon ends with the last email that could be placed.
    assert [(s[0], s[2], s[3]) for s in slots(plan)] == [(2, 6, 0), (2, 6, 1), (2, 6, 2)]
    assert (plan.cost, plan.blocked, plan.late_follow_ups) == (0, 2, 0)
    assert plan.horizon_end == day(2)


@pytest.mark.parametrize("status", ["paused", "removed", None])
def test_without_an_active_mailbox_everything_is_blocked(method: str, status: str | None) -> None:
    world = World().sequence().enroll(1)
    if status:
        world.mailbox(status=status)
    plan = world.plan(method)
    assert without_slot(plan) == [(1, 11, "no_active_mailbox"), (1, 12, "no_active_mailbox")]
    assert (plan.cost, plan.blocked, len(plan.sends)) == (0, 2, 0)


@pytest.mark.parametrize(
    "built",
    [
        one_step().mailbox().enroll(1, status="stopped"),
        one_step().mailbox().enroll(1, status="completed"),
        one_step().mailbox().enroll(1, status="failed"),
        one_step().mailbox().enroll(1, suppressed_at=at(-1, "09:00")),
        one_step(status="paused").mailbox().enroll(1),
        one_step().mailbox().enroll(1).email(1, 11, "sent", -3),
        one_step().mailbox(),
        World(),
    ],
    ids=["stopped", "completed", "failed", "suppressed", "paused", "received", "nobody", "empty"],
)
def test_nothing_to_plan(method: str, built: World) -> None:
    plan = built.plan(method)
    assert (len(plan.sends), len(plan.unplaced), plan.cost, plan.moved) == (0, 0, 0, 0)
    assert (plan.status, plan.finish_day, plan.blocked) == ("empty", None, 0)
    assert plan.sends.columns.tolist() == [
        "enrollment_id",
        "step_id",
        "position",
        "mailbox_id",
        "send_day",
        "send_at",
    ]
    assert str(plan.summary())


# ---------------------------------------------------------------- contacts


def two_sequences() -> World:
    world = one_step().sequence(2, waits=(0,)).mailbox(sequences=(1, 2))
    return world.enroll(1, contact_id=7)


def test_a_contact_gets_one_email_a_day_over_all_sequences(method: str) -> None:
    world = two_sequences().enroll(2, sequence=2, contact_id=7)
    plan = world.plan(method)
    assert sorted(days_of(plan).values()) == [[0], [1]]
    # Ready days stay as they are: the day that it costs counts.
    assert plan.cost == 1
    assert days_of(world.plan(method, one_a_day=False)) == {1: [0], 2: [0]}


def test_contacts_of_a_cohort_change_places_rather_than_wait(method: str) -> None:
    # Contact 7 sits in both sequences, each of which starts one contact on Monday and one on
    # Tuesday. First in, first out would give it both Mondays; with places changed, neither waits
    # until Wednesday: 2 emails a day late.
    world = World().sequence(waits=(0,)).sequence(2, waits=(0,)).mailbox(5, 1).mailbox(6, 1, (2,))
    world.enroll(1, contact_id=7).enroll(2, contact_id=8)
    plan = (
        world.enroll(3, sequence=2, contact_id=7).enroll(4, sequence=2, contact_id=9).plan(method)
    )
    assert sorted(days_of(plan)[1] + days_of(plan)[3]) == [0, 1]
    assert plan.cost == 2


def test_without_contact_id_each_enrollment_is_its_own_contact(method: str) -> None:
    world = two_sequences().enroll(2, sequence=2)
    assert days_of(world.plan(method)) == {1: [0], 2: [0]}


@pytest.mark.parametrize("status", ["sent", "claimed", "sending", "uncertain"])
@pytest.mark.parametrize("other", ["active", "stopped"])
def test_emails_of_the_contacts_other_enrollments_use_the_day(
    method: str, status: str, other: str
) -> None:
    world = two_sequences().enroll(2, sequence=2, contact_id=7, status=other)
    world.email(2, 21, status, 0, "05:00")
    plan = world.plan(method)
    assert days_of(plan) == {1: [1]}
    assert plan.cost == 1


@pytest.mark.parametrize("status", ["failed", "cancelled", "pending"])
def test_emails_that_did_not_leave_do_not_use_the_day(method: str, status: str) -> None:
    world = two_sequences().enroll(2, sequence=2, contact_id=7, status="stopped")
    assert days_of(world.email(2, 21, status, 0, "05:00").plan(method)) == {1: [0]}


def test_a_follow_up_without_wait_goes_the_next_day(method: str) -> None:
    # It is ready on Monday: a day late, a day of slip.
    world = World().sequence(waits=(0, 0)).mailbox().enroll(1)
    plan = world.plan(method)
    assert days_of(plan) == {1: [0, 1]}
    assert (plan.cost, plan.late_follow_ups) == (21, 1)


def test_two_emails_on_one_day_keep_the_order_of_steps(method: str) -> None:
    # Allowed to: six emails on Monday, every 80 minutes, no contact's steps the wrong way round.
    world = World().sequence(waits=(0, 0)).mailbox().enroll(1, 2, 3)
    plan = world.plan(method, one_a_day=False)
    assert plan.cost == 0
    assert times_of(plan) == [
        "09:00:00",
        "10:20:00",
        "11:40:00",
        "13:00:00",
        "14:20:00",
        "15:40:00",
    ]
    for _, emails in plan.sends.groupby("enrollment_id"):
        assert emails.sort_values("send_at")["step_id"].tolist() == [11, 12]


def test_room_for_one_of_two_emails_of_a_day(method: str) -> None:
    # Three places a day for two contacts with two emails each: the fourth email is left for
    # Tuesday, a follow-up (21), or contact 2 starts on Tuesday with both (2).
    world = World().sequence(waits=(0, 0)).mailbox(capacity=3).enroll(1, 2)
    plan = world.plan(method, one_a_day=False)
    assert days_of(plan) == {1: [0, 0], 2: [1, 1]}
    assert plan.cost == 2


# ---------------------------------------------------------------- starts


def test_first_emails_of_today_count_as_starts(method: str) -> None:
    # Four starts a day. Today: one sent, one claimed, one uncertain; yesterday's one and today's
    # follow-up do not count. One start is left.
    world = World().sequence(max_new_per_day=4).mailbox().enroll(*range(1, 9))
    world.email(1, 11, "sent", 0, "05:00").email(2, 11, "claimed", 0, "05:30")
    world.email(3, 11, "uncertain", 0, "05:30")
    world.email(4, 11, "sent", -3).email(4, 12, "sent", 0, "05:30")
    plan = world.plan(method)
    starts = plan.sends.query("step_id == 11")["send_day"].dt.date.value_counts().to_dict()
    assert starts == {day(0): 1, day(1): 3}


def test_no_start_at_all(method: str) -> None:
    # Nothing to start with; a follow-up goes on.
    world = World().sequence(max_new_per_day=0).mailbox().enroll(1, 2).email(2, 11, "sent", -3)
    plan = world.plan(method)
    assert days_of(plan) == {2: [0]}
    assert without_slot(plan) == [(1, 11, "no_new_contacts"), (1, 12, "no_new_contacts")]
    assert (plan.blocked, plan.cost) == (2, 0)


def test_who_may_not_start_costs_nothing(method: str) -> None:
    # Ten contacts of one sequence get an email a day: 0 + 1 + … + 9 = 45 days of lateness, weekends
    # (day 0 is a Monday) add 2 to each of the last five: 45 + 10. The other may not start at all.
    world = World().sequence(1, (0,)).sequence(2, (0,), max_new_per_day=0).mailbox(5, 1, (1, 2))
    plan = world.enroll(*range(1, 11)).enroll(11, sequence=2).plan(method)
    assert (plan.cost, plan.lower_bound, plan.blocked) == (55, 55, 1)
    assert (plan.late_follow_ups, plan.horizon_end) == (0, day(11))


@pytest.mark.parametrize("horizon_days", [None, 5])
def test_mailboxes_that_never_send_block_who_can_use_no_other(
    method: str, horizon_days: int | None
) -> None:
    # The thread of 1 is bound to the mailbox without capacity; 2 takes the other one; sequence 2
    # has none but the one that begins only after the year.
    world = World().sequence(1, (0, 1)).sequence(2, (0,)).mailbox(5, 0, (1,)).mailbox(6, 9, (1,))
    world.mailbox(7, 9, (2,), ramp_start=0, ramp_increment=1, ramp_from=day(366))
    world.enroll(1, 2).enroll(3, sequence=2).email(1, 11, "sent", -3)
    plan = world.plan(method, horizon_days=horizon_days)
    assert days_of(plan) == {2: [0, 1]}
    assert without_slot(plan) == [(1, 12, "no_capacity"), (3, 21, "no_capacity")]
    assert (plan.cost, plan.blocked) == (0, 2)


def test_waits_beyond_the_year_block_what_is_behind_them(method: str) -> None:
    # Ready on days 0, 366, and then beyond: what has a ready day within the horizon is sent.
    world = World().sequence(1, (0, 366, 1, 0), send_days=(1, 2, 3, 4, 5, 6, 7)).mailbox()
    plan = world.enroll(1).plan(method)
    assert days_of(plan) == {1: [0, 366]}
    assert without_slot(plan) == [(1, 13, "beyond_horizon"), (1, 14, "beyond_horizon")]
    assert (plan.cost, plan.blocked, plan.horizon_end) == (0, 2, day(366))


@pytest.mark.parametrize(
    ("retry_at", "days", "first"),
    [("10:30:00.5", [0, 1], "10:30:01"), ("16:59:59.5", [1, 2], "09:00:00")],
)
def test_no_slot_lies_before_a_retry_time(
    method: str, retry_at: str, days: list[int], first: str
) -> None:
    # Not accepted, and tried again no earlier than half past ten; or within the window's last half
    # second, which has no whole second left. The existing slot, at nine, does not stay.
    world = World().sequence().mailbox().enroll(1)
    problem = world.email(1, 11, "pending", 0, "09:00", retry_at=at(0, retry_at)).problem()
    plan = sendplan.solve(problem, method)
    assert (days_of(plan), times_of(plan, days[0])) == ({1: days}, [first])
    assert violations(problem, plan.sends).empty
    assert violations(problem, sends_of([(1, 11, 5, 0, "09:00:00")]))["rule"].tolist() == ["retry"]


def test_a_wait_beyond_the_year_blocks_a_whole_chain(method: str) -> None:
    world = World().sequence(1, (0, 400, 1)).mailbox().enroll(1).email(1, 11, "sent", -3)
    plan = world.plan(method)
    assert without_slot(plan) == [(1, 12, "beyond_horizon"), (1, 13, "beyond_horizon")]
    assert plan.sends.empty


def test_starts_are_limited_by_sequence(method: str) -> None:
    world = one_step(max_new_per_day=1).sequence(2, waits=(0,), max_new_per_day=2)
    world.mailbox(sequences=(1, 2)).enroll(1, 2).enroll(3, 4, 6, sequence=2)
    assert days_of(world.plan(method)) == {1: [0], 2: [1], 3: [0], 4: [0], 6: [1]}


# ---------------------------------------------------------------- minutes


def test_thirty_emails_go_every_sixteen_minutes(method: str) -> None:
    plan = one_step().mailbox(capacity=30).enroll(*range(1, 31)).plan(method)
    minutes = [9 * 60 + 16 * number for number in range(30)]
    assert times_of(plan) == [f"{m // 60:02}:{m % 60:02}:00" for m in minutes]
    assert [s[0] for s in sorted(slots(plan), key=lambda slot: slot[4])] == list(range(1, 31))


def test_times_are_rounded_down_to_seconds(method: str) -> None:
    # 28,800 s / 7 = 4114.28 …: 1:08:34.3, 2:17:08.6, 3:25:42.9, 4:34:17.1, 5:42:51.4, 6:51:25.7.
    plan = one_step().mailbox().enroll(*range(1, 8)).plan(method)
    assert times_of(plan) == [
        "09:00:00",
        "10:08:34",
        "11:17:08",
        "12:25:42",
        "13:34:17",
        "14:42:51",
        "15:51:25",
    ]


def test_today_the_spread_starts_now(method: str) -> None:
    world = World(at(0, "13:00")).sequence(waits=(0,)).mailbox().enroll(1, 2, 3, 4)
    assert times_of(world.plan(method)) == ["13:00:00", "14:00:00", "15:00:00", "16:00:00"]


def test_nothing_leaves_before_now(method: str) -> None:
    world = World(datetime(2026, 3, 2, 13, 0, 0, 500_000, tzinfo=UTC)).sequence(waits=(0,))
    assert times_of(world.mailbox().enroll(1).plan(method)) == ["13:00:01"]


def test_each_mailbox_spreads_its_own_emails(method: str) -> None:
    world = one_step().mailbox(5, 2).mailbox(6, 2).enroll(1, 2, 3, 4)
    assert times_of(world.plan(method)) == ["09:00:00", "09:00:00", "13:00:00", "13:00:00"]


def test_of_two_windows_the_smallest_gap_is_widest(method: str) -> None:
    # One email from 9:00 to 10:00, two from 9:00 to 17:00. The first at 9:00, the last at
    # 16:59:59, half the 28,799 seconds between them: a gap of 14,399 at the least.
    world = one_step().sequence(2, waits=(0,), end_time=time(10)).mailbox(sequences=(1, 2))
    plan = world.enroll(1, 2).enroll(3, sequence=2).plan(method)
    moments = sorted(plan.sends["send_at"])
    assert min(after - before for before, after in pairwise(moments)) == pd.Timedelta(
        seconds=14_399
    )


def test_windows_of_two_time_zones_that_do_not_overlap(method: str) -> None:
    # Tokyo's 9:00 to 17:00 is midnight to 8:00 UTC, and now is 6:00: one email between 6:00 and
    # 7:59:59, one from 9:00 to 16:59:59. Widest: the first second and the last.
    world = one_step().mailbox().enroll(1).enroll(2, contact_timezone="Asia/Tokyo")
    assert times_of(world.plan(method)) == ["06:00:00", "16:59:59"]


def test_the_minimum_gap_outranks_the_even_spread(method: str) -> None:
    # 9:00 to 12:00 and two hours between emails: two fit on a day, whatever the capacity. The
    # even spread would send them at 9:00 and 10:30.
    world = one_step(end_time=time(12)).mailbox(min_gap_seconds=7200).enroll(1, 2, 3)
    plan = world.plan(method)
    assert a_day(plan) == {0: 2, 1: 1}
    first, second = sorted(plan.sends["send_at"])[:2]
    assert second - first >= pd.Timedelta(hours=2)


def test_an_even_spread_that_keeps_the_minimum_gap_stays(method: str) -> None:
    world = one_step().mailbox(min_gap_seconds=7200).enroll(1, 2, 3, 4)
    assert times_of(world.plan(method)) == ["09:00:00", "11:00:00", "13:00:00", "15:00:00"]


@pytest.mark.parametrize(
    ("sent", "earliest"),
    [("08:30", "09:30:00"), ("08:00", "09:00:00"), ("08:00:00.5", "09:00:01")],
)
def test_the_minimum_gap_holds_against_what_has_left(method: str, sent: str, earliest: str) -> None:
    world = one_step().mailbox(min_gap_seconds=3600)
    world.enroll(1, 2).email(1, 11, "sent", 0, sent)
    world.now = at(0, "08:45")
    (slot,) = slots(world.plan(method))
    assert slot[3] == 0
    assert slot[4] >= earliest


def test_the_minimum_gap_holds_across_send_days(method: str) -> None:
    # Friday's email of Honolulu (9:00 there is 19:00 UTC) and Saturday's of Kiritimati (9:00
    # there is 19:00 UTC on Friday, too) are of two send_days, but two hours apart at the least.
    world = one_step(send_days=[5, 6], end_time=time(12)).mailbox(min_gap_seconds=7200)
    world.now = at(4, "18:00")
    world.enroll(1, contact_timezone="Pacific/Honolulu")
    world.enroll(2, contact_timezone="Pacific/Kiritimati")
    plan = world.plan(method)
    assert [(s[0], s[3]) for s in slots(plan)] == [(1, 4), (2, 5)]
    first, second = sorted(plan.sends["send_at"])
    assert second - first >= pd.Timedelta(hours=2)


def test_order_within_a_window(method: str) -> None:
    # Follow-ups, then older enrolments, then ids: 9:00, 11:00, 13:00, 15:00.
    world = World().sequence(waits=(0, 1)).mailbox().enroll(1, 4)
    world.enroll(2, enrolled_at=at(-4, "10:00")).enroll(3).email(3, 11, "sent", -3)
    plan = world.plan(method)
    today = sorted((clock, key) for key, _, _, number, clock in slots(plan) if number == 0)
    assert [key for _, key in today] == [3, 2, 1, 4]


# ---------------------------------------------------------------- a given horizon


def test_what_a_given_horizon_leaves_out_costs_as_if_it_left_the_day_after(method: str) -> None:
    # H is Monday, one place. The second contact's email counts at Tuesday, a day late.
    world = one_step().mailbox(capacity=1).enroll(1, 2)
    plan = world.plan(method, horizon_days=0)
    assert (days_of(plan), without_slot(plan)) == ({1: [0]}, [(2, 11, "no_room")])
    assert (plan.cost, plan.horizon_end, plan.blocked) == (1 + LEFT_OUT, day(0), 0)


def test_a_follow_up_ready_after_the_horizon_is_late_without_delay(method: str) -> None:
    # Step 12 is ready on Tuesday, H + 1: no lateness, no slip; it counts as late all the same.
    plan = World().sequence().mailbox().enroll(1).plan(method, horizon_days=0)
    assert (days_of(plan), without_slot(plan)) == ({1: [0]}, [(1, 12, "no_room")])
    assert (plan.cost, plan.late_follow_ups, plan.slip_days) == (LEFT_OUT, 1, 0)


def test_a_chain_left_out_whole(method: str) -> None:
    # One place on Monday and Tuesday. Contact 1 gets both. Contact 2's first email stands at
    # Wednesday, 2 days late; its follow-up there, too: ideal Tuesday, 1 day late, ready on
    # Thursday: no slip.
    world = World().sequence().mailbox(capacity=1).enroll(1, 2)
    plan = world.plan(method, horizon_days=1)
    assert days_of(plan) == {1: [0, 1]}
    assert without_slot(plan) == [(2, 11, "no_room"), (2, 12, "behind_unplaced")]
    assert plan.cost == 2 + 1 + 2 * LEFT_OUT


def test_no_email_is_left_out_that_has_room(method: str) -> None:
    # Tuesday has one place, so that looking ahead only one contact would start; but Monday has
    # room for the other, too. Its follow-up is left out: a day late, a day of slip.
    world = World().sequence().mailbox(capacity=2).use(5, 1, 1).enroll(1, 2)
    plan = world.plan(method, horizon_days=1)
    assert a_day(plan) == {0: 2, 1: 1}
    assert plan.unplaced["reason"].tolist() == ["no_room"]
    assert plan.cost == 21 + LEFT_OUT


def test_the_horizon_ends_with_the_last_email_or_where_it_was_asked_to(method: str) -> None:
    world = World().sequence().mailbox().enroll(1)
    assert world.plan(method).horizon_end == day(1)
    plan = world.plan(method, horizon_days=9)
    assert (plan.horizon_end, plan.finish_day) == (day(9), day(1))
    assert (plan.lower_bound, plan.gap, plan.status) == (0.0, 0.0, "optimal")


def test_a_long_horizon_changes_nothing(method: str) -> None:
    world = World().sequence(max_new_per_day=2).mailbox(capacity=3).enroll(*range(1, 8))
    plan = world.plan(method)
    assert_frame_equal(world.plan(method, horizon_days=366).sends, plan.sends)


# ---------------------------------------------------------------- planning again


def swapped(plan_run_id: int | None) -> World:
    # One place a day: contact 2 has Monday, contact 1 Tuesday.
    world = one_step().mailbox(capacity=1).enroll(1, 2)
    for key, number in ((2, 0), (1, 1)):
        world.email(key, 11, "pending", number, plan_run_id=plan_run_id)
    return world


def test_existing_slots_stay_where_that_costs_nothing(method: str) -> None:
    # As good as contact 1 on Monday.
    plan = swapped(plan_run_id=1).plan(method)
    assert days_of(plan) == {1: [1], 2: [0]}
    assert (plan.cost, plan.moved) == (1, 0)


def test_provisional_rows_are_no_existing_slots(method: str) -> None:
    plan = swapped(plan_run_id=None).plan(method)
    assert days_of(plan) == {1: [0], 2: [1]}
    assert (plan.cost, plan.moved) == (1, 0)


def test_existing_slots_that_cost_something_are_given_up(method: str) -> None:
    world = one_step().mailbox(capacity=1).enroll(1, 2)
    world.email(1, 11, "pending", 0).email(2, 11, "pending", 4)
    plan = world.plan(method)
    assert days_of(plan) == {1: [0], 2: [1]}
    assert (plan.cost, plan.moved) == (1, 1)


@pytest.mark.parametrize(("contacts", "moved"), [(10, 1), (12, 0)])
def test_the_greedy_gives_existing_slots_up_for_two_percent_only(
    method: str, contacts: int, moved: int
) -> None:
    # One place a day: at best the contacts wait 0 + 1 + … days, 45 for 10 and 66 for 12. The last
    # has a slot one day later than it need be, which makes 1 of 46 (2.2 %) or 1 of 67 (1.5 %).
    world = World().sequence(waits=(0,), send_days=[1, 2, 3, 4, 5, 6, 7]).mailbox(capacity=1)
    world.enroll(*range(1, contacts + 1), enrolled_at=at(0, "05:00"))
    for key in range(1, contacts):
        world.email(key, 11, "pending", key - 1)
    world.email(contacts, 11, "pending", contacts)
    plan = world.plan(method)
    expected = moved if method == "greedy" else 1
    assert (plan.cost, plan.moved) == (contacts * (contacts - 1) // 2 + 1 - expected, expected)


@pytest.mark.parametrize(
    ("number", "clock", "mailbox"),
    [(-3, "09:00", 5), (0, "05:30", 5), (5, "09:00", 5), (0, "18:00", 5), (0, "09:00", 9)],
    ids=["overdue", "before now", "Saturday", "outside the window", "unlinked mailbox"],
)
def test_existing_slots_that_break_a_rule_are_given_up(
    method: str, number: int, clock: str, mailbox: int
) -> None:
    world = one_step().mailbox().mailbox(9, sequences=()).enroll(1)
    world.email(1, 11, "pending", number, clock, mailbox_id=mailbox)
    assert slots(world.plan(method)) == [(1, 11, 5, 0, "09:00:00")]


def busy_world() -> World:
    """Give two sequences with two mailboxes each, one shared, and 17 contacts, some in both."""
    world = World().sequence(waits=(0, 1, 2), max_new_per_day=4)
    world.sequence(2, waits=(0, 3), priority=2, timezone="America/New_York", end_time=time(12))
    world.mailbox(5, 3).mailbox(6, 4, (1, 2), min_gap_seconds=1200).mailbox(7, 2, (2,))
    for key in range(1, 13):
        world.enroll(key, contact_id=key, enrolled_at=at(-3 - key % 3, "10:00"))
    for key in range(13, 18):
        world.enroll(key, sequence=2, contact_id=key - 8)
    return world.email(1, 11, "sent", -3).email(13, 21, "claimed", 0, "05:59", mailbox_id=7)


BUSY_LIMIT = 1.0
"""Seconds of work: enough to improve the plan of the busy world, too few to prove it best."""


@cache
def busy_plan(method: str) -> sendplan.Plan:
    """Plan the busy world; made once, since it takes a second."""
    return busy_world().plan(method, time_limit=BUSY_LIMIT)


@pytest.mark.slow
def test_planning_again_changes_nothing(method: str) -> None:
    plan = busy_plan(method)
    again = busy_world().stored(plan).plan(method, time_limit=BUSY_LIMIT)
    assert_frame_equal(again.sends, plan.sends)
    assert (again.moved, again.cost) == (0, plan.cost)
    assert plan.diff(again).empty


@pytest.mark.slow
def test_planning_again_later_the_same_day_moves_nothing(method: str) -> None:
    # Everything due until noon has been sent, to the second; the rest of the day stays.
    plan = busy_plan(method)
    world = busy_world().stored(plan)
    world.now = at(0, "12:00")
    for row in world.rows["scheduled_emails"]:
        if row["status"] == "pending" and row["send_at"] < pd.Timestamp(world.now):
            row |= {"status": "sent", "sent_at": row["send_at"]}
    for row in world.rows["scheduled_emails"]:
        if row["status"] == "claimed":
            row |= {"status": "sent", "sent_at": row["send_at"]}
    assert world.plan(method, time_limit=BUSY_LIMIT).moved == 0


def test_the_order_of_mailboxes_means_nothing(method: str) -> None:
    # Two mailboxes alike, one contact: which of them sends does not hang on the rows' order.
    plans = [
        one_step().mailbox(first).mailbox(second).enroll(1).plan(method)
        for first, second in ((5, 6), (6, 5))
    ]
    assert slots(plans[0]) == slots(plans[1])


@pytest.mark.slow
def test_the_order_of_rows_means_nothing(method: str) -> None:
    plan = busy_plan(method)
    frames = busy_world().frames()
    for name in frames.keys() - {"sequence_mailboxes"}:
        frames[name] = frames[name].sample(frac=1, random_state=4)
    problem = sendplan.Problem.from_frames(**frames, now=at(0, "06:00"))
    shuffled = sendplan.solve(problem, method, BUSY_LIMIT)
    assert_frame_equal(shuffled.sends, plan.sends)
    assert_frame_equal(shuffled.delays, plan.delays)


@pytest.mark.slow
def test_the_same_input_gives_the_same_plan(method: str) -> None:
    first, second = busy_plan(method), busy_world().plan(method, time_limit=BUSY_LIMIT)
    assert_frame_equal(first.sends, second.sends)
    assert first.cost == second.cost


# ---------------------------------------------------------------- what a plan tells


def test_the_difference_between_two_plans(method: str) -> None:
    # One place a day. An older enrolment comes in before contact 1 and takes its Monday.
    before = one_step().mailbox(capacity=1).enroll(1).plan(method)
    world = one_step().mailbox(capacity=1).enroll(1).enroll(2, enrolled_at=at(-9, "10:00"))
    after = world.plan(method)
    columns = ["enrollment_id", "step_id", "change"]
    changes = before.diff(after)
    assert changes[columns].to_numpy().tolist() == [[1, 11, "moved"], [2, 11, "added"]]
    assert changes["days_later"].tolist()[0] == 1
    assert changes["mailbox_id_before"].isna().tolist() == [False, True]
    back = after.diff(before)
    assert back[columns].to_numpy().tolist() == [[1, 11, "moved"], [2, 11, "removed"]]
    assert back["days_later"].tolist()[0] == -1
    assert before.diff(before).empty


def test_another_mailbox_is_a_move(method: str) -> None:
    before, after = (one_step().mailbox(key).enroll(1).plan(method) for key in (5, 6))
    (change,) = before.diff(after).to_dict("records")
    assert (change["change"], change["days_later"]) == ("moved", 0)
    assert (change["mailbox_id_before"], change["mailbox_id_after"]) == (5, 6)


def test_another_time_on_the_same_day_is_no_move(method: str) -> None:
    before = one_step().mailbox().enroll(1).plan(method)
    world = one_step().mailbox().enroll(1).enroll(2, enrolled_at=at(-9, "10:00"))
    changes = before.diff(world.plan(method))
    assert changes["change"].tolist() == ["retimed", "added"]
    assert [f"{at:%H:%M}" for at in changes["send_at_after"]] == ["13:00", "09:00"]


def test_the_summary_in_figures(method: str) -> None:
    # Contacts 1 and 2 on Monday and Tuesday; contact 3 two days later (cost 4). Sequence 2 is
    # blocked: its only mailbox is paused.
    world = World().sequence(name="warm").sequence(2, waits=(0,), name="cold")
    world.mailbox(capacity=2, email="a@example.org").mailbox(6, 9, (2,), status="paused")
    plan = world.enroll(1, 2, 3).enroll(4, sequence=2).plan(method)
    summary = plan.summary()
    assert summary.totals | {"method": ""} == {
        "method": "",
        "status": "optimal",
        "horizon_end": day(3),
        "emails": 6,
        "unplaced": 1,
        "blocked": 1,
        "cost": 4.0,
        "lower_bound": 4.0,
        "gap": 0.0,
        "late_follow_ups": 0,
        "slip_days": 0,
        "finish_day": day(3),
        "moved": 0,
        "unavoidable": 0,
    }
    (warm,) = summary.sequences.to_dict("records")
    assert (warm["name"], warm["contacts"], warm["emails"]) == ("warm", 3, 6)
    assert (warm["finish_day"], warm["late_follow_ups"]) == (pd.Timestamp(day(3)), 0)
    five, six = summary.mailboxes.to_dict("records")
    # Four days of two places; the paused mailbox plans nothing.
    assert (five["planned"], five["capacity"], five["days"], five["use"]) == (6, 8, 4, 0.75)
    assert (six["planned"], six["use"]) == (0, 0)
    assert summary.unplaced.to_numpy().tolist() == [["no_active_mailbox", 1]]
    text = str(summary)
    told = ("warm", "a@example.org", "no_active_mailbox", "cost: 4", "no plan costs less")
    assert all(word in text for word in told)


def test_every_email_has_its_delay(method: str) -> None:
    world = World().sequence(waits=(0, 0)).mailbox().enroll(1)
    plan = world.plan(method)
    assert plan.delays.to_dict("records") == [
        {
            "enrollment_id": 1,
            "step_id": 11,
            "sequence_id": 1,
            "lateness": 0,
            "slip": 0,
            "late": False,
            "cost": 0.0,
        },
        {
            "enrollment_id": 1,
            "step_id": 12,
            "sequence_id": 1,
            "lateness": 1,
            "slip": 1,
            "late": True,
            "cost": 21.0,
        },
    ]


def test_the_columns_of_a_plan(method: str) -> None:
    sends = busy_plan(method).sends
    kinds = [str(kind) for kind in sends.dtypes]
    assert kinds[:4] == ["int64"] * 4
    assert sends["send_day"].dt.tz is None
    assert str(sends["send_at"].dt.tz) == "UTC"


def test_auto_names_the_method_that_made_the_plan() -> None:
    # Nothing is gained on a world without a shortage; on a busy one something is.
    assert World().sequence().mailbox().enroll(1).plan("auto").method == "greedy"
    plan = busy_plan("auto")
    assert plan.method == "cpsat"
    assert plan.cost < busy_plan("greedy").cost


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gap": 1.0}, "gap is 1.0; it must be 0 or more, and below 1"),
        ({"workers": 0}, "workers is 0; it must lie between 1 and 1024"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5; it must be a whole number"),
        ({"one_a_day": 1}, "one_a_day is 1; it must be true or false"),
        ({"method": "magic"}, "method 'magic' is unknown; use one of auto, greedy"),
        ({"time_limit": -1}, "time_limit is -1"),
        ({"time_limit": float("nan")}, "time_limit is nan"),
        ({"slip_weight": -0.5}, "slip_weight is -0.5"),
        ({"slip_weight": float("inf")}, "slip_weight is inf"),
        ({"horizon_days": -1}, "horizon_days is -1; it must lie between 0 and 366"),
        ({"horizon_days": 367}, "horizon_days is 367"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        sendplan.solve(one_step().problem(), **parameters)
