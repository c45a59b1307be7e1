"""The report: its figures beside the same counted otherwise, and the page that shows them."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

import sendplan
from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.errors import SendplanError
from sendplan.io.report import charts, writing
from sendplan.io.report.charts import daily_chart, load_chart, load_level
from sendplan.io.report.data import Night, ReportData, read_data
from sendplan.io.report.drawing import drawn
from sendplan.io.report.figures import Figures, figures, names
from sendplan.io.report.page import page
from sendplan.planner.plan.stored_slots import stored_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.synthetic import instances as synthetic
from sendplan.tests.worlds.databases.frames import clear_tables, dump, put_frames
from sendplan.tests.worlds.databases.hostile_names import HOSTILE, MAILBOX, NOON, eventful
from sendplan.tests.worlds.problems.tiny import World, day


class Outline(HTMLParser):
    """What a page is built of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.ids: list[str] = []
        self.policy = ""
        self.scripts: list[str] = []
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._tag = tag
        self.attributes += [(tag, name, value) for name, value in attrs]
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            self.scripts.append(data)


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    fill(engine, eventful())
    yield engine
    engine.dispose()


def fill(engine: Engine, world: World) -> None:
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, world.frames(), NOON)
        connection.execute(text("TRUNCATE change_requests"))


@pytest.fixture(scope="module")
def found(engine: Engine) -> Figures:
    return figures(read_data(engine, NOON))


@pytest.fixture(scope="module")
def html(found: Figures) -> str:
    return page(found)


def test_the_headline_is_what_the_rows_say(found: Figures) -> None:
    head = found.headline
    # Rows 11 to 15, of enrollments 1 to 4; sent are Friday's three, and that of enrollment 7.
    assert (head["emails"], head["contacts"], head["sent"], head["in_hand"]) == (5, 4, 4, 0)
    # The last slot is on Wednesday; with endless room 4 would begin today and end on Tuesday.
    assert (head["finish_day"], head["earliest_finish_day"]) == (day(2), day(1))
    # Of 1 to 6 each. That of 3 slips by a day. Those of 5 and 6 are left out, which counts as late:
    # with Wednesday the last day they stand at Thursday like their first emails, and do not slip.
    assert (head["follow_ups"], head["late_follow_ups"], head["slip_days"]) == (6, 3, 1)
    # Lateness: 1 of 3, 1 + 1 of 4; of 5 and 6, whose ideal days are Monday and Tuesday, 3 + 2 each.
    assert head["cost"] == 13 + 20 * 1
    # 5 and 6 lack both emails, 9 its only one, for want of a mailbox.
    assert (head["unplaced"], head["blocked"]) == (5, 1)


def test_reasons_tell_what_no_plan_has_seen_from_what_has_lost_its_slot(engine: Engine) -> None:
    account = read_data(engine, NOON)
    reasons = figures(account).unplaced.set_index("reason")["emails"].to_dict()
    assert reasons == {"not_planned": 4, "no_active_mailbox": 1}
    # On Tuesday evening the four slots of Monday and Tuesday are over, and Wednesday's behind one.
    tomorrow = figures(read_data(engine, NOON.replace(day=NOON.day + 1, hour=18)))
    assert tomorrow.unplaced.set_index("reason")["emails"].to_dict() == {
        "outdated": 5,
        "not_planned": 4,
        "no_active_mailbox": 1,
    }


def test_each_mailbox_day_is_compared_with_its_capacity(found: Figures) -> None:
    load = {
        (row.mailbox_id, row.send_day.date()): (row.emails, row.capacity)
        for row in found.load.itertuples()
    }
    # The paused mailbox may not send; the other may send two a day until the plan's last day.
    assert load == {(5, day(0)): (2, 2), (5, day(1)): (2, 2), (5, day(2)): (1, 2)}
    assert load_level(found.load).tolist() == ["full", "full", "half or more"]


def test_a_ramp_and_what_has_left_today_count() -> None:
    # Two on Sunday and two more each day: four on Monday, of which two have left this morning.
    ramp = {"ramp_start": 2, "ramp_increment": 2, "ramp_from": day(-1)}
    world = World(NOON).sequence(waits=(0,)).mailbox(5, 100, **ramp).enroll(1, 2, 3, 4, 5)
    for enrollment in (1, 2):
        world.email(enrollment, 11, "sent", 0)
    world.stored(world.plan())
    found = figures(account_of(world.problem(), sent=2))
    assert found.load[["emails", "capacity"]].to_numpy().tolist() == [[4, 4], [1, 6]]
    assert found.headline["sent"] == 2


def account_of(problem: Problem, sent: int = 0) -> ReportData:
    """Give the account that the tables would give, without tables; some have left today."""
    parameters = Parameters()
    counts = pd.DataFrame(
        {"sequence_id": 1, "position": 1, "send_day": pd.to_datetime([day(0)]), "emails": sent}
    )
    return ReportData(
        problem=problem,
        parameters=parameters,
        plan=stored_plan(problem, parameters),
        sent=counts,
        sent_by_mailbox=pd.DataFrame({"mailbox_id": [5], "emails": [sent]}),
        contacts=pd.DataFrame({"sequence_id": [1], "progress": ["not_started"], "contacts": [1]}),
        in_hand=0,
        queued_changes=0,
        night=None,
    )


def test_days_show_what_left_beside_what_is_planned(found: Figures) -> None:
    rows = {
        ((row.send_day.date()), row.position): (row.sent, row.planned)
        for row in found.daily.itertuples()
    }
    assert rows == {
        (day(-3), 1): (4, 0),
        (day(0), 2): (0, 2),
        (day(1), 1): (0, 1),
        (day(1), 2): (0, 1),
        (day(2), 2): (0, 1),
    }


def test_contacts_are_counted_where_they_stand(found: Figures) -> None:
    one, two = found.sequences.to_dict("records")
    states = ("not_started", "under_way", "completed", "stopped", "failed")
    assert [one[state] for state in states] == [3, 3, 0, 0, 0]
    # 8 has stopped, 10 is suppressed everywhere.
    assert [two[state] for state in states] == [1, 0, 1, 2, 0]
    assert (one["finish_day"].date(), one["earliest_finish_day"].date()) == (day(2), day(1))
    assert pd.isna(two["finish_day"])


def test_delays_are_those_of_planned_emails(found: Figures) -> None:
    # Punctual are 1 and 2; a day behind are 3, and both emails of 4, whose follow-up waits for the
    # first one and so does not slip.
    assert found.delays["lateness"].tolist() == [2, 3, 0, 0, 0, 0, 0, 0]
    assert found.delays["slip"].tolist() == [3, 1, 0, 0, 0, 0, 0, 0]


def test_a_reference_plan_is_counted_like_by_hand() -> None:
    """Over all of a larger plan, each figure is counted from ``plan.sends`` in another way."""
    frames = synthetic.reference(400, 8, seed=3)
    now = synthetic.REFERENCE_NOW
    tables = {name: frame for name, frame in frames.items() if name != "contacts"}
    plan = sendplan.solve(sendplan.Problem.from_frames(**tables, now=now), "greedy")
    slots = plan.sends.drop(columns="position").assign(status="pending", plan_run_id=1)
    rows = [frames["scheduled_emails"], slots] if "scheduled_emails" in frames else [slots]
    tables["scheduled_emails"] = pd.concat(rows, ignore_index=True)
    found = figures(account_of(sendplan.Problem.from_frames(**tables, now=now)))
    sends = list(plan.sends.itertuples(index=False))
    assert found.headline["emails"] == len(sends) > 1000
    assert found.headline["cost"] == plan.cost
    by_day = Counter((row.mailbox_id, row.send_day) for row in sends)
    load = {(row.mailbox_id, row.send_day): row for row in found.load.itertuples()}
    assert by_day == {key: row.emails for key, row in load.items() if row.emails}
    capacity = frames["mailboxes"].set_index("id")["daily_capacity"]
    assert all(row.emails <= row.capacity <= capacity[key] for (key, _), row in load.items())
    planned = Counter((row.send_day, row.position) for row in sends)
    assert planned == {
        (row.send_day, row.position): row.planned for row in found.daily.itertuples() if row.planned
    }


def test_names_that_are_shared_or_missing_are_told_apart() -> None:
    frame = pd.DataFrame({"id": [1, 2, 3, 4], "name": ["A", "A", None, "\x00B\uffff"]})
    assert names(frame, "name", "sequence").tolist() == [
        "A (sequence 1)",
        "A (sequence 2)",
        "sequence 3",
        "�B�",
    ]


@pytest.mark.slow
def test_a_text_counts_all_mailboxes_where_the_chart_shows_the_busiest(
    found: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = found.load.assign(mailbox_id=6)
    both = replace(found, load=pd.concat([found.load, more], ignore_index=True))
    monkeypatch.setattr(charts, "MOST_MAILBOXES", 1)
    told = page(both)
    assert "2 mailboxes with 10 emails on 6 mailbox-days, 4 of them full." in told
    assert "The 1 busiest are drawn, 1 others are not." in told


@pytest.mark.slow
def test_nothing_is_said_to_have_been_sent_before_anything_has(found: Figures) -> None:
    assert "Planned: 5; sent since 27 Feb 2026: 4." in page(found)
    fresh = page(replace(found, daily=found.daily[found.daily["sent"] == 0]))
    assert "Planned: 5." in fresh
    assert "sent since" not in fresh


def test_what_needs_attention_is_said_with_the_command(found: Figures, html: str) -> None:
    assert "4 emails not planned yet: <code>sendplan plan</code> gives slots." in html
    assert "not yet in the plan" not in html
    queued = page(replace(found, queued_changes=1))
    assert "1 change not yet in the plan: <code>sendplan recalc</code> updates the plan." in queued


def test_the_gap_is_told_of_the_night_that_proved_it(found: Figures, html: str) -> None:
    assert "Gap" not in html
    night = Night(7, NOON.replace(hour=2), 40.0, 30.0, "gap", 2)
    told = page(replace(found, night=night))
    # What was planned cost 40, and no plan less than 30: a quarter of it at most could be saved.
    assert "≤ 25.00%" in told
    assert "planned by run 7, as of Mon 2 Mar 2026 02:00 UTC, changed by 2 runs since" in told
    assert "As planned on Mon 2 Mar 2026 02:00 UTC, with a cost of 40: Within 25.0%" in told


def test_nothing_from_the_database_becomes_markup(html: str) -> None:
    outline = Outline(html)
    # One script, the page's own; no image; no handler on anything.
    assert outline.tags["script"] == 1
    assert outline.tags["img"] == 0
    assert [name for _, name, _ in outline.attributes if name.startswith("on")] == []
    assert HOSTILE not in html
    assert MAILBOX not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_page_asks_the_network_for_nothing(html: str) -> None:
    outline = Outline(html)
    assert outline.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in outline.policy
    names = {"src", "href", "xlink:href", "action", "srcset", "data", "poster"}
    links = {value for _, name, value in outline.attributes if name in names}
    assert all(link and (link == "data:," or link.startswith("#")) for link in links)
    assert "url(" not in html
    assert "@import" not in html
    # A style within a tag would be refused by the policy, and show nothing.
    assert "style" not in {name for _, name, _ in outline.attributes}


def test_a_screen_reader_finds_its_way(html: str) -> None:
    outline = Outline(html)
    assert [outline.tags[tag] for tag in ("header", "nav", "main", "footer", "h1")] == [1] * 5
    assert outline.tags["caption"] == outline.tags["table"] > 5
    assert len(outline.ids) == len(set(outline.ids))
    named = {value for _, name, value in outline.attributes if name == "aria-labelledby"}
    assert named <= set(outline.ids)
    # Every picture says what it shows, and has its figures beside it.
    labels = [
        value for tag, name, value in outline.attributes if (tag, name) == ("svg", "aria-label")
    ]
    assert len(labels) == outline.tags["svg"]
    assert all(label and len(label) > 20 for label in labels)
    assert outline.tags["details"] >= 5
    assert 'lang="en"' in html


def test_a_drawing_is_shapes_and_texts_only(found: Figures) -> None:
    drawing = drawn(load_chart(found, 320), "Load <of> all")
    tags = set(re.findall(r"<(\w+)", drawing))
    assert tags <= {"svg", "g", "path", "line", "rect", "text"}
    assert 'aria-label="Load &lt;of&gt; all"' in drawing
    assert "var(--load-5)" in drawing
    # Two full days side by side are one mark, and the third day another.
    assert sum(mark.count("M") for mark in marks(drawing, "load")) == 2
    # What the library says of roles, fonts and opacity is left to the page.
    attributes = set(re.findall(r" ([\w-]+)=", drawing.replace('"Load <of> all"', "")))
    assert not attributes & {"class", "style", "font-family", "opacity", "aria-hidden", "id"}


def test_marks_of_one_colour_are_one_shape(found: Figures) -> None:
    # First steps on Friday and Tuesday, second ones on Monday, Tuesday and Wednesday.
    shapes = marks(drawn(daily_chart(found, 320), "Emails a day"), "step")
    assert sorted(shape.count("M") for shape in shapes) == [2, 3]


def marks(drawing: str, palette: str) -> list[str]:
    return re.findall(rf'd="([^"]*)" fill="var\(--{palette}-', drawing)


def test_the_command_writes_the_page_and_changes_nothing(
    engine: Engine, module_database_url: str, tmp_path: Path
) -> None:
    out = tmp_path / "plan.html"
    out.write_text("before")
    with engine.connect() as connection:
        before = dump(connection)
    arguments = ["--database-url", module_database_url, "report", "--out", str(out), "--json"]
    result = CliRunner().invoke(main, [*arguments, "--as-of", NOON.isoformat()])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert (printed["emails"], printed["finish_day"]) == (5, day(2).isoformat())
    assert printed["bytes"] == out.stat().st_size
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.html"]
    with engine.connect() as connection:
        assert dump(connection) == before


def test_a_file_that_cannot_be_written_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(SendplanError, match=r"there is no folder .*; create it first"):
        writing.write_report(engine, tmp_path / "none" / "plan.html", NOON)


def test_without_the_library_one_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writing, "DRAWS", ("altair", "no_such_library"))
    result = CliRunner().invoke(main, ["report", "--out", str(tmp_path / "plan.html")])
    assert result.exit_code == 1
    assert 'pip install "sendplan[report]"' in result.stderr
    assert "no_such_library" in result.stderr


def test_an_empty_database_makes_a_page_that_says_so(empty_engine: Engine) -> None:
    html = page(figures(read_data(empty_engine, NOON)))
    assert "<h1>Nothing is planned</h1>" in html
    assert "No email is pending." in html
    assert Outline(html).tags["svg"] == 0


@pytest.fixture
def empty_engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()
