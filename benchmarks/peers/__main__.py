"""Peers side by side: the same instances, cost, machine and limits for all; see README.md here.

Writes its table into ``benchmarks/RESULTS.md``, beside the other measurements.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sendplan.benchmarks.peers.instances import Size
from sendplan.benchmarks.peers.roster import PEERS
from sendplan.benchmarks.peers.table import Case, contradictions, section
from sendplan.benchmarks.peers.trial import GRACE_SECONDS, Result, attempt
from sendplan.benchmarks.results import with_section

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
SIZES = "20x2,100x2-tight,500x4,5000x20,50000x200"
CHEAP_FAILURE = 30.0
"""Seconds: a peer that failed faster than this is tried on the next size even so."""


def measure(
    sizes: Sequence[Size], peers: Sequence[str], limit: float, runs: int = 1, seed: int = 0
) -> list[Case]:
    """Let all peers plan all instances, one after the other.

    Parameters
    ----------
    sizes : sequence of Size
        From small to large: who failed on one is not tried on the next, unless failing was cheap.
    peers : sequence of str
        Keys of `PEERS`.
    limit : float
        Seconds that each may take.
    runs : int
        How often each plans each instance.
    seed : int
        Seed of the instances.

    Returns
    -------
    list of Case
        Sorted by instance.
    """
    cases = []
    failed: dict[str, Size] = {}
    for size in sizes:
        for peer in peers:
            if peer in failed:
                status = f"not tried: failed at {failed[peer]}"
                cases.append(Case(size, peer, [Result(status)]))
                continue
            results = []
            for _ in range(runs):
                results.append(attempt(peer, size, limit, seed))
                _say(size, peer, results[-1])
                if results[-1].cost is None:
                    break
            cases.append(Case(size, peer, results))
            last = results[-1]
            if last.cost is None and (last.seconds or 0) > min(limit / 2, CHEAP_FAILURE):
                failed[peer] = size
    return cases


def _say(size: Size, peer: str, result: Result) -> None:
    seconds = "" if result.seconds is None else f"{result.seconds:.1f} s"
    cost = "no plan" if result.cost is None else f"cost {result.cost:,.0f}"
    bound = "" if result.bound is None else f", bound {result.bound:,.0f}"
    print(f"{size}  {peer}: {seconds}, {cost}{bound}; {result.status}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(prog="bench-peers", description=__doc__)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each peer")
    parser.add_argument("--sizes", default=SIZES, help="CONTACTSxMAILBOXES[xOWNERS][-tight], …")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    peers = options.peers.split(",")
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown:
        parser.error(f"no peer called {', '.join(unknown)}; there are {', '.join(PEERS)}")
    try:
        sizes = [Size.parse(label) for label in options.sizes.split(",")]
    except ValueError as error:
        parser.error(str(error))
    worst = len(sizes) * len(peers) * options.runs * (options.limit + GRACE_SECONDS) / 60
    print(f"at most {worst:.0f} minutes", file=sys.stderr)
    cases = measure(sizes, peers, options.limit, options.runs, options.seed)
    before = options.output.read_text() if options.output.exists() else ""
    options.output.write_text(with_section(before, section(cases, options.limit)))
    print(f"written: {options.output}", file=sys.stderr)
    found = contradictions(cases)
    if found:
        sys.exit("a bound or a cost is wrong:\n" + "\n".join(found))


if __name__ == "__main__":
    main()
