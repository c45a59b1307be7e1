"""The tables of a report: cells of text, with the values that they sort by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from sendplan.io.console.tables import REASONS
from sendplan.io.documents.wording import MISSING, Columns, Kind, day_text, written
from sendplan.io.report.charts import STEPS, busiest, recent
from sendplan.io.report.figures import NOT_PLANNED, OUTDATED, Figures

WHY_UNPLACED = REASONS | {
    OUTDATED: "its slot, or that of an earlier email, is no longer valid",
    NOT_PLANNED: "not planned yet",
}


class Cell(NamedTuple):
    """The text of a cell, and the value that it sorts by; None if it is missing."""

    text: str
    value: Any


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Parameters
    ----------
    key : str
        Its id in the page.
    caption : str
        Its caption.
    titles : tuple of str
        Heads of the columns.
    kinds : tuple of Kind
        What each column holds.
    rows : list of list of Cell
        The body.
    sortable : bool
        Whether readers may sort it.
    """

    key: str
    caption: str
    titles: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: list[list[Cell]]
    sortable: bool = False


def cell(value: Any, kind: Kind) -> Cell:
    """Return a value as a cell; missing values are fine."""
    text = written(value, kind)
    if text == MISSING:
        return Cell(text, None)
    if kind == "text":
        return Cell(text, text)
    if kind == "day":
        return Cell(text, f"{value:%Y-%m-%d}")
    return Cell(text, int(value) if kind == "count" else float(value))


def _table(
    key: str,
    caption: str,
    columns: Columns,
    frame: pd.DataFrame,
    *,
    sortable: bool = False,
) -> Table:
    kinds = tuple(kind for _, kind in columns.values())
    rows = [
        [cell(value, kind) for value, kind in zip(row, kinds, strict=True)]
        for row in frame[list(columns)].itertuples(index=False, name=None)
    ]
    return Table(key, caption, tuple(title for title, _ in columns.values()), kinds, rows, sortable)


def sequence_table(figures: Figures) -> Table:
    """List all sequences with how far they are and when they end."""
    columns: Columns = {
        "name": ("Sequence", "text"),
        "status": ("Status", "text"),
        "contacts": ("Contacts", "count"),
        "sent": ("Sent", "count"),
        "emails": ("Planned", "count"),
        "unplaced": ("Without a slot", "count"),
        "late_follow_ups": ("Late follow-ups", "count"),
        "cost": ("Cost", "count"),
        "finish_day": ("Last day", "day"),
        "earliest_finish_day": ("With unlimited capacity", "day"),
    }
    return _table("sequences-table", "All sequences", columns, figures.sequences, sortable=True)


def progress_table(figures: Figures) -> Table:
    """List the progress of the contacts of each sequence."""
    columns: Columns = {
        "name": ("Sequence", "text"),
        "contacts": ("Contacts", "count"),
        "completed": ("Completed", "count"),
        "under_way": ("Under way", "count"),
        "not_started": ("Not started", "count"),
        "stopped": ("Stopped", "count"),
        "failed": ("Failed", "count"),
    }
    caption = "Contacts of each sequence, by how far they have come"
    return _table("progress-table", caption, columns, figures.sequences)


def finish_table(figures: Figures) -> Table:
    """List the first and the last planned day of each sequence."""
    columns: Columns = {
        "name": ("Sequence", "text"),
        "first_day": ("First planned day", "day"),
        "finish_day": ("Last planned day", "day"),
        "earliest_finish_day": ("With unlimited capacity", "day"),
        "behind": ("Days later", "count"),
    }
    frame = figures.sequences[figures.sequences["finish_day"].notna()]
    frame = frame.assign(behind=(frame["finish_day"] - frame["earliest_finish_day"]).dt.days)
    return _table("finish-table", "When each sequence ends", columns, frame)


def mailbox_table(figures: Figures) -> Table:
    """List all mailboxes with their load."""
    columns: Columns = {
        "name": ("Mailbox", "text"),
        "status": ("Status", "text"),
        "daily_capacity": ("Capacity a day", "count"),
        "sent": ("Sent", "count"),
        "emails": ("Planned", "count"),
        "use": ("Use", "share"),
        "days": ("Sending days", "count"),
        "full_days": ("Full days", "count"),
        "finish_day": ("Last day", "day"),
    }
    return _table("mailboxes-table", "All mailboxes", columns, figures.mailboxes, sortable=True)


def load_table(figures: Figures) -> Table:
    """List emails and capacity of the chart's mailboxes by week."""
    shown = busiest(figures).set_index("mailbox_id")["name"]
    load = figures.load
    week = load["send_day"].dt.to_period("W-SUN").dt.start_time
    totals = load.assign(week=week).groupby(["mailbox_id", "week"])[["emails", "capacity"]].sum()
    weeks = sorted(week.unique())
    cells = {
        key: Cell(f"{emails:,} of {capacity:,}", emails)
        for key, emails, capacity in totals.itertuples(name=None)
    }
    rows = [
        [cell(name, "text"), *(cells.get((key, start), Cell(MISSING, None)) for start in weeks)]
        for key, name in shown.items()
    ]
    titles = ("Mailbox", *(f"Week of {day_text(start)}" for start in weeks))
    kinds: list[Kind] = ["text"]
    kinds.extend("count" for _ in weeks)
    caption = "Emails of each mailbox by week, and its capacity"
    return Table("load-table", caption, titles, tuple(kinds), rows)


def daily_table(figures: Figures) -> Table:
    """List the emails of each day by step, sent and planned, and the capacity of the day."""
    daily = recent(figures)
    steps = sorted(daily["position"].unique(), key=lambda position: (position == 0, position))
    by_day = daily.assign(emails=daily["sent"] + daily["planned"]).pivot_table(
        index="send_day", columns="position", values="emails", aggfunc="sum", fill_value=0
    )
    totals = daily.groupby("send_day")[["sent", "planned"]].sum()
    frame = (
        by_day.join(totals).join(figures.capacity.set_index("send_day")["capacity"]).reset_index()
    )
    columns: Columns = {
        "send_day": ("Day", "day"),
        **{step: (f"Step {step}" if step else STEPS[-1].capitalize(), "count") for step in steps},
        "sent": ("Sent", "count"),
        "planned": ("Planned", "count"),
        "capacity": ("Capacity", "count"),
    }
    return _table("daily-table", "Emails a day", columns, frame)


def delay_table(figures: Figures) -> Table:
    """List how many emails are late, by days."""
    columns: Columns = {
        "days": ("Days", "text"),
        "lateness": ("Emails behind the ideal timeline", "count"),
        "slip": ("Follow-ups behind their ready day", "count"),
    }
    return _table("delays-table", "Emails by days of delay", columns, figures.delays)


def unplaced_table(figures: Figures) -> Table:
    """List the emails without a slot, with the reason."""
    columns: Columns = {
        "name": ("Sequence", "text"),
        "why": ("Reason", "text"),
        "emails": ("Emails", "count"),
    }
    frame = figures.unplaced.assign(why=figures.unplaced["reason"].map(why_unplaced))
    return _table("unplaced-table", "By sequence and reason", columns, frame, sortable=True)


def why_unplaced(reason: str) -> str:
    """Write the reason of an email without a slot."""
    return WHY_UNPLACED.get(reason, reason)


def pool_table(figures: Figures) -> Table:
    """List the pools of mailboxes that bind, the costliest first."""
    assert figures.bottlenecks is not None
    pools = figures.bottlenecks.pools
    names = figures.sequences.set_index("sequence_id")["name"]
    columns: Columns = {
        "serves": ("Mailboxes of", "text"),
        "mailboxes": ("Mailboxes", "count"),
        "days": ("Days short", "count"),
        "first_day": ("From", "day"),
        "last_day": ("To", "day"),
        "price": ("One more email saves", "decimal"),
        "one_more_a_day": ("One more every day", "decimal"),
        "saving": ("10% more capacity", "decimal"),
    }
    frame = pools.assign(
        serves=[enumeration(names.reindex(list(ids)).astype(str)) for ids in pools["sequence_ids"]],
        mailboxes=[len(ids) for ids in pools["mailbox_ids"]],
    )
    caption = "Where capacity is short, and the most that more of it saves"
    return _table("pools-table", caption, columns, frame, sortable=True)


def enumeration(words: Iterable[str], most: int = 2) -> str:
    """Join words to a text; the first ones of many."""
    listed: Sequence[str] = list(words)
    first = ", ".join(listed[:most])
    return f"{first} and {len(listed) - most} more" if len(listed) > most else first
