"""The schema as plain SQL meets it: what it takes, what it refuses, what its triggers do."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.engine import connect

# The least that makes sense of a row of each table, in an order that the references allow.
MINIMAL = """
INSERT INTO sequences (id, start_time, end_time) VALUES (1, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position) VALUES (11, 1, 1), (12, 1, 2), (13, 1, 3);
INSERT INTO contacts (id, email) VALUES (21, 'ada@example.com');
INSERT INTO mailboxes (id, email, daily_capacity) VALUES (31, 'sender@example.com', 30);
INSERT INTO sequence_mailboxes VALUES (1, 31);
INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (41, 21, 1);
INSERT INTO plan_runs (id) VALUES (51);
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, sent_at, status)
    VALUES (41, 11, 31, '2026-03-02', '2026-03-02 09:00+00', 'sent');
INSERT INTO scheduled_emails (id, enrollment_id, step_id) VALUES (62, 41, 12);
"""


@pytest.fixture(scope="module")
def shared(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        connection.execute(text(MINIMAL))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(shared: Engine) -> Iterator[Connection]:
    """A transaction on the minimal rows that is rolled back."""
    with shared.connect() as connection:
        yield connection


def check_deferred(connection: Connection) -> None:
    """Do what a commit would, short of making it last."""
    connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


def test_columns_that_plain_sql_leaves_out_take_defaults(connection: Connection) -> None:
    sequence = connection.execute(text("SELECT * FROM sequences")).one()
    assert sequence.timezone == "UTC"
    assert sequence.send_days == [1, 2, 3, 4, 5]
    assert (sequence.wait_unit, sequence.priority, sequence.status) == ("calendar", 1, "active")
    pending = connection.execute(text("SELECT * FROM scheduled_emails WHERE id = 62")).one()
    assert (pending.status, pending.attempts, pending.send_at) == ("pending", 0, None)


@pytest.mark.parametrize(
    "statement",
    [
        # A slot that no plan has given yet, and an unplaced email that is cancelled or sent anyway.
        "UPDATE scheduled_emails SET mailbox_id = 31, send_day = '2026-03-03', send_at = now()",
        "UPDATE scheduled_emails SET unplaced_reason = 'no_room' WHERE id = 62;"
        "UPDATE scheduled_emails SET status = 'cancelled' WHERE id = 62",
        "UPDATE scheduled_emails SET unplaced_reason = 'no_room' WHERE id = 62;"
        "UPDATE scheduled_emails SET status = 'sent', sent_at = now() WHERE id = 62",
        "UPDATE scheduled_emails SET status = 'cancelled' WHERE id = 62;"
        "INSERT INTO scheduled_emails (enrollment_id, step_id) VALUES (41, 12)",
        "UPDATE sequences SET end_time = '24:00', send_days = '{7}', priority = 0.001",
        "UPDATE sequences SET max_new_per_day = 0",
        "UPDATE mailboxes SET daily_capacity = 0, transport = 'file:smtp-url'",
        "UPDATE mailboxes SET ramp_start = 5, ramp_from = '2026-03-01'",
        "INSERT INTO sequences (name, start_time, end_time) VALUES ('a', '9:00', '10:00'),"
        " ('a', '9:00', '10:00')",
        "DELETE FROM sequences WHERE id = 2",
    ],
)
def test_sensible_rows_are_taken(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
    check_deferred(connection)


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [
        ("sequences_end_after_start", "UPDATE sequences SET end_time = '09:00'"),
        ("sequences_send_days_iso_weekdays", "UPDATE sequences SET send_days = '{}'"),
        ("sequences_send_days_iso_weekdays", "UPDATE sequences SET send_days = '{0}'"),
        ("sequences_send_days_iso_weekdays", "UPDATE sequences SET send_days = '{1,8}'"),
        ("sequences_send_days_iso_weekdays", "UPDATE sequences SET send_days = '{1,null}'"),
        ("sequences_priority_positive", "UPDATE sequences SET priority = 0"),
        ("sequences_priority_positive", "UPDATE sequences SET priority = 'NaN'"),
        ("sequences_priority_positive", "UPDATE sequences SET priority = 'Infinity'"),
        ("sequences_wait_unit_known", "UPDATE sequences SET wait_unit = 'weeks'"),
        ("sequences_status_known", "UPDATE sequences SET status = 'removed'"),
        ("sequences_max_new_per_day_not_negative", "UPDATE sequences SET max_new_per_day = -1"),
        ("steps_position_from_one", "UPDATE steps SET position = 0 WHERE id = 11"),
        ("steps_position_unless_removed", "UPDATE steps SET position = NULL WHERE id = 11"),
        ("steps_wait_days_not_negative", "UPDATE steps SET wait_days = -1"),
        ("steps_sequence_id_position_key", "UPDATE steps SET position = 2 WHERE id = 11"),
        ("steps_sequence_id_fkey", "INSERT INTO steps (sequence_id, position) VALUES (9, 1)"),
        ("contacts_email_key", "INSERT INTO contacts (email) VALUES ('ADA@Example.com')"),
        (
            "mailboxes_email_key",
            "INSERT INTO mailboxes (email, daily_capacity) VALUES ('sender@example.com', 1)",
        ),
        ("mailboxes_daily_capacity_not_negative", "UPDATE mailboxes SET daily_capacity = -1"),
        ("mailboxes_min_gap_seconds_not_negative", "UPDATE mailboxes SET min_gap_seconds = -1"),
        ("mailboxes_ramp_start_not_negative", "UPDATE mailboxes SET ramp_start = -1"),
        ("mailboxes_ramp_increment_not_negative", "UPDATE mailboxes SET ramp_increment = -1"),
        ("mailboxes_status_known", "UPDATE mailboxes SET status = 'off'"),
        ("mailboxes_transport_is_reference", "UPDATE mailboxes SET transport = 'smtp://a:b@c'"),
        ("mailboxes_transport_is_reference", "UPDATE mailboxes SET transport = 'env:'"),
        ("sequence_mailboxes_pkey", "INSERT INTO sequence_mailboxes VALUES (1, 31)"),
        ("sequence_mailboxes_mailbox_id_fkey", "INSERT INTO sequence_mailboxes VALUES (1, 9)"),
        (
            "sequence_mailboxes_one_user",
            "UPDATE mailboxes SET user_id = 1;"
            "INSERT INTO mailboxes (id, email, daily_capacity, user_id) VALUES (32, 'b', 1, 2);"
            "INSERT INTO sequence_mailboxes VALUES (1, 32)",
        ),
        (
            "sequence_mailboxes_one_user",
            "UPDATE mailboxes SET user_id = 1;"
            "INSERT INTO mailboxes (id, email, daily_capacity) VALUES (32, 'b', 1);"
            "INSERT INTO sequence_mailboxes VALUES (1, 32);"
            "UPDATE mailboxes SET user_id = 2 WHERE id = 32",
        ),
        (
            "enrollments_contact_id_sequence_id_key",
            "INSERT INTO enrollments (contact_id, sequence_id) VALUES (21, 1)",
        ),
        ("enrollments_status_known", "UPDATE enrollments SET status = 'paused'"),
        (
            "enrollments_current_step_id_sequence_id_fkey",
            "INSERT INTO sequences (id, start_time, end_time) VALUES (2, '09:00', '17:00');"
            "INSERT INTO steps (id, sequence_id, position) VALUES (19, 2, 1);"
            "UPDATE enrollments SET current_step_id = 19",
        ),
        ("plan_runs_kind_known", "UPDATE plan_runs SET kind = 'nightly'"),
        (
            "scheduled_emails_enrollment_id_step_id_key",
            "INSERT INTO scheduled_emails (enrollment_id, step_id) VALUES (41, 11)",
        ),
        ("scheduled_emails_status_known", "UPDATE scheduled_emails SET status = 'queued'"),
        ("scheduled_emails_attempts_not_negative", "UPDATE scheduled_emails SET attempts = -1"),
        (
            "scheduled_emails_sent_has_sent_at",
            "UPDATE scheduled_emails SET status = 'sent' WHERE id = 62",
        ),
        (
            "scheduled_emails_planned_slot_whole",
            "UPDATE scheduled_emails SET plan_run_id = 51, mailbox_id = 31, send_at = now()"
            " WHERE id = 62",
        ),
        (
            "scheduled_emails_unplaced_without_slot",
            "UPDATE scheduled_emails SET unplaced_reason = 'no_room', mailbox_id = 31"
            " WHERE id = 62",
        ),
        (
            "scheduled_emails_plan_run_id_fkey",
            "UPDATE scheduled_emails SET plan_run_id = 52, mailbox_id = 31,"
            " send_day = '2026-03-03', send_at = now()",
        ),
        ("scheduled_emails_step_id_fkey", "DELETE FROM steps"),
    ],
)
def test_wrong_rows_are_refused_by_name(
    connection: Connection, constraint: str, statement: str
) -> None:
    with pytest.raises(DBAPIError) as caught:
        connection.execute(text(statement))
        check_deferred(connection)
    assert caught.value.orig.diag.constraint_name == constraint  # type: ignore[union-attr]


def test_ids_count_on_from_those_that_were_given(connection: Connection) -> None:
    def insert(columns: str, values: str) -> int:
        statement = f"INSERT INTO contacts ({columns}) VALUES ({values}) RETURNING id"
        return connection.execute(text(statement)).scalar_one()

    insert("id, email", "1000, 'b'")
    assert insert("email", "'c'") == 1001
    insert("id, email", "5, 'd'")
    assert insert("email", "'e'") == 1002


def positions(connection: Connection) -> dict[int, int | None]:
    rows = connection.execute(text("SELECT id, position FROM steps WHERE sequence_id = 1"))
    return {row.id: row.position for row in rows}


def test_removing_a_step_closes_the_gap(connection: Connection) -> None:
    connection.execute(text("UPDATE steps SET removed_at = now() WHERE id = 11"))
    check_deferred(connection)
    assert positions(connection) == {11: None, 12: 1, 13: 2}


def test_removing_several_steps_in_one_statement_closes_all_gaps(connection: Connection) -> None:
    connection.execute(
        text("INSERT INTO steps (id, sequence_id, position) VALUES (14, 1, 4), (15, 1, 5)")
    )
    connection.execute(text("UPDATE steps SET removed_at = now() WHERE id IN (12, 14)"))
    check_deferred(connection)
    assert positions(connection) == {11: 1, 12: None, 13: 2, 14: None, 15: 3}


def test_removing_a_step_leaves_other_sequences_alone(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO sequences (id, start_time, end_time) VALUES (2, '09:00', '17:00');"
            "INSERT INTO steps (id, sequence_id, position) VALUES (15, 2, 1), (16, 2, 2);"
            "UPDATE steps SET removed_at = now() WHERE id = 15;"
            "UPDATE steps SET removed_at = now() + interval '1 day' WHERE id = 15"
        )
    )
    check_deferred(connection)
    assert positions(connection) == {11: 1, 12: 2, 13: 3}
    assert connection.scalar(text("SELECT position FROM steps WHERE id = 16")) == 1


def test_two_transactions_may_remove_steps_of_one_sequence(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(MINIMAL))
        connection.execute(text("INSERT INTO steps (id, sequence_id, position) VALUES (14, 1, 4)"))

    def remove_another() -> None:
        with engine.begin() as other:
            other.execute(text("UPDATE steps SET removed_at = now() WHERE id = 13"))

    second = threading.Thread(target=remove_another)
    with engine.begin() as connection:
        connection.execute(text("UPDATE steps SET removed_at = now() WHERE id = 11"))
        second.start()
        # The second waits for the row that the first has moved up.
        second.join(0.2)
        assert second.is_alive()
    second.join()
    with engine.connect() as connection:
        assert positions(connection) == {11: None, 12: 1, 13: None, 14: 2}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE steps SET position = position % 3 + 1 WHERE sequence_id = 1",
        "UPDATE steps SET position = 2 WHERE id = 11; UPDATE steps SET position = 3 WHERE id = 12;"
        "UPDATE steps SET position = 1 WHERE id = 13",
    ],
)
def test_steps_can_be_reordered(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
    check_deferred(connection)
    assert positions(connection) == {11: 2, 12: 3, 13: 1}


def test_a_step_can_be_inserted_and_a_removed_one_put_back(connection: Connection) -> None:
    connection.execute(text("UPDATE steps SET removed_at = now() WHERE id = 11"))
    connection.execute(
        text(
            "UPDATE steps SET position = position + 1 WHERE position >= 2;"
            "UPDATE steps SET position = 2, removed_at = NULL WHERE id = 11"
        )
    )
    check_deferred(connection)
    assert positions(connection) == {11: 2, 12: 1, 13: 3}


def test_a_whole_pool_may_change_hands(connection: Connection) -> None:
    connection.execute(
        text(
            "UPDATE mailboxes SET user_id = 1;"
            "INSERT INTO mailboxes (id, email, daily_capacity, user_id) VALUES (32, 'b', 1, 1);"
            "INSERT INTO sequence_mailboxes VALUES (1, 32);"
            "UPDATE mailboxes SET user_id = 2 WHERE id = 31;"
            "UPDATE mailboxes SET user_id = 2 WHERE id = 32"
        )
    )
    check_deferred(connection)


def test_triggers_work_for_a_role_with_rights_on_tables_only_and_any_search_path(
    connection: Connection,
) -> None:
    """Given ids, a removed step, a link and a stop: each trigger touches other tables, too."""
    connection.execute(text("CREATE ROLE clerk"))
    tables = "steps, mailboxes, sequence_mailboxes, enrollments"
    connection.execute(text(f"GRANT SELECT, INSERT, UPDATE ON {tables} TO clerk"))
    connection.execute(text("GRANT USAGE ON SCHEMA public TO clerk"))
    connection.execute(text("SET LOCAL search_path = pg_catalog; SET LOCAL ROLE clerk"))
    for statement in (
        "INSERT INTO public.mailboxes (id, email, daily_capacity, user_id) VALUES (99, 'c', 1, 7)",
        "INSERT INTO public.mailboxes (email, daily_capacity) VALUES ('d', 1)",
        "INSERT INTO public.sequence_mailboxes VALUES (1, 99)",
        "UPDATE public.steps SET removed_at = now() WHERE id = 12",
        "UPDATE public.enrollments SET status = 'stopped'",
    ):
        connection.execute(text(statement))
    check_deferred(connection)
    connection.execute(text("RESET ROLE; SET LOCAL search_path = public"))
    assert connection.scalar(text("SELECT id FROM mailboxes WHERE email = 'd'")) == 100
    assert connection.scalar(text("SELECT position FROM steps WHERE id = 13")) == 2
    assert connection.scalar(text("SELECT count(*) FROM change_requests WHERE kind = 'link'")) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mailboxes SET ramp_from = 'infinity'",
        "UPDATE scheduled_emails SET sent_at = '0044-03-15 BC'",
        "UPDATE scheduled_emails SET attempts = 2147483647",
        "UPDATE sequences SET send_days = '{{1,2},{3,4}}'",
        "UPDATE sequences SET priority = 1e308",
        "UPDATE sequences SET timezone = 'Mars/Base'",
        "UPDATE contacts SET timezone = ''",
        "UPDATE plan_runs SET as_of = 'infinity'",
    ],
)
def test_values_that_no_program_can_use_are_refused(connection: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError):
        connection.execute(text(statement))
