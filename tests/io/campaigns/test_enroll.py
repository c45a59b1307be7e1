"""Enrolling: who gets which first email, on which day, from which mailbox; what stays."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine, text

from sendplan.io.campaigns.campaign_file import read_campaign
from sendplan.io.campaigns.contact_list import ContactList, parse_contacts, read_contacts
from sendplan.io.campaigns.enroll import EnrollReport, enroll
from sendplan.io.campaigns.loading import load
from sendplan.io.campaigns.ready_days import ReadyDays
from sendplan.io.errors import DataError
from sendplan.planner.schema.dates import to_microseconds
from sendplan.tests.worlds.databases.contents import stored

DATA = Path(__file__).parents[2] / "data"
NOW = dt.datetime(2026, 11, 18, 8, 0, tzinfo=dt.UTC)
"""A Wednesday, 9:00 in Berlin and 3:00 in New York."""


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def sequence(connection: Connection, pool: int = 2, **columns: object) -> None:
    """Make a sequence of two steps; unless said otherwise, 9 to 17 o'clock in Berlin."""
    values = {
        "name": "S", "start_time": "09:00", "end_time": "17:00", "timezone": "Europe/Berlin",
        **columns,
    }  # fmt: skip
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    statement = f"INSERT INTO sequences ({names}) VALUES ({marks}) RETURNING id"
    number = connection.execute(text(statement), values).scalar_one()
    run(connection, f"""
        INSERT INTO steps (sequence_id, position, wait_days, subject, content)
        VALUES ({number}, 2, 3, 'Re: hi', 'Bye'), ({number}, 1, 0, 'Hi', 'Hello');
        INSERT INTO mailboxes (email, daily_capacity)
        SELECT 'm' || n || '@s{number}.example', 50 FROM generate_series(1, {pool}) AS n;
        INSERT INTO sequence_mailboxes
        SELECT {number}, id FROM mailboxes WHERE email LIKE '%@s{number}.example'""")  # fmt: skip


def run(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))
    connection.commit()


def people(count: int, first: int = 1) -> ContactList:
    rows = (f"p{number}@x.example\n" for number in range(first, first + count))
    return parse_contacts("email\n" + "".join(rows))


def emails(connection: Connection) -> list[tuple[object, ...]]:
    """The scheduled emails: contact, position, mailbox, send_day, send_at, plan_run_id, status."""
    rows = connection.execute(text("""
        SELECT contacts.email, position, left(mailboxes.email, 2), send_day, send_at, plan_run_id,
               scheduled_emails.status
        FROM scheduled_emails JOIN enrollments ON enrollments.id = enrollment_id
        JOIN contacts ON contacts.id = contact_id JOIN steps ON steps.id = step_id
        LEFT JOIN mailboxes ON mailboxes.id = scheduled_emails.mailbox_id
        ORDER BY scheduled_emails.id""")).all()  # fmt: skip
    connection.rollback()
    return [tuple(row) for row in rows]


def test_each_contact_gets_one_provisional_first_email(connection: Connection) -> None:
    sequence(connection)
    calls: list[tuple[int, int]] = []
    report = enroll(connection, "S", people(3), NOW, lambda *done: calls.append(done))
    day = dt.date(2026, 11, 18)
    assert report == EnrollReport(1, 3, 3, 0, 0, 3, 0, 0, 2, day, day)
    opens = dt.datetime(2026, 11, 18, 8, 0, tzinfo=dt.UTC)
    assert emails(connection) == [
        ("p1@x.example", 1, "m1", day, opens, None, "pending"),
        ("p2@x.example", 1, "m2", day, opens, None, "pending"),
        ("p3@x.example", 1, "m1", day, opens, None, "pending"),
    ]
    assert calls == [(3, 3)]
    query = "SELECT enrolled_at, current_step_id, mailbox_id, status FROM enrollments"
    assert {tuple(row) for row in connection.execute(text(query))} == {(NOW, None, None, "active")}


def test_the_example_of_the_readme(connection: Connection) -> None:
    load(connection, read_campaign(DATA / "campaign.toml"))
    listed = read_contacts(DATA / "contacts.csv")
    report = enroll(connection, "Autumn webinar", listed, NOW)
    assert (report.enrolled, report.mailboxes) == (6, 3)
    # “Second chance” greets without a name where there is none, so it takes the same list.
    assert enroll(connection, "Second chance", listed, NOW).known_contacts == 6


def test_enrolling_again_changes_nothing(connection: Connection) -> None:
    sequence(connection)
    enroll(connection, "S", people(3), NOW)
    # Whatever became of a thread, it is not begun a second time.
    run(connection, "UPDATE enrollments SET status = 'stopped' WHERE id = 1")
    run(connection, "UPDATE scheduled_emails SET status = 'cancelled' WHERE id = 1")
    before = stored(connection)
    report = enroll(connection, "S", people(3), NOW + dt.timedelta(days=9))
    assert (report.enrolled, report.already_enrolled, report.known_contacts) == (0, 3, 3)
    assert (report.merged_contacts, report.first_day) == (0, None)
    assert stored(connection) == before


def test_known_contacts_are_reused_and_their_attributes_merged(connection: Connection) -> None:
    sequence(connection)
    run(connection, """
        INSERT INTO contacts (email, timezone, attributes) VALUES
        ('Ann@X.example', 'Asia/Tokyo', '{"first_name": "Anna", "city": "Kyoto"}'),
        ('ben@x.example', NULL, '{"first_name": "Ben"}'),
        ('cleo@x.example', 'Asia/Tokyo', '{}')""")  # fmt: skip
    listed = parse_contacts(
        "email,first_name,timezone\nann@x.example,Ann,\nBEN@x.example,Ben,\n"
        "cleo@x.example,,Europe/Paris\ndora@x.example,Dora,\n"
    )
    report = enroll(connection, "S", listed, NOW)
    assert (report.new_contacts, report.known_contacts, report.merged_contacts) == (1, 3, 2)
    query = "SELECT email, timezone, attributes FROM contacts ORDER BY lower(email)"
    assert [tuple(row) for row in connection.execute(text(query))] == [
        ("Ann@X.example", "Asia/Tokyo", {"first_name": "Ann", "city": "Kyoto"}),
        ("ben@x.example", None, {"first_name": "Ben"}),
        ("cleo@x.example", "Europe/Paris", {}),
        ("dora@x.example", None, {"first_name": "Dora"}),
    ]


def test_suppressed_contacts_are_left_alone(connection: Connection) -> None:
    sequence(connection)
    run(connection, "INSERT INTO contacts (email, suppressed_at) VALUES ('P2@x.example', now())")
    report = enroll(connection, "S", people(3), NOW)
    assert (report.enrolled, report.suppressed, report.already_enrolled) == (2, 1, 0)
    assert [row[0] for row in emails(connection)] == ["p1@x.example", "p3@x.example"]


def test_mailboxes_are_shared_evenly_over_what_they_hold(connection: Connection) -> None:
    sequence(connection, pool=4)
    run(connection, "UPDATE mailboxes SET status = 'paused' WHERE id = 3")
    enroll(connection, "S", people(1), NOW)  # m1
    # m1 holds one already: m2 and m4 come first, then all in turn.
    enroll(connection, "S", people(5, first=2), NOW)
    assert [row[2] for row in emails(connection)] == ["m1", "m2", "m4", "m1", "m2", "m4"]


def test_planned_rows_do_not_count_as_provisional(connection: Connection) -> None:
    sequence(connection)
    enroll(connection, "S", people(1), NOW)
    run(connection, "INSERT INTO plan_runs DEFAULT VALUES")
    run(connection, "UPDATE scheduled_emails SET plan_run_id = 1")
    enroll(connection, "S", people(1, first=2), NOW)
    assert [row[2] for row in emails(connection)] == ["m1", "m1"]


def test_without_an_active_mailbox_there_is_none(connection: Connection) -> None:
    sequence(connection)
    run(connection, "UPDATE mailboxes SET status = 'paused'")
    report = enroll(connection, "S", people(1), NOW)
    assert report.mailboxes == 0
    assert [row[2:4] for row in emails(connection)] == [(None, dt.date(2026, 11, 18))]


def test_in_a_paused_sequence_emails_have_no_slot(connection: Connection) -> None:
    sequence(connection, status="paused")
    report = enroll(connection, "S", people(2), NOW)
    assert (report.enrolled, report.first_day) == (2, None)
    assert [row[2:5] for row in emails(connection)] == [(None, None, None)] * 2


READY = [
    # now, sequence's columns, contact's zone (empty: the sequence's), send_day, send_at in UTC
    # Wednesday before, within and at the end of the window of 9:00 to 17:00 in Berlin (UTC+1).
    ("2026-11-18T05:00Z", {}, "", "2026-11-18", "2026-11-18T08:00Z"),
    ("2026-11-18T12:00Z", {}, "", "2026-11-18", "2026-11-18T08:00Z"),
    ("2026-11-18T15:59:59Z", {}, "", "2026-11-18", "2026-11-18T08:00Z"),
    ("2026-11-18T16:00Z", {}, "", "2026-11-19", "2026-11-19T08:00Z"),
    # Friday evening, and Saturday: Monday.
    ("2026-11-20T20:00Z", {}, "", "2026-11-23", "2026-11-23T08:00Z"),
    ("2026-11-21T09:00Z", {}, "", "2026-11-23", "2026-11-23T08:00Z"),
    # 3:00 in New York (UTC-5) on the same Wednesday; at 23:30 UTC its window has closed.
    ("2026-11-18T08:00Z", {}, "America/New_York", "2026-11-18", "2026-11-18T14:00Z"),
    ("2026-11-18T23:30Z", {}, "America/New_York", "2026-11-19", "2026-11-19T14:00Z"),
    # 23:30 UTC is Thursday 8:30 in Tokyo, and Wednesday 13:30 in Honolulu.
    ("2026-11-18T23:30Z", {}, "Asia/Tokyo", "2026-11-19", "2026-11-19T00:00Z"),
    ("2026-11-18T23:30Z", {}, "Pacific/Honolulu", "2026-11-18", "2026-11-18T19:00Z"),
    # Christmas Day and Boxing Day are holidays in Germany (Friday and Saturday in 2026).
    ("2026-12-25T08:00Z", {"holidays": "DE"}, "", "2026-12-28", "2026-12-28T08:00Z"),
    ("2026-12-25T08:00Z", {}, "", "2026-12-25", "2026-12-25T08:00Z"),
    # Thanksgiving holds for the sequence's country, wherever the contact lives.
    ("2026-11-26T06:00Z", {"holidays": "US"}, "", "2026-11-27", "2026-11-27T08:00Z"),
    # Wednesdays only.
    ("2026-11-19T08:00Z", {"send_days": [3]}, "", "2026-11-25", "2026-11-25T08:00Z"),
    # The clocks go forward on 28 March 2027 in Berlin: 2:30 does not exist, 3:00 is the first
    # instant after the gap.
    ("2027-03-28T00:00Z", {"send_days": [7], "start_time": "02:30"}, "", "2027-03-28",
     "2027-03-28T01:00Z"),
    # They go back on 25 October 2026: of the two 2:30 it is the first, still at UTC+2.
    ("2026-10-25T00:00Z", {"send_days": [7], "start_time": "02:30"}, "", "2026-10-25",
     "2026-10-25T00:30Z"),
    # Lord Howe's gap is of half an hour, 2:00 to 2:30 on 4 October 2026 (UTC+10:30 to +11).
    ("2026-10-03T14:00Z", {"send_days": [7], "start_time": "02:10"}, "Australia/Lord_Howe",
     "2026-10-04", "2026-10-03T15:30Z"),
    # Santiago skips midnight to 1:00 on 6 September 2026 (UTC-4 to -3).
    ("2026-09-06T04:00Z", {"send_days": [7], "start_time": "00:00"}, "America/Santiago",
     "2026-09-06", "2026-09-06T04:00Z"),
]  # fmt: skip


@pytest.mark.parametrize(("now", "columns", "zone", "day", "instant"), READY)
def test_the_ready_day(
    now: str, columns: dict[str, object], zone: str, day: str, instant: str
) -> None:
    values = {"send_days": [1, 2, 3, 4, 5], "holidays": None, "start_time": "09:00", **columns}
    opens = dt.time.fromisoformat(str(values.pop("start_time")))
    start_second = opens.hour * 3600 + opens.minute * 60
    row = SimpleNamespace(start_second=start_second, end_second=17 * 3600, **values)
    ready = ReadyDays(row, to_microseconds(now))
    assert ready.slot(zone or "Europe/Berlin") == (
        dt.date.fromisoformat(day),
        dt.datetime.fromisoformat(instant),
    )


def test_a_window_may_end_at_midnight(connection: Connection) -> None:
    sequence(connection)
    run(connection, "UPDATE sequences SET end_time = '24:00'")
    now = dt.datetime(2026, 11, 18, 22, 59, tzinfo=dt.UTC)  # 23:59 in Berlin: still open
    enroll(connection, "S", people(1), now)
    assert [row[3] for row in emails(connection)] == [dt.date(2026, 11, 18)]


def test_days_differ_by_the_contacts_stored_zone(connection: Connection) -> None:
    sequence(connection)
    run(connection, "INSERT INTO contacts (email, timezone) VALUES ('p1@x.example', 'Asia/Tokyo')")
    now = dt.datetime(2026, 11, 18, 9, tzinfo=dt.UTC)  # 18:00 in Tokyo: closed
    report = enroll(connection, "S", people(2), now)
    assert [row[3] for row in emails(connection)] == [
        dt.date(2026, 11, 19),
        dt.date(2026, 11, 18),
    ]
    assert (report.first_day, report.last_day) == (dt.date(2026, 11, 18), dt.date(2026, 11, 19))


def test_a_calendar_without_a_sending_day_in_sight(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From Wednesday on, three days of calendar hold no Monday.
    monkeypatch.setattr("sendplan.planner.schema.scalar_dates.CALENDAR_DAYS", 3)
    sequence(connection, send_days=[1])
    before = stored(connection)
    with pytest.raises(DataError, match="'S' has no sending day – check its send_days"):
        enroll(connection, "S", people(1), NOW)
    assert stored(connection) == before


TEMPLATES = "Hi {{ first_name }}, {{ title|default('you') }} at {{ email }}"

REFUSED = [
    # preparing SQL, name, list, where, what, remedy
    ("SELECT 1", "s", "email\na@x.example\n", "sequence", "no sequence is called 's'",
     "did you mean 'S'?"),
    ("UPDATE sequences SET name = 'Autumn webinar'", "Autum webinar", "email\na@x.example\n",
     "sequence", "no sequence is called 'Autum webinar'", "did you mean 'Autumn webinar'?"),
    ("SELECT 1", "Winter", "email\na@x.example\n", "sequence", "no sequence is called 'Winter'",
     "use one of 'S'"),
    ("INSERT INTO sequences (name, start_time, end_time) VALUES ('S', '09:00', '17:00')", "S",
     "email\na@x.example\n", "sequence", "several are called 'S' (ids 1, 2)", "give the id"),
    ("UPDATE steps SET removed_at = now()", "S", "email\na@x.example\n", "sequence",
     "'S' has no step", "add a step"),
    (f"UPDATE steps SET content = $${TEMPLATES}$$", "S", "email,title\na@x.example,Dr\n", "line 1",
     "no column 'first_name'", "add the column 'first_name'"),
    (f"UPDATE steps SET content = $${TEMPLATES}$$", "S",
     "email,First Name,title\na@x.example,Ann,Dr\n", "line 1", "no column 'first_name'",
     "rename 'First Name'"),
    (f"UPDATE steps SET content = $${TEMPLATES}$$", "S", "email,first_name\na@x.example,Ann\n",
     "line 1", "no column 'title', which the sequence's templates use", "add the column 'title'"),
    (f"UPDATE steps SET subject = $${TEMPLATES}$$ WHERE position = 2", "S",
     "email,first_name,title\na@x.example,Ann,\nb@x.example,,Dr\n", "line 3, column first_name",
     "no value for b@x.example", "{{ first_name|default('…') }}"),
    ("UPDATE sequences SET unsubscribe_url = 'https://x.example/{{ key }}/{{ token }}'", "S",
     "email,key\na@x.example,\n", "line 2, column key", "no value for a@x.example", "fill it in"),
    ("UPDATE steps SET content = '{% for x in y %}' WHERE position = 2", "S",
     "email\na@x.example\n", "sequence 'S', step 2, content, template line 1", "syntax error",
     "closed"),
    # As a database holds it that is older than the check.
    ("ALTER TABLE sequences DROP CONSTRAINT sequences_timezone_known;"
     " UPDATE sequences SET timezone = 'Europe/Berln'", "S", "email\na@x.example\n",
     "contact a@x.example", "unknown time zone 'Europe/Berln'", "'Europe/Berlin'?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("prepare", "name", "listed", "where", "what", "remedy"), REFUSED,
    ids=[case[4] for case in REFUSED],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    connection: Connection, prepare: str, name: str, listed: str, where: str, what: str, remedy: str
) -> None:
    sequence(connection)
    run(connection, prepare)
    before = stored(connection)
    with pytest.raises(DataError) as raised:
        enroll(connection, name, parse_contacts(listed), NOW)
    (fault,) = raised.value.faults
    assert fault.where == where
    assert what in fault.rule
    assert remedy in fault.remedy
    assert stored(connection) == before


def test_no_sequence_at_all(connection: Connection) -> None:
    with pytest.raises(DataError, match="no sequence is called 'S' – load a campaign first"):
        enroll(connection, "S", people(1), NOW)


def test_a_time_without_zone_is_refused(connection: Connection) -> None:
    sequence(connection)
    with pytest.raises(ValueError, match="has no zone; add the UTC offset"):
        enroll(connection, "S", people(1), dt.datetime(2026, 11, 18, 8))


def test_an_error_half_way_changes_nothing(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence(connection)
    monkeypatch.setattr("sendplan.io.campaigns.enroll.BATCH", 2)
    before = stored(connection)

    def give_up(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enroll(connection, "S", people(5), NOW, give_up)
    assert stored(connection) == before


def test_batches_share_mailboxes_as_one(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence(connection, pool=3)
    monkeypatch.setattr("sendplan.io.campaigns.enroll.BATCH", 2)
    enroll(connection, "S", people(7), NOW)
    assert [row[2] for row in emails(connection)] == ["m1", "m2", "m3", "m1", "m2", "m3", "m1"]


def test_inside_of_the_callers_transaction_twice(connection: Connection) -> None:
    sequence(connection)
    with connection.begin() as whole:
        enroll(connection, "S", people(2), NOW)
        enroll(connection, "S", people(3), NOW)
        whole.rollback()
    assert emails(connection) == []


def test_awkward_values_arrive_unchanged(connection: Connection) -> None:
    sequence(connection)
    value = "a\\b \"c\", {d} 'é' \\N \\. 😀 %s :x $1"
    quoted = value.replace('"', '""')
    enroll(connection, "S", parse_contacts(f'email,x\na@x.example,"{quoted}"\n'), NOW)
    assert connection.scalars(text("SELECT attributes FROM contacts")).one() == {"x": value}


def test_two_may_enrol_at_once(engine: Engine, connection: Connection) -> None:
    sequence(connection)
    reports: list[EnrollReport] = []

    def work(listed: ContactList) -> None:
        with engine.connect() as own:
            reports.append(enroll(own, "S", listed, NOW))

    # Overlapping lists: 3,000 addresses in all, 1,000 of them in both.
    lists = (people(2_000), people(2_000, first=1_001))
    threads = [threading.Thread(target=work, args=(listed,)) for listed in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.enrolled for report in reports) == [1_000, 2_000]
    count = "SELECT count(*), count(DISTINCT enrollment_id) FROM scheduled_emails"
    assert tuple(connection.execute(text(count)).one()) == (3_000, 3_000)
    held = "SELECT count(*) FROM scheduled_emails GROUP BY mailbox_id"
    assert connection.scalars(text(held)).all() == [1_500, 1_500]


@pytest.mark.slow
def test_fifty_thousand_contacts_are_enrolled(connection: Connection) -> None:
    sequence(connection, pool=200)
    listed = people(50_000)
    report = enroll(connection, "S", listed, NOW)
    assert report.enrolled == 50_000
    held = "SELECT count(*) AS held FROM scheduled_emails GROUP BY mailbox_id"
    assert connection.scalars(text(f"SELECT DISTINCT held FROM ({held}) AS each")).all() == [250]
