"""`sendplan check`: every kind of violation, planted by plain SQL, is found and named."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.planning.check import check
from sendplan.io.planning.nightly import run_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.frames import TABLES, clear_tables, dump

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
"""A Monday, three hours before the windows open."""

# Ada and Bob get the two steps of sequence 1 from mailbox 31; Carl, after his first email of
# Friday, the second step of sequence 2 from mailbox 33; Ada, too, is in sequence 2, which starts
# one new contact a day.
WORLD = """
INSERT INTO sequences (id, start_time, end_time, max_new_per_day) VALUES
    (1, '09:00', '17:00', NULL), (2, '09:00', '17:00', 1);
INSERT INTO steps (id, sequence_id, position, wait_days) VALUES
    (11, 1, 1, 0), (12, 1, 2, 2), (13, 2, 1, 0), (14, 2, 2, 3);
INSERT INTO mailboxes (id, email, daily_capacity, min_gap_seconds) VALUES
    (31, 'a@example.com', 2, 3600), (32, 'b@example.com', 5, 0), (33, 'c@example.com', 5, 0);
INSERT INTO sequence_mailboxes VALUES (1, 31), (2, 33);
INSERT INTO contacts (id, email) VALUES
    (21, 'ada@example.com'), (22, 'bob@example.com'), (23, 'carl@example.com');
INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, current_step_id, mailbox_id)
    VALUES (41, 21, 1, '2026-03-02 05:00+00', NULL, NULL),
           (42, 22, 1, '2026-03-02 05:01+00', NULL, NULL),
           (43, 23, 2, '2026-02-27 05:00+00', 13, 33),
           (44, 21, 2, '2026-03-02 05:00+00', NULL, NULL);
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
    VALUES (43, 13, 33, '2026-02-27 09:00+00', 'sent');
"""

PLANNED = [
    # Monday for the first emails, but Ada gets her second one on Tuesday; then two days' wait …
    (41, 11, 31, "Mon 02 09:00"),
    (41, 12, 31, "Wed 04 09:00"),
    (42, 11, 31, "Mon 02 13:00"),
    (42, 12, 31, "Wed 04 13:00"),
    # … and three, which for Carl end today.
    (43, 14, 33, "Mon 02 09:00"),
    (44, 13, 33, "Tue 03 09:00"),
    (44, 14, 33, "Fri 06 09:00"),
]


@pytest.fixture(scope="module")
def planned(module_database_url: str) -> Iterator[Engine]:
    """An engine on a database with a plan in it, and a copy of all that in another schema."""
    engine = connect(module_database_url)
    run_sql(engine, WORLD)
    run_plan(engine, NOW, Parameters())
    run_sql(engine, "CREATE SCHEMA saved")
    for table in TABLES:
        run_sql(engine, f"CREATE TABLE saved.{table} AS TABLE {table}")
    yield engine
    engine.dispose()


@pytest.fixture
def engine(planned: Engine) -> Engine:
    """The plan as it was, whatever the test before did to it."""
    with planned.begin() as connection:
        clear_tables(connection)
        for table in TABLES:
            connection.execute(text(f"INSERT INTO {table} SELECT * FROM saved.{table}"))
        connection.execute(text("DELETE FROM change_requests"))
    return planned


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def found(url: str) -> tuple[int, dict[str, Any]]:
    """Give the exit code and the printed object of ``check --json``."""
    result = CliRunner().invoke(main, ["check", "--json", "--database-url", url])
    return result.exit_code, json.loads(result.stdout)


def test_a_fresh_plan_is_clean(engine: Engine, module_database_url: str) -> None:
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT enrollment_id, step_id, mailbox_id, to_char(send_at, 'Dy DD HH24:MI')"
                " FROM scheduled_emails WHERE status = 'pending' ORDER BY enrollment_id, step_id"
            )
        )
        assert [tuple(row) for row in rows] == PLANNED
    code, printed = found(module_database_url)
    assert code == 0
    assert datetime.fromisoformat(printed.pop("as_of")) == NOW
    nothing = {"count": 0, "violations": {}, "set_aside": 0, "set_aside_values": []}
    assert printed == {"emails": 7} | nothing


def move(enrollment: int, step: int, moment: str, mailbox: int | None = None) -> str:
    sender = "" if mailbox is None else f", mailbox_id = {mailbox}"
    return f"""
        UPDATE scheduled_emails SET send_at = '{moment}+00', send_day = '{moment[:10]}' {sender}
        WHERE enrollment_id = {enrollment} AND step_id = {step};
    """


def without_slot(enrollment: int, step: int, reason: str) -> str:
    return f"""
        UPDATE scheduled_emails SET plan_run_id = NULL, mailbox_id = NULL, send_day = NULL,
            send_at = NULL, unplaced_reason = {reason}
        WHERE enrollment_id = {enrollment} AND step_id = {step};
    """


PLANTED = {
    "over capacity": (
        "UPDATE mailboxes SET daily_capacity = 1 WHERE id = 31",
        {"capacity": [(42, 11), (42, 12)]},
    ),
    "over capacity by an email sent otherwise": (
        """
        INSERT INTO contacts (id, email) VALUES (24, 'dora@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (45, 24, 1, '2026-03-02 05:00+00', 'completed');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (45, 11, 31, '2026-03-02 05:10+00', 'sent');
        """,
        {"capacity": [(42, 11)]},
    ),
    "over capacity by the ramp": (
        # One email on Monday, two on Wednesday.
        """
        UPDATE mailboxes SET ramp_start = 1, ramp_increment = 1, ramp_from = '2026-03-02'
        WHERE id = 31
        """,
        {"capacity": [(42, 11)]},
    ),
    "too close": (move(42, 11, "2026-03-02 09:59:59"), {"gap": [(42, 11)]}),
    "before its predecessor": (
        "UPDATE steps SET wait_days = 0 WHERE id = 12;" + move(41, 12, "2026-03-02 08:00"),
        # It leaves before the window opens, too, and as the third email of a day that has room for
        # two and of which Ada has had hers.
        {
            "order": [(41, 12)],
            "window": [(41, 12)],
            "contact": [(41, 12)],
            "capacity": [(42, 11)],
        },
    ),
    "an earlier step without a slot": (
        "DELETE FROM scheduled_emails WHERE enrollment_id = 42 AND step_id = 11",
        {"order": [(42, 12)], "left_out": [(42, 11)]},
    ),
    "the end of a chain missing": (
        "DELETE FROM scheduled_emails WHERE enrollment_id = 42 AND step_id = 12",
        {"left_out": [(42, 12)]},
    ),
    "neither a slot nor a reason": (
        without_slot(43, 14, "NULL"),
        {"left_out": [(43, 14)]},
    ),
    "left out though it has room": (
        without_slot(42, 12, "'no_room'"),
        {"left_out": [(42, 12)]},
    ),
    "said to be blocked though it has room": (
        without_slot(43, 14, "'mailbox_paused'"),
        {"left_out": [(43, 14)]},
    ),
    "before its wait is over": (move(42, 12, "2026-03-03 13:00"), {"ready": [(42, 12)]}),
    "before its wait since the actual send is over": (
        """
        UPDATE scheduled_emails SET sent_at = '2026-02-28 09:00+00'
        WHERE enrollment_id = 43 AND step_id = 13
        """,
        {"ready": [(43, 14)]},
    ),
    "before it was enrolled": (
        "UPDATE enrollments SET enrolled_at = '2026-03-02 17:00+00' WHERE id = 42",
        {"ready": [(42, 11)]},
    ),
    "at the window's end": (move(43, 14, "2026-03-02 17:00"), {"window": [(43, 14)]}),
    "before the window": (move(43, 14, "2026-03-02 08:59:59"), {"window": [(43, 14)]}),
    "outside the contact's own window": (
        # Carl's nine o'clock is 14:00 UTC then.
        "UPDATE contacts SET timezone = 'America/New_York' WHERE id = 23",
        {"window": [(43, 14)]},
    ),
    "a day that is not the send_day": (
        "UPDATE scheduled_emails SET send_at = '2026-03-05 13:00+00'"
        " WHERE enrollment_id = 42 AND step_id = 12",
        {"window": [(42, 12)]},
    ),
    "at a weekend": (move(44, 14, "2026-03-07 09:00"), {"window": [(44, 14)]}),
    "on a weekday that was taken out": (
        "UPDATE sequences SET send_days = '{1,2}' WHERE id = 1",
        {"window": [(41, 12), (42, 12)]},
    ),
    "on a holiday": (
        # Good Friday.
        "UPDATE sequences SET holidays = 'DE' WHERE id = 2;" + move(44, 14, "2026-04-03 09:00"),
        {"window": [(44, 14)]},
    ),
    "not in whole seconds": (move(43, 14, "2026-03-02 09:00:00.5"), {"window": [(43, 14)]}),
    "in the past": (
        "UPDATE sequences SET start_time = '00:00' WHERE id = 2;"
        + move(43, 14, "2026-03-02 05:59:59"),
        {"past": [(43, 14)]},
    ),
    "an unlinked mailbox": (
        "DELETE FROM sequence_mailboxes WHERE mailbox_id = 31",
        {"pool": [(41, 11), (41, 12), (42, 11), (42, 12)]},
    ),
    "a paused mailbox": (
        "UPDATE mailboxes SET status = 'paused' WHERE id = 33",
        {"pool": [(43, 14), (44, 13), (44, 14)]},
    ),
    "a removed mailbox": (
        "UPDATE mailboxes SET status = 'removed' WHERE id = 33",
        {"pool": [(43, 14), (44, 13), (44, 14)]},
    ),
    "a thread with two senders": (
        "INSERT INTO sequence_mailboxes VALUES (1, 32);" + move(42, 12, "2026-03-04 13:00", 32),
        {"thread": [(42, 12)]},
    ),
    "a thread bound to another mailbox": (
        "INSERT INTO sequence_mailboxes VALUES (2, 32);" + move(43, 14, "2026-03-02 09:00", 32),
        {"thread": [(43, 14)]},
    ),
    "two emails to a contact on one day": (
        move(44, 13, "2026-03-02 10:00") + move(44, 14, "2026-03-05 09:00"),
        {"contact": [(44, 13)]},
    ),
    "an email on a day on which the contact had one": (
        """
        INSERT INTO sequences (id, start_time, end_time) VALUES (3, '09:00', '17:00');
        INSERT INTO steps (id, sequence_id, position) VALUES (15, 3, 1);
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (45, 22, 3, '2026-03-02 05:00+00', 'stopped');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (45, 15, 32, '2026-03-02 05:10+00', 'sent');
        """,
        {"contact": [(42, 11)]},
    ),
    "more new contacts than a day may have": (
        """
        INSERT INTO contacts (id, email) VALUES (24, 'dora@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (45, 24, 2, '2026-03-02 05:00+00');
        INSERT INTO scheduled_emails
            (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
            VALUES (45, 13, 33, '2026-03-03', '2026-03-03 13:00+00', 1);
        """,
        {"new": [(45, 13)], "left_out": [(45, 14)]},
    ),
    "a stopped enrollment": (
        "UPDATE enrollments SET status = 'stopped' WHERE id = 42",
        {"idle": [(42, 11), (42, 12)]},
    ),
    "a suppressed contact": (
        "UPDATE contacts SET suppressed_at = now() WHERE id = 21",
        {"idle": [(41, 11), (41, 12), (44, 13), (44, 14)]},
    ),
    "a paused sequence": (
        "UPDATE sequences SET status = 'paused' WHERE id = 1",
        {"idle": [(41, 11), (41, 12), (42, 11), (42, 12)]},
    ),
    "a step received already": (
        "UPDATE enrollments SET current_step_id = 14 WHERE id = 43",
        {"idle": [(43, 14)]},
    ),
    "a step inserted before the point reached": (
        """
        INSERT INTO steps (id, sequence_id, position) VALUES (15, 2, 3);
        UPDATE steps SET position = 4 - position WHERE sequence_id = 2;
        """,
        # Carl has had step 13, now the last one. Dora's follow-up goes before her first.
        {"idle": [(43, 14)], "order": [(44, 13), (44, 14)], "ready": [(44, 13)]},
    ),
    "behind an email that failed": (
        "UPDATE scheduled_emails SET status = 'failed' WHERE enrollment_id = 42 AND step_id = 11",
        # The step that failed was not received, and has no slot.
        {"idle": [(42, 12)], "order": [(42, 12)]},
    ),
    "behind an email whose fate is uncertain": (
        "UPDATE scheduled_emails SET status = 'uncertain'"
        " WHERE enrollment_id = 42 AND step_id = 11",
        {"idle": [(42, 12)]},
    ),
    "a removed step": (
        "UPDATE steps SET removed_at = now() WHERE id = 12",
        {"unknown": [(41, 12), (42, 12)]},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_violation_is_found_and_named(
    engine: Engine, module_database_url: str, kind: str
) -> None:
    statements, expected = PLANTED[kind]
    run_sql(engine, statements)
    code, printed = found(module_database_url)
    assert code == 1
    named = {
        rule: sorted({(row["enrollment_id"], row["step_id"]) for row in rows})
        for rule, rows in printed["violations"].items()
    }
    assert named == expected
    assert printed["count"] == sum(map(len, printed["violations"].values()))


def test_a_violation_is_told_with_its_slot(engine: Engine, module_database_url: str) -> None:
    run_sql(engine, move(43, 14, "2026-03-02 17:00"))
    _, printed = found(module_database_url)
    [violation] = printed["violations"]["window"]
    assert datetime.fromisoformat(violation.pop("send_at")) == datetime(2026, 3, 2, 17, tzinfo=UTC)
    assert violation.pop("detail")
    assert violation == {
        "enrollment_id": 43,
        "step_id": 14,
        "mailbox_id": 33,
        "send_day": "2026-03-02",
    }


def test_a_person_reads_what_is_wrong(engine: Engine, module_database_url: str) -> None:
    run_sql(engine, move(43, 14, "2026-03-02 17:00"))
    result = CliRunner().invoke(main, ["check", "--database-url", module_database_url])
    assert result.exit_code == 1
    assert "window" in result.stdout
    assert "2026-03-02 17:00" in result.stdout


def test_a_person_reads_what_is_left_out(engine: Engine, module_database_url: str) -> None:
    run_sql(engine, without_slot(43, 14, "NULL"))
    result = CliRunner().invoke(main, ["check", "--database-url", module_database_url])
    assert (result.exit_code, "neither a slot nor a reason" in result.stdout) == (1, True)


def test_checking_writes_nothing(engine: Engine, module_database_url: str) -> None:
    run_sql(engine, move(43, 14, "2026-03-02 17:00"))
    with engine.connect() as connection:
        before = dump(connection)
    found(module_database_url)
    with engine.connect() as connection:
        assert dump(connection) == before


@pytest.mark.parametrize("row", ["provisional", "cancelled"])
def test_rows_without_a_slot_are_no_violations(
    engine: Engine, module_database_url: str, row: str
) -> None:
    """A provisional row is no slot, whatever stands in it; nor is one that never goes."""
    change = {
        "provisional": "plan_run_id = NULL, send_at = '2026-03-01 03:00+00'",
        "cancelled": "status = 'cancelled', send_at = '2026-03-01 03:00+00'",
    }[row]
    run_sql(
        engine, f"UPDATE scheduled_emails SET {change} WHERE enrollment_id = 43 AND step_id = 14"
    )
    code, printed = found(module_database_url)
    assert (code, printed["emails"], printed["count"]) == (0, 6, 0)


def test_an_empty_database_has_nothing_to_check(engine: Engine, module_database_url: str) -> None:
    with engine.begin() as connection:
        clear_tables(connection)
    code, printed = found(module_database_url)
    assert (code, printed["emails"], printed["count"]) == (0, 0, 0)


def test_a_plan_stays_clean_while_it_is_worked_off(engine: Engine) -> None:
    """At noon three emails have left; what was planned this morning still keeps every rule."""
    run_sql(
        engine,
        """
        UPDATE scheduled_emails SET status = 'sent', sent_at = send_at + interval '1 second'
            WHERE send_at < '2026-03-02 12:00+00' AND status = 'pending';
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 31 WHERE id = 41;
        UPDATE enrollments SET current_step_id = 14, status = 'completed' WHERE id = 43;
        """,
    )
    findings = check(engine, NOW + timedelta(hours=6))
    assert (findings.emails, len(findings.violations)) == (5, 0)


def test_tenths_of_a_second_after_a_slot_are_no_violation(engine: Engine) -> None:
    """Bob's slot is an hour, the mailbox's distance, after Ada's, who was sent hers a bit late."""
    run_sql(
        engine,
        move(42, 11, "2026-03-02 10:00")
        + """
        UPDATE scheduled_emails SET status = 'sent', sent_at = send_at + interval '0.4 seconds'
            WHERE enrollment_id = 41 AND step_id = 11;
        UPDATE enrollments SET current_step_id = 11, mailbox_id = 31 WHERE id = 41;
        """,
    )
    assert check(engine, NOW + timedelta(hours=3, minutes=1)).violations.empty


def test_what_waits_for_a_recalculation_is_no_violation(engine: Engine) -> None:
    """Bob's first email is answered 451 too late for today; his second one keeps its slot."""
    run_sql(
        engine,
        """
        UPDATE scheduled_emails SET attempts = 1, retry_at = '2026-03-02 17:10+00',
            plan_run_id = NULL WHERE enrollment_id = 42 AND step_id = 11;
        """,
    )
    assert check(engine, NOW).violations["rule"].tolist() == ["order"]
    run_sql(engine, "INSERT INTO change_requests (kind, sequence_id) VALUES ('overdue', 1)")
    assert check(engine, NOW).violations.empty


def test_a_slot_is_in_the_past_as_of_the_run_that_gave_it(engine: Engine) -> None:
    """Ada's slots are of six o'clock; Dora's is of ten, and for half past nine."""
    run_sql(
        engine,
        """
        INSERT INTO mailboxes (id, email, daily_capacity) VALUES (34, 'd@example.com', 5);
        INSERT INTO sequences (id, start_time, end_time) VALUES (3, '09:00', '17:00');
        INSERT INTO steps (id, sequence_id, position) VALUES (15, 3, 1);
        INSERT INTO sequence_mailboxes VALUES (3, 34);
        INSERT INTO contacts (id, email) VALUES (24, 'dora@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
            VALUES (45, 24, 3, '2026-03-02 05:00+00');
        INSERT INTO plan_runs (id, as_of) VALUES (2, '2026-03-02 10:00+00');
        INSERT INTO scheduled_emails
            (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
            VALUES (45, 15, 34, '2026-03-02', '2026-03-02 09:30+00', 2);
        """,
    )
    violations = check(engine, NOW).violations
    assert violations[["rule", "enrollment_id"]].to_numpy().tolist() == [["past", 45]]
