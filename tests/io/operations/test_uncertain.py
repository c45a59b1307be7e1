"""Uncertain emails: listed with what finds them, and resolved by an operator only."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.errors import DataError
from sendplan.io.operations.uncertain import resolve, uncertain_emails
from sendplan.tests.worlds.databases.due_emails import email, put
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql, whole
from sendplan.tests.worlds.problems.tiny import World, at

Run = Callable[..., Result]

NOW = at(0, "12:00")
SENT, PENDING = 14, 15


def world() -> World:
    """Make threads of three emails: the first of 1 and 2 and the last of 3 are uncertain."""
    made = World(NOW).sequence(waits=(0, 1, 1), name="Autumn").mailbox(5, email="ann@example.com")
    made.mailbox(6, email="ben@example.com")
    made.enroll(1, contact_id=1).enroll(2, contact_id=2)
    made.enroll(3, contact_id=3, mailbox_id=5).enroll(4, contact_id=4, mailbox_id=5)
    made.email(1, 11, "uncertain", 0, id=11, mailbox_id=6).email(1, 12, "pending", 1, id=12)
    made.email(2, 11, "uncertain", 0, "10:00", id=21)
    made.email(3, 11, "sent", -3, id=31).email(3, 12, "sent", -2, id=32)
    made.email(3, 13, "uncertain", -1, id=33)
    return made.email(4, 11, "sent", -3, id=SENT).email(4, 12, "pending", 0, id=PENDING)


TOUCHED = """
    UPDATE scheduled_emails
    SET attempts = 5, last_error = 'no answer', claim_token = gen_random_uuid(),
        claimed_by = 'host:1', lease_until = send_at + interval '3 minutes', retry_at = send_at,
        message_id = '<' || id || '@example.com>'
    WHERE status = 'uncertain'
"""


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    put(module_engine, world())
    run_sql(module_engine, f"{TOUCHED}; DELETE FROM change_requests")
    return module_engine


@pytest.fixture
def run(engine: Engine, module_database_url: str) -> Run:
    def invoke(*arguments: str, code: int = 0) -> Result:
        environment = {"SENDPLAN_DATABASE_URL": module_database_url}
        result = CliRunner(env=environment).invoke(main, ["uncertain", *arguments])
        assert result.exit_code == code, result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def thread(engine: Engine, key: int) -> tuple[Any, ...]:
    columns = "status, current_step_id, mailbox_id, completed_at"
    (found,) = rows(engine, f"SELECT {columns} FROM enrollments WHERE id = {key}")
    return tuple(found)


# ---------------------------------------------------------------- listing


def test_the_longest_uncertain_comes_first(engine: Engine) -> None:
    listed = uncertain_emails(engine)
    assert [email.id for email in listed] == [33, 11, 21]
    first = listed[0]
    assert (first.enrollment_id, first.step_id, first.position, first.sequence) == (
        3,
        13,
        3,
        "Autumn",
    )
    assert (first.contact, first.mailbox) == ("contact3@example.com", "ann@example.com")
    assert (first.send_at, first.since) == (at(-1, "09:00"), at(-1, "09:03"))
    assert (first.last_error, first.message_id) == ("no answer", "<33@example.com>")


def test_an_operator_reads_where_to_look(run: Run) -> None:
    told = run().stdout
    assert (
        "Email 11, step 1 of Autumn, to contact1@example.com\n"
        "  from ben@example.com, Mon 2 Mar 2026 09:00 UTC; uncertain since Mon 2 Mar 2026"
        " 09:03 UTC\n"
        "  Message-ID: <11@example.com>\n"
        "  no answer\n"
    ) in told
    assert "sendplan uncertain --sent 33" in told
    printed = json.loads(run("--json").stdout)
    assert [row["message_id"] for row in printed["uncertain"]] == [
        "<33@example.com>",
        "<11@example.com>",
        "<21@example.com>",
    ]


def test_where_nothing_is_uncertain_that_is_said(run: Run) -> None:
    run("--sent", "11", "--sent", "21", "--sent", "33")
    assert run().stdout == "No email is uncertain.\n"
    assert json.loads(run("--json").stdout) == {"uncertain": []}


# ---------------------------------------------------------------- resolving

LET_GO = "claim_token, claimed_by, lease_until, retry_at"


def test_one_that_was_sent_moves_its_thread_on(engine: Engine) -> None:
    resolve(engine, [11], [], NOW)
    # It left at its slot, as far as anybody knows.
    assert email(engine, "status, sent_at, last_error", 11) == ("sent", at(0, "09:00"), None)
    assert email(engine, LET_GO, 11) == (None,) * 4
    assert thread(engine, 1) == ("active", 11, 6, None)
    # The next email has its row already.
    assert rows(engine, "SELECT count(*) FROM scheduled_emails WHERE enrollment_id = 1") == [(2,)]


def test_the_next_email_gets_a_row_if_it_has_none(engine: Engine) -> None:
    resolve(engine, [21], [], NOW)
    made = rows(
        engine,
        "SELECT step_id, status, plan_run_id, send_day FROM scheduled_emails"
        " WHERE enrollment_id = 2 AND id <> 21",
    )
    # A day after Monday.
    assert made == [(12, "pending", None, at(1, "09:00").date())]


def test_of_emails_that_left_at_the_same_moment_the_later_step_counts(engine: Engine) -> None:
    """By hand, the second email of a thread was made uncertain, too."""
    run_sql(engine, "UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 12")
    resolve(engine, [11, 12], [], NOW, at=at(0, "10:00"))
    assert thread(engine, 1) == ("active", 12, 5, None)


def test_one_that_no_known_mailbox_sent_leaves_the_next_row_to_the_plan(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(engine, "UPDATE scheduled_emails SET mailbox_id = NULL, plan_run_id = NULL")
    resolve(engine, [21], [], NOW, at=at(0, "10:00"))
    assert thread(engine, 2) == ("active", 11, None, None)
    assert rows(engine, "SELECT id FROM scheduled_emails WHERE enrollment_id = 2") == [(21,)]
    assert caplog.records == []


def test_a_thread_whose_last_email_was_sent_is_completed(engine: Engine) -> None:
    resolve(engine, [33], [], NOW, at=at(0, "11:00"))
    assert email(engine, "status, sent_at", 33) == ("sent", at(0, "11:00"))
    assert thread(engine, 3) == ("completed", 13, 5, at(0, "11:00"))


def test_one_that_was_not_sent_waits_for_another_slot(engine: Engine) -> None:
    resolve(engine, [], [11], NOW)
    assert email(engine, "status, plan_run_id, attempts", 11) == ("pending", None, 0)
    assert email(engine, LET_GO, 11) == (None,) * 4
    assert email(engine, "message_id", 11) == ("<11@example.com>",)
    assert thread(engine, 1) == ("active", None, None, None)


@pytest.mark.parametrize("sent", [True, False])
def test_what_is_resolved_is_planned_again(engine: Engine, sent: bool) -> None:
    resolve(engine, [11] if sent else [], [] if sent else [11], NOW)
    assert rows(engine, "SELECT kind, sequence_id FROM change_requests") == [("enrollment", 1)]


def test_several_are_resolved_at_once(run: Run, engine: Engine) -> None:
    told = run("--sent", "11", "--not-sent", "21", "--sent", "33", "--sent", "11").stdout
    assert told == "Sent: 2; not sent: 1. Run `sendplan recalc` to update the plan.\n"
    states = rows(
        engine, "SELECT id, status FROM scheduled_emails WHERE id IN (11, 21, 33) ORDER BY id"
    )
    assert states == [(11, "sent"), (21, "pending"), (33, "sent")]


def test_all_are_resolved_or_none(run: Run, engine: Engine) -> None:
    before = whole(engine)
    told = run("--sent", "11", "--sent", str(SENT), "--not-sent", "99", code=3).stderr
    assert f"email {SENT}: is sent, not uncertain" in told
    assert "email 99: does not exist – `sendplan uncertain` lists the uncertain ones" in told
    assert whole(engine) == before


@pytest.mark.parametrize(
    ("sent", "not_sent", "left_at", "told"),
    [
        ([PENDING], [], None, f"email {PENDING}: is pending, not uncertain"),
        ([11], [11], None, "email 11: is given as sent and as not sent – keep one of the two"),
        ([11], [], NOW + timedelta(seconds=1), "--at: 2026-03-02T12:00:01"),
    ],
)
def test_what_cannot_be_resolved(
    engine: Engine, sent: list[int], not_sent: list[int], left_at: datetime | None, told: str
) -> None:
    before = whole(engine)
    with pytest.raises(DataError) as caught:
        resolve(engine, sent, not_sent, NOW, at=left_at)
    assert told in str(caught.value)
    assert whole(engine) == before


def test_an_email_without_a_slot_needs_the_time_at_which_it_left(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE scheduled_emails SET plan_run_id = NULL, send_at = NULL, send_day = NULL"
                " WHERE id = 11"
            )
        )
    with pytest.raises(DataError, match="email 11: has no slot in the past – give --at, the"):
        resolve(engine, [11], [], NOW)
    resolve(engine, [11], [], NOW, at=at(0, "09:30"))
    assert email(engine, "sent_at", 11) == (at(0, "09:30"),)


def test_two_operators_do_not_resolve_an_email_twice(engine: Engine) -> None:
    resolve(engine, [], [11], NOW)
    with pytest.raises(DataError, match="email 11: is pending, not uncertain"):
        resolve(engine, [11], [], NOW)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--at", "2026-03-02T09:00:00Z"], "the time at which emails left; it needs --sent"),
        (["--sent", "11", "--at", "2026-03-02T09:00:00"], "no time zone"),
        (["--sent", "all"], "'all' is not a valid integer"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], told: str) -> None:
    assert told in run(*arguments, code=2).stderr
