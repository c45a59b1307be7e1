"""What a person sees in the terminal: progress on stderr, tables on stdout."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.prompt import Confirm
from rich.table import Table

from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.texts import shown
from sendplan.io.streams import tell, write_json
from sendplan.planner.schema.vocabulary import Reason

if TYPE_CHECKING:
    from sendplan.io.planning.check import CheckResult
    from sendplan.io.planning.run import Run
    from sendplan.io.snapshot.set_aside import UnusableValue
    from sendplan.planner.improve.task_pool import SearchProgress as Step
    from sendplan.planner.plan.plan import Plan

SHOWN_MAILBOXES = 8
SHOWN_SEQUENCES = 50
SHOWN_VIOLATIONS = 20
SHOWN_SET_ASIDE = 20

REASONS: dict[str, str] = {
    Reason.MAILBOX_PAUSED: "the thread's mailbox is paused",
    Reason.NO_ACTIVE_MAILBOX: "no active mailbox in the sequence's pool",
    Reason.BEHIND_UNCERTAIN: "an earlier email's fate is uncertain",
    Reason.NO_NEW_CONTACTS: "the sequence starts no new contacts",
    Reason.NO_CAPACITY: "no mailbox of the thread has capacity",
    Reason.BEYOND_HORIZON: "ready only after the 366 days of a plan",
    Reason.SET_ASIDE: "set aside: a value cannot be used",
    Reason.NO_ROOM: "no room within the horizon",
    Reason.BEHIND_UNPLACED: "an earlier email of the thread has no slot",
}

PHASES = {
    "load": "Reading the pending work",
    "build": "Checking the data",
    "solve": "Planning",
    "check": "Checking every rule",
    "store": "Storing the plan",
    "parts": "Planning part by part",
}


WORDS = {
    "greedy": "Looked ahead",
    "relaxed": "Bounded",
    "rounded": "Rounded",
    "refined": "Refined",
    "proved": "Solved as a whole",
}
"""Steps of an improvement, as a person reads them."""


def emit_json(value: Any, indent: int | None = 2) -> None:
    """Print one JSON object on stdout, by its ``to_json`` if it has one; on one line if unindented.

    It is written at once, for a program that reads along.
    """
    write_json(value, _plain, indent)


def _plain(value: Any) -> Any:
    """Return a value that JSON has no word for as one that it has."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def phases() -> Iterator[Callable[[str], None]]:
    """Show which phase of a run is under way, on stderr; line by line where that is no terminal."""
    with planning() as shown:
        yield shown.phase


@dataclass(frozen=True)
class Planning:
    """What shows how far a run has come.

    Parameters
    ----------
    phase : callable
        Shows the phase that begins.
    step : callable
        Shows how far a plan has come: its cost, its bound and the gap.
    parts : callable
        Shows how many parts are done, and of how many.
    """

    phase: Callable[[str], None]
    step: Callable[["Step"], None]
    parts: Callable[[int, int], None]


@contextmanager
def planning() -> Iterator[Planning]:
    """Show how far a run has come, on stderr; line by line where that is no terminal."""
    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield Planning(
            lambda phase: say(PHASES.get(phase, phase)),
            lambda step: say(_step(step)),
            lambda done, total: say(f"{done} of {total} parts planned"),
        )
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=False) as progress:
        current: list[Any] = []

        def enter(phase: str) -> None:
            if current:
                progress.update(current[-1], total=1, completed=1)
            current.append(progress.add_task(PHASES.get(phase, phase), total=None))

        def step(reached: "Step") -> None:
            progress.update(current[-1], description=f"{PHASES['solve']}. {_step(reached)}")

        def parts(done: int, total: int) -> None:
            text = f"{PHASES['parts']}: {done} of {total} planned"
            progress.update(current[-1], description=text)

        yield Planning(enter, step, parts)
        if current:
            progress.update(current[-1], total=1, completed=1)


def _step(reached: "Step") -> str:
    return (
        f"{WORDS.get(reached.phase, reached.phase)}: cost {reached.cost:,.0f}, no plan below"
        f" {reached.lower_bound:,.0f}, gap {reached.gap:.2%}"
    )


def ask_to_keep(plan: "Plan") -> bool:
    """Ask on the terminal whether an interrupted plan is to be stored; without one, it is not."""
    say(f"Interrupted. {plan.verdict}")
    return sys.stdin.isatty() and Confirm.ask(
        "Store this plan?", default=False, console=Terminal(stderr=True)
    )


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of things done, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Terminal(stderr=True)) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say(message: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    Terminal(stderr=True, soft_wrap=True).print(message)


def show_run(run: "Run") -> None:
    """Print what a run planned."""
    console = Terminal()
    summary = run.summary
    table = Table.grid(padding=(0, 2))
    for label, value in _headline(run):
        table.add_row(label, value)
    console.print(table)
    rows = summary.sequences
    print_table(
        console,
        "Sequences",
        ["", "Contacts", "EmailGroup", "Finished", "Late", "Cost"],
        [
            [
                row.name if isinstance(row.name, str) else f"sequence {row.sequence_id}",
                f"{row.contacts:,}",
                f"{row.emails:,}",
                day_of(row.finish_day),
                f"{row.late_follow_ups:,}",
                f"{row.cost:,.0f}",
            ]
            for row in rows.head(SHOWN_SEQUENCES).itertuples(index=False)
        ],
        hidden=len(rows) - SHOWN_SEQUENCES,
    )
    boxes = summary.mailboxes.sort_values("use", ascending=False, kind="stable")
    print_table(
        console,
        "Mailboxes, the busiest first",
        ["", "ReadPlan", "ResidualCapacity", "Use", "Days in use"],
        [
            [
                row.email if isinstance(row.email, str) else f"mailbox {row.mailbox_id}",
                f"{row.planned:,}",
                f"{row.capacity:,}",
                f"{row.use:.0%}",
                f"{row.days:,}",
            ]
            for row in boxes.head(SHOWN_MAILBOXES).itertuples(index=False)
        ],
        hidden=len(boxes) - SHOWN_MAILBOXES,
    )
    print_unplaced(console, list(summary.unplaced.itertuples(index=False, name=None)))
    print_set_aside(run.set_aside)
    if run.discarded:
        console.print("\nInterrupted: nothing was stored, the plan before still stands.")
    elif run.published is None:
        console.print("\nA dry run: nothing was stored.")
    else:
        skipped = run.published.skipped
        left = f"; {skipped:,} changed meanwhile and were left alone" if skipped else ""
        console.print(
            f"\nStored as run {run.published.run_id}:"
            f" {run.published.rows_changed:,} rows written{left}."
            f" {summary.totals['moved']:,} emails moved from the slot they had."
        )
    spent = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in run.seconds.items())
    say(f"Seconds: {spent}")


def _headline(run: "Run") -> Iterator[tuple[str, str]]:
    totals, as_of = run.summary.totals, run.summary.as_of
    yield "Planned as of", f"{as_of:%a %d %b %Y %H:%M} UTC, by the {totals['method']} method"
    if totals["finish_day"]:
        days = (totals["finish_day"] - as_of.date()).days
        yield "Finished on", f"{totals['finish_day']:%a %d %b %Y}, in {days} days"
    yield "EmailGroup", f"{totals['emails']:,} with a slot, {totals['unplaced']:,} without"
    planned = totals["emails"] + totals["unplaced"] - totals["blocked"]
    late, days = totals["late_follow_ups"], totals["slip_days"]
    yield (
        "Follow-ups",
        f"{late:,} late ({late / planned:.1%} of all emails), by {days:,} days in all"
        if late
        else "every one on time",
    )
    yield "Cost", f"{totals['cost']:,.0f}. {run.summary.verdict}"


def print_unplaced(console: Console, rows: Sequence[tuple[str, int]]) -> None:
    """Print how many emails have no slot, by reason."""
    if rows:
        body = [[REASONS.get(reason, reason), f"{count:,}"] for reason, count in rows]
        print_table(console, "Without a slot", ["", "EmailGroup"], body)


def print_set_aside(values: Sequence["UnusableValue"]) -> None:
    """Print what could not be used, and what to write instead; nothing if there is nothing."""
    if not values:
        return
    tell(f"\nSet aside, until mended: {counted(len(values), 'value')}")
    for value in values[:SHOWN_SET_ASIDE]:
        where = f"{value.table} {value.id}, {value.column}"
        tell(f"  {where}: {shown(value.value or 'null')} – {value.remedy}")
    if len(values) > SHOWN_SET_ASIDE:
        tell(f"  … and {len(values) - SHOWN_SET_ASIDE:,} more; --json lists all")


def print_table(
    console: Console,
    title: str,
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    hidden: int = 0,
) -> None:
    """Print a table under its title; nothing if it has no rows."""
    if not body:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(header):
        table.add_column(name or " ", justify="left" if number == 0 else "right")
    for row in body:
        table.add_row(*row)
    console.print()
    console.print(table)
    if hidden > 0:
        console.print(f"… and {hidden:,} more")


def counted(count: int, noun: str) -> str:
    """Write a count and its noun, in the plural where it must be."""
    ending = "" if count == 1 else "es" if noun.endswith("x") else "s"
    return f"{count:,} {noun}{ending}"


def day_of(value: Any) -> str:
    """Write a date for a person; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:%d %b %Y}"


def _slot(row: dict[Any, Any]) -> tuple[str, str, str]:
    """Write a slot's mailbox, day and time; dashes where an email has none."""
    if row["send_at"] != row["send_at"]:
        return "–", "–", "–"
    day, at = f"{row['send_day']:%Y-%m-%d}", f"{row['send_at']:%Y-%m-%d %H:%M:%S}"
    return str(row["mailbox_id"]), day, at


def show_findings(findings: "CheckResult") -> None:
    """Print what `check` found."""
    print_set_aside(findings.set_aside)
    console = Terminal()
    found = findings.violations
    if not len(found):
        console.print(f"{findings.emails:,} slots keep every rule.")
        return
    console.print(f"{len(found):,} violations in {findings.emails:,} slots:")
    counts = found.groupby(["rule", "detail"]).size().reset_index(name="count")
    print_table(
        console,
        "By rule",
        ["Rule", "What is wrong", "SlotOption"],
        [[row["rule"], row["detail"], f"{row['count']:,}"] for row in counts.to_dict("records")],
    )
    print_table(
        console,
        "The first of them",
        ["Rule", "Enrollment", "Step", "Mailbox", "Day", "Time (UTC)"],
        [
            [
                row["rule"],
                str(row["enrollment_id"]),
                str(row["step_id"]),
                *_slot(row),
            ]
            for row in found.head(SHOWN_VIOLATIONS).to_dict("records")
        ],
        hidden=len(found) - SHOWN_VIOLATIONS,
    )
