"""Changes in the tables: what SQL makes of a change, and what the commands make of their words.

Both are compared with the problem that `with_` gives, so that a preview shows what would be.
"""

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pandas.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, text

import sendplan
from sendplan.cli import main
from sendplan.io.campaigns.lookups import find_contact, find_mailbox, find_sequence, find_step
from sendplan.io.changes.apply import apply
from sendplan.io.changes.commands import COMMANDS
from sendplan.io.database.engine import connect
from sendplan.io.errors import DataError
from sendplan.io.snapshot.load import load, read_snapshot
from sendplan.planner.changes import (
    AddMailbox,
    AddStep,
    Change,
    LinkMailbox,
    MoveStep,
    RemoveMailbox,
    RemoveStep,
    ScaleCapacities,
    SetMailbox,
    SetSequence,
    SetStep,
    SuppressContact,
    UnlinkMailbox,
)
from sendplan.planner.schema.contracts import CONTRACTS
from sendplan.tests.worlds.databases.frames import clear_tables, dump, put_frames, read_frames
from sendplan.tests.worlds.problems.tiny import World

Run = Callable[..., Result]


def world() -> World:
    """Make two sequences, four mailboxes and four contacts, 31 to 33 with something to come."""
    made = World().sequence(waits=(0, 1, 2), name="Autumn", wait_unit="calendar")
    made.sequence(2, waits=(0, 3), name="Spring", wait_unit="sending", holidays="DE")
    made.mailbox(5, email="ann@example.com", user_id=1)
    ramp = {"ramp_start": 1, "ramp_increment": 2, "ramp_from": date(2026, 3, 1)}
    made.mailbox(6, sequences=(1, 2), email="Ben@example.com", user_id=1, **ramp)
    made.rows["mailboxes"][-1] |= {
        "ramp_start": 1,
        "ramp_increment": 2,
        "ramp_from": date(2026, 3, 1),
    }
    made.mailbox(7, sequences=(2,), email="cleo@example.com", status="removed", user_id=1)
    made.mailbox(8, sequences=(), email="dan@example.com", user_id=2)
    made.enroll(1, contact_id=31).enroll(2, contact_id=31, sequence=2).enroll(3, contact_id=32)
    made.enroll(4, contact_id=33, status="completed", completed_at=made.now)
    return made.email(1, 11, "sent", -3, id=1).email(2, 21, "pending", 0, id=2, mailbox_id=6)


NOW = world().now
AS_OF = NOW.isoformat()


class Stage:
    """A database that holds the world, put up again only where something has changed it."""

    def __init__(self, url: str) -> None:
        self.engine = connect(url)
        self.changed = True

    def put_up(self) -> Engine:
        with self.engine.begin() as connection:
            if self.changed:
                clear_tables(connection)
                put_frames(connection, world().frames(), NOW)
                connection.execute(text('UPDATE contacts SET attributes = \'{"name": "Ada"}\''))
            for table in ("steps", "mailboxes"):
                # Rolling back gives no id back that was drawn.
                counter = f"setval(pg_get_serial_sequence('{table}', 'id'), max(id))"
                connection.execute(text(f"SELECT {counter} FROM {table}"))
        self.changed = False
        return self.engine


@pytest.fixture(scope="module")
def stage(module_database_url: str) -> Iterator[Stage]:
    stage = Stage(module_database_url)
    yield stage
    stage.engine.dispose()


@pytest.fixture
def engine(stage: Stage) -> Engine:
    """The world, for a test that may change it."""
    engine = stage.put_up()
    stage.changed = True
    return engine


@pytest.fixture
def kept_engine(stage: Stage) -> Engine:
    """The world, for a test that sees to it that nothing changes."""
    return stage.put_up()


@pytest.fixture
def connection(kept_engine: Engine) -> Iterator[Connection]:
    """The world in a transaction that is rolled back."""
    with kept_engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.fixture
def run(module_database_url: str) -> Run:
    """Run a command on the world."""

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url}).invoke(
            main, list(arguments)
        )
        assert result.exit_code == code, result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def stored(connection: Connection) -> sendplan.Problem:
    return read_snapshot(connection, NOW).problem(NOW)


def same(one: sendplan.Problem, other: sendplan.Problem) -> None:
    for name in CONTRACTS:
        assert_frame_equal(getattr(one, name), getattr(other, name))


def value(connection: Connection, query: str) -> Any:
    return connection.scalar(text(query))


def whole(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return dump(connection)


# ---------------------------------------------------------------- both faces of a change

# Whether it changes anything when it is made once more.
TWICE: list[tuple[Change, bool]] = [
    (RemoveMailbox(5), False),
    (SetMailbox(5, status="paused"), False),
    (SetMailbox(5, daily_capacity=0, min_gap_seconds=90), False),
    (SetMailbox(5, ramp_start=3, ramp_increment=0, ramp_from="2026-03-05"), False),
    (SetMailbox(6, ramp_start=None, ramp_increment=None, ramp_from=None), False),
    (LinkMailbox(2, 5), False),
    (UnlinkMailbox(1, 6), False),
    (MoveStep(11, 3), False),
    (MoveStep(13, 1), False),
    (SetStep(12, wait_days=9), False),
    (SetSequence(1, start_time="08:30", end_time="24:00", timezone="Asia/Tokyo"), False),
    (SetSequence(1, send_days=[7, 1], holidays="US", wait_unit="sending"), False),
    (SetSequence(2, holidays=None, priority=0.1, max_new_per_day=3), False),
    (SetSequence(2, status="paused", max_new_per_day=None), False),
    (SetSequence(2, unsubscribe_url="https://x.example/{{ token }}"), False),
    (SuppressContact(31, "asked"), False),
    (SuppressContact(33), False),
    (AddStep(1, 4), True),
    (AddStep(1, 4, 1), True),
    (AddStep(2, 0, 2), True),
]
ONCE: list[Change] = [
    AddMailbox(4, [2, 1], "eve@example.com", 60, ramp_start=1, ramp_from="2026-03-02"),
    AddMailbox(4, (), "eve@example.com"),
    AddMailbox(4, (), "CLEO@example.com", ramp_start=1, ramp_from="2026-03-02"),
    AddMailbox(4, [1], "cleo@example.com"),
    RemoveStep(11),
    RemoveStep(13),
]


@pytest.mark.parametrize(
    ("change", "twice"), [*TWICE, *((change, None) for change in ONCE)], ids=repr
)
def test_sql_leaves_the_problem_that_with_gives(
    connection: Connection, change: Change, twice: bool | None
) -> None:
    expected = stored(connection).with_(change)
    assert apply(connection, change, NOW).changed
    same(stored(connection), expected)
    if twice is not None:
        before = dump(connection)
        assert apply(connection, change, NOW + timedelta(hours=1)).changed == twice
        assert (dump(connection) == before) != twice


def test_several_changes_are_made_in_order(connection: Connection) -> None:
    added = AddMailbox(1, [1], "eve@example.com")
    changes = [AddStep(1, 2, 2), MoveStep(11, 3), RemoveStep(12), added]
    expected = stored(connection).with_(*changes)
    for change in changes:
        apply(connection, change, NOW)
    same(stored(connection), expected)
    # What the database holds back until the end is sound as well.
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


def test_reopening_makes_the_completed_active_again(connection: Connection) -> None:
    """Loading leaves out who has completed, so the rows are read by plain SQL."""

    def problem() -> sendplan.Problem:
        return sendplan.Problem.from_frames(**read_frames(connection), now=NOW)

    change = AddStep(1, 4, reopen=True)
    expected = problem().with_(change)
    assert apply(connection, change).ids["reopened"] == 1
    same(problem(), expected)


def test_without_a_moment_the_clock_of_the_database_counts(connection: Connection) -> None:
    apply(connection, RemoveStep(11))
    apply(connection, SuppressContact(31, "asked"))
    for query in (
        "SELECT removed_at = now() FROM steps WHERE id = 11",
        "SELECT suppressed_at = now() FROM contacts WHERE id = 31",
        "SELECT suppressed_reason = 'asked' FROM contacts WHERE id = 31",
    ):
        assert value(connection, query) is True


def test_what_only_the_tables_have_is_stored(connection: Connection) -> None:
    apply(connection, AddMailbox(1, [1], "e@EXAMPLE.com", user_id=1, transport="env:E"))
    apply(connection, SetMailbox(5, transport="file:secret"))
    apply(connection, AddStep(1, 1, subject="Hi {{ name }}", content="A"))
    apply(connection, SetStep(12, subject="Again", content="B"))
    row = "SELECT concat_ws(' ', email, user_id, transport) FROM mailboxes WHERE id = "
    assert value(connection, f"{row} 9") == "e@example.com 1 env:E"
    assert value(connection, f"{row} 5") == "ann@example.com 1 file:secret"
    texts = "SELECT concat_ws(' ', subject, content) FROM steps WHERE id = "
    assert value(connection, f"{texts} 23") == "Hi {{ name }} A"
    assert value(connection, f"{texts} 12") == "Again B"


def test_a_mailbox_brought_back_keeps_its_user_and_transport(connection: Connection) -> None:
    connection.execute(text("UPDATE mailboxes SET transport = 'env:C' WHERE id = 7"))
    apply(connection, AddMailbox(4, [2], "cleo@example.com"))
    row = "SELECT concat_ws(' ', status, daily_capacity, user_id, transport) FROM mailboxes"
    assert value(connection, f"{row} WHERE id = 7") == "active 4 1 env:C"


# ---------------------------------------------------------------- what SQL refuses


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (RemoveMailbox(55), "mailbox 55: does not exist – did you mean 5?"),
        (SetMailbox(7, status="active"), "mailbox 7: was removed"),
        (SetMailbox(6, ramp_from=None), "mailbox 6: has half a ramp"),
        (SetMailbox(5, daily_capacity=100_001), "100,001 is out of range – at most 100,000"),
        (SetMailbox(5, transport="smtp://a:b@c"), "no reference to a secret (the value is not"),
        (AddMailbox(1, [3], "e@example.com"), "sequence 3: does not exist"),
        (AddMailbox(1, [1], "BEN@example.com"), "BEN@example.com is mailbox 6 – change mailbox 6"),
        (AddMailbox(1, [1]), "new mailbox, email: no email address"),
        (AddMailbox(1, [1], "eve"), "new mailbox, email: no @ in the address: 'eve'"),
        (AddMailbox(1, [1], "e@example.com", user_id=2), "belong to several users (1, 2)"),
        (LinkMailbox(1, 8), "sequence 'Autumn' (1): its mailboxes would belong to several users"),
        (LinkMailbox(1, 7), "mailbox 7: was removed"),
        (LinkMailbox(3, 5), "sequence 3: does not exist"),
        (UnlinkMailbox(1, 99), "mailbox 99: does not exist"),
        (ScaleCapacities(2), "ScaleCapacities is for studies only"),
        (AddStep(3, 1), "sequence 3: does not exist"),
        (AddStep(1, 1, 5), "position: 5 is out of range – the steps allow 1 to 4"),
        (AddStep(1, 1, subject="Hi {{ nam }}"), "unknown variable 'nam' – did you mean 'name'?"),
        (AddStep(1, 1, content=" "), "content: the content is empty"),
        (SetStep(12, subject="a\nb"), "subject: a line feed"),
        (SetStep(12, content="{% if x"), "content, template line 1: syntax error"),
        (MoveStep(11, 4), "step 11, position: 4 is out of range – the steps allow 1 to 3"),
        (RemoveStep(99), "step 99: does not exist"),
        (SetSequence(1, end_time="09:00"), "sequence 1, end_time: must be after start_time"),
        (
            SetSequence(1, unsubscribe_url="http://x.example/{{ token }}"),
            "no https: or mailto: URL",
        ),
        (SetSequence(1, unsubscribe_url="mailto:{{ nam }}@x.example"), "unknown variable 'nam'"),
        (SuppressContact(99), "contact 99: does not exist – there is 31, 32, 33"),
    ],
    ids=repr,
)
def test_changes_that_do_not_fit(connection: Connection, change: Change, told: str) -> None:
    before = dump(connection)
    with pytest.raises(DataError) as caught:
        apply(connection, change, NOW)
    assert told in str(caught.value)
    if not isinstance(change, LinkMailbox | AddMailbox):  # whose links are looked at once made
        assert dump(connection) == before


def test_a_removed_step_is_not_changed(connection: Connection) -> None:
    apply(connection, RemoveStep(12))
    for change in (RemoveStep(12), MoveStep(12, 1), SetStep(12, wait_days=1)):
        with pytest.raises(DataError, match="step 12: was removed already"):
            apply(connection, change)


def test_a_sequence_has_at_most_62_steps(connection: Connection) -> None:
    steps = "INSERT INTO steps (sequence_id, position) SELECT 1, generate_series(4, 62)"
    connection.execute(text(steps))
    with pytest.raises(DataError, match="sequence 1: has 62 steps"):
        apply(connection, AddStep(1, 1))


def test_a_text_prints_only_what_every_contact_has(connection: Connection) -> None:
    """One contact of three lacks a name; whoever is suppressed needs none."""
    connection.execute(text("UPDATE contacts SET attributes = '{}' WHERE id = 32"))
    with pytest.raises(DataError, match=r"1 contact has no 'name' \(contact32@"):
        apply(connection, AddStep(1, 1, subject="Hi {{ name }}"))
    apply(connection, AddStep(1, 1, subject="Hi {{ name|default('you') }}, {{ email }}"))
    apply(connection, SuppressContact(32))
    apply(connection, AddStep(1, 1, subject="Hi {{ name }}"))


def test_before_anybody_is_enrolled_a_text_may_use_any_variable(connection: Connection) -> None:
    connection.execute(text("DELETE FROM scheduled_emails; DELETE FROM enrollments"))
    apply(connection, AddStep(1, 1, subject="Hi {{ anything }}"))
    with pytest.raises(DataError, match="syntax error"):
        apply(connection, AddStep(1, 1, subject="Hi {{ anything"))


# ---------------------------------------------------------------- what the commands mean

SAID: list[tuple[str, list[Change]]] = [
    ("mailbox remove ANN@example.com", [RemoveMailbox(5)]),
    ("mailbox pause 5", [SetMailbox(5, status="paused")]),
    ("mailbox resume ben@example.com", [SetMailbox(6, status="active")]),
    (
        "mailbox set 5 --capacity 0 --min-gap 90",
        [SetMailbox(5, daily_capacity=0, min_gap_seconds=90)],
    ),
    (
        "mailbox set 5 --ramp-start 1 --ramp-increment none --ramp-from 2026-03-02",
        [SetMailbox(5, ramp_start=1, ramp_increment=None, ramp_from="2026-03-02")],
    ),
    (
        "mailbox set 6 --no-ramp",
        [SetMailbox(6, ramp_start=None, ramp_increment=None, ramp_from=None)],
    ),
    ("mailbox add eve@example.com --capacity 4", [AddMailbox(4, [], "eve@example.com")]),
    (
        "mailbox add eve@example.com --capacity 4 --sequence Spring --sequence 1 --min-gap 5"
        " --ramp-start 1 --ramp-increment 2 --ramp-from 2026-03-02 --user 1 --transport env:E",
        [AddMailbox(4, [1, 2], "eve@example.com", 5, 1, 2, "2026-03-02")],
    ),
    (
        "mailbox add cleo@example.com --capacity 4 --sequence Autumn",
        [AddMailbox(4, [1], "cleo@example.com")],
    ),
    ("step add --sequence Autumn --wait 4 --subject A --content B", [AddStep(1, 4)]),
    ("step add --sequence 1 --wait 4 --position 2 --subject A --content B", [AddStep(1, 4, 2)]),
    ("step remove 12", [RemoveStep(12)]),
    ("step remove --sequence Spring --position 2", [RemoveStep(22)]),
    ("step move 11 --to 3", [MoveStep(11, 3)]),
    ("step move --sequence Autumn --position 3 --to 1", [MoveStep(13, 1)]),
    ("step set 12 --wait 9", [SetStep(12, wait_days=9)]),
    ("step set --sequence 2 --position 1 --wait 9 --subject A", [SetStep(21, wait_days=9)]),
    ("sequence pause Autumn", [SetSequence(1, status="paused")]),
    ("sequence resume 2", [SetSequence(2, status="active")]),
    (
        "sequence set Autumn --start 8:30 --end 18:00:30 --timezone Asia/Tokyo",
        [SetSequence(1, start_time="08:30", end_time="18:00:30", timezone="Asia/Tokyo")],
    ),
    (
        "sequence set Spring --holidays none --wait-unit calendar --send-days sun,monday",
        [SetSequence(2, holidays=None, wait_unit="calendar", send_days=[1, 7])],
    ),
    (
        "sequence set 1 --send-days 1,3 --holidays US --priority 2.5 --max-new-per-day 3",
        [SetSequence(1, send_days=[1, 3], holidays="US", priority=2.5, max_new_per_day=3)],
    ),
    (
        "sequence set Spring --link ann@example.com --unlink 6 --max-new-per-day none",
        [SetSequence(2, max_new_per_day=None), LinkMailbox(2, 5), UnlinkMailbox(2, 6)],
    ),
    (
        "sequence set Spring --unsubscribe-url mailto:out@x.example",
        [SetSequence(2, unsubscribe_url="mailto:out@x.example")],
    ),
    ("contact suppress CONTACT31@example.com --reason none", [SuppressContact(31)]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "changes"), SAID, ids=[words for words, _ in SAID])
def test_a_command_makes_the_changes_that_it_says(
    run: Run, engine: Engine, words: str, changes: list[Change]
) -> None:
    before = load(engine, NOW).problem(NOW)
    printed = json.loads(run(*words.split(), "--as-of", AS_OF, "--json").stdout)
    same(load(engine, NOW).problem(NOW), before.with_(*changes))
    assert printed["changed"] == (" resume " not in words)
    assert printed["kind"] == " ".join(words.split()[:2])
    assert [change["kind"] for change in printed["changes"]] == [
        type(change).__name__ for change in changes
    ]


def test_every_command_is_tried_and_explained_with_an_example() -> None:
    tried = {" ".join(words.split()[:2]) for words, _ in SAID}
    # Who is stopped is not loaded any more; see test_stops.
    assert tried | {"contact stop"} == {command.name for command in COMMANDS}
    for command in COMMANDS:
        shown = CliRunner().invoke(main, [*command.name.split(), "--help"]).stdout
        assert f"sendplan {command.name} {command.examples[0]}" in shown
        for option in ("--preview", "--json", "--as-of", "--database-url"):
            assert option in shown


def test_one_line_tells_what_was_done(run: Run, engine: Engine) -> None:
    assert run("mailbox", "pause", "5").stdout == (
        "Mailbox ann@example.com (5): status paused. Run `sendplan recalc` to update the plan.\n"
    )
    assert run("mailbox", "pause", "5").stdout == (
        "Mailbox ann@example.com (5): status paused already. Nothing was changed.\n"
    )
    both = run("sequence", "set", "Autumn", "--link", "5", "--holidays", "none", "--priority", "2")
    assert both.stdout.startswith(
        "Sequence 'Autumn' (1): holidays none, priority 2.0; mailbox ann@example.com (5): linked"
        " to sequence 'Autumn' (1) already. Run `sendplan recalc`"
    )
    added = ["step", "add", "--sequence", "Autumn", "--wait", "1", "--subject", "A", "--content"]
    assert (
        "step 23 added at position 4, 1 enrollment reopened" in run(*added, "B", "--reopen").stdout
    )


def test_none_is_null_only_where_a_setting_may_be_null(run: Run, engine: Engine) -> None:
    run("contact", "suppress", "contact31@example.com", "--reason", "none")
    run("sequence", "set", "Spring", "--holidays", "none")
    with engine.connect() as connection:
        told = value(connection, "SELECT suppressed_reason FROM contacts WHERE id = 31")
        assert told == "none"
        assert value(connection, "SELECT holidays FROM sequences WHERE id = 2") is None


def test_an_unsubscribe_url_is_set_and_taken_away(run: Run, engine: Engine) -> None:
    url = "https://x.example/{{ token }}?{{ name }}"
    with engine.connect() as connection:
        queued = value(connection, "SELECT count(*) FROM change_requests")
    for words, stored_url in ((url, url), ("none", None)):
        told = run("sequence", "set", "Spring", "--unsubscribe-url", words).stdout
        assert told.startswith(f"Sequence 'Spring' (2): unsubscribe_url {words}. ")
        with engine.connect() as connection:
            query = "SELECT unsubscribe_url FROM sequences WHERE id = 2"
            assert value(connection, query) == stored_url
            # No plan depends on it.
            assert value(connection, "SELECT count(*) FROM change_requests") == queued


def test_an_unsubscribe_url_needs_a_value_of_every_contact(connection: Connection) -> None:
    change = SetSequence(1, unsubscribe_url="https://x.example/{{ name }}")
    connection.execute(text("UPDATE contacts SET attributes = '{}' WHERE id = 32"))
    with pytest.raises(DataError, match="unsubscribe_url: 1 contact has no 'name'"):
        apply(connection, change, NOW)
    connection.execute(text('UPDATE contacts SET attributes = \'{"name": "Bob"}\''))
    assert apply(connection, change, NOW).changed


def test_the_ids_are_told_in_json(run: Run, engine: Engine) -> None:
    added = run("mailbox", "add", "eve@example.com", "--capacity", "1", "--sequence", "1", "--json")
    assert json.loads(added.stdout) == {
        "changed": True,
        "kind": "mailbox add",
        "mailbox_id": 9,
        "sequence_ids": [1],
        "changes": [{"kind": "AddMailbox", "changed": True, "mailbox_id": 9, "sequence_ids": [1]}],
    }
    both = run("sequence", "set", "2", "--link", "5", "--unlink", "7", "--json")
    printed = json.loads(both.stdout)
    assert {key: printed[key] for key in ("changed", "kind", "sequence_id")} == {
        "changed": True,
        "kind": "sequence set",
        "sequence_id": 2,
    }
    assert "mailbox_id" not in printed


def test_texts_come_from_files(run: Run, engine: Engine, tmp_path: Path) -> None:
    subject, content = tmp_path / "subject.txt", tmp_path / "content.txt"
    subject.write_text("Hi {{ name }}\r\n")
    content.write_text("Dear {{ name }},\n\nhello\n")
    files = ["--subject-file", str(subject), "--content-file", str(content)]
    run("step", "add", "--sequence", "Autumn", "--wait", "1", *files)
    run("step", "set", "12", *files)
    for step in (12, 23):
        row = f"SELECT concat(subject, '|', content) FROM steps WHERE id = {step}"
        with engine.connect() as connection:
            told = value(connection, row)
        assert told == "Hi {{ name }}|Dear {{ name }},\n\nhello\n"


def test_all_changes_of_a_command_are_made_or_none(run: Run, kept_engine: Engine) -> None:
    before = whole(kept_engine)
    run("sequence", "set", "Autumn", "--start", "10:00", "--link", "dan@example.com", code=3)
    assert whole(kept_engine) == before


@pytest.mark.slow
def test_a_preview_changes_nothing(run: Run, kept_engine: Engine) -> None:
    before = whole(kept_engine)
    step = ["step", "add", "--sequence", "Autumn", "--wait", "1", "--preview", "--as-of", AS_OF]
    assert isinstance(json.loads(run(*step, "--json").stdout), dict)
    assert run(*step).stdout
    assert whole(kept_engine) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("mailbox resume cleo@example.com", "mailbox 7: was removed"),
        ("mailbox add ben@example.com --capacity 1", "ben@example.com is mailbox 6"),
        ("step move 11 --to 9", "9 is out of range"),
        ("sequence set Autumn --start 18:00", "must be after start_time"),
    ],
)
def test_a_preview_refuses_what_the_tables_would(
    run: Run, kept_engine: Engine, words: str, told: str
) -> None:
    for more in ([], ["--preview"]):
        result = run(*words.split(), *more, "--as-of", AS_OF, code=3)
        assert (told in result.stderr, result.stdout) == (True, "")


def test_the_database_may_be_named_behind_the_group(
    engine: Engine, module_database_url: str
) -> None:
    url = ["--database-url", module_database_url]
    for arguments in (["mailbox", *url, "pause", "5"], [*url, "mailbox", "pause", "5"]):
        assert CliRunner().invoke(main, arguments).exit_code == 0


# ---------------------------------------------------------------- what the commands refuse

STEP = "step add --sequence Autumn --wait 1 --subject A --content B"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("mailbox add eve@example.com", "--capacity"),
        ("mailbox add eve@example.com --capacity -1", ": must be at least 0"),
        (
            "mailbox add eve@example.com --capacity many",
            "'many' cannot be read; write a whole numb",
        ),
        ("mailbox set 5", "No change is given"),
        ("mailbox set 5 --ramp-start x", "write a whole number, or none"),
        ("mailbox set 5 --ramp-from 2026-13-01", ": must hold dates – write YYYY-MM-DD"),
        ("step add --sequence Autumn --subject A --content B", "--wait"),
        ("step add --sequence Autumn --wait 1 --subject A", "Give --content or --content-file"),
        (f"{STEP} --content-file x.txt", "Give --content or --content-file, not both"),
        (f"{STEP} --position 0", ": must be at least 1"),
        ("step remove", "Name the step by its id, or by --sequence and --position"),
        ("step remove 12 --sequence Autumn", "Name the step by its id"),
        ("step move --position 2 --to 1", "Name the step by its id"),
        ("step set 12", "No change is given"),
        ("step set 12 --wait 4000", ": must be at most 3650"),
        ("sequence set Autumn", "No change is given"),
        ("sequence set Autumn --start 9h", "'9h': no time of day here – write it as HH:MM or HH"),
        ("sequence set Autumn --end 25:00", "'25:00': no time of day here"),
        ("mailbox set 5 --capacity 99999999999999999999", "must hold whole numbers"),
        ("sequence set Autumn --timezone Berlin", "did you mean 'Europe/Berlin'?"),
        ("sequence set Autumn --timezone none", "unknown time zone 'none'"),
        ("sequence set Autumn --send-days mon,xyz", "write days such as mon,tue or 1,2"),
        ("sequence set Autumn --send-days 8", "write days such as mon,tue or 1,2"),
        ("sequence set Autumn --holidays Germany", "did you mean 'DE'?"),
        ("sequence set Autumn --wait-unit days", "use one of calendar, sending"),
        ("sequence set Autumn --priority 0", ": must be finite and above 0"),
        ("contact stop --reason replied", "Give the address of a contact, or a list"),
        ("contact stop a@x.example --file b.csv", "Give the address of a contact"),
        ("contact stop a@x.example", "Give --reason, one of replied, bounced, unsubscribed"),
        ("contact stop a@x.example --reason died", "--reason died is unknown; use one of replied"),
        (
            "contact stop a@x.example --reason bounced --sequence Autumn",
            "bounced is stopped in every sequence; leave --sequence out",
        ),
        ("mailbox pause 5 --as-of 2026-03-02", "no time zone"),
    ],
)
def test_wrong_usage_exits_with_2_and_needs_no_database(words: str, told: str) -> None:
    url = {"SENDPLAN_DATABASE_URL": "postgresql://localhost:1/none"}
    result = CliRunner(env=url).invoke(main, words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("mailbox pause anne@example.com", "did you mean 'ann@example.com'?"),
        ("mailbox pause 99", "no mailbox is called '99'"),
        ("mailbox resume cleo@example.com", "mailbox 7: was removed"),
        ("mailbox set 5 --ramp-start 1", "has half a ramp"),
        ("mailbox set 5 --capacity 9999999999", "out of range – at most 100,000"),
        ("mailbox add eve --capacity 1", "no @ in the address"),
        ("mailbox add eve@example.com --capacity 1 --sequence Autum", "did you mean 'Autumn'?"),
        ("step remove 99", "there is no step '99'"),
        ("step remove Autumn", "there is no step 'Autumn'"),
        (
            "step remove --sequence Autumn --position 4",
            "no step at position '4' – it has 1: (id 11)",
        ),
        (f"{STEP} --position 9", "9 is out of range"),
        ("step set 12 --content-file nowhere.txt", "cannot be read"),
        ("sequence set Autumn --start 18:00", "must be after start_time"),
        ("sequence pause Winter", "use one of 'Autumn', 'Spring'"),
        ("contact suppress contact3@example.com", "did you mean 'contact3"),
        ("contact suppress x@y.z", "no contact has the address 'x@y.z'"),
        ("contact stop contact3@example.com --reason replied", "did you mean 'contact3"),
        (
            "contact stop contact31@example.com --reason replied --sequence Autum",
            "did you mean 'Autumn'?",
        ),
    ],
)
def test_bad_data_exits_with_3_and_changes_nothing(
    run: Run, kept_engine: Engine, words: str, told: str
) -> None:
    before = whole(kept_engine)
    result = run(*words.split(), code=3)
    assert result.stdout == ""
    assert told in result.stderr
    assert whole(kept_engine) == before


# ---------------------------------------------------------------- names


def test_names_that_mean_one_row_or_none(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO sequences (id, name, start_time, end_time) VALUES"
            " (3, 'Spring', '9:00', '17:00'), (4, '1', '9:00', '17:00');"
            "INSERT INTO mailboxes (id, email, daily_capacity)"
            " VALUES (10, 'ANN@example.com', 1)"
        )
    )
    assert find_sequence(connection, "Autumn") == find_sequence(connection, "1") == 1
    assert find_sequence(connection, "4") == 4
    with pytest.raises(DataError, match=r"several are called 'Spring' \(ids 2, 3\)"):
        find_sequence(connection, "Spring")
    assert find_mailbox(connection, "BEN@EXAMPLE.COM") == 6
    with pytest.raises(DataError, match=r"several are called 'ann@example.com' \(ids 5, 10\)"):
        find_mailbox(connection, "ann@example.com")
    assert find_step(connection, "12") == 12
    assert find_step(connection, "2", "Autumn") == find_step(connection, "2", "1") == 12
    assert find_contact(connection, " Contact32@example.com") == 32
    clear_tables(connection)
    with pytest.raises(DataError, match="load a campaign first"):
        find_sequence(connection, "Autumn")
