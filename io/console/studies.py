"""What a person sees of studies: scenarios side by side, and the capacity that is needed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd

from sendplan.io.console.tables import day_of, print_table
from sendplan.io.console.terminal import Terminal

if TYPE_CHECKING:
    from sendplan.planner.studies.capacity_need import CapacityNeed
    from sendplan.planner.studies.comparison import Comparison


FEW = 3
"""Scenarios that fit beside each other, a line for each figure."""

LINES = {
    "finish_day": "Finished on",
    "days_saved": "Days sooner",
    "emails": "EmailGroup with a slot",
    "unplaced": "EmailGroup without",
    "late_follow_ups": "Late follow-ups",
    "slip_days": "Days late in all",
    "cost": "Cost",
    "lower_bound": "No plan costs less than",
    "use": "ResidualCapacity used",
    "moved": "EmailGroup moved",
}
COLUMNS = {
    "finish_day": "Finished",
    "days_saved": "Sooner",
    "unplaced": "Without",
    "late_follow_ups": "Late",
    "cost": "Cost",
    "use": "Used",
    "moved": "Moved",
}


def show_comparison(found: "Comparison") -> None:
    """Print scenarios side by side, or one beside what there is."""
    console = Terminal(soft_wrap=True)
    console.print("A study; nothing has been changed.", style="bold")
    names = list(found.plans)
    if len(names) <= FEW:
        columns = _columns(found, LINES)
        body = [[label, *values] for label, values in columns]
        print_table(console, "Before and after", ["", *names], body)
        return
    columns = _columns(found, COLUMNS)
    body = [[name, *row] for name, *row in zip(names, *(each for _, each in columns), strict=True)]
    print_table(console, "Scenarios", ["", *(label for label, _ in columns)], body)


def _columns(found: "Comparison", labels: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Return what is shown under each label, scenario by scenario."""
    frame = found.frame
    # Nobody misses a column that says that every email has a slot.
    shown = [name for name in labels if name != "unplaced" or frame[name].any()]
    return [
        (labels[name], [_FORMS.get(name, _count)(value) for value in frame[name].tolist()])
        for name in shown
    ]


def _count(value: Any) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:,.0f}"


_FORMS: dict[str, Callable[[Any], str]] = {"finish_day": day_of, "use": "{:.0%}".format}


def show_capacity(found: "CapacityNeed") -> None:
    """Print what capacity is needed, and how the plan that has it fares."""
    console = Terminal(soft_wrap=True)
    console.print(found.verdict, style="bold")
    plan = found.plan
    if plan is None:
        return
    late = f"{plan.late_follow_ups:,} late follow-ups" if plan.late_follow_ups else "none late"
    console.print(
        f"With that, {len(plan.sends):,} emails end on {day_of(plan.finish_day)}, {late}."
    )
    if plan.late_follow_ups and found.max_late is None:
        console.print("Late follow-ups did not matter; --max-late says how many there may be.")
    pools = found.pools
    if pools is None:
        return
    needed = pools[pools["mailboxes"] > 0]
    rows = [
        [", ".join(_name(plan.names, key) for key in sequences), f"{count:,}", f"{least:,}"]
        for sequences, count, least in zip(
            needed["sequences"], needed["mailboxes"], needed["at_least"], strict=True
        )
    ]
    print_table(console, "Where they are needed", ["", "Mailboxes", "At least"], rows)


def _name(names: pd.Series, key: int) -> str:
    name = names.get(key)
    return name if isinstance(name, str) else f"sequence {key}"
