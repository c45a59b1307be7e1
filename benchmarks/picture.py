"""The picture in the README: when every email of the reference instance leaves, and which are late.

Run as a program, it plans the reference instance anew and writes ``plan.svg`` beside this file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import altair as alt
import numpy as np
import pandas as pd

import sendplan
from sendplan.benchmarks.baselines import Order, day_by_day
from sendplan.planner.synthetic import instances as synthetic

CONTACTS, MAILBOXES = 50_000, 200
TARGET = Path(__file__).with_name("plan.svg")

WIDTH, EMAILS_A_PIXEL = 712, 46
A_DAY = pd.Timedelta(days=1)
Align = Literal["left", "center", "right"]
Panel = alt.LayerChart | alt.FacetChart
FONT = "Helvetica, Arial, sans-serif"
INK, GREY, LINES = "#222222", "#595959", "#e0e0e0"
STEPS = ("1st", "2nd", "3rd", "4th", "5th", "6th")
# From dark to light, so that the order is seen without seeing colours too.
SHADES = ("#08306b", "#1f63a8", "#4a98c9", "#8cc3de", "#c9dcc2", "#ecd98b")
DAILY, AHEAD = "#c24e00", "#1f63a8"


def main(target: Path = TARGET) -> None:
    """Plan the reference instance, looking ahead and day by day, and draw what becomes of it.

    Parameters
    ----------
    target
        The SVG file to write.
    """
    now = synthetic.REFERENCE_NOW
    frames = synthetic.reference(CONTACTS, MAILBOXES)
    tables = {name: frame for name, frame in frames.items() if name != "contacts"}
    plan = sendplan.solve(sendplan.Problem.from_frames(**tables, now=now))
    daily = day_by_day(frames, now, Order.FOLLOW_UPS_FIRST)

    capacity = int(frames["mailboxes"]["daily_capacity"].sum())
    late_daily = late_per_day(frames, daily.sends, daily.late_follow_ups)
    late_ahead = late_per_day(frames, plan.sends, plan.late_follow_ups)
    done_daily, done_ahead = daily.sends["send_day"].max(), plan.sends["send_day"].max()
    texts = {
        f"{late_daily.sum():,} filling each day as it comes, done {_date(done_daily)}": DAILY,
        f"{late_ahead.sum():,} looking ahead with sendplan, done {_date(done_ahead)}": AHEAD,
        "Same contacts, same mailboxes": GREY,
    }
    axis = pd.date_range(now.date(), max(done_daily, done_ahead) + 2 * A_DAY)
    upper, lower = _sends(plan.sends, capacity, axis), _late(late_daily, late_ahead, texts, axis)
    picture = alt.vconcat(upper, lower, spacing=24)
    title = f"When every email leaves: {CONTACTS:,} contacts, {MAILBOXES} mailboxes"
    picture = picture.properties(
        title=alt.TitleParams(title, fontSize=24, offset=14),
        background="white",
        padding=16,
    )
    picture = picture.configure(font=FONT, aria=False).configure_view(stroke=None)
    picture = picture.configure_title(anchor="start", frame="bounds", color=INK, fontSize=17)
    picture = picture.configure_axis(
        labelFontSize=15, labelColor=GREY, gridColor=LINES, domain=False, ticks=False, title=None
    )
    picture.save(target)


def late_per_day(frames: Mapping[str, pd.DataFrame], sends: pd.DataFrame, total: int) -> pd.Series:
    """Count the follow-ups that leave after their ready day, by the day on which they leave.

    Both plans are measured by this one reading of the calendar, which holds for the reference
    instance only: sending from Monday to Friday, waits in calendar days.

    Parameters
    ----------
    frames
        The reference instance.
    sends
        Its emails, with enrollment_id, step_id, position and send_day.
    total
        The count as reported by the plan.

    Returns
    -------
    Series
        Late follow-ups by day, days without any left out.

    Raises
    ------
    RuntimeError
        If the count is not `total`.
    """
    sends = sends.sort_values(["enrollment_id", "position"])
    before = sends.groupby("enrollment_id")["send_day"].shift()
    people = frames["enrollments"].set_index("id")
    before = before.fillna(sends["enrollment_id"].map(people["last_sent_day"]))
    wait = sends["step_id"].map(frames["steps"].set_index("id")["wait_days"])
    ready = (before + wait * A_DAY).dropna()
    earliest = np.maximum(
        ready.to_numpy().astype("datetime64[D]"), np.datetime64(synthetic.REFERENCE_NOW.date())
    )
    day = sends.loc[ready.index, "send_day"]
    is_late = day.to_numpy() > np.busday_offset(earliest, 0, roll="forward")
    late: pd.Series = day[is_late].value_counts()
    if late.sum() != total:
        msg = f"{late.sum()} late follow-ups counted, {total} reported"
        raise RuntimeError(msg)
    return late


def _sends(sends: pd.DataFrame, capacity: int, axis: pd.DatetimeIndex) -> Panel:
    """Emails a day, later steps below, under the line of what all mailboxes may send."""
    table = pd.crosstab(sends["send_day"], sends["position"])
    upper = table.loc[:, ::-1].cumsum(axis=1)
    lower = upper - table
    shades = enumerate(SHADES, 1)
    parts = [_bars(upper[step], shade, 0.02, 0.98, lower[step]) for step, shade in shades]
    line = alt.Chart().mark_rule(color=INK, strokeDash=[5, 3], strokeWidth=1.5)
    parts.append(line.encode(y=alt.datum(capacity)))
    parts.append(_text(axis[-1], capacity + 550, f"Room for {capacity:,} a day", INK, "right"))
    # Each step is named where it is thickest over three days in a row.
    days = pd.DatetimeIndex(table.index)
    unbroken = days.to_series().diff(2) == 2 * A_DAY
    for step, name in enumerate(STEPS, 1):
        floor, ceiling = lower[step].rolling(3).max(), upper[step].rolling(3).min()
        best = int((ceiling - floor).where(unbroken, -1).argmax())
        middle = (floor.iloc[best] + ceiling.iloc[best]) / 2
        colour = "white" if step <= 2 else INK
        parts.append(_text(days[best] - A_DAY / 2, middle, name, colour, "center"))
    title = f"{len(sends):,} emails, by day and by place in their sequence (1st to {STEPS[-1]})"
    return _panel(parts, title, 11_800, axis)


def _late(
    daily: pd.Series, ahead: pd.Series, texts: Mapping[str, str], axis: pd.DatetimeIndex
) -> Panel:
    """Late follow-ups a day, of both plans side by side."""
    parts = [_bars(daily, DAILY, 0.04, 0.5), _bars(ahead, AHEAD, 0.5, 0.96)]
    for row, (text, colour) in enumerate(texts.items()):
        parts.append(_text(axis[len(axis) * 3 // 7], 8_000 - 1_100 * row, text, colour, "left"))
    title = "Follow-ups per day that leave later than their sequence asks"
    return _panel(parts, title, 9_000, axis)


def _bars(
    upper: pd.Series, colour: str, left: float, right: float, lower: pd.Series | float = 0
) -> alt.Chart:
    """Draw one bar a day, between two shares of the day's width."""
    frame = pd.DataFrame({"upper": upper, "lower": lower})
    frame = frame[frame["upper"] > frame["lower"]]
    day = pd.DatetimeIndex(frame.index).tz_localize("UTC")
    frame = frame.assign(left=day + left * A_DAY, right=day + right * A_DAY)
    bars: alt.Chart = alt.Chart(frame).mark_rect(color=colour)
    return bars.encode(x="left:T", x2="right:T", y="lower:Q", y2="upper:Q")


def _text(day: pd.Timestamp, emails: float, text: str, colour: str, align: Align) -> alt.Chart:
    frame = pd.DataFrame({"day": [day.tz_localize("UTC")], "emails": [emails]})
    mark: alt.Chart = alt.Chart(frame).mark_text(text=text, color=colour, align=align, fontSize=16)
    return mark.encode(x="day:T", y="emails:Q")


def _date(day: pd.Timestamp) -> str:
    return f"{day.day} {day:%b}"


def _panel(parts: list[alt.Chart], title: str, top: int, axis: pd.DatetimeIndex) -> Panel:
    """Lay marks over one another, in the same scale as in every panel."""
    mondays, first, last = (
        [alt.DateTime(year=d.year, month=d.month, date=d.day, utc=True) for d in days]
        for days in (axis[axis.day_of_week == 0], axis[:1], axis[-1:])
    )
    x = alt.X(
        datum=first[0],
        type="temporal",
        scale=alt.Scale(type="utc", domain=first + last),
        axis=alt.Axis(format="%-d %b", values=mondays, grid=False, labelAlign="left"),
    )
    y = alt.Y(
        datum=0,
        type="quantitative",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(values=[0, 5_000, 10_000], grid=True, minExtent=50),
    )
    axes = alt.Chart().mark_point(opacity=0).encode(x=x, y=y)
    return alt.layer(axes, *parts).properties(width=WIDTH, height=top / EMAILS_A_PIXEL, title=title)


if __name__ == "__main__":
    main()
