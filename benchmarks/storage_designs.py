"""Measure the physical designs of `designs` on the reference instance and a real PostgreSQL.

Three nights in a row: the first (nothing but provisional rows is planned), an ordinary one (the
emails of two days were sent, 1 % of contacts are new, 3 % of slots differ) and an unchanged one;
each with all foreign keys and indexes and without some, at rest and while two dispatchers claim.
Prints a Markdown report; ``benchmarks/STORAGE.md`` keeps one.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from sendplan.benchmarks.claimers import Claims
from sendplan.benchmarks.copying import Stopwatch
from sendplan.benchmarks.designs import DESIGNS
from sendplan.benchmarks.scratch import libpq, scratch_server
from sendplan.benchmarks.storage_nights import NIGHTS, Bench, Measured
from sendplan.benchmarks.variants import MAIN_VARIANTS, ONLY_WIDE, VARIANTS


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=50_000)
    parser.add_argument("--mailboxes", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--designs", default=",".join(DESIGNS))
    parser.add_argument(
        "--variants", default="main", help="main, all, full, none, or names divided by semicolons"
    )
    parser.add_argument("--no-claimers", action="store_true")
    parser.add_argument("--keep", type=Path, help="file to which measurements are appended")
    options = parser.parse_args()
    groups = {"main": MAIN_VARIANTS, "all": tuple(VARIANTS), "full": MAIN_VARIANTS[:1], "none": ()}
    variants = groups.get(options.variants, options.variants.split(";"))
    with scratch_server() as url:
        bench = Bench(libpq(url), options.contacts, options.mailboxes)
        report = Report(options.keep)
        # Round by round, so that a machine that is busy for a while is so for all designs.
        for _ in range(options.runs):
            report.add_limits(bench.limits())
            for key in filter(None, options.designs.split(",")):
                for variant in variants:
                    if key != "narrow" or variant not in ONLY_WIDE:
                        report.add(key, variant, False, bench.run(DESIGNS[key], variant, False))
                if not options.no_claimers:
                    variant = MAIN_VARIANTS[0]
                    report.add(key, variant, True, bench.run(DESIGNS[key], variant, True))
        report.save()
        report.show(bench.heading())


class Report:
    """All measurements, kept in a file between calls so that a long study can go in pieces."""

    def __init__(self, kept: Path | None) -> None:
        self._kept = kept
        self._records: list[dict[str, Any]] = []
        if kept is not None and kept.exists():
            self._records = json.loads(kept.read_text())

    def add(self, design: str, variant: str, claiming: bool, nights: dict[str, Measured]) -> None:
        """Take in one run."""
        for night, measured in nights.items():
            record = {"design": design, "variant": variant, "claiming": claiming, "night": night}
            claims = measured.claims._asdict() if measured.claims else {}
            self._records.append(
                {
                    **record,
                    "seconds": measured.seconds,
                    "worked": measured.worked,
                    "rows": measured.rows,
                    **claims,
                }
            )

    def add_limits(self, limits: dict[str, Stopwatch]) -> None:
        """Take in the seconds that COPY took."""
        self._records += [
            {"limit": name, "seconds": watch.seconds, "worked": watch.worked}
            for name, watch in limits.items()
        ]

    def save(self) -> None:
        """Keep all measurements in the file."""
        if self._kept is not None:
            self._kept.write_text(json.dumps(self._records, indent=1))

    def show(self, heading: str) -> None:
        """Print medians as Markdown tables."""
        frame = pd.DataFrame(self._records)
        print(heading)
        runs = frame[frame["night"] == NIGHTS[0]].groupby(["design", "variant", "claiming"]).size()
        print(f"Medians of {runs.min()} to {runs.max()} runs.\n")
        print("Cells: seconds on the wall, in brackets seconds of processor time.\n")
        print("| limit | seconds |\n|---|---|")
        for name, group in frame.groupby("limit", sort=False):
            print(f"| {name} | {_cell(group)} |")
        print("\n| design | keys and indexes | " + " | ".join(NIGHTS) + " | rows written |")
        print("|---|---|---|---|---|---|")
        keys = ["design", "variant"]
        quiet = frame[frame["claiming"] == False]  # noqa: E712  (null in limits)
        for (design, variant), group in quiet.groupby(keys, sort=False):
            by_night = [group[group["night"] == night] for night in NIGHTS]
            cells = " | ".join(_cell(runs) for runs in by_night)
            rows = " / ".join(f"{runs['rows'].median():,.0f}" for runs in by_night)
            print(f"| {DESIGNS[str(design)].name} | {variant} | {cells} | {rows} |")
        print(
            "\n| while two dispatchers claim | night | seconds | claims/s before | during "
            "| longest stall, s | deadlocks |\n|---|---|---|---|---|---|---|"
        )
        busy = frame[frame["claiming"] == True]  # noqa: E712
        for (design, night), group in busy.groupby(["design", "night"], sort=False):
            m = group[["seconds", *Claims._fields]].median()
            print(
                f"| {DESIGNS[str(design)].name} | {night} | {m['seconds']:.2f} | {m['before']:.0f} "
                f"| {m['during']:.0f} | {m['longest_stall']:.2f} | {m['deadlocks']:.0f} |"
            )


def _cell(runs: pd.DataFrame) -> str:
    seconds, worked = runs[["seconds", "worked"]].median()
    return f"{seconds:.2f} ({worked:.2f})"


if __name__ == "__main__":
    main()
