"""What the machine of dispatching looks at: its small world, its clock, and the server's log.

The facts are read by plain SQL and judged by rules of this module's own; nothing of the
dispatcher is used here.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text

from sendplan.io.planning.nightly import run_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.frames import put_frames
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(2, "06:00")
"""A Wednesday; on the Sunday after it New York's clocks go forward."""

LEASE = timedelta(minutes=3)
GRACE = timedelta(minutes=15)
MOST_ATTEMPTS = 5
SHORTEST_BACKOFF = timedelta(minutes=30)

OCCUPYING = ("claimed", "sending", "sent", "uncertain")
IN_FLIGHT = ("claimed", "sending")
ENDS = ("sent", "failed", "cancelled")

MOVES: dict[str, set[tuple[str, str]]] = {
    "claim": {("pending", "claimed")},
    "begin": {("claimed", "sending")},
    "sent": {("sending", "sent"), ("pending", "cancelled")},
    "uncertain": {("claimed", "uncertain"), ("sending", "uncertain")},
    "released": {(now, then) for now in IN_FLIGHT for then in ("pending", "cancelled")},
    "postponed": {(now, then) for now in IN_FLIGHT for then in ("pending", "cancelled", "failed")}
    | {("pending", "cancelled")},
    "failed": {("claimed", "failed"), ("sending", "failed"), ("pending", "cancelled")},
    "recover": {("claimed", "pending"), ("sending", "uncertain")},
    "resolved as sent": {("uncertain", "sent"), ("pending", "cancelled")},
    "resolved as not sent": {("uncertain", "pending")},
    "plan": {("pending", "cancelled")},
    "stop": {("pending", "cancelled")},
}
"""How rows may move when something is done; what is not named here moves none."""


# ---------------------------------------------------------------- the world


def world() -> World:
    """Two sequences in two zones, with one mailbox and two contacts in common.

    Slots are ten minutes apart in the one sequence, so that several emails may be due at once, and
    hours in the other one.
    """
    made = World(NOW).sequence(1, (0, 1, 2), end_time=time(9, 40))
    made.sequence(
        2,
        (0, 1),
        timezone="America/New_York",
        start_time=time(9),
        end_time=time(12),
        wait_unit="sending",
        send_days=[1, 2, 3, 4, 5, 7],
    )
    made.mailbox(5, 4, (1,), email="ann@example.com")
    made.mailbox(6, 3, (1, 2), email="ben@example.com", min_gap_seconds=1_200)
    made.mailbox(7, 2, (2,), email="cleo@example.com")
    made.rows["mailboxes"][-1] |= {"ramp_start": 1, "ramp_increment": 1, "ramp_from": NOW.date()}
    for key in range(101, 107):
        made.enroll(key, contact_id=key)
    for key in range(203, 207):
        made.enroll(key, contact_id=key - 100, sequence=2)
    return made


# Listed before pg_catalog, it is what the statements of the dispatcher mean by now().
DATABASE_CLOCK = """
    CREATE SCHEMA simulated;
    CREATE TABLE simulated.clock (moment timestamptz NOT NULL);
    INSERT INTO simulated.clock VALUES (:now);
    CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS 'SELECT moment FROM simulated.clock';
"""


def fill(engine: Engine) -> None:
    """Fill an empty database with the world, planned, and give it a clock that tests can set."""
    with engine.begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(DATABASE_CLOCK), {"now": NOW})
        path = "public, simulated, pg_catalog"
        connection.execute(text(f"ALTER DATABASE {name} SET search_path = {path}"))
        put_frames(connection, world().frames(), NOW)
        busy.count_from(connection, 1_000)
    engine.dispose()
    run_plan(engine, NOW, Parameters(method="greedy"))
    busy.save(engine)


def set_database_clock(connection: Connection, moment: datetime) -> None:
    connection.execute(text("UPDATE simulated.clock SET moment = :moment"), {"moment": moment})


# ---------------------------------------------------------------- rows


class Row(NamedTuple):
    """A row of ``scheduled_emails``, with whose it is."""

    id: int
    enrollment_id: int
    step_id: int
    mailbox_id: int | None
    send_day: date | None
    send_at: datetime | None
    sent_at: datetime | None
    plan_run_id: int | None
    unplaced_reason: str | None
    status: str
    attempts: int
    last_error: str | None
    message_id: str | None
    claim_token: Any
    claimed_by: str | None
    lease_until: datetime | None
    retry_at: datetime | None
    contact_id: int


ROWS = """
    SELECT email.id, enrollment_id, step_id, email.mailbox_id, send_day, send_at, sent_at,
           plan_run_id, unplaced_reason, email.status, attempts, last_error, message_id,
           claim_token, claimed_by, lease_until, retry_at, contact_id
    FROM scheduled_emails AS email JOIN enrollments ON enrollments.id = enrollment_id
"""


def email_rows(connection: Connection) -> dict[int, Row]:
    return {row[0]: Row(*row) for row in connection.execute(text(ROWS))}


def assert_moved_as_allowed(before: dict[int, Row], after: dict[int, Row], did: str) -> None:
    """Nothing is lost, what has ended stays as it is, and others move as what was done lets them.

    Parameters
    ----------
    before, after : mapping of Row
        By id.
    did : str
        A word of `MOVES`, or anything else.
    """
    assert before.keys() <= after.keys(), "a row was lost"
    for key, row in after.items():
        old = before.get(key)
        if old is None:
            assert row.status == "pending", row
            assert did in ("plan", "sent", "resolved as sent"), f"a row was made by: {did}"
            continue
        if old.status in ENDS or (did == "plan" and old.status != "pending"):
            assert row == old, f"{did} changed what it must leave alone"
        if row.status != old.status:
            assert (old.status, row.status) in MOVES.get(did, ()), f"{did}: {old} -> {row}"


def assert_well_formed(rows: Iterable[Row]) -> None:
    """Tokens, leases and Message-IDs are where they belong, and nowhere else."""
    known: set[tuple[int, int]] = set()
    for row in rows:
        if row.status != "cancelled":
            assert (row.enrollment_id, row.step_id) not in known, f"two rows for one email: {row}"
            known.add((row.enrollment_id, row.step_id))
        if row.status in IN_FLIGHT:
            assert None not in (row.claim_token, row.claimed_by, row.lease_until), row
            assert row.plan_run_id is not None, row
        elif row.status in ("pending", "failed", "cancelled"):
            assert (row.claim_token, row.claimed_by, row.lease_until) == (None, None, None), row
        elif row.status == "uncertain":
            assert (row.claim_token, row.sent_at) == (None, None), row
        else:
            assert (row.lease_until, row.last_error) == (None, None), row
            assert row.sent_at is not None, row
        if row.status in OCCUPYING:
            assert None not in (row.message_id, row.mailbox_id, row.send_day), row
        assert 0 <= row.attempts <= MOST_ATTEMPTS + 1, row


def assert_room_is_kept(
    before: Iterable[Row], after: Iterable[Row], capacity: "dict[int, Limits]"
) -> None:
    """A mailbox-day only fills up to its capacity, and a contact's day to one email.

    A capacity that was lowered below what is used already takes nothing back.
    """
    used, had = _used(after), _used(before)
    for (mailbox_id, day), count in used.items():
        most = max(capacity[mailbox_id].on(day), had[mailbox_id, day])
        assert count <= most, f"mailbox {mailbox_id} sends {count} on {day}, has room for {most}"
    days = Counter((row.contact_id, row.send_day) for row in after if row.status in OCCUPYING)
    assert max(days.values(), default=0) <= 1, f"two emails a day: {days}"


def _used(rows: Iterable[Row]) -> Counter[tuple[int, date]]:
    return Counter(
        (row.mailbox_id, row.send_day)
        for row in rows
        if row.status in OCCUPYING and row.mailbox_id is not None and row.send_day is not None
    )


class Limits(NamedTuple):
    """What a mailbox may send a day."""

    daily: int
    ramp_start: int | None
    ramp_increment: int | None
    ramp_from: date | None

    def on(self, day: date) -> int:
        if self.ramp_from is None:
            return self.daily
        since = (day - self.ramp_from).days
        ramp = (self.ramp_start or 0) + (self.ramp_increment or 0) * since
        return min(self.daily, ramp if since >= 0 else 0)


def limits(connection: Connection) -> dict[int, Limits]:
    query = "SELECT id, daily_capacity, ramp_start, ramp_increment, ramp_from FROM mailboxes"
    return {key: Limits(*rest) for key, *rest in connection.execute(text(query))}


ENROLLMENTS = """
    SELECT enrollment.id, status, current_step_id, mailbox_id, stop_reason
    FROM enrollments AS enrollment
"""


def assert_enrollments_follow(
    connection: Connection, rows: Collection[Row], given_back: Collection[int]
) -> None:
    """Each enrollment stands at its newest email that was sent; an ended one gets no more.

    What dispatchers have given back stays pending until the next plan.
    """
    for key, status, step_id, mailbox_id, _ in connection.execute(text(ENROLLMENTS)):
        own = [row for row in rows if row.enrollment_id == key]
        sent = [row for row in own if row.status == "sent"]
        newest = max(sent, key=lambda row: row.sent_at or NOW, default=None)
        if newest is not None:
            assert (step_id, mailbox_id) == (newest.step_id, newest.mailbox_id), newest
        else:
            assert (step_id, mailbox_id) == (None, None), key
        states = {row.status for row in own}
        if status != "active":
            left = [row for row in own if row.status == "pending" and row.id not in given_back]
            assert left == [], f"enrollment {key} is {status}"
        if status == "completed":
            assert states.isdisjoint(("claimed", "sending", "uncertain", "failed")), own
        if "failed" in states:
            assert status in ("failed", "stopped"), own


# ---------------------------------------------------------------- the server's log


@dataclass(frozen=True)
class Accepted:
    """A message that the server has taken over.

    Parameters
    ----------
    message_id : str
    enrollment_id, step_id, mailbox_id : int
    local_day : date
        By the dispatcher's clock, in the email's zone.
    true_time, moment : aware datetime
        By the clock that runs on, and by the dispatcher's.
    in_time : bool
        Whether the lease under which it left still held.
    """

    message_id: str
    enrollment_id: int
    step_id: int
    mailbox_id: int
    local_day: date
    true_time: datetime
    moment: datetime
    in_time: bool


@dataclass
class ServerLog:
    """What an SMTP server has accepted: its moment is the end of DATA."""

    accepted: list[Accepted] = field(default_factory=list)

    def of(self, enrollment_id: int) -> list[Accepted]:
        return [mail for mail in self.accepted if mail.enrollment_id == enrollment_id]

    def has(self, enrollment_id: int, step_id: int) -> bool:
        return any(mail.step_id == step_id for mail in self.of(enrollment_id))

    def accept(self, mail: Accepted, gap: timedelta) -> None:
        """Take a message over, and see that it is the first one and keeps its distance."""
        for other in self.accepted:
            assert other.message_id != mail.message_id, f"accepted twice: {mail}"
            if other.mailbox_id == mail.mailbox_id and other.in_time and mail.in_time:
                apart = mail.true_time - other.true_time
                assert apart >= gap, f"{mail} only {apart} after {other}"
        self.accepted.append(mail)

    def assert_accounted_for(self, rows: Collection[Row]) -> None:
        """What was accepted is sent, uncertain or still at it; what is sent was accepted."""
        status = {
            (row.enrollment_id, row.step_id): (row.status, row.message_id)
            for row in rows
            if row.status != "cancelled"
        }
        for mail in self.accepted:
            state, message_id = status.get((mail.enrollment_id, mail.step_id), ("none", None))
            assert state in ("sent", "uncertain", "sending"), f"{state} though accepted: {mail}"
            assert message_id == mail.message_id, mail
        accepted = {(mail.enrollment_id, mail.step_id) for mail in self.accepted}
        sent = {key for key, (state, _) in status.items() if state == "sent"}
        assert sent <= accepted, f"sent, yet never accepted: {sent - accepted}"


# ---------------------------------------------------------------- what claiming must have looked at


class Incumbent(NamedTuple):
    """All that decides whether an email may be claimed, or may begin to leave."""

    active: bool
    linked: bool
    zone: str
    start_time: time
    end_time: time
    send_days: list[int]
    wait_days: int
    wait_unit: str
    gap: timedelta
    own_mailbox_id: int | None
    own_stands: bool


STANDING = """
    SELECT enrollment.status = 'active' AND contact.suppressed_at IS NULL
               AND sequence.status = 'active' AND mailbox.status = 'active',
           EXISTS (SELECT FROM sequence_mailboxes AS link
                   WHERE link.sequence_id = sequence.id AND link.mailbox_id = mailbox.id),
           coalesce(contact.timezone, sequence.timezone), start_time, end_time, send_days,
           wait_days, wait_unit, mailbox.min_gap_seconds * interval '1 second',
           enrollment.mailbox_id,
           EXISTS (SELECT FROM mailboxes AS own
                   JOIN sequence_mailboxes AS link ON link.mailbox_id = own.id
                   WHERE link.sequence_id = sequence.id AND own.id = enrollment.mailbox_id
                     AND own.status <> 'removed')
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
    JOIN contacts AS contact ON contact.id = contact_id
    JOIN sequences AS sequence ON sequence.id = sequence_id
    JOIN steps AS step ON step.id = step_id
    JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    WHERE email.id = :id
"""


def standing(connection: Connection, email_id: int) -> Incumbent:
    return Incumbent(*connection.execute(text(STANDING), {"id": email_id}).one())


def assert_may_be_claimed(
    row: Row, facts: Incumbent, due_step: int | None, now: datetime, log: ServerLog
) -> None:
    """An email was claimed in its time, in its turn, and from the mailbox of its thread.

    Parameters
    ----------
    row : Row
        As claimed.
    facts : Incumbent
    due_step : int or None
        The step that the enrollment was to get next.
    now : aware datetime
        By the dispatcher's clock.
    log : ServerLog
        In which the waits are looked up.
    """
    assert facts.active, row
    assert facts.linked, row
    assert row.step_id == due_step, f"step {due_step} comes first: {row}"
    assert row.send_at is not None
    assert row.send_day is not None
    assert row.send_at <= now < row.send_at + GRACE, f"not its time, {now}: {row}"
    local = now.astimezone(ZoneInfo(facts.zone))
    assert local.date() == row.send_day, row
    assert local.isoweekday() in facts.send_days, row
    assert facts.start_time <= local.time() < facts.end_time, f"out of its window, {now}: {row}"
    if facts.own_mailbox_id is not None and facts.own_stands:
        assert row.mailbox_id == facts.own_mailbox_id, f"not its thread's mailbox: {row}"
    for mail in log.of(row.enrollment_id):
        assert mail.step_id != row.step_id, f"claimed again after it was accepted: {row}"
    if earlier := log.of(row.enrollment_id):
        ready = ready_day(earlier[-1].local_day, facts)
        assert row.send_day >= ready, f"ready only on {ready}: {row}"


def ready_day(sent: date, facts: Incumbent) -> date:
    """Count a step's wait from the day of the email before it; there are no holidays."""
    one = timedelta(days=1)
    if facts.wait_unit == "sending":
        day = sent
        for _ in range(facts.wait_days):
            day = _sending_day(day + one, facts.send_days)
        return _sending_day(day, facts.send_days)
    return _sending_day(sent + facts.wait_days * one, facts.send_days)


def _sending_day(day: date, send_days: Collection[int]) -> date:
    while day.isoweekday() not in send_days:
        day += timedelta(days=1)
    return day
