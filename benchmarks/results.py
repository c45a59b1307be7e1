"""The measurements of the nightly run, and how they are written down."""

import math
from dataclasses import dataclass
from statistics import median

from sendplan.benchmarks import machine
from sendplan.benchmarks.copying import today

PHASES = ("load", "build", "solve", "check", "store", "total")
DISPATCHING = (
    "## Dispatching: killed again and again",
    "## Dispatching: on time",
    "## Dispatching: starting",
    "## Dispatching: how fast",
)
LOCKS = "## A recalculation's locks"
STUDIES = "## Studies"
FUTURES = "## Futures lived through"
SCALE = "## Up to a million contacts"
PROFILE = "## Where the first night's time goes"
OTHERS = (
    "## How near to the best",
    "## Peers, side by side",
    "## Changes between nights",
    LOCKS,
    *DISPATCHING,
    STUDIES,
    FUTURES,
    SCALE,
    PROFILE,
)
"""Sections that are measured by commands of their own, after all others."""

NIGHTS = {
    "first": "First night",
    "unchanged": "Again, nothing changed",
    "ordinary": "Ordinary night: two days of sending later, 1 % of contacts new",
}
"""What is planned in a row, and how it is headed."""


@dataclass(frozen=True)
class Baseline:
    """What the original design makes of an instance; see `baselines.Outcome`."""

    cost: float
    late_follow_ups: int
    finish_day: str


@dataclass(frozen=True)
class Night:
    """One run of the planner."""

    seconds: dict[str, float]
    emails: int
    cost: float
    late_follow_ups: int
    finish_day: str
    rows_changed: int


@dataclass(frozen=True)
class Measurement:
    """All that one process measured; the limits are seconds of COPY, the peak is in MiB."""

    nights: dict[str, Night]
    copy_out: float
    copy_in: float
    peak: float


@dataclass(frozen=True)
class Size:
    """All runs of one size."""

    contacts: int
    baselines: dict[str, Baseline]
    runs: list[Measurement]

    def seconds(self, night: str, phase: str) -> float:
        """Return the median of a phase."""
        return median(run.nights[night].seconds[phase] for run in self.runs)

    def over_copy(self, *phases: str) -> float:
        """Return load, store or both of the first night over COPY's time, run by run."""
        ratios = []
        for run in self.runs:
            limits = {"load": run.copy_out, "store": run.copy_in}
            spent = sum(run.nights["first"].seconds[phase] for phase in phases)
            ratios.append(spent / sum(limits[phase] for phase in phases))
        return median(ratios)


def report(version: str, sizes: list[Size], runs: int) -> str:
    """Write the measurements down as Markdown."""
    parts = [
        "# The nightly run, measured",
        f"{today()}, commit {machine.commit()}; {machine.describe()}; PostgreSQL {version}; "
        f"{machine.packages()}. Medians of {runs} runs; seconds unless said. "
        "Made by `make bench`.",
    ]
    for night, title in NIGHTS.items():
        parts += [f"## {title}", _phases(sizes, night)]
    parts += [
        "## Against the limits",
        "COPY out of the columns and rows that load reads, each table by itself and without a "
        "join, alone on its connection; COPY in of the rows that the first night stores, "
        "into a table with the same indexes and foreign keys. The peak is the planning process's, "
        "over the first two nights.",
        _limits(sizes),
        *_growth(sizes),
        "## Against the original design",
        _against_baselines(sizes),
    ]
    return "\n\n".join(parts) + "\n"


def _phases(sizes: list[Size], night: str) -> str:
    rows = [
        [
            f"{size.contacts:,}",
            f"{size.runs[0].nights[night].emails:,}",
            *(f"{size.seconds(night, phase):.2f}" for phase in PHASES),
            f"{size.runs[0].nights[night].rows_changed:,}",
        ]
        for size in sizes
    ]
    if len(sizes) > 1:
        growth = [_exponent(sizes, night, phase) for phase in PHASES]
        rows.append(["growth, contacts to the power", "", *(f"{g:.2f}" for g in growth), ""])
    return table(["contacts", "emails", *PHASES, "rows written"], rows)


def _exponent(sizes: list[Size], night: str, phase: str) -> float:
    """Growth from the smallest to the largest size: seconds go as contacts to this power."""
    small, large = (pick(sizes, key=lambda size: size.contacts) for pick in (min, max))
    before, after = (size.seconds(night, phase) for size in (small, large))
    if min(before, after) <= 0 or small.contacts == large.contacts:
        return math.nan
    return math.log(after / before) / math.log(large.contacts / small.contacts)


def _limits(sizes: list[Size]) -> str:
    header = [
        "contacts",
        "COPY out",
        "COPY in",
        "(load + store) / COPY",
        "load / COPY out",
        "store / COPY in",
        "unchanged / first",
        "ordinary / first",
        "build + solve",
        "peak MiB",
    ]
    rows = [
        [
            f"{size.contacts:,}",
            f"{median(run.copy_out for run in size.runs):.2f}",
            f"{median(run.copy_in for run in size.runs):.2f}",
            f"{size.over_copy('load', 'store'):.2f}",
            f"{size.over_copy('load'):.2f}",
            f"{size.over_copy('store'):.2f}",
            f"{size.seconds('unchanged', 'total') / size.seconds('first', 'total'):.2f}",
            f"{size.seconds('ordinary', 'total') / size.seconds('first', 'total'):.2f}",
            f"{size.seconds('first', 'build') + size.seconds('first', 'solve'):.2f}",
            f"{median(run.peak for run in size.runs):.0f}",
        ]
        for size in sizes
    ]
    return table(header, rows)


def _growth(sizes: list[Size]) -> list[str]:
    if len(sizes) < 2:
        return []
    small, large = (pick(sizes, key=lambda size: size.contacts) for pick in (min, max))
    times = large.seconds("first", "total") / small.seconds("first", "total")
    contacts = large.contacts / small.contacts
    return [
        f"From {small.contacts:,} to {large.contacts:,} contacts, the first night takes "
        f"{times:.1f} times as long for {contacts:.1f} times as many contacts: "
        f"{times / contacts:.2f} times what they alone explain."
    ]


def _against_baselines(sizes: list[Size]) -> str:
    rows = []
    for size in sizes:
        plan = size.runs[0].nights["first"]
        for name, b in size.baselines.items():
            figures = [f"{b.cost:,.0f}", f"{b.late_follow_ups:,}", b.finish_day]
            # An instance with ample capacity costs nothing by any method.
            against = [
                f"{1 - plan.cost / b.cost:.0%} cheaper" if b.cost else "",
                f"{plan.late_follow_ups / b.late_follow_ups:.2f} × as many"
                if b.late_follow_ups
                else "",
            ]
            rows.append([f"{size.contacts:,}", f"day by day, {name}", *figures, *against])
        figures = [f"{plan.cost:,.0f}", f"{plan.late_follow_ups:,}", plan.finish_day]
        rows.append([f"{size.contacts:,}", "greedy", *figures, "", ""])
    header = ["contacts", "plan", "cost", "late follow-ups", "finish"]
    return table([*header, "the greedy is", "late follow-ups of the greedy"], rows)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def with_section(text: str, section: str) -> str:
    """Put a section into a file of results, in the place of the one with its heading.

    Parameters
    ----------
    text : str
        The file.
    section : str
        The section, from its heading on.

    Returns
    -------
    str
        The file with it, all else as it was.
    """
    begin = text.find(section.splitlines()[0])
    if begin < 0:
        return f"{text.rstrip()}\n\n{section}" if text.strip() else section
    end = text.find("\n## ", begin)
    return text[:begin] + section + ("" if end < 0 else text[end:])


def others(text: str) -> str:
    """Return the sections of a file that other commands have measured."""
    begins = [text.find(f"\n{heading}") for heading in OTHERS]
    return text[min((begin for begin in begins if begin >= 0), default=len(text)) :]
