"""The tables of a report: figures written for people, with the values that they sort by."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from sendplan.io.console.tables import REASONS
from sendplan.io.report.charts import STEPS, busiest, recent
from sendplan.io.report.figures import NOT_PLANNED, OUTDATED, Figures

Kind = Literal["text", "count", "decimal", "share", "day"]

MISSING = "–"
WHY_UNPLACED = REASONS | {
    OUTDATED: "its slot, or that of an email before it, does not hold any more",
    NOT_PLANNED: "no plan has seen it yet",
}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text : str
        What is read.
    value : object
        What it sorts by, None where there is nothing.
    """

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
        What it shows.
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


def day_text(day: dt.date) -> str:
    """Write a date."""
    return f"{day.day} {day:%b %Y}"


def cell(value: Any, kind: Kind) -> Cell:
    """Write a value for a person.

    Parameters
    ----------
    value : object
        A figure, a date or a text; missing values are fine.
    kind : str
        What it is.
    """
    if kind != "text" and pd.isna(value):
        return Cell(MISSING, None)
    if kind == "text":
        return Cell(str(value), str(value))
    if kind == "day":
        return Cell(day_text(value), f"{value:%Y-%m-%d}")
    if kind == "share":
        return Cell(f"{value:.0%}", float(value))
    if kind == "decimal":
        return Cell(f"{value:,.0f}" if abs(value) >= 10 else f"{value:,.1f}", float(value))
    return Cell(f"{value:,}", int(value))


def _table(
    key: str,
    caption: str,
    columns: Mapping[str, tuple[str, Kind]],
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
    columns: dict[str, tuple[str, Kind]] = {
        "name": ("Sequence", "text"),
        "status": ("Status", "text"),
        "contacts": ("Contacts", "count"),
        "sent": ("Sent", "count"),
        "emails": ("ReadPlan", "count"),
        "unplaced": ("Without a slot", "count"),
        "late_follow_ups": ("Late follow-ups", "count"),
        "cost": ("Cost", "count"),
        "finish_day": ("Last day", "day"),
        "earliest_finish_day": ("By waits alone", "day"),
    }
    frame = figures.sequences.assign(cost=figures.sequences["cost"].round().astype("int64"))
    return _table("sequences-table", "All sequences", columns, frame, sortable=True)


def progress_table(figures: Figures) -> Table:
    """List how the contacts of each sequence stand."""
    columns: dict[str, tuple[str, Kind]] = {
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
    """List from when to when each sequence sends."""
    columns: dict[str, tuple[str, Kind]] = {
        "name": ("Sequence", "text"),
        "first_day": ("First planned day", "day"),
        "finish_day": ("Last planned day", "day"),
        "earliest_finish_day": ("By waits alone", "day"),
        "behind": ("Days more", "count"),
    }
    frame = figures.sequences[figures.sequences["finish_day"].notna()]
    frame = frame.assign(behind=(frame["finish_day"] - frame["earliest_finish_day"]).dt.days)
    return _table("finish-table", "When each sequence ends", columns, frame)


def mailbox_table(figures: Figures) -> Table:
    """List all mailboxes with what they have to do."""
    columns: dict[str, tuple[str, Kind]] = {
        "name": ("Mailbox", "text"),
        "status": ("Status", "text"),
        "daily_capacity": ("Capacity a day", "count"),
        "sent": ("Sent", "count"),
        "emails": ("ReadPlan", "count"),
        "use": ("Use", "share"),
        "days": ("Sending days", "count"),
        "full_days": ("Full days", "count"),
        "finish_day": ("Last day", "day"),
    }
    return _table("mailboxes-table", "All mailboxes", columns, figures.mailboxes, sortable=True)


def load_table(figures: Figures) -> Table:
    """List what the mailboxes of the chart have to do in each week, and how much they could."""
    shown = busiest(figures).set_index("mailbox_id")["name"]
    load = figures.load
    week = load["send_day"].dt.to_period("W-SUN").dt.start_time
    totals = load.assign(week=week).groupby(["mailbox_id", "week"])[["emails", "capacity"]].sum()
    weeks = sorted(week.unique())
    told = {
        key: Cell(f"{emails:,} of {capacity:,}", emails)
        for key, emails, capacity in totals.itertuples(name=None)
    }
    rows = [
        [cell(name, "text"), *(told.get((key, start), Cell(MISSING, None)) for start in weeks)]
        for key, name in shown.items()
    ]
    titles = ("Mailbox", *(f"Week of {day_text(start)}" for start in weeks))
    kinds: list[Kind] = ["text"]
    kinds.extend("count" for _ in weeks)
    caption = "Emails of each mailbox by week, of those that it may send"
    return Table("load-table", caption, titles, tuple(kinds), rows)


def daily_table(figures: Figures) -> Table:
    """List the emails of each day by step, sent and planned, and the room of the day."""
    daily = recent(figures)
    steps = sorted(daily["position"].unique(), key=lambda position: (position == 0, position))
    by_day = daily.assign(emails=daily["sent"] + daily["planned"]).pivot_table(
        index="send_day", columns="position", values="emails", aggfunc="sum", fill_value=0
    )
    totals = daily.groupby("send_day")[["sent", "planned"]].sum()
    frame = by_day.join(totals).join(figures.room.set_index("send_day")["capacity"])
    frame = frame.reset_index().rename(columns={"capacity": "room"})
    columns: dict[Any, tuple[str, Kind]] = {"send_day": ("Day", "day")}
    for step in steps:
        title = f"Step {step}" if step else STEPS[-1].capitalize()
        columns[step] = (title, "count")
    columns |= {
        "sent": ("Sent", "count"),
        "planned": ("ReadPlan", "count"),
        "room": ("ResidualCapacity", "count"),
    }
    frame["room"] = frame["room"].astype("Int64")
    return _table("daily-table", "Emails a day", columns, frame)


def delay_table(figures: Figures) -> Table:
    """List how many emails are how many days behind."""
    columns: dict[str, tuple[str, Kind]] = {
        "days": ("Days", "text"),
        "lateness": ("Emails behind the ideal timeline", "count"),
        "slip": ("Follow-ups behind their ready day", "count"),
    }
    return _table("delays-table", "How many emails are how late", columns, figures.delays)


def unplaced_table(figures: Figures) -> Table:
    """List the emails without a slot, with the reason."""
    columns: dict[str, tuple[str, Kind]] = {
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
    """List the pools of mailboxes that bind, the dearest first."""
    assert figures.bottlenecks is not None
    pools = figures.bottlenecks.pools
    names = figures.sequences.set_index("sequence_id")["name"]
    columns: dict[str, tuple[str, Kind]] = {
        "serves": ("Pool of", "text"),
        "mailboxes": ("Mailboxes", "count"),
        "days": ("Days short", "count"),
        "first_day": ("From", "day"),
        "last_day": ("To", "day"),
        "price": ("One more email saves", "decimal"),
        "one_more_a_day": ("One more every day", "decimal"),
        "saving": ("10% more room", "decimal"),
    }
    frame = pools.assign(
        serves=[enumeration(names.reindex(list(ids)).astype(str)) for ids in pools["sequence_ids"]],
        mailboxes=[len(ids) for ids in pools["mailbox_ids"]],
    )
    caption = "Where room is short, and what more of it would save of the cost at most"
    return _table("pools-table", caption, columns, frame, sortable=True)


def enumeration(words: Iterable[str], most: int = 2) -> str:
    """Write a list of words as text, the first ones of many."""
    listed: Sequence[str] = list(words)
    told = ", ".join(listed[:most])
    return f"{told} and {len(listed) - most} more" if len(listed) > most else told
