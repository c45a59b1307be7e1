"""Simulation: futures day by day, under the rolling horizon and under dispatch rules.

Tiny futures are worked out by hand; larger ones are judged by the checker, for which the emails of
a whole future are one plan that must keep every rule. See `worlds` for days and ids.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import sendplan
from sendplan.planner.changes import Arrivals
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.simulation import rolling_horizon
from sendplan.planner.simulation.randomness import MOST_ATTEMPTS, Rates
from sendplan.planner.simulation.results import Simulation, figures_of
from sendplan.planner.simulation.rollout import Rollout
from sendplan.planner.simulation.simulation import Policy, simulate, simulate_run
from sendplan.planner.synthetic import instances as synthetic
from sendplan.tests.worlds.problems.nasty import random_features, random_frames
from sendplan.tests.worlds.problems.tiny import World, day

GREEDY = Parameters(method="greedy")
POLICIES = [str(policy) for policy in Policy]
NOTHING: dict[str, Any] = {"reply_rate": 0, "bounce_rate": 0, "failure_rate": 0}
LIVELY = Rates((0.2, 0.1), (0.1, 0.02), 0.2, 1.5)


def live(
    problem: Problem, policy: str, rates: Rates | None = None, seed: int = 0, run: int = 0
) -> Rollout:
    return simulate_run(problem, Policy(policy), rates or Rates(0, 0, 0, 0), GREEDY, seed, run)


def alone(problem: Problem, policy: str, **more: Any) -> Simulation:
    """Simulate one future, in which nothing happens but what a test says."""
    return simulate(problem, 1, policy=policy, workers=1, **(NOTHING | more))


def a_day(simulation: Simulation, run: int = 0) -> dict[int, int]:
    """How many emails leave on which day, as numbers from Monday on."""
    load = simulation.load[simulation.load["run"] == run].groupby("send_day")["emails"].sum()
    return {(when.date() - day(0)).days: int(count) for when, count in load.items()}


def figures(simulation: Simulation, *names: str) -> list[Any]:
    return simulation.frame.loc[0, list(names)].tolist()


def reference(contacts: int, mailboxes: int, **more: Any) -> Problem:
    frames = synthetic.reference(contacts, mailboxes, **more)
    del frames["contacts"]
    return Problem.from_frames(**frames, now=synthetic.REFERENCE_NOW)


def chance_problem(seed: int) -> Problem:
    rng = random.Random(seed)
    frames, now = random_frames(seed, rng.choice([3, 8, 20, 30]), random_features(rng))
    return Problem.from_frames(**frames, now=now)


# ---------------------------------------------------------------- day-by-day policies, by hand


@pytest.mark.parametrize(
    ("policy", "days", "late"),
    [
        # Day 1: the 45 follow-ups go first and leave room for 35 of 55 waiting; then 35 and 20.
        ("follow-ups first", {0: 45, 1: 80, 2: 55, 3: 20}, 0),
        # Day 1: 45 who have waited since day 0 go first and leave room for 35 follow-ups. Day 2:
        # 10 of day 0, the 10 late follow-ups of day 1, and 45 of today. Day 3: the last 10.
        ("first come", {0: 45, 1: 80, 2: 65, 3: 10}, 10),
    ],
)
def test_a_day_without_room_for_all_goes_by_the_policy(
    policy: str, days: dict[int, int], late: int
) -> None:
    # The worked example of test_plans: 100 contacts, two steps a day apart, 80 a day, 45 new.
    world = World().sequence(max_new_per_day=45).mailbox(capacity=80)
    simulation = alone(world.enroll(*range(1, 101)).problem(), policy)
    assert a_day(simulation) == days
    assert figures(simulation, "late_follow_ups", "slip_days") == [late, late]


def test_day_by_day_starts_what_looking_ahead_holds_back() -> None:
    # 2 a day, 4 contacts, three steps a day apart. Day by day: 2 start on day 0; on days 1 and 2
    # their follow-ups take all the room; the others start on day 3. Nothing is late here, and
    # what looks ahead does the same.
    waits = World().sequence(waits=(0, 1, 1)).mailbox(capacity=2).enroll(1, 2, 3, 4).problem()
    for policy in POLICIES[:2]:
        assert a_day(alone(waits, policy)) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 7: 2}
    # With a wait of 3 days, Friday's pair is followed up on Monday, as is Saturday's: day by day
    # Monday's pair (day 0) and Tuesday's come back on Thursday and Friday, Wednesday's (day 2)
    # on Monday.
    longer = World().sequence(waits=(0, 2)).mailbox(capacity=2)
    problem = longer.enroll(*range(1, 9)).problem()
    # Days 0, 1 start 2 each; days 2, 3 follow them up. Day 4 starts 2, due on Monday (day 7);
    # Monday follows them up, and only Tuesday starts the rest.
    assert a_day(alone(problem, "follow-ups first")) == {
        0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 7: 2, 8: 2, 10: 2
    }  # fmt: skip


def test_a_paused_mailbox_keeps_its_threads_waiting_under_every_policy() -> None:
    world = World().sequence().mailbox(5).mailbox(6, status="paused")
    world.enroll(1).enroll(2, mailbox_id=6, current_step_id=11, last_sent_day=day(-3))
    for policy in POLICIES:
        assert alone(world.problem(), policy).frame["emails"].tolist() == [2]


# ---------------------------------------------------------------- replies, bounces, failures


@pytest.mark.parametrize("policy", POLICIES)
def test_who_replies_gets_no_more(policy: str) -> None:
    # All contacts answer the first email on the same day: none gets the second.
    problem = World().sequence().mailbox(capacity=1).enroll(1, 2).problem()
    simulation = alone(problem, policy, reply_rate=1, reply_days=0)
    assert a_day(simulation) == {0: 1, 1: 1}
    assert figures(simulation, "emails", "replies", "spared", "unsent") == [2, 2, 2, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_rates_are_by_step_and_the_last_holds_for_all_behind(policy: str) -> None:
    # Of four steps the first gets no answer, the second and all behind it are answered by all.
    problem = World().sequence(waits=(0, 1, 1, 1)).mailbox().enroll(1).problem()
    simulation = alone(problem, policy, reply_rate=[0, 1], reply_days=0)
    assert figures(simulation, "emails", "replies", "spared") == [2, 1, 2]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_answer_given_late_comes_after_further_emails(policy: str) -> None:
    # A mean of 366 days: the answers come long after the last email, and stop nothing.
    problem = World().sequence().mailbox().enroll(1, 2).problem()
    simulation = alone(problem, policy, reply_rate=1, reply_days=366)
    assert figures(simulation, "emails", "replies", "spared") == [4, 4, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_who_bounces_gets_nothing_of_any_sequence(policy: str) -> None:
    # Contact 1 is in both sequences; one email a day, and the first one bounces.
    world = World().sequence(1).sequence(2).mailbox(5, 10, (1, 2))
    world.enroll(1, contact_id=1).enroll(2, sequence=2, contact_id=1)
    simulation = alone(world.problem(), policy, bounce_rate=1)
    assert figures(simulation, "emails", "bounces", "spared") == [1, 1, 3]


@pytest.mark.parametrize("policy", POLICIES)
def test_an_email_that_never_gets_through_is_given_up(policy: str) -> None:
    # Monday to Friday one attempt a day; the fifth is the last.
    problem = World().sequence().mailbox().enroll(1).problem()
    simulation = alone(problem, policy, failure_rate=1)
    names = ("emails", "failures", "given_up", "spared", "unsent")
    assert figures(simulation, *names) == [0, MOST_ATTEMPTS, 1, 2, 0]
    assert simulation.frame["finish_day"].isna().all()
    assert a_day(simulation) == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_failed_attempt_is_made_again_on_another_day(policy: str) -> None:
    problem = World().sequence().mailbox(capacity=40).enroll(*range(1, 41)).problem()
    rollout = live(problem, policy, Rates(0, 0, 0.5, 0))
    failures = rollout.samples.failures.reshape(40, 2)
    through = failures[:, 0] < MOST_ATTEMPTS
    first = rollout.day.reshape(40, 2)[:, 0]
    # Day index 1 is Monday; the attempts are on weekdays in a row, the fifth on Friday.
    assert (first[through] == 1 + failures[through, 0]).all()
    assert (first[~through] == -1).all()
    assert rollout.failures == failures[:, 0].sum() + failures[through, 1].sum()


# ---------------------------------------------------------------- looking ahead


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
def test_with_nothing_unforeseen_the_future_is_the_plan(mixed: bool) -> None:
    problem = reference(200, 2, mixed=mixed)
    plan = sendplan.solve(problem, "greedy")
    assert_frame_equal(
        live(problem, "look-ahead").sends(), plan.sends.drop(columns="send_at"), check_dtype=False
    )
    simulation = alone(problem, "look-ahead")
    names = ("emails", "late_follow_ups", "slip_days", "lateness_days", "nights_planned")
    lateness = int(plan.delays["lateness"].sum())
    expected = [len(plan.sends), plan.late_follow_ups, plan.slip_days, lateness, 1]
    assert figures(simulation, *names) == expected
    assert simulation.frame["finish_day"][0].date() == plan.finish_day
    assert simulation.finished_by(plan.finish_day) == 1
    assert simulation.finished_by(str(plan.finish_day - pd.Timedelta(days=1))) == 0
    by_day = plan.sends.groupby("send_day").size()
    load = simulation.load.groupby("send_day")["emails"].sum()
    assert_series_equal(load, by_day, check_names=False, check_dtype=False)


@pytest.mark.slow
def test_every_night_is_planned_from_where_things_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the planner is given each night is sound, and so is what is left of the plan before."""
    nights: list[tuple[Problem, Plan]] = []

    def plan_with(problem: Problem, parameters: Parameters) -> Plan:
        plan = sendplan.planner.solver.plan_with(problem, parameters)
        nights.append((problem, plan))
        return plan

    monkeypatch.setattr(rolling_horizon, "plan_with", plan_with)
    problem = reference(200, 2)
    rollout = live(problem, "look-ahead", Rates((0.2, 0.1), (0.1, 0.02), 0, 1.5))
    assert len(nights) == rollout.nights_planned > 10
    ids = problem.enrollments["id"].to_numpy()[rollout.instance.chains.enrollment]
    length = dict(zip(ids, rollout.length, strict=True))
    for tonight, plan in nights[::4]:
        assert sendplan.violations(tonight, plan.sends).empty
        sent = tonight.scheduled_emails[(tonight.scheduled_emails["status"] == "sent").to_numpy()]
        sent = sent[(sent["send_at"] >= problem.now).to_numpy()].groupby("enrollment_id").size()
        for enrollment_id, planned in plan.sends.groupby("enrollment_id").size().items():
            assert planned + sent.get(enrollment_id, 0) == length[enrollment_id]
    # Chains that have ended free capacity, which breaks no other slot.
    assert sum(plan.unavoidable for _, plan in nights) == 0


def test_the_first_night_is_the_problem_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Problem] = []
    original = rolling_horizon.plan_with

    def plan_with(problem: Problem, parameters: Parameters) -> Plan:
        given.append(problem)
        return original(problem, parameters)

    monkeypatch.setattr(rolling_horizon, "plan_with", plan_with)
    problem = World().sequence().mailbox().enroll(1).problem()
    live(problem, "look-ahead")
    assert len(given) == 1 and given[0] is problem


def test_a_thread_whose_mailbox_is_gone_is_bound_to_the_one_it_moved_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nights: list[Problem] = []
    original = rolling_horizon.plan_with

    def plan_with(problem: Problem, parameters: Parameters) -> Plan:
        nights.append(problem)
        return original(problem, parameters)

    monkeypatch.setattr(rolling_horizon, "plan_with", plan_with)
    world = World().sequence(waits=(0, 0, 3)).mailbox(5).mailbox(6, status="removed")
    world.enroll(1, mailbox_id=6, current_step_id=11, last_sent_day=day(-3)).enroll(*range(2, 20))
    # Step 12 of contact 1 leaves on the first day, and what fails of others has a night planned.
    live(world.problem(), "look-ahead", Rates(0, 0, (0.5, 0), 0))
    bound = [night.enrollments.set_index("id")["mailbox_id"][1] for night in nights[:2]]
    assert bound == [6, 5]


def test_an_email_in_flight_arrives_and_its_chain_goes_on() -> None:
    # Step 11 is claimed for Monday 9:00: step 12 follows on Tuesday, and 13 on Wednesday, though
    # contact 2 makes every night one of planning.
    world = World().sequence(waits=(0, 1, 1)).mailbox().enroll(1, 2)
    problem = world.email(1, 11, "claimed", 0).problem()
    rollout = live(problem, "look-ahead", Rates(0, 0, (0, 0, 0), 0))
    assert rollout.sends().query("enrollment_id == 1")["step_id"].tolist() == [12, 13]
    failing = live(problem, "look-ahead", Rates(0, 0, 0.9, 0))
    assert failing.nights_planned > 1
    assert (failing.sends()["step_id"] != 11)[failing.sends()["enrollment_id"] == 1].all()


def test_a_given_horizon_moves_on_with_the_nights() -> None:
    # A horizon of two days has room for two of four emails; the next night for the next.
    problem = World().sequence(waits=(0,)).mailbox(capacity=1).enroll(1, 2, 3, 4).problem()
    short = Parameters(method="greedy", horizon_days=1)
    assert a_day(alone(problem, "look-ahead", parameters=short)) == {0: 1, 1: 1, 2: 1, 3: 1}
    assert a_day(alone(problem, "first come", parameters=short)) == {0: 1, 1: 1, 2: 1, 3: 1}


# ---------------------------------------------------------------- who comes later


@pytest.mark.parametrize("policy", POLICIES)
def test_contacts_get_nothing_before_they_arrive(policy: str) -> None:
    # They come at midnight, six hours before the night: a contact who comes on day 2 can be sent an
    # email on day 2.
    world = World().sequence(waits=(0,)).mailbox(capacity=1000).enroll(1)
    later = Arrivals(1, per_day=30, first_day=day(2), days=2)
    simulation = alone(world.problem(), policy, arrivals=later)
    days = a_day(simulation)
    assert set(days) == {0, 2, 3}
    assert days[0] == 1
    assert all(10 < days[number] < 60 for number in (2, 3))


@pytest.mark.slow
def test_all_policies_meet_the_same_contacts() -> None:
    problem = reference(40, 2)
    sequence = int(problem.sequences["id"].iloc[0])
    rates = Rates(0.1, 0.05, 0.1, 2.0, (Arrivals(sequence, 3, "2026-11-25", 4),))
    courses = [live(problem, policy, rates) for policy in POLICIES]
    first = courses[0]
    for other in courses[1:]:
        assert_frame_equal(first.instance.problem.enrollments, other.instance.problem.enrollments)
        for name in ("failures", "bounced", "replied", "reply_delay"):
            assert (getattr(first.samples, name) == getattr(other.samples, name)).all()


def test_a_higher_rate_makes_more_contacts_reply_and_no_other_ones() -> None:
    problem = World().sequence().mailbox(capacity=500).enroll(*range(1, 201)).problem()
    few, many = (
        live(problem, "first come", Rates(rate, 0, 0, 2.0)).samples.replied for rate in (0.1, 0.4)
    )
    assert not (few & ~many).any()
    # 400 emails, of which 40 and 160 on average; six standard deviations either way.
    assert 4 < few.sum() < 76
    assert 101 < many.sum() < 219


def test_a_step_added_behind_leaves_the_answers_to_those_before() -> None:
    world = World().sequence(waits=(0, 1)).mailbox(capacity=500).enroll(*range(1, 101))
    longer = World().sequence(waits=(0, 1, 1)).mailbox(capacity=500).enroll(*range(1, 101))
    two, three = (
        live(each.problem(), "first come", Rates(0.3, 0, 0, 2.0)).samples.replied
        for each in (world, longer)
    )
    assert (two.reshape(100, 2) == three.reshape(100, 3)[:, :2]).all()


# ---------------------------------------------------------------- every rule, every day


def with_times(problem: Problem, sends: pd.DataFrame) -> pd.DataFrame:
    """Give each email the last second of its window: days are what is judged."""
    people = problem.enrollments.set_index("id").loc[sends["enrollment_id"]]
    sequence = problem.sequences.set_index("id").loc[people["sequence_id"]]
    zone = np.where(
        people["contact_timezone"].isna(), sequence["timezone"], people["contact_timezone"]
    )
    day_of = sends["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    at = [
        int(dates.instants_at(np.array([d]), int(end), z)[0]) // SECOND * SECOND - SECOND
        for d, end, z in zip(day_of, sequence["end_time"], zone, strict=True)
    ]
    return sends.assign(send_at=dates.to_instants(np.array(at, dtype=np.int64)).array)


def broken_rules(rollout: Rollout) -> list[str]:
    """A whole future, judged by the checker as the one plan that has come true."""
    problem = rollout.instance.problem
    found = sendplan.violations(problem, with_times(problem, rollout.sends()))
    # Minutes are not simulated.
    return found[found["rule"] != "gap"]["detail"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", (0, 7))
def test_every_simulated_day_keeps_the_rules(seed: int, policy: str) -> None:
    problem = chance_problem(seed)
    rollout = live(problem, policy, LIVELY, seed)
    assert broken_rules(rollout) == []
    run = figures_of(rollout)
    assert run.emails + run.spared + run.unsent == len(rollout.instance.emails)
    if policy == "look-ahead" and not rollout.comes_in.any():
        plan = sendplan.solve(problem, "greedy")
        assert live(problem, policy).sends().equals(plan.sends.drop(columns="send_at"))


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_no_mailbox_sends_more_than_its_capacity(policy: str) -> None:
    """Counted again without the checker, on a busy instance."""
    problem = reference(50, 1, tight=True)
    rollout = live(problem, policy, LIVELY)
    sends = rollout.sends()
    capacity = problem.mailboxes.set_index("id")["daily_capacity"]
    a_mailbox_day = sends.groupby(["mailbox_id", "send_day"]).size()
    limit = capacity.reindex(a_mailbox_day.index.get_level_values("mailbox_id")).to_numpy()
    assert (a_mailbox_day.to_numpy() <= limit).all()
    assert (a_mailbox_day.to_numpy() == limit).any()
    first, last = (sends.groupby("enrollment_id")["mailbox_id"].agg(how) for how in ("min", "max"))
    assert (first == last).all()
    steps = problem.steps.set_index("id")["wait_days"]
    waited = sends.groupby("enrollment_id")["send_day"].diff().dt.days
    wait = steps.reindex(sends["step_id"]).to_numpy()
    follows = waited.notna().to_numpy()
    assert (waited.to_numpy()[follows] >= wait[follows]).all()
    assert (sends["send_day"].dt.day_of_week < 5).all()


# ---------------------------------------------------------------- many futures


def test_the_same_seed_gives_the_same_futures_and_another_others() -> None:
    problem = reference(200, 2)
    one, again, other = (
        simulate(problem, 3, seed=seed, policy="first come", workers=1) for seed in (4, 4, 5)
    )
    assert_frame_equal(one.frame, again.frame)
    assert_frame_equal(one.load, again.load)
    assert not one.frame.equals(other.frame)
    assert len(set(one.frame["replies"])) > 1


@pytest.mark.slow
def test_the_futures_do_not_depend_on_who_lives_them_through() -> None:
    problem = World().sequence().mailbox(capacity=7).enroll(*range(1, 31)).problem()
    told: list[tuple[int, int]] = []
    here = simulate(problem, 3, workers=1, progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    processes = simulate(problem, 3, workers=2, progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    with ThreadPoolExecutor(2) as pool:
        threads = simulate(problem, 3, executor=pool)
    fewer = simulate(problem, 2, workers=1)
    for other in (processes, threads):
        assert_frame_equal(here.frame, other.frame)
        assert_frame_equal(here.load, other.load)
    assert_frame_equal(here.frame[:2], fewer.frame)


def test_quantiles_are_values_of_some_future() -> None:
    problem = World().sequence().mailbox(capacity=7).enroll(*range(1, 41)).problem()
    simulation = simulate(problem, 9, policy="first come", reply_rate=0.3, workers=1)
    frame, table = simulation.frame, simulation.quantiles((0.5,))
    assert table.loc["emails", "p50"] == sorted(frame["emails"])[4]
    assert table.loc["finish_day", "p50"] == sorted(frame["finish_day"])[4].date()
    days = simulation.days((0, 1))
    total = simulation.load.groupby(["run", "send_day"])["emails"].sum()
    most = total.groupby("send_day").max()
    assert (days.set_index("send_day")["p100"].reindex(most.index) == most).all()
    # Weekdays have room for 7, weekends for none.
    weekday = days["send_day"].dt.day_of_week < 5
    assert (days["capacity"] == np.where(weekday, 7, 0)).all()
    assert (days["p100"] <= days["capacity"]).all()
    assert simulation.finished_by(frame["finish_day"].max()) == 1


@pytest.mark.slow
def test_policies_are_compared_on_the_same_futures() -> None:
    problem = reference(150, 1)
    ahead, first = (
        simulate(problem, 2, policy=policy, workers=1) for policy in ("look-ahead", "first come")
    )
    table = ahead.compare(first)
    assert table.index.tolist() == ["look-ahead", "first come"]
    assert table["finishes_later"]["look-ahead"] == 0
    later = (first.frame["finish_day"] - ahead.frame["finish_day"]).dt.days
    assert table["finishes_later"]["first come"] == later.mean()
    assert table["late_follow_ups"]["first come"] > 3 * table["late_follow_ups"]["look-ahead"]
    assert ahead.compare(first, labels=["we", "they"]).index.tolist() == ["we", "they"]
    with pytest.raises(MethodError, match="different futures"):
        ahead.compare(simulate(problem, 2, seed=1, policy="first come", workers=1))
    with pytest.raises(MethodError, match="1 labels for 2"):
        ahead.compare(first, labels=["we"])


def test_a_simulation_shows_itself() -> None:
    problem = World().sequence().mailbox().enroll(1).problem()
    simulation = alone(problem, "first come")
    assert str(simulation).startswith("first come: 1 simulated futures, seed 0\n")
    assert "2026-03-03" in str(simulation)
    assert "<table" in simulation._repr_html_()
    assert repr(simulation) == str(simulation)


@pytest.mark.parametrize("policy", POLICIES)
def test_with_nothing_to_send_nothing_is_simulated(policy: str) -> None:
    simulation = alone(World().sequence().mailbox().problem(), policy)
    assert figures(simulation, "emails", "unsent") == [0, 0]
    assert len(simulation.load) == len(simulation.days()) == 0
    assert simulation.finished_by(day(0)) == 1
    assert simulation.quantiles().loc["finish_day", "p50"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"policy": "best effort"}, "policy 'best effort' is unknown; use one of look-ahead"),
        ({"runs": 0}, "runs is 0; give a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"reply_rate": 1.5}, "reply_rate is 1.5; it must lie between 0 and 1"),
        ({"bounce_rate": []}, "bounce_rate is empty"),
        ({"failure_rate": (0.1, float("nan"))}, "failure_rate is nan"),
        ({"reply_rate": "often"}, "reply_rate is 'often'"),
        ({"reply_days": -1}, "reply_days is -1"),
        ({"arrivals": [3]}, "arrivals has 3; give changes.Arrivals"),
        ({"workers": 0}, "workers is 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_simulated_is_refused(given: dict[str, Any], said: str) -> None:
    problem = World().sequence().mailbox().enroll(1).problem()
    with pytest.raises(MethodError, match=said):
        simulate(problem, **given)
