"""The table of a run, and its section in RESULTS.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sendplan.benchmarks import machine, results
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.peers.instances import Size
from sendplan.benchmarks.peers.roster import PEERS
from sendplan.benchmarks.peers.trial import MEMORY_GIB, Result

HEADING = results.OTHERS[1]

_HEADER = (
    "instance",
    "peer",
    "contacts",
    "emails",
    "seconds",
    "cost",
    "own bound",
    "gap to best bound",
    "late follow-ups",
    "violations",
    "status",
)
_TOLERANCE = 1e-6
"""Solvers prove their bounds up to rounding."""


@dataclass(frozen=True)
class Case:
    """All runs of one peer on one instance; at least one."""

    size: Size
    peer: str
    runs: Sequence[Result]

    @property
    def bound(self) -> float | None:
        """The best bound that the peer has proven in any run."""
        return max((run.bound for run in self.runs if run.bound is not None), default=None)

    @property
    def solved(self) -> list[Result]:
        """The runs with a plan."""
        return [run for run in self.runs if run.cost is not None]


def section(cases: Sequence[Case], limit: float) -> str:
    """Write a run down as a section of Markdown.

    Parameters
    ----------
    cases : sequence of Case
        In the order of the table.
    limit : float
        Seconds that each peer had.

    Returns
    -------
    str
        Heading, what it was measured on, and the table.
    """
    versions = [f"{peer.package} {peer.version}" for peer in PEERS.values() if peer.version]
    runs = max((len(case.runs) for case in cases), default=1)
    about = (
        f"{today()}, commit {machine.commit()}; {machine.describe()}; "
        f"{', '.join([machine.packages(), *versions])}. "
        f"Every peer had the same instance, {limit:g} s for building and solving its model, "
        f"{MEMORY_GIB:g} GiB of memory and 2 threads; "
        f"{'one run each' if runs == 1 else f'medians of {runs} runs'}. "
        "Cost is recomputed from the peer's slots by one function for all, and the slots are "
        "checked by `sendplan.violations`. The gap is (cost − best bound) / cost, against the best "
        "bound that any of them has proven in this run. Made by `make bench-peers`; "
        "`benchmarks/peers/README.md` tells what each peer can express."
    )
    best = best_bounds(cases)
    rows = [_row(case, best.get(case.size)) for case in cases]
    return "\n\n".join([HEADING, about, results.table(list(_HEADER), rows)]) + "\n"


def best_bounds(cases: Sequence[Case]) -> dict[Size, float]:
    """Return the best proven bound of each instance that has one."""
    best: dict[Size, float] = {}
    for case in cases:
        if case.bound is not None:
            best[case.size] = max(case.bound, best.get(case.size, case.bound))
    return best


def contradictions(cases: Sequence[Case]) -> list[str]:
    """Return what cannot be: sound plans that cost less than a bound says."""
    best = best_bounds(cases)
    found = []
    for case in cases:
        for run in case.solved:
            bound, cost = best.get(case.size), run.cost
            if bound is None or cost is None or run.broken:
                continue
            if cost < bound - _TOLERANCE * max(1.0, abs(bound)):
                found.append(
                    f"{case.size}: {case.peer} costs {cost:,.1f}, below bound {bound:,.1f}"
                )
    return found


def _row(case: Case, best: float | None) -> list[str]:
    solved = case.solved
    shown = solved[0] if solved else case.runs[0]
    seconds = [run.seconds for run in solved or case.runs if run.seconds is not None]
    costs = [run.cost for run in solved if run.cost is not None]
    cost = median(costs) if costs else None
    gap = None
    if cost is not None and best is not None:
        gap = max(0.0, cost - best) / cost if cost else 0.0
    broken = ", ".join(f"{rule} {count:,}" for rule, count in _worst(solved).items())
    return [
        f"{case.size.contacts:,} × {case.size.mailboxes}{' tight' if case.size.tight else ''}",
        PEERS[case.peer].name,
        f"{case.size.contacts:,}",
        "-" if shown.emails is None else f"{shown.emails:,}",
        f"{median(seconds):.1f}" if seconds else "-",
        "-" if cost is None else f"{cost:,.0f}",
        "-" if case.bound is None else f"{case.bound:,.0f}",
        "-" if gap is None else f"{gap:.1%}",
        "-" if shown.late_follow_ups is None else f"{shown.late_follow_ups:,}",
        broken or ("none" if solved else "-"),
        shown.status + (f"; {shown.mended:,} emails mended" if shown.mended else ""),
    ]


def _worst(runs: Sequence[Result]) -> Mapping[str, int]:
    return max((run.broken for run in runs), key=lambda broken: sum(broken.values()), default={})
