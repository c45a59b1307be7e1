"""Live an instance of the reference kind through many times, under each policy.

By default 5,000 contacts and 20 mailboxes, 20 futures a policy, re-planned every night. Prints the
time that each policy took, and what the futures amount to side by side.
"""

import argparse
import resource
import time

import pandas as pd

import sendplan
from sendplan.benchmarks import machine
from sendplan.benchmarks.nightly import mailboxes_of
from sendplan.planner import synthetic
from sendplan.planner.simulation import Policy, simulate

GOAL_SECONDS = 120
"""What 20 futures may take that look ahead, on 2 cores."""


def main() -> None:
    """Simulate, and print times and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
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
        seconds.append([time.perf_counter() - begin[0], machine.work() - begin[1]])
    columns = ["seconds", "seconds of work"]
    print(pd.DataFrame(seconds, index=list(Policy), columns=columns).round(1).to_string())
    print(f"goal: look-ahead within {GOAL_SECONDS} seconds")
    print(simulations[0].compare(*simulations[1:]).T.to_string())
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"peak memory of a process: {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
