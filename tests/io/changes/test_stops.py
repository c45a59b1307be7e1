"""Contacts who replied, bounced or unsubscribed: one by one, and whole lists of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pandas.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, text

import sendplan
from sendplan.cli import main
from sendplan.io.changes.apply import apply
from sendplan.io.database.engine import connect
from sendplan.io.errors import DataError
from sendplan.planner.changes import StopContacts
from sendplan.tests.worlds.databases.frames import clear_tables, dump, put_frames, read_frames
from sendplan.tests.worlds.problems.tiny import World

Run = Callable[..., Result]


def world() -> World:
    """Make three contacts in two sequences: 31 is in both, 33 has completed the first."""
    made = (
        World()
        .sequence(name="Autumn")
        .sequence(2, name="Spring")
        .mailbox(5, sequences=(1, 2), email="ann@example.com")
    )
    made.enroll(1, contact_id=31).enroll(2, contact_id=31, sequence=2).enroll(3, contact_id=32)
    made.enroll(4, contact_id=33, status="completed", completed_at=made.now)
    made.enroll(5, contact_id=33, sequence=2)
    for enrollment, step in ((1, 11), (1, 12), (2, 21), (2, 22), (3, 11), (3, 12), (5, 21)):
        # On the first two days and, of the second sequence, on the two after them.
        number = step % 10 - 1 + 2 * (step > 20)
        made.email(enrollment, step, "pending", number, id=10 * enrollment + step % 10)
    return made


NOW = world().now
AS_OF = NOW.isoformat()


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, world().frames(), NOW)
        connection.execute(text("DELETE FROM change_requests"))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def run(engine: Engine, module_database_url: str) -> Run:
    def invoke(*arguments: str, code: int = 0) -> Result:
        environment = {"SENDPLAN_DATABASE_URL": module_database_url}
        result = CliRunner(env=environment).invoke(main, ["contact", "stop", *arguments])
        assert result.exit_code == code, result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(query))]


def threads(connection: Connection) -> list[tuple[Any, ...]]:
    return rows(connection, "SELECT id, status, stop_reason FROM enrollments ORDER BY id")


def suppressed(connection: Connection) -> list[tuple[Any, ...]]:
    return rows(
        connection,
        "SELECT id, suppressed_reason FROM contacts WHERE suppressed_at IS NOT NULL ORDER BY id",
    )


def cancelled(connection: Connection) -> list[int]:
    query = "SELECT id FROM scheduled_emails WHERE status = 'cancelled' ORDER BY id"
    return list(connection.scalars(text(query)))


def queued(connection: Connection) -> list[tuple[Any, ...]]:
    query = "SELECT DISTINCT kind, sequence_id FROM change_requests ORDER BY kind, sequence_id"
    return rows(connection, query)


# ---------------------------------------------------------------- one contact


def test_who_replied_gets_nothing_more_and_is_not_suppressed(
    run: Run, connection: Connection
) -> None:
    told = run("CONTACT31@example.com", "--reason", "replied").stdout
    assert told == (
        "Contact contact31@example.com (31): stopped, replied (2 enrollments stopped, 4 emails"
        " cancelled, 0 contacts suppressed). Run `sendplan recalc` to update the plan.\n"
    )
    assert threads(connection)[:3] == [
        (1, "stopped", "replied"),
        (2, "stopped", "replied"),
        (3, "active", None),
    ]
    assert cancelled(connection) == [11, 12, 21, 22]
    assert suppressed(connection) == []
    # Who gets nothing more leaves room to others.
    assert queued(connection) == [("enrollment", 1), ("enrollment", 2)]


def test_a_reply_may_count_for_one_sequence_only(run: Run, connection: Connection) -> None:
    run("contact31@example.com", "--reason", "replied", "--sequence", "Spring")
    assert threads(connection)[:2] == [(1, "active", None), (2, "stopped", "replied")]
    assert cancelled(connection) == [21, 22]


@pytest.mark.parametrize("reason", ["bounced", "unsubscribed"])
def test_who_bounced_or_unsubscribed_is_suppressed_too(
    run: Run, connection: Connection, reason: str
) -> None:
    run("contact33@example.com", "--reason", reason)
    # What had completed before stays completed.
    assert threads(connection)[3:] == [(4, "completed", None), (5, "stopped", reason)]
    assert suppressed(connection) == [(33, reason)]
    assert cancelled(connection) == [51]


def test_stopping_who_is_stopped_changes_nothing(run: Run, connection: Connection) -> None:
    run("contact31@example.com", "--reason", "unsubscribed")
    before = dump(connection)
    connection.rollback()
    told = run("contact31@example.com", "--reason", "bounced").stdout
    assert told == (
        "Contact contact31@example.com (31): stopped, bounced already. Nothing was changed.\n"
    )
    assert dump(connection) == before


def test_only_pending_emails_are_cancelled(run: Run, connection: Connection) -> None:
    with connection.begin():
        connection.execute(text("UPDATE scheduled_emails SET status = 'sending' WHERE id = 11;"))
        connection.execute(text("UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 21;"))
    run("contact31@example.com", "--reason", "replied")
    assert cancelled(connection) == [12, 22]


def test_sql_leaves_the_problem_that_with_gives(connection: Connection) -> None:
    """Its cancelled emails apart: whoever is stopped has none that a plan could touch."""

    def problem() -> sendplan.Problem:
        return sendplan.Problem.from_frames(**read_frames(connection), now=NOW)

    for change in (StopContacts([31], "replied", [2]), StopContacts([33, 32], "bounced")):
        expected = problem().with_(change)
        assert apply(connection, change, NOW).changed
        assert_frame_equal(problem().enrollments, expected.enrollments)
        slots = sendplan.solve(expected).sends
        assert_frame_equal(sendplan.solve(problem()).sends, slots)


def test_a_contact_that_does_not_exist(connection: Connection) -> None:
    with pytest.raises(DataError, match=r"contact 99: does not exist – there is 31, 32, 33"):
        apply(connection, StopContacts([31, 99], "replied"), NOW)


def test_a_preview_changes_nothing_and_counts_what_loses_its_slot(
    run: Run, connection: Connection
) -> None:
    before = dump(connection)
    connection.rollback()
    arguments = ["contact31@example.com", "--reason", "replied", "--preview", "--as-of", AS_OF]
    found = json.loads(run(*arguments, "--json").stdout)
    # Two threads of two emails.
    assert found["removed"] == 4
    assert "4 that lose their slot" in run(*arguments).stdout
    assert dump(connection) == before


# ---------------------------------------------------------------- lists

LISTED = """\
email,Reason,sequence
contact31@example.com,replied,Spring
contact31@example.com,Replied,Autumn
Contact32@EXAMPLE.com,unsubscribed,
contact33@example.com,,
"""


@pytest.fixture
def stop_list(tmp_path: Path, run: Run) -> Callable[..., Result]:
    def stop(content: str, *arguments: str, code: int = 0) -> Result:
        path = tmp_path / "stops.csv"
        path.write_text(content)
        return run("--file", str(path), *arguments, code=code)

    return stop


def test_a_list_stops_everybody_for_a_reason_of_their_own(
    stop_list: Callable[..., Result], connection: Connection
) -> None:
    printed = json.loads(stop_list(LISTED, "--reason", "bounced", "--json").stdout)
    assert (printed["changed"], printed["kind"]) == (True, "contact stop")
    assert [change["contact_ids"] for change in printed["changes"]] == [[31], [31], [32], [33]]
    assert threads(connection) == [
        (1, "stopped", "replied"),
        (2, "stopped", "replied"),
        (3, "stopped", "unsubscribed"),
        (4, "completed", None),
        (5, "stopped", "bounced"),
    ]
    assert suppressed(connection) == [(32, "unsubscribed"), (33, "bounced")]
    assert cancelled(connection) == [11, 12, 21, 22, 31, 32, 51]


def test_a_list_of_addresses_takes_reason_and_sequence_from_the_options(
    stop_list: Callable[..., Result], connection: Connection
) -> None:
    listed = "email\ncontact31@example.com\ncontact32@example.com\n"
    stop_list(listed, "--reason", "replied", "--sequence", "Autumn")
    assert cancelled(connection) == [11, 12, 31, 32]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1: the file is empty"),
        ("contact31@example.com\n", "line 1: the header is missing"),
        ("email,reason\nnobody,replied\n", "line 2, column email: no @ in the address: 'nobody'"),
        (
            "email,reason\ncontact99@example.com,replied\n",
            "line 2, column email: no contact has the address 'contact99@example.com' –"
            " correct it, or remove the row",
        ),
        (
            "email,reason\ncontact31@example.com,\n",
            "line 2, column reason: no reason – fill in replied, bounced, unsubscribed, or give",
        ),
        (
            "email,reason\ncontact31@example.com,bouncd\n",
            "line 2, column reason: unknown reason 'bouncd' – did you mean 'bounced'?",
        ),
        (
            "email,reason,sequence\ncontact31@example.com,replied,Autum\n",
            "line 2, column sequence: no sequence is called 'Autum' – did you mean 'Autumn'?",
        ),
        (
            "email,reason,sequence\ncontact31@example.com,bounced,Autumn\n",
            "line 2, column sequence: 'Autumn', but bounced contacts are stopped in every sequence",
        ),
        (
            "email,reason\ncontact31@example.com,replied\nContact31@example.com,bounced\n",
            "line 3, column email: 'Contact31@example.com' is already in line 2",
        ),
        (
            "email,reson\ncontact31@example.com,replied\n",
            "line 1: 'reson' is not a column of a stop list – did you mean 'reason'?",
        ),
        (
            "email,reason,phone\ncontact31@example.com,replied,1\n",
            "line 1: 'phone' is not a column of a stop list – keep to email, reason, sequence",
        ),
        (
            "email,reason\ncontact31@example.com,replied,x\n",
            "line 2: 3 fields, but the header has 2",
        ),
    ],
    ids=(
        "empty",
        "headerless",
        "bad address",
        "unknown address",
        "no reason",
        "unknown reason",
        "unknown sequence",
        "too much said",
        "twice",
        "misspelt column",
        "another column",
        "too many fields",
    ),
)
def test_a_bad_list_stops_nobody(
    stop_list: Callable[..., Result], connection: Connection, content: str, told: str
) -> None:
    before = dump(connection)
    connection.rollback()
    # A good row first: nobody is stopped, not even those whose rows are fine.
    header, _, rest = content.partition("\n")
    if rest and "," in header:
        rest += f"contact33@example.com,replied{',' * (header.count(',') - 1)}\n"
    result = stop_list(header + ("\n" if content else "") + rest, code=3)
    assert told in result.stderr
    assert dump(connection) == before


def test_all_problems_of_a_list_are_told_at_once(stop_list: Callable[..., Result]) -> None:
    content = "email,sequence\na@x.example,Winter\nb@x.example,Winter\n"
    told = stop_list(content, "--reason", "replied", code=3).stderr
    # A sequence that does not exist is told of once.
    assert "3 problems" in told
    for line in ("line 2, column email", "line 3, column email", "line 2, column sequence"):
        assert line in told


@pytest.mark.slow
def test_ten_thousand_contacts_are_stopped(
    stop_list: Callable[..., Result], connection: Connection
) -> None:
    with connection.begin():
        connection.execute(
            text(
                "INSERT INTO contacts (id, email)"
                " SELECT g, 'p' || g || '@x.example' FROM generate_series(1001, 11000) AS g;"
                "INSERT INTO enrollments (id, contact_id, sequence_id)"
                " SELECT g, g, 1 FROM generate_series(1001, 11000) AS g;"
                "INSERT INTO scheduled_emails (enrollment_id, step_id)"
                " SELECT g, 11 FROM generate_series(1001, 11000) AS g"
            )
        )
    content = "email\n" + "".join(f"p{key}@x.example\n" for key in range(1001, 11001))
    told = stop_list(content, "--reason", "unsubscribed").stdout
    assert told.startswith("10,000 contacts: stopped, unsubscribed (10,000 enrollments stopped")
    assert len(cancelled(connection)) == len(suppressed(connection)) == 10_000
