"""Slots given to those chains of a cohort that had some before."""

import pytest

from sendplan.planner.replanning.slot_matching import match
from sendplan.tests.worlds.problems.arrays import Arrays, Threads
from sendplan.tests.worlds.problems.tiny import World, at


def matched(
    world: World, days: dict[int, list[int]], mailboxes: dict[int, int] | None = None
) -> Threads:
    arrays = Arrays(world)
    placement = arrays.placement(days, mailboxes)
    match(arrays.instance, arrays.limits, placement)
    return arrays.threads(placement)


def three(waits: tuple[int, ...] = (0,)) -> World:
    return World().sequence(1, waits).mailbox(5, 9).mailbox(6, 9).enroll(1, 2, 3)


def test_without_existing_slots_everything_stays() -> None:
    assert matched(three(), {1: [2], 2: [1], 3: [0]}) == {1: (5, [2]), 2: (5, [1]), 3: (5, [0])}


def test_a_contact_keeps_its_day() -> None:
    # 3 had Wednesday, which was given to 1; the others take what is left, in their order.
    world = three().email(3, 11, "pending", 2)
    assert matched(world, {1: [2], 2: [1], 3: [0]}) == {1: (5, [0]), 2: (5, [1]), 3: (5, [2])}


def test_a_day_at_another_mailbox_is_not_the_same() -> None:
    # 3 had Wednesday at mailbox 5, and 2 at mailbox 6: each keeps its own.
    world = three().email(3, 11, "pending", 2).email(2, 11, "pending", 2, mailbox_id=6)
    threads = matched(world, {1: [2], 2: [1], 3: [2]}, {1: 5, 3: 6})
    assert threads == {1: (5, [1]), 2: (6, [2]), 3: (5, [2])}


def test_whole_threads_match_before_beginnings() -> None:
    # 1 had Monday and Tuesday, 2 Monday and Wednesday. Of the threads (Monday, Wednesday) and
    # (Monday, Thursday) 2 gets its whole one, though 1, with the same Monday, comes before it.
    world = three((0, 1))
    world.email(1, 11, "pending", 0).email(1, 12, "pending", 1)
    world.email(2, 11, "pending", 0).email(2, 12, "pending", 2)
    threads = matched(world, {1: [0, 2], 2: [0, 3], 3: [4, 7]})
    assert threads == {1: (5, [0, 3]), 2: (5, [0, 2]), 3: (5, [4, 7])}


def test_a_beginning_is_better_than_nothing() -> None:
    # No new thread has the Thursday of 2, but one has its Tuesday.
    world = three((0, 1)).email(2, 11, "pending", 1).email(2, 12, "pending", 3)
    threads = matched(world, {1: [1, 2], 2: [0, 1], 3: [4, 7]})
    assert threads == {1: (5, [0, 1]), 2: (5, [1, 2]), 3: (5, [4, 7])}


@pytest.mark.parametrize("different", ["sequence", "window", "position"])
def test_only_chains_of_a_kind_change(different: str) -> None:
    # 2 had the Wednesday that 1 was given, but is not of its kind.
    world = World().sequence(1, (0, 1)).sequence(2, (0, 1)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_timezone=None)
    if different == "sequence":
        world.enroll(2, sequence=2).email(2, 21, "pending", 2)
    elif different == "window":
        world.enroll(2, contact_timezone="Asia/Tokyo").email(2, 11, "pending", 2)
    else:
        world.enroll(2).email(2, 11, "sent", -3).email(2, 12, "pending", 2)
    days = {1: [2, 3], 2: [1] if different == "position" else [1, 2]}
    assert matched(world, days) == {key: (5, own) for key, own in days.items()}


def test_whoever_shares_his_days_with_another_chain_keeps_what_he_was_given() -> None:
    # Contact 7 has an email of sequence 2 on Wednesday: with his old slot, 1 would meet it.
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7).enroll(3, contact_id=8)
    world.email(1, 11, "pending", 2)
    days = {1: [0], 2: [2], 3: [2]}
    assert matched(world, days) == {key: (5, own) for key, own in days.items()}


def test_whoever_is_ready_later_keeps_a_later_day() -> None:
    # 2, enrolled on Tuesday, had Tuesday; 1 has been there since Friday, so they are no cohort.
    world = World(at(1, "06:00")).sequence(1, (0, 2)).mailbox(5, 9).enroll(1, 2)
    world.email(1, 11, "sent", -3).email(2, 11, "sent", 0)
    world.email(2, 12, "pending", 3)
    days = {1: [3], 2: [2]}
    assert matched(world, days) == {key: (5, own) for key, own in days.items()}
