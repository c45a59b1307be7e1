"""What a monitor is told: nothing while the work goes on, and each thing that stops it."""

import json
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.operations.health import COUNTED, NAMED, Limits, health
from sendplan.tests.worlds.databases.due_emails import put
from sendplan.tests.worlds.databases.stored_emails import run_sql
from sendplan.tests.worlds.problems.tiny import World, at


def world() -> World:
    """Make two threads: the first email of one is due at nine, the other waits for tomorrow."""
    made = World().sequence(name="Autumn").mailbox(5, email="ann@example.com").enroll(1, 2)
    return made.email(1, 11, "pending", 0, id=11).email(2, 11, "pending", 1, id=21)


NOON = at(0, "12:00")
NINE = at(0, "09:00")
PLANNED = "UPDATE plan_runs SET kind = 'plan', finished_at = '2026-03-02 02:00Z'"


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    put(module_engine, world())
    run_sql(module_engine, PLANNED)
    return module_engine


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
        # What the triggers have left is another test's.
        connection.execute(text("TRUNCATE change_requests"))


def found(engine: Engine, now: datetime = NINE, limits: Limits | None = None) -> list[str]:
    return [finding.kind for finding in health(engine, now, limits).findings]


def test_while_the_work_goes_on_there_is_nothing_to_tell(engine: Engine) -> None:
    assert found(engine) == []
    assert health(engine, NINE).fine


# ---------------------------------------------------------------- late emails


def test_an_email_may_be_late_by_the_grace_and_no_more(engine: Engine) -> None:
    grace = timedelta(minutes=15)
    assert found(engine, NINE + grace) == []
    assert found(engine, NINE + grace + timedelta(seconds=1)) == ["late"]
    assert found(engine, NINE + timedelta(seconds=1), Limits(late=timedelta(0))) == ["late"]


def test_it_tells_how_many_are_late_and_by_how_much(engine: Engine) -> None:
    change(engine, "UPDATE scheduled_emails SET send_at = '2026-03-02 10:30Z' WHERE id = 21")
    (finding,) = health(engine, NOON).findings
    # One since nine, one since half past ten.
    assert finding.what == "2 emails are late, by up to 3 h"
    assert "sendplan dispatch" in finding.remedy
    assert "sendplan recalc --watch" in finding.remedy


BLOCKED = {
    "mailbox paused": "UPDATE mailboxes SET status = 'paused'",
    "sequence paused": "UPDATE sequences SET status = 'paused'",
    "enrollment stopped": "UPDATE enrollments SET status = 'stopped'",
    "contact suppressed": "UPDATE contacts SET suppressed_at = now()",
    "without a plan": "UPDATE scheduled_emails SET plan_run_id = NULL",
    "to be tried again": "UPDATE scheduled_emails SET retry_at = '2026-03-02 12:30Z'",
    "claimed": "UPDATE scheduled_emails SET status = 'claimed', lease_until = '9999-01-01'",
    "behind one in flight": "INSERT INTO scheduled_emails (enrollment_id, step_id, status,"
    " lease_until) VALUES (1, 12, 'sending', '9999-01-01')",
    "behind a failed one": "INSERT INTO scheduled_emails (enrollment_id, step_id, status)"
    " VALUES (1, 12, 'failed')",
}


@pytest.mark.parametrize("blocked", BLOCKED)
def test_what_is_blocked_is_not_late(engine: Engine, blocked: str) -> None:
    change(engine, BLOCKED[blocked])
    assert found(engine, NOON) == []


def test_what_waits_behind_an_uncertain_email_is_not_late(engine: Engine) -> None:
    change(
        engine,
        "INSERT INTO scheduled_emails (enrollment_id, step_id, status) VALUES (1, 12, 'uncertain')",
    )
    assert found(engine, NOON) == ["uncertain"]


def test_a_retry_that_nobody_makes_is_late(engine: Engine) -> None:
    change(engine, "UPDATE scheduled_emails SET retry_at = '2026-03-02 11:00Z' WHERE id = 11")
    assert found(engine, NOON) == ["late"]


def test_a_monitor_does_not_wait_for_the_exact_number(engine: Engine) -> None:
    change(
        engine,
        "INSERT INTO contacts (id, email)"
        f" SELECT g, g || '@x.example' FROM generate_series(1001, {1001 + COUNTED}) AS g",
        "INSERT INTO enrollments (id, contact_id, sequence_id)"
        f" SELECT g, g, 1 FROM generate_series(1001, {1001 + COUNTED}) AS g",
        "INSERT INTO scheduled_emails"
        " (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)"
        " SELECT g, 11, 5, '2026-03-02', '2026-03-02 09:00Z', 1"
        f" FROM generate_series(1001, {1001 + COUNTED}) AS g",
    )
    (finding,) = health(engine, NOON).findings
    assert finding.what == "more than 1,000 emails are late, by up to 3 h"


# ---------------------------------------------------------------- leases

CLAIMED = "UPDATE scheduled_emails SET status = 'claimed', lease_until ="


def test_a_lease_that_ran_out_is_for_the_dispatchers_to_recover(engine: Engine) -> None:
    # By the database's clock, with a minute for the dispatchers to see to it.
    change(engine, f"{CLAIMED} now() - interval '50 seconds'")
    assert found(engine) == []
    change(engine, f"{CLAIMED} now() - interval '70 seconds'")
    assert found(engine) == ["leases"]


def test_a_claim_without_a_lease_is_nobodys(engine: Engine) -> None:
    change(engine, f"{CLAIMED} NULL")
    assert found(engine) == ["leases"]


# ---------------------------------------------------------------- the rest


def test_uncertain_emails_are_a_warning_unless_told_otherwise(engine: Engine) -> None:
    change(engine, "UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 11")
    lenient, strict = health(engine, NINE), health(engine, NINE, Limits(uncertain=False))
    assert [finding.kind for finding in lenient.findings] == ["uncertain"]
    assert (lenient.fine, strict.fine) == (True, False)
    assert str(lenient.findings[0]).startswith("Warning: 1 email is uncertain: ")


@pytest.mark.parametrize(
    ("statement", "hours", "expected"),
    [
        ("SELECT 1", 36, []),
        ("SELECT 1", 36.1, ["plan"]),
        ("DELETE FROM plan_runs", 1, ["plan"]),
        # One that never ended, and one that touched only what had changed.
        ("UPDATE plan_runs SET finished_at = NULL", 1, ["plan"]),
        ("UPDATE plan_runs SET kind = 'recalc'", 1, ["plan"]),
        ("UPDATE enrollments SET status = 'completed'; DELETE FROM plan_runs", 1, []),
        ("UPDATE sequences SET status = 'paused'; DELETE FROM plan_runs", 1, []),
    ],
)
def test_a_plan_gets_old_while_there_is_work(
    engine: Engine, statement: str, hours: float, expected: list[str]
) -> None:
    change(engine, "UPDATE scheduled_emails SET plan_run_id = NULL", statement)
    planned = datetime.fromisoformat("2026-03-02T02:00Z")
    assert found(engine, planned + timedelta(hours=hours)) == expected


def test_changes_that_nobody_works_off(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO change_requests (kind, sequence_id, requested_at)"
                " VALUES ('sequence', 1, '2026-03-02 08:40Z'), ('sequence', 1, '2026-03-02 08:50Z')"
            )
        )
    (finding,) = health(engine, NINE).findings
    # Of the two one has waited for longer than a quarter of an hour.
    assert (finding.kind, finding.what) == ("queue", "1 change is queued, for up to 20 min")


def test_what_a_dispatcher_has_paused_is_told_and_what_a_person_has_is_not(engine: Engine) -> None:
    change(engine, "UPDATE mailboxes SET status = 'paused'")
    assert found(engine) == []
    change(
        engine,
        "UPDATE mailboxes SET status = 'paused', paused_reason = '535 login refused'",
        "UPDATE sequences SET status = 'paused', paused_reason = 'step 2: no such variable'",
    )
    findings = health(engine, NINE).findings
    assert [str(finding) for finding in findings] == [
        "Mailbox 'ann@example.com' was paused: 535 login refused – solve the problem,"
        " then run `sendplan mailbox resume 5`",
        "Sequence 'Autumn' was paused: step 2: no such variable – solve the"
        " problem, then run `sendplan sequence resume 1`",
    ]


def test_of_many_paused_mailboxes_some_are_named(engine: Engine) -> None:
    change(
        engine,
        "INSERT INTO mailboxes (email, daily_capacity, status, paused_reason)"
        f" SELECT g || '@x.example', 1, 'paused', '535' FROM generate_series(1, {NAMED + 2}) AS g",
    )
    findings = health(engine, NINE).findings
    assert len(findings) == NAMED + 1
    assert findings[-1].what == "2 more paused (mailboxes and sequences)"


# ---------------------------------------------------------------- the command


def run(url: str, *arguments: str, code: int = 0) -> Result:
    result = CliRunner(env={"SENDPLAN_DATABASE_URL": url}).invoke(main, ["health", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_the_exit_code_tells_a_monitor(engine: Engine, module_database_url: str) -> None:
    fine = run(module_database_url, "--as-of", NINE.isoformat())
    assert fine.stdout == "Healthy: emails leave on time, the plan is fresh, no change waits.\n"
    late = run(module_database_url, "--as-of", NOON.isoformat(), code=1)
    assert late.stdout.startswith("1 email is late, by up to 3 h – run `sendplan dispatch`")
    assert len(late.stdout.splitlines()) == 1
    run(module_database_url, "--as-of", NOON.isoformat(), "--max-late", "10801")
    run(module_database_url, "--as-of", NINE.isoformat(), "--max-plan-age", "6.9", code=1)
    change(engine, "UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 11")
    run(module_database_url, "--as-of", NINE.isoformat())
    run(module_database_url, "--as-of", NINE.isoformat(), "--fail-on-uncertain", code=1)


def test_a_monitor_may_read_json(engine: Engine, module_database_url: str) -> None:
    printed = json.loads(
        run(module_database_url, "--as-of", NOON.isoformat(), "--json", code=1).stdout
    )
    assert (printed["fine"], printed["now"]) == (False, NOON.isoformat())
    assert [finding["kind"] for finding in printed["findings"]] == ["late"]


def test_without_a_database_there_is_no_health() -> None:
    url = "postgresql://someone:secret@localhost:1/none"
    result = run(url, code=4)
    assert (result.stdout, "secret" in result.stderr) == ("", False)


def test_a_monitor_starts_without_solver_and_pandas() -> None:
    """In a process of its own, so that what these import in turn counts as well."""
    script = (
        "import sys, sendplan.cli, sendplan.io.console.operations, "
        "sendplan.io.operations.uncertain, sendplan.io.operations.health;"
        " print(*{'pandas', 'numpy', 'ortools', 'holidays', 'email_validator'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
