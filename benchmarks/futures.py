"""Live an instance of the reference kind through many times, under each policy.

By default 5,000 contacts and 20 mailboxes, 20 futures a policy, re-planned every night. Writes the
time that each policy took, and what the futures amount to, into ``benchmarks/RESULTS.md``.
"""

import argparse
import resource
import time
from pathlib import Path

import sendplan
from sendplan.benchmarks import machine
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.nightly import RESULTS, mailboxes_of
from sendplan.benchmarks.results import FUTURES, table, with_section
from sendplan.planner.simulation.results import Simulation
from sendplan.planner.simulation.simulation import Policy, simulate
from sendplan.planner.synthetic import instances as synthetic

GOAL_SECONDS = 120
"""What 20 futures may take that look ahead, on 2 cores."""


def report(
    contacts: int, simulations: list[Simulation], seconds: list[tuple[float, float]], workers: int
) -> str:
    """Write the measurements down as Markdown."""
    compared = simulations[0].compare(*simulations[1:])
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    rows = [
        [str(policy), f"{wall:.0f}", f"{work:.0f}", *(_written(value) for value in figures)]
        for (policy, figures), (wall, work) in zip(
            ((name, row.tolist()) for name, row in compared.iterrows()), seconds, strict=True
        )
    ]
    names = [str(name).replace("_", " ") for name in compared.columns]
    text = (
        f"{today()}, commit {machine.commit()}; {machine.describe()}; "
        f"{machine.packages(('numpy', 'pandas', 'ortools'))}. {contacts:,} contacts, "
        f"{len(simulations[0].runs)} futures a policy, {workers} processes; at most "
        f"{GOAL_SECONDS} s were aimed at. Work is the processor seconds of all. The largest process"
        f" took {peak / 1024:.0f} MiB. Made by `make bench-futures`."
    )
    header = ["policy", "seconds", "work", *names]
    return "\n\n".join([FUTURES, text, table(header, rows)]) + "\n"


def _written(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Simulate, and write times and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    for variant in ("tight", "shared", "mixed"):
        parser.add_argument(f"--{variant}", action="store_true")
    given = parser.parse_args()
    frames = synthetic.reference(
        given.contacts, mailboxes_of(given.contacts), seed=given.seed,
        tight=given.tight, shared=given.shared, mixed=given.mixed,
    )  # fmt: skip
    del frames["contacts"]
    problem = sendplan.Problem.from_frames(**frames, now=synthetic.REFERENCE_NOW)
    simulations, seconds = [], []
    for policy in Policy:
        begin = time.perf_counter(), machine.work()
        simulations.append(
            simulate(problem, given.runs, given.seed, policy=policy, workers=given.workers)
        )
        seconds.append((time.perf_counter() - begin[0], machine.work() - begin[1]))
    section = report(given.contacts, simulations, seconds, given.workers)
    text = given.output.read_text() if given.output.exists() else ""
    given.output.write_text(with_section(text, section))
    print(section)


if __name__ == "__main__":
    main()
