"""The charts of a report, as Vega-Lite specifications.

Colours are names of the page's own, ``var(--…)``, so that one drawing serves light, dark and paper.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from sendplan.io.report.figures import DELAYS, STANDINGS, Figures

Drawing = alt.Chart | alt.LayerChart | alt.FacetChart

WIDE, NARROW = 1000, 320
"""Widths in which a chart is drawn, for screens and paper, and for phones."""

HALF = 400
"""Width of a chart that stands beside another one."""

MOST_MAILBOXES, MOST_SEQUENCES = 300, 60
"""How many rows a chart has at most; its table has all."""

RECENT_DAYS = 42
"""How far back the chart of emails a day goes."""

LEVELS = ("idle", "below half", "half or more", "nearly full", "full", "over capacity")
STEPS = ("1st", "2nd", "3rd", "4th", "5th", "6th and later", "removed step")
PROGRESS = dict(
    zip(STANDINGS, ("not started", "under way", "completed", "stopped", "failed"), strict=True)
)

ORDER = ("completed", "under_way", "not_started", "stopped", "failed")
"""Order of the parts of a bar."""

_A_DAY = pd.Timedelta(days=1)
_NEARLY = 0.9


def load_chart(figures: Figures, width: int) -> Drawing:
    """Draw how full each mailbox is on each day; days on which it may not send stay blank.

    Parameters
    ----------
    figures : Figures
        With at least one row of load.
    width : int
        Of the whole chart, in pixels.
    """
    shown = busiest(figures)
    load = figures.load.merge(shown[["mailbox_id", "name"]], on="mailbox_id")
    # Fewer marks: a mailbox's neighbouring days of one level are one.
    level = load_level(load)
    new = (
        (level != level.shift())
        | (load["mailbox_id"] != load["mailbox_id"].shift())
        | (load["send_day"].diff() != _A_DAY)
    )
    runs = load.assign(level=level).groupby(new.cumsum())
    marks = runs.agg(
        name=("name", "first"),
        level=("level", "first"),
        start=("send_day", "min"),
        end=("send_day", "max"),
    )
    marks["end"] += _A_DAY
    names = shown["name"].tolist()
    row = min(max(600 / len(names), 2.0), 20.0)
    # As many names as fit; on a phone none unless each row has its name.
    every = -(-14 // int(row))
    axis = _names_axis(width, names[::every]) if width == WIDE or every == 1 else None
    y = alt.Y("name:N", sort=names, scale=alt.Scale(padding=0), axis=axis)
    chart: Drawing = (
        _chart(marks)
        .mark_rect(stroke="var(--page)", strokeWidth=1 if every == 1 else 0)
        .encode(
            x=_days("start", figures.load["send_day"], width),
            x2="end:T",
            y=y,
            color=_colours("level", LEVELS, "load"),
        )
    )
    return _sized(chart, width, row * len(names) + 40)


def load_level(load: pd.DataFrame) -> pd.Series:
    """Return which of `LEVELS` each row of a load is at.

    Parameters
    ----------
    load : DataFrame
        With emails and capacity.
    """
    emails, capacity = load["emails"], load["capacity"]
    share = emails / capacity.where(capacity > 0)
    level = pd.Series(LEVELS[3], index=load.index, dtype=object)
    level[share < _NEARLY] = LEVELS[2]
    level[share < 0.5] = LEVELS[1]
    level[emails == 0] = LEVELS[0]
    level[emails == capacity] = LEVELS[4]
    level[emails > capacity] = LEVELS[5]
    return level


def busiest(figures: Figures) -> pd.DataFrame:
    """Return the mailboxes that the chart of the load shows, in their order."""
    busy = figures.mailboxes[figures.mailboxes["mailbox_id"].isin(figures.load["mailbox_id"])]
    most = busy.sort_values("emails", ascending=False, kind="stable").head(MOST_MAILBOXES)
    return most.sort_index()


def daily_chart(figures: Figures, width: int) -> Drawing:
    """Draw emails a day by step, before and after today, and the capacity of the day."""
    today = pd.Timestamp(figures.as_of.date())
    daily = recent(figures)
    place = step_places(daily)
    daily = daily.assign(step=[STEPS[number - 1] for number in place], order=place)
    daily["emails"] = daily["sent"] + daily["planned"]
    daily = daily.groupby(["send_day", "order", "step"])["emails"].sum().reset_index()
    # Stacked here, since bars with two ends are not stacked by the library.
    daily["upper"] = daily.groupby("send_day")["emails"].cumsum()
    daily["lower"] = daily["upper"] - daily["emails"]
    daily["end"] = daily["send_day"] + 0.9 * _A_DAY
    capacity = figures.capacity.assign(end=figures.capacity["send_day"] + 0.9 * _A_DAY)
    if not shows_capacity(figures):
        capacity = capacity.head(0)
    axis = pd.concat([daily["send_day"], capacity["send_day"], pd.Series([today])])
    x = _days("send_day", axis, width)
    bars = (
        _chart(daily)
        .mark_rect()
        .encode(
            x=x,
            x2="end:T",
            y=alt.Y("lower:Q", axis=_count_axis(), title=None),
            y2="upper:Q",
            color=_colours("step", STEPS, "step"),
        )
    )
    limits = (
        _chart(capacity)
        .mark_rule(color="var(--ink)", strokeWidth=1.5)
        .encode(x=x, x2="end:T", y="capacity:Q")
    )
    line = (
        _chart(pd.DataFrame({"send_day": [today]}))
        .mark_rule(color="var(--muted)", strokeDash=[3, 3])
        .encode(x=x)
    )
    layers: Drawing = alt.layer(bars, limits, line)
    return _sized(layers, width, 300)


def step_places(daily: pd.DataFrame) -> pd.Series:
    """Return the place in `STEPS`, from 1, of each row's position."""
    position = daily["position"]
    return position.clip(upper=len(STEPS) - 1).where(position > 0, len(STEPS))


def shows_capacity(figures: Figures) -> bool:
    """Tell whether capacity is drawn: not if it is far above the emails."""
    emails = recent(figures).groupby("send_day")[["sent", "planned"]].sum().sum(axis=1)
    return bool(len(figures.capacity) and figures.capacity["capacity"].max() <= 3 * emails.max())


def recent(figures: Figures) -> pd.DataFrame:
    """Return the daily figures that the chart shows: the last weeks', and all that is planned."""
    since = pd.Timestamp(figures.as_of.date() - dt.timedelta(days=RECENT_DAYS))
    return figures.daily[figures.daily["send_day"] >= since].reset_index(drop=True)


def progress_chart(figures: Figures, width: int) -> Drawing:
    """Draw how far the contacts of each sequence have come."""
    sequences = largest(figures)
    counts = sequences[["name", *STANDINGS]].melt(
        "name", var_name="standing", value_name="contacts"
    )
    counts = counts[counts["contacts"] > 0]
    counts["order"] = counts["standing"].map(ORDER.index)
    counts["standing"] = counts["standing"].map(PROGRESS)
    chart: Drawing = (
        _chart(counts)
        .mark_bar(stroke="var(--page)", strokeWidth=0.5)
        .encode(
            x=alt.X("contacts:Q", axis=_count_axis(), title=None),
            y=_rows(sequences, width),
            order="order:Q",
            color=_colours("standing", tuple(PROGRESS.values()), "standing"),
        )
    )
    return _sized(chart, width, 18 * len(sequences) + 40)


def finish_chart(figures: Figures, width: int) -> Drawing:
    """Draw the first and the last day of each sequence, and its last day by its waits alone."""
    sequences = largest(figures)
    sequences = sequences[sequences["finish_day"].notna()]
    axis = pd.concat([sequences["first_day"], sequences["finish_day"]])
    spans = sequences.assign(end=sequences["finish_day"] + _A_DAY)
    x = _days("first_day", axis, width, grid=True)
    y = _rows(sequences, width)
    bars = _chart(spans[["name", "first_day", "end"]]).mark_bar(color="var(--accent)", height=7)
    ticks = spans.assign(earliest=spans["earliest_finish_day"] + _A_DAY)[["name", "earliest"]]
    marks = _chart(ticks).mark_tick(color="var(--ink)", thickness=2, size=13)
    layers: Drawing = alt.layer(
        bars.encode(x=x, x2="end:T", y=y), marks.encode(x="earliest:T", y=y)
    )
    return _sized(layers, width, 18 * len(sequences) + 40)


def largest(figures: Figures) -> pd.DataFrame:
    """Return the sequences that charts show, in their order."""
    most = figures.sequences.sort_values("contacts", ascending=False, kind="stable")
    return most[most["contacts"] > 0].head(MOST_SEQUENCES).sort_index()


def delay_chart(figures: Figures, kind: str, width: int = HALF) -> Drawing:
    """Draw how many emails are late, by days.

    Parameters
    ----------
    figures : Figures
        The figures.
    kind : str
        ``"lateness"`` or ``"slip"``.
    width : int
        Of the whole chart, in pixels.
    """
    counts = figures.delays.rename(columns={kind: "emails"})[["days", "emails"]]
    counts["label"] = [f"{emails:,}" for emails in counts["emails"]]
    base = _chart(counts).encode(
        x=alt.X(
            "emails:Q",
            axis=None,
            # Space for the longest figure at the end of the longest bar.
            scale=alt.Scale(domain=[0, max(int(counts["emails"].max()), 1) * 1.2], nice=False),
        ),
        y=alt.Y(
            "days:N",
            sort=list(DELAYS),
            axis=_axis(title="days", titleAngle=0, titleAlign="right", titleY=-8, titleX=-6),
        ),
    )
    # Slip needs attention; lateness is the price of limited capacity.
    behind = "var(--behind)" if kind == "slip" else "var(--step-4)"
    colour: Any = alt.condition("datum.days === '0'", alt.value("var(--accent)"), alt.value(behind))
    bars = base.mark_bar(height=14).encode(color=colour)
    labels = base.mark_text(align="left", dx=5, color="var(--ink)", fontSize=12)
    layers: Drawing = alt.layer(bars, labels.encode(text="label:N"))
    return _sized(layers, width, 8 * 24 + 20)


def _chart(frame: pd.DataFrame) -> alt.Chart:
    plain = frame.copy()
    for name in plain.columns:
        if pd.api.types.is_datetime64_any_dtype(plain[name]):
            plain[name] = plain[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    records: list[Any] = plain.to_dict("records")
    return alt.Chart(alt.InlineData(values=records))


def _sized(chart: Drawing, width: int, height: float) -> Drawing:
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    sized: Drawing = (
        chart.properties(width=width, height=height, autosize=fit, background="none", padding=2)
        .configure(aria=False)
        .configure_view(stroke=None)
    )
    return sized


def _axis(**more: Any) -> alt.Axis:
    look: dict[str, Any] = {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "domain": False,
        "ticks": False,
        "grid": False,
        "labelPadding": 6,
    }
    return alt.Axis(**(look | more))


def _count_axis() -> alt.Axis:
    return _axis(grid=True, gridColor="var(--line)", format=",d", tickCount=5, tickMinStep=1)


def _names_axis(width: int, names: Sequence[str]) -> alt.Axis:
    # Long names are cut: on a phone they would leave no space for the chart.
    limit = 230 if width == WIDE else 140
    # Letters of browsers may be wider than those that the library measures.
    extent = min(7 * max(map(len, names), default=0), 1.2 * limit) + 6
    return _axis(
        title=None, labelLimit=limit, labelOverlap=False, values=list(names), minExtent=extent
    )


def _rows(sequences: pd.DataFrame, width: int) -> alt.Y:
    names = sequences["name"].tolist()
    return alt.Y("name:N", sort=names, axis=_names_axis(width, names))


def _days(column: str, days: pd.Series, width: int, *, grid: bool = False) -> alt.X:
    """Lay days out from the first to the end of the last, in whole days of UTC."""
    first, last = days.min(), days.max() + _A_DAY
    start, days_shown = first.normalize(), (last - first).days
    # A label for each day, week, several weeks or month, as many as fit.
    most = max((width - 60) // 70, 2)
    if days_shown <= most:
        wanted, form = pd.date_range(start, last, inclusive="left"), "%-d %b"
    elif days_shown <= 14 * most:
        mondays = pd.date_range(start, last, freq="W-MON", inclusive="left")
        wanted, form = mondays[:: -(-len(mondays) // most)], "%-d %b"
    else:
        months = pd.date_range(start, last, freq="MS", inclusive="left")
        wanted, form = months[:: -(-len(months) // most)], "%b %Y"
    # A label at the very end would stand out beyond it.
    wanted = wanted[(last - wanted) * width > pd.Timedelta(days=45 * days_shown)]
    values: Sequence[Any] = [_moment(day) for day in wanted]
    return alt.X(
        f"{column}:T",
        scale=alt.Scale(type="utc", domain=[_moment(first), _moment(last)], nice=False),
        axis=_axis(title=None, format=form, values=values, ticks=True, tickColor="var(--line)",
                   labelAlign="left", labelOverlap=True, labelPadding=4,
                   grid=grid, gridColor="var(--line)"),
    )  # fmt: skip


def _moment(day: pd.Timestamp) -> alt.DateTime:
    return alt.DateTime(year=day.year, month=day.month, date=day.day, utc=True)


def _colours(column: str, words: Sequence[str], palette: str) -> alt.Color:
    """Give each word its place in a palette of the page; legends are the page's own."""
    colours = [f"var(--{palette}-{number})" for number in range(1, len(words) + 1)]
    scale = alt.Scale(domain=list(words), range=colours)
    return alt.Color(f"{column}:N", scale=scale, legend=None)
