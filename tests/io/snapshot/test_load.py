"""The snapshot: what the tables say, whole, of one moment, and no transaction left behind."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import Engine, event, text

from sendplan.io.database.engine import connect
from sendplan.io.errors import DatabaseError
from sendplan.io.planning.nightly import run_plan
from sendplan.io.snapshot import pending_rows
from sendplan.io.snapshot.load import load, read_snapshot, reading
from sendplan.io.snapshot.pending_rows import read_strays
from sendplan.io.snapshot.requests import reach_of
from sendplan.io.snapshot.setting_rows import settings_frame
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.contracts import CONTRACTS
from sendplan.planner.schema.readers import NULL
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames, read_frames, read_plan
from sendplan.tests.worlds.oracle.facts import is_null
from sendplan.tests.worlds.problems.nasty import random_frames

# A Monday before the window opens.
NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)

# One sequence of two steps, one mailbox with room for one email a day, one contact that waits.
WORLD = """
INSERT INTO sequences (id, start_time, end_time) VALUES (1, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position, wait_days) VALUES (11, 1, 1, 0), (12, 1, 2, 1);
INSERT INTO mailboxes (id, email, daily_capacity) VALUES (31, 'a@example.com', 1);
INSERT INTO sequence_mailboxes VALUES (1, 31);
INSERT INTO contacts (id, email) VALUES (21, 'ada@example.com');
INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at)
    VALUES (41, 21, 1, '2026-03-02 05:00+00');
"""

# Another sequence, with a mailbox of its own, whose only email has left.
ENDED = """
INSERT INTO sequences (id, start_time, end_time) VALUES (2, '09:00', '17:00');
INSERT INTO steps (id, sequence_id, position) VALUES (13, 2, 1);
INSERT INTO mailboxes (id, email, daily_capacity) VALUES (32, 'b@example.com', 30);
INSERT INTO contacts (id, email) VALUES (22, 'bob@example.com');
"""


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    """An engine on a database with nothing in it; clearing is quicker than making one."""
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
    yield engine
    engine.dispose()


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def canonical(problem: Problem) -> dict[str, list[Any]]:
    """Give the rows of a problem, in an order that no reading decides."""
    frames = {name: getattr(problem, name) for name in CONTRACTS}
    return {
        name: sorted(map(repr, frame.itertuples(index=False, name=None)))
        for name, frame in frames.items()
    }


def loaded_rows(engine: Engine, table: str, now: datetime = NOW) -> list[dict[str, Any]]:
    """Give the rows of a loaded table by column, nulls left out, days and times as such."""
    frame = getattr(load(engine, now).problem(now), table)
    return [
        {str(name): as_stored(str(name), value) for name, value in row.items() if known(value)}
        for row in frame.astype(object).to_dict("records")
    ]


def known(value: Any) -> bool:
    return not is_null(value) and value != NULL


def as_stored(column: str, value: Any) -> Any:
    if column.endswith("_at"):
        return pd.Timestamp(value, unit="us", tz="UTC")
    return pd.Timestamp(value, unit="D") if column.endswith("_day") else value


# ---------------------------------------------------------------- what it says


def test_an_empty_database_is_an_empty_problem(engine: Engine) -> None:
    problem = load(engine, NOW).problem(NOW)
    assert all(len(getattr(problem, name)) == 0 for name in CONTRACTS)


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_is_what_the_tables_say(engine: Engine, seed: int) -> None:
    """Read by plain SQL the same rows make the same problem, for instances with every feature."""
    frames, now = random_frames(seed)
    with engine.begin() as connection:
        put_frames(connection, frames, now)
        plain = read_frames(connection)
    snapshot = load(engine, now)
    # Cancelled rows and people who ended without leaving a trace say nothing to a plan.
    problem = snapshot.problem(now)
    read = plain["enrollments"]["id"].isin(problem.enrollments["id"])
    emails = plain["scheduled_emails"]
    own = emails["enrollment_id"].isin(plain["enrollments"]["id"][read])
    plain["enrollments"] = plain["enrollments"][read]
    plain["scheduled_emails"] = emails[own & (emails["status"] != "cancelled")]
    # completed_at plays no part in planning.
    expected = Problem.from_frames(**plain, now=now)
    assert canonical(problem) == canonical(expected)


def test_the_people_left_out_are_those_who_wait_for_nothing(engine: Engine) -> None:
    frames, now = random_frames(3, features={"statuses", "history", "slots", "in_flight"})
    with engine.begin() as connection:
        put_frames(connection, frames, now)
        plain = read_frames(connection)
    people, emails = plain["enrollments"], plain["scheduled_emails"]
    waiting = set(people["id"][people["status"] == "active"])
    waiting |= set(emails["enrollment_id"][emails["status"] == "pending"])
    assert waiting <= set(load(engine, now).problem(now).enrollments["id"])


def test_every_type_arrives_as_it_was_stored(engine: Engine) -> None:
    run_sql(
        engine,
        """
        INSERT INTO sequences (id, name, start_time, end_time, timezone, send_days, holidays,
                               wait_unit, priority, max_new_per_day, status)
            VALUES (1, 'Großes – "1"', '08:30:15', '16:59:59', 'America/Santiago', '{7,1}', 'CL',
                    'sending', 0.25, 7, 'paused');
        INSERT INTO steps (id, sequence_id, position, wait_days, removed_at) VALUES
            (11, 1, 1, 3, NULL), (12, 1, NULL, 0, '2026-02-01 00:00:00.000001+01');
        INSERT INTO mailboxes (id, email, daily_capacity, min_gap_seconds, ramp_start,
                               ramp_increment, ramp_from, status)
            VALUES (31, 'a@example.com', 50, 90, 5, 2, '2026-02-28', 'removed'),
                   (32, 'b@example.com', 0, 0, NULL, NULL, NULL, 'active');
        INSERT INTO sequence_mailboxes VALUES (1, 32);
        INSERT INTO contacts (id, email, timezone, suppressed_at) VALUES
            (21, 'ada@example.com', 'Asia/Tokyo', NULL),
            (22, 'bob@example.com', NULL, '1969-12-31 23:59:59.999999+00');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, current_step_id,
                                 mailbox_id)
            VALUES (41, 21, 1, '2026-03-01 23:30:00.123456-05', 11, 31),
                   (9007199254740993, 22, 1, '2026-03-02 00:00+00', NULL, NULL);
        INSERT INTO scheduled_emails (id, enrollment_id, step_id, mailbox_id, send_day, send_at,
                                      sent_at, plan_run_id, unplaced_reason, status)
            VALUES (61, 41, 11, 31, '2026-03-02', '2026-03-02 08:30+09',
                    '2026-03-02 08:30:00.000001+09', NULL, NULL, 'sent'),
                   (62, 41, 12, NULL, NULL, NULL, NULL, NULL, 'no_room', 'pending'),
                   (63, 9007199254740993, 11, NULL, NULL, NULL, NULL, NULL, 'of my own', 'pending');
        """,
    )
    problem = load(engine, NOW).problem(NOW)
    sequence = problem.sequences.iloc[0]
    assert (sequence["name"], sequence["timezone"]) == ('Großes – "1"', "America/Santiago")
    assert (sequence["start_time"], sequence["end_time"]) == (30_615, 61_199)
    assert (sequence["send_days"], sequence["holidays"]) == ((1, 7), "CL")
    assert (sequence["wait_unit"], sequence["priority"]) == ("sending", 0.25)
    assert (sequence["max_new_per_day"], sequence["status"]) == (7, "paused")
    assert loaded_rows(engine, "mailboxes")[1] == {
        "id": 32,
        "email": "b@example.com",
        "daily_capacity": 0,
        "min_gap_seconds": 0,
        "status": "active",
    }
    mailbox = problem.mailboxes.iloc[0]
    assert mailbox["ramp_from"] == (date(2026, 2, 28) - date(1970, 1, 1)).days
    removed = settings_frame("steps", load(engine, NOW).settings["steps"]).set_index("id").loc[12]
    assert pd.isna(removed["position"])
    assert removed["removed_at"] == datetime(2026, 1, 31, 23, 0, 0, 1, tzinfo=UTC)

    ada, bob = loaded_rows(engine, "enrollments")
    assert ada == {
        "id": 41,
        "contact_id": 21,
        "sequence_id": 1,
        "enrolled_at": pd.Timestamp("2026-03-02 04:30:00.123456+00:00"),
        "current_step_id": 11,
        "mailbox_id": 31,
        "status": "active",
        "contact_timezone": "Asia/Tokyo",
    }
    # The first number that a float could not hold.
    assert bob["id"] == 2**53 + 1
    assert bob["suppressed_at"] == pd.Timestamp("1969-12-31 23:59:59.999999+00:00")
    assert not {"contact_timezone", "current_step_id", "mailbox_id"} & set(bob)

    sent, unplaced, _ = loaded_rows(engine, "scheduled_emails")
    assert sent == {
        "id": 61,
        "enrollment_id": 41,
        "step_id": 11,
        "mailbox_id": 31,
        "send_day": pd.Timestamp("2026-03-02"),
        "send_at": pd.Timestamp("2026-03-01 23:30+00:00"),
        "sent_at": pd.Timestamp("2026-03-01 23:30:00.000001+00:00"),
        "status": "sent",
    }
    assert unplaced == {
        "id": 62,
        "enrollment_id": 41,
        "step_id": 12,
        "unplaced_reason": "no_room",
        "status": "pending",
    }


def test_what_is_known_of_contacts_finds_its_enrollments(engine: Engine) -> None:
    """Several enrollments of a contact, zones in no order, and contacts with no enrollment."""
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        """
        INSERT INTO contacts (id, email, timezone, suppressed_at) VALUES
            (7, 'c7', 'Europe/Oslo', NULL), (8, 'c8', 'Africa/Cairo', '2026-01-01 00:00+00'),
            (9, 'c9', NULL, '2026-01-02 00:00+00'), (10, 'c10', 'Asia/Tokyo', NULL);
        INSERT INTO enrollments (id, contact_id, sequence_id) VALUES
            (50, 9, 1), (51, 8, 1), (52, 7, 2), (53, 8, 2), (54, 7, 1);
        """,
    )
    new_year = pd.Timestamp("2026-01-01", tz="UTC")
    rows = loaded_rows(engine, "enrollments")
    found = {row["id"]: (row.get("contact_timezone"), row.get("suppressed_at")) for row in rows}
    assert found == {
        41: (None, None),
        50: (None, new_year + timedelta(days=1)),
        51: ("Africa/Cairo", new_year),
        52: ("Europe/Oslo", None),
        53: ("Africa/Cairo", new_year),
        54: ("Europe/Oslo", None),
    }


# ---------------------------------------------------------------- a part of it


@pytest.mark.parametrize("seed", range(6))
def test_a_reach_is_read_as_its_share_of_everything(engine: Engine, seed: int) -> None:
    """Each component with its own people and emails, by whichever way it is read."""
    frames, now = random_frames(seed)
    with engine.begin() as connection:
        put_frames(connection, frames, now)
        strays = read_strays(connection)
        sequence_ids = connection.scalars(text("SELECT id FROM sequences")).all()
        reaches = {reach_of(connection, [key]) for key in sequence_ids}
    everything = load(engine, now).problem(now)
    for reach in reaches:
        people = everything.enrollments[everything.enrollments["sequence_id"].isin(reach)]
        emails = everything.scheduled_emails
        emails = emails[emails["enrollment_id"].isin(people["id"])]
        for known in (None, strays):
            with reading(engine) as connection:
                part = read_snapshot(connection, now, None, reach, strays=known).problem(now)
            own = part.scheduled_emails["enrollment_id"].isin(part.enrollments["id"])
            assert_frame_equal(part.enrollments, people.reset_index(drop=True))
            assert_frame_equal(
                part.scheduled_emails[own].reset_index(drop=True), emails.reset_index(drop=True)
            )


# Sequence 2 has slots of mailbox 31, which only sequence 1 is linked to: one that was planned, one
# that is provisional, one sent today and one long ago.
BESIDE = """
INSERT INTO plan_runs (id) VALUES (1);
INSERT INTO steps (id, sequence_id, position) VALUES (14, 2, 2), (15, 2, 3), (16, 2, 4);
INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (42, 22, 2);
INSERT INTO scheduled_emails
    (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id, status, sent_at) VALUES
    (42, 13, 31, '2026-03-03', '2026-03-03 10:00+00', 1, 'pending', NULL),
    (42, 14, 31, '2026-03-04', '2026-03-04 10:00+00', NULL, 'pending', NULL),
    (42, 15, 31, '2026-03-02', '2026-03-02 05:00+00', 1, 'sent', '2026-03-02 05:00+00'),
    (42, 16, 31, '2025-03-02', '2025-03-02 05:00+00', 1, 'sent', '2025-03-02 05:00+00');
"""


@pytest.mark.parametrize("given", [True, False], ids=["strays given", "strays looked for"])
def test_what_others_use_of_a_mailbox_within_reach_is_fixed(engine: Engine, given: bool) -> None:
    """Only planned emails, which a plan within reach cannot move, and recently sent ones."""
    run_sql(engine, WORLD + ENDED + BESIDE)
    with reading(engine) as connection:
        strays = read_strays(connection) if given else None
        problem = read_snapshot(connection, NOW, None, frozenset({1}), strays=strays).problem(NOW)
    assert problem.enrollments["id"].tolist() == [41]
    rows = problem.scheduled_emails
    found = zip(rows["enrollment_id"], rows["step_id"], rows["status"], strict=True)
    assert list(found) == [(42, 13, "claimed"), (42, 15, "sent")]


# Ended enrollments of sequence 1: one to tidy up, one whose email left today from a mailbox that is
# linked, one from a mailbox that is not, and two of which nothing matters.
ENDED_WITHIN = """
INSERT INTO contacts (id, email) VALUES (1, 'c1'), (2, 'c2'), (3, 'c3'), (4, 'c4'), (5, 'c5');
INSERT INTO enrollments (id, contact_id, sequence_id, mailbox_id, status) VALUES
    (1, 1, 1, NULL, 'stopped'), (2, 2, 1, 31, 'completed'), (3, 3, 1, 32, 'stopped'),
    (4, 4, 1, 31, 'completed'), (5, 5, 1, NULL, 'failed');
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, sent_at, status) VALUES
    (1, 11, NULL, NULL, NULL, 'pending'),
    (2, 11, 31, '2026-03-02', '2026-03-02 05:00+00', 'sent'),
    (3, 11, 32, '2026-03-02', '2026-03-02 05:00+00', 'sent'),
    (4, 11, 31, '2026-02-02', '2026-02-02 05:00+00', 'sent'),
    (5, 11, 31, '2026-03-02', NULL, 'failed');
"""


@pytest.mark.parametrize("given", [True, False], ids=["strays given", "strays looked for"])
def test_who_has_ended_within_reach_comes_along_while_it_matters(
    engine: Engine, given: bool
) -> None:
    run_sql(engine, WORLD + ENDED + ENDED_WITHIN)
    with reading(engine) as connection:
        strays = read_strays(connection) if given else None
        part = read_snapshot(connection, NOW, None, frozenset({1}), strays=strays).problem(NOW)
    assert part.enrollments["id"].tolist() == [1, 2, 3, 41]
    assert load(engine, NOW).problem(NOW).enrollments["id"].tolist() == [1, 2, 3, 41]


def test_days_that_contacts_within_reach_have_elsewhere(engine: Engine) -> None:
    """Ada gets an email of sequence 2 tomorrow; Bob, who is not within reach, does not count."""
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        """
        INSERT INTO plan_runs (id) VALUES (1);
        INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (42, 21, 2), (43, 22, 2);
        INSERT INTO scheduled_emails
            (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id) VALUES
            (42, 13, 32, '2026-03-03', '2026-03-03 10:00+00', 1),
            (43, 13, 32, '2026-03-04', '2026-03-04 10:00+00', 1);
        """,
    )
    with reading(engine) as connection:
        part = read_snapshot(connection, NOW, None, frozenset({1})).problem(NOW)
    tomorrow = (date(2026, 3, 3) - date(1970, 1, 1)).days
    assert part.contact_days.to_numpy().tolist() == [[21, tomorrow]]


# ---------------------------------------------------------------- history


def test_what_ended_long_ago_stays_in_the_database(engine: Engine) -> None:
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        """
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (42, 22, 2, '2025-03-02 05:00+00', 'completed');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, sent_at, status)
            VALUES (42, 13, 32, '2025-03-03', '2025-03-03 09:00+00', 'sent');
        """,
    )
    problem = load(engine, NOW).problem(NOW)
    assert list(problem.enrollments["id"]) == [41]
    assert len(problem.scheduled_emails) == 0


def test_the_history_of_who_goes_on_is_read_however_old(engine: Engine) -> None:
    run_sql(engine, WORLD)
    run_sql(
        engine,
        """
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (41, 11, 31, '2016-03-03 09:00+00', 'sent')
        """,
    )
    # Ten years on the second step is what comes next, and nothing of the first.
    plan = run_plan(engine, NOW, Parameters(), dry_run=True).plan
    assert plan.sends["step_id"].tolist() == [12]


CLAIMED = "'2026-03-02', '2026-03-02 05:10+00', NULL, 'claimed'"
UNCERTAIN = "'2026-03-02', '2026-03-02 05:10+00', NULL, 'uncertain'"
SENT = "'2026-03-02', '2026-03-02 05:10+00', '2026-03-02 05:10:02+00', 'sent'"
SENT_BY_PLAIN_SQL = "NULL, NULL, '2026-03-02 05:10:02+00', 'sent'"


@pytest.mark.parametrize(
    ("status", "email"),
    [
        ("completed", SENT),
        ("completed", SENT_BY_PLAIN_SQL),
        ("stopped", SENT),
        ("stopped", CLAIMED),
        ("stopped", UNCERTAIN),
        ("failed", SENT),
    ],
)
def test_todays_use_by_who_has_ended_counts(engine: Engine, status: str, email: str) -> None:
    """The one email that mailbox 31 may send today has left, or is about to: Tuesday it is."""
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        f"""
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (42, 22, 2, '2026-03-01 05:00+00', '{status}');
        INSERT INTO scheduled_emails
            (enrollment_id, step_id, mailbox_id, send_day, send_at, sent_at, status)
            VALUES (42, 13, 31, {email});
        """,
    )
    plan = run_plan(engine, NOW, Parameters(), dry_run=True).plan
    assert plan.sends["send_day"].dt.date.tolist() == [date(2026, 3, 3), date(2026, 3, 4)]


@pytest.mark.parametrize("status", ["completed", "stopped", "failed"])
def test_todays_email_to_a_contact_counts_whatever_became_of_it(
    engine: Engine, status: str
) -> None:
    """Ada has had her email of today from a sequence that has ended for her: Tuesday it is."""
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        f"""
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (42, 21, 2, '2026-03-01 05:00+00', '{status}');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (42, 13, 32, '2026-03-02 05:10+00', 'sent');
        """,
    )
    plan = run_plan(engine, NOW, Parameters(), dry_run=True).plan
    assert plan.sends["send_day"].dt.date.tolist() == [date(2026, 3, 3), date(2026, 3, 4)]


def test_todays_first_emails_count_when_their_enrollments_have_ended(engine: Engine) -> None:
    """With one new contact a day, Bob's of this morning leaves Ada Tuesday."""
    run_sql(engine, WORLD)
    run_sql(
        engine,
        """
        UPDATE sequences SET max_new_per_day = 1;
        UPDATE mailboxes SET daily_capacity = 30;
        INSERT INTO contacts (id, email) VALUES (22, 'bob@example.com');
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (42, 22, 1, '2026-03-01 05:00+00', 'stopped');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (42, 11, 31, '2026-03-02 05:10+00', 'sent');
        """,
    )
    plan = run_plan(engine, NOW, Parameters(), dry_run=True).plan
    assert plan.sends["send_day"].dt.date.tolist() == [date(2026, 3, 3), date(2026, 3, 4)]


@pytest.mark.parametrize(
    ("zone", "now", "sent_at"),
    [
        # At 09:30 UTC of 2 March it is 23:30 of 1 March in Honolulu (UTC-10) …
        ("Pacific/Honolulu", "2026-03-02 09:30+00", "2026-03-01 10:30+00"),
        # … and at 10:30 UTC of 1 March 00:30 of 2 March on Kiritimati (UTC+14).
        ("Pacific/Kiritimati", "2026-03-01 10:30+00", "2026-03-01 10:10+00"),
    ],
)
def test_today_is_the_contacts_own_in_every_time_zone(
    engine: Engine, zone: str, now: str, sent_at: str
) -> None:
    """Both emails of the contact would leave on one local day if the first were not seen."""
    run_sql(engine, WORLD + ENDED)
    run_sql(
        engine,
        f"""
        UPDATE sequences
            SET start_time = '00:00', end_time = '23:59', send_days = '{{1,2,3,4,5,6,7}}';
        UPDATE mailboxes SET daily_capacity = 30;
        UPDATE contacts SET timezone = '{zone}';
        UPDATE enrollments SET enrolled_at = '2026-02-20 05:00+00';
        INSERT INTO enrollments (id, contact_id, sequence_id, enrolled_at, status)
            VALUES (42, 21, 2, '2026-02-20 05:00+00', 'completed');
        INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, sent_at, status)
            VALUES (42, 13, 32, '{sent_at}', 'sent');
        """,
    )
    moment = datetime.fromisoformat(now)
    plan = run_plan(engine, moment, Parameters(), dry_run=True).plan
    had = pd.Timestamp(sent_at).tz_convert(zone).date()
    assert had == pd.Timestamp(moment).tz_convert(zone).date()
    assert plan.sends["send_day"].dt.date.min() == had + timedelta(days=1)


# ---------------------------------------------------------------- one moment


@pytest.fixture(params=[1_000_000, 0], ids=["one session", "two sessions"])
def sessions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as small databases are, and as large ones."""
    monkeypatch.setattr(pending_rows, "MANY_PAGES", request.param)


@pytest.mark.usefixtures("sessions")
def test_every_email_is_read_once(engine: Engine) -> None:
    """1,000 of them lie on more than ten pages of the table, of which each session reads half."""
    run_sql(engine, WORLD)
    run_sql(
        engine,
        """
        INSERT INTO contacts (id, email) SELECT n, 'c' || n FROM generate_series(1001, 2000) AS n;
        INSERT INTO enrollments (id, contact_id, sequence_id)
            SELECT n, n, 1 FROM generate_series(1001, 2000) AS n;
        INSERT INTO scheduled_emails (enrollment_id, step_id)
            SELECT n, 11 FROM generate_series(1001, 2000) AS n;
        """,
    )
    problem = load(engine, NOW).problem(NOW)
    assert problem.scheduled_emails["enrollment_id"].tolist() == list(range(1001, 2001))
    assert problem.enrollments["id"].tolist() == [41, *range(1001, 2001)]


@pytest.mark.usefixtures("sessions")
def test_a_change_committed_meanwhile_is_not_seen_half(
    engine: Engine, module_database_url: str
) -> None:
    """After each statement of the reading, another session adds a row to every table."""
    writer = connect(module_database_url)
    added = 0

    def add(*_: object) -> None:
        nonlocal added
        added += 1
        with writer.begin() as connection:
            connection.execute(text(ROW_IN_EVERY_TABLE), {"id": added})

    event.listen(engine, "after_cursor_execute", add)
    try:
        snapshot = load(engine, NOW)
    finally:
        event.remove(engine, "after_cursor_execute", add)
        writer.dispose()
    assert added > 1, "the reading was over before anything changed"
    assert len({len(table) for table in snapshot.tables.values()}) == 1
    # It is a problem: no row names one that is not there.
    snapshot.problem(NOW)


ROW_IN_EVERY_TABLE = """
    INSERT INTO sequences (id, start_time, end_time) VALUES (:id, '09:00', '17:00');
    INSERT INTO steps (id, sequence_id, position) VALUES (:id, :id, 1);
    INSERT INTO mailboxes (id, email, daily_capacity) VALUES (:id, CAST(:id AS text), 1);
    INSERT INTO sequence_mailboxes VALUES (:id, :id);
    INSERT INTO contacts (id, email, timezone)
        VALUES (:id, CAST(:id AS text), 'Etc/GMT-' || mod(:id, 14));
    INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (:id, :id, :id);
    INSERT INTO scheduled_emails (id, enrollment_id, step_id) VALUES (:id, :id, :id);
"""

OPEN_TRANSACTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in%'
"""


@pytest.mark.usefixtures("sessions")
def test_the_transaction_is_over_before_anybody_solves(
    engine: Engine, module_database_url: str
) -> None:
    run_sql(engine, WORLD)
    # Within one transaction the activity of others would be what it was at the first look.
    watcher = connect(module_database_url).execution_options(isolation_level="AUTOCOMMIT")

    def open_transactions() -> int:
        with watcher.connect() as connection:
            return int(connection.scalar(text(OPEN_TRANSACTIONS)) or 0)

    open_while: dict[str, int] = {}
    load(engine, NOW)
    assert open_transactions() == 0
    with engine.begin() as connection:  # what is looked for would be found
        connection.execute(text("SELECT 1"))
        assert open_transactions() == 1
    run_plan(
        engine,
        NOW,
        Parameters(),
        report=lambda phase: open_while.update({phase: open_transactions()}),
    )
    watcher.dispose()
    assert open_while["solve"] == open_while["check"] == 0


@pytest.mark.usefixtures("sessions")
def test_reading_fails_as_a_database_error(engine: Engine) -> None:
    run_sql(engine, "ALTER TABLE scheduled_emails RENAME TO elsewhere")
    try:
        with pytest.raises(DatabaseError, match="scheduled_emails"):
            load(engine, NOW)
    finally:
        run_sql(engine, "ALTER TABLE elsewhere RENAME TO scheduled_emails")


def test_planning_reads_back_what_it_wrote(engine: Engine) -> None:
    run_sql(engine, WORLD)
    plan = run_plan(engine, NOW, Parameters()).plan
    with engine.connect() as connection:
        sends, _ = read_plan(connection)
    rows = loaded_rows(engine, "scheduled_emails")

    def slots(rows: list[Any]) -> list[Any]:
        return [
            (row["step_id"], row["mailbox_id"], pd.Timestamp(row["send_day"]), row["send_at"])
            for row in rows
        ]

    def records(frame: pd.DataFrame) -> list[Any]:
        return frame.astype(object).to_dict("records")

    assert slots(rows) == slots(records(sends)) == slots(records(plan.sends))
