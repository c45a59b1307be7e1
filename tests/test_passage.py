"""From stored slots to a new plan in batches: what is stored in between is sound, too.

Unless said otherwise a sequence has one step (11) or two (11, 12), and mailbox 5 may send one email
a day, so that nobody can come to a day before somebody has left it. Slots are (enrollment, step,
mailbox, day, time), see `worlds`.
"""

import random
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sendplan
from sendplan.planner.passage import passage
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema.readers import NULL, microseconds
from sendplan.tests.worlds.problems.methods import examples
from sendplan.tests.worlds.problems.nasty import Frames, instances, with_plan
from sendplan.tests.worlds.problems.tiny import Slot, World, at, sends_of

NINE = "09:00:00"
EMAIL = ["enrollment_id", "step_id"]
SLOT = ["mailbox_id", "send_day", "send_at"]
OLD = [f"old_{name}" for name in SLOT]
COPY = 1_000_000
SHARED = 100
Stored = dict[tuple[int, int], tuple[int, int, int]]


def changes_of(problem: sendplan.Problem, sends: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the stored pending rows with a plan, as `passage` wants it; ``id`` goes along."""
    rows = problem.scheduled_emails
    rows = rows[(rows["status"] == "pending").to_numpy()]
    old = rows[["id", *EMAIL, *SLOT, "plan_run_id"]].rename(
        columns={name: f"old_{name}" for name in (*SLOT, "plan_run_id")}
    )
    send_day = pd.to_datetime(sends["send_day"])
    new = pd.DataFrame(
        {
            **{name: sends[name].to_numpy(dtype=np.int64) for name in (*EMAIL, "mailbox_id")},
            "send_day": send_day.to_numpy().astype("datetime64[D]").astype(np.int64),
            "send_at": microseconds(pd.to_datetime(sends["send_at"], utc=True)),
        }
    )
    both = old.merge(new, on=EMAIL, how="outer").fillna(NULL).astype(np.int64)
    differs = np.any([both[a] != both[b] for a, b in zip(SLOT, OLD, strict=True)], axis=0)
    return both[differs].reset_index(drop=True), both[~differs].reset_index(drop=True)


def stored_in(problem: sendplan.Problem) -> Stored:
    rows = problem.scheduled_emails[has_slot(problem)]
    return dict(zip(keys(rows), slots_of(rows, SLOT), strict=True))


def keys(rows: pd.DataFrame) -> list[tuple[int, int]]:
    return list(rows[EMAIL].itertuples(index=False, name=None))


def slots_of(rows: pd.DataFrame, names: list[str]) -> list[tuple[int, int, int]]:
    return list(rows[names].itertuples(index=False, name=None))


def broken(
    problem: sendplan.Problem, states: Sequence[Stored], one_a_day: bool
) -> list[set[tuple[Any, ...]]]:
    """Give what each state breaks; the checker sees all at once, each in a copy of the world."""

    def copies(frame: pd.DataFrame) -> pd.DataFrame:
        ids = [name for name in frame.columns if name == "id" or name.endswith("_id")]
        shifted = [
            frame.assign(
                **{name: frame[name] + number * COPY * (frame[name] != NULL) for name in ids}
            )
            for number in range(len(states))
        ]
        return pd.concat(shifted, ignore_index=True)

    frames = {
        field.name: copies(frame)
        for field in fields(problem)
        if isinstance(frame := getattr(problem, field.name), pd.DataFrame)
    }
    rows = [
        (email[0] + shift, email[1] + shift, slot[0] + shift, *slot[1:])
        for shift, state in zip(range(0, len(states) * COPY, COPY), states, strict=True)
        for email, slot in state.items()
    ]
    slots = pd.DataFrame(rows, columns=[*EMAIL, *SLOT], dtype=np.int64)
    slots["send_day"] = slots["send_day"].to_numpy().astype("datetime64[D]")
    slots["send_at"] = pd.to_datetime(slots["send_at"], unit="us", utc=True)
    found = sendplan.violations(replace(problem, **frames), slots, one_a_day=one_a_day)
    result: list[set[tuple[Any, ...]]] = [set() for _ in states]
    for rule, enrollment, step, mailbox, number, moment, _ in found.itertuples(
        index=False, name=None
    ):
        copy = enrollment // COPY
        result[copy].add((rule, enrollment % COPY, step % COPY, mailbox % COPY, number, moment))
    return result


def walked(
    problem: sendplan.Problem, sends: pd.DataFrame, size: int, one_a_day: bool = True
) -> list[pd.DataFrame]:
    """Write the batches one by one, and see that each keeps its promises; return them."""
    changes, unchanged = changes_of(problem, sends)
    batches = passage(problem, changes, size, unchanged=unchanged, one_a_day=one_a_day)
    rows = pd.concat([changes, unchanged])
    longest = rows.groupby("enrollment_id").size().max()
    known = dict(zip(keys(rows), rows[[*OLD, "old_plan_run_id"]].to_numpy().tolist(), strict=True))
    stored = stored_in(problem)
    states = [stored]
    parked: list[tuple[int, int]] = []
    done: list[tuple[int, int]] = []
    for batch in batches:
        assert batch.columns.tolist() == [*changes.columns, "parked"]
        assert len(batches) == 1 or 0 < len(batch) < size + longest
        old = batch[[*OLD, "old_plan_run_id"]].to_numpy().tolist()
        assert old == [known[email] for email in keys(batch)]
        written = dict(stored)
        for email, slot, parks in zip(
            keys(batch), slots_of(batch, SLOT), batch["parked"], strict=True
        ):
            (parked if parks else done).append(email)
            assert not parks or (email in stored and slot == (NULL, NULL, NULL))
            written[email], known[email] = slot, [NULL] * 4
        stored = {email: slot for email, slot in written.items() if slot[0] != NULL}
        states.append(stored)
    before, *after = broken(problem, states, one_a_day)
    assert [found - before for found in after] == [set()] * len(after)
    assert sorted(done) == sorted({*keys(changes), *parked})
    assert len(parked) == len(set(parked))
    wanted = rows[(rows["mailbox_id"] != NULL).to_numpy()]
    assert stored == dict(zip(keys(wanted), slots_of(wanted, SLOT), strict=True))
    return batches


def told(batches: Sequence[pd.DataFrame]) -> list[list[str]]:
    """Say who is written in each batch, "-" before what is parked."""
    return [
        [
            f"{'-' if row.parked else ''}{row.enrollment_id}.{row.step_id}"
            for row in batch.itertuples(index=False)
        ]
        for batch in batches
    ]


def crossed(world: World, slots: Sequence[Slot], size: int = 1, **more: Any) -> list[list[str]]:
    return told(walked(world.problem(), sends_of(slots), size, **more))


def single(*days: int, capacity: int = 1, **sequence: Any) -> World:
    """Enrollments 1, 2, … of one email each, which stand on these days."""
    world = World().sequence(waits=(0,), **sequence).mailbox(capacity=capacity)
    for key, number in enumerate(days, start=1):
        world.enroll(key).email(key, 11, "pending", number, NINE)
    return world


def go_to(*days: int, step: int = 11) -> list[Slot]:
    return [(key, step, 5, number, NINE) for key, number in enumerate(days, start=1)]


def chains() -> World:
    """1 stands on days 0 and 2, 2 on days 1 and 3."""
    world = World().sequence().mailbox(capacity=1).enroll(1, 2)
    for key, step, number in ((1, 11, 0), (1, 12, 2), (2, 11, 1), (2, 12, 3)):
        world.email(key, step, "pending", number, NINE, id=10 * key + step)
    return world


FIRSTS_SWAPPED: list[Slot] = [
    (1, 11, 5, 1, NINE),
    (1, 12, 5, 2, NINE),
    (2, 11, 5, 0, NINE),
    (2, 12, 5, 3, NINE),
]


# ---------------------------------------------------------------- one batch


def test_what_fits_into_one_batch_is_one_as_it_is() -> None:
    # First emails change places; nobody is parked, so that what stands behind does not matter.
    changes, unchanged = changes_of(chains().problem(), sends_of(FIRSTS_SWAPPED))
    assert keys(unchanged) == [(1, 12), (2, 12)]
    (batch,) = passage(chains().problem(), changes, 2, unchanged=unchanged[:0])
    pd.testing.assert_frame_equal(batch, changes.assign(parked=False))


def test_a_batch_holds_a_row_at_least() -> None:
    changes, unchanged = changes_of(single(0).problem(), sends_of(go_to(1)))
    with pytest.raises(ValueError, match="size is 0; a batch holds at least one row"):
        passage(single(0).problem(), changes, 0, unchanged=unchanged)


# ---------------------------------------------------------------- lines and circles


def test_a_line_goes_from_its_free_end() -> None:
    # 3 goes to the free Thursday, 2 to its Wednesday, 1 to its Tuesday.
    assert crossed(single(0, 1, 2), go_to(1, 2, 3)) == [["3.11"], ["2.11"], ["1.11"]]


def test_who_leaves_soonest_goes_first() -> None:
    # Two are to share Monday, Tuesday is free: whoever goes first, nobody is in the way.
    assert crossed(single(3, 2, 4, capacity=2), go_to(1, 0, 0)) == [["2.11"], ["3.11"], ["1.11"]]


def test_of_a_swap_the_later_one_is_parked() -> None:
    # Mailbox-days are full before and after: 1 gives up Monday for 2, then takes the Tuesday.
    assert crossed(single(0, 1), go_to(1, 0)) == [["-1.11"], ["2.11"], ["1.11"]]


def test_a_swap_within_one_batch_parks_nobody() -> None:
    # 3 goes to a free day. Then one row of the batch is left, with which half a swap could be
    # done: the batch ends, and the next one does the whole.
    assert crossed(single(0, 1, 2), go_to(1, 0, 3), size=2) == [["3.11"], ["1.11", "2.11"]]


def test_what_only_loses_its_slot_goes_first() -> None:
    # 2 is left out of the plan, so that 1 can have its day.
    assert crossed(single(0, 1), go_to(1)) == [["2.11"], ["1.11"]]


def test_capacity_that_is_used_otherwise_is_no_room() -> None:
    # Of two places on Tuesday one is used: 1 must wait for 2.
    world = single(0, 1, capacity=2).use(5, 1, 1)
    assert crossed(world, go_to(1, 2)) == [["2.11"], ["1.11"]]
    assert crossed(single(0, 1, capacity=2), go_to(1, 2)) == [["1.11"], ["2.11"]]


def test_nobody_comes_to_an_overfull_day() -> None:
    # Capacity was cut: two stand on Monday. 3 may come when both have left; 2 wants the day of 3.
    moves = crossed(single(0, 0, 2), go_to(1, 2, 0))
    assert moves == [["1.11"], ["-2.11"], ["3.11"], ["2.11"]]


def test_nothing_is_written_on_an_overfull_day() -> None:
    # Capacity was cut: 1 gets another minute, but what is written must keep the rules.
    slots: list[Slot] = [(1, 11, 5, 0, "12:00:00"), (2, 11, 5, 1, NINE)]
    assert crossed(single(0, 0), slots) == [["2.11"], ["1.11"]]
    assert crossed(single(0, 0, capacity=2), slots) == [["1.11"], ["2.11"]]


# ---------------------------------------------------------------- chains


def test_a_chain_moves_at_once() -> None:
    # Both emails of 2 make room for those of 1.
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (1, 12, 5, 3, NINE)]
    slots += [(2, 11, 5, 2, NINE), (2, 12, 5, 4, NINE)]
    # Tuesday's email of 2 wants the Wednesday of 1: without a free day one is parked, as a whole.
    assert crossed(chains(), slots) == [["-2.11", "-2.12"], ["1.11", "1.12"], ["2.11", "2.12"]]
    slots[2:] = [(2, 11, 5, 4, NINE), (2, 12, 5, 7, NINE)]
    assert crossed(chains(), slots) == [["2.11", "2.12"], ["1.11", "1.12"]]


def test_what_stands_behind_is_parked_with_its_chain() -> None:
    # Without its first email, the second of 1 must not leave.
    batches = walked(chains().problem(), sends_of(FIRSTS_SWAPPED), 1)
    assert told(batches) == [["-1.11", "-1.12"], ["2.11"], ["1.11", "1.12"]]
    assert batches[0]["id"].tolist() == batches[2]["id"].tolist() == [21, 22]


def test_what_stands_before_is_left_alone() -> None:
    # The second emails change places, the first ones stay.
    slots: list[Slot] = [(1, 11, 5, 0, NINE), (1, 12, 5, 3, NINE)]
    slots += [(2, 11, 5, 1, NINE), (2, 12, 5, 2, NINE)]
    assert crossed(chains(), slots) == [["-1.12"], ["2.12"], ["1.12"]]


def test_rows_that_stand_behind_must_be_passed() -> None:
    changes, unchanged = changes_of(chains().problem(), sends_of(FIRSTS_SWAPPED))
    with pytest.raises(ValueError, match=r"lacks 1 slots .* such as step 12 of enrollment 2"):
        passage(chains().problem(), changes, 1, unchanged=unchanged[:1])


def one_step(world: World, *days: int, first: int) -> World:
    """Add enrollments of sequence 2 from an id on, of one email each, that stand on these days."""
    for key, number in enumerate(days, start=first):
        world.enroll(key, sequence=2).email(key, 21, "pending", number, NINE)
    return world


def test_the_place_of_a_parked_slot_may_be_taken_meanwhile() -> None:
    # On Thursday there is room for two, on all other days for one. 1 and 4 change their first
    # days, 2 and 3 change Thursday and Friday. While 1 is parked, 3 takes its place on Thursday;
    # the second email of 1 is there again when 2 has left.
    world = World().sequence().sequence(2, (0,)).mailbox(capacity=2, sequences=(1, 2)).enroll(1)
    world.email(1, 11, "pending", 0).email(1, 12, "pending", 3)
    one_step(world, 3, 4, 1, first=2)
    for number in (0, 1, 4):
        world.use(5, number, 1)
    slots: list[Slot] = [(1, 11, 5, 1, "09:00"), (1, 12, 5, 3, "09:00")]
    slots += [(2, 21, 5, 4, NINE), (3, 21, 5, 3, NINE), (4, 21, 5, 0, NINE)]
    expected = [["-1.11", "-1.12"], ["4.21"], ["3.21"], ["2.21"], ["1.11", "1.12"]]
    assert crossed(world, slots) == expected


def test_of_those_in_the_way_the_one_with_the_latest_day_is_parked() -> None:
    # Monday has room for two, the days after for one each. 3 and 4 want to come to Monday, 1 is to
    # go to the Tuesday of 3, 2 to the Wednesday of 4. 2 is parked; the rest is a line.
    world = single(0, 0, 1, 2, capacity=2).use(5, 1, 1).use(5, 2, 1)
    expected = [["-2.11"], ["3.11"], ["1.11"], ["4.11"], ["2.11"]]
    assert crossed(world, go_to(1, 2, 0, 0)) == expected


def test_a_batch_is_full_with_what_is_parked_in_it() -> None:
    # Both emails of 1 are parked for 2, and one row is left for it. 3 could go, too, but the batch
    # is full; in the next one it makes room for 1.
    world = World().sequence().sequence(2, (0,)).mailbox(capacity=1, sequences=(1, 2)).enroll(1)
    world.email(1, 11, "pending", 0).email(1, 12, "pending", 1)
    one_step(world, 2, 3, first=2)
    slots: list[Slot] = [(1, 11, 5, 2, NINE), (1, 12, 5, 3, NINE)]
    slots += [(2, 21, 5, 0, NINE), (3, 21, 5, 1, NINE)]
    expected = [["-1.11", "-1.12", "2.21"], ["1.11", "1.12", "3.21"]]
    assert crossed(world, slots, size=3) == expected


def test_a_batch_is_full_with_what_comes_back_in_it() -> None:
    # 1 comes back with both emails, though only one has changed: 3 goes in the next batch.
    world = World().sequence().sequence(2, (0,)).mailbox(capacity=1, sequences=(1, 2)).enroll(1, 2)
    for key, step, number in ((1, 11, 0), (1, 12, 2), (2, 11, 1), (2, 12, 3)):
        world.email(key, step, "pending", number, NINE)
    one_step(world, 7, first=3)
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (1, 12, 5, 2, NINE), (2, 11, 5, 0, NINE)]
    slots += [(2, 12, 5, 4, NINE), (3, 21, 5, 3, NINE)]
    expected = [["-1.11", "-1.12"], ["2.11", "2.12"], ["1.11", "1.12"], ["3.21"]]
    assert crossed(world, slots, size=2) == expected


def test_what_a_parked_chain_loses_for_good_is_not_written_again() -> None:
    # 1 swaps its first email with 2 and has no room for its second; 3 is new, with no row yet.
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (2, 11, 5, 0, NINE), (2, 12, 5, 3, NINE)]
    world = chains().enroll(3)
    slots.append((3, 11, 5, 2, NINE))
    moves = crossed(world, slots)
    assert moves == [["-1.11", "1.12"], ["2.11"], ["3.11"], ["1.11"]]


# ---------------------------------------------------------------- other rules


def test_contact_days() -> None:
    # One person in two sequences, the days change places; mailboxes have room.
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(sequences=(1, 2))
    world.enroll(1, contact_id=7).enroll(2, sequence=2, contact_id=7)
    world.email(1, 11, "pending", 0).email(2, 21, "pending", 1)
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (2, 21, 5, 0, NINE)]
    assert crossed(world, slots) == [["-1.11"], ["2.21"], ["1.11"]]
    assert crossed(world, slots, one_a_day=False) == [["2.21"], ["1.11"]]


def test_first_emails_a_day() -> None:
    world = single(0, 1, capacity=9, max_new_per_day=1)
    assert crossed(world, go_to(1, 0)) == [["-1.11"], ["2.11"], ["1.11"]]
    # Wednesday's one has gone to somebody whose email is in flight: only Tuesday is free for 2.
    world = single(0, 1, capacity=9, max_new_per_day=2)
    world.enroll(3).email(3, 11, "claimed", 1)
    assert crossed(world, go_to(1, 2)) == [["2.11"], ["1.11"]]


def test_follow_ups_are_no_first_emails() -> None:
    # Both have received 11, so that max_new_per_day has nothing to say about 12.
    world = World().sequence(max_new_per_day=1).mailbox().enroll(1, 2)
    for key, number in ((1, 0), (2, 1)):
        world.email(key, 11, "sent", -3).email(key, 12, "pending", number)
    assert crossed(world, go_to(1, 0, step=12)) == [["2.12"], ["1.12"]]


def test_stray_rows_are_no_first_emails() -> None:
    # 1 has a slot of another sequence's step, which comes to nothing. One first email a day: 2 can
    # come to the day of 1 only when 1 has left it.
    world = World().sequence(1, (0,)).sequence(2, (0,), max_new_per_day=1)
    world.mailbox(capacity=9, sequences=(1, 2)).enroll(1, 2, sequence=2)
    world.email(1, 11, "pending", 3).email(1, 21, "pending", 1).email(2, 21, "pending", 2)
    slots: list[Slot] = [(1, 21, 5, 2, NINE), (2, 21, 5, 1, NINE)]
    assert crossed(world, slots) == [["1.11", "-1.21"], ["2.21"], ["1.21"]]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # 9:15 is too near to 9:20, so that 2 leaves first.
        (("09:00", "09:20"), ("09:15", "09:40"), [["2.11"], ["1.11"]]),
        # Ten minutes are enough, before and behind.
        (("09:00", "09:20"), ("09:10", "09:40"), [["1.11"], ["2.11"]]),
        (("09:40", "09:00"), ("09:10", "09:30"), [["1.11"], ["2.11"]]),
        # Each wants to be too near to where the other is.
        (("09:00", "09:20"), ("09:25", "09:05"), [["-2.11"], ["1.11"], ["2.11"]]),
        # One's own old slot is in nobody's way.
        (("09:00", "09:20"), ("09:05", "09:25"), [["1.11"], ["2.11"]]),
    ],
)
def test_gaps(before: tuple[str, str], after: tuple[str, str], expected: list[list[str]]) -> None:
    # Ten minutes between any two emails.
    world = World().sequence(waits=(0,)).mailbox(min_gap_seconds=600).enroll(1, 2)
    for key, clock in enumerate(before, start=1):
        world.email(key, 11, "pending", 0, clock)
    slots: list[Slot] = [(key, 11, 5, 0, clock) for key, clock in enumerate(after, start=1)]
    assert crossed(world, slots) == expected


def test_slots_that_stand_too_near_already() -> None:
    # The gap was raised: on Thursday 1 and 2 have stood five minutes from each other, until 2
    # leaves. That keeps 1 from nothing as long as its second email stands.
    world = World().sequence().sequence(2, (0,)).mailbox(sequences=(1, 2), min_gap_seconds=600)
    world.enroll(1).email(1, 11, "pending", 0).email(1, 12, "pending", 3, "09:05")
    one_step(world, 3, first=2)
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (1, 12, 5, 3, "09:05"), (2, 21, 5, 4, NINE)]
    assert crossed(world, slots) == [["1.11"], ["2.21"]]


def test_what_comes_back_keeps_the_gap() -> None:
    # Monday, Tuesday and Friday have room for one, Thursday for three. 1 is parked for 4, with its
    # second email, which has stood too near to 2. It comes back when 2 has been parked as well,
    # which waits for the Friday of 3, as 3 waits for the neighbourhood of 2.
    world = World().sequence().sequence(2, (0,))
    world.mailbox(capacity=3, sequences=(1, 2), min_gap_seconds=600).enroll(1)
    world.email(1, 11, "pending", 0).email(1, 12, "pending", 3, "09:05")
    one_step(world, 4, 1, first=3).enroll(2, sequence=2).email(2, 21, "pending", 3, "09:10")
    for number in (0, 1, 4):
        world.use(5, number, 2)
    slots: list[Slot] = [(1, 11, 5, 1, NINE), (1, 12, 5, 3, "09:05")]
    slots += [(2, 21, 5, 4, NINE), (3, 21, 5, 3, "09:15"), (4, 21, 5, 0, NINE)]
    expected = [["-1.11", "-1.12"], ["4.21"], ["-2.21"], ["1.11", "1.12"], ["3.21"], ["2.21"]]
    assert crossed(world, slots) == expected


# ---------------------------------------------------------------- by chance


def crowd(rng: random.Random) -> World:
    """Build a world with little more room than its emails need."""
    world, limit = World(), rng.choice((None, 1, 2))
    for key in (1, 2):
        world.sequence(key, (0,) * rng.randint(1, 3), max_new_per_day=limit)
    for key in (5, 6)[: rng.randint(1, 2)]:
        gap = rng.choice((0, 0, 1800))
        world.mailbox(key, rng.randint(1, 3), sequences=(1, 2), min_gap_seconds=gap)
    for key in range(1, rng.randint(3, 11)):
        # Some contacts are in both sequences.
        contact, sequence = rng.choice(((key, rng.randint(1, 2)), (SHARED + key // 2, 1 + key % 2)))
        world.enroll(key, sequence=sequence, contact_id=contact)
    return world


def at_random(rng: random.Random, world: World) -> list[Slot]:
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
        sequence, box, begin = person["sequence_id"], rng.choice(list(boxes)), 0
        for order, step in enumerate(
            row["id"] for row in world.rows["steps"] if row["sequence_id"] == sequence
        ):
            days = [
                number
                for number in range(begin, 5)
                if (person["contact_id"], number) not in busy
                and (order or limit is None or firsts.count((sequence, number)) < limit)
            ]
            places = [(n, clock) for n in days for clock in clocks if fits(box, n, clock)]
            if not places:
                break
            number, clock = rng.choice(places)
            slots.append((person["id"], step, box, number, clock))
            busy.add((person["contact_id"], number))
            firsts += [(sequence, number)] * (not order)
            begin = number + 1
    return slots


def exchanged(rng: random.Random, world: World, slots: list[Slot]) -> list[Slot]:
    """Let contacts that are in one sequence only change places with others like them."""
    alone = {row["id"] for row in world.rows["enrollments"] if row["contact_id"] < SHARED}
    chains: dict[int, list[Slot]] = {}
    for slot in slots:
        chains.setdefault(slot[0], []).append(slot)
    alike: dict[tuple[int, ...], list[int]] = {}
    for key, chain in chains.items():
        which = () if key in alone else (key,)
        alike.setdefault((*which, *(slot[1] for slot in chain)), []).append(key)
    return [
        (key, *slot[1:])
        for group in alike.values()
        for key, other in zip(group, rng.sample(group, len(group)), strict=True)
        for slot in chains[other]
    ]


@examples(40)
@given(seed=st.integers(0, 2**31 - 1), size=st.integers(1, 6), exchange=st.booleans())
def test_from_any_plan_to_any_other(seed: int, size: int, exchange: bool) -> None:
    rng = random.Random(seed)
    world = crowd(rng)
    before = at_random(rng, world)
    after = exchanged(rng, world, before) if exchange else at_random(rng, world)
    for key, step, box, number, clock in before:
        world.email(key, step, "pending", number, clock, mailbox_id=box)
    walked(world.problem(), sends_of(after), size)


def changed(frames: Frames, rng: random.Random) -> Frames:
    """Give other capacities, gaps and limits, and pause a sequence or a mailbox."""
    sequences, mailboxes = frames["sequences"].copy(), frames["mailboxes"].copy()
    mailboxes["daily_capacity"] = [rng.choice((1, 2, 3, 20)) for _ in range(len(mailboxes))]
    mailboxes["min_gap_seconds"] = [rng.choice((0, 0, 600, 7200)) for _ in range(len(mailboxes))]
    limits = [rng.choice((pd.NA, 1, 2)) for _ in range(len(sequences))]
    sequences["max_new_per_day"] = pd.array(limits, dtype="Int64")
    for frame in (sequences, mailboxes):
        paused = rng.random() < 0.2 and len(frame) > 1
        frame["status"] = ["paused" if paused and not i else "active" for i in range(len(frame))]
    return frames | {"sequences": sequences, "mailboxes": mailboxes}


@examples(12)
@given(
    instance=instances(10),
    seed=st.integers(0, 2**31 - 1),
    size=st.integers(1, 8),
    one_a_day=st.booleans(),
)
def test_from_plan_to_plan_as_settings_change(
    instance: tuple[Frames, pd.Timestamp], seed: int, size: int, one_a_day: bool
) -> None:
    frames, now = instance
    rng = random.Random(seed)

    def problem_of(frames: Frames) -> sendplan.Problem:
        return sendplan.Problem.from_frames(**frames, now=now)  # type: ignore[arg-type]

    early, late = changed(frames, rng), changed(frames, rng)
    shuffled = frames["enrollments"].copy()
    shuffled["enrolled_at"] = rng.sample(shuffled["enrolled_at"].tolist(), len(shuffled))
    before = sendplan.solve(problem_of(early | {"enrollments": shuffled}), "greedy")
    # Planned anew, as if nothing stood there, more changes than a night would change.
    after = sendplan.solve(problem_of(late), "greedy", one_a_day=one_a_day)
    problem = problem_of(with_plan(late, before.sends, before.unplaced))
    walked(problem, after.sends, size, one_a_day)
