"""One value that cannot be used harms what it belongs to: all else is planned, checked and told."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, bindparam, text
from sqlalchemy.exc import DBAPIError

from sendplan.cli import main
from sendplan.io.console.explanations import show_explained
from sendplan.io.database.engine import migrate
from sendplan.io.operations.health import health
from sendplan.io.operations.status import status
from sendplan.io.operations.uncertain import uncertain_emails
from sendplan.io.planning.check import check
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.recalc import recalc
from sendplan.io.report.data import read_data
from sendplan.io.studies.explanations import explain_email
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.due_emails import claim
from sendplan.tests.worlds.databases.stored_emails import run_sql

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
AT_NINE = datetime(2026, 3, 2, 9, 0, 1, tzinfo=UTC)

# Two sequences that share nothing. In the first, contact 41 has had the first email on Friday;
# contact 42 begins, as does 44 of the other sequence.
WORLD = """
INSERT INTO sequences (id, start_time, end_time) VALUES
    (1, '09:00', '17:00'), (2, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position, subject, content) VALUES
    (11, 1, 1, 'Hi', 'Hello'), (12, 1, 2, 'Hi', 'Hello'),
    (21, 2, 1, 'Hi', 'Hello'), (22, 2, 2, 'Hi', 'Hello');
INSERT INTO mailboxes (id, email, daily_capacity) VALUES
    (31, 'a@x.example', 9), (32, 'b@x.example', 9);
INSERT INTO sequence_mailboxes VALUES (1, 31), (2, 32);
INSERT INTO contacts (id, email) VALUES (41, 'a'), (42, 'b'), (44, 'd');
INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at) VALUES
    (51, 41, 1, '2026-02-27 08:00Z'), (52, 42, 1, '2026-03-02 00:00Z'),
    (54, 44, 2, '2026-03-02 00:00Z');
INSERT INTO scheduled_emails (id, enrollment_id, step_id, mailbox_id, send_day, sent_at, status)
    VALUES (61, 51, 11, 31, '2026-02-27', '2026-02-27 09:00Z', 'sent');
INSERT INTO scheduled_emails (id, enrollment_id, step_id) VALUES (62, 51, 12);
"""

# What older databases let in.
NO_CHECKS = """
DO $do$ DECLARE each_check record; BEGIN
    FOR each_check IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
        WHERE contype = 'c' AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', each_check.of, each_check.conname);
    END LOOP;
END $do$;
"""

SEQUENCE, FIRST = {54}, {52, 54}
"""Which enrollments are planned all the same."""

# A thread that is bound to the mailbox goes with it, and the other has no mailbox left: only the
# other sequence is planned.
KINDS = [
    (
        "UPDATE mailboxes SET ramp_from = '20226-03-01' WHERE id = 31",
        ("mailboxes", 31, "ramp_from"),
        {54},
    ),
    (
        "UPDATE mailboxes SET ramp_from = '0044-03-15 BC' WHERE id = 31",
        ("mailboxes", 31, "ramp_from"),
        {54},
    ),
    (
        "UPDATE mailboxes SET ramp_from = 'infinity' WHERE id = 31",
        ("mailboxes", 31, "ramp_from"),
        {54},
    ),
    (
        "UPDATE mailboxes SET min_gap_seconds = 2147483647 WHERE id = 31",
        ("mailboxes", 31, "min_gap_seconds"),
        {54},
    ),
    (
        "UPDATE mailboxes SET daily_capacity = -1 WHERE id = 31",
        ("mailboxes", 31, "daily_capacity"),
        {54},
    ),
    (
        "UPDATE scheduled_emails SET sent_at = '20226-03-01' WHERE id = 61",
        ("scheduled_emails", 61, "sent_at"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET sent_at = '0044-03-15 BC' WHERE id = 61",
        ("scheduled_emails", 61, "sent_at"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET sent_at = 'infinity' WHERE id = 61",
        ("scheduled_emails", 61, "sent_at"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET send_day = '20226-03-01' WHERE id = 61",
        ("scheduled_emails", 61, "send_day"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET send_day = 'infinity' WHERE id = 61",
        ("scheduled_emails", 61, "send_day"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET status = 'uncertain', lease_until = 'infinity' WHERE id = 61",
        ("scheduled_emails", 61, "lease_until"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET send_at = '-infinity', send_day = '-infinity' WHERE id = 62",
        ("scheduled_emails", 62, "send_at"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET attempts = 2147483647 WHERE id = 62",
        ("scheduled_emails", 62, "attempts"),
        FIRST,
    ),
    (
        "UPDATE scheduled_emails SET status = 'lost' WHERE id = 62",
        ("scheduled_emails", 62, "status"),
        FIRST,
    ),
    (
        "UPDATE enrollments SET enrolled_at = '-infinity' WHERE id = 51",
        ("enrollments", 51, "enrolled_at"),
        FIRST,
    ),
    (
        "UPDATE contacts SET timezone = '' WHERE id = 41",
        ("contacts", 41, "timezone"),
        FIRST,
    ),
    (
        "UPDATE contacts SET timezone = 'Mars/Base' WHERE id = 41",
        ("contacts", 41, "timezone"),
        FIRST,
    ),
    (
        "UPDATE contacts SET suppressed_at = 'infinity' WHERE id = 41",
        ("contacts", 41, "suppressed_at"),
        FIRST,
    ),
    (
        "UPDATE sequences SET timezone = 'europe/berlin' WHERE id = 1",
        ("sequences", 1, "timezone"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET timezone = 'Europe' WHERE id = 1",
        ("sequences", 1, "timezone"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET holidays = 'de' WHERE id = 1",
        ("sequences", 1, "holidays"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET holidays = '' WHERE id = 1",
        ("sequences", 1, "holidays"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET holidays = 'XX' WHERE id = 1",
        ("sequences", 1, "holidays"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET send_days = '{{1,2},{3,4}}' WHERE id = 1",
        ("sequences", 1, "send_days"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET priority = 1e308 WHERE id = 1",
        ("sequences", 1, "priority"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET priority = 1e400 WHERE id = 1",
        ("sequences", 1, "priority"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET priority = 1e-400 WHERE id = 1",
        ("sequences", 1, "priority"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET priority = 'NaN' WHERE id = 1",
        ("sequences", 1, "priority"),
        SEQUENCE,
    ),
    (
        "UPDATE sequences SET start_time = '09:00:00.6', end_time = '09:00:00.9' WHERE id = 1",
        ("sequences", 1, "end_time"),
        SEQUENCE,
    ),
    (
        "UPDATE steps SET wait_days = 100000 WHERE id = 12",
        ("steps", 12, "wait_days"),
        SEQUENCE,
    ),
    (
        "INSERT INTO steps (sequence_id, position) SELECT 1, generate_series(3, 63)",
        ("sequences", 1, "steps"),
        SEQUENCE,
    ),
    (
        "UPDATE steps SET content = '{{ ' || repeat('1', 5000) || ' }}' WHERE id = 12",
        ("steps", 12, "content"),
        SEQUENCE,
    ),
    (
        "UPDATE steps SET subject = '{% if %}' WHERE id = 12",
        ("steps", 12, "subject"),
        SEQUENCE,
    ),
]


@pytest.fixture
def poisoned(module_engine: Engine) -> Engine:
    tables = "sequences, steps, contacts, mailboxes, enrollments, scheduled_emails, plan_runs"
    run_sql(module_engine, f"TRUNCATE {tables}, change_requests CASCADE; {NO_CHECKS} {WORLD}")
    return module_engine


def planned(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        found = connection.scalars(
            text(
                "SELECT DISTINCT enrollment_id FROM scheduled_emails WHERE plan_run_id IS NOT NULL"
            )
        )
        return set(found)


@pytest.mark.slow
@pytest.mark.parametrize(("poison", "named", "expected"), KINDS, ids=[kind[0] for kind in KINDS])
def test_a_value_harms_itself_alone(
    poisoned: Engine, poison: str, named: tuple[str, int, str], expected: set[int]
) -> None:
    run_sql(poisoned, poison)
    run = run_plan(poisoned, MONDAY, Parameters())
    told = [(value.table, value.id, value.column) for value in run.set_aside]
    assert named in told
    assert planned(poisoned) == expected
    # Twice the same changes nothing, and all that looks at the plan goes on.
    again = run_plan(poisoned, MONDAY, Parameters())
    assert again.published is not None and again.published.rows_changed == 0
    checked = check(poisoned, MONDAY)
    assert len(checked.violations) == 0
    assert [(value.table, value.id, value.column) for value in checked.set_aside] == told
    assert "set_aside" in [finding.kind for finding in health(poisoned, MONDAY).findings]
    status(poisoned, MONDAY)
    uncertain_emails(poisoned)
    read_data(poisoned, MONDAY)
    # Every email tells whether it is set aside: 61, which was sent, only for a value of its own.
    stored = "SELECT id, enrollment_id IN :expected AND id <> 61 FROM scheduled_emails"
    with poisoned.connect() as connection:
        query = text(stored).bindparams(bindparam("expected", list(expected), expanding=True))
        emails = connection.execute(query).all()
    for email, has_slot in emails:
        explained = explain_email(poisoned, email, MONDAY)
        assert (explained.explanation is not None) == has_slot
        own = email != 61 or named[:2] == ("scheduled_emails", 61)
        assert bool(explained.set_aside) == (own and not has_slot)
        show_explained(explained)
    # The other sequence is re-planned and sent.
    run_sql(poisoned, "UPDATE mailboxes SET daily_capacity = 8 WHERE id = 32")
    recalc(poisoned, MONDAY, Parameters())
    with poisoned.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM change_requests")) == 0
    assert {row.enrollment_id for row in claim(poisoned, AT_NINE)} == expected


def test_what_waits_says_so_and_is_planned_once_it_is_mended(poisoned: Engine) -> None:
    """The first email of contact 42 had a slot, which is gone; what was sent stays as it was."""
    run_plan(poisoned, MONDAY, Parameters())
    assert planned(poisoned) == {51, 52, 54}
    run_sql(poisoned, "UPDATE sequences SET timezone = 'Europe/Berlln' WHERE id = 1")
    assert recalc(poisoned, MONDAY, Parameters()).run.to_json()["set_aside"] == 1
    with poisoned.connect() as connection:
        found = connection.execute(
            text(
                "SELECT DISTINCT enrollment_id, status, unplaced_reason, send_day IS NULL"
                " FROM scheduled_emails WHERE enrollment_id < 54 ORDER BY 1, 2"
            )
        )
        assert [tuple(row) for row in found] == [
            (51, "pending", "set_aside", True),
            (51, "sent", None, False),
            (52, "pending", "set_aside", True),
        ]
    run_sql(poisoned, "UPDATE sequences SET timezone = 'Europe/Berlin' WHERE id = 1")
    assert recalc(poisoned, MONDAY, Parameters()).run.to_json()["set_aside"] == 0
    assert planned(poisoned) == {51, 52, 54}


def test_commands_list_it_and_end_well(poisoned: Engine) -> None:
    run_sql(poisoned, "UPDATE contacts SET timezone = 'Mars/Base' WHERE id = 41")
    url = poisoned.url.render_as_string(hide_password=False)

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["--database-url", url, *words])
        assert result.exit_code == code, result.output
        return result.stdout

    named = {
        "table": "contacts",
        "id": 41,
        "column": "timezone",
        "value": "Mars/Base",
        "remedy": "write an IANA name such as Europe/Berlin",
    }
    for words in (("plan", "--as-of", MONDAY.isoformat()), ("recalc",), ("check",)):
        told = json.loads(run(*words, "--json"))
        assert (told["set_aside"], told["set_aside_values"]) == (1, [named])
        assert "contacts 41, timezone: 'Mars/Base' – write an IANA name" in run(*words)
    assert "contacts 41, timezone: 'Mars/Base'" in run("health", code=1)


def test_a_check_that_rows_break_waits_for_them(
    poisoned: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(poisoned, "UPDATE mailboxes SET ramp_from = 'infinity' WHERE id = 31")
    migrate(poisoned)
    assert "mailboxes_ramp_from_in_range" in caplog.text
    assert "ramp_start" not in caplog.text
    # The row can be changed all the same.
    run_sql(poisoned, "UPDATE mailboxes SET status = 'paused' WHERE id = 31")
    run_sql(poisoned, "UPDATE mailboxes SET ramp_from = NULL WHERE id = 31")
    caplog.clear()
    migrate(poisoned)
    assert not caplog.text
    with pytest.raises(DBAPIError, match="mailboxes_ramp_from_in_range"):
        run_sql(poisoned, "UPDATE mailboxes SET ramp_from = 'infinity' WHERE id = 31")
