"""What dispatchers have left behind: leases that ran out, and slots that were missed."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sendplan.io.delivery.overdue import hand_over, request_plan
from sendplan.io.delivery.recovery import recover
from sendplan.io.delivery.transitions import begin, succeed
from sendplan.tests.worlds.databases.due_emails import GRACE, LEASE, Claiming, claim, email, put
from sendplan.tests.worlds.databases.stored_emails import recalculated, rows, run_sql, whole
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:01")


def world() -> World:
    """Make two sequences with an email each that is due, and one for later."""
    made = World(NOW).sequence(waits=(0, 1)).sequence(2, waits=(0,)).mailbox(5, sequences=(1, 2))
    made.enroll(1, contact_id=1).enroll(2, contact_id=2, sequence=2)
    made.email(1, 11, "pending", 1, id=11).email(1, 12, "pending", 2, id=12)
    return made.email(2, 21, "pending", 1, id=21)


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    put(module_engine, world())
    return module_engine


def queued(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT kind, sequence_id FROM change_requests ORDER BY id")


EXPIRE = "UPDATE scheduled_emails SET lease_until = now() - interval '1 second'"

# ---------------------------------------------------------------- leases


def test_a_claim_that_ran_out_is_pending_again_and_its_attempt_counts(
    engine: Engine, claiming: Claiming
) -> None:
    assert len(claiming.claim(NOW)) == 2
    run_sql(engine, f"{EXPIRE} WHERE id = 11")
    with claiming.writing() as cursor:
        assert recover(cursor) == {11: "pending"}
    # Crashes count, or else an email that kills its dispatcher would do so forever.
    assert email(engine, "status, attempts, last_error", 11) == (
        "pending", 1, "the lease of here/1 ran out",
    )  # fmt: skip
    assert email(engine, "claim_token, claimed_by, lease_until", 11) == (None,) * 3
    assert email(engine, "status", 21) == ("claimed",)
    assert queued(engine) == []
    assert [found.attempts for found in claim(engine, NOW)] == [2]


def test_an_email_that_was_being_sent_is_uncertain(engine: Engine, claiming: Claiming) -> None:
    found = claiming.claim(NOW, limit=1)
    with claiming.writing() as cursor:
        (key,) = begin(cursor, found, LEASE)
    run_sql(engine, EXPIRE)
    ended = email(engine, "lease_until", key)
    with claiming.writing() as cursor:
        assert recover(cursor) == {key: "uncertain"}
    assert email(engine, "status, claim_token, last_error", key) == (
        "uncertain", None, "the lease of here/1 ran out while it was sending",
    )  # fmt: skip
    # It may have left until then.
    assert email(engine, "lease_until", key) == ended
    assert email(engine, "message_id", key) == (found[0].message_id,)


@pytest.mark.parametrize("sending", [False, True])
def test_who_wakes_up_beyond_its_lease_finds_the_email_no_longer_its_own(
    engine: Engine, claiming: Claiming, sending: bool
) -> None:
    found = claiming.claim(NOW, limit=1)
    if sending:
        with claiming.writing() as cursor:
            begin(cursor, found, LEASE)
    run_sql(engine, EXPIRE)
    with claiming.writing() as cursor:
        recover(cursor)
    before = whole(engine)
    with claiming.writing() as cursor:
        assert begin(cursor, found, LEASE) == set()
        assert succeed(cursor, [(found[0], NOW)]) == set()
    assert whole(engine) == before


def test_what_is_within_its_lease_or_settled_is_left_alone(
    engine: Engine, claiming: Claiming
) -> None:
    claiming.claim(NOW, limit=1)
    run_sql(
        engine,
        """UPDATE scheduled_emails SET status = 'uncertain', lease_until = '2026-01-01Z'
           WHERE id = 12""",
    )
    before = whole(engine)
    with claiming.writing() as cursor:
        assert recover(cursor) == {}
    assert whole(engine) == before


@pytest.mark.parametrize(("status", "then"), [("claimed", "pending"), ("sending", "uncertain")])
def test_a_row_in_flight_that_has_no_lease_is_recovered_too(
    engine: Engine, claiming: Claiming, status: str, then: str
) -> None:
    """By plain SQL; otherwise it would stay so for ever."""
    run_sql(engine, f"UPDATE scheduled_emails SET status = '{status}' WHERE id = 11")
    with claiming.writing() as cursor:
        assert recover(cursor) == {11: then}
    assert email(engine, "last_error", 11)[0].startswith("the lease of a dispatcher ran out")


def test_recovery_waits_for_no_lock(engine: Engine, claiming: Claiming) -> None:
    claiming.claim(NOW)
    run_sql(engine, EXPIRE)
    with engine.begin() as other:
        other.execute(text("SELECT FROM scheduled_emails WHERE id = 11 FOR UPDATE"))
        with claiming.writing() as cursor:
            cursor.execute("SET LOCAL lock_timeout = 5000")
            assert recover(cursor) == {21: "pending"}


# ---------------------------------------------------------------- slots that were missed


def handed_over(claiming: Claiming, minutes: float = 16) -> list[int]:
    with claiming.writing() as cursor:
        return sorted(hand_over(cursor, at(1, "09:00") + timedelta(minutes=minutes), GRACE))


def test_what_missed_its_slot_is_handed_to_the_planner_once(
    engine: Engine, claiming: Claiming
) -> None:
    assert handed_over(claiming) == [1, 2]
    assert queued(engine) == [("overdue", 1), ("overdue", 2)]
    assert handed_over(claiming) == []
    assert len(queued(engine)) == 2


def test_claiming_and_handing_over_meet_at_the_same_second(
    engine: Engine, claiming: Claiming
) -> None:
    assert handed_over(claiming, 14.99) == []
    assert claim(engine, at(1, "09:15")) == []
    assert handed_over(claiming, 15) == [1, 2]


def test_other_requests_do_not_stand_for_it(engine: Engine, claiming: Claiming) -> None:
    run_sql(
        engine,
        "INSERT INTO change_requests (kind, sequence_id) VALUES ('sequence', 1), ('overdue', 2)",
    )
    assert handed_over(claiming) == [1]


def test_only_planned_emails_that_wait_are_overdue(engine: Engine, claiming: Claiming) -> None:
    run_sql(
        engine,
        """UPDATE scheduled_emails SET plan_run_id = NULL WHERE id = 11;
           UPDATE scheduled_emails SET status = 'claimed' WHERE id = 21""",
    )
    assert handed_over(claiming) == []


def test_several_sequences_are_asked_for_at_once(engine: Engine, claiming: Claiming) -> None:
    with claiming.writing() as cursor:
        assert sorted(request_plan(cursor, [2, 1, 2])) == [1, 2]
    with claiming.writing() as cursor:
        assert request_plan(cursor, []) == []


IN_VAIN = {
    "": "SELECT",
    "of a stopped thread": "UPDATE enrollments SET status = 'stopped'",
    "of a suppressed contact": "UPDATE contacts SET suppressed_at = now()",
    "of a paused sequence": "UPDATE sequences SET status = 'paused'",
    "of a paused mailbox": "UPDATE mailboxes SET status = 'paused'",
    "of a removed step": "UPDATE steps SET removed_at = now()",
    "that waits for a retry": """
        UPDATE scheduled_emails SET retry_at = '2026-03-03 12:00+00' WHERE status = 'pending'""",
    "behind an uncertain one": """
        UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 11;
        UPDATE scheduled_emails SET send_at = '2026-03-03 09:00:30+00', send_day = '2026-03-03'
        WHERE id = 12""",
}


@pytest.mark.parametrize("what", IN_VAIN)
def test_what_the_planner_has_dealt_with_is_not_handed_over_again(
    engine: Engine, claiming: Claiming, what: str
) -> None:
    """Or else each look would ask for another recalculation, forever."""
    run_sql(engine, IN_VAIN[what])
    now = at(1, "10:00")
    handed_over(claiming, 60)
    recalculated(engine, now)
    assert queued(engine) == []
    assert handed_over(claiming, 60) == []
    late = f"status = 'pending' AND plan_run_id IS NOT NULL AND send_at < '{now}'"
    assert rows(engine, f"SELECT id FROM scheduled_emails WHERE {late}") == []
