"""Why an email has its slot: every stated fact against the plan, and small cases by hand."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

import sendplan
from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.errors import DataError
from sendplan.io.studies.explanations import explain_email
from sendplan.planner.explain.explanations import explain_slots
from sendplan.planner.explain.texts import Explanation
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.slots import slots_of
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.problems.chance import instance
from sendplan.tests.worlds.problems.explained import Asked, contradictions
from sendplan.tests.worlds.problems.nasty import random_frames
from sendplan.tests.worlds.problems.tiny import World, at, day

EACH = 3
"""Emails asked about in each instance by chance."""


def every_claim(asked: Asked) -> list[str]:
    """Ask about some emails of a plan, evenly spread, and about all that have no slot."""
    sends = asked.plan.sends
    complaints = []
    for row in sends.iloc[:: max(1, len(sends) // EACH)].itertuples(index=False):
        found = asked.explain(row.enrollment_id, row.step_id)
        complaints += [
            f"enrollment {row.enrollment_id}, step {row.step_id}: {text}"
            for text in contradictions(asked, found)
        ]
    for row in asked.plan.unplaced.itertuples(index=False):
        found = asked.explain(row.enrollment_id, row.step_id)
        if (found.state, found.reason) != ("unplaced", row.reason) or not found.remedy:
            complaints.append(f"{row.reason} is said to be {found.reason}")
    return complaints


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 8, 17, 26])
def test_what_is_said_of_nasty_instances_is_so(seed: int) -> None:
    frames, now = random_frames(seed, 8)
    problem = sendplan.Problem.from_frames(**frames, now=now)
    horizon_days = None if seed % 2 else 3
    plan = sendplan.solve(problem, "greedy", horizon_days=horizon_days)
    assert every_claim(Asked(frames, now.to_pydatetime(), plan, horizon_days=horizon_days)) == []


@pytest.mark.parametrize("kind", ["contacts", "room"])
@pytest.mark.parametrize("bundle", range(1))
def test_what_is_said_of_crowded_instances_is_so(kind: str, bundle: int) -> None:
    world, how = instance(kind, bundle, 0)
    plan = sendplan.solve(world.problem(), "greedy", **how)
    assert every_claim(Asked(world.frames(), world.now, plan, **how)) == []


# ---------------------------------------------------------------- by hand


def asked(world: World, enrollment: int, step: int, **how: Any) -> Explanation:
    """Explain an email of the greedy's plan, having looked at every fact."""
    plan = sendplan.solve(world.problem(), "greedy", **how)
    case = Asked(world.frames(), world.now, plan, **how)
    found = case.explain(enrollment, step)
    if found.send_day is not None:
        assert list(contradictions(case, found)) == []
    return found


def obstacles(found: Explanation) -> dict[date, tuple[str, ...]]:
    return {one.day: one.obstacles for one in found.days}


def test_a_wait_that_ends_on_a_weekend_names_it() -> None:
    # Sent on Friday, a wait of 1 ends on Saturday; ready on Monday, the day of planning.
    world = World().sequence(1, (0, 1)).mailbox(5).enroll(1).email(1, 11, "sent", -3)
    ready = asked(world, 1, 12).ready
    assert ready is not None
    assert (ready.day, ready.since, ready.since_day) == (day(0), "previous", day(-3))
    assert ready.closed == ((day(-2), "Saturday"), (day(-1), "Sunday"))
    assert (ready.previous_position, ready.previous_state, ready.wait_days) == (1, "sent", 1)


def test_a_wait_in_sending_days_leaves_out_the_weekend() -> None:
    # Sent on Thursday; Friday, Monday and Tuesday are the three sending days.
    world = World().sequence(1, (0, 3), wait_unit="sending").mailbox(5).enroll(1)
    ready = asked(world.email(1, 11, "sent", -4), 1, 12).ready
    assert ready is not None
    assert (ready.day, ready.since, ready.since_day) == (day(1), "previous", day(-4))
    assert ready.closed == ((day(-2), "Saturday"), (day(-1), "Sunday"))


def test_a_holiday_is_named() -> None:
    # Good Friday is 3 April 2026, Easter Monday the 6th: from Thursday the wait of a day ends on
    # Friday, and the ready day is Tuesday.
    world = World(at(31, "06:00")).sequence(1, (0, 1), holidays="DE").mailbox(5).enroll(1)
    ready = asked(world, 1, 12).ready
    assert ready is not None
    assert ready.day == day(36)
    assert [why for _, why in ready.closed] == [
        "Good Friday",
        "Saturday",
        "Sunday",
        "Easter Monday",
    ]


def test_a_full_mailbox_is_told_with_what_fills_it() -> None:
    # Two follow-ups of mailbox 5, whose threads have begun, for one slot a day; 20 more if the
    # other one yields, since each day of slip costs 21 and both are alike: 0.
    world = World().sequence(1, (0, 1), name="Spring").mailbox(5, 1).enroll(1, 2)
    for key in (1, 2):
        world.email(key, 11, "sent", -3)
    found = asked(world, 2, 12)
    assert obstacles(found) == {day(0): ("full",)}
    ((load,), (kind,)) = found.days[0].loads, found.days[0].contents
    assert (load.capacity, load.planned, load.used) == (1, 1, 0)
    assert (kind.sequence, kind.position, kind.first, kind.emails) == ("Spring", 2, False, 1)
    assert found.sender is not None
    assert found.sender.why == "bound"
    exchange = found.exchange
    assert exchange is not None
    assert (exchange.day, exchange.cost, exchange.might_yield) == (day(0), 0.0, 1)
    assert (exchange.yields.enrollment_id, exchange.yields.to_day) == (1, day(1))
    assert "full, 1 of 1: 1 of step 2 of Spring" in str(found)


def test_the_cheapest_of_those_who_might_yield_is_named() -> None:
    # Enrollment 3 sends its only email a day late. Of those that leave on Monday, 1 is a follow-up
    # (a day of slip: 21), and 2 a first email of priority 1; 3 is of priority 0.5. Yielding costs
    # 1 for 2, and 3 gains 0.5.
    world = World().sequence(1, (0, 1)).sequence(2, (0,)).sequence(3, (0,), priority=0.5)
    world.mailbox(5, 2, (1, 2, 3)).enroll(1).enroll(2, sequence=2).enroll(3, sequence=3)
    world.email(1, 11, "sent", -3)
    exchange = asked(world, 3, 31).exchange
    assert exchange is not None
    assert (exchange.yields.enrollment_id, exchange.cost) == (2, 0.5)
    assert exchange.might_yield == 2


def test_a_start_put_off_for_the_sake_of_its_follow_up() -> None:
    # Tuesday is full. From Monday on the follow-up would slip by a day, 1 + 20; the plan starts on
    # Wednesday, both two days late, 4. So Monday has room, and would cost 17 more.
    world = World().sequence(1, (0, 1)).mailbox(5, 1).use(5, 1, 1).enroll(1)
    found = asked(world, 1, 11)
    assert found.send_day == day(2)
    assert obstacles(found) == {day(0): (), day(1): ("full",)}
    option = found.days[0].alternative
    assert option is not None
    assert (option.cost, [one.slip for one in option.follow_ups]) == (17.0, [1])
    assert "would cost 17 more, since step 2 would slip by 1 day" in str(found)
    assert found.sender is not None
    assert found.sender.why == "only"


def test_the_contacts_other_email_is_in_the_way() -> None:
    world = World().sequence(1, (0,), name="Spring").sequence(2, (0,)).mailbox(5, 9, (1, 2))
    world.enroll(1, contact_id=1).enroll(2, sequence=2, contact_id=1)
    found = asked(world, 2, 21)
    assert obstacles(found) == {day(0): ("contact",)}
    assert found.days[0].contact_gets == "step 1 of Spring"


def test_max_new_per_day_is_in_the_way() -> None:
    world = World().sequence(1, (0,), max_new_per_day=1).mailbox(5, 9).enroll(1, 2)
    found = asked(world, 2, 11)
    assert obstacles(found) == {day(0): ("max_new",)}
    assert found.days[0].new == (1, 1)


def test_a_ramp_that_has_not_begun_is_in_the_way() -> None:
    world = World().sequence(1, (0,)).enroll(1)
    world.mailbox(5, 9, ramp_start=0, ramp_increment=1, ramp_from=day(0))
    found = asked(world, 1, 11)
    assert obstacles(found) == {day(0): ("full",)}
    assert found.days[0].loads[0].ramp
    assert "by its ramp" in str(found)


def test_other_mailboxes_are_compared() -> None:
    # Mailbox 5 has room today, mailbox 6 tomorrow, mailbox 7 never.
    world = World().sequence(1, (0,)).mailbox(5, 1).mailbox(6, 1).mailbox(7, 0).enroll(1)
    sender = asked(world.use(6, 0, 1), 1, 11).sender
    assert sender is not None
    assert (sender.mailbox_id, sender.why) == (5, "chosen")
    assert sender.others == ((6, 1.0), (7, None))


def test_an_email_in_flight_leaves_no_time_that_day() -> None:
    # Its predecessor is in hand until the window's last second; the wait is 0.
    world = World(at(0, "12:00")).sequence(1, (0, 0)).mailbox(5).enroll(1)
    world.email(1, 11, "claimed", 0, "16:59:59")
    assert obstacles(asked(world, 1, 12, one_a_day=False)) == {day(0): ("in_flight",)}


def test_the_place_in_the_even_spread() -> None:
    # Four emails from 9:00 to 17:00, every two hours; the second follows one and goes before two.
    world = World().sequence(1, (0,)).mailbox(5).enroll(1, 2, 3, 4)
    minute = asked(world, 2, 11).minute
    assert minute is not None
    assert (minute.number, minute.of, minute.spread) == (2, 4, "even")
    assert (minute.gap_before, minute.gap_after) == (7200, 7200)


@pytest.mark.parametrize(
    ("state", "reason", "remedy"),
    [
        ("paused", "mailbox_paused", "sendplan mailbox resume ann@example.com"),
        ("removed", "no_active_mailbox", "sendplan sequence set NAME --link MAILBOX"),
    ],
)
def test_a_thread_that_no_plan_can_place(state: str, reason: str, remedy: str) -> None:
    world = World().sequence(1, (0, 1)).mailbox(5, status=state, email="ann@example.com")
    world.enroll(1).email(1, 11, "sent", -3)
    found = asked(world, 1, 12)
    assert (found.state, found.reason) == ("unplaced", reason)
    assert found.remedy is not None
    assert remedy in found.remedy
    assert found.remedy in str(found)


def test_nothing_is_planned_for_whom_nothing_is_due() -> None:
    world = World().sequence(1, (0, 1), name="Spring", status="paused").sequence(2, (0, 1))
    world.mailbox(5, 9, (1, 2)).enroll(1).enroll(2, sequence=2, status="stopped")
    world.enroll(3, sequence=2).email(3, 21, "sent", -3).enroll(4, sequence=2)
    world.email(4, 21, "failed", -3)
    cases = {
        (1, 11): "sequence_paused",
        (2, 21): "stopped",
        (3, 21): "sent",
        (4, 22): "behind_failed",
    }
    for (enrollment, step), reason in cases.items():
        found = asked(world, enrollment, step)
        assert (found.state, found.reason) == ("idle", reason)


def test_a_horizon_without_room_is_told_day_by_day() -> None:
    world = World().sequence(1, (0,)).mailbox(5, 1).enroll(1, 2, 3)
    found = asked(world, 3, 11, horizon_days=1)
    assert found.reason == "no_room"
    assert obstacles(found) == {day(0): ("full",), day(1): ("full",)}


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_slot_that_has_passed_is_none_any_more(number: int) -> None:
    # Both slots of enrollment 1 are on Monday and Tuesday; asked on Tuesday, Thursday and Friday,
    # at noon, when none of the passed ones can be taken by a dispatcher.
    world = World().sequence(1, (0, 1)).mailbox(5, 2).enroll(1)
    world.stored(world.plan()).now = at(number, "12:00")
    problem = world.problem()
    slots = slots_of(problem.scheduled_emails)
    how = Parameters("greedy")
    first, second = (explain_slots(problem, slots, 1, step, how, None) for step in (11, 12))
    assert (first.state, first.reason, first.send_day) == ("unplaced", "overdue", None)
    assert first.ready is not None
    assert first.ready.day == day(number)
    assert "Its slot has passed, and it was not sent. The next plan" in str(first)
    # Tuesday's slot, at 9:00, has passed by Tuesday noon, too.
    assert (second.reason, second.ready) == ("overdue", None)


def test_a_follow_up_behind_a_passed_slot_is_said_to_be_ready_on_no_day() -> None:
    world = World().sequence(1, (0, 1)).mailbox(5, 2).enroll(1)
    world.stored(world.plan()).now = at(1, "06:00")
    problem = world.problem()
    slots = slots_of(problem.scheduled_emails)
    found = explain_slots(problem, slots, 1, 12, Parameters("greedy"), None)
    assert (found.send_day, found.ready) == (day(1), None)
    assert "leaves on Tue 03 Mar 2026 at 09:00:00 (UTC) from mailbox 5." in str(found)


def test_an_email_that_does_not_exist_is_refused() -> None:
    world = World().sequence(1, (0,)).sequence(2, (0,)).mailbox(5).enroll(1)
    with pytest.raises(ValueError, match="enrollment 9 is not in the problem"):
        asked(world, 9, 11)
    with pytest.raises(ValueError, match="step 21 is not one of sequence 1"):
        asked(world, 1, 21)


# ---------------------------------------------------------------- the database


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    """A plan of four contacts for two slots a day, and one email of every fate."""
    world = World().sequence(1, (0, 1), name="Spring").mailbox(5, 2, email="ann@example.com")
    world.enroll(1, 2, 3, 4)
    world.stored(sendplan.solve(world.problem(), "greedy"))
    world.sequence(2, (0,), name="Autumn").mailbox(6, 9, (2,), email="ben@example.com")
    fates = ("sent", "claimed", "sending", "uncertain", "failed", "cancelled")
    for key, status in enumerate(fates, start=11):
        world.enroll(key, sequence=2).email(key, 21, status, -3, mailbox_id=6, id=100 + key)
    for number, row in enumerate(world.rows["scheduled_emails"], start=1):
        row.setdefault("id", number)
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, world.frames(), world.now)
    yield engine
    engine.dispose()


def email_of(engine: Engine, enrollment: int, step: int) -> int:
    query = "SELECT id FROM scheduled_emails WHERE enrollment_id = :e AND step_id = :s"
    with engine.connect() as connection:
        return int(connection.scalar(text(query), {"e": enrollment, "s": step}) or 0)


def test_a_stored_slot_is_explained_as_the_plan_was(engine: Engine) -> None:
    found = explain_email(engine, email_of(engine, 4, 11), at(0, "06:00"), at(0, "06:00"))
    assert found.explanation is not None
    assert found.explanation.mailbox == "ann@example.com"
    assert all("full" in one.obstacles or one.alternative for one in found.explanation.days)
    assert found.explanation.ready is not None
    assert found.explanation.ready.day == day(0)


@pytest.mark.parametrize(
    ("enrollment", "words"),
    [
        (11, "It left on Fri 27 Feb 2026 at 09:00:00 UTC, from ben@example.com"),
        (12, "A dispatcher holds it"),
        (13, "A dispatcher holds it"),
        (14, "sendplan uncertain --sent 114"),
        (15, "It failed"),
        (16, "It was cancelled and will not be sent"),
    ],
)
def test_what_became_of_an_email_is_told(
    engine: Engine, module_database_url: str, enrollment: int, words: str
) -> None:
    assert engine
    result = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url}).invoke(
        main, ["explain", str(100 + enrollment)]
    )
    assert (result.exit_code, words in result.stdout) == (0, True)


def test_the_command_prints_all_facts_as_json(engine: Engine, module_database_url: str) -> None:
    key = email_of(engine, 1, 11)
    result = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url}).invoke(
        main, ["explain", str(key), "--as-of", "2026-03-02T06:00:00+00:00", "--json"]
    )
    found = json.loads(result.stdout)
    assert (found["email"]["id"], found["email"]["status"]) == (key, "pending")
    assert found["explanation"]["minute"]["of"] == 2
    assert found["explanation"]["send_day"] == "2026-03-02"


def test_an_email_that_the_tables_lack_is_bad_data(engine: Engine) -> None:
    with pytest.raises(DataError, match="there is no email 999999 – ids go from"):
        explain_email(engine, 999_999, at(0, "06:00"))


def test_explaining_writes_nothing_and_bottlenecks_neither(
    engine: Engine, module_database_url: str
) -> None:
    query = text(
        "SELECT md5(string_agg(scheduled_emails::text, ',' ORDER BY id)) FROM scheduled_emails"
    )
    with engine.connect() as connection:
        before = connection.scalar(query)
    runner = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url, "COLUMNS": "80"})
    moment = ["--as-of", "2026-03-02T06:00:00+00:00"]
    assert runner.invoke(main, ["explain", str(email_of(engine, 4, 12)), *moment]).exit_code == 0
    shown = runner.invoke(main, ["bottlenecks", *moment])
    assert shown.exit_code == 0
    assert "Pools that lack capacity" in shown.stdout
    listed = json.loads(runner.invoke(main, ["bottlenecks", *moment, "--json"]).stdout)
    assert listed["pools"][0]["mailbox_ids"] == [5]
    assert listed["days"][0]["price"] > 0
    with engine.connect() as connection:
        assert connection.scalar(query) == before
