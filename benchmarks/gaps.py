"""How near to the best: cost, bound and gap of plans within their time limits, against targets.

    make bench-gaps

Each instance is planned in a process of its own, with as many workers as the machine has cores,
once for every seed; the seconds include turning frames into a plan.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sendplan.benchmarks import machine, results
from sendplan.benchmarks.copying import today

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = results.OTHERS[0]


@dataclass(frozen=True)
class Case:
    """An instance, its time limit, and what is to be reached.

    Parameters
    ----------
    name : str
        What it is called in the table.
    instance : dict
        Arguments of `sendplan.planner.synthetic.instances.reference`.
    limit : float
        Seconds of work.
    target : float
        Gap at most.
    """

    name: str
    instance: dict[str, Any]
    limit: float
    target: float


_REFERENCE = {"contacts": 50_000, "mailboxes": 200}
CASES = (
    Case("500 × 4, one owner", {"contacts": 500, "mailboxes": 4, "owners": 1}, 20, 0.0),
    Case("5,000 × 20, one owner", {"contacts": 5_000, "mailboxes": 20, "owners": 1}, 60, 0.01),
    Case("reference, 10 components", _REFERENCE, 60, 0.02),
    Case("reference, 10 components", _REFERENCE, 150, 0.01),
    Case("all mailboxes shared", _REFERENCE | {"shared": True}, 60, 0.06),
    Case("tight: a quarter of the capacity", _REFERENCE | {"tight": True}, 120, 0.05),
)
EARLY = 20.0
"""Seconds after which a first plan is looked at."""


@dataclass(frozen=True)
class Result:
    """One run; seconds by the wall clock, from frames to plan."""

    seconds: float
    cost: float
    bound: float
    gap: float
    greedy_gap: float
    early_gap: float
    stopped: str
    late_follow_ups: int
    violations: int


def measure(case: Case, seed: int) -> Result:
    """Plan a case once."""
    import sendplan
    from sendplan.planner.improve.task_pool import SearchProgress, SilentCallback
    from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference

    class Steps(SilentCallback):
        """Notes when the gap became what it is."""

        def __init__(self) -> None:
            self.steps: list[tuple[float, float]] = []

        def report(self, progress: SearchProgress) -> None:
            self.steps.append((time.perf_counter() - begun, progress.gap))

    frames = reference(seed=seed, now=REFERENCE_NOW, **case.instance)
    frames.pop("contacts")
    watch = Steps()
    begun = time.perf_counter()
    problem = sendplan.Problem.from_frames(**frames, now=REFERENCE_NOW)
    plan = sendplan.solve(
        problem, time_limit=case.limit, gap=0.0, workers=os.cpu_count() or 1, callback=watch
    )
    seconds = time.perf_counter() - begun
    return Result(
        seconds=seconds,
        cost=plan.cost,
        bound=plan.lower_bound or 0.0,
        gap=plan.gap or 0.0,
        greedy_gap=watch.steps[0][1],
        early_gap=min(gap for at, gap in watch.steps if at <= EARLY),
        stopped=str(plan.stopped),
        late_follow_ups=plan.late_follow_ups,
        violations=len(sendplan.violations(problem, plan.sends)),
    )


def section(measured: Sequence[tuple[Case, Sequence[Result]]]) -> str:
    """Write the results down as a section of Markdown."""
    about = (
        f"{today()}, commit {machine.commit()}; {machine.describe()}; {machine.packages()}. "
        "Medians over seeds; in brackets the worst. The limit is in seconds of work on one core "
        "(`time_limit`), the seconds are the wall clock's with a worker for each core. The bound is"
        " the planner's own, evaluated from prices in one pass over the days, or proven by branch"
        f" and bound; the early gap is that of the best plan after {EARLY:g} s. No plan breaks a"
        " rule. Made by `make bench-gaps`."
    )
    header = [
        "instance",
        "limit",
        "seconds",
        "greedy's gap",
        "early gap",
        "gap",
        "target",
        "cost, first seed",
        "bound, first seed",
        "late follow-ups",
        "stopped",
    ]
    rows = []
    for case, runs in measured:
        assert not any(run.violations for run in runs)
        rows.append(
            [
                case.name,
                f"{case.limit:g}",
                f"{median(run.seconds for run in runs):.1f}",
                _percent([run.greedy_gap for run in runs]),
                _percent([run.early_gap for run in runs]),
                _percent([run.gap for run in runs]),
                f"{case.target:.0%}" if case.target else "optimal",
                f"{runs[0].cost:,.0f}",
                f"{runs[0].bound:,.0f}",
                f"{runs[0].late_follow_ups:,}",
                ", ".join(sorted({run.stopped for run in runs})),
            ]
        )
    return "\n\n".join([HEADING, about, results.table(header, rows)]) + "\n"


def _percent(gaps: Sequence[float]) -> str:
    middle, worst = median(gaps), max(gaps)
    text = f"{middle:.2%}"
    return text if f"{worst:.2%}" == text else f"{text} ({worst:.2%})"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="seeds, comma-separated")
    parser.add_argument("--only", default="", help="measure only names that contain this")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    measured = []
    for case in CASES:
        if options.only not in case.name:
            continue
        runs = []
        for seed in seeds:
            # A solver may still be at work when its process has its plan.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, context) as alone:
                runs.append(alone.submit(measure, case, seed).result())
            print(f"{case.name}, {case.limit:g} s, seed {seed}: {runs[-1]}", file=sys.stderr)
        measured.append((case, runs))
    before = options.output.read_text() if options.output.exists() else ""
    options.output.write_text(results.with_section(before, section(measured)))
    print(f"written: {options.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
