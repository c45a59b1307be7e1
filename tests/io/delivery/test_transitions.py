"""What becomes of a claimed email: each verdict's consequences, and none for a lost claim."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.io.delivery.claim import Claim
from sendplan.io.delivery.transitions import (
    begin,
    doubt,
    fail,
    pause_mailbox,
    pause_sequence,
    postpone,
    release,
    succeed,
)
from sendplan.tests.worlds.databases.due_emails import LEASE, Claiming, claim, email, put
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql, whole
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:01")
LEFT = at(1, "09:02")


def world() -> World:
    """Make a contact in two sequences, whose second email from the first is due, and another."""
    made = World(NOW).sequence(waits=(0, 1, 1)).sequence(2, waits=(0, 1))
    made.mailbox(5, sequences=(1, 2))
    made.enroll(1, contact_id=31, mailbox_id=5, current_step_id=11)
    made.enroll(2, contact_id=31, sequence=2).enroll(3, contact_id=33)
    made.email(1, 11, "sent", 0, id=11)
    made.email(1, 12, "pending", 1, id=1).email(1, 13, "pending", 2, id=13)
    made.email(2, 21, "pending", 3, id=21).email(2, 22, "pending", 4, id=22)
    return made.email(3, 11, "pending", 3, id=31)


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    put(module_engine, world())
    return module_engine


@pytest.fixture
def claimed(claiming: Claiming) -> Claim:
    (found,) = claiming.claim(NOW)
    assert found.email_id == 1
    return found


@pytest.fixture
def begun(claiming: Claiming, claimed: Claim) -> Claim:
    with claiming.writing() as cursor:
        assert begin(cursor, [claimed], LEASE) == {1}
    return claimed


def states(engine: Engine) -> dict[int, str]:
    return dict(rows(engine, "SELECT id, status FROM scheduled_emails"))


def threads(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT id, status, stop_reason FROM enrollments ORDER BY id")


def queued(engine: Engine) -> set[Any]:
    return set(rows(engine, "SELECT kind, sequence_id, mailbox_id FROM change_requests"))


ACTIVE = [(1, "active", None), (2, "active", None), (3, "active", None)]
LET_GO = "claim_token, claimed_by, lease_until"

# ---------------------------------------------------------------- beginning


def test_what_begins_may_have_left_until_its_new_lease_ends(engine: Engine, begun: Claim) -> None:
    assert email(engine, "status, claim_token") == ("sending", begun.token)
    left = f"lease_until > now() AND lease_until <= now() + interval '{LEASE}'"
    assert email(engine, left) == (True,)


STOPPED_MEANWHILE = {
    "the enrollment was stopped": "UPDATE enrollments SET status = 'stopped' WHERE id = 1",
    "the contact was suppressed": "UPDATE contacts SET suppressed_at = now() WHERE id = 31",
    "the sequence was paused": "UPDATE sequences SET status = 'paused' WHERE id = 1",
    "the mailbox was paused": "UPDATE mailboxes SET status = 'paused'",
    "the mailbox was removed": "UPDATE mailboxes SET status = 'removed'",
    "the claim is another's": "UPDATE scheduled_emails SET claim_token = gen_random_uuid()",
    "the lease has run out": "UPDATE scheduled_emails SET lease_until = now()",
    "the claim was taken back": """
        UPDATE scheduled_emails SET status = 'pending', claim_token = NULL WHERE id = 1""",
    "it has begun already": "UPDATE scheduled_emails SET status = 'sending' WHERE id = 1",
}


@pytest.mark.parametrize("change", STOPPED_MEANWHILE)
def test_nothing_begins_when(
    engine: Engine, claiming: Claiming, claimed: Claim, change: str
) -> None:
    run_sql(engine, STOPPED_MEANWHILE[change])
    before = whole(engine)
    with claiming.writing() as cursor:
        assert begin(cursor, [claimed], LEASE) == set()
    assert whole(engine) == before


def test_those_begin_together_that_may(engine: Engine, claiming: Claiming) -> None:
    made = world().enroll(4, contact_id=34)
    put(engine, made.email(4, 11, "pending", 1, "09:00:30", id=41))
    found = claiming.claim(NOW)
    run_sql(engine, "UPDATE enrollments SET status = 'stopped' WHERE id = 1")
    with claiming.writing() as cursor:
        assert begin(cursor, found, LEASE) == {41}


# ---------------------------------------------------------------- accepted


def test_an_accepted_email_is_sent_at_its_moment(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    run_sql(engine, "UPDATE scheduled_emails SET last_error = 'earlier' WHERE id = 1")
    with claiming.writing() as cursor:
        assert succeed(cursor, [(begun, LEFT)]) == {1}
    columns = "status, sent_at, last_error, lease_until, message_id, attempts"
    assert email(engine, columns) == ("sent", LEFT, None, None, begun.message_id, 1)
    standing = "SELECT current_step_id, mailbox_id, status FROM enrollments WHERE id = 1"
    assert rows(engine, standing) == [(12, 5, "active")]
    assert states(engine)[13] == "pending"
    assert queued(engine) == set()


def test_recording_it_twice_is_recording_it_once(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    """The first commit may have gone through unheard."""
    with claiming.writing() as cursor:
        assert succeed(cursor, [(begun, LEFT)]) == {1}
    before = rows(engine, "SELECT * FROM scheduled_emails ORDER BY id")
    with claiming.writing() as cursor:
        assert succeed(cursor, [(begun, LEFT)]) == {1}
    assert rows(engine, "SELECT * FROM scheduled_emails ORDER BY id") == before
    assert threads(engine) == ACTIVE


def test_each_of_several_gets_its_own_moment(engine: Engine, claiming: Claiming) -> None:
    made = world().enroll(4, contact_id=34)
    put(engine, made.email(4, 11, "pending", 1, "08:59:30", id=41))
    run_sql(engine, "UPDATE sequences SET start_time = '08:00'")
    found = {claim.email_id: claim for claim in claiming.claim(NOW)}
    with claiming.writing() as cursor:
        assert begin(cursor, list(found.values()), LEASE) == {1, 41}
        later = LEFT + timedelta(seconds=1)
        assert succeed(cursor, [(found[1], LEFT), (found[41], later)]) == {1, 41}
    assert (email(engine, "sent_at"), email(engine, "sent_at", 41)) == ((LEFT,), (later,))
    standing = "SELECT current_step_id FROM enrollments WHERE id IN (1, 4) ORDER BY id"
    assert rows(engine, standing) == [(12,), (11,)]


# ---------------------------------------------------------------- given back


def test_what_was_not_tried_is_given_back_unspent(
    engine: Engine, claiming: Claiming, claimed: Claim
) -> None:
    run_sql(engine, "UPDATE scheduled_emails SET attempts = 3, last_error = '451' WHERE id = 1")
    with claiming.writing() as cursor:
        assert release(cursor, claimed)
    assert email(engine, "status, attempts, last_error") == ("pending", 2, "451")
    assert email(engine, LET_GO) == (None,) * 3
    # In its slot, as if it had not been claimed.
    assert len(claim(engine, NOW)) == 1


def test_why_it_was_given_back_is_kept(engine: Engine, claiming: Claiming, begun: Claim) -> None:
    with claiming.writing() as cursor:
        assert release(cursor, begun, "no route to host")
    assert email(engine, "status, attempts, last_error") == ("pending", 0, "no route to host")


@pytest.mark.parametrize("tried", [False, True])
def test_what_is_given_back_of_a_thread_that_was_stopped_is_cancelled(
    engine: Engine, claiming: Claiming, claimed: Claim, tried: bool
) -> None:
    """Who stopped the thread cancelled its pending emails; this one was in hand by then."""
    run_sql(engine, "UPDATE enrollments SET status = 'stopped' WHERE id = 1")
    with claiming.writing() as cursor:
        assert postpone(cursor, claimed, "451", LEFT) if tried else release(cursor, claimed)
    assert email(engine, "status") == ("cancelled",)
    assert email(engine, LET_GO) == (None,) * 3


def test_a_mailbox_that_may_not_send_is_paused_and_its_email_waits(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    with claiming.writing() as cursor:
        assert pause_mailbox(cursor, begun, "MAIL: 550 5.4.5 limit")
    paused = rows(engine, "SELECT status, paused_reason FROM mailboxes")
    assert paused == [("paused", "MAIL: 550 5.4.5 limit")]
    assert email(engine, "status, attempts, last_error") == (
        "pending", 0, "MAIL: 550 5.4.5 limit",
    )  # fmt: skip
    assert threads(engine) == ACTIVE
    assert queued(engine) == {("mailbox", None, 5)}


def test_a_sequence_whose_template_is_flawed_is_paused_and_its_email_waits(
    engine: Engine, claiming: Claiming, claimed: Claim
) -> None:
    with claiming.writing() as cursor:
        assert pause_sequence(cursor, claimed, "step 2: no such variable")
    paused = rows(engine, "SELECT status, paused_reason FROM sequences ORDER BY id")
    assert paused == [("paused", "step 2: no such variable"), ("active", None)]
    assert email(engine, "status, attempts") == ("pending", 0)
    assert queued(engine) == {("sequence", 1, None)}


@pytest.mark.parametrize("table", ["mailboxes", "sequences"])
def test_what_an_operator_has_paused_or_removed_keeps_that(
    engine: Engine, claiming: Claiming, begun: Claim, table: str
) -> None:
    run_sql(engine, f"UPDATE {table} SET status = 'paused', paused_reason = 'by hand'")
    pause = pause_mailbox if table == "mailboxes" else pause_sequence
    with claiming.writing() as cursor:
        assert pause(cursor, begun, "refused")
    assert rows(engine, f"SELECT DISTINCT paused_reason FROM {table}") == [("by hand",)]


# ---------------------------------------------------------------- uncertain and failed


def test_an_email_of_unknown_outcome_is_uncertain_from_now_on(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    with claiming.writing() as cursor:
        assert doubt(cursor, begun, "DATA: no answer")
    assert email(engine, "status, last_error, claim_token, claimed_by") == (
        "uncertain", "DATA: no answer", None, "here/1",
    )  # fmt: skip
    assert email(engine, "lease_until <= now() AND sent_at IS NULL") == (True,)
    assert email(engine, "message_id") == (begun.message_id,)
    assert threads(engine) == ACTIVE
    # What lies behind it is blocked, which the planner says.
    assert queued(engine) == {("enrollment", 1, None)}


def test_a_refused_email_ends_its_thread_and_no_other(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    with claiming.writing() as cursor:
        assert fail(cursor, begun, "DATA: 554 policy", "refused", LEFT)
    assert email(engine, "status, last_error, attempts") == ("failed", "DATA: 554 policy", 1)
    assert email(engine, LET_GO) == (None,) * 3
    assert threads(engine) == [(1, "failed", "refused"), *ACTIVE[1:]]
    assert states(engine) == {
        11: "sent", 1: "failed", 13: "cancelled", 21: "pending", 22: "pending", 31: "pending",
    }  # fmt: skip
    assert rows(engine, "SELECT suppressed_at FROM contacts WHERE id = 31") == [(None,)]
    assert queued(engine) == {("enrollment", 1, None)}


def test_an_address_that_does_not_exist_gets_nothing_more_from_anybody(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    with claiming.writing() as cursor:
        assert fail(cursor, begun, "RCPT: 550 5.1.1", "bounced", LEFT, suppress=True)
    assert threads(engine) == [(1, "failed", "bounced"), (2, "stopped", "bounced"), ACTIVE[2]]
    assert states(engine) == {
        11: "sent", 1: "failed", 13: "cancelled", 21: "cancelled", 22: "cancelled", 31: "pending",
    }  # fmt: skip
    told = "SELECT id, suppressed_at, suppressed_reason FROM contacts ORDER BY id"
    assert rows(engine, told) == [(31, LEFT, "bounced"), (33, None, None)]
    assert {("enrollment", 1, None), ("enrollment", 2, None)} <= queued(engine)


def test_who_was_suppressed_before_keeps_the_first_reason(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    run_sql(
        engine,
        """UPDATE contacts SET suppressed_at = '2026-01-01Z', suppressed_reason = 'unsubscribed';
           UPDATE enrollments SET status = 'stopped', stop_reason = 'unsubscribed' WHERE id = 1""",
    )
    with claiming.writing() as cursor:
        assert fail(cursor, begun, "550", "bounced", LEFT, suppress=True)
    assert rows(engine, "SELECT suppressed_reason FROM contacts WHERE id = 31") == [
        ("unsubscribed",)
    ]
    assert threads(engine)[0] == (1, "stopped", "unsubscribed")


# ---------------------------------------------------------------- lost claims

Transition = Callable[[Any, Claim], object]
TRANSITIONS: dict[str, Transition] = {
    "begin": lambda cursor, held: begin(cursor, [held], LEASE),
    "succeed": lambda cursor, held: succeed(cursor, [(held, LEFT)]),
    "release": lambda cursor, held: release(cursor, held, "late"),
    "doubt": lambda cursor, held: doubt(cursor, held, "late"),
    "postpone": lambda cursor, held: postpone(cursor, held, "late", LEFT),
    "fail": lambda cursor, held: fail(cursor, held, "late", "refused", LEFT, suppress=True),
}

LOST = {
    "another has claimed it": """
        UPDATE scheduled_emails SET claim_token = gen_random_uuid() WHERE id = 1""",
    "it was taken back": """
        UPDATE scheduled_emails SET status = 'pending', claim_token = NULL WHERE id = 1""",
    "it is uncertain by now": """
        UPDATE scheduled_emails SET status = 'uncertain', claim_token = NULL WHERE id = 1""",
    "an operator has cancelled it": """
        UPDATE scheduled_emails SET status = 'cancelled' WHERE id = 1""",
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_who_has_lost_a_claim_changes_nothing(
    engine: Engine, claiming: Claiming, begun: Claim, transition: str, lost: str
) -> None:
    run_sql(engine, LOST[lost])
    before = whole(engine)
    with claiming.writing() as cursor:
        assert not TRANSITIONS[transition](cursor, begun)
    assert whole(engine) == before


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_a_sent_email_stays_sent(
    engine: Engine, claiming: Claiming, begun: Claim, transition: str
) -> None:
    with claiming.writing() as cursor:
        succeed(cursor, [(begun, LEFT)])
    before = rows(engine, "SELECT * FROM scheduled_emails ORDER BY id")
    with claiming.writing() as cursor:
        TRANSITIONS[transition](cursor, begun)
    assert rows(engine, "SELECT * FROM scheduled_emails ORDER BY id") == before
    assert threads(engine) == ACTIVE


def test_a_mailbox_is_paused_even_if_the_claim_is_lost(
    engine: Engine, claiming: Claiming, begun: Claim
) -> None:
    """What its server has said holds all the same."""
    run_sql(engine, LOST["it is uncertain by now"])
    with claiming.writing() as cursor:
        assert not pause_mailbox(cursor, begun, "535")
    assert rows(engine, "SELECT status FROM mailboxes") == [("paused",)]
    assert states(engine)[1] == "uncertain"


def test_what_was_never_begun_cannot_have_been_sent(
    engine: Engine, claiming: Claiming, claimed: Claim
) -> None:
    with claiming.writing() as cursor:
        assert succeed(cursor, [(claimed, LEFT)]) == set()
    assert states(engine)[1] == "claimed"
