"""The page: figures, charts and tables in one HTML file that needs no network."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from sendplan.io.documents.wording import day_text, time_text
from sendplan.io.report import charts
from sendplan.io.report.figures import NOT_PLANNED, OUTDATED, STANDINGS, Figures
from sendplan.io.report.sections import sections
from sendplan.planner.plan.optimality_gap import relative_gap, verdict
from sendplan.planner.schema.wording import counted

PALETTES = (
    ("load", len(charts.LEVELS)),
    ("step", len(charts.STEPS)),
    ("standing", len(STANDINGS)),
)


@dataclass(frozen=True)
class Tile:
    """One headline figure.

    Parameters
    ----------
    label, figure, detail : str
        Its name, value and context.
    """

    label: str
    figure: str
    detail: str = ""


@dataclass(frozen=True)
class Head:
    """The head of the page.

    Parameters
    ----------
    title, lead, as_of : str
        When the plan ends, what it holds, and as of when.
    notices : list of Markup
        What needs attention.
    tiles : list of Tile
        Headline figures.
    verdict : str
        How good the plan is.
    slip_weight : str
        Cost of a day of slip.
    """

    title: str
    lead: str
    as_of: str
    notices: list[Markup]
    tiles: list[Tile]
    verdict: str
    slip_weight: str


def page(figures: Figures) -> str:
    """Write the page.

    Parameters
    ----------
    figures : Figures
        Its figures.

    Returns
    -------
    str
        HTML. Texts from the database are escaped; the page's policy refuses all scripts and styles
        but its own.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sendplan.io.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    style = environment.get_template("page.css").render(palettes=PALETTES)
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html").render(
        head=_head(figures),
        sections=sections(figures),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _head(figures: Figures) -> Head:
    head, today = figures.headline, figures.as_of.date()
    finish, earliest = head["finish_day"], head["earliest_finish_day"]
    if finish is None:
        title = "Nothing is planned"
        lead = (
            f"{counted(head['unplaced'], 'pending email')}, none with a slot."
            if head["unplaced"]
            else "No email is pending."
        )
    else:
        title = f"Done on {finish:%A}, {finish.day} {finish:%B %Y}"
        within = counted((finish - today).days, "day")
        lead = (
            f"{counted(head['emails'], 'email')} to {counted(head['contacts'], 'contact')},"
            f" {'today' if finish <= today else f'within {within}'}."
        )
        behind = (finish - earliest).days
        lead += (
            f" With unlimited capacity it would end on {day_text(earliest)},"
            f" {counted(behind, 'day')} sooner."
            if behind
            else " No plan ends sooner, whatever the capacity."
        )
    return Head(
        title=title,
        lead=lead,
        as_of=_as_of(figures),
        notices=list(_notices(figures)),
        tiles=list(_tiles(figures)),
        verdict=_verdict(figures),
        slip_weight=f"{figures.slip_weight:g}",
    )


def _as_of(figures: Figures) -> str:
    text = f"As of {time_text(figures.as_of)}"
    night = figures.night
    if night is None:
        return f"{text}; nothing has been planned yet"
    text += f"; planned by run {night.id}, as of {time_text(night.as_of)}"
    return text + (
        f", changed by {counted(night.later_runs, 'run')} since" * bool(night.later_runs)
    )


def _notices(figures: Figures) -> Iterator[Markup]:
    by_reason = figures.unplaced.groupby("reason")["emails"].sum()
    for number, noun, what, command, does in (
        (figures.queued_changes, "change", "not yet in the plan", "recalc", "updates the plan"),
        (
            int(by_reason.get(OUTDATED, 0)),
            "email",
            "with a slot that is no longer valid",
            "plan",
            "gives new slots",
        ),
        (
            int(by_reason.get(NOT_PLANNED, 0)),
            "email",
            "not planned yet",
            "plan",
            "gives slots",
        ),
    ):
        if number:
            yield Markup("{} {}: <code>sendplan {}</code> {}.").format(
                counted(number, noun), what, command, does
            )


def _tiles(figures: Figures) -> Iterator[Tile]:
    head, night = figures.headline, figures.night
    in_hand = f", {head['in_hand']:,} in hand" if head["in_hand"] else ""
    yield Tile("Emails planned", f"{head['emails']:,}", f"{head['sent']:,} sent so far{in_hand}")
    running = int((figures.sequences["emails"] > 0).sum())
    yield Tile("Contacts", f"{head['contacts']:,}", f"in {counted(running, 'sequence')}")
    late, follow_ups = head["late_follow_ups"], head["follow_ups"]
    detail = "no follow-ups"
    if follow_ups:
        detail = f"of {follow_ups:,}, all on time"
    if late:
        share = late / follow_ups
        detail = (
            f"{share:.1%} of {counted(follow_ups, 'follow-up')},"
            f" by {counted(head['slip_days'], 'day')} in all"
        )
    yield Tile("Late follow-ups", f"{late:,}", detail)
    yield Tile("Cost", f"{head['cost']:,.0f}", "lateness and slip, weighted")
    if night is not None and night.cost is not None and night.lower_bound is not None:
        gap = relative_gap(night.cost, night.lower_bound)
        figure = "0%" if gap <= 0 else f"≤ {max(gap, 0.0001):.2%}"
        detail = f"to the best possible, as planned on {day_text(night.as_of)}"
        yield Tile("Gap", figure, detail)
    blocked = f"{head['blocked']:,} blocked" if head["blocked"] else ""
    yield Tile("Without a slot", f"{head['unplaced']:,}", blocked or "nothing is blocked")


def _verdict(figures: Figures) -> str:
    night = figures.night
    if night is None or night.cost is None or figures.headline["finish_day"] is None:
        return ""
    text = verdict(night.cost, night.lower_bound, night.stop_reason)
    if night.cost == figures.headline["cost"]:
        return text
    return f"As planned on {time_text(night.as_of)}, with a cost of {night.cost:,.0f}: {text}"
