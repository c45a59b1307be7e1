"""What a person sees of changes: what a preview found, and what a recalculation did."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from sendplan.io.console.tables import (
    SHOWN_SEQUENCES,
    counted,
    day_of,
    print_set_aside,
    print_table,
    print_unplaced,
)
from sendplan.io.console.terminal import Terminal

if TYPE_CHECKING:
    from sendplan.io.planning.preview import Preview
    from sendplan.io.planning.recalc import Recalculation
    from sendplan.planner.plan.plan import Plan

SHOWN_MOVES = 10


def show_recalculation(done: "Recalculation") -> None:
    """Print what a recalculation did."""
    console = Terminal(soft_wrap=True)
    requests, run = done.requests, done.run
    print_set_aside(run.set_aside)
    if not requests:
        console.print("No change is queued.")
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in requests.kinds.items())
    totals, published = run.summary.totals, run.published
    rows = published.rows_changed if published else 0
    planned = totals["emails"] + totals["unplaced"] - totals["blocked"]
    console.print(
        f"Re-planned {planned:,} emails after {counted(len(requests.ids), 'change')} ({kinds}) in"
        f" {run.seconds['total']:.1f} s."
    )
    console.print(
        f"{totals['moved']:,} emails moved, {totals['unavoidable']:,} of them had to; {rows:,} rows"
        " written."
    )
    late = (
        f"{totals['late_follow_ups']:,} late follow-ups"
        if totals["late_follow_ups"]
        else "none late"
    )
    console.print(f"Finished on {day_of(totals['finish_day'])}, {late}. {run.summary.verdict}")
    print_unplaced(console, list(run.summary.unplaced.itertuples(index=False, name=None)))


def show_preview(found: "Preview") -> None:
    """Print what a change would make of the plan."""
    console = Terminal()
    counts, before, after = found.counts(), found.before, found.after
    console.print("Preview; nothing has been changed.", style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate((" ", "Before", "After")):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in zip(*(_figures(plan) for plan in (before, after)), strict=True):
        (label, one), (_, other) = row
        table.add_row(label, one, other)
    console.print(table)
    console.print()
    console.print(_moves_in_words(counts), soft_wrap=True)
    rows = found.sequences()
    rows = rows.sort_values("moved", ascending=False, kind="stable")
    print_table(
        console,
        "Sequences",
        ["", "Moved", "Finished before", "Finished after", "Late before", "Late after"],
        [
            [
                row["name"] if isinstance(row["name"], str) else f"sequence {row['sequence_id']}",
                f"{row['moved']:,}",
                day_of(row["finish_day_before"]),
                day_of(row["finish_day_after"]),
                _count(row["late_follow_ups_before"]),
                _count(row["late_follow_ups_after"]),
            ]
            for row in rows.head(SHOWN_SEQUENCES).to_dict("records")
        ],
        hidden=len(rows) - SHOWN_SEQUENCES,
    )
    _print_moves(console, found)
    print_unplaced(console, _by_reason(after))


def _figures(plan: "Plan") -> list[tuple[str, str]]:
    return [
        ("Finished on", day_of(plan.finish_day)),
        ("Emails with a slot", f"{len(plan.sends):,}"),
        ("Emails without", f"{len(plan.unplaced):,}"),
        ("Late follow-ups", f"{plan.late_follow_ups:,}"),
        ("Days late in all", f"{plan.slip_days:,}"),
        ("Cost", f"{plan.cost:,.0f}"),
    ]


def _by_reason(plan: "Plan") -> list[tuple[str, int]]:
    counts = plan.unplaced["reason"].value_counts()
    return [(str(reason), int(count)) for reason, count in counts.items()]


def _moves_in_words(counts: dict[str, int]) -> str:
    if not any(counts.values()):
        return "No email moves."
    parts = [
        f"{counts['moved']:,} emails move, {counts['unavoidable']:,} of them have to:",
        f"{counts['later']:,} leave later (by {counts['days_later']:,} days in all),",
        f"{counts['earlier']:,} earlier (by {counts['days_earlier']:,}),",
        f"{counts['mailbox_changes']:,} from another mailbox.",
    ]
    if counts["added"]:
        parts.append(f"{counts['added']:,} get a slot that had none.")
    if counts["removed"]:
        parts.append(f"{counts['removed']:,} lose theirs.")
    if counts["retimed"]:
        parts.append(f"{counts['retimed']:,} leave at another minute of their day.")
    return " ".join(parts)


def _print_moves(console: Console, found: "Preview") -> None:
    moved = found.moved.sort_values(["send_day_before", "enrollment_id", "step_id"])
    print_table(
        console,
        "The first that move",
        ["Enrollment", "Step", "Day before", "Day after", "Mailbox before", "Mailbox after"],
        [
            [
                str(row["enrollment_id"]),
                str(row["step_id"]),
                day_of(row["send_day_before"]),
                day_of(row["send_day_after"]),
                str(row["mailbox_id_before"]),
                str(row["mailbox_id_after"]),
            ]
            for row in moved.head(SHOWN_MOVES).to_dict("records")
        ],
        hidden=len(moved) - SHOWN_MOVES,
    )


def _count(value: Any) -> str:
    return "–" if value != value else f"{int(value):,}"
