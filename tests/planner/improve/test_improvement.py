"""The search: the same whatever runs it, never worse, bounded, and stopped at will."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import sendplan
from sendplan.planner.flow.apportioning import apportion, group_by_load, separate_resources
from sendplan.planner.flow.count_model import NO_LOWER, build_count_model
from sendplan.planner.flow.lagrangian import DualPrices, lagrangian_bound
from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.rounding import round_flow
from sendplan.planner.flow.single_chains import single_out_chains
from sendplan.planner.flow.subproblems import Subproblem, build_subproblems, flow_of
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.improve.tasks import pooled_lp_bound, relax
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.limits import limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.replanning.incumbent import incumbent
from sendplan.planner.schema.vocabulary import Termination
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference
from sendplan.tests.worlds.problems.methods import MAKERS, METHODS, examples
from sendplan.tests.worlds.problems.nasty import Frames, with_plan
from sendplan.tests.worlds.problems.tiny import World, days_of, without_slot

IMPROVING = tuple(method for method in METHODS if method != "greedy")


@cache
def _tight(contacts: int, mailboxes: int, owners: int, seed: int = 1) -> Frames:
    frames = reference(contacts, mailboxes, owners, seed=seed, now=REFERENCE_NOW, tight=True)
    return {name: frame for name, frame in frames.items() if name != "contacts"}


def tight(contacts: int = 120, mailboxes: int = 2, owners: int = 2, seed: int = 1) -> Frames:
    """A shortage, in as many components as owners."""
    return dict(_tight(contacts, mailboxes, owners, seed))


def problem_of(frames: Frames) -> sendplan.Problem:
    return sendplan.Problem.from_frames(**frames, now=REFERENCE_NOW)


@cache
def greedy() -> sendplan.Plan:
    """The greedy's plan of the usual shortage."""
    return sendplan.solve(problem_of(tight()), "greedy")


def assert_same(one: sendplan.Plan, other: sendplan.Plan) -> None:
    assert_frame_equal(one.sends, other.sends)
    assert_frame_equal(one.unplaced, other.unplaced)
    assert (one.cost, one.lower_bound, one.stopped, one.method) == (
        other.cost,
        other.lower_bound,
        other.stopped,
        other.method,
    )


def assert_sound(problem: sendplan.Problem, plan: sendplan.Plan) -> None:
    assert sendplan.violations(problem, plan.sends).empty
    assert plan.lower_bound is not None
    assert plan.lower_bound <= plan.cost


class Recorder:
    """A callback that records progress, and may stop after some reports."""

    def __init__(self, last: int | None = None) -> None:
        self.steps: list[SearchProgress] = []
        self.last = last

    def report(self, progress: SearchProgress) -> None:
        self.steps.append(progress)

    def stop(self) -> Termination | None:
        done = self.last is not None and len(self.steps) >= self.last
        return Termination.WALL_CLOCK if done else None


@cache
def recorded(limit: float) -> tuple[sendplan.Plan, list[SearchProgress]]:
    """Return the plan of the usual shortage within a limit, and the steps of the search."""
    recorder = Recorder()
    return sendplan.solve(problem_of(tight()), "cpsat", limit, callback=recorder), recorder.steps


# ---------------------------------------------------------------- executors


@cache
def by_two_workers() -> sendplan.Plan:
    return recorded(1)[0]


# The plan compared with is made by two, too: the same again.
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_same_plan_with_any_number_of_workers(workers: int) -> None:
    plan = sendplan.solve(problem_of(tight()), "cpsat", 1, workers=workers)
    assert plan.cost < greedy().cost  # so there was something to do
    assert_same(plan, by_two_workers())


@pytest.mark.slow
@pytest.mark.parametrize("pool", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_the_same_plan_from_a_pool(pool: Callable[[int], Executor]) -> None:
    with pool(2) as executor:
        plan = sendplan.solve(problem_of(tight()), "cpsat", 1, executor=executor)
        # The caller shuts it down.
        assert executor.submit(int, "3").result() == 3
    assert_same(plan, by_two_workers())


# ---------------------------------------------------------------- planning again


# Going on from the stored plan would find another one, and move emails for nothing.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "limit"),
    [("greedy", 0), *((method, limit) for method in IMPROVING for limit in (0, 1, 10))],
)
def test_planning_again_moves_nothing(method: str, limit: float) -> None:
    """With 10 seconds the small shortage is solved to the end, with 1 the large one is not."""
    frames = tight(60) if limit == 10 else tight()
    known = method == "cpsat" and limit < 10
    first = recorded(limit)[0] if known else sendplan.solve(problem_of(frames), method, limit)
    again = sendplan.solve(
        problem_of(with_plan(frames, first.sends, first.unplaced)), method, limit
    )
    if method != "greedy":
        assert first.stopped == ("optimal" if limit == 10 else "time_limit")
    assert again.moved == 0
    # Nothing changed: neither slots nor their times.
    assert_frame_equal(again.sends, first.sends)
    assert again.cost == first.cost


# ---------------------------------------------------------------- time limits


@pytest.mark.parametrize("method", IMPROVING)
def test_no_time_gives_the_greedys_plan_with_a_bound(method: str) -> None:
    plan = sendplan.solve(problem_of(tight()), method, 0)
    assert plan.cost == greedy().cost
    assert_frame_equal(plan.sends, greedy().sends)
    assert plan.stopped == "time_limit"
    # The bound is that of all mailboxes pooled, whatever the margin of the sink.
    assert plan.lower_bound == greedy().lower_bound
    assert 0 < plan.lower_bound < plan.cost


@pytest.mark.slow
def test_a_longer_limit_is_never_worse() -> None:
    """What a limit allows is kept to, but for a step that ends as soon as it can."""
    problem, costs, bounds, words = problem_of(tight()), [], [], []
    for limit in (0, 1, 10):
        plan, steps = recorded(limit)
        assert_sound(problem, plan)
        costs.append(plan.cost)
        bounds.append(plan.lower_bound)
        words.append(plan.stopped)
        # CP-SAT looks at its limit between two steps of its own, some hundredths of a second.
        assert steps[-1].work <= limit * 1.1 + 0.1
    assert costs == sorted(costs, reverse=True)
    assert bounds == sorted(bounds)
    assert words == ["time_limit", "time_limit", "optimal"]
    assert costs[-1] == bounds[-1] < costs[0]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1.2, 1.8])
def test_what_is_left_of_a_limit_may_be_too_little_to_go_on(limit: float) -> None:
    """A resource of many weeks needs more than that to begin with; asked again, it would not
    end."""
    recorder = Recorder(last=60)
    problem = problem_of(tight(contacts=1000, mailboxes=5, owners=1))
    plan = sendplan.solve(problem, "cpsat", limit, callback=recorder)
    assert plan.stopped == "time_limit"
    refine = [step.work for step in recorder.steps if step.phase == "refined"]
    assert all(before < after for before, after in pairwise(refine))
    assert_sound(problem, plan)


@pytest.mark.slow
def test_as_close_as_asked_for() -> None:
    # Too large to be solved as a whole: small components are, whatever the gap.
    problem = problem_of(tight(1_000, 6, 1))
    recorder = Recorder()
    plan = sendplan.solve(problem, "auto", 60, gap=0.1, callback=recorder)
    assert plan.stopped == "gap"
    assert plan.gap is not None
    assert plan.gap <= 0.1
    # It stopped as soon as that was so.
    assert [step.gap <= 0.1 for step in recorder.steps[:-1]] == [False] * (len(recorder.steps) - 1)


# ---------------------------------------------------------------- callbacks


@pytest.mark.slow
def test_a_callback_sees_the_gap_close() -> None:
    plan, steps = recorded(10)
    costs = [step.cost for step in steps]
    bounds = [step.lower_bound for step in steps]
    work = [step.work for step in steps]
    assert costs == sorted(costs, reverse=True)
    assert bounds == sorted(bounds)
    assert work == sorted(work)
    assert (steps[0].phase, work[0]) == ("greedy", 0)
    assert (costs[0], costs[-1]) == (greedy().cost, plan.cost)
    assert bounds[-1] == plan.lower_bound
    for step in steps:
        assert step.gap == pytest.approx((step.cost - step.lower_bound) / step.cost)


@pytest.mark.parametrize("reports", [1, 3])
def test_a_callback_stops_it_at_once(reports: int) -> None:
    """Uninterrupted, this takes minutes; a step under way is not waited for."""
    problem, recorder = problem_of(tight(1_000, 6, 1)), Recorder(last=reports)
    begun = time.monotonic()
    plan = sendplan.solve(problem, "cpsat", 300, gap=0, callback=recorder)
    assert time.monotonic() - begun < 100
    assert plan.stopped == "wall_clock"
    assert_sound(problem, plan)
    assert plan.cost <= recorder.steps[0].cost


# ---------------------------------------------------------------- Ctrl-C

INTERRUPTED = """
import json, os, signal, sys
import sendplan
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference

frames = reference(1_000, 6, 1, seed=1, now=REFERENCE_NOW, tight=True)
del frames["contacts"]
problem = sendplan.Problem.from_frames(**frames, now=REFERENCE_NOW)

class Recorder:
    greedy = None

    def report(self, progress):
        self.greedy = self.greedy or progress.cost
        print(progress.phase, flush=True)
        if progress.phase == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

    def stop(self):
        return None

recorder = Recorder()
plan = sendplan.solve(problem, "cpsat", time_limit=300, gap=0, callback=recorder)
broken = len(sendplan.violations(problem, plan.sends))
print(json.dumps([plan.stopped, plan.cost, recorder.greedy, plan.lower_bound, broken]), flush=True)
os._exit(0)  # threads that solve cannot be called off
"""


def after_interrupt(process: "subprocess.Popen[str]") -> list[Any]:
    """Give what the program prints last, which it must do within seconds."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    found = json.loads(out.splitlines()[-1])
    assert isinstance(found, list)
    return found


def program(at: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, at],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_ctrl_c_returns_the_best_plan_so_far() -> None:
    process = program("never")
    assert process.stdout is not None
    assert process.stdout.readline() == "greedy\n"
    time.sleep(0.3)  # into the first relaxation
    process.send_signal(signal.SIGINT)
    stopped, cost, greedys, bound, broken = after_interrupt(process)
    assert stopped == "interrupted"
    assert bound <= cost <= greedys
    assert broken == 0


# Ctrl-C may come at any moment, not only while tasks are waited for.
@pytest.mark.slow
@pytest.mark.parametrize("phase", ["rounded"])
def test_ctrl_c_between_two_steps(phase: str) -> None:
    stopped, cost, greedys, bound, broken = after_interrupt(program(phase))
    assert stopped == "interrupted"
    assert bound <= cost <= greedys
    assert broken == 0


# ---------------------------------------------------------------- the objective


def cut(
    problem: sendplan.Problem, end: int, *, horizon_days: int | None = None
) -> tuple[Any, Any, list[Subproblem]]:
    """Return the instance, its limits and its subproblems; the day after `end` is the sink."""
    instance = build_instance(problem)
    parameters = Parameters(horizon_days=horizon_days)
    limits = limits_of(instance, parameters)
    apart = single_out_chains(instance, limits)
    sink = np.full(int(apart.component.max()) + 1, end + 1)
    return apart.instance, limits, build_subproblems(apart, limits, parameters, sink)


def index_of(problem: sendplan.Problem, plan: sendplan.Plan) -> int:
    """Give the last day of a plan as an index of the problem's horizon."""
    instance = build_instance(problem)
    return int(max(instance.emails.existing_day.max(), 1))


def recomputed(frames: Frames, plan: sendplan.Plan) -> float:
    """Compute the objective from the slots, in plain pandas.

    The reference instance sends on weekdays from one zone and waits by calendar: a ready day is
    the previous day plus wait_days, moved on to a weekday.
    """

    def ready(day: pd.Timestamp, wait: int, days: list[int]) -> pd.Timestamp:
        day += pd.Timedelta(days=wait)
        while day.isoweekday() not in days:
            day += pd.Timedelta(days=1)
        return day

    sequences = frames["sequences"].set_index("id")
    steps = frames["steps"].set_index("id")
    people = frames["enrollments"].set_index("id")
    total = 0.0
    for enrollment, rows in plan.sends.groupby("enrollment_id"):
        person = people.loc[enrollment]
        sequence = sequences.loc[person["sequence_id"]]
        before = ideal = None if pd.isna(person["last_sent_day"]) else person["last_sent_day"]
        for row in rows.itertuples(index=False):
            wait, days = int(steps.loc[row.step_id, "wait_days"]), list(sequence["send_days"])
            if before is None:
                # Ready when enrolled, but no earlier than today: the instance plans at 2:00 on a
                # Monday, and all were enrolled before.
                today = pd.Timestamp(REFERENCE_NOW.date())
                enrolled = person["enrolled_at"].tz_convert(None).normalize()
                ideal = due = max(today, ready(enrolled, wait, days))
                slip = 0
            else:
                today = pd.Timestamp(REFERENCE_NOW.date())
                due = max(today, ready(before, wait, days))
                ideal = max(today, ready(ideal, wait, days))
                slip = (row.send_day - due).days
            late = (row.send_day - ideal).days
            total += float(sequence["priority"]) * (late + 20 * slip)
            before = row.send_day
    return total


@pytest.mark.slow
@pytest.mark.parametrize("method", MAKERS)
def test_the_cost_is_that_of_the_slots(method: str) -> None:
    frames = tight()
    plan = sendplan.solve(problem_of(frames), method, 1)
    assert plan.cost == plan.delays["cost"].sum()
    each = plan.delays.merge(
        frames["sequences"][["id", "priority"]], left_on="sequence_id", right_on="id"
    )
    by_hand = each["priority"] * (each["lateness"] + 20 * each["slip"])
    assert by_hand.sum() == pytest.approx(plan.cost)
    assert recomputed(frames, plan) == pytest.approx(plan.cost)


@pytest.mark.slow
@pytest.mark.parametrize("horizon_days", [None, 9])
@pytest.mark.parametrize("method", MAKERS)
def test_flows_cost_what_the_plan_does(method: str, horizon_days: int | None) -> None:
    frames = tight()
    plan = sendplan.solve(problem_of(frames), method, 1, horizon_days=horizon_days)
    problem = problem_of(with_plan(frames, plan.sends, plan.unplaced))
    # The last day of a given horizon is day 1 + 9.
    end = index_of(problem, plan) + 5 if horizon_days is None else 1 + horizon_days
    instance, limits, parts = cut(problem, end, horizon_days=horizon_days)
    existing = incumbent(instance, limits)
    assert existing is not None
    value = sum(
        subproblem.network.value(flow_of(instance, subproblem, existing.placement))
        for subproblem in parts
    )
    assert value == pytest.approx(plan.cost)
    assert (plan.unplaced.empty, plan.blocked) == (horizon_days is None, 0)


# ---------------------------------------------------------------- bounds


@cache
def known() -> tuple[list[FlowNetwork], float]:
    """Give the commodities of a small shortage, and what its best plan costs."""
    frames = tight(60)
    plan = sendplan.solve(problem_of(frames), "cpsat", 10)
    assert plan.status == "optimal"
    problem = problem_of(with_plan(frames, plan.sends, plan.unplaced))
    _, _, parts = cut(problem, index_of(problem, plan) + 5)
    return [subproblem.network for subproblem in parts], plan.cost


@cache
def one_component() -> FlowNetwork:
    """Give the commodities of four mailboxes that share everything."""
    problem = problem_of(tight(100, 4, 1))
    _, _, [subproblem] = cut(problem, 60)
    return subproblem.network


def priced(network: FlowNetwork, seed: int, scale: float, share: float) -> DualPrices:
    rng = np.random.default_rng(seed)

    def some(shape: tuple[int, ...]) -> np.ndarray:
        return np.where(rng.random(shape) < share, rng.exponential(scale, shape), 0.0)

    return DualPrices(some(network.room.shape), some(network.new_room.shape))


PRICES = {
    "seed": st.integers(0, 2**32 - 1),
    "scale": st.sampled_from([0.01, 1.0, 20.0, 1000.0]),
    "share": st.sampled_from([0.05, 0.3, 1.0]),
}


@examples(60)
@given(**PRICES)
def test_no_prices_bound_above_the_best_plan(seed: int, scale: float, share: float) -> None:
    parts, best = known()
    bound = sum(lagrangian_bound(network, priced(network, seed, scale, share)) for network in parts)
    assert bound <= best + 1e-6


def test_prices_of_zero_bound_from_below() -> None:
    parts, best = known()
    bound = sum(lagrangian_bound(network, DualPrices.zero(network)) for network in parts)
    # There is a shortage: with room for all the best plan would cost less.
    assert 0 <= bound < best
    # A solver's prices are better than none.
    assert bound <= sum(pooled_lp_bound(network) for network in parts) + 1e-6 <= best + 2e-6


@examples(40)
@given(groups=st.lists(st.integers(0, 3), min_size=4, max_size=4), **PRICES)
def test_aggregated_resources_bound_no_higher(
    groups: list[int], seed: int, scale: float, share: float
) -> None:
    """With the prices of its group at every resource the bounds are equal."""
    network = one_component()
    _, group_of = np.unique(groups, return_inverse=True)
    pooled = network.aggregated(group_of)
    prices = priced(pooled, seed, scale, share)
    apart = DualPrices(prices.room[group_of], prices.new)
    assert lagrangian_bound(pooled, prices) == pytest.approx(
        lagrangian_bound(network, apart), rel=1e-9
    )


def test_more_groups_bound_tighter() -> None:
    network = one_component()
    bounds = [relax(network, groups).bound for groups in (1, 2, 4)]
    best = sendplan.solve(problem_of(tight(100, 4, 1)), "cpsat", 5).cost
    for coarse, fine in pairwise(bounds):
        assert coarse <= fine * (1 + 1e-6)  # what an interior point lacks
    assert bounds[-1] <= best


# ---------------------------------------------------------------- what cannot be placed


def blocked_or_not(status: str, capacity: int) -> Frames:
    """The small shortage, the mailbox of one of its two owners being changed."""
    frames = tight(60)
    mailboxes = frames["mailboxes"].copy()
    mailboxes.loc[mailboxes["id"] == mailboxes["id"].min(), ["status", "daily_capacity"]] = (
        status,
        capacity,
    )
    return frames | {"mailboxes": mailboxes}


@pytest.mark.slow
@pytest.mark.parametrize("horizon_days", [None, 30])
@pytest.mark.parametrize("method", ["cpsat"])
@pytest.mark.parametrize(
    ("status", "capacity", "words"),
    [
        ("active", 0, {"no_capacity"}),
        # In flight: bound to the paused mailbox. Not begun: no other mailbox to take.
        ("paused", 5, {"mailbox_paused", "no_active_mailbox"}),
    ],
)
def test_one_mailbox_without_room_and_the_other_improved(
    status: str, capacity: int, words: set[str], method: str, horizon_days: int | None
) -> None:
    frames = blocked_or_not(status, capacity)
    problem = problem_of(frames)
    before = sendplan.solve(problem, "greedy", horizon_days=horizon_days)
    plan = sendplan.solve(problem, method, 5, horizon_days=horizon_days)
    assert_sound(problem, plan)
    assert set(plan.unplaced["reason"]) == words
    # All emails of the first owner's people, and nothing of the other's.
    mailbox = frames["mailboxes"]["id"].min()
    links = frames["sequence_mailboxes"]
    theirs = set(links.loc[links["mailbox_id"] == mailbox, "sequence_id"])
    people = frames["enrollments"].set_index("id")["sequence_id"]
    assert set(people.loc[plan.unplaced["enrollment_id"]]) <= theirs
    assert not set(people.loc[plan.sends["enrollment_id"]]) & theirs
    # Nothing can be done about the first owner's cost, and the other's is the best there is: that
    # of an instance without the first owner.
    others = others_of(frames, theirs)
    alone = sendplan.solve(problem_of(others), method, 5, horizon_days=horizon_days)
    mine = plan.delays.loc[~plan.delays["sequence_id"].isin(theirs), "cost"].sum()
    assert mine == alone.cost
    assert alone.status == "optimal"
    assert plan.status in ("optimal", "feasible")
    assert (plan.status == "optimal") == (plan.lower_bound == plan.cost)
    assert plan.cost <= before.cost


def others_of(frames: Frames, sequences: set[int]) -> Frames:
    """Leave some sequences out, with all that hangs on them."""
    people = frames["enrollments"]
    gone = set(people.loc[people["sequence_id"].isin(sequences), "id"])
    links = frames["sequence_mailboxes"]
    mailboxes = set(links.loc[links["sequence_id"].isin(sequences), "mailbox_id"])
    keep = {
        "sequences": ~frames["sequences"]["id"].isin(sequences),
        "steps": ~frames["steps"]["sequence_id"].isin(sequences),
        "mailboxes": ~frames["mailboxes"]["id"].isin(mailboxes),
        "sequence_mailboxes": ~links["sequence_id"].isin(sequences),
        "enrollments": ~people["id"].isin(gone),
        "scheduled_emails": ~frames["scheduled_emails"]["enrollment_id"].isin(gone),
    }
    return {name: frames[name][rows].reset_index(drop=True) for name, rows in keep.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("horizon_days", [None, 3])
def test_a_mailbox_of_no_capacity_beside_one_of_some(method: str, horizon_days: int | None) -> None:
    """Person 1 is bound to the mailbox of no capacity, person 2 takes the other one.

    Step 1 leaves on Monday, step 2 a day later.
    """
    more = {} if horizon_days is None else {"horizon_days": horizon_days}
    world = World().sequence().mailbox(5, 0).mailbox(6, 1)
    world.email(1, 11, "sent", -3).enroll(1, current_step_id=11, mailbox_id=5).enroll(2)
    plan = world.plan(method, **more)
    assert days_of(plan) == {2: [0, 1]}
    assert without_slot(plan) == [(1, 12, "no_capacity")]
    assert plan.lower_bound is None or plan.lower_bound <= plan.cost


# ---------------------------------------------------------------- apportioning and rounding


@st.composite
def shared_out(draw: st.DrawFn) -> tuple[FlowNetwork, np.ndarray, FlowNetwork]:
    """Draw a network with a limit on first emails, apportioned chains, and both together."""
    network = limited(draw(st.integers(0, 4)), draw(st.integers(1, 9)))
    groups = draw(st.integers(1, 4))
    group_of = group_by_load(network, groups)
    grouped = network.aggregated(group_of)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Any division of the chains, as a relaxation might give it.
    starting = rng.random(grouped.arriving.shape) * (grouped.group != NONE)[:, None]
    starting *= rng.random(len(grouped))[:, None] < draw(st.sampled_from([0.3, 1.0]))
    share = apportion(network, group_of, grouped, starting)
    return network, share, separate_resources(network, share)


@cache
def limited(seed: int, most: int) -> FlowNetwork:
    frames = tight(80, 4, 1, seed)
    frames["sequences"] = frames["sequences"].assign(max_new_per_day=most)
    _, _, [subproblem] = cut(problem_of(frames), 40)
    return subproblem.network


@examples(40)
@given(drawn=shared_out())
def test_apportioned_chains_add_up(drawn: tuple[FlowNetwork, np.ndarray, FlowNetwork]) -> None:
    network, share, _ = drawn
    assert (share >= 0).all()
    assert not share[network.group == NONE].any()
    for group, waiting in enumerate(network.waiting):
        assert share[network.group == group].sum(axis=0).tolist() == waiting.tolist()


@examples(40)
@given(drawn=shared_out())
def test_separate_resources_start_no_more_than_the_sequence_may(
    drawn: tuple[FlowNetwork, np.ndarray, FlowNetwork],
) -> None:
    network, _, apart = drawn
    assert (apart.new_room >= 0).all()
    first = np.flatnonzero(network.first)
    for sequence in np.unique(network.sequence[first]):
        own = first[network.sequence[first] == sequence]
        rows = apart.new_room[apart.sequence[own]]
        assert (rows.sum(axis=0) <= network.new_room[sequence])[:-1].all()


@examples(25)
@given(drawn=shared_out(), seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.1, 0.5, 1.0]))
def test_what_is_rounded_keeps_every_row(
    drawn: tuple[FlowNetwork, np.ndarray, FlowNetwork], seed: int, share: float
) -> None:
    """Targets are anything, in and out of reach: arrivals, order and capacity are kept to."""
    _, _, network = drawn
    rng = np.random.default_rng(seed)
    targets = rng.exponential(1.0, network.cost.shape) * (rng.random(network.cost.shape) < share)
    sends = round_flow(network, targets)
    model = build_count_model(network)
    solution = model.solution(sends)
    assert (solution >= 0).all()
    left = np.zeros(len(model.lower), dtype=np.int64)
    np.add.at(left, model.row, model.value * solution[model.column])
    assert (left <= model.upper).all()
    assert (left >= model.lower)[model.lower != NO_LOWER].all()
    assert (model.sends(solution) == sends).all()
    # The cost is that of the model.
    assert float(model.cost @ solution) + network.constant == pytest.approx(network.value(sends))
    # Each chain sends all its emails, some in the sink.
    assert sends.sum() == (network.arriving.sum(axis=1) * network.remaining).sum()
