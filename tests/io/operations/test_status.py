"""What `sendplan status` tells of the work of dispatchers."""

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.operations.status import status
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.problems.tiny import World, at

NOON = at(0, "12:00")
Run = Callable[..., Result]


def world() -> World:
    """Make a Monday at noon on which most has left, some is late, and some has gone wrong."""
    made = World().sequence(waits=(0,), name="Autumn").sequence(2, name="Spring", status="paused")
    made.mailbox(5, email="ann@example.com").mailbox(6, email="ben@example.com", status="paused")
    made.enroll(*range(1, 12))
    emails = [
        ("sent", -3, "09:00", {}),
        ("sent", 0, "09:00", {}),
        ("sent", 0, "09:00", {"mailbox_id": 6}),
        ("claimed", 0, "09:00", {}),
        ("sending", 0, "09:00", {}),
        ("uncertain", 0, "09:00", {}),
        # Overdue, late, due for a minute, and tomorrow's.
        ("pending", 0, "11:44", {}),
        ("pending", 0, "11:58", {}),
        ("pending", 0, "11:59", {}),
        ("pending", 1, "09:00", {}),
        ("pending", 0, "09:00", {"plan_run_id": None}),
    ]
    for key, (state, day, clock, more) in enumerate(emails, start=1):
        made.email(key, 11, state, day, clock, id=key, **more)
    return made


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, world().frames(), NOON)
        connection.execute(text("UPDATE mailboxes SET paused_reason = '535 [x]' WHERE id = 6"))
        connection.execute(text("TRUNCATE change_requests; DELETE FROM plan_runs WHERE id <> 1"))
    yield engine
    engine.dispose()


@pytest.fixture
def shown(engine: Engine, module_database_url: str) -> Run:
    def invoke(*arguments: str) -> Result:
        environment = {"SENDPLAN_DATABASE_URL": module_database_url, "COLUMNS": "80"}
        words = ["status", "--as-of", NOON.isoformat(), *arguments]
        result = CliRunner(env=environment).invoke(main, words)
        assert result.exit_code == 0, result.output
        return result

    return invoke


def test_late_is_after_a_minute_and_overdue_after_the_grace(engine: Engine) -> None:
    found = status(engine, NOON)
    assert (found.due, found.late, found.overdue) == (3, 2, 1)
    assert found.next_at == at(1, "09:00")


def test_what_is_in_flight_uncertain_and_sent_today_is_counted(engine: Engine) -> None:
    found = status(engine, NOON)
    # Friday's email does not count for today.
    assert (found.in_flight, found.uncertain, found.sent_today) == (2, 1, 2)
    by_mailbox = {
        row["email"]: (row["sent_today"], row["used_today"], row["in_flight"], row["planned_today"])
        for row in found.mailboxes
    }
    # What is in flight or uncertain uses up the day as well.
    assert by_mailbox == {"ann@example.com": (1, 4, 2, 3), "ben@example.com": (1, 1, 0, 0)}


def test_what_is_paused_is_told_with_its_reason(engine: Engine) -> None:
    assert status(engine, NOON).paused == [("Spring", None), ("ben@example.com", "535 [x]")]


def test_a_person_reads_it_on_eighty_columns(shown: Run, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE plan_runs SET as_of = now(), method = 'greedy', status = 'optimal',"
                " emails = 4, late_follow_ups = 0;"
                "INSERT INTO mailboxes (email, daily_capacity)"
                " SELECT 'mailbox-of-a-customer-' || g || '@outreach.example', 100000"
                " FROM generate_series(1, 200) AS g"
            )
        )
    told = shown().stdout
    assert "Due now: 3, 2 of them late (1 overdue, to be planned again);" in told
    assert "Sent today: 2; in flight: 2." in told
    assert "Uncertain: 1; `sendplan uncertain` lists them." in told
    assert "All 202 today: 2 sent, 3 to go, capacity 20,000,020." in told
    # What sendplan paused itself comes first; brackets are no markup.
    assert told.index("ben@example.com: 535 [x]\n") < told.index("Spring: by command\n")
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    # One line each, and the first dozen of the mailboxes.
    assert sum(line.startswith(("ann@", "ben@", "mailbox-of-")) for line in lines) == 12 + 1
    assert len(lines) < 40


def test_json_has_all_of_it(shown: Run) -> None:
    printed = json.loads(shown("--json").stdout)
    keys = ("due", "late", "overdue", "in_flight", "uncertain", "sent_today")
    assert [printed[key] for key in keys] == [3, 2, 1, 2, 1, 2]
    assert {row["email"]: row["paused_reason"] for row in printed["mailboxes"]} == {
        "ann@example.com": None,
        "ben@example.com": "535 [x]",
    }
