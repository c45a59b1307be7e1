"""The outcome recorder: nothing leaves before its commit, and what has left is written down."""

import logging
import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from sendplan.io.database.engine import connect
from sendplan.io.delivery.claim import Claim
from sendplan.io.dispatch import outcome_recorder as ledger_module
from sendplan.io.dispatch.outcome_recorder import OutcomeRecorder
from sendplan.io.messages.outcomes import Outcome, Verdict
from sendplan.tests.worlds.databases.due_emails import LEASE, claim, put
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql
from sendplan.tests.worlds.problems.tiny import World, at

NOW, LEFT = at(1, "09:01"), at(1, "09:02")
PATIENCE = 20.0
SENT = Outcome(Verdict.SENT)
COUNT = 12
"""Emails that are due, each of a thread of its own; more of these are to come."""


def world() -> World:
    made = World(NOW).sequence(waits=(0, 1)).mailbox(5, 100)
    for key in range(1, COUNT + 1):
        made.enroll(key, contact_id=key)
        made.email(key, 11, "pending", 1, f"09:00:{key:02}", id=key)
        made.email(key, 12, "pending", 2, id=100 + key)
    return made


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    put(engine, world())
    yield engine
    engine.dispose()


@pytest.fixture
def claims(engine: Engine) -> dict[int, Claim]:
    found = {held.email_id: held for held in claim(engine, NOW)}
    assert len(found) == COUNT
    return found


class Written:
    """Told of each claim that is over."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __call__(self, claim: Claim) -> None:
        self._told.put(claim.email_id)

    def wait(self, count: int) -> list[int]:
        return sorted(self._told.get(timeout=PATIENCE) for _ in range(count))

    def left(self) -> int:
        return self._told.qsize()


@pytest.fixture
def written() -> Written:
    return Written()


def states(engine: Engine) -> dict[int, str]:
    return dict(rows(engine, f"SELECT id, status FROM scheduled_emails WHERE id <= {COUNT}"))


def begin_all(book: OutcomeRecorder, claims: dict[int, Claim]) -> None:
    with ThreadPoolExecutor(len(claims)) as pool:
        assert all(pool.map(book.begin, claims.values()))


BLOCKED = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def blocked(engine: Engine, count: int = 1) -> list[int]:
    """Wait until sessions wait for a lock, and give their processes."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = [pid for (pid,) in rows(engine, BLOCKED)]
        if len(found) == count:
            return found
        time.sleep(0.005)
    raise AssertionError("no session waits for a lock")


@contextmanager
def held(engine: Engine, key: int, table: str = "scheduled_emails") -> Iterator[Connection]:
    """Lock a row, so that its writers wait until the end of the block."""
    with engine.begin() as connection:
        connection.execute(text(f"SELECT FROM {table} WHERE id = {key} FOR UPDATE"))
        yield connection


def terminate(engine: Engine, pids: list[int]) -> None:
    for pid in pids:
        assert rows(engine, f"SELECT pg_terminate_backend({pid}, 5000)") == [(True,)]


# ---------------------------------------------------------------- beginning and ending


def test_an_email_may_leave_once_that_is_committed(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book:
        assert book.begin(claims[1])
        assert states(engine)[1] == "sending"
        book.end(claims[1], SENT, LEFT)
        assert written.wait(1) == [1]
        stored = "SELECT status, sent_at FROM scheduled_emails WHERE id = 1"
        assert rows(engine, stored) == [("sent", LEFT)]
    assert book.counts == {"sent": 1}
    assert book.error is None
    assert written.left() == 0


@pytest.mark.parametrize(
    ("verdict", "status", "thread", "mailbox", "sequence"),
    [
        (Verdict.SENT, "sent", "active", "active", "active"),
        (Verdict.UNCERTAIN, "uncertain", "active", "active", "active"),
        (Verdict.TEMPORARY, "pending", "active", "active", "active"),
        (Verdict.REFUSED, "failed", "failed", "active", "active"),
        (Verdict.RECIPIENT, "failed", "failed", "active", "active"),
        (Verdict.MAILBOX, "pending", "active", "paused", "active"),
        (Verdict.FLAWED, "pending", "active", "active", "paused"),
        (Verdict.UNREACHABLE, "pending", "active", "active", "active"),
        (Verdict.WITHDRAWN, "pending", "active", "active", "active"),
    ],
)
def test_each_verdict_has_its_consequences(
    engine: Engine,
    claims: dict[int, Claim],
    written: Written,
    verdict: Verdict,
    status: str,
    thread: str,
    mailbox: str,
    sequence: str,
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book:
        assert book.begin(claims[1])
        book.end(claims[1], Outcome(verdict, "as the server says"), LEFT)
        assert written.wait(1) == [1]
    assert book.counts == {verdict: 1}
    assert states(engine)[1] == status
    found = rows(
        engine,
        """SELECT enrollments.status, mailboxes.status, sequences.status
           FROM enrollments, mailboxes, sequences WHERE enrollments.id = 1""",
    )
    assert found == [(thread, mailbox, sequence)]
    stored = rows(
        engine,
        """SELECT attempts, last_error, retry_at, suppressed_reason
           FROM scheduled_emails, contacts WHERE scheduled_emails.id = 1 AND contacts.id = 1""",
    )
    # Only what was tried at the server counts as an attempt; it is tried again in half an hour.
    unspent = (Verdict.MAILBOX, Verdict.FLAWED, Verdict.UNREACHABLE, Verdict.WITHDRAWN)
    assert stored == [
        (
            0 if verdict in unspent else 1,
            None if verdict is Verdict.SENT else "as the server says",
            LEFT + timedelta(minutes=30) if verdict is Verdict.TEMPORARY else None,
            "bounced" if verdict is Verdict.RECIPIENT else None,
        )
    ]


def test_a_claim_that_is_lost_does_not_begin_and_its_end_is_told_apart(
    engine: Engine, claims: dict[int, Claim], written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(engine, "UPDATE scheduled_emails SET claim_token = gen_random_uuid() WHERE id = 1")
    with OutcomeRecorder(engine, LEASE, written) as book:
        assert not book.begin(claims[1])
        for outcome in (SENT, Outcome(Verdict.TEMPORARY), Outcome(Verdict.WITHDRAWN)):
            book.end(claims[1], outcome, LEFT)
        written.wait(3)
    assert book.counts == {"stale": 3}
    assert states(engine)[1] == "claimed"
    assert caplog.text.count("The claim was lost before it could be recorded") == 3


def test_many_are_written_at_once(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book:
        begin_all(book, claims)
        with held(engine, 1):
            book.end(claims[1], SENT, LEFT)
            blocked(engine)
            # These gather while the first one waits.
            for key in range(2, COUNT + 1):
                book.end(claims[key], SENT, LEFT)
        assert len(written.wait(COUNT)) == COUNT
    together = f"SELECT count(DISTINCT xmin::text) FROM scheduled_emails WHERE id <= {COUNT}"
    assert rows(engine, together) == [(2,)]
    assert set(states(engine).values()) == {"sent"}


def test_emails_begin_while_ends_wait(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book:
        assert book.begin(claims[1])
        with held(engine, 1, "enrollments"):
            book.end(claims[1], SENT, LEFT)
            blocked(engine)
            assert book.begin(claims[2])
            assert states(engine)[2] == "sending"
        assert written.wait(1) == [1]


# ---------------------------------------------------------------- what the database refuses

REFUSES = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'not this one';
    END
    $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN (NEW.id = 3 {also})
    EXECUTE FUNCTION refuse();
"""
FORGET = "DROP FUNCTION IF EXISTS refuse CASCADE"


@pytest.mark.parametrize(
    ("table", "also"),
    [("enrollments", ""), ("scheduled_emails", "AND NEW.status = 'sent'")],
    ids=["its thread", "itself"],
)
def test_what_the_database_refuses_holds_up_no_other(
    engine: Engine,
    claims: dict[int, Claim],
    written: Written,
    caplog: pytest.LogCaptureFixture,
    table: str,
    also: str,
) -> None:
    try:
        with OutcomeRecorder(engine, LEASE, written) as book:
            begin_all(book, claims)
            run_sql(engine, REFUSES.format(table=table, also=also))
            with held(engine, 1):
                for key in range(1, COUNT + 1):
                    book.end(claims[key], SENT, LEFT)
                blocked(engine)
            assert written.wait(COUNT) == list(range(1, COUNT + 1))
        assert book.error is None
        assert book.counts == {"sent": COUNT - 1}
    finally:
        run_sql(engine, FORGET)
    # It may have left, and will be uncertain when its lease ends.
    assert states(engine).pop(3) == "sending"
    assert sorted(states(engine).values()) == sorted(["sending", *["sent"] * (COUNT - 1)])
    (told,) = [record for record in caplog.records if record.message == "Could not be recorded"]
    assert told.levelno == logging.ERROR
    assert (vars(told)["email_id"], "not this one" in vars(told)["reason"]) == (3, True)


def test_what_cannot_begin_does_not_leave(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    try:
        run_sql(engine, REFUSES.format(table="scheduled_emails", also=""))
        with OutcomeRecorder(engine, LEASE, written) as book:
            assert not book.begin(claims[3])
            assert book.begin(claims[4])
        assert book.error is None
    finally:
        run_sql(engine, FORGET)
    assert (states(engine)[3], states(engine)[4]) == ("claimed", "sending")


# ---------------------------------------------------------------- a database that is away


def test_nothing_leaves_whose_commit_was_not_heard(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book, ThreadPoolExecutor(1) as pool:
        with held(engine, 1):
            answer = pool.submit(book.begin, claims[1])
            terminate(engine, blocked(engine))
            assert answer.result(PATIENCE) is False
        # It is given back, and the next one begins on another connection.
        book.end(claims[1], Outcome(Verdict.WITHDRAWN), LEFT)
        assert written.wait(1) == [1]
        assert book.begin(claims[2])
    assert (states(engine)[1], states(engine)[2]) == ("pending", "sending")


@pytest.mark.parametrize("verdict", [Verdict.SENT, Verdict.UNCERTAIN, Verdict.TEMPORARY])
def test_what_was_tried_is_written_down_after_the_database_was_away(
    engine: Engine, claims: dict[int, Claim], written: Written, verdict: Verdict
) -> None:
    outcome = Outcome(verdict, "as the server says")
    with OutcomeRecorder(engine, LEASE, written) as book:
        begin_all(book, claims)
        with held(engine, 1):
            for key in range(1, COUNT + 1):
                book.end(claims[key], outcome, LEFT)
            terminate(engine, blocked(engine))
            # It tries again while the row is still locked, and is thrown out once more.
            terminate(engine, blocked(engine))
        assert written.wait(COUNT) == list(range(1, COUNT + 1))
    assert book.counts == {verdict: COUNT}
    assert "sending" not in states(engine).values()


def test_what_is_still_to_be_written_at_the_end_is_written(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    with OutcomeRecorder(engine, LEASE, written) as book:
        begin_all(book, claims)
        for key in range(1, COUNT + 1):
            outcome = SENT if key % 2 else Outcome(Verdict.WITHDRAWN)
            book.end(claims[key], outcome, LEFT)
    assert written.left() == COUNT
    assert sorted(states(engine).values()) == ["pending"] * 6 + ["sent"] * 6


def test_a_database_that_stays_away_does_not_keep_the_dispatcher_from_ending(
    engine: Engine,
    claims: dict[int, Claim],
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    administration: Engine,
) -> None:
    monkeypatch.setattr(ledger_module, "LAST_PATIENCE", 0.0)
    name = engine.url.database
    away = f"ALTER DATABASE {name} ALLOW_CONNECTIONS {{}}"
    with administration.connect() as outside:
        try:
            with OutcomeRecorder(engine, LEASE, written) as book:
                begin_all(book, {key: claims[key] for key in (1, 2)})
                outside.execute(text(away.format("false")))
                outside.execute(
                    text(f"""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                             WHERE datname = '{name}'""")
                )
                for key in (1, 2):
                    book.end(claims[key], SENT, LEFT)
        finally:
            outside.execute(text(away.format("true")))
    assert written.wait(2) == [1, 2]
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {record.message for record in told} == {"Could not be recorded before the end"}
    assert {vars(record)["email_id"] for record in told} == {1, 2}
    assert {states(engine)[1], states(engine)[2]} == {"sending"}


def test_who_waits_too_long_for_its_turn_does_not_leave(
    engine: Engine, claims: dict[int, Claim], written: Written
) -> None:
    short = timedelta(seconds=1)
    with OutcomeRecorder(engine, short, written) as book, ThreadPoolExecutor(2) as pool:
        with held(engine, 1):
            being_written = pool.submit(book.begin, claims[1])
            blocked(engine)
            # Behind the other one, which takes longer than half a lease.
            assert pool.submit(book.begin, claims[2]).result(PATIENCE) is False
        # Its own commit went through, so that it counts as being sent.
        assert being_written.result(PATIENCE)
        assert book.begin(claims[3])
    assert [states(engine)[key] for key in (1, 2, 3)] == ["sending", "claimed", "sending"]


def test_a_ledger_that_has_failed_lets_nothing_leave_and_says_so(
    engine: Engine, claims: dict[int, Claim], caplog: pytest.LogCaptureFixture
) -> None:
    failed = queue.SimpleQueue[Any]()

    def fails(claim: Claim) -> None:
        failed.put(claim)
        raise ZeroDivisionError("an unexpected error")

    with OutcomeRecorder(engine, LEASE, fails) as book:
        assert book.begin(claims[1])
        book.end(claims[1], SENT, LEFT)
        failed.get(timeout=PATIENCE)
        until = time.monotonic() + PATIENCE
        while book.error is None and time.monotonic() < until:
            time.sleep(0.005)
        assert isinstance(book.error, ZeroDivisionError)
        assert not book.begin(claims[2])
    assert "an unexpected error" in caplog.text
    assert states(engine)[2] == "claimed"
