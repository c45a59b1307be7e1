"""Output of changes: previews and recalculations."""

from typing import TYPE_CHECKING

from sendplan.io.console.tables import (
    SHOWN_SEQUENCES,
    late_follow_ups,
    print_set_aside,
    print_table,
    print_unplaced,
)
from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.wording import named, written
from sendplan.planner.schema.wording import counted

if TYPE_CHECKING:
    from sendplan.io.planning.preview import Preview
    from sendplan.io.planning.recalc import Recalculation

SHOWN_MOVES = 10

FIGURES = {
    "finish_day": "Last day",
    "emails": "Emails with a slot",
    "unplaced": "Emails without a slot",
    "late_follow_ups": "Late follow-ups",
    "slip_days": "Days late in all",
    "cost": "Cost",
}
MOVES = {
    "moved": "moved",
    "unavoidable": "of them unavoidably",
    "later": "later (by {} in all)",
    "earlier": "earlier (by {} in all)",
    "mailbox_changes": "from another mailbox",
    "added": "that get a slot",
    "removed": "that lose their slot",
    "retimed": "at another minute of their day",
}
"""Differences of emails, with the sum of days where there is one."""


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
    planned = totals["emails"] + totals["unplaced"] - totals["blocked"]
    console.print(
        f"Re-planned {counted(planned, 'email')} after {counted(len(requests.ids), 'change')}"
        f" ({kinds}) in {run.seconds['total']:.1f} s."
    )
    console.print(
        f"{counted(totals['moved'], 'email')} moved, {totals['unavoidable']:,} of them unavoidably;"
        f" {counted(published.rows_changed if published else 0, 'row')} written."
    )
    console.print(
        f"Last day {written(totals['finish_day'], 'day')},"
        f" {late_follow_ups(totals['late_follow_ups'])}. {run.summary.verdict}"
    )
    print_unplaced(console, run.summary.unplaced.itertuples(index=False, name=None))


def show_preview(found: "Preview") -> None:
    """Print the plan before and after a change."""
    console = Terminal()
    console.print("Preview; nothing has been changed.", style="bold")
    before, after = (plan.summary() for plan in (found.before, found.after))
    print_table(
        console,
        "Before and after",
        {"label": ("", "text"), "before": ("Before", "text"), "after": ("After", "text")},
        [
            {
                "label": label,
                "before": written(before.totals[name], "day" if name == "finish_day" else "count"),
                "after": written(after.totals[name], "day" if name == "finish_day" else "count"),
            }
            for name, label in FIGURES.items()
        ],
    )
    console.print()
    console.print(_moves_in_words(found.counts()), soft_wrap=True)
    rows = found.sequences().sort_values("moved", ascending=False, kind="stable")
    print_table(
        console,
        "Sequences",
        {
            "name": ("", "text"),
            "moved": ("Moved", "count"),
            "finish_day_before": ("Last day before", "day"),
            "finish_day_after": ("Last day after", "day"),
            "late_follow_ups_before": ("Late before", "count"),
            "late_follow_ups_after": ("Late after", "count"),
        },
        named(rows.to_dict("records"), "sequence", key="sequence_id"),
        most=SHOWN_SEQUENCES,
    )
    moved = found.moved.sort_values(["send_day_before", "enrollment_id", "step_id"])
    print_table(
        console,
        "Moved emails, the earliest first",
        {
            "enrollment_id": ("Enrollment", "text"),
            "step_id": ("Step", "text"),
            "send_day_before": ("Day before", "day"),
            "send_day_after": ("Day after", "day"),
            "mailbox_id_before": ("Mailbox before", "text"),
            "mailbox_id_after": ("Mailbox after", "text"),
        },
        moved.to_dict("records"),
        most=SHOWN_MOVES,
    )
    print_unplaced(console, after.unplaced.itertuples(index=False, name=None))


def _moves_in_words(counts: dict[str, int]) -> str:
    if not any(counts.values()):
        return "No email moves."
    moves = [
        f"{counts[name]:,} {words.format(counted(counts.get(f'days_{name}', 0), 'day'))}"
        for name, words in MOVES.items()
        if counts[name]
    ]
    return f"Emails: {', '.join(moves)}."
