"""A guard against slow-downs: ratios within one run at a small size, never seconds.

Planning is held against sorting as many numbers as there are emails, storing and loading against
COPY of the same rows. Each ratio is the median of several rounds; it fails at twice what
``benchmarks/guard.json`` says, which ``--write`` measures anew. A machine that is busy just then
slows one side of a ratio only now and then: what fails is measured again before it is believed.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from sendplan.benchmarks.copying import Stopwatch
from sendplan.benchmarks.nightly import (
    administer,
    copy_in_limit,
    copy_out_limit,
    database,
    mailboxes_of,
)
from sendplan.benchmarks.scratch import scratch_server
from sendplan.io.campaigns.demo import fill
from sendplan.io.database.engine import connect, migrate
from sendplan.io.planning.nightly import run_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.synthetic import instances as synthetic

CONTACTS = 5_000
ROUNDS = 5
SORTS = 20
"""How often the numbers are sorted: once is over too soon to be timed. By merging: other ways of
sorting are many times as fast where the processor has wide registers."""

MOST = 2.0
"""How many times the expected ratio is too much."""

TRIES = 3
EXPECTED = Path(__file__).with_name("guard.json")

RATIOS = {
    "load": "loading to COPY out of the same rows",
    "solve": f"planning to sorting as many numbers {SORTS} times",
    "store": "storing to COPY into a table with the same indexes and foreign keys",
}


def measured(contacts: int = CONTACTS, rounds: int = ROUNDS) -> dict[str, float]:
    """Plan small databases, and return each phase's seconds over those of its limit."""
    found: dict[str, list[float]] = {name: [] for name in RATIOS}
    with scratch_server() as server:
        base = database(server, "base")
        engine = connect(base)
        migrate(engine)
        fill(engine, synthetic.reference(contacts, mailboxes_of(contacts), provisional=True))
        engine.dispose()
        for number in range(rounds):
            for name, ratio in _round(database(server, f"round_{number}", template="base")).items():
                found[name].append(ratio)
            administer(server, f"DROP DATABASE round_{number}")
    return {name: round(median(ratios), 3) for name, ratios in found.items()}


def _round(url: str) -> dict[str, float]:
    out = copy_out_limit(url)
    engine = connect(url)
    run = run_plan(engine, synthetic.REFERENCE_NOW, Parameters(method="greedy"))
    engine.dispose()
    numbers = np.random.default_rng(0).random(run.summary.totals["emails"])
    with Stopwatch() as sorting:
        for _ in range(SORTS):
            np.argsort(numbers, kind="stable")
    limits = {"load": out, "solve": sorting.seconds, "store": copy_in_limit(url)}
    return {name: run.seconds[name] / limit for name, limit in limits.items()}


def complaints(found: Mapping[str, float], expected: Mapping[str, float]) -> list[str]:
    """Say which ratios have doubled."""
    return [
        f"{RATIOS[name]}: {ratio:.2f}, where {expected[name]:.2f} is expected"
        for name, ratio in found.items()
        if ratio > MOST * expected[name]
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and tell what has become slow; 1 if anything has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help="store the measured ratios as the expected ones"
    )
    given = parser.parse_args(arguments)
    if given.write:
        EXPECTED.write_text(json.dumps(measured(), indent=2) + "\n")
        return 0
    expected = json.loads(EXPECTED.read_text())
    slow: list[str] = []
    for _ in range(TRIES):
        found = measured()
        slow = complaints(found, expected)
        for name, ratio in found.items():
            print(f"{RATIOS[name]}: {ratio:.2f}, expected {expected[name]:.2f}")
        if not slow:
            return 0
        print("Measuring the slow ones again", file=sys.stderr)
    print(f"Slower than it was, {TRIES} times in a row:", *slow, sep="\n  ", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
