"""Batches of changes: whole components, apart from all others by mailbox, sequence and contact.

Each sequence has one step, 10 × sequence + 1, and an email is known by its sequence.
"""

import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sendplan
from sendplan.planner.plan.batches import component_batches
from sendplan.planner.schema.readers import NULL
from sendplan.tests.worlds.problems.methods import examples
from sendplan.tests.worlds.problems.tiny import Slot, World, at, sends_of

SHARED = 100


def changes_of(*emails: tuple[int, int | None]) -> pd.DataFrame:
    """Write down enrollments with the mailbox that is stored of their email."""
    columns = ["enrollment_id", "old_mailbox_id"]
    return pd.DataFrame(emails, columns=columns).fillna(NULL).astype(np.int64)


def divided(world: World, changes: pd.DataFrame, size: int) -> list[list[int]]:
    """Give the enrollments of each batch."""
    found = component_batches(world.problem(), changes, size)
    rows = pd.concat(found).sort_index()
    pd.testing.assert_frame_equal(rows, changes)
    return [batch["enrollment_id"].tolist() for batch in found]


def islands(count: int) -> World:
    """Build sequences 1, 2, … with mailboxes 11, 21, … and enrollments 1, 2, … of their own."""
    world = World()
    for key in range(1, count + 1):
        world.sequence(key, (0,)).mailbox(10 * key + 1, sequences=(key,))
        world.enroll(key, sequence=key, contact_id=key)
    return world


def test_what_fits_is_one_batch_as_it_is() -> None:
    changes = changes_of((2, None), (1, 11))
    assert divided(islands(2), changes, 2) == [[2, 1]]
    assert divided(islands(2), changes[:0], 1) == [[]]


def test_what_shares_nothing_can_be_apart() -> None:
    changes = changes_of((1, 11), (2, 21), (3, None))
    assert divided(islands(3), changes, 1) == [[1], [2], [3]]


def test_small_components_fill_a_batch_together_and_a_large_one_is_never_divided() -> None:
    # Of sequence 1 come three rows, of 2 and 3 one each, of 4 two.
    world = islands(4)
    for key, sequence in ((101, 1), (102, 1), (104, 4)):
        world.enroll(key, sequence=sequence, contact_id=key)
    changes = changes_of(
        (1, None), (101, None), (102, None), (2, 21), (3, 31),
        (4, 41), (104, 41),
    )  # fmt: skip
    assert divided(world, changes, 2) == [[2, 3], [4, 104], [1, 101, 102]]
    assert divided(world, changes, 4) == [[2, 3, 4, 104], [1, 101, 102]]


def test_what_shares_a_mailbox_is_together_though_no_email_of_it_moves() -> None:
    world = islands(3).mailbox(99, sequences=(1, 3))
    changes = changes_of((1, 11), (2, 21), (3, 31))
    assert divided(world, changes, 1) == [[2], [1, 3]]


def test_what_shares_a_mailbox_through_a_sequence_without_changes_is_together() -> None:
    world = islands(3).mailbox(98, sequences=(1, 2)).mailbox(99, sequences=(2, 3))
    assert divided(world, changes_of((1, 11), (3, 31)), 1) == [[1, 3]]


def test_what_shares_a_contact_is_together() -> None:
    world = islands(3).enroll(4, sequence=3, contact_id=1)
    changes = changes_of((1, 11), (2, 21), (3, 31))
    assert divided(world, changes, 1) == [[2], [1, 3]]


def test_an_email_that_leaves_the_mailbox_of_others_is_with_them() -> None:
    # Mailbox 31 was sequence 1's, too. Its email leaves it, and makes room for that of 3.
    changes = changes_of((1, 31), (2, 21), (3, 31))
    assert divided(islands(3), changes, 1) == [[2], [1, 3]]


def test_a_removed_mailbox_is_shared_only_by_those_that_leave_it() -> None:
    world = islands(3).mailbox(99, sequences=(1, 2), status="removed")
    changes = changes_of((1, 99), (2, 21), (3, 99))
    assert divided(world, changes, 1) == [[2], [1, 3]]


# ---------------------------------------------------------------- by chance


def crowd(rng: random.Random) -> World:
    """Build a world of few links and little more room than its emails need."""
    world, limit = World(), rng.choice((None, 1, 2))
    for key in range(1, 5):
        world.sequence(key, (0, 0), max_new_per_day=limit)
    for key in range(5, 9):
        gap = rng.choice((0, 0, 1800))
        world.mailbox(key, rng.randint(1, 2), sequences=(), min_gap_seconds=gap)
    for key in range(1, rng.randint(6, 13)):
        # Some contacts are in several sequences.
        contact = rng.choice((key, key, SHARED + key // 4))
        world.enroll(key, sequence=1 + key % 4, contact_id=contact)
    return world


def pools(rng: random.Random) -> dict[int, list[int]]:
    """Give each sequence a mailbox of its own, and some another's as well."""
    return {
        key: sorted({key + 4, rng.choice((key + 4, key + 4, rng.randint(5, 8)))})
        for key in range(1, 5)
    }


def at_random(rng: random.Random, world: World, pools: dict[int, list[int]]) -> list[Slot]:
    """Give slots that keep every rule."""
    boxes = {row["id"]: row for row in world.rows["mailboxes"]}
    limit = world.rows["sequences"][0]["max_new_per_day"]
    clocks = [f"{hour:02}:{minute}:00" for hour in (9, 10) for minute in ("00", "20", "40")]
    slots: list[Slot] = []
    busy: set[tuple[int, int]] = set()
    firsts: list[tuple[int, int]] = []

    def fits(box: int, number: int, clock: str) -> bool:
        times = [at(number, slot[4]) for slot in slots if slot[2:4] == (box, number)]
        far = [abs(at(number, clock) - time).total_seconds() for time in times]
        gap = boxes[box]["min_gap_seconds"]
        return len(times) < boxes[box]["daily_capacity"] and min(far, default=gap) >= gap

    people = world.rows["enrollments"]
    for person in rng.sample(people, len(people)):
        sequence, begin = person["sequence_id"], 0
        box = rng.choice(pools[sequence])
        for order in (1, 2):
            days = [
                number
                for number in range(begin, 5)
                if (person["contact_id"], number) not in busy
                and (order == 2 or limit is None or firsts.count((sequence, number)) < limit)
            ]
            places = [(n, clock) for n in days for clock in clocks if fits(box, n, clock)]
            if not places:
                break
            number, clock = rng.choice(places)
            slots.append((person["id"], 10 * sequence + order, box, number, clock))
            busy.add((person["contact_id"], number))
            firsts += [(sequence, number)] * (order == 1)
            begin = number + 1
    return slots


@pytest.mark.slow
@examples(60)
@given(seed=st.integers(0, 2**31 - 1), size=st.integers(1, 8))
def test_from_any_plan_to_any_other_no_batch_breaks_a_rule(seed: int, size: int) -> None:
    rng = random.Random(seed)
    world = crowd(rng)
    old, new = pools(rng), pools(rng)
    before = {slot[:2]: slot for slot in at_random(rng, world, old)}
    after = {slot[:2]: slot for slot in at_random(rng, world, new)}
    world.rows["sequence_mailboxes"] = [
        {"sequence_id": key, "mailbox_id": box} for key, pool in new.items() for box in pool
    ]
    problem = world.problem()
    emails = [email for email in sorted({*before, *after}) if before.get(email) != after.get(email)]
    changes = changes_of(
        *((email[0], before[email][2] if email in before else None) for email in emails)
    )

    def broken() -> set[tuple[object, ...]]:
        found = sendplan.violations(problem, sends_of(stored.values()))
        return set(found.drop(columns="detail").itertuples(index=False, name=None))

    stored = dict(before)
    bad = broken()
    for batch in component_batches(problem, changes, size):
        for place in batch.index:
            stored.pop(emails[place], None)
            stored |= {emails[place]: after[emails[place]]} if emails[place] in after else {}
        assert broken() <= bad
    assert stored == after
