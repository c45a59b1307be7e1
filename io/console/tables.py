"""Output on a terminal: progress on stderr, tables on stdout."""

import datetime as dt
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
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
from sendplan.io.documents.wording import Columns, day_text, named, time_text, written
from sendplan.io.streams import tell, write_json
from sendplan.planner.schema.vocabulary import Reason
from sendplan.planner.schema.wording import counted

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
    Reason.BEHIND_UNCERTAIN: "an earlier email is uncertain",
    Reason.NO_NEW_CONTACTS: "the sequence starts no new contacts",
    Reason.NO_CAPACITY: "no mailbox of the thread has capacity",
    Reason.BEYOND_HORIZON: "ready only after the 366 days of a plan",
    Reason.SET_ASIDE: "set aside: a value cannot be used",
    Reason.NO_ROOM: "no capacity left within the horizon",
    Reason.BEHIND_UNPLACED: "an earlier email of the thread has no slot",
}

PHASES = {
    "load": "Reading the database",
    "build": "Checking the data",
    "solve": "Planning",
    "check": "Checking every rule",
    "store": "Storing the plan",
    "parts": "Planning part by part",
}

WORDS = {
    "greedy": "Greedy",
    "relaxed": "Relaxation",
    "rounded": "Rounding",
    "refined": "Refinement",
    "proved": "Exact solution",
}
"""Phases of a search, as a person reads them."""


def emit_json(value: Any, indent: int | None = 2) -> None:
    """Print one JSON object on stdout, by its ``to_json`` if it has one; on one line if unindented.

    It is flushed, for a program that reads a stream of them.
    """
    write_json(value, _plain, indent)


def _plain(value: Any) -> Any:
    """Return the JSON form of a value of another type."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no JSON form")


@dataclass(frozen=True)
class Planning:
    """Shows the progress of a run.

    Parameters
    ----------
    phase : callable
        Shows the phase that begins.
    step : callable
        Shows cost, lower bound and gap of the plan so far.
    parts : callable
        Shows how many parts are done, and of how many.
    """

    phase: Callable[[str], None]
    step: Callable[["Step"], None]
    parts: Callable[[int, int], None]


@contextmanager
def planning() -> Iterator[Planning]:
    """Show the progress of a run on stderr; line by line where that is no terminal."""
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
        f"{WORDS.get(reached.phase, reached.phase)}: cost {reached.cost:,.0f}, lower bound"
        f" {reached.lower_bound:,.0f}, gap {reached.gap:.2%}"
    )


def ask_to_keep(plan: "Plan") -> bool:
    """Ask on the terminal whether to store an interrupted plan; without a terminal, discard it."""
    say(f"Interrupted. {plan.verdict}")
    return sys.stdin.isatty() and Confirm.ask(
        "Store this plan?", default=False, console=Terminal(stderr=True)
    )


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Terminal(stderr=True)) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say(message: str) -> None:
    """Print a line on stderr."""
    Terminal(stderr=True, soft_wrap=True).print(message)


def show_run(run: "Run") -> None:
    """Print what a run planned."""
    console = Terminal()
    summary = run.summary
    table = Table.grid(padding=(0, 2))
    for label, value in _headline(run):
        table.add_row(label, value)
    console.print(table)
    rows = summary.sequences.to_dict("records")
    print_table(
        console,
        "Sequences",
        {
            "name": ("", "text"),
            "contacts": ("Contacts", "count"),
            "emails": ("Emails", "count"),
            "finish_day": ("Last day", "day"),
            "late_follow_ups": ("Late", "count"),
            "cost": ("Cost", "count"),
        },
        named(rows, "sequence", key="sequence_id"),
        most=SHOWN_SEQUENCES,
    )
    busiest = summary.mailboxes.sort_values("use", ascending=False, kind="stable")
    print_table(
        console,
        "Mailboxes, the busiest first",
        {
            "email": ("", "text"),
            "planned": ("Planned", "count"),
            "capacity": ("Capacity", "count"),
            "use": ("Use", "share"),
            "days": ("Days in use", "count"),
        },
        named(busiest.to_dict("records"), "mailbox", "email", "mailbox_id"),
        most=SHOWN_MAILBOXES,
    )
    print_unplaced(console, summary.unplaced.itertuples(index=False, name=None))
    print_set_aside(run.set_aside)
    if run.discarded:
        console.print("\nInterrupted: nothing was stored; the previous plan is unchanged.")
    elif run.published is None:
        console.print("\nDry run: nothing was stored.")
    else:
        skipped = run.published.skipped
        left = f"; {counted(skipped, 'row')} changed meanwhile and not touched" if skipped else ""
        moved = counted(summary.totals["moved"], "email")
        console.print(
            f"\nStored as run {run.published.run_id}:"
            f" {counted(run.published.rows_changed, 'row')} written{left}. {moved} moved."
        )
    spent = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in run.seconds.items())
    say(f"Seconds: {spent}")


def _headline(run: "Run") -> Iterator[tuple[str, str]]:
    totals, as_of = run.summary.totals, run.summary.as_of
    yield "Planned as of", f"{time_text(as_of)}, by the {totals['method']} method"
    if last := totals["finish_day"]:
        days = counted((last - as_of.date()).days, "day")
        yield "Last email", f"{last:%a} {day_text(last)}, in {days}"
    yield "Emails", f"{totals['emails']:,} with a slot, {totals['unplaced']:,} without"
    planned = totals["emails"] + totals["unplaced"] - totals["blocked"]
    late, slip = totals["late_follow_ups"], counted(totals["slip_days"], "day")
    share = f"{late / planned:.1%} of all emails, {slip} in all" if late else ""
    yield "Follow-ups", f"{late:,} late ({share})" if late else "none late"
    yield "Cost", f"{totals['cost']:,.0f}. {run.summary.verdict}"


def late_follow_ups(count: int) -> str:
    """Write how many follow-ups are late."""
    return counted(count, "late follow-up") if count else "none late"


def print_unplaced(console: Console, rows: Iterable[tuple[Any, int]]) -> None:
    """Print how many emails have no slot, by reason."""
    body = [{"why": REASONS.get(reason, reason), "emails": count} for reason, count in rows]
    columns: Columns = {"why": ("", "text"), "emails": ("Emails", "count")}
    print_table(console, "Without a slot", columns, body)


def print_set_aside(values: Sequence["UnusableValue"]) -> None:
    """Print values that could not be used, each with its remedy."""
    if not values:
        return
    tell(f"\nSet aside until corrected: {counted(len(values), 'value')}")
    for value in values[:SHOWN_SET_ASIDE]:
        where = f"{value.table} {value.id}, {value.column}"
        tell(f"  {where}: {shown(value.value or 'null')} – {value.remedy}")
    if len(values) > SHOWN_SET_ASIDE:
        tell(f"  … and {len(values) - SHOWN_SET_ASIDE:,} more; --json lists all")


def print_table(
    console: Console,
    title: str,
    columns: Columns,
    rows: Sequence[Mapping[Any, Any]],
    *,
    most: int | None = None,
    width: int | None = None,
) -> None:
    """Print a table under its title; nothing if it has no rows.

    Parameters
    ----------
    console : Console
        Where it is printed.
    title : str
        Its title.
    columns : mapping
        Heading and kind by the name of the values; the first column names the rows.
    rows : sequence of mapping
        Values by name.
    most : int, optional
        Rows that are printed; the others are counted.
    width : int, optional
        Characters of the first column, so that a table fits on 80 columns.
    """
    if not rows:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, (heading, _) in enumerate(columns.values()):
        if number:
            table.add_column(heading, justify="right")
        else:
            table.add_column(
                heading or " ", max_width=width, no_wrap=width is not None, overflow="ellipsis"
            )
    for row in rows[:most]:
        table.add_row(*(escape(written(row[name], kind)) for name, (_, kind) in columns.items()))
    console.print()
    console.print(table)
    if most is not None and len(rows) > most:
        console.print(f"… and {len(rows) - most:,} more")


def show_findings(findings: "CheckResult") -> None:
    """Print what `check` found."""
    print_set_aside(findings.set_aside)
    console = Terminal()
    found = findings.violations
    slots = counted(findings.emails, "slot")
    if not len(found):
        console.print(f"Every hard rule holds in {slots}.")
        return
    console.print(f"{counted(len(found), 'violation')} in {slots}:")
    counts = found.groupby(["rule", "detail"]).size().reset_index(name="count")
    print_table(
        console,
        "By rule",
        {
            "rule": ("Rule", "text"),
            "detail": ("What is wrong", "text"),
            "count": ("Slots", "count"),
        },
        counts.to_dict("records"),
    )
    print_table(
        console,
        "First violations",
        {
            "rule": ("Rule", "text"),
            "enrollment_id": ("Enrollment", "text"),
            "step_id": ("Step", "text"),
            "mailbox_id": ("Mailbox", "text"),
            "send_day": ("Day", "day"),
            "time": ("Time (UTC)", "text"),
        },
        found.assign(time=found["send_at"].dt.strftime("%Y-%m-%d %H:%M:%S")).to_dict("records"),
        most=SHOWN_VIOLATIONS,
    )
