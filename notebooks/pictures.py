"""How the notebooks speak and draw: sentences, and charts in one look, as pictures.

A code host shows neither the library's own interactive charts nor what a cell prints as prose, so
that a notebook's outputs are Markdown and PNG. Text is large for the width, as phones shrink it.
"""

import datetime as dt
import os
import textwrap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from IPython.display import Image, display

from sendplan.benchmarks.picture import AHEAD, DAILY, FONT, GREY, INK, LINES, SHADES, STEPS

__all__ = ["AHEAD", "DAILY", "GREY", "INK", "LINES", "SHADES", "STEPS"]

FOLDER = "SENDPLAN_NOTEBOOK_PICTURES"
"""The variable that names where `show` writes pictures that have a name; without it, nowhere."""

WIDTH = 520
SHARPNESS = 2
LETTERS_A_LINE = 56
DAY = pd.Timedelta(days=1)

Drawing = alt.Chart | alt.LayerChart | alt.FacetChart


def say(*sentences: str) -> None:
    """Show sentences as one paragraph of Markdown.

    Parameters
    ----------
    *sentences : str
        The sentences, with their figures filled in.
    """
    text = " ".join(sentences)
    display({"text/markdown": text, "text/plain": text}, raw=True)


def date(day: Any) -> str:
    """Write a date as people do: 4 January 2027.

    Parameters
    ----------
    day : date, Timestamp or str
        Any day.
    """
    stamp = pd.Timestamp(day)
    return f"{stamp.day} {stamp:%B %Y}"


def show(chart: Drawing, title: str, alt_text: str, *, height: int, name: str = "") -> None:
    """Draw a chart in the common style, and show it.

    Parameters
    ----------
    chart : Drawing
        What to draw.
    title : str
        Its title.
    alt_text : str
        Its text for screen readers.
    height : int
        Of the chart, in pixels, title and axes included.
    name : str
        Under which it is kept as an SVG file, where `FOLDER` says so.
    """
    lines = textwrap.wrap(title, LETTERS_A_LINE)
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    drawn = chart.properties(
        width=WIDTH,
        height=height + 21 * (len(lines) - 1),
        autosize=fit,
        background="white",
        padding=12,
        title=alt.TitleParams(lines, anchor="start", frame="bounds", fontSize=17, color=INK,
                              lineHeight=21, offset=14),
    )  # fmt: skip
    look = {
        "labelFontSize": 15, "labelColor": GREY, "titleFontSize": 15, "titleColor": GREY,
        "titleFontWeight": "normal", "gridColor": LINES, "domain": False, "ticks": False,
        "labelPadding": 6,
    }  # fmt: skip
    drawn = drawn.configure(font=FONT).configure_view(stroke=None).configure_axis(**look)
    drawn = drawn.configure_legend(
        labelFontSize=15, labelColor=INK, title=None, orient="top", direction="horizontal",
        symbolType="square", symbolSize=150, columnPadding=14, labelLimit=400,
    )  # fmt: skip
    specification = drawn.to_dict()
    folder = os.environ.get(FOLDER)
    if name and folder:
        picture = vl_convert.vegalite_to_svg(specification)
        Path(folder, f"{name}.svg").write_text(picture + "\n")
    pixels = vl_convert.vegalite_to_png(specification, scale=SHARPNESS)
    display(Image(data=_packed(pixels), format="png", width=WIDTH, alt=alt_text))


def _packed(png: bytes) -> bytes:
    """Compress a PNG file as far as it goes; its encoder is fast, and leaves it six times as large.

    A file is eight bytes and then chunks: length, kind, data, checksum; see RFC 2083.
    """
    place, head, pixels = 8, png[:8], b""
    while (kind := png[place + 4 : place + 8]) != b"IEND":
        end = place + 12 + int.from_bytes(png[place : place + 4])
        if kind == b"IDAT":
            pixels += png[place + 8 : end - 4]
        else:
            head += png[place:end]
        place = end
    data = b"IDAT" + zlib.compress(zlib.decompress(pixels), 9)
    size, checksum = len(data) - 4, zlib.crc32(data)
    return head + size.to_bytes(4) + data + checksum.to_bytes(4) + png[place:]


def days_axis(days: Sequence[Any] | pd.Series, column: str = "send_day") -> alt.X:
    """Lay days out over the width, with a label on some Mondays.

    Parameters
    ----------
    days : sequence of Timestamp
        All days to show.
    column : str
        The column that holds the day, or the start of it.
    """
    first, last = min(days), max(days) + DAY
    mondays = pd.date_range(first, last - 3 * DAY, freq="W-MON")
    shown = mondays[:: -(-len(mondays) // 6)]
    return alt.X(
        f"{column}:T",
        title=None,
        scale=alt.Scale(type="utc", domain=[moment(first), moment(last)], nice=False),
        axis=alt.Axis(
            format="%-d %b", values=[moment(day) for day in shown], labelAlign="left", grid=False
        ),
    )


def moment(day: Any) -> alt.DateTime:
    """Return a day as charts want it.

    Parameters
    ----------
    day : date or Timestamp
        The day.
    """
    return alt.DateTime(year=day.year, month=day.month, date=day.day, utc=True)


def records(frame: pd.DataFrame) -> alt.InlineData:
    """Put a frame into a chart; days are read in UTC, whatever the reader's own time zone.

    Parameters
    ----------
    frame : DataFrame
        Its index is left out.
    """
    plain = frame.copy()
    for name in plain.columns:
        if pd.api.types.is_datetime64_any_dtype(plain[name]):
            plain[name] = plain[name].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        elif len(plain) and isinstance(plain[name].iloc[0], dt.date):
            plain[name] = [f"{day}T00:00:00Z" for day in plain[name]]
    rows: list[Any] = plain.to_dict("records")
    return alt.InlineData(values=rows)


def emails_by_step(sends: pd.DataFrame, days: pd.Series | None = None) -> alt.Chart:
    """Draw emails a day, later steps below.

    Parameters
    ----------
    sends : DataFrame
        With send_day and position, as in ``Plan.sends``, and emails where a row is several.
    days : Series, optional
        All days to show; by default those on which emails leave.
    """
    counted = sends if "emails" in sends.columns else sends.assign(emails=1)
    table = counted.pivot_table(
        index="send_day", columns="position", values="emails", aggfunc="sum", fill_value=0
    )
    upper = table.loc[:, ::-1].cumsum(axis=1)
    bars = upper.reset_index().melt("send_day", value_name="upper")
    bars["lower"] = (upper - table[upper.columns]).reset_index().melt("send_day")["value"]
    bars = bars[bars["upper"] > bars["lower"]]
    bars["step"] = [STEPS[position - 1] for position in bars["position"]]
    bars["start"], bars["end"] = bars["send_day"] + 0.04 * DAY, bars["send_day"] + 0.96 * DAY
    words = STEPS[: int(bars["position"].max())]
    colour = alt.Scale(domain=list(words), range=list(SHADES[: len(words)]))
    axis = pd.Series(table.index) if days is None else days
    chart = alt.Chart(records(bars.drop(columns=["send_day", "position"]))).mark_rect()
    drawn: alt.Chart = chart.encode(
        x=days_axis(axis, "start"),
        x2="end:T",
        y=alt.Y("lower:Q", title=None, axis=alt.Axis(format=",d", tickCount=5)),
        y2="upper:Q",
        color=alt.Color("step:N", scale=colour),
    )
    return drawn


def rule(value: float, text: str, colour: str = INK) -> Drawing:
    """Draw a limit over the whole width, and say above it what it is.

    Parameters
    ----------
    value : float
        Where it lies.
    text : str
        What it is.
    colour : str
        Of both.
    """
    base = alt.Chart().encode(y=alt.datum(value))
    line = base.mark_rule(color=colour, strokeDash=[5, 3], strokeWidth=1.5)
    words = base.mark_text(text=text, align="right", baseline="bottom", dy=-4, fontSize=15,
                           color=colour).encode(x=alt.value("width"))  # fmt: skip
    layers: Drawing = alt.layer(line, words)
    return layers
