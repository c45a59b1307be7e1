"""The sections of a report: pictures, tables, and the sentences that go with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from sendplan.io.documents.wording import day_text
from sendplan.io.report import charts, tables
from sendplan.io.report.drawing import drawn
from sendplan.io.report.figures import STANDINGS, Figures
from sendplan.planner.schema.wording import counted

Legend = list[tuple[str, str]]
"""Marks, by their class in the page, and their meaning."""


@dataclass(frozen=True)
class Picture:
    """One chart.

    Parameters
    ----------
    caption : str
        What it shows.
    legend : list of (str, str)
        Meaning of its marks.
    wide, narrow : Markup
        The drawing for screens and paper, and for phones; one alone where it fits both.
    table : Table or None
        The same figures; None where a table of the section has them.
    """

    caption: str
    legend: Legend
    wide: Markup
    narrow: Markup | None = None
    table: tables.Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Parameters
    ----------
    key : str
        Its id in the page.
    short, title : str
        Its names in the list of sections, and at its head.
    text : str
        Its first paragraph.
    pictures : list of Picture
        Its charts.
    paired : bool
        Whether the charts stand beside each other.
    details : Table or None
        The figures of all charts, folded away.
    table : Table or None
        A table that is always open.
    """

    key: str
    short: str
    title: str
    text: str
    pictures: list[Picture] = field(default_factory=list)
    paired: bool = False
    details: tables.Table | None = None
    table: tables.Table | None = None


def sections(figures: Figures) -> list[Section]:
    """Return the sections that are not empty.

    Parameters
    ----------
    figures : Figures
        The figures of the page.
    """
    parts = (_load, _daily, _sequences, _delays, _bottlenecks, _unplaced, _mailboxes)
    return [section for part in parts for section in part(figures)]


def _load(figures: Figures) -> Iterator[Section]:
    load = figures.load
    if not len(load):
        return
    busy, full = load[load["emails"] > 0], load[load["emails"] >= load["capacity"]]
    mailboxes, shown = load["mailbox_id"].nunique(), len(charts.busiest(figures))
    used, capacity = int(load["emails"].sum()), int(load["capacity"].sum())
    text = (
        f"{counted(mailboxes, 'mailbox')} with {counted(used, 'email')} on"
        f" {counted(len(busy), 'mailbox-day')}, {len(full):,} of them full. That is"
        f" {used / capacity if capacity else 0:.0%} of their capacity from"
        f" {span(load['send_day'])}."
    )
    level = charts.load_level(load)
    legend = [
        (f"load-{number}", word)
        for number, word in enumerate(charts.LEVELS, 1)
        if (level == word).any()
    ]
    hidden = mailboxes - shown
    caption = "One row per mailbox, one column per day; blank where a mailbox may not send." + (
        f" The {shown:,} busiest are drawn, {hidden:,} others are not." if hidden else ""
    )
    picture = _drawn(
        charts.load_chart,
        figures,
        caption,
        legend,
        f"How full each mailbox is on each day: {text}",
        tables.load_table(figures),
    )
    yield Section("load", "Load", "How full the mailboxes are", text, [picture])


def _daily(figures: Figures) -> Iterator[Section]:
    daily = charts.recent(figures)
    if not len(daily):
        return
    totals = daily.groupby("send_day")[["sent", "planned"]].sum().sum(axis=1)
    most = pd.Timestamp(totals.index[int(totals.argmax())])
    text = (
        f"At most {counted(totals.max(), 'email')} a day, on {day_text(most)}."
        f" Planned: {daily['planned'].sum():,}"
    )
    sent = daily[daily["sent"] > 0]
    if len(sent):
        since = day_text(sent["send_day"].min())
        text += f"; sent since {since}: {sent['sent'].sum():,}"
    steps = charts.step_places(daily)
    legend = [(f"step-{place}", charts.STEPS[place - 1]) for place in sorted(steps.unique())]
    if charts.shows_capacity(figures):
        legend.append(("line", "capacity of all mailboxes"))
    legend.append(("dashes", "today"))
    picture = _drawn(
        charts.daily_chart,
        figures,
        "Emails by day and by step of their sequence: sent so far, and planned from today on.",
        legend,
        f"Emails a day by step. {text}.",
        tables.daily_table(figures),
    )
    yield Section("days", "Days", "What leaves on which day", f"{text}.", [picture])


def _sequences(figures: Figures) -> Iterator[Section]:
    if not len(figures.sequences):
        return
    pictures = []
    largest = charts.largest(figures)
    if len(largest):
        standing = figures.sequences[list(STANDINGS)].sum()
        order = [STANDINGS.index(word) for word in charts.ORDER if standing[word]]
        counts = ", ".join(
            f"{standing.iloc[place]:,} {charts.PROGRESS[STANDINGS[place]]}" for place in order
        )
        pictures.append(
            _drawn(
                charts.progress_chart,
                figures,
                _of_largest("How far the contacts of each sequence have come.", figures, largest),
                [(f"standing-{place + 1}", charts.PROGRESS[STANDINGS[place]]) for place in order],
                f"Contacts of each sequence by how far they have come: {counts} in all.",
                tables.progress_table(figures),
            )
        )
    ending = largest[largest["finish_day"].notna()]
    if len(ending):
        latest = ending.iloc[int(ending["finish_day"].argmax())]
        pictures.append(
            _drawn(
                charts.finish_chart,
                figures,
                _of_largest(
                    "From the first planned email to the last. No plan ends a sequence before its"
                    " mark, even with unlimited capacity.",
                    figures,
                    largest,
                ),
                [("accent", "planned"), ("tick", "end with unlimited capacity")],
                f"When each sequence ends. The last one is {latest['name']}, on"
                f" {day_text(latest['finish_day'])}.",
                tables.finish_table(figures),
            )
        )
    yield Section(
        "sequences",
        "Sequences",
        "How far each sequence is, and when it ends",
        "",
        pictures,
        table=tables.sequence_table(figures),
    )


def _of_largest(text: str, figures: Figures, largest: pd.DataFrame) -> str:
    hidden = int((figures.sequences["contacts"] > 0).sum()) - len(largest)
    return f"{text} The {len(largest)} largest are drawn, {hidden:,} not." if hidden else text


def _delays(figures: Figures) -> Iterator[Section]:
    delays = figures.delays
    emails, follow_ups = int(delays["lateness"].sum()), int(delays["slip"].sum())
    if not emails:
        return
    pictures = []
    for kind, total, caption in (
        ("lateness", emails, "Planned emails by days behind their ideal timeline."),
        (
            "slip",
            follow_ups,
            "Planned follow-ups by days behind their ready day.",
        ),
    ):
        if total:
            label = f"{caption} {delays[kind].iloc[0]:,} of {total:,} are on time."
            drawing = Markup(drawn(charts.delay_chart(figures, kind), label))
            pictures.append(Picture(caption, [], drawing))
    ideal = _share(int(delays["lateness"].iloc[0]), emails)
    text = f"{ideal} of the planned emails keep the ideal timeline"
    if follow_ups:
        text += (
            f"; {_share(int(delays['slip'].iloc[0]), follow_ups)} of the follow-ups leave on the"
            " day on which they are ready"
        )
    yield Section(
        "delays",
        "Delays",
        "How late emails are",
        f"{text}.",
        pictures,
        paired=True,
        details=tables.delay_table(figures),
    )


def _bottlenecks(figures: Figures) -> Iterator[Section]:
    found = figures.bottlenecks
    if found is None:
        return
    title = "Bottlenecks"
    if not len(found.pools):
        text = "None: more capacity would not make this plan cheaper."
        yield Section("bottlenecks", title, title, text)
        return
    text = (
        "Pools of mailboxes that lack capacity, the costliest first. The last three columns give"
        f" the most that more capacity saves, of a cost of {found.cost:,.0f}: one more email on a"
        " day that lacks it (on average), one more email on every day, and"
        f" {found.more:.0%} more capacity."
    )
    yield Section("bottlenecks", title, title, text, table=tables.pool_table(figures))


def _unplaced(figures: Figures) -> Iterator[Section]:
    unplaced = figures.unplaced
    if not len(unplaced):
        return
    by_reason = unplaced.groupby("reason")["emails"].sum().sort_values(ascending=False)
    reasons = "; ".join(
        f"{emails:,}: {tables.why_unplaced(str(why))}" for why, emails in by_reason.items()
    )
    yield Section(
        "unplaced",
        "Without a slot",
        "Emails without a slot",
        f"{reasons}.",
        table=tables.unplaced_table(figures),
    )


def _mailboxes(figures: Figures) -> Iterator[Section]:
    if len(figures.mailboxes):
        text = "Use and full days count from today to the last day of the plan."
        table = tables.mailbox_table(figures)
        yield Section("mailboxes", "Mailboxes", "The mailboxes", text, table=table)


def _drawn(
    draw: Callable[[Figures, int], Any],
    figures: Figures,
    caption: str,
    legend: Legend,
    label: str,
    table: tables.Table,
) -> Picture:
    wide, narrow = (
        Markup(drawn(draw(figures, width), label)) for width in (charts.WIDE, charts.NARROW)
    )
    return Picture(caption, legend, wide, narrow, table)


def span(days: pd.Series) -> str:
    """Write the first and the last of several days."""
    return f"{day_text(days.min())} to {day_text(days.max())}"


def _share(part: int, whole: int) -> str:
    """Write a share that is 100 % only if nothing is missing."""
    share = part / whole
    return f"{share:.0%}" if share in (0, 1) else f"{min(max(share, 0.001), 0.999):.1%}"
