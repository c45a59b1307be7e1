"""Where capacity binds, and whether a price is what it says: capacity added, and solved again."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

import sendplan
from sendplan.planner.changes import ScaleCapacities, SetMailbox
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.studies.bottlenecks import Bottlenecks
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference
from sendplan.tests.worlds.oracle.enumeration import best
from sendplan.tests.worlds.problems.chance import instance
from sendplan.tests.worlds.problems.tiny import LEFT_OUT, World, day

TOLERANCE = 1e-6


def found(world: World, method: str = "cpsat", **how: Any) -> Bottlenecks:
    problem = world.problem()
    return sendplan.bottlenecks(problem, sendplan.solve(problem, method, **how), **how)


def prices(shortages: Bottlenecks) -> dict[int, float]:
    """Give the price of each day, by its number."""
    rows = shortages.days.itertuples(index=False)
    return {(row.send_day.date() - day(0)).days: row.price for row in rows}


def test_a_queue_that_one_more_email_shortens() -> None:
    # Three contacts, one slot a day: 0 + 1 + 2 days late. A second slot on Monday: 0 + 0 + 1, which
    # saves 2; on Tuesday: 0 + 1 + 1, which saves 1; on Wednesday nothing.
    shortages = found(World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3))
    assert prices(shortages) == pytest.approx({0: 2.0, 1: 1.0})
    (row,) = shortages.pools.itertuples(index=False)
    assert (row.mailbox_ids, row.sequence_ids) == ((5,), (1,))
    assert (row.first_day.date(), row.last_day.date(), row.days) == (day(0), day(1), 2)
    assert (row.price, row.highest_price, row.one_more_a_day) == pytest.approx((1.5, 2.0, 3.0))
    assert row.dearest_day.date() == day(0)
    assert shortages.cost == shortages.lower_bound == pytest.approx(3.0)


def test_nothing_is_short_where_all_have_room() -> None:
    shortages = found(World().sequence(1, (0, 1)).mailbox(5, 9).enroll(1, 2))
    assert not len(shortages.pools)
    assert not len(shortages.days)
    assert not len(shortages.new_emails)


def test_pools_are_ranked_and_those_with_room_left_out() -> None:
    # Mailbox 5 has four contacts for one slot a day, 6 has two, 7 has one.
    world = World()
    for sequence, people in ((1, (1, 2, 3, 4)), (2, (5, 6)), (3, (7,))):
        world.sequence(sequence, (0,)).mailbox(4 + sequence, 1, (sequence,))
        world.enroll(*people, sequence=sequence)
    assert found(world).pools["mailbox_ids"].tolist() == [(5,), (6,)]


def test_mailboxes_of_one_pool_are_taken_together_unless_told_apart() -> None:
    # Two mailboxes for one sequence; the thread of contact 4 is bound to the full one.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).mailbox(6, 1).enroll(1, 2, 3)
    world.enroll(4).email(4, 11, "sent", -3).use(5, 0, 1)
    problem = world.problem()
    assert sendplan.bottlenecks(problem).pools["mailbox_ids"].tolist() == [(5, 6)]
    apart = sendplan.bottlenecks(problem, by_mailbox=True)
    assert set(apart.pools["mailbox_ids"]) == {(5,), (6,)}
    # The follow-up that waits a day for its mailbox costs 21, and one more email there saves that.
    of_five = apart.pools.set_index("mailbox_ids")["highest_price"][(5,)]
    assert of_five >= 21.0 - TOLERANCE


def test_few_first_emails_a_day_have_a_price_of_their_own() -> None:
    # As in the queue above, by max_new_per_day; the mailbox has room for all.
    shortages = found(World().sequence(1, (0,), max_new_per_day=1).mailbox(5, 9).enroll(1, 2, 3))
    assert not len(shortages.pools)
    (row,) = shortages.new_emails.itertuples(index=False)
    assert (row.sequence_id, row.days, row.one_more_a_day) == (1, 2, pytest.approx(3.0))


def with_one_more(world: World, mailbox_id: int, number: int) -> World:
    """Give a mailbox room for one more email on one day.

    As capacity 1 more on all days, used up by others on the days that are not meant.
    """
    other = World(world.now)
    other.rows = {name: [dict(row) for row in rows] for name, rows in world.rows.items()}
    for row in other.rows["mailboxes"]:
        if row["id"] == mailbox_id:
            row["daily_capacity"] += 1
            row["ramp_start"] = None
    today = (world.now.date() - day(0)).days
    for ahead in range(-2, 60):
        if today + ahead != number:
            other.use(mailbox_id, today + ahead, 1)
    return other


@pytest.mark.parametrize("number", range(4))
def test_the_best_plan_saves_at_most_what_the_price_says(number: int) -> None:
    # Bound - price is below what the enumeration finds with one more email of room; where the bound
    # is the optimum, the saving itself is at most the price.
    world, how = instance("room", number, 0)
    for row in world.rows["mailboxes"]:
        row |= {"ramp_start": None, "ramp_from": None}
    problem = world.problem()
    plan = sendplan.solve(problem, "cpsat", **how)
    apart = sendplan.bottlenecks(problem, plan, by_mailbox=True, **how)
    least = best(world.frames(), world.now, **how).cost
    assert apart.lower_bound <= least + TOLERANCE
    boxes = apart.pools.set_index("pool")["mailbox_ids"]
    for row in apart.days.head(6).itertuples(index=False):
        wider = with_one_more(world, boxes[row.pool][0], (row.send_day.date() - day(0)).days)
        again = best(wider.frames(), wider.now, **how).cost
        assert again >= apart.lower_bound - row.price - TOLERANCE
        assert least - again <= row.price + (least - apart.lower_bound) + TOLERANCE


@pytest.mark.slow
def test_what_ten_per_cent_more_saves_lies_between_the_two_bounds() -> None:
    frames = reference(1_200, 6, 2, seed=3, now=REFERENCE_NOW, tight=True)
    frames.pop("contacts")
    problem = sendplan.Problem.from_frames(**frames, now=REFERENCE_NOW)
    plan = sendplan.solve(problem, "greedy")
    shortages = sendplan.bottlenecks(problem, plan)
    assert shortages.cost == pytest.approx(plan.cost)
    assert len(shortages.pools) == 2
    assert shortages.pools["saving"].is_monotonic_decreasing
    for row in shortages.pools.itertuples(index=False):
        raised = problem.with_(ScaleCapacities(1 + shortages.more, row.mailbox_ids))
        again = sendplan.solve(raised, "greedy")
        assert row.saving_at_least == pytest.approx(max(plan.cost - again.cost, 0.0))
        assert row.saving_at_least <= row.saving_at_most + TOLERANCE
        # Convex: what the prices promise for that much is never less than what there is to save.
        own = shortages.days[shortages.days["pool"] == row.pool]
        sizes = problem.mailboxes.set_index("id")["daily_capacity"].loc[list(row.mailbox_ids)]
        added = int((sizes * (1 + shortages.more) + 0.5).astype(int).sum() - sizes.sum())
        assert row.saving <= own["price"].sum() * added + TOLERANCE


def test_a_given_horizon_and_other_weights_are_kept_to() -> None:
    # One slot today, the horizon's only day: the second contact counts as of tomorrow, a day late,
    # and is left out.
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2)
    assert prices(found(world, horizon_days=0)) == pytest.approx({0: 1.0 + LEFT_OUT})


def test_a_plan_of_another_problem_is_refused() -> None:
    plan = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2).plan()
    other = World().sequence(1, (0,)).mailbox(5, 1).enroll(3).problem()
    with pytest.raises(ValueError, match="the plan has 2 slots without an email to plan"):
        sendplan.bottlenecks(other, plan)


def test_a_number_of_workers_out_of_range_is_refused() -> None:
    problem = World().sequence(1, (0,)).mailbox(5, 1).problem()
    with pytest.raises(MethodError, match="workers is 0; it must lie between 1"):
        sendplan.bottlenecks(problem, workers=0)


def test_a_plan_of_nothing_has_no_bottleneck() -> None:
    problem = World().sequence(1, (0,)).mailbox(5, 1).problem()
    shortages = sendplan.bottlenecks(problem)
    assert (len(shortages.pools), shortages.cost, shortages.lower_bound) == (0, 0.0, 0.0)


def test_the_same_problem_gives_the_same_frames() -> None:
    world, how = instance("room", 5, 0)
    problem = world.problem()
    first, second = (sendplan.bottlenecks(problem, workers=count, **how) for count in (1, 3))
    pd.testing.assert_frame_equal(first.pools, second.pools)
    pd.testing.assert_frame_equal(first.days, second.days)


def test_a_mailbox_that_sends_nothing_has_a_price() -> None:
    # Its first email of capacity on Monday would spare the follow-up, bound there, a week of slip.
    world = World().sequence(1, (0, 1)).enroll(1).mailbox(5, 9, ramp_start=0, ramp_increment=1)
    world.rows["mailboxes"][-1]["ramp_from"] = day(0) + timedelta(days=7)
    world.email(1, 11, "sent", -3)
    # From the Tuesday on there is room for one; ready on Monday, it is late and slips by 8: 168.
    shortages = found(world)
    assert shortages.cost == pytest.approx(168.0)
    assert prices(shortages)[0] == pytest.approx(168.0)
    one_more = world.problem().with_(SetMailbox(5, ramp_start=1))
    assert sendplan.solve(one_more, "cpsat").cost == pytest.approx(0.0)
