"""The report as a command."""

from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option
from sendplan.io.commands.shared_options import JSON, NOW

_ABOUT = "Page to write; an existing one is replaced."

REPORT = Command(
    Section.ASK,
    "report",
    "Write the stored plan as one HTML page.\n\n"
    "It shows when the plan ends, loads, progress, delays and bottlenecks, and needs no network."
    " Nothing is planned or changed.",
    ("--out plan.html", "--out plan.html --as-of 2026-11-23T08:00:00+00:00"),
    (Option("--out", "FILE.html", _ABOUT, Path, folder=False, required=True), NOW, JSON),
)
