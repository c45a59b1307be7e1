"""Output of studies: scenarios side by side, and the capacity that is needed."""

from typing import TYPE_CHECKING

from sendplan.io.console.tables import late_follow_ups, print_table
from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.wording import Columns, called, written
from sendplan.planner.schema.wording import counted

if TYPE_CHECKING:
    from sendplan.planner.studies.capacity_need import CapacityNeed
    from sendplan.planner.studies.comparison import Comparison

FEW = 3
"""Scenarios that fit beside each other, a line for each figure."""

LINES: Columns = {
    "finish_day": ("Last day", "day"),
    "days_saved": ("Days sooner", "count"),
    "emails": ("Emails with a slot", "count"),
    "unplaced": ("Emails without a slot", "count"),
    "late_follow_ups": ("Late follow-ups", "count"),
    "slip_days": ("Days late in all", "count"),
    "cost": ("Cost", "count"),
    "lower_bound": ("Lower bound", "count"),
    "use": ("Capacity used", "share"),
    "moved": ("Emails moved", "count"),
}
COLUMNS: Columns = {
    "scenario": ("", "text"),
    "finish_day": ("Last day", "day"),
    "days_saved": ("Sooner", "count"),
    "unplaced": ("Without", "count"),
    "late_follow_ups": ("Late", "count"),
    "cost": ("Cost", "count"),
    "use": ("Used", "share"),
    "moved": ("Moved", "count"),
}


def show_comparison(found: "Comparison") -> None:
    """Print scenarios side by side, a line for each figure; many below each other."""
    console = Terminal(soft_wrap=True)
    console.print("A study; nothing has been changed.", style="bold")
    names = list(found.plans)
    frame = found.frame.assign(scenario=names)
    hidden = () if frame["unplaced"].any() else ("unplaced",)
    if len(names) > FEW:
        columns = {name: column for name, column in COLUMNS.items() if name not in hidden}
        print_table(console, "Scenarios", columns, frame.to_dict("records"))
        return
    rows = [
        {
            "figure": label,
            **{name: written(value, kind) for name, value in zip(names, frame[key], strict=True)},
        }
        for key, (label, kind) in LINES.items()
        if key not in hidden
    ]
    columns = {"figure": ("", "text"), **{name: (name, "text") for name in names}}
    print_table(console, "Before and after", columns, rows)


def show_capacity(found: "CapacityNeed") -> None:
    """Print what capacity is needed, and the plan that has it."""
    console = Terminal(soft_wrap=True)
    console.print(found.verdict, style="bold")
    plan = found.plan
    if plan is None:
        return
    late = late_follow_ups(plan.late_follow_ups)
    console.print(
        f"With that, {counted(len(plan.sends), 'email')}, {late}, last day"
        f" {written(plan.finish_day, 'day')}."
    )
    if plan.late_follow_ups and found.max_late is None:
        console.print("Late follow-ups were not limited; --max-late limits them.")
    if found.pools is None:
        return
    needed = found.pools[found.pools["mailboxes"] > 0]
    pools = [
        ", ".join(called(plan.names.get(key), "sequence", key) for key in sequences)
        for sequences in needed["sequences"]
    ]
    columns: Columns = {
        "pool": ("", "text"),
        "mailboxes": ("Mailboxes", "count"),
        "at_least": ("At least", "count"),
    }
    rows = needed.assign(pool=pools).to_dict("records")
    print_table(console, "Where they are needed", columns, rows)
