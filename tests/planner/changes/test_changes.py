"""Changes as values: the problem that each one leaves, and what it is refused for."""

from collections.abc import Callable
from datetime import date, time
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.planner.changes import (
    AddMailbox,
    AddMailboxes,
    AddStep,
    Arrivals,
    Change,
    DaysOff,
    LinkMailbox,
    MoveStep,
    RemoveMailbox,
    RemoveStep,
    ScaleCapacities,
    SetMailbox,
    SetSequence,
    SetStep,
    StopContacts,
    SuppressContact,
    UnlinkMailbox,
)
from sendplan.planner.schema.contracts import CONTRACTS
from sendplan.planner.schema.errors import ProblemError
from sendplan.planner.schema.vocabulary import MailboxStatus
from sendplan.tests.worlds.problems.tiny import World, days_of, without_slot


def world() -> World:
    """Make two sequences of three steps, two mailboxes, and people at different points."""
    made = World().sequence(waits=(0, 1, 2), wait_unit="calendar")
    made.sequence(2, waits=(0, 3, 4), wait_unit="calendar", holidays="DE")
    ramp = {"ramp_start": 1, "ramp_increment": 2, "ramp_from": date(2026, 3, 1)}
    made.mailbox(5, email="ann@example.com")
    made.mailbox(6, sequences=(1, 2), email="Ben@example.com", **ramp)
    made.mailbox(7, sequences=(2,), email="cleo@example.com", status="removed")
    made.enroll(1, contact_id=31).enroll(2, contact_id=31, sequence=2)
    made.enroll(3, contact_id=32, status="completed", completed_at=made.now)
    return made.enroll(4, contact_id=33, sequence=2, status="completed", completed_at=made.now)


@cache
def base() -> sendplan.Problem:
    return world().problem()


def edited(table: str, key: int | None = None, **values: Any) -> World:
    """Write other values into the rows by hand: into one, or into all of a table."""
    made = world()
    for row in made.rows[table]:
        if key in (None, row["id"]):
            row |= values
    return made


def same(one: sendplan.Problem, other: sendplan.Problem) -> None:
    assert one.now == other.now
    for name in CONTRACTS:
        assert_frame_equal(getattr(one, name), getattr(other, name))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ProblemError) as caught:
        make()
    return str(caught.value)


# ---------------------------------------------------------------- one column of one row

NOW = world().now
ONE_ROW: list[tuple[Change, World]] = [
    (RemoveMailbox(6), edited("mailboxes", 6, status="removed")),
    (RemoveMailbox(7), world()),
    (SetMailbox(5, status="paused"), edited("mailboxes", 5, status="paused")),
    (SetMailbox(5, status="active"), world()),
    (SetMailbox(5, status=MailboxStatus.PAUSED), edited("mailboxes", 5, status="paused")),
    (SetMailbox(5, daily_capacity=0), edited("mailboxes", 5, daily_capacity=0)),
    (SetMailbox(6, min_gap_seconds=90), edited("mailboxes", 6, min_gap_seconds=90)),
    (SetMailbox(6, ramp_start=3), edited("mailboxes", 6, ramp_start=3)),
    (
        SetMailbox(5, ramp_start=3, ramp_from="2026-03-02"),
        edited("mailboxes", 5, ramp_start=3, ramp_from=date(2026, 3, 2)),
    ),
    (
        SetMailbox(6, ramp_start=None, ramp_increment=None, ramp_from=None),
        edited("mailboxes", 6, ramp_start=None, ramp_increment=None, ramp_from=None),
    ),
    (SetStep(12, wait_days=9), edited("steps", 12, wait_days=9)),
    (SetStep(12, subject="Hello", content="…"), world()),
    (SetSequence(1, start_time="08:30"), edited("sequences", 1, start_time=time(8, 30))),
    (
        SetSequence(1, start_time="20:00", end_time="24:00"),
        edited("sequences", 1, start_time="20:00", end_time="24:00"),
    ),
    (SetSequence(1, timezone="Asia/Tokyo"), edited("sequences", 1, timezone="Asia/Tokyo")),
    (SetSequence(1, send_days=[7, 1, 7]), edited("sequences", 1, send_days=[1, 7])),
    (SetSequence(1, holidays="US"), edited("sequences", 1, holidays="US")),
    (SetSequence(2, holidays=None), edited("sequences", 2, holidays=None)),
    (SetSequence(1, wait_unit="sending"), edited("sequences", 1, wait_unit="sending")),
    (SetSequence(1, priority=2.5), edited("sequences", 1, priority=2.5)),
    (SetSequence(1, max_new_per_day=3), edited("sequences", 1, max_new_per_day=3)),
    (SetSequence(1, max_new_per_day=None), world()),
    (SetSequence(1, status="paused"), edited("sequences", 1, status="paused")),
    (SetSequence(1, unsubscribe_url="mailto:out@x.example"), world()),
    (SetSequence(1, unsubscribe_url=None), world()),
    (SuppressContact(32, "asked"), edited("enrollments", 3, suppressed_at=NOW)),
    (SuppressContact(99), world()),
    (StopContacts([31], "replied", [2]), edited("enrollments", 2, status="stopped")),
    (StopContacts([32, 99], "replied"), world()),
    (StopContacts([33], "bounced"), edited("enrollments", 4, suppressed_at=NOW)),
]


@pytest.mark.parametrize(
    ("change", "expected"), ONE_ROW, ids=[repr(change)[:60] for change, _ in ONE_ROW]
)
def test_a_change_of_one_row(change: Change, expected: World) -> None:
    same(base().with_(change), expected.problem())


def test_a_contact_is_suppressed_in_all_sequences_and_since_the_first_time() -> None:
    later = edited("enrollments", 1, suppressed_at=world().now)
    expected = edited("enrollments", 1, suppressed_at=world().now)
    expected.rows["enrollments"][1]["suppressed_at"] = later.now = expected.now = NOW.replace(
        hour=7
    )
    same(later.problem().with_(SuppressContact(31)), expected.problem())


def test_who_unsubscribed_is_stopped_and_suppressed_in_all_sequences() -> None:
    # 31 has two threads; the one of 33 has completed, and stays so.
    expected = edited("enrollments", 1, status="stopped", suppressed_at=NOW)
    expected.rows["enrollments"][1] |= {"status": "stopped", "suppressed_at": NOW}
    expected.rows["enrollments"][3]["suppressed_at"] = NOW
    same(base().with_(StopContacts([33, 31], "unsubscribed")), expected.problem())


# ---------------------------------------------------------------- rows added, links


def test_an_added_mailbox_gets_the_next_id_and_its_links() -> None:
    change = AddMailbox(4, [2, 1, 2], "dana@example.com", min_gap_seconds=60, user_id=9)
    expected = world().mailbox(8, 4, sequences=(1, 2), email="dana@example.com", min_gap_seconds=60)
    same(base().with_(change), expected.problem())


def test_the_first_mailbox_and_the_first_step_get_1() -> None:
    expected = World().sequence(waits=()).step(1, 1, 2).mailbox(1, 3).problem()
    same(World().sequence(waits=()).problem().with_(AddMailbox(3, [1]), AddStep(1, 2)), expected)


def test_a_removed_mailbox_comes_back_with_the_new_settings() -> None:
    settings = {
        "status": "active",
        "daily_capacity": 3,
        "ramp_start": 1,
        "ramp_from": date(2026, 3, 2),
    }
    change = AddMailbox(3, [], "CLEO@example.com", ramp_start=1, ramp_from="2026-03-02")
    # Without sequences it sends for those it had, else for the ones that are named.
    same(base().with_(change), edited("mailboxes", 7, **settings).problem())
    expected = edited("mailboxes", 7, status="active", daily_capacity=3)
    expected.rows["sequence_mailboxes"][-1]["sequence_id"] = 1
    same(base().with_(AddMailbox(3, [1], "cleo@example.com")), expected.problem())


def test_links_come_and_go() -> None:
    linked = world()
    linked.rows["sequence_mailboxes"].append({"sequence_id": 2, "mailbox_id": 5})
    once = base().with_(LinkMailbox(2, 5))
    same(once, linked.problem())
    same(once.with_(LinkMailbox(2, 5)), linked.problem())
    same(once.with_(UnlinkMailbox(2, 5)), world().problem())
    same(once.with_(UnlinkMailbox(2, 5), UnlinkMailbox(2, 5)), world().problem())


@pytest.mark.parametrize(
    ("factor", "capacity"), [(0.5, [4, 2, 0]), (1.5, [11, 5, 0]), (0, [0, 0, 0]), (1, [7, 3, 0])]
)
def test_capacities_scaled_to_the_nearest_whole_email(factor: float, capacity: list[int]) -> None:
    # 3.5 and 1.5 are rounded up, and so are 10.5 and 4.5.
    made = World().sequence().mailbox(5, 7).mailbox(6, 3).mailbox(7, 0).problem()
    assert made.with_(ScaleCapacities(factor)).mailboxes["daily_capacity"].tolist() == capacity
    one = made.with_(ScaleCapacities(factor, [6])).mailboxes["daily_capacity"].tolist()
    assert one == [7, capacity[1], 0]


# ---------------------------------------------------------------- the order of steps


def order(problem: sendplan.Problem, sequence: int = 1) -> list[int]:
    steps = problem.live_steps
    own = steps[steps["sequence_id"] == sequence]
    assert own["position"].tolist() == list(range(1, len(own) + 1))
    return own["id"].tolist()


@pytest.mark.slow
@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.data())
def test_steps_come_go_and_move_as_in_a_list(data: st.DataObject) -> None:
    """A sequence is a list of steps; another one of the same positions stays as it is."""
    problem = World().sequence(waits=(0, 1, 2)).sequence(2, waits=(0, 3)).problem()
    listed, fresh = [11, 12, 13], 23
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["add", "append", "remove", "move"]))
        if kind in ("add", "append") or not listed:
            place = data.draw(st.integers(1, len(listed) + 1)) if kind == "add" else None
            problem = problem.with_(AddStep(1, 1, place))
            listed.insert(len(listed) if place is None else place - 1, fresh)
            fresh += 1
            continue
        step = data.draw(st.sampled_from(listed))
        listed.remove(step)
        if kind == "move":
            place = data.draw(st.integers(1, len(listed) + 1))
            listed.insert(place - 1, step)
            problem = problem.with_(MoveStep(step, place))
        else:
            problem = problem.with_(RemoveStep(step))
        assert order(problem) == listed
    assert order(problem) == listed
    assert order(problem, 2) == [21, 22]


def test_a_removed_step_keeps_its_row() -> None:
    expected = world()
    expected.rows["steps"][1] |= {"position": None, "removed_at": expected.now}
    expected.rows["steps"][2]["position"] = 2
    same(base().with_(RemoveStep(12)), expected.problem())


def test_an_added_step_reopens_who_has_completed_only_if_asked() -> None:
    expected = world().step(24, 4, 5)
    same(base().with_(AddStep(1, 5, subject="Hi")), expected.problem())
    expected.rows["enrollments"][2] |= {"status": "active", "completed_at": None}
    same(base().with_(AddStep(1, 5, reopen=True)), expected.problem())


# ---------------------------------------------------------------- all changes


EVERY = [
    *(change for change, _ in ONE_ROW),
    AddMailbox(3, [1]),
    LinkMailbox(2, 5),
    UnlinkMailbox(1, 5),
    ScaleCapacities(2),
    AddMailboxes(2, 30),
    AddMailboxes(1, like=5, ramp_start=3, ramp_from="2026-12-01"),
    DaysOff(["2026-12-24"], [2]),
    Arrivals(1, 5, "2026-12-01", days=3),
    AddStep(1, 1, 1, reopen=True),
    RemoveStep(11),
    MoveStep(11, 3),
]
TOUCHED = {
    "AddMailbox": {"mailboxes", "sequence_mailboxes"},
    "RemoveMailbox": {"mailboxes"},
    "SetMailbox": {"mailboxes"},
    "ScaleCapacities": {"mailboxes"},
    "AddMailboxes": {"mailboxes", "sequence_mailboxes"},
    "DaysOff": {"days_off"},
    "Arrivals": {"enrollments"},
    "LinkMailbox": {"sequence_mailboxes"},
    "UnlinkMailbox": {"sequence_mailboxes"},
    "AddStep": {"steps", "enrollments"},
    "RemoveStep": {"steps"},
    "MoveStep": {"steps"},
    "SetStep": {"steps"},
    "SetSequence": {"sequences"},
    "SuppressContact": {"enrollments"},
    "StopContacts": {"enrollments"},
}


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_the_problem_before_stays_and_shares_what_is_not_touched(change: Change) -> None:
    before = base()
    after = before.with_(change)
    same(before, world().problem())
    shared = {name for name in CONTRACTS if getattr(after, name) is getattr(before, name)}
    assert shared >= set(CONTRACTS) - TOUCHED[type(change).__name__]


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_a_change_reads_as_it_is_written_and_equals_its_like(change: Change) -> None:
    again = eval(repr(change), vars(sendplan.changes))
    assert (again, hash(again), repr(again)) == (change, hash(change), repr(change))


def test_only_what_is_given_is_written() -> None:
    change = SetSequence(1, start_time="08:00", holidays=None)
    assert repr(change) == "SetSequence(sequence_id=1, start_time='08:00', holidays=None)"
    assert change != SetSequence(1, start_time="08:00")


def test_changes_are_made_in_order() -> None:
    before = base()
    added = AddMailbox(3, [1])
    same(
        before.with_(added, SetMailbox(8, status="paused")),
        before.with_(added).with_(SetMailbox(8, status="paused")),
    )
    same(before.with_(), before)


def test_a_changed_problem_is_planned() -> None:
    """Two contacts in one mailbox with room for one email a day, and what a second one gains."""
    problem = World().sequence(waits=(0,)).mailbox(5, 1).enroll(1, 2).problem()
    assert days_of(sendplan.solve(problem)) == {1: [0], 2: [1]}
    assert days_of(sendplan.solve(problem.with_(AddMailbox(1, [1])))) == {1: [0], 2: [0]}
    # A step more at the end, three days after: Monday's on Thursday, Tuesday's on Friday.
    longer = sendplan.solve(problem.with_(AddStep(1, 3)))
    assert days_of(longer) == {1: [0, 3], 2: [1, 4]}
    gone = sendplan.solve(problem.with_(RemoveMailbox(5)))
    assert without_slot(gone) == [(1, 11, "no_active_mailbox"), (2, 11, "no_active_mailbox")]
    assert len(sendplan.solve(problem.with_(SetSequence(1, status="paused"))).sends) == 0


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SetMailbox(5), "mailbox 5: nothing is given – give any of daily_capacity, "),
        (
            lambda: SetStep(12),
            "step 12: nothing is given – give any of wait_days, subject, content",
        ),
        (lambda: SetSequence(1), "sequence 1: nothing is given"),
        (
            lambda: SetMailbox(5, daily_capacity=-1),
            "mailbox 5, daily_capacity: must be at least 0 (1: -1) – correct the value",
        ),
        (lambda: AddMailbox(10**23), "new mailbox, daily_capacity: must hold whole numbers"),
        (lambda: AddMailbox("many"), "new mailbox, daily_capacity: must hold whole numbers"),
        (lambda: AddMailbox(1, 5), "sequence_ids: must list ids (1: 5)"),
        (lambda: AddMailbox(1, ramp_start=3), "new mailbox: has half a ramp – give ramp_start and"),
        (lambda: SetMailbox(5, status="off"), "use one of active, paused, removed"),
        (lambda: SetMailbox(True, status="paused"), "mailbox_id: must hold whole numbers, not"),
        (lambda: RemoveMailbox(None), "mailbox_id: a value is missing"),
        (lambda: RemoveMailbox("a"), "mailbox_id: must hold whole numbers (1: 'a')"),
        (lambda: AddStep(1, -1), "new step of sequence 1, wait_days: must be at least 0"),
        (lambda: AddStep(1, 4000), "wait_days: must be at most 3650"),
        (lambda: AddStep(1, 1, 0), "new step of sequence 1, position: must be at least 1"),
        (lambda: AddStep(1, 1, subject=3), "subject: must hold text (1: 3)"),
        (lambda: MoveStep(11, None), "step 11, position: a value is missing"),
        (lambda: SetStep(11, subject=None), "step 11, subject: must hold text (1: None)"),
        (lambda: SetSequence(1, unsubscribe_url=1), "unsubscribe_url: must hold text (1: 1)"),
        (lambda: SetSequence(1, start_time="9h"), "write them as HH:MM or HH:MM:SS"),
        (lambda: SetSequence(1, start_time="10:00", end_time="10:00"), "must be after start_time"),
        (lambda: SetSequence(1, timezone="Europe/Berln"), "perhaps 'Europe/Berlin'"),
        (lambda: SetSequence(1, timezone=None), "sequence 1, timezone: a value is missing"),
        (lambda: SetSequence(1, holidays="Germany"), "sequence 1, holidays: holds unknown country"),
        (lambda: SetSequence(1, send_days=[]), "must hold at least one ISO weekday"),
        (lambda: SetSequence(1, priority=0), "sequence 1, priority: must be finite and above 0"),
        (lambda: ScaleCapacities(-0.5), "capacities, factor: must be a finite number, at least 0"),
        (lambda: ScaleCapacities(float("nan")), "must be a finite number"),
        (lambda: ScaleCapacities("2"), "must be a finite number"),
        (lambda: StopContacts(31, "replied"), "contact_ids: must list ids (1: 31)"),
        (
            lambda: StopContacts([31], "died"),
            "contacts to stop, reason: is unknown (1: 'died') – use one of replied, bounced, unsub",
        ),
        (
            lambda: StopContacts([31], "bounced", [1]),
            "sequence_ids: bounced contacts are stopped in every sequence – leave sequence_ids out",
        ),
    ],
)
def test_values_that_nothing_can_take_on(make: Callable[[], object], told: str) -> None:
    assert told in refusal(make)


def test_all_values_are_told_at_once() -> None:
    told = refusal(lambda: SetMailbox(5, daily_capacity=-1, status="off"))
    assert "mailbox 5, daily_capacity" in told
    assert "mailbox 5, status" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (RemoveMailbox(55), "mailbox 55: does not exist – did you mean 5?"),
        (StopContacts([31], "replied", [3]), "sequence 3: does not exist"),
        (SetMailbox(99, status="paused"), "mailbox 99: does not exist – there is 5, 6, 7"),
        (SetMailbox(7, status="active"), "mailbox 7: was removed – add a mailbox of its address"),
        (SetMailbox(6, ramp_from=None), "mailbox 6: has half a ramp"),
        (AddMailbox(1, [3]), "sequence 3: does not exist"),
        (AddMailbox(1, [1], "BEN@example.com"), "BEN@example.com is mailbox 6 – change mailbox 6"),
        (LinkMailbox(3, 5), "sequence 3: does not exist"),
        (LinkMailbox(1, 99), "mailbox 99: does not exist"),
        (LinkMailbox(1, 7), "mailbox 7: was removed"),
        (UnlinkMailbox(3, 5), "sequence 3: does not exist"),
        (UnlinkMailbox(1, 99), "mailbox 99: does not exist"),
        (ScaleCapacities(2, [5, 99]), "mailbox 99: does not exist"),
        (AddStep(3, 1), "sequence 3: does not exist"),
        (AddStep(1, 1, 5), "new step of sequence 1, position: 5 is out of range – the steps allow"),
        (RemoveStep(111), "step 111: does not exist – did you mean 11?"),
        (MoveStep(11, 4), "step 11, position: 4 is out of range – the steps allow 1 to 3"),
        (SetSequence(1, end_time="09:00"), "sequence 1, end_time: must be after start_time"),
        (SetSequence(1, start_time="17:00"), "sequence 1, end_time: must be after start_time"),
    ],
    ids=repr,
)
def test_changes_that_do_not_fit(change: Change, told: str) -> None:
    assert told in refusal(lambda: base().with_(change))


@pytest.mark.parametrize("change", [RemoveStep(12), MoveStep(12, 1), SetStep(12, wait_days=1)])
def test_a_removed_step_is_not_changed(change: Change) -> None:
    without = base().with_(RemoveStep(12))
    assert "step 12: was removed already" in refusal(lambda: without.with_(change))


def test_a_sequence_has_at_most_62_steps() -> None:
    full = World().sequence(waits=[0] + [1] * 60).problem().with_(AddStep(1, 1))
    assert "sequence 1: has 62 steps" in refusal(lambda: full.with_(AddStep(1, 1)))


def test_the_tables_place_steps_by_the_same_rule() -> None:
    """Steps 11, 12, 13 of which one comes between, and of which the last one goes first."""
    positions = {11: 1, 12: 2, 13: 3}
    assert AddStep(1, 1, 2).place(positions) == ({12: 3, 13: 4}, 2)
    assert AddStep(1, 1).place(positions) == ({}, 4)
    assert MoveStep(13, 1).place(positions) == {13: 1, 11: 2, 12: 3}
    assert MoveStep(12, 2).place(positions) == {12: 2}


def test_the_tables_bring_mailboxes_back_by_the_same_rule() -> None:
    change = AddMailbox(1, email="ann@example.com")
    assert change.brought_back([]) is None
    assert change.brought_back([(7, "removed"), (9, "removed")]) == 7
    told = refusal(lambda: change.brought_back([(7, "removed"), (9, "paused")]))
    assert "ann@example.com is mailbox 9" in told


def test_an_address_is_looked_for_where_no_mailbox_has_one() -> None:
    bare = World().sequence().mailbox(5).problem()
    assert bare.with_(AddMailbox(1, [1], "ann@example.com")).mailboxes["id"].tolist() == [5, 6]


def test_what_is_no_change() -> None:
    with pytest.raises(TypeError, match=r"5 is no change; use one such as RemoveMailbox\(5\)"):
        base().with_(5)
