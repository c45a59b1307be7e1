"""The peers of the benchmark keep the rules, are judged by one function, and their bounds hold."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ortools.sat.python import cp_model

import sendplan
from sendplan.benchmarks.baselines import Order, day_by_day
from sendplan.benchmarks.peers import __main__ as program
from sendplan.benchmarks.peers.answers import Answer, PeerError, answer, mend
from sendplan.benchmarks.peers.count_rows import Counts, components, programme
from sendplan.benchmarks.peers.crowd import people
from sendplan.benchmarks.peers.instances import PeerInstance, Size, Terms
from sendplan.benchmarks.peers.judge import judge
from sendplan.benchmarks.peers.roster import PEERS
from sendplan.benchmarks.peers.table import HEADING, Case, contradictions, section
from sendplan.benchmarks.peers.trial import Result, attempt
from sendplan.benchmarks.results import with_section
from sendplan.planner.model.assignment import Placement
from sendplan.planner.problem.parameters import METHODS
from sendplan.planner.synthetic import instances as synthetic

SMALL = Size.parse("20x2")
LIMIT = 20.0
MODULES = {"pyjobshop": "pyjobshop", "timefold": "jpype", "highs": "highspy"}
PROVING = ("emails", "highs")


@pytest.fixture(scope="module")
def instance() -> PeerInstance:
    """Twenty contacts, whose mailboxes may send 6 and 4 emails a day: not quite enough."""
    frames = synthetic.reference(SMALL.contacts, SMALL.mailboxes, SMALL.owners)
    frames["mailboxes"]["daily_capacity"] = [6, 4]
    return PeerInstance(SMALL, frames, _problem(frames))


def _problem(frames: dict[str, pd.DataFrame]) -> sendplan.Problem:
    known = {name: frame for name, frame in frames.items() if name != "contacts"}
    return sendplan.Problem.from_frames(**known, now=synthetic.REFERENCE_NOW)


def plan(peer: str, instance: PeerInstance, limit: float = LIMIT) -> Answer:
    if peer in MODULES:
        pytest.importorskip(MODULES[peer])
    if peer == "cpsat" and "cpsat" not in METHODS:
        pytest.skip("sendplan has no such method yet")
    return PEERS[peer].plan(instance, limit)


@pytest.fixture(scope="module")
def best_bound(instance: PeerInstance) -> float:
    """The best bound that the peers at hand prove; 0 at worst."""
    bounds = [0.0]
    for peer in PROVING:
        if peer not in MODULES or importlib.util.find_spec(MODULES[peer]):
            bounds.append(PEERS[peer].plan(instance, LIMIT).bound or 0.0)
    return max(bounds)


@pytest.mark.slow
@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer != "timefold"])
def test_a_peer_keeps_the_rules_and_costs_no_less_than_the_bound(
    peer: str, instance: PeerInstance, best_bound: float
) -> None:
    answer = plan(peer, instance, limit=5.0 if peer == "pyjobshop" else LIMIT)
    verdict = judge(instance.problem, answer.sends)
    assert verdict.broken == {}
    assert verdict.emails == len(Terms.of(instance.problem).work.emails)
    assert verdict.cost >= best_bound - 1e-6
    assert answer.bound is None or answer.bound <= verdict.cost + 1e-6


def test_timefold_in_a_process_of_its_own() -> None:
    pytest.importorskip("timefold")
    result = attempt("timefold", Size.parse("20x2"), 12.0)
    assert result.cost is not None, result.status
    assert (result.broken, result.emails) == ({}, 79)


@pytest.mark.parametrize("order", Order)
def test_the_judge_agrees_with_the_daily_job(order: Order, instance: PeerInstance) -> None:
    outcome = day_by_day(instance.frames, synthetic.REFERENCE_NOW, order)
    verdict = judge(instance.problem, outcome.sends)
    assert verdict.cost == outcome.cost > 0
    assert verdict.late_follow_ups == outcome.late_follow_ups


def test_the_judge_and_the_sum_over_emails_agree_with_the_plan(instance: PeerInstance) -> None:
    plan = sendplan.solve(instance.problem, method="greedy")
    assert judge(instance.problem, plan.sends).cost == plan.cost > 0
    terms = Terms.of(instance.problem)
    emails = terms.work.emails
    problem = instance.problem
    day = plan.sends.set_index(["enrollment_id", "step_id"])["send_day"].loc[
        list(
            zip(
                problem.enrollments["id"].to_numpy()[terms.work.chains.enrollment[emails.chain]],
                problem.live_steps["id"].to_numpy()[terms.work.stages.step[emails.stage]],
                strict=True,
            )
        )
    ]
    index = day.to_numpy().astype("datetime64[D]").astype(int) - problem.horizon.origin
    assert index.max() <= terms.last
    assert terms.cost[emails.stage, index].sum() + terms.constant == pytest.approx(plan.cost)


def test_the_judge_names_broken_rules_and_charges_for_what_is_missing(
    instance: PeerInstance,
) -> None:
    plan = sendplan.solve(instance.problem, method="greedy")
    last = plan.sends["send_day"].max()
    sends = plan.sends.drop(columns="send_at")
    crowded = sends.assign(send_day=sends["send_day"].where(sends["send_day"] < last, last))
    assert judge(instance.problem, crowded).broken == {}
    crowded["send_day"] = last
    assert {"capacity", "contact"} <= judge(instance.problem, crowded).broken.keys()
    missing = sends.drop(sends.index[sends["enrollment_id"] == sends["enrollment_id"].iloc[0]])
    assert judge(instance.problem, missing).emails < len(sends)


def test_mending_takes_out_what_breaks_rules_and_places_all(instance: PeerInstance) -> None:
    terms = Terms.of(instance.problem)
    placement = Placement.empty(terms.work)
    # Everybody gets everything on the first sending day, from one mailbox.
    placement.day[:] = np.flatnonzero(terms.work.stages.sends[0])[1]
    placement.mailbox[placement.mailbox < 0] = 0
    mended = answer(terms, placement, None, "crowded")
    assert 0 < mended.mended < len(terms.work.emails)
    verdict = judge(instance.problem, mended.sends)
    assert (verdict.broken, verdict.emails) == ({}, len(terms.work.emails))
    assert mend(terms, placement) == 0


@pytest.mark.slow
def test_counts_and_emails_have_one_optimum() -> None:
    # The programme on counts, solved by CP-SAT here, since HiGHS need not be installed.
    frames = synthetic.reference(6, 2, 1)
    frames["mailboxes"]["daily_capacity"] = 1
    terms = Terms.of(_problem(frames))
    counts = Counts.none(terms)
    total = terms.constant
    for stages in components(terms):
        rows = programme(terms, stages)
        model = cp_model.CpModel()
        columns = [
            model.new_int_var(0, int(min(upper, len(terms.work.emails))), "")
            for upper in rows.upper
        ]
        starts = np.searchsorted(np.sort(rows.row), np.arange(len(rows.low) + 1))
        order = np.argsort(rows.row, kind="stable")
        for row, (low, high) in enumerate(zip(rows.low, rows.high, strict=True)):
            entries = order[starts[row] : starts[row + 1]]
            left = cp_model.LinearExpr.weighted_sum(
                [columns[c] for c in rows.column[entries]], rows.value[entries].astype(int).tolist()
            )
            model.add_linear_constraint(left, int(max(low, -1e6)), int(min(high, 1e6)))
        model.minimize(cp_model.LinearExpr.weighted_sum(columns, rows.cost.tolist()))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        assert solver.solve(model) == cp_model.OPTIMAL
        rows.read(np.array([solver.value(c) for c in columns], dtype=float), counts)
        total += solver.objective_value
    result = answer(terms, people(terms, counts), total, "optimal")
    verdict = judge(terms.work.problem, result.sends)
    assert (result.mended, verdict.broken) == (0, {})
    assert verdict.cost == pytest.approx(total)
    assert verdict.cost > 0
    alone = PEERS["emails"].plan(PeerInstance(SMALL, frames, terms.work.problem), LIMIT)
    assert alone.status == "optimal"
    assert alone.bound == pytest.approx(total)


def test_sizes_are_read_back() -> None:
    for label in ("20x2x1", "100x2x1-tight", "50000x200x10"):
        assert str(Size.parse(label)) == label
    assert Size.parse("50000x200").owners == 10
    with pytest.raises(ValueError, match="write CONTACTSxMAILBOXES"):
        Size.parse("many")


def test_whoever_fails_slowly_is_not_tried_on_the_next_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def attempt(peer: str, size: Size, limit: float, seed: int) -> Result:
        if peer == "highs":
            return Result("feasible", 1.0, 120.0, 100.0, 79, 3)
        return Result("out of memory", 60.0 if peer == "emails" else 0.1)

    monkeypatch.setattr(program, "attempt", attempt)
    output = tmp_path / "RESULTS.md"
    output.write_text(f"# Other\n\nkept\n\n{HEADING}\n\nold\n\n## Further\n\nkept too\n")
    arguments = ["--sizes", "20x2,100x2", "--peers", "emails,timefold,highs"]
    program.main([*arguments, "--limit", "60", "--output", str(output)])
    text = output.read_text()
    assert "\nold\n" not in text
    assert text.startswith("# Other\n\nkept\n\n") and text.endswith("\n## Further\n\nkept too\n")
    status = [line.split("|")[-2].strip() for line in text.splitlines() if "×" in line]
    assert status == [
        *("out of memory", "out of memory", "feasible"),
        *("not tried: failed at 20x2x1", "out of memory", "feasible"),
    ]
    assert text.count("| 16.7% |") == 2  # (120 − 100) / 120


def test_a_plan_below_a_bound_is_a_contradiction() -> None:
    sound = Case(SMALL, "daily", [Result("rule of thumb", 1.0, 99.0, None, 79, 0, 0)])
    broken = Case(SMALL, "daily", [Result("", 1.0, 99.0, None, 79, 0, 0, {"capacity": 1})])
    proven = Case(SMALL, "highs", [Result("optimal", 1.0, 100.0, 100.0, 79, 0, 0)])
    assert len(contradictions([sound, proven])) == 1
    assert contradictions([broken, proven]) == []
    assert "capacity 1" in section([broken], 1.0)


def test_a_missing_package_is_a_reason() -> None:
    instance = PeerInstance.build(SMALL)
    for peer, module in MODULES.items():
        if importlib.util.find_spec(module) is None:
            with pytest.raises(PeerError, match="not installed"):
                PEERS[peer].plan(instance, 1.0)


def test_the_section_is_added_to_a_file_without_one() -> None:
    assert with_section("", f"{HEADING}\n") == f"{HEADING}\n"
    assert with_section("# Other\n", f"{HEADING}\n") == f"# Other\n\n{HEADING}\n"
