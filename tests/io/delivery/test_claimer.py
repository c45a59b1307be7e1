"""Claiming: what the plan took for granted is checked again, and no lock is waited for."""

from datetime import date, datetime, time, timedelta

import pytest
from sqlalchemy import Engine, text

from sendplan.io.delivery.claimer import REST
from sendplan.io.messages.message_ids import message_id
from sendplan.tests.worlds.databases.due_emails import (
    GRACE,
    INSTALLATION,
    LEASE,
    Claiming,
    claim,
    emails_of,
    put,
)
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:01")
DUE = 12
"""The second email of enrollment 1, due on Tuesday at 9:00; the first has left on Monday."""


def world() -> World:
    """Make one thread under way, whose second of three emails is due."""
    made = World(NOW).sequence(waits=(0, 1, 1)).mailbox(5).enroll(1, contact_id=31, mailbox_id=5)
    made.rows["enrollments"][0]["current_step_id"] = 11
    made.email(1, 11, "sent", 0, id=11, message_id="<first@example.com>")
    return made.email(1, 12, "pending", 1, id=DUE).email(1, 13, "pending", 2, id=13)


def fresh(*clocks: str, number: int = 1, **more: object) -> World:
    """Make contacts whose only emails are due at some times of Tuesday."""
    made = World(NOW).sequence(waits=(0,)).mailbox(5, **more)  # type: ignore[arg-type]
    for key, clock in enumerate(clocks, start=1):
        made.enroll(key, contact_id=key).email(key, 11, "pending", number, clock, id=key)
    return made


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    return module_engine


# ---------------------------------------------------------------- what a claim is


def test_a_due_email_is_claimed_with_all_that_its_message_is_made_of(engine: Engine) -> None:
    put(engine, world())
    run_sql(
        engine,
        """UPDATE steps SET subject = 'Step ' || id, content = 'Hello';
           UPDATE contacts SET attributes = '{"name": "Ada"}';
           UPDATE mailboxes SET transport = 'env:BOX', email = 'ann@example.com';
           UPDATE sequences SET unsubscribe_url = 'https://example.com/{{ token }}'""",
    )
    (found,) = claim(engine, NOW)
    assert (found.email_id, found.enrollment_id, found.step_id) == (DUE, 1, 12)
    assert (found.sequence_id, found.contact_id, found.mailbox_id) == (1, 31, 5)
    assert (found.send_at, found.send_day) == (at(1, "09:00"), date(2026, 3, 3))
    assert (found.closes, found.attempts, found.transport) == (at(1, "17:00"), 1, "env:BOX")
    texts = found.texts
    assert (texts.sender, texts.recipient) == ("ann@example.com", "contact31@example.com")
    assert (texts.subject, texts.content, texts.first_subject) == ("Step 12", "Hello", "Step 11")
    assert (texts.attributes, texts.earlier) == ({"name": "Ada"}, ("<first@example.com>",))
    assert texts.unsubscribe_url == "https://example.com/{{ token }}"


def test_a_claim_stands_in_the_row_before_the_email_leaves(engine: Engine) -> None:
    put(engine, world())
    run_sql(engine, f"UPDATE scheduled_emails SET retry_at = '{NOW}' WHERE id = {DUE}")
    (found,) = claim(engine, NOW)
    assert found.message_id == message_id(INSTALLATION, 1, 12)
    stored = rows(
        engine,
        f"""SELECT status, attempts, claimed_by, claim_token, message_id, retry_at,
                   lease_until > now() AND lease_until <= now() + interval '{LEASE}'
            FROM scheduled_emails WHERE id = {DUE}""",
    )
    assert stored == [("claimed", 1, "here/1", found.token, found.message_id, None, True)]


def test_a_claim_belongs_to_one_claimer(engine: Engine) -> None:
    put(engine, world())
    assert emails_of(claim(engine, NOW)) == [DUE]
    assert claim(engine, NOW) == []


def test_the_earliest_is_claimed_first_and_no_more_than_wanted(engine: Engine) -> None:
    put(engine, fresh("09:00:40", "09:00:10", "09:00:50", "09:00:20"))
    assert emails_of(claim(engine, NOW, limit=2)) == [2, 4]
    # Of what is left, as many as the mailbox's queue has room for.
    assert emails_of(claim(engine, NOW, room=lambda _: 1)) == [1]
    assert claim(engine, NOW, busy=[5]) == []
    assert emails_of(claim(engine, NOW)) == [3]


def test_an_email_that_was_tried_too_often_is_told_apart(engine: Engine) -> None:
    put(engine, world())
    # Twenty claims are allowed, so that the next one is to end it.
    run_sql(engine, f"UPDATE scheduled_emails SET attempts = 20 WHERE id = {DUE}")
    with Claiming(engine) as claiming, claiming.looking(NOW) as claimed:
        assert claimed.claims == []
        assert [found.attempts for found in claimed.exhausted] == [21]
    put(engine, world())
    run_sql(engine, f"UPDATE scheduled_emails SET attempts = 19 WHERE id = {DUE}")
    assert [found.attempts for found in claim(engine, NOW)] == [20]


# ---------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("clock", "due"),
    [
        ("08:59:59", False),
        ("09:00:00", True),
        ("09:14:59", True),
        # Fifteen minutes late is overdue, to the second.
        ("09:15:00", False),
    ],
)
def test_an_email_leaves_at_its_slot_or_within_the_grace(
    engine: Engine, clock: str, due: bool
) -> None:
    put(engine, world())
    assert (emails_of(claim(engine, at(1, clock))) == [DUE]) is due
    assert timedelta(minutes=15) == GRACE


def test_provisional_rows_never_leave(engine: Engine) -> None:
    put(engine, world())
    run_sql(engine, f"UPDATE scheduled_emails SET plan_run_id = NULL WHERE id = {DUE}")
    assert claim(engine, NOW) == []


def test_an_email_that_is_to_be_retried_waits_for_that(engine: Engine) -> None:
    put(engine, world())
    run_sql(engine, "UPDATE scheduled_emails SET retry_at = '2026-03-03 09:01:01+00'")
    assert claim(engine, NOW) == []
    assert emails_of(claim(engine, NOW + timedelta(seconds=1))) == [DUE]


@pytest.mark.parametrize(
    ("zone", "day", "start", "end", "opens", "closes"),
    [
        # An ordinary day: 9 to 17 o'clock at +01:00.
        ("Europe/Berlin", "2026-03-03", "09:00", "17:00", "03T08:00", "03T16:00"),
        # 23 hours: half past two is swallowed, and 3:00 at +02:00 follows 1:59 at +01:00.
        ("Europe/Berlin", "2026-03-29", "02:30", "17:00", "29T01:00", "29T15:00"),
        # 25 hours: half past two comes first at +02:00, and 17:00 is at +01:00.
        ("Europe/Berlin", "2026-10-25", "02:30", "17:00", "25T00:30", "25T16:00"),
        # The same at 2:00, from -05:00 to -04:00 and back.
        ("America/New_York", "2026-03-08", "02:00", "12:00", "08T07:00", "08T16:00"),
        ("America/New_York", "2026-11-01", "01:30", "12:00", "01T05:30", "01T17:00"),
        # Midnight itself is swallowed, from -04:00 to -03:00.
        ("America/Santiago", "2026-09-06", "00:00", "09:00", "06T04:00", "06T12:00"),
        # The hour before midnight comes twice; the window ends in its first course, at -03:00.
        ("America/Santiago", "2026-04-04", "09:00", "23:30", "04T12:00", "05T02:30"),
        # Half an hour only: from +10:30 to +11:00 at 2:00, and back.
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "10:00", "03T15:30", "03T23:00"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", "10:00", "04T14:45", "04T23:30"),
    ],
)  # fmt: skip
def test_an_email_leaves_within_the_window_of_its_contacts_zone(
    engine: Engine, zone: str, day: str, start: str, end: str, opens: str, closes: str
) -> None:
    made = World(NOW).sequence(
        waits=(0,),
        start_time=time.fromisoformat(start),
        end_time=time.fromisoformat(end),
        send_days=[1, 2, 3, 4, 5, 6, 7],
    )
    send_day = date.fromisoformat(day)
    made.mailbox(5).enroll(1, contact_timezone=zone).email(1, 11, "pending", 0, send_day=send_day)
    put(engine, made)
    first, end_ = (datetime.fromisoformat(f"{day[:8]}{part}+00:00") for part in (opens, closes))
    second = timedelta(seconds=1)
    for moment, within in (
        (first - second, False),
        (end_, False),
        (end_ - second, True),
        (first, True),
    ):
        run_sql(
            engine,
            "UPDATE scheduled_emails"
            f" SET status = 'pending', send_at = '{moment - timedelta(minutes=1)}'",
        )
        assert bool(claim(engine, moment)) is within, moment


# ---------------------------------------------------------------- what may have changed

STANDS_IN_THE_WAY = {
    "the enrollment is stopped": "UPDATE enrollments SET status = 'stopped'",
    "the enrollment has failed": "UPDATE enrollments SET status = 'failed'",
    "the enrollment is completed": "UPDATE enrollments SET status = 'completed'",
    "the contact is suppressed": "UPDATE contacts SET suppressed_at = now()",
    "the sequence is paused": "UPDATE sequences SET status = 'paused'",
    "the mailbox is paused": "UPDATE mailboxes SET status = 'paused'",
    "the mailbox is removed": "UPDATE mailboxes SET status = 'removed'",
    "the mailbox is unlinked": "DELETE FROM sequence_mailboxes",
    "the step is removed": "UPDATE steps SET removed_at = now() WHERE id = 12",
    "an earlier step is pending": """
        UPDATE scheduled_emails SET status = 'pending', sent_at = NULL WHERE id = 11;
        UPDATE enrollments SET current_step_id = NULL""",
    "an earlier step is claimed": "UPDATE scheduled_emails SET status = 'claimed' WHERE id = 11",
    "an earlier step is sending": "UPDATE scheduled_emails SET status = 'sending' WHERE id = 11",
    "an earlier step is uncertain": """
        UPDATE scheduled_emails SET status = 'uncertain' WHERE id = 11""",
    "an earlier step has failed": "UPDATE scheduled_emails SET status = 'failed' WHERE id = 11",
    "a later step is in flight": "UPDATE scheduled_emails SET status = 'claimed' WHERE id = 13",
    "the step was received, as its enrollment tells": "UPDATE enrollments SET current_step_id = 12",
    "the wait is longer": "UPDATE steps SET wait_days = 2 WHERE id = 12",
    "the step before left later": """
        UPDATE scheduled_emails SET sent_at = '2026-03-03 08:00+00' WHERE id = 11""",
    "the window opens later": "UPDATE sequences SET start_time = '09:01:01'",
    "the window has closed": "UPDATE sequences SET start_time = '08:00', end_time = '09:01'",
    "the weekday is none any more": "UPDATE sequences SET send_days = '{1,3,4,5}'",
    # Tuesday, 3 March 2026, is a holiday in Bulgaria.
    "the day is a holiday": "UPDATE sequences SET holidays = 'BG'",
    "the contact's zone is unknown": """
        ALTER TABLE contacts DROP CONSTRAINT IF EXISTS contacts_timezone_known;
        UPDATE contacts SET timezone = 'Mars/Olympus'""",
    "the sequence's country is unknown": "UPDATE sequences SET holidays = 'XX'",
    "the wait is without end": """
        UPDATE sequences SET wait_unit = 'sending';
        ALTER TABLE steps DROP CONSTRAINT IF EXISTS steps_wait_days_in_range;
        UPDATE steps SET wait_days = 2000000000 WHERE id = 12""",
    "the thread is another mailbox's": """
        INSERT INTO mailboxes (id, email, daily_capacity) VALUES (6, 'own@example.com', 9);
        INSERT INTO sequence_mailboxes VALUES (1, 6);
        UPDATE enrollments SET mailbox_id = 6""",
    "the thread is a paused mailbox's": """
        INSERT INTO mailboxes (id, email, daily_capacity, status)
        VALUES (6, 'own@example.com', 9, 'paused');
        INSERT INTO sequence_mailboxes VALUES (1, 6);
        UPDATE enrollments SET mailbox_id = 6""",
    "the thread is another mailbox's, as its history tells": """
        INSERT INTO mailboxes (id, email, daily_capacity) VALUES (6, 'own@example.com', 9);
        INSERT INTO sequence_mailboxes VALUES (1, 6);
        UPDATE enrollments SET mailbox_id = NULL;
        UPDATE scheduled_emails SET mailbox_id = 6 WHERE id = 11""",
    "the mailbox has no capacity": "UPDATE mailboxes SET daily_capacity = 0",
    "the ramp begins tomorrow": """
        UPDATE mailboxes SET ramp_start = 9, ramp_increment = 9, ramp_from = '2026-03-04'""",
    "the steps were put in another order": """
        UPDATE steps SET position = 3 - position WHERE id IN (11, 12)""",
    "a step was put in before it": """
        UPDATE steps SET position = position + 1 WHERE id IN (12, 13);
        INSERT INTO steps (id, sequence_id, position) VALUES (14, 1, 2)""",
}

STILL_LEAVES = {
    "nothing has changed": "SELECT",
    "the step before it was removed": "UPDATE steps SET removed_at = now() WHERE id = 11",
    "a step was put in before the point reached": """
        UPDATE steps SET position = position + 1;
        INSERT INTO steps (id, sequence_id, position) VALUES (14, 1, 1)""",
    "the step before it was cancelled": """
        UPDATE scheduled_emails SET status = 'cancelled' WHERE id = 11""",
    "the thread's mailbox was removed": """
        INSERT INTO mailboxes (id, email, daily_capacity, status)
        VALUES (6, 'own@example.com', 9, 'removed');
        INSERT INTO sequence_mailboxes VALUES (1, 6);
        UPDATE enrollments SET mailbox_id = 6""",
    "the thread's mailbox was unlinked": """
        INSERT INTO mailboxes (id, email, daily_capacity) VALUES (6, 'own@example.com', 9);
        UPDATE enrollments SET mailbox_id = 6""",
    "another mailbox of the sequence is removed": """
        INSERT INTO mailboxes (id, email, daily_capacity, status)
        VALUES (6, 'own@example.com', 9, 'removed');
        INSERT INTO sequence_mailboxes VALUES (1, 6)""",
    # The last one for whom there is room today.
    "the ramp leaves room for one": """
        UPDATE mailboxes SET ramp_start = 0, ramp_increment = 1, ramp_from = '2026-03-02'""",
    "it was sent late in the evening": """
        UPDATE scheduled_emails SET sent_at = '2026-03-02 23:59+00' WHERE id = 11""",
}


@pytest.mark.parametrize("change", STANDS_IN_THE_WAY)
def test_an_email_stays_when(engine: Engine, change: str) -> None:
    put(engine, world())
    run_sql(engine, STANDS_IN_THE_WAY[change])
    assert claim(engine, NOW) == []
    assert rows(engine, f"SELECT status, attempts FROM scheduled_emails WHERE id = {DUE}") == [
        ("pending", 0)
    ]


@pytest.mark.parametrize("change", STILL_LEAVES)
def test_an_email_leaves_all_the_same_when(engine: Engine, change: str) -> None:
    put(engine, world())
    run_sql(engine, STILL_LEAVES[change])
    assert emails_of(claim(engine, NOW)) == [DUE]


@pytest.mark.parametrize(
    ("unit", "wait", "sent", "number", "over"),
    [
        # Sent on Friday (day -3). Three days later is Monday; the third sending day is Wednesday.
        ("calendar", 3, -3, 0, True),
        ("calendar", 4, -3, 0, False),
        ("sending", 3, -3, 1, False),
        ("sending", 3, -3, 2, True),
        # Two days after Friday is Sunday, so that Monday is ready.
        ("calendar", 2, -3, 0, True),
        ("sending", 1, -3, 0, True),
        ("sending", 2, -3, 0, False),
        # Without a wait, the same day will do.
        ("calendar", 0, 0, 0, True),
        ("sending", 0, 0, 0, True),
    ],
)
def test_the_wait_is_over_first(
    engine: Engine, unit: str, wait: int, sent: int, number: int, over: bool
) -> None:
    made = World(at(number, "10:00")).sequence(waits=(0, wait), wait_unit=unit).mailbox(5)
    made.enroll(1, mailbox_id=5).email(1, 11, "sent", sent)
    put(engine, made.email(1, 12, "pending", number, "10:00"))
    assert bool(claim(engine, made.now)) is over


@pytest.mark.parametrize(("number", "over"), [(2, False), (3, True)])
def test_the_wait_runs_from_the_local_date(engine: Engine, number: int, over: bool) -> None:
    # 14:00 UTC on Monday is 3:00 on Tuesday in Auckland, two days after which is Thursday.
    made = World(at(number, "00:30")).sequence(waits=(0, 2)).mailbox(5)
    made.enroll(1, mailbox_id=5, contact_timezone="Pacific/Auckland")
    made.email(1, 11, "sent", 0, "14:00")
    put(engine, made.email(1, 12, "pending", number, "00:30"))
    assert bool(claim(engine, made.now)) is over


# ---------------------------------------------------------------- locked rows are skipped


def test_emails_that_cannot_leave_do_not_block_those_behind_them(engine: Engine) -> None:
    # Five of a paused sequence come first; two at a time are looked at.
    made = fresh("09:00:50").sequence(2, waits=(0,), status="paused")
    made.mailbox(6, sequences=(2,))
    for key in range(11, 16):
        made.enroll(key, contact_id=key, sequence=2)
        made.email(key, 21, "pending", 1, "09:00:10", id=key, mailbox_id=6)
    put(engine, made)
    with Claiming(engine) as claiming:
        looks: tuple[list[int], ...] = ([], [], [1])
        for found in looks:
            with claiming.looking(NOW, limit=2) as claimed:
                assert (emails_of(claimed.claims), claimed.more) == (found, True)
        with claiming.looking(NOW, limit=2) as claimed:
            assert (claimed.claims, claimed.more) == ([], False)
        # They are looked at again after a rest, as the sequence may have been resumed.
        run_sql(engine, "UPDATE sequences SET status = 'active'")
        assert claiming.claim(NOW + REST - timedelta(seconds=1)) == []
        assert emails_of(claiming.claim(NOW + REST)) == [11, 12, 13, 14, 15]


def test_a_full_mailbox_does_not_block_the_others(engine: Engine) -> None:
    made = fresh("09:00:10", "09:00:20", "09:00:30", capacity=1).mailbox(6)
    made.enroll(9, contact_id=9).email(9, 11, "pending", 1, "09:00:50", id=9, mailbox_id=6)
    put(engine, made)
    with Claiming(engine) as claiming:
        found = []
        for _ in range(3):
            found += emails_of(claiming.claim(NOW, limit=2))
        assert found == [1, 9]


def test_a_held_mailbox_rests(engine: Engine) -> None:
    put(engine, fresh("09:00"))
    with Claiming(engine) as claiming:
        claiming.claimer.rest(5, NOW + timedelta(seconds=10))
        assert claiming.claim(NOW + timedelta(seconds=9)) == []
        assert emails_of(claiming.claim(NOW + timedelta(seconds=10))) == [1]


@pytest.mark.parametrize(
    "held",
    [
        "SELECT FROM mailboxes WHERE id IN (5, 6) FOR UPDATE",
        "SELECT FROM scheduled_emails WHERE mailbox_id IN (5, 6) FOR UPDATE",
    ],
    ids=["mailboxes", "emails"],
)
def test_locked_rows_are_skipped_and_not_waited_for(engine: Engine, held: str) -> None:
    made = fresh("09:00:10", "09:00:11", number=1).mailbox(6).mailbox(7)
    for key, box in ((3, 6), (4, 6), (5, 7)):
        made.enroll(key, contact_id=key)
        made.email(key, 11, "pending", 1, f"09:00:1{key}", id=key, mailbox_id=box)
    put(engine, made)
    with Claiming(engine) as claiming:
        with engine.begin() as other:
            other.execute(text(held))
            # Two at a time: neither of the two mailboxes that stay held hides the third.
            found = [emails_of(claiming.claim(NOW, limit=2)) for _ in range(3)]
            assert [key for keys in found for key in keys] == [5]
        assert emails_of(claim(engine, NOW)) == [1, 2, 3, 4]


def test_a_claim_does_not_wait_for_a_plan_that_is_being_published(engine: Engine) -> None:
    put(engine, fresh("09:00:10", "09:00:20"))
    with engine.begin() as publishing:
        # As `sendplan.io.publish.store` locks what it writes.
        publishing.execute(text("SELECT FROM scheduled_emails WHERE id = 1 FOR UPDATE"))
        publishing.execute(text("LOCK TABLE sequences, steps, mailboxes IN SHARE MODE"))
        assert emails_of(claim(engine, NOW)) == [2]


def test_who_locks_mailboxes_first_and_emails_second_waits_for_no_ring(engine: Engine) -> None:
    put(engine, fresh("09:00:10"))
    with Claiming(engine) as claiming, engine.connect() as other, other.begin():
        other.execute(text("SELECT FROM mailboxes FOR UPDATE"))
        with claiming.looking(NOW) as claimed:
            # The email is locked by the one, its mailbox by the other.
            assert claimed.claims == []
            other.execute(text("SET LOCAL lock_timeout = 5000"))
            left = other.execute(text("SELECT FROM scheduled_emails FOR UPDATE SKIP LOCKED"))
            assert left.all() == []
        assert len(other.execute(text("SELECT FROM scheduled_emails FOR UPDATE")).all()) == 1
