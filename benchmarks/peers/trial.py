"""One peer on one instance, in a process of its own: it may take all of its memory or never end."""

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

from sendplan.benchmarks.peers.answers import PeerError
from sendplan.benchmarks.peers.instances import PeerInstance, Size
from sendplan.benchmarks.peers.judge import judge
from sendplan.benchmarks.peers.roster import PEERS

MEMORY_GIB = 6.0
GRACE_SECONDS = 60.0
"""How long past its limit a peer may go on: some look at the clock only now and then."""

_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "OutOfMemoryError", "not enough space")


@dataclass(frozen=True)
class Result:
    """What came of it; None where there is no plan or nothing is known.

    Parameters
    ----------
    status : str
        What the peer says of its plan, or why there is none.
    seconds : float or None
        For building and solving the model, and for turning the solution into a plan.
    cost, bound : float or None
        The plan's cost as `judge` finds it, and what the peer has proven itself.
    emails, late_follow_ups, mended : int or None
        See `judge.Verdict` and `answers.Answer`.
    broken : dict of str to int
        Rules that the plan breaks.
    """

    status: str
    seconds: float | None = None
    cost: float | None = None
    bound: float | None = None
    emails: int | None = None
    late_follow_ups: int | None = None
    mended: int | None = None
    broken: dict[str, int] = field(default_factory=dict)


def run(peer: str, size: Size, limit: float, seed: int = 0) -> Result:
    """Let a peer plan an instance in this process.

    Parameters
    ----------
    peer : str
        A key of `PEERS`.
    size : Size
        The instance.
    limit : float
        Seconds that the peer may take.
    seed : int
        Seed of the instance.

    Returns
    -------
    Result
        With a status that says why, if the peer has no plan.
    """
    instance = PeerInstance.build(size, seed)
    began = time.perf_counter()
    try:
        answer = PEERS[peer].plan(instance, limit)
    except PeerError as error:
        return Result(str(error), time.perf_counter() - began, bound=error.bound)
    except MemoryError:
        return Result(f"out of memory ({MEMORY_GIB:g} GiB)", time.perf_counter() - began)
    seconds = time.perf_counter() - began
    verdict = judge(instance.problem, answer.sends)
    return Result(
        answer.status,
        seconds,
        verdict.cost,
        answer.bound,
        verdict.emails,
        verdict.late_follow_ups,
        answer.mended,
        verdict.broken,
    )


def attempt(peer: str, size: Size, limit: float, seed: int = 0) -> Result:
    """Let a peer plan an instance in a child process that is watched; see `run`."""
    command = [sys.executable, "-P", "-m", "sendplan.benchmarks.peers.trial"]
    command += [peer, str(size), str(limit), str(seed)]
    began = time.perf_counter()
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=limit + GRACE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(f"killed {GRACE_SECONDS:g} s past its limit", time.perf_counter() - began)
    if child.returncode == 0:
        # Solvers print what they like before it.
        return Result(**json.loads(child.stdout.splitlines()[-1]))
    if any(word in child.stderr + child.stdout for word in _OUT_OF_MEMORY):
        status = f"out of memory ({MEMORY_GIB:g} GiB)"
    elif child.returncode < 0:
        status = f"died of {signal.Signals(-child.returncode).name}"
    else:
        status = f"failed: {(child.stderr.strip().splitlines() or ['no message'])[-1]}"
    return Result(status, time.perf_counter() - began)


def main() -> None:
    """Plan and print the result as one line of JSON; what `attempt` runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("size", type=Size.parse)
    parser.add_argument("limit", type=float)
    parser.add_argument("seed", type=int)
    options = parser.parse_args()
    limit = int(MEMORY_GIB * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    result = run(options.peer, options.size, options.limit, options.seed)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
