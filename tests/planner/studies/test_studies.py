"""Studies: scenarios side by side, the changes that only they make, and the capacity needed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.planner.changes import (
    AddMailboxes,
    Arrivals,
    DaysOff,
    RemoveMailbox,
    ScaleCapacities,
)
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.limits import limits_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.errors import MethodError, ProblemError
from sendplan.planner.studies.bisection import Bracket
from sendplan.planner.studies.capacity_bounds import Target, total_shortfall
from sendplan.planner.studies.deadline import Weights, build_deadline
from sendplan.planner.studies.shortfall import shortfall_cut
from sendplan.planner.synthetic import instances as synthetic
from sendplan.tests.worlds.problems.tiny import World, day, days_of


def campaign(people: int = 12, capacity: int = 2, waits: tuple[int, ...] = (0, 1)) -> World:
    """Make one sequence with one mailbox and people who have got nothing yet."""
    world = World().sequence(waits=waits, send_days=[1, 2, 3, 4, 5, 6, 7]).mailbox(5, capacity)
    return world.enroll(*range(1, people + 1))


# ---------------------------------------------------------------- changes for studies only


def test_days_off_move_ready_days_as_holidays_do() -> None:
    problem = campaign(1).problem().with_(DaysOff([day(0), day(1)]))
    plan = sendplan.solve(problem, "greedy")
    # Ready on Monday, which is off like Tuesday: Wednesday, and the follow-up the day after.
    assert days_of(plan) == {1: [2, 3]}
    assert plan.cost == 0
    assert not len(sendplan.violations(problem, plan.sends))
    before = sendplan.solve(campaign(1).problem(), "greedy")
    told = sendplan.violations(problem, before.sends)
    assert told["detail"].tolist() == ["its day is no sending day of the sequence"] * 2


def test_a_wait_in_sending_days_does_not_count_days_off() -> None:
    world = campaign(1, waits=(0, 2))
    world.rows["sequences"][0]["wait_unit"] = "sending"
    plan = sendplan.solve(world.problem().with_(DaysOff(day(1))), "greedy")
    # Monday, then the second sending day after it: not Tuesday and Wednesday, but one more.
    assert days_of(plan) == {1: [0, 3]}


def test_days_off_of_one_sequence_leave_the_other_alone() -> None:
    world = (
        campaign(1).sequence(2, waits=(0,), send_days=[1, 2, 3, 4, 5, 6, 7]).enroll(2, sequence=2)
    )
    world.mailbox(6, 2, [2])
    plan = sendplan.solve(world.problem().with_(DaysOff(day(0), [2])), "greedy")
    assert days_of(plan) == {1: [0, 1], 2: [1]}


def test_who_arrives_later_starts_on_the_day_of_arrival() -> None:
    problem = campaign(1).problem().with_(Arrivals(1, 1, day(2), days=2))
    plan = sendplan.solve(problem, "greedy")
    assert days_of(plan) == {1: [0, 1], 2: [2, 3], 3: [3, 4]}
    assert plan.cost == 0
    assert not len(sendplan.violations(problem, plan.sends))


def test_new_mailboxes_go_where_most_is_left_for_the_capacity() -> None:
    world = campaign(12, 2).sequence(2, waits=(0,)).mailbox(6, 2, [2])
    world.enroll(*range(21, 27), sequence=2)
    made = world.problem().with_(AddMailboxes(3, 2))
    links = made.sequence_mailboxes
    new = links[links["mailbox_id"] > 6]
    # 24 emails over 2 a day against 6 over 2: the first goes to sequence 1, and so do the second
    # (24 over 4) and the third (24 over 6, against 6 over 2).
    assert new["sequence_id"].tolist() == [1, 1, 1]
    assert made.mailboxes["daily_capacity"].tolist() == [2, 2, 2, 2, 2]
    # With the fourth, 24 over 8 against 6 over 2 are even, and the first pool wins once more; then
    # 24 over 10 are less than 6 over 2.
    links = world.problem().with_(AddMailboxes(5, 2)).sequence_mailboxes
    assert links["sequence_id"][links["mailbox_id"] == 11].tolist() == [2]


def test_mailboxes_like_another_share_its_settings_and_sequences_but_not_its_ramp() -> None:
    world = campaign().mailbox(
        6, 7, [1], min_gap_seconds=60, ramp_start=1, ramp_increment=1, ramp_from=day(0)
    )
    made = world.problem().with_(AddMailboxes(2, like=6)).mailboxes.iloc[2:]
    assert made["daily_capacity"].tolist() == [7, 7]
    assert made["min_gap_seconds"].tolist() == [60, 60]
    assert (made["ramp_from"] < 0).all()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: AddMailboxes(-1), "new mailboxes, count: must be a whole number from 0"),
        (lambda: AddMailboxes(1, ramp_start=1), "new mailboxes: has half a ramp"),
        (lambda: AddMailboxes(1, like="a"), "like: must hold whole numbers"),
        (lambda: DaysOff([]), "days off, days: no date is given"),
        (lambda: DaysOff(["soon"]), "days off, days: must be a date (1: 'soon')"),
        (lambda: Arrivals(1, 1, "2026-03-02T10:00"), "first_day: must be a date"),
        (lambda: Arrivals(1, 2_000, day(0), days=1_000), "per_day × days: must be at most"),
        (lambda: campaign().problem().with_(DaysOff(day(0), [3])), "sequence 3: does not exist"),
        (lambda: campaign().problem().with_(Arrivals(3, 1, day(0))), "sequence 3: does not"),
        (lambda: campaign().problem().with_(AddMailboxes(1, like=9)), "mailbox 9: does not exist"),
    ],
)
def test_what_studies_cannot_take_on(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ProblemError) as caught:
        make()
    assert told in str(caught.value)


# ---------------------------------------------------------------- scenarios side by side

SCENARIOS: dict[str, Any] = {
    "one more": AddMailboxes(1, like=5),
    "half": ScaleCapacities(0.5),
    "both": [ScaleCapacities(0.5), AddMailboxes(1, 1, sequence_ids=[1])],
}


def test_scenarios_are_compared_with_the_problem_as_it_is() -> None:
    found = sendplan.compare(campaign(4).problem(), SCENARIOS, workers=1, method="greedy")
    assert list(found.plans) == ["as it is", "one more", "half", "both"]
    frame = found.frame
    # 8 emails: 2 a day last 4 days; of 4 a day the first 4 leave at once; 1 a day lasts 8.
    assert frame["finish_day"].tolist() == [day(3), day(1), day(7), day(3)]
    assert frame["days_saved"].tolist() == [0, 2, -4, 0]
    assert frame["use"].tolist() == [1.0, 1.0, 1.0, 1.0]
    for name, plan in found.plans.items():
        row = frame.loc[name]
        assert (row["cost"], row["late_follow_ups"]) == (plan.cost, plan.late_follow_ups)
        assert (row["emails"], row["unplaced"]) == (len(plan.sends), len(plan.unplaced))
        assert row["late_days"] == plan.delays["lateness"].sum()
    assert found.best == "one more"
    assert len(found.difference("as it is")) == 0
    assert len(found.difference("one more")) > 0
    assert "seconds" not in frame


@pytest.mark.parametrize("workers", [2, "executor"])
def test_plans_do_not_depend_on_who_makes_them(workers: int | str) -> None:
    frames = synthetic.reference(300, 2)
    del frames["contacts"]
    problem = sendplan.Problem.from_frames(**frames, now=synthetic.REFERENCE_NOW)
    scenarios = {"more": AddMailboxes(2), "without": RemoveMailbox(1)}
    alone = sendplan.compare(problem, scenarios, workers=1, method="greedy")
    if workers == "executor":
        with ThreadPoolExecutor(2) as pool:
            found = sendplan.compare(problem, scenarios, executor=pool, method="greedy")
    else:
        found = sendplan.compare(problem, scenarios, workers=2, method="greedy")
    assert_frame_equal(found.frame, alone.frame)
    for name, plan in alone.plans.items():
        assert_frame_equal(found[name].sends, plan.sends)


def test_emails_that_leave_their_slots_are_counted() -> None:
    world = campaign(4)
    stored = world.stored(world.plan()).problem()
    found = sendplan.compare(stored, {"off": DaysOff(day(0))}, workers=1, method="greedy")
    assert found.frame["moved"].tolist() == [0, 8]


def test_a_comparison_reads_as_a_table() -> None:
    ticks = iter(range(10))
    found = sendplan.compare(
        campaign(4).problem(),
        {"<b>": DaysOff("2026-03-04")},
        workers=1,
        method="greedy",
        clock=lambda: next(ticks),
    )
    assert "05 Mar 2026" in repr(found)
    assert found.frame["seconds"].tolist() == [1, 1]
    page = found._repr_html_()
    assert "&lt;b&gt;" in page
    assert "DaysOff(days=(&#x27;2026-03-04&#x27;,))" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("scenarios", "more", "told"),
    [
        ({"as it is": []}, {}, "a scenario is called 'as it is'; give it a name of its own"),
        ({"a": []}, {"horizon": 3}, "horizon is no parameter of a plan; use any of change_weight"),
        ({"a": []}, {"workers": 0}, "workers is 0; it must lie between 1"),
        ({"a": []}, {"method": "best"}, "method 'best' is unknown"),
    ],
)
def test_what_cannot_be_compared(
    scenarios: dict[str, Any], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(MethodError) as caught:
        sendplan.compare(campaign().problem(), scenarios, **more)
    assert told in str(caught.value)


def test_a_change_that_does_not_fit_is_told_with_its_scenario() -> None:
    with pytest.raises(ProblemError, match="scenario 'gone', mailbox 9: does not exist"):
        sendplan.compare(campaign().problem(), {"gone": RemoveMailbox(9)})


def test_each_scenario_is_told_as_soon_as_it_is_planned() -> None:
    told: list[str] = []

    def clock() -> float:
        """Look at the time, as happens before and after each plan."""
        looked.append(len(told))
        return 0.0

    looked: list[int] = []
    scenarios = {"off": DaysOff(day(0)), "half": ScaleCapacities(0.5)}
    sendplan.compare(
        campaign(2).problem(),
        scenarios,
        workers=1,
        method="greedy",
        clock=clock,
        progress=told.append,
    )
    assert told == ["as it is", "off", "half"]
    assert looked == [0, 0, 1, 1, 2, 2]


# ---------------------------------------------------------------- the bound behind a deadline


def cut(world: World, last: int, max_late: int | None, **room: int) -> tuple[float, float]:
    """Give the least shortfall of a world's only pool by a day, and what a mailbox relieves."""
    instance = build_instance(world.problem())
    whole = build_deadline(instance, limits_of(instance, Parameters()), last + 1)
    new = np.full(last + 2, room.get("new", 2))
    found = shortfall_cut(whole.pool_alone(0), Weights.of(max_late), new)
    return round(found.short, 6), round(found.relief, 6)


def test_emails_beyond_the_room_of_all_days_are_short() -> None:
    # 24 emails; two a day on days 0 to 9 are 20, and a mailbox more has room for 20.
    assert cut(campaign(12), 9, None) == (4, 20)
    assert cut(campaign(12), 11, None) == (0, 0)


def test_follow_ups_that_must_wait_are_short() -> None:
    # Both got their first email on Friday, and their follow-ups are ready today; one has room.
    world = World().sequence(waits=(0, 1), send_days=[1, 2, 3, 4, 5]).mailbox(5, 1)
    world.enroll(1, 2).email(1, 11, "sent", -3).email(2, 11, "sent", -3)
    assert cut(world, 4, 0, new=1)[0] == 1
    assert cut(world, 4, None, new=1)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_late", [None, 3])
def test_no_plan_falls_short_by_less_than_the_bound(seed: int, max_late: int | None) -> None:
    frames = synthetic.reference(60, 4, 2, seed=seed, mixed=seed == 0)
    del frames["contacts"]
    frames["mailboxes"]["daily_capacity"] = 3
    problem = sendplan.Problem.from_frames(**frames, now=synthetic.REFERENCE_NOW)
    target = Target(40, max_late)
    weights = target.weights
    bound = total_shortfall(problem, Parameters(horizon_days=39), target)
    for slip_weight in (20.0, 1.0):
        plan = sendplan.solve(problem, "greedy", horizon_days=39, slip_weight=slip_weight)
        left_out = len(plan.delays) - len(plan.sends)
        short = weights.late * plan.late_follow_ups + weights.left_out * left_out
        assert bound <= short + 1e-6


# ---------------------------------------------------------------- the capacity that is needed


def test_the_fewest_mailboxes_are_found_and_fewer_proven_too_few() -> None:
    # 24 emails in 3 days are 8 a day, and three mailboxes of 2 more than there is. Each has three
    # chains: two start on the first day, one on the second, beside the follow-up of one of them.
    found = sendplan.fewest_mailboxes(
        campaign(12).problem(), day(2), daily_capacity=2, method="cpsat", workers=1
    )
    assert (found.needed, found.at_least, found.proven) == (3, 3, True)
    assert repr(found) == (
        "3 more mailboxes of 2 emails a day are enough to finish by 04 Mar 2026; less is"
        " proven not to be enough."
    )
    assert found.plan is not None
    assert found.plan.finish_day == day(2)
    assert len(found.plan.sends) == 24
    problem = campaign(12).problem().with_(*found.changes)
    assert not len(sendplan.violations(problem, found.plan.sends))


def test_what_plans_do_not_reach_is_told_apart_from_what_none_can() -> None:
    # The greedy starts only whom it can follow up on time: 2 chains a mailbox, and 6 of them.
    found = sendplan.fewest_mailboxes(campaign(12).problem(), day(2), daily_capacity=2, workers=1)
    assert (found.needed, found.at_least, found.proven) == (5, 3, False)
    assert repr(found) == (
        "5 more mailboxes of 2 emails a day are enough to finish by 04 Mar 2026; less than 3 more"
        " mailboxes of 2 emails a day is proven not to be enough."
    )


def test_what_is_there_may_be_enough() -> None:
    found = sendplan.fewest_mailboxes(campaign(12).problem(), day(11), workers=1)
    assert (found.needed, found.at_least, found.changes) == (0, 0, ())
    assert repr(found) == "The mailboxes that are there are enough to finish by 13 Mar 2026."


def test_each_pool_gets_as_many_as_it_needs() -> None:
    world = campaign(12).sequence(2, waits=(0,), send_days=[1, 2, 3, 4, 5, 6, 7])
    world.mailbox(6, 2, [2]).enroll(*range(21, 31), sequence=2)
    found = sendplan.fewest_mailboxes(
        world.problem(), day(2), daily_capacity=2, method="cpsat", workers=2
    )
    # The first as above; the second needs 10 emails in 3 days: 4 a day, one more mailbox of 2.
    assert found.pools is not None
    assert found.pools["mailboxes"].tolist() == [3, 1]
    assert found.pools["at_least"].tolist() == [3, 1]


def test_waits_alone_may_take_longer() -> None:
    problem = campaign(2, waits=(0, 4)).problem()
    for find in (sendplan.fewest_mailboxes, sendplan.smallest_capacity):
        found = find(problem, day(3), workers=1)
        assert (found.needed, found.at_least, found.proven) == (None, None, True)
        assert found.obstacle is not None
        assert found.obstacle.kind == "waits"
        assert "enrollment 1 of sequence 1 has 2 emails to get, and ends on 2026-03-06" in repr(
            found
        )


def test_threads_bound_to_a_full_mailbox_are_helped_by_no_other() -> None:
    world = World().sequence(waits=(0, 1)).mailbox(5, 1, email="ann@example.com").enroll(1, 2, 3)
    for key in (1, 2, 3):
        world.email(key, 11, "sent", -3)
    found = sendplan.fewest_mailboxes(world.problem(), day(4), 0, daily_capacity=9, workers=1)
    assert found.obstacle is not None
    assert found.obstacle.kind == "threads"
    assert "those of ann@example.com have more to send" in repr(found)
    # Three a day, as all of them are ready today.
    scaled = sendplan.smallest_capacity(world.problem(), day(4), 0, workers=1)
    assert scaled.needed == scaled.at_least == 250
    # 2.5 emails a day are rounded to 3.
    assert scaled.plan is not None
    assert scaled.plan.late_follow_ups == 0


def test_threads_of_several_mailboxes_fall_short_together() -> None:
    world = World().sequence(waits=(0, 1)).mailbox(5, 1).mailbox(6, 1).enroll(1, 2, 3, 4)
    # It has room for all, were they its own.
    world.mailbox(7, 9)
    for key in (1, 2, 3, 4):
        world.email(key, 11, "sent", -3, mailbox_id=5 + key % 2)
    # One of two is late at each mailbox, which may be two in all, but not one.
    assert total_shortfall(world.problem(), Parameters(horizon_days=4), Target(5, 1)) == 2
    found = sendplan.fewest_mailboxes(world.problem(), day(4), 1, workers=1)
    assert found.obstacle is not None
    assert sendplan.fewest_mailboxes(world.problem(), day(4), 2, workers=1).needed == 0


def test_a_bound_is_drawn_again_where_it_was_too_low() -> None:
    world = campaign(8, 2, (0, 4)).sequence(2, waits=(0,), send_days=[1, 2, 3, 4, 5, 6, 7])
    world.rows["sequence_mailboxes"].append({"sequence_id": 2, "mailbox_id": 5})
    world.enroll(*range(21, 25), sequence=2)
    found = sendplan.fewest_mailboxes(world.problem(), day(4), daily_capacity=2, workers=1)
    # 20 emails in 5 days are 4 a day, for which one mailbox more would do; but 8 of them must leave
    # on the first day, as their follow-ups take until the last.
    assert (found.needed, found.at_least) == (3, 3)


def test_blocked_emails_stand_outside() -> None:
    world = campaign(2).mailbox(6, 2, status="paused").enroll(3)
    world.email(3, 11, "sent", -3, mailbox_id=6)
    found = sendplan.fewest_mailboxes(world.problem(), day(4), workers=1)
    assert (found.needed, found.proven) == (0, True)
    assert found.plan is not None
    assert found.plan.blocked == 1


def test_late_follow_ups_may_be_allowed() -> None:
    world = World().sequence(waits=(0, 1)).mailbox(5, 1).enroll(1, 2, 3)
    for key in (1, 2, 3):
        world.email(key, 11, "sent", -3)
    found = sendplan.fewest_mailboxes(world.problem(), day(4), 2, workers=1)
    assert (found.needed, found.proven) == (0, True)


def test_first_emails_a_day_may_be_what_holds_it_up() -> None:
    world = campaign(12)
    world.rows["sequences"][0]["max_new_per_day"] = 1
    found = sendplan.fewest_mailboxes(world.problem(), day(5), workers=1)
    assert found.obstacle is not None
    assert found.obstacle.kind == "limits"


def test_nothing_to_send_needs_no_capacity_at_all() -> None:
    found = sendplan.smallest_capacity(campaign(0).problem(), day(3), workers=1)
    assert (found.needed, found.at_least) == (0, 0)


def test_less_than_there_is_may_do() -> None:
    # 24 emails in 12 days need 2 a day, of 4: 38 % of 4 are rounded to 2, and 37 % to 1.
    found = sendplan.smallest_capacity(campaign(12, 4).problem(), day(12), workers=1)
    assert (found.needed, found.at_least) == (38, 38)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"finish_by": date(2026, 3, 1)}, "finish_by is 2026-03-01; it must lie between 2026-03"),
        ({"finish_by": "soon"}, "finish_by is 'soon'; give a date, such as"),
        ({"finish_by": None}, "finish_by is None; give a date, such as"),
        ({"finish_by": day(3), "max_late": -1}, "max_late is -1; it must be a whole number"),
        ({"finish_by": day(3), "daily_capacity": 0}, "daily_capacity is 0; it must be a whole"),
        ({"finish_by": day(3), "horizon_days": 9}, "horizon_days cannot be given"),
        ({"finish_by": day(3), "horizon": 9}, "horizon is no parameter of a plan; use any of"),
    ],
)
def test_what_cannot_be_asked(given: dict[str, Any], told: str) -> None:
    with pytest.raises(MethodError) as caught:
        sendplan.fewest_mailboxes(campaign().problem(), **given)
    assert told in str(caught.value)


@pytest.mark.parametrize("abreast", [1, 2, 3])
@pytest.mark.parametrize(("low", "answer"), [(-1, 0), (0, 1), (0, 37), (5, 64), (0, 100)])
def test_a_bracket_closes_on_the_smallest_number_that_does(
    low: int, answer: int, abreast: int
) -> None:
    bracket = Bracket(low, None, 100)
    asked = 0
    while not bracket.closed:
        points = bracket.points(abreast)
        asked += 1
        assert len(points) <= abreast
        for point in points:
            bracket.record(point, holds=point >= answer)
    assert bracket.high == answer
    assert asked <= 16


def test_what_does_is_kept_whatever_else_does() -> None:
    bracket = Bracket(0, None, 100)
    for point in (4, 8):
        bracket.record(point, holds=True)
    assert (bracket.low, bracket.high) == (0, 4)


def test_a_bracket_gives_up_at_its_limit() -> None:
    bracket = Bracket(0, None, 10)
    while not bracket.closed:
        for point in bracket.points(2):
            assert point <= 10
            bracket.record(point, holds=False)
    assert bracket.high is None
