"""Requests: which change of which table leaves which, and how far a change reaches."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from alembic import command
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.engine import _alembic_config, connect
from sendplan.io.database.tables import RequestKind
from sendplan.io.snapshot.requests import (
    Requests,
    clear_requests,
    pending_requests,
    reach_of,
    read_requests,
    request,
)

Change = tuple[str, int | None, int | None]

# Sequence 1 sends from mailboxes 31 and 32, sequence 2 from 32; 33 is linked nowhere. Ada (41) is
# active in 1 and stopped in 2; Bob (42) has completed 1 and waits in 2 behind an uncertain email.
WORLD = """
INSERT INTO sequences (id, start_time, end_time) VALUES
    (1, '09:00', '17:00'), (2, '09:00', '17:00'), (3, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position) VALUES
    (11, 1, 1), (12, 1, 2), (13, 1, 3), (21, 2, 1);
INSERT INTO steps (id, sequence_id, removed_at) VALUES (19, 1, now());
INSERT INTO mailboxes (id, email, daily_capacity) VALUES
    (31, 'a', 30), (32, 'b', 30), (33, 'c', 30);
INSERT INTO sequence_mailboxes VALUES (1, 31), (1, 32), (2, 32);
INSERT INTO contacts (id, email) VALUES (41, 'ada@example.com'), (42, 'bob@example.com');
INSERT INTO enrollments (id, contact_id, sequence_id, status) VALUES
    (51, 41, 1, 'active'), (52, 41, 2, 'stopped'), (53, 42, 1, 'completed'), (54, 42, 2, 'active');
INSERT INTO scheduled_emails (id, enrollment_id, step_id, status) VALUES
    (61, 51, 11, 'pending'), (64, 54, 21, 'uncertain');
DELETE FROM change_requests;
"""


def reach(connection: Connection, requests: Requests) -> frozenset[int]:
    return reach_of(connection, requests.sequence_ids, requests.mailbox_ids)


@pytest.fixture(scope="module")
def shared(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        connection.execute(text(WORLD))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(shared: Engine) -> Iterator[Connection]:
    """A transaction on the world that is rolled back."""
    with shared.connect() as connection:
        yield connection


def recorded(connection: Connection) -> list[Change]:
    rows = connection.execute(text("SELECT kind, sequence_id, mailbox_id FROM change_requests"))
    return [tuple(row) for row in rows]  # type: ignore[misc]


def mailbox(key: int) -> Change:
    return ("mailbox", None, key)


def link(sequence: int, mailbox: int) -> Change:
    return ("link", sequence, mailbox)


def of(kind: str, *sequences: int) -> set[Change]:
    return {(kind, sequence, None) for sequence in sequences}


# ---------------------------------------------------------------- what leaves a request

CHANGES: list[tuple[str, set[Change]]] = [
    # mailboxes
    ("UPDATE mailboxes SET daily_capacity = 20 WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET min_gap_seconds = 60 WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET ramp_start = 5 WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET ramp_increment = 5 WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET ramp_from = '2026-03-02' WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET status = 'paused' WHERE id = 31", {mailbox(31)}),
    ("UPDATE mailboxes SET status = 'removed' WHERE id = 33", {mailbox(33)}),
    # Of the rows that the statement names, one changes.
    (
        "UPDATE mailboxes SET daily_capacity = CASE id WHEN 31 THEN 20 ELSE 30 END",
        {mailbox(31)},
    ),
    (
        "INSERT INTO mailboxes (email, daily_capacity) VALUES ('a', 20) ON CONFLICT (email)"
        " DO UPDATE SET daily_capacity = excluded.daily_capacity",
        {mailbox(31)},
    ),
    # links
    ("INSERT INTO sequence_mailboxes VALUES (2, 33), (3, 33)", {link(2, 33), link(3, 33)}),
    ("DELETE FROM sequence_mailboxes WHERE sequence_id = 1", {link(1, 31), link(1, 32)}),
    (
        "UPDATE sequence_mailboxes SET mailbox_id = 33 WHERE mailbox_id = 31",
        {link(1, 31), link(1, 33)},
    ),
    # As if a user had one mailbox take the place of another: the pair that stays is not named.
    (
        "UPDATE sequence_mailboxes SET sequence_id = CASE mailbox_id WHEN 31 THEN 3 ELSE 1 END"
        " WHERE sequence_id = 1",
        {link(1, 31), link(3, 31)},
    ),
    (
        "UPDATE scheduled_emails SET mailbox_id = NULL; DELETE FROM mailboxes WHERE id = 32",
        {link(1, 32), link(2, 32)},
    ),
    (
        "INSERT INTO sequence_mailboxes VALUES (3, 31); DELETE FROM sequences WHERE id = 3",
        {link(3, 31)},
    ),
    # steps
    ("INSERT INTO steps (sequence_id, position) VALUES (1, 4), (2, 2)", of("step", 1, 2)),
    ("DELETE FROM steps WHERE id IN (13, 19)", of("step", 1)),
    ("UPDATE steps SET wait_days = 3 WHERE id = 12", of("step", 1)),
    ("UPDATE steps SET position = 5 - position WHERE id IN (12, 13)", of("step", 1)),
    ("UPDATE steps SET removed_at = now() WHERE id = 11", of("step", 1)),
    ("UPDATE steps SET removed_at = now(), position = NULL WHERE id = 21", of("step", 2)),
    ("UPDATE steps SET removed_at = NULL, position = 4 WHERE id = 19", of("step", 1)),
    ("UPDATE steps SET sequence_id = 3, position = 1 WHERE id = 13", of("step", 1, 3)),
    ("UPDATE steps SET wait_days = CASE id WHEN 21 THEN 1 ELSE 0 END", of("step", 2)),
    # sequences
    ("UPDATE sequences SET start_time = '08:00' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET end_time = '18:00' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET timezone = 'Europe/Berlin' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET send_days = '{1,2,3}' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET holidays = 'DE' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET wait_unit = 'sending' WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET priority = 2 WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET max_new_per_day = 9 WHERE id = 1", of("sequence", 1)),
    ("UPDATE sequences SET status = 'paused' WHERE id IN (1, 2)", of("sequence", 1, 2)),
    # enrollments
    ("UPDATE enrollments SET status = 'stopped' WHERE id = 51", of("enrollment", 1)),
    ("UPDATE enrollments SET status = 'failed' WHERE id = 54", of("enrollment", 2)),
    ("UPDATE enrollments SET status = 'active' WHERE id = 52", of("enrollment", 2)),
    ("UPDATE enrollments SET status = 'active' WHERE id = 53", of("enrollment", 1)),
    ("DELETE FROM enrollments WHERE id IN (52, 53)", of("enrollment", 1, 2)),
    # contacts: Ada's enrollment in 2 has ended
    ("UPDATE contacts SET suppressed_at = now() WHERE id = 41", of("contact", 1)),
    ("UPDATE contacts SET suppressed_at = now()", of("contact", 1, 2)),
    ("UPDATE contacts SET timezone = 'Asia/Tokyo' WHERE id = 42", of("contact", 2)),
    # emails
    ("UPDATE scheduled_emails SET status = 'failed' WHERE id = 61", of("enrollment", 1)),
    ("UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 61", of("enrollment", 1)),
    (
        "UPDATE scheduled_emails SET status = 'sent', sent_at = now() WHERE id = 64",
        of("enrollment", 2),
    ),
    ("UPDATE scheduled_emails SET status = 'pending' WHERE id = 64", of("enrollment", 2)),
    ("DELETE FROM scheduled_emails", of("enrollment", 2)),
]

NO_CHANGES = [
    "UPDATE mailboxes SET email = email || 'x', transport = 'env:SMTP', user_id = 1",
    "UPDATE mailboxes SET daily_capacity = 30, status = 'active', ramp_from = NULL",
    "UPDATE mailboxes SET daily_capacity = 20 WHERE false",
    "INSERT INTO mailboxes (email, daily_capacity) VALUES ('d', 30)",
    "DELETE FROM mailboxes WHERE id = 33",
    "UPDATE sequence_mailboxes SET mailbox_id = mailbox_id",
    "INSERT INTO sequence_mailboxes VALUES (1, 31) ON CONFLICT DO NOTHING",
    "DELETE FROM sequence_mailboxes WHERE false",
    "UPDATE steps SET subject = 'Hello', content = 'World'",
    "UPDATE steps SET wait_days = 0, position = position",
    "UPDATE steps SET removed_at = now() + interval '1 day' WHERE id = 19",
    "INSERT INTO sequences (start_time, end_time) VALUES ('9:00', '10:00')",
    "UPDATE sequences SET name = 'Autumn', priority = 1.0, send_days = '{1,2,3,4,5}'",
    "DELETE FROM sequences WHERE id = 3",
    # What a dispatcher writes once an email.
    "UPDATE enrollments SET mailbox_id = 31, current_step_id = 11 WHERE id = 51",
    "UPDATE enrollments SET status = 'completed', completed_at = now() WHERE status = 'active'",
    "UPDATE scheduled_emails SET status = 'claimed' WHERE id = 61;"
    "UPDATE scheduled_emails SET status = 'sending' WHERE id = 61;"
    "UPDATE scheduled_emails SET status = 'sent', sent_at = now() WHERE id = 61",
    "UPDATE scheduled_emails SET status = 'cancelled', attempts = 3 WHERE id = 61",
    "UPDATE scheduled_emails SET status = 'uncertain', last_error = 'lost' WHERE id = 64",
    "DELETE FROM scheduled_emails WHERE id = 61",
    "INSERT INTO scheduled_emails (enrollment_id, step_id) VALUES (51, 12)",
    # An end that is no change to those who are planned.
    "UPDATE enrollments SET status = 'failed', stop_reason = 'bounce' WHERE id = 52",
    "INSERT INTO enrollments (contact_id, sequence_id) VALUES (41, 3)",
    "UPDATE contacts SET email = 'x' || id, attributes = '{}', suppressed_reason = 'asked'",
    "UPDATE enrollments SET status = 'completed'; DELETE FROM change_requests;"
    "UPDATE contacts SET suppressed_at = now(), timezone = 'Asia/Tokyo'",
    "TRUNCATE sequences, steps, mailboxes, contacts, enrollments, scheduled_emails,"
    " sequence_mailboxes",
]


@pytest.mark.parametrize(("statement", "changes"), CHANGES)
def test_a_change_leaves_a_request(
    connection: Connection, statement: str, changes: set[Change]
) -> None:
    connection.execute(text(statement))
    assert set(recorded(connection)) == changes


@pytest.mark.parametrize("statement", NO_CHANGES)
def test_what_no_plan_depends_on_leaves_none(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
    assert recorded(connection) == []


def test_lifting_a_suppression_is_a_change_and_dating_it_anew_is_none(
    connection: Connection,
) -> None:
    connection.execute(text("UPDATE contacts SET suppressed_at = now() WHERE id = 41"))
    clear_requests(connection, read_requests(connection).ids)
    connection.execute(
        text("UPDATE contacts SET suppressed_at = now() + interval '1 day' WHERE id = 41")
    )
    assert recorded(connection) == []
    connection.execute(text("UPDATE contacts SET suppressed_at = NULL WHERE id = 41"))
    assert set(recorded(connection)) == of("contact", 1)


@pytest.mark.parametrize(
    ("statement", "requests"),
    [
        # One for each target, whatever the number of rows.
        ("UPDATE mailboxes SET daily_capacity = 1, min_gap_seconds = 2, status = 'paused'", 3),
        ("INSERT INTO steps (sequence_id, position) SELECT 1, generate_series(4, 50)", 1),
        ("UPDATE steps SET wait_days = 7", 2),
        ("DELETE FROM scheduled_emails WHERE id = 61; DELETE FROM enrollments WHERE id < 54", 2),
        # Two sequences lose a mailbox that is deleted, one of them two.
        ("DELETE FROM mailboxes", 3),
        # The removal, and the gap that it closes.
        ("UPDATE steps SET removed_at = now() WHERE id IN (11, 12)", 2),
    ],
)
def test_a_statement_leaves_one_request_for_each_target(
    connection: Connection, statement: str, requests: int
) -> None:
    connection.execute(text(statement))
    assert pending_requests(connection) == requests


def test_copied_rows_are_changes_too(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.copy_expert("COPY sequence_mailboxes FROM STDIN", StringIO("3\t31\n3\t33\n"))
        cursor.copy_expert("COPY steps (sequence_id, position) FROM STDIN", StringIO("3\t1\n"))
    assert set(recorded(connection)) == {link(3, 31), link(3, 33), *of("step", 3)}


def test_a_role_that_may_only_change_mailboxes_still_may(connection: Connection) -> None:
    connection.execute(
        text(
            "CREATE ROLE warden; GRANT SELECT, UPDATE ON mailboxes TO warden;"
            "SET LOCAL ROLE warden; UPDATE mailboxes SET status = 'paused' WHERE id = 31;"
            "RESET ROLE"
        )
    )
    assert recorded(connection) == [mailbox(31)]


def test_changes_are_noticed_whatever_the_search_path(connection: Connection) -> None:
    connection.execute(
        text(
            "SET LOCAL search_path = pg_catalog;"
            "UPDATE public.mailboxes SET daily_capacity = 20 WHERE id = 31;"
            "UPDATE public.contacts SET suppressed_at = now() WHERE id = 41;"
            "SET LOCAL search_path = public"
        )
    )
    assert set(recorded(connection)) == {mailbox(31), *of("contact", 1)}


def test_the_table_knows_the_kinds_and_no_other(connection: Connection) -> None:
    for kind in RequestKind:
        request(connection, kind, [1])
    with pytest.raises(DBAPIError, match="change_requests_kind_known"):
        connection.execute(text("INSERT INTO change_requests (kind) VALUES ('weather')"))


def test_the_migration_can_be_undone_on_a_database_in_use(engine: Engine) -> None:
    for revisions in (["0001"], ["0002", "0001", "head"]):
        with engine.begin() as connection:
            config = _alembic_config()
            config.attributes["connection"] = connection
            for revision in revisions:
                move = command.upgrade if revision > "0001" else command.downgrade
                move(config, revision)
            if revisions == ["0001"]:
                # Nothing is left that would look for the table.
                connection.execute(text(WORLD.replace("DELETE FROM change_requests;", "")))
                connection.execute(text("UPDATE mailboxes SET daily_capacity = 1"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE mailboxes SET daily_capacity = 2 WHERE id = 31"))
        assert recorded(connection) == [mailbox(31)]


# ---------------------------------------------------------------- together


def test_requests_coalesce_when_they_are_read(connection: Connection) -> None:
    assert not read_requests(connection)
    connection.execute(
        text(
            "UPDATE mailboxes SET daily_capacity = 20 WHERE id = 31;"
            "UPDATE mailboxes SET daily_capacity = 10 WHERE id IN (31, 32);"
            "DELETE FROM sequence_mailboxes WHERE sequence_id = 2;"
            "UPDATE steps SET wait_days = 2 WHERE id = 12"
        )
    )
    request(connection, RequestKind.OVERDUE, [2, 2, 1])
    requests = read_requests(connection)
    assert requests
    assert requests.mailbox_ids == {31, 32}
    assert requests.sequence_ids == {1, 2}
    # Three of the mailboxes: each statement counts.
    assert requests.kinds == {"mailbox": 3, "link": 1, "step": 1, "overdue": 2}
    assert len(set(requests.ids)) == len(requests.ids) == pending_requests(connection) == 7
    clear_requests(connection, requests.ids)
    assert not read_requests(connection)


def test_asking_for_nothing_is_no_request(connection: Connection) -> None:
    request(connection, RequestKind.OVERDUE, [])
    assert pending_requests(connection) == 0


def test_changes_of_one_sequence_neither_wait_nor_get_lost(engine: Engine) -> None:
    """The first to change is the last to commit: its request has the lower id, and comes later."""
    with engine.begin() as connection:
        connection.execute(text(WORLD))
    with engine.connect() as first, engine.connect() as second, engine.connect() as planner:
        first.execute(text("INSERT INTO sequence_mailboxes VALUES (2, 31)"))
        # Only here so that a second that waits fails, and does not hang.
        second.execute(text("SET LOCAL lock_timeout = '2s'"))
        second.execute(text("INSERT INTO sequence_mailboxes VALUES (2, 33)"))
        second.commit()
        seen = read_requests(planner)
        assert (seen.sequence_ids, seen.mailbox_ids) == ({2}, {33})
        first.commit()
        clear_requests(planner, seen.ids)
        planner.commit()
        left = read_requests(planner)
        assert left.mailbox_ids == {31}
        assert left.ids[0] < seen.ids[0]


# ---------------------------------------------------------------- how far a change reaches

# Sequences 1 and 2 share mailbox 11, 2 and 3 share 12; 4 has 13 to itself, 5 has none.
GRAPH = [(1, 11), (2, 11), (2, 12), (3, 12), (4, 13)]


def asked(sequences: tuple[int, ...] = (), mailboxes: tuple[int, ...] = ()) -> Requests:
    return Requests((), frozenset(sequences), frozenset(mailboxes))


def put_graph(
    connection: Connection, links: list[tuple[int, int]], removed: tuple[int, ...] = ()
) -> None:
    for table in ("scheduled_emails", "enrollments", "steps", "mailboxes", "sequences"):
        connection.execute(text(f"DELETE FROM {table}"))
    connection.execute(
        text(
            "INSERT INTO sequences (id, start_time, end_time)"
            " SELECT generate_series(1, 5), '09:00', '17:00'"
        )
    )
    connection.execute(
        text(
            "INSERT INTO mailboxes (id, email, daily_capacity, status)"
            " SELECT id, id, 30, CASE WHEN id = ANY(:removed) THEN 'removed' ELSE 'paused' END"
            " FROM generate_series(11, 15) AS id"
        ),
        {"removed": list(removed)},
    )
    connection.execute(
        text(
            "INSERT INTO sequence_mailboxes SELECT *"
            " FROM unnest(CAST(:sequences AS bigint[]), CAST(:mailboxes AS bigint[]))"
        ),
        {"sequences": [link[0] for link in links], "mailboxes": [link[1] for link in links]},
    )


@pytest.mark.parametrize(
    ("removed", "requests", "reached"),
    [
        ((), asked(), set()),
        ((), asked(sequences=(1,)), {1, 2, 3}),
        ((), asked(sequences=(4,)), {4}),
        ((), asked(sequences=(5,)), {5}),
        ((), asked(sequences=(9,), mailboxes=(99,)), set()),
        ((), asked(mailboxes=(12,)), {1, 2, 3}),
        ((), asked(sequences=(5,), mailboxes=(13,)), {4, 5}),
        # Linked nowhere, or not any more: there is nothing that its room could be used for.
        ((), asked(mailboxes=(14,)), set()),
        # A removed mailbox connects nothing, but its own sequences must do without it.
        ((12,), asked(sequences=(3,)), {3}),
        ((12,), asked(sequences=(1,)), {1, 2}),
        ((12,), asked(mailboxes=(12,)), {1, 2, 3}),
        ((13,), asked(mailboxes=(13,)), {4}),
        ((11, 12), asked(mailboxes=(12,)), {2, 3}),
        ((11, 12, 13), asked(mailboxes=(11,)), {1, 2}),
    ],
)
def test_a_change_reaches_what_shares_mailboxes(
    connection: Connection, removed: tuple[int, ...], requests: Requests, reached: set[int]
) -> None:
    put_graph(connection, GRAPH, removed)
    assert reach(connection, requests) == reached


def test_a_deleted_link_reaches_both_of_the_parts_that_it_held_together(
    connection: Connection,
) -> None:
    put_graph(connection, GRAPH)
    clear_requests(connection, read_requests(connection).ids)
    connection.execute(
        text("DELETE FROM sequence_mailboxes WHERE (sequence_id, mailbox_id) = (2, 12)")
    )
    # 1 and 2 hold together through 11; 3 is now by itself, linked to the mailbox that 2 has lost.
    assert reach(connection, read_requests(connection)) == {1, 2, 3}


def test_a_deleted_mailbox_reaches_the_sequences_that_had_it(connection: Connection) -> None:
    put_graph(connection, GRAPH)
    clear_requests(connection, read_requests(connection).ids)
    connection.execute(text("DELETE FROM mailboxes WHERE id = 12"))
    assert reach(connection, read_requests(connection)) == {1, 2, 3}
    connection.execute(text("DELETE FROM sequence_mailboxes WHERE sequence_id = 3"))
    connection.execute(text("DELETE FROM sequences WHERE id = 3"))
    assert reach(connection, read_requests(connection)) == {1, 2}


SEQUENCES = st.frozensets(st.integers(1, 5), max_size=2)
MAILBOXES = st.frozensets(st.integers(11, 15), max_size=2)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    links=st.frozensets(st.tuples(st.integers(1, 5), st.integers(11, 15)), max_size=8),
    removed=MAILBOXES,
    sequences=SEQUENCES,
    mailboxes=MAILBOXES,
)
def test_reach_by_chance(
    shared: Engine,
    links: frozenset[tuple[int, int]],
    removed: frozenset[int],
    sequences: frozenset[int],
    mailboxes: frozenset[int],
) -> None:
    """Against walking along the links until nothing new turns up."""
    expected = sequences | {sequence for sequence, mailbox in links if mailbox in mailboxes}
    while True:
        shared_by = {box for sequence, box in links if sequence in expected and box not in removed}
        wider = expected | {sequence for sequence, mailbox in links if mailbox in shared_by}
        if wider == expected:
            break
        expected = wider
    with shared.connect() as connection:
        put_graph(connection, sorted(links), tuple(removed))
        found = reach(connection, Requests((), sequences, mailboxes))
    assert found == expected
