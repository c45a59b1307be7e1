"""A small database in which contacts stand at every point that a contact can stand at.

It is Wednesday, 11:00 UTC, in the midst of a window that opened at nine; the night's plan was made
at six. Sequences 1 and 2 share mailbox 6 and so are one component; sequence 3 is another one.
"""

from datetime import time

from sqlalchemy import Connection, Engine, text

from sendplan.io.database.tables import metadata
from sendplan.io.planning.nightly import run_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.frames import put_frames
from sendplan.tests.worlds.problems.tiny import World, at

NIGHT, NOW = at(2, "06:00"), at(2, "11:00")

FRESH = (101, 102, 103, 104, 105, 106)
"""Nothing received; the room of today is too little for all, so that some wait for other days."""

FIRST_CLAIMED, OVERDUE, GRACE, LEAD = 111, 112, 113, 114
"""First emails of today: claimed; missed at 9:30; due since 10:50; due in 40 seconds."""

BOUND, BOUND_ELSEWHERE, LAST, TOLD = 121, 122, 123, 124
"""Threads under way: from mailbox 5, from mailbox 6, before their last step, and one of which no
row tells but ``current_step_id``."""

CLAIMED, SENDING, UNCERTAIN, FAILED, FAILED_ACTIVE, DONE = 131, 132, 133, 134, 135, 136
"""Their second email, of today, is in that state; DONE has got the last one, yet is active."""

COMPLETED, STOPPED, SUPPRESSED, ON_PAUSED = 141, 142, 143, 144
PROVISIONAL, ROWLESS = 151, 152
"""Enrolled since the night: with the row that enrolling leaves, and without any."""

OF_SEQUENCE_2 = (201, 202, 203)
OF_SEQUENCE_3 = (301, 302, 303, 304)
IN_BOTH = (101, 301)
"""Enrollments of one contact, in both components."""

STATES = {
    name.lower(): value
    for name, value in dict(globals()).items()
    if name.isupper() and isinstance(value, int)
}

TABLES = tuple(table.name for table in metadata.sorted_tables)


def world() -> World:
    """Make the world as the night finds it."""
    made = World(NIGHT).sequence(1, waits=(0, 2, 3)).sequence(2, waits=(0,))
    made.sequence(3, waits=(0, 1), start_time=time(13))
    made.mailbox(5, 8, (1,), email="ann@example.com").mailbox(6, 6, (1, 2), email="ben@example.com")
    made.mailbox(7, 3, (), email="cleo@example.com").mailbox(8, 2, (3,), email="dan@example.com")
    made.mailbox(9, 3, (1,), email="eve@example.com", status="paused")
    firsts = (*FRESH, FIRST_CLAIMED, OVERDUE, GRACE, LEAD)
    for key in firsts:
        # Those that are to be due today come before the fresh ones.
        enrolled = at(-3, "10:00") if key not in FRESH else at(-3, "11:00")
        made.enroll(key, contact_id=key, enrolled_at=enrolled)
    for key in (BOUND, BOUND_ELSEWHERE, CLAIMED, SENDING, UNCERTAIN, FAILED, FAILED_ACTIVE):
        box = 6 if key in (BOUND_ELSEWHERE, SENDING) else 5
        more = {"mailbox_id": box, "current_step_id": 11}
        made.enroll(key, contact_id=key, **more)
        # BOUND's second email is ready on Thursday, the others' today.
        made.email(key, 11, "sent", 1 if key == BOUND else 0, "10:00", mailbox_id=box)
    made.enroll(TOLD, contact_id=TOLD, current_step_id=11, mailbox_id=5)
    made.enroll(ON_PAUSED, contact_id=ON_PAUSED, current_step_id=11, mailbox_id=9)
    made.email(ON_PAUSED, 11, "sent", 0, "12:00", mailbox_id=9)
    for key, second in ((LAST, 0), (DONE, -1)):
        made.enroll(
            key, contact_id=key, current_step_id=12, mailbox_id=5, enrolled_at=at(-7, "09:00")
        )
        made.email(key, 11, "sent", second - 3, "10:00").email(key, 12, "sent", second, "10:00")
    ended = {"mailbox_id": 5, "enrolled_at": at(-9, "10:00")}
    made.enroll(
        COMPLETED,
        contact_id=COMPLETED,
        status="completed",
        current_step_id=13,
        completed_at=at(0, "10:00"),
        **ended,
    )
    for step, number in ((11, -7), (12, -5), (13, 0)):
        made.email(COMPLETED, step, "sent", number, "11:00")
    made.enroll(STOPPED, contact_id=STOPPED, status="stopped", current_step_id=11, **ended)
    made.email(STOPPED, 11, "sent", 0, "11:30").email(STOPPED, 12, "cancelled", 2, "11:30")
    made.enroll(SUPPRESSED, contact_id=SUPPRESSED, suppressed_at=at(1, "09:00"))
    made.email(SUPPRESSED, 11, "cancelled", 2, "15:00")
    for key in OF_SEQUENCE_2:
        made.enroll(key, contact_id=key, sequence=2)
    for key in OF_SEQUENCE_3:
        made.enroll(key, contact_id=IN_BOTH[0] if key == IN_BOTH[1] else key, sequence=3)
    for number, row in enumerate(made.rows["scheduled_emails"], start=1):
        row["id"] = number
    return made


MORNING = f"""
UPDATE scheduled_emails SET send_day = '2026-03-04', send_at = '2026-03-04 09:30+00'
    WHERE enrollment_id = {OVERDUE} AND step_id = 11;
UPDATE scheduled_emails SET send_day = '2026-03-04', send_at = '2026-03-04 10:50+00'
    WHERE enrollment_id = {GRACE} AND step_id = 11;
UPDATE scheduled_emails SET send_day = '2026-03-04', send_at = '2026-03-04 11:00:40+00'
    WHERE enrollment_id = {LEAD} AND step_id = 11;
UPDATE scheduled_emails SET send_at = '2026-03-04 12:00+00'
    WHERE enrollment_id = {BOUND_ELSEWHERE} AND step_id = 12;
UPDATE scheduled_emails
    SET status = 'claimed', claim_token = gen_random_uuid(), claimed_by = 'dispatcher',
        lease_until = '2026-03-04 11:05+00', send_at = '2026-03-04 10:59+00'
    WHERE enrollment_id = {FIRST_CLAIMED} AND step_id = 11
       OR enrollment_id = {CLAIMED} AND step_id = 12;
UPDATE scheduled_emails SET status = 'sending', attempts = 1, send_at = '2026-03-04 10:58+00'
    WHERE enrollment_id = {SENDING} AND step_id = 12;
UPDATE scheduled_emails SET status = 'uncertain', attempts = 1, send_at = '2026-03-04 10:01+00'
    WHERE enrollment_id = {UNCERTAIN} AND step_id = 12;
UPDATE scheduled_emails SET status = 'failed', attempts = 3, last_error = '550',
        send_at = '2026-03-04 10:02+00'
    WHERE enrollment_id IN ({FAILED}, {FAILED_ACTIVE}) AND step_id = 12;
UPDATE enrollments SET status = 'failed' WHERE id = {FAILED};
UPDATE scheduled_emails
    SET status = 'sent', sent_at = '2026-03-04 10:03+00', send_at = '2026-03-04 10:03+00'
    WHERE enrollment_id = {DONE} AND step_id = 13;
UPDATE enrollments SET current_step_id = 13 WHERE id = {DONE};
INSERT INTO contacts (id, email) VALUES
    ({PROVISIONAL}, 'p@example.com'), ({ROWLESS}, 'r@example.com');
INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at) VALUES
    ({PROVISIONAL}, {PROVISIONAL}, 1, '2026-03-04 08:00+00'),
    ({ROWLESS}, {ROWLESS}, 1, '2026-03-04 08:00+00');
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at)
    VALUES ({PROVISIONAL}, 11, 5, '2026-03-04', '2026-03-04 09:00+00');
DELETE FROM change_requests;
"""


def fill(engine: Engine) -> None:
    """Fill empty tables, plan them at six, and let the morning pass."""
    with engine.begin() as connection:
        put_frames(connection, world().frames(), NIGHT)
        count_from(connection, 1_000)
    run_plan(engine, NIGHT, Parameters(method="greedy"))
    with engine.begin() as connection:
        connection.execute(text(MORNING))


def save(engine: Engine) -> None:
    """Keep a copy of all tables, for `restore`."""
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA saved"))
        for table in TABLES:
            connection.execute(text(f"CREATE TABLE saved.{table} AS TABLE {table}"))


def restore(engine: Engine) -> None:
    """Put all tables back as they were saved; nothing of it leaves a request."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
        for table in TABLES:
            connection.execute(text(f"INSERT INTO {table} SELECT * FROM saved.{table}"))
        count_from(connection, 5_000)


def count_from(connection: Connection, number: int) -> None:
    """Let new rows have ids after a number, clear of those in use."""
    for table in TABLES:
        if table not in ("sequence_mailboxes", "plan_run_parts"):
            counter = f"pg_get_serial_sequence('{table}', 'id')"
            connection.execute(text(f"SELECT setval({counter}, {number})"))
