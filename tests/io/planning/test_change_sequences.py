"""Days by chance: changes, sends, recalculations, nights and kills in any order.

`make test-changes` goes through a thousand of them. A failure names the seed of its sequence.
"""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sendplan.io.database.engine import connect
from sendplan.io.database.tables import RequestKind
from sendplan.io.planning.check import check
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.recalc import Recalculation
from sendplan.io.publish.store import Pace
from sendplan.io.snapshot.requests import request
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.frames import put_frames
from sendplan.tests.worlds.databases.stored_emails import (
    Row,
    assert_as_specified,
    assert_others_untouched,
    emails,
    recalculated,
    rows,
    run_sql,
)
from sendplan.tests.worlds.problems.methods import FACTOR
from sendplan.tests.worlds.problems.tiny import World, at

BUNDLE = 3
"""Sequences of a test: enough for something to have moved."""

ACTIONS = 12

NOW = at(0, "06:00")
GRACE = timedelta(minutes=15)
OTHER_BOX = "id <> (SELECT min(id) FROM mailboxes WHERE status = 'active')"

Ask = Callable[["Days"], str]


class KilledError(Exception):
    """Out of the callback of a batch, so that no more are written."""


def world() -> World:
    made = World(NOW).sequence(1, (0, 1, 2)).sequence(2, (0, 1)).sequence(3, (0, 1))
    made.mailbox(5, 2, (1,), email="ann@example.com").mailbox(6, 3, (1, 2), email="b@example.com")
    made.mailbox(7, 1, (2,), email="cleo@example.com").mailbox(8, 2, (3,), email="dan@example.com")
    for key in range(101, 109):
        made.enroll(key, contact_id=key)
    for sequence, keys in ((2, range(201, 205)), (3, range(301, 304))):
        for key in keys:
            # The first of each are also in sequence 1.
            made.enroll(key, contact_id=key % 100 + 100, sequence=sequence)
    return made


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        put_frames(connection, world().frames(), NOW)
        busy.count_from(connection, 1_000)
    run_plan(engine, NOW, Parameters(method="greedy"))
    busy.save(engine)
    yield engine
    engine.dispose()


# ---------------------------------------------------------------- what may happen


class Days:
    """One sequence of what happens.

    Parameters
    ----------
    engine : Engine
        A database in which a plan is stored.
    seed : int
        What chooses.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine, self.rng, self.now = engine, random.Random(seed), NOW
        self.moved = 0

    def any(self, query: str) -> Any:
        """Choose one of the values that a query gives; 0 is nobody's id."""
        found = sorted(key for (key,) in rows(self.engine, query))
        return self.rng.choice(found) if found else 0

    def change(self) -> None:
        run_sql(self.engine, self.rng.choice(CHANGES)(self))

    def pass_time(self) -> None:
        """Let what is due be sent, or claimed, or missed; and what was claimed come to an end."""
        run_sql(self.engine, IN_FLIGHT_ENDS if self.rng.random() < 0.8 else IN_FLIGHT_FAILS)
        until = self.now + timedelta(minutes=self.rng.choice((10, 50, 200, 24 * 60)))
        while True:
            with self.engine.connect() as connection:
                times = {"since": self.now - GRACE, "until": until}
                due = connection.execute(text(DUE), times).one_or_none()
            if due is None or self.rng.random() < 0.1:
                break
            status = self.rng.choice(("sent", "sent", "sent", "sent", "claimed"))
            run_sql(self.engine, TAKEN.format(status=status, key=due.id))
        self.now = until
        with self.engine.begin() as connection:
            overdue = connection.scalars(text(OVERDUE), {"since": self.now - GRACE}).all()
            request(connection, RequestKind.OVERDUE, overdue)

    def recalculate(self) -> None:
        before = emails(self.engine)
        pace = Pace(self.rng.choice((3, 6, None)))
        kills, meddles = self.rng.random() < 0.3, self.rng.random() < 0.3

        def written(done: int, total: int) -> None:
            nonlocal meddles
            if kills and done < total:
                raise KilledError
            if meddles:
                meddles = False
                self.change()

        try:
            done = recalculated(self.engine, self.now, pace=pace, written=written)
        except KilledError:
            done = recalculated(self.engine, self.now)
        if rows(self.engine, "SELECT FROM change_requests"):
            # Somebody meddled after it was too late.
            self.count(done)
            done = recalculated(self.engine, self.now)
        self.count(done)
        self.assert_sound(before, done.requests.sequence_ids)

    def count(self, done: Recalculation) -> None:
        self.moved += done.run.plan.moved

    def plan(self) -> None:
        before = emails(self.engine)
        run_plan(self.engine, self.now, Parameters(method="greedy"))
        everything = {key for (key,) in rows(self.engine, "SELECT id FROM sequences")}
        self.assert_sound(before, everything)

    def assert_sound(self, before: dict[int, Row], reach: Any) -> None:
        assert rows(self.engine, "SELECT FROM change_requests") == []
        assert_others_untouched(before, emails(self.engine), {1, 2, 3})
        found = check(self.engine, self.now).violations
        assert found.to_dict("records") == []
        assert_as_specified(self.engine, reach)
        assert rows(self.engine, TWICE) == []


# As a dispatcher looks at it when it claims (life cycle), all zones being UTC.
DUE = """
    SELECT email.id FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
    JOIN contacts AS contact ON contact.id = contact_id
    JOIN sequences AS sequence ON sequence.id = sequence_id
    JOIN steps AS step ON step.id = step_id
    JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    JOIN sequence_mailboxes AS link
        ON link.sequence_id = sequence.id AND link.mailbox_id = mailbox.id
    WHERE email.status = 'pending' AND plan_run_id IS NOT NULL
      AND send_at > :since AND send_at <= :until
      AND enrollment.status = 'active' AND suppressed_at IS NULL
      AND sequence.status = 'active' AND mailbox.status = 'active' AND removed_at IS NULL
      AND send_at::time >= start_time AND send_at::time < end_time
      AND extract(isodow FROM send_day) = ANY(send_days)
      AND daily_capacity > (
          SELECT count(*) FROM scheduled_emails AS other
          WHERE other.mailbox_id = mailbox.id AND other.send_day = email.send_day
            AND other.status IN ('claimed', 'sent'))
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS other
          WHERE other.mailbox_id = mailbox.id AND other.status IN ('claimed', 'sent')
            AND abs(extract(epoch FROM other.send_at - email.send_at)) < min_gap_seconds)
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS other
          JOIN enrollments AS own ON own.id = other.enrollment_id
          WHERE own.contact_id = contact.id AND other.send_day = email.send_day
            AND other.status IN ('claimed', 'sent'))
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS other JOIN steps AS earlier ON earlier.id = other.step_id
          WHERE other.enrollment_id = enrollment.id
            AND (other.status IN ('claimed', 'failed')
                 OR other.status = 'pending' AND earlier.position < step.position
                 OR other.status = 'sent' AND other.send_day + wait_days > email.send_day))
      AND (max_new_per_day IS NULL
           OR EXISTS (SELECT FROM scheduled_emails AS other
                      WHERE other.enrollment_id = enrollment.id AND other.status = 'sent')
           OR max_new_per_day > (
               SELECT count(*) FROM enrollments AS own
               WHERE own.sequence_id = sequence.id AND email.send_day = (
                   SELECT min(other.send_day) FROM scheduled_emails AS other
                   WHERE other.enrollment_id = own.id AND other.status IN ('claimed', 'sent'))))
    ORDER BY send_at, email.id LIMIT 1
"""
TAKEN = """
    UPDATE scheduled_emails SET status = '{status}', claim_token = gen_random_uuid(),
        sent_at = CASE '{status}' WHEN 'sent' THEN send_at END
    WHERE id = {key};
    UPDATE enrollments AS enrollment
    SET mailbox_id = email.mailbox_id, current_step_id = email.step_id
    FROM scheduled_emails AS email
    WHERE email.id = {key} AND enrollment.id = enrollment_id AND email.status = 'sent'
"""
IN_FLIGHT_ENDS = """
    UPDATE enrollments AS enrollment
    SET mailbox_id = email.mailbox_id, current_step_id = email.step_id
    FROM scheduled_emails AS email
    WHERE email.status = 'claimed' AND enrollment.id = enrollment_id;
    UPDATE scheduled_emails SET status = 'sent', sent_at = send_at WHERE status = 'claimed'
"""
IN_FLIGHT_FAILS = """
    UPDATE enrollments SET status = 'failed'
    WHERE id IN (SELECT enrollment_id FROM scheduled_emails WHERE status = 'claimed');
    UPDATE scheduled_emails SET status = 'failed' WHERE status = 'claimed'
"""
OVERDUE = """
    SELECT DISTINCT sequence_id FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
    WHERE email.status = 'pending' AND plan_run_id IS NOT NULL AND send_at <= :since
"""
TWICE = """
    SELECT enrollment_id, step_id FROM scheduled_emails WHERE sent_at IS NOT NULL
    GROUP BY 1, 2 HAVING count(*) > 1
"""


def of_mailbox(sets: str) -> Ask:
    return lambda days: (
        f"UPDATE mailboxes SET {sets} WHERE status <> 'removed'"
        f" AND id = {days.any('SELECT id FROM mailboxes')}"
    )


def of_sequence(sets: str) -> Ask:
    return lambda days: (
        f"UPDATE sequences SET {sets} WHERE id = {days.any('SELECT id FROM sequences')}"
    )


def of_step(sets: str) -> Ask:
    present = "SELECT id FROM steps WHERE removed_at IS NULL"
    return lambda days: f"UPDATE steps SET {sets} WHERE id = {days.any(present)}"


def add_mailbox(days: Days) -> str:
    sequence = days.any("SELECT id FROM sequences")
    return f"""
        WITH new AS (INSERT INTO mailboxes (email, daily_capacity)
                     VALUES ('{days.rng.random()}@example.com', 2) RETURNING id)
        INSERT INTO sequence_mailboxes SELECT {sequence}, id FROM new"""


def link(days: Days) -> str:
    sequence, mailbox = (days.any(f"SELECT id FROM {t}") for t in ("sequences", "mailboxes"))
    return f"INSERT INTO sequence_mailboxes VALUES ({sequence}, {mailbox}) ON CONFLICT DO NOTHING"


def unlink(days: Days) -> str:
    sequence, mailbox = (days.any(f"SELECT id FROM {t}") for t in ("sequences", "mailboxes"))
    return (
        f"DELETE FROM sequence_mailboxes WHERE (sequence_id, mailbox_id) = ({sequence}, {mailbox})"
    )


def insert_step(days: Days) -> str:
    sequence = days.any("SELECT id FROM sequences")
    taken = f"SELECT position FROM steps WHERE sequence_id = {sequence} AND position IS NOT NULL"
    position = days.any(f"{taken} UNION SELECT coalesce(max(position), 0) + 1 FROM ({taken}) AS t")
    return f"""
        UPDATE steps SET position = position + 1
        WHERE sequence_id = {sequence} AND position >= {position};
        INSERT INTO steps (sequence_id, position, wait_days) VALUES ({sequence}, {position}, 1)"""


def turn_steps(days: Days) -> str:
    sequence = days.any("SELECT id FROM sequences")
    return f"""
        UPDATE steps SET position = position % (
            SELECT count(*) FROM steps WHERE sequence_id = {sequence} AND removed_at IS NULL) + 1
        WHERE sequence_id = {sequence} AND removed_at IS NULL"""


def stop(days: Days) -> str:
    active = days.any("SELECT id FROM enrollments WHERE status = 'active'")
    return f"UPDATE enrollments SET status = 'stopped' WHERE id = {active}"


def suppress(days: Days) -> str:
    contact = days.any("SELECT id FROM contacts")
    return f"""
        UPDATE contacts SET suppressed_at =
            CASE WHEN suppressed_at IS NULL THEN TIMESTAMPTZ '{days.now}' END
        WHERE id = {contact}"""


def enroll(days: Days) -> str:
    sequence = days.any("SELECT id FROM sequences")
    return f"""
        WITH new AS (INSERT INTO contacts (email)
                     VALUES ('{days.rng.random()}@example.com') RETURNING id)
        INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
        SELECT id, {sequence}, '{days.now}' FROM new"""


CHANGES: tuple[Ask, ...] = (
    of_mailbox("status = 'removed'"),
    of_mailbox("status = 'paused'"),
    of_mailbox("status = 'active'"),
    of_mailbox("daily_capacity = daily_capacity + 1"),
    of_mailbox("daily_capacity = greatest(daily_capacity - 1, 0)"),
    of_mailbox("min_gap_seconds = 3600 - min_gap_seconds"),
    add_mailbox,
    add_mailbox,
    link,
    unlink,
    of_step("removed_at = now()"),
    of_step("wait_days = (wait_days + 1) % 4"),
    of_step("wait_days = 2"),
    insert_step,
    turn_steps,
    of_sequence("status = 'paused'"),
    of_sequence("status = 'active'"),
    of_sequence("status = 'active'"),
    of_sequence("end_time = CASE end_time WHEN '17:00' THEN TIME '14:00' ELSE '17:00' END"),
    of_sequence("send_days = CASE cardinality(send_days) WHEN 5 THEN '{1,3,4,6}'::smallint[]"
                " ELSE '{1,2,3,4,5}' END"),
    of_sequence("max_new_per_day = CASE WHEN max_new_per_day IS NULL THEN 1 END"),
    of_sequence("priority = 3 / priority"),
    stop,
    suppress,
    enroll,
)  # fmt: skip


# ---------------------------------------------------------------- many days


def lived(engine: Engine, seed: int) -> Days:
    busy.restore(engine)
    days = Days(engine, seed)
    for _ in range(ACTIONS):
        kinds = (days.change, days.pass_time, days.recalculate, days.plan)
        [act] = days.rng.choices(kinds, (6, 4, 5, 1))
        act()
    days.recalculate()
    return days


@pytest.mark.parametrize("bundle", range(FACTOR))
def test_whatever_happens_the_plan_stays_sound(filled: Engine, bundle: int) -> None:
    moved = 0
    for seed in range(bundle * BUNDLE, (bundle + 1) * BUNDLE):
        try:
            moved += lived(filled, seed).moved
        except Exception as error:
            error.add_note(f"This was the sequence with seed {seed}.")
            raise
    # Sequences in which nothing moves would show nothing.
    assert moved >= BUNDLE
