"""Enrolling a contact list in a sequence: COPY, then set-based SQL, all of it or nothing."""

import csv
import datetime as dt
import heapq
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from sendplan.io.campaigns.contact_list import ContactList
from sendplan.io.campaigns.loading import transaction
from sendplan.io.campaigns.lookups import find_sequence
from sendplan.io.campaigns.ready_days import ReadyDays
from sendplan.io.documents.known_names import zone_fault
from sendplan.io.documents.texts import nearest, shown
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import BUILT_INS, Placeholders, placeholders
from sendplan.io.messages.unsubscribing import unsubscribe_url
from sendplan.planner.schema import dates
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import EmailStatus, MailboxStatus, SequenceStatus

BATCH = 5_000
"""Contacts per statement: large enough for speed, small enough for a progress bar to move."""

Progress = Callable[[int, int], None]
"""Told after each batch how many contacts are done, of how many."""

_ONE_ENROLLING_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('sendplan enroll'))"

# Shared locks: other enrolments go on, a pause or change of the sequence waits for the rows.
# Seconds of the day: 24:00 is a time to PostgreSQL, but not to Python.
_SEQUENCE = """
    SELECT id, name, status, timezone, send_days, holidays, unsubscribe_url,
           extract(epoch FROM start_time)::integer AS start_second,
           extract(epoch FROM end_time)::integer AS end_second
    FROM sequences WHERE id = :sequence FOR SHARE
"""

_STEPS = """
SELECT id, position, subject, content FROM steps
WHERE sequence_id = :sequence AND position IS NOT NULL ORDER BY position"""

_POOL = f"""
SELECT mailboxes.id, coalesce(held, 0) AS held
FROM sequence_mailboxes
JOIN mailboxes ON mailboxes.id = sequence_mailboxes.mailbox_id
LEFT JOIN (
  SELECT mailbox_id, count(*) AS held FROM scheduled_emails
  WHERE status = '{EmailStatus.PENDING}' AND plan_run_id IS NULL GROUP BY mailbox_id
) AS provisional ON provisional.mailbox_id = mailboxes.id
WHERE sequence_mailboxes.sequence_id = :sequence
  AND mailboxes.status = '{MailboxStatus.ACTIVE}' ORDER BY mailboxes.id"""

_STAGING = (
    "DROP TABLE IF EXISTS pg_temp.enrolling, pg_temp.enrolling_share, pg_temp.enrolling_day",
    """CREATE TEMPORARY TABLE enrolling
       (place integer, email text, timezone text, attributes jsonb) ON COMMIT DROP""",
    """CREATE TEMPORARY TABLE enrolling_share
       (place integer PRIMARY KEY, mailbox_id bigint) ON COMMIT DROP""",
    """CREATE TEMPORARY TABLE enrolling_day
       (timezone text PRIMARY KEY, send_day date, send_at timestamptz) ON COMMIT DROP""",
)

_COPY = "COPY enrolling (place, email, timezone, attributes) FROM STDIN (FORMAT csv)"
_COPY_SHARE = "COPY enrolling_share (place, mailbox_id) FROM STDIN (FORMAT csv)"
_STAGED = "CREATE INDEX ON enrolling (place)", "ANALYZE enrolling"

_NEW_CONTACTS = """
INSERT INTO contacts (email, timezone, attributes)
SELECT email, timezone, attributes FROM enrolling
WHERE place >= :first AND place < :last ORDER BY place
ON CONFLICT (lower(email)) DO NOTHING"""

_MERGED_CONTACTS = """
UPDATE contacts SET timezone = coalesce(listed.timezone, contacts.timezone),
  attributes = contacts.attributes || listed.attributes
FROM enrolling AS listed
WHERE lower(contacts.email) = lower(listed.email) AND suppressed_at IS NULL
  AND place >= :first AND place < :last
  AND (listed.timezone <> coalesce(contacts.timezone, '')
       OR NOT contacts.attributes @> listed.attributes)"""

_ZONES = """
SELECT coalesce(contacts.timezone, :timezone) AS zone, min(contacts.email) AS email
FROM enrolling AS listed JOIN contacts ON lower(contacts.email) = lower(listed.email)
WHERE place >= :first AND place < :last AND suppressed_at IS NULL GROUP BY 1"""

_DAY = "INSERT INTO enrolling_day VALUES (:zone, :send_day, :send_at)"

_ENROLLED = """
WITH fresh AS (
  INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
  SELECT contacts.id, :sequence, :now
  FROM enrolling AS listed JOIN contacts ON lower(contacts.email) = lower(listed.email)
  WHERE place >= :first AND place < :last AND suppressed_at IS NULL ORDER BY place
  ON CONFLICT (contact_id, sequence_id) DO NOTHING
  RETURNING id, contact_id
), numbered AS (
  SELECT id, contact_id, row_number() OVER (ORDER BY id) - 1 + :enrolled AS place FROM fresh
)
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at)
SELECT numbered.id, :step, share.mailbox_id, day.send_day, day.send_at
FROM numbered
JOIN contacts ON contacts.id = numbered.contact_id
LEFT JOIN enrolling_day AS day ON day.timezone = coalesce(contacts.timezone, :timezone)
LEFT JOIN enrolling_share AS share ON share.place = numbered.place
ORDER BY numbered.id"""

_SUPPRESSED = """
SELECT count(*) FROM enrolling AS listed
JOIN contacts ON lower(contacts.email) = lower(listed.email) WHERE suppressed_at IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class EnrollReport:
    """What enrolling a list changed.

    Parameters
    ----------
    sequence_id : int
    contacts : int
        Rows of the list; the sum of the next three.
    enrolled, already_enrolled, suppressed : int
        New enrollments, each with its first email; contacts already enrolled, whatever their
        status; suppressed contacts.
    new_contacts, known_contacts, merged_contacts : int
        Contacts created; those that existed; those among them that took values from the list.
    mailboxes : int
        Active mailboxes among which the first emails were shared.
    first_day, last_day : date or None
        The earliest and latest ready day, in local dates.
    """

    sequence_id: int
    contacts: int
    enrolled: int
    already_enrolled: int
    suppressed: int
    new_contacts: int
    known_contacts: int
    merged_contacts: int
    mailboxes: int
    first_day: dt.date | None
    last_day: dt.date | None


def enroll(
    connection: Connection,
    sequence_name: str,
    contacts: ContactList,
    now: dt.datetime,
    progress: Progress | None = None,
) -> EnrollReport:
    """Enrol every contact of a list once, with a provisional first email.

    The email stands on its ready day at the window's start (the calendar), mailboxes being
    shared evenly; no plan has given it, so it is not dispatched. In a paused sequence it has
    neither day nor mailbox.

    Parameters
    ----------
    connection : Connection
        A connection to the migrated database.
    sequence_name : str
        The sequence's name or id.
    contacts : ContactList
        From `sendplan.io.campaigns.contact_list`.
    now : datetime
        The time of enrolment, with its zone.
    progress : callable, optional
        Called with the contacts done and their number.

    Raises
    ------
    DataError
        If there is no such sequence, or the list lacks values that its templates need; nothing is
        changed then.
    ValueError
        If `now` has no zone.
    """
    instant = dates.to_microseconds(now)
    with transaction(connection):
        connection.execute(text(_ONE_ENROLLING_AT_A_TIME))
        sequence_id = find_sequence(connection, sequence_name)
        sequence = connection.execute(text(_SEQUENCE), {"sequence": sequence_id}).one()
        steps = connection.execute(text(_STEPS), {"sequence": sequence.id}).all()
        variables = _variables(sequence_name, steps)
        if sequence.unsubscribe_url is not None:
            variables |= unsubscribe_url(sequence.unsubscribe_url).placeholders
        _check_columns(contacts, variables)
        paused = sequence.status == SequenceStatus.PAUSED
        pool = connection.execute(text(_POOL), {"sequence": sequence.id}).all()
        _stage(connection, contacts, [] if paused else pool)
        calendar = None if paused else ReadyDays(sequence, instant)
        return _enroll_staged(
            connection, sequence, steps[0].id, contacts, now, len(pool), calendar, progress
        )


def _variables(name: str, steps: Sequence[Row[Any]]) -> Placeholders:
    if not steps:
        what = f"{shown(name)} has no step"
        raise DataError([Fault("sequence", what, "add a step first")])
    total = Placeholders(frozenset(), frozenset())
    faults: list[Fault] = []
    for step in steps:
        for part, source in (("subject", step.subject), ("content", step.content)):
            try:
                total |= placeholders([source])
            except DataError as error:
                where = f"sequence {shown(name)}, step {step.position}, {part}"
                faults += [fault.within(where) for fault in error.faults]
    if faults:
        raise DataError(faults, "templates")
    return total


def _check_columns(contacts: ContactList, variables: Placeholders) -> None:
    """Refuse a list that lacks values which the texts print."""
    faults: list[Fault] = []
    for name in sorted(variables.used - {*contacts.columns, *BUILT_INS}):
        near = nearest(name, contacts.columns)
        remedy = f"add the column '{name}'" + (f", or rename {shown(near)}" if near else "")
        what = f"no column '{name}', which the sequence's templates use"
        faults.append(Fault("line 1", what, remedy))
    needed = sorted(variables.required & {*contacts.columns})
    for contact in contacts.contacts:
        for name in needed:
            if name not in contact.attributes:
                what = f"no value for {contact.email}, and the sequence's templates print it"
                remedy = f"fill it in, or write {{{{ {name}|default('…') }}}} in the templates"
                faults.append(Fault(f"line {contact.line}, column {name}", what, remedy))
    if faults:
        raise DataError(faults, contacts.name)


def _shares(pool: Sequence[Row[Any]], count: int) -> list[int]:
    """Give each of `count` new emails to the mailbox with the fewest so far."""
    heap = [(mailbox.held, mailbox.id) for mailbox in pool]
    heapq.heapify(heap)
    shares = []
    for _ in range(count if heap else 0):
        held, mailbox_id = heap[0]
        shares.append(mailbox_id)
        heapq.heapreplace(heap, (held + 1, mailbox_id))
    return shares


def _stage(connection: Connection, contacts: ContactList, pool: Sequence[Row[Any]]) -> None:
    for statement in _STAGING:
        connection.execute(text(statement))
    listed = [
        (place, contact.email, contact.timezone, json.dumps(dict(contact.attributes)))
        for place, contact in enumerate(contacts.contacts)
    ]
    _copy(connection, _COPY, listed)
    _copy(connection, _COPY_SHARE, list(enumerate(_shares(pool, len(listed)))))
    for statement in _STAGED:
        connection.execute(text(statement))


def _copy(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    buffer.seek(0)
    driver = connection.connection.cursor()
    try:
        driver.copy_expert(statement, buffer)
    finally:
        driver.close()


def _enroll_staged(
    connection: Connection,
    sequence: Row[Any],
    step_id: int,
    contacts: ContactList,
    now: dt.datetime,
    mailboxes: int,
    calendar: ReadyDays | None,
    progress: Progress | None,
) -> EnrollReport:
    count = len(contacts.contacts)
    new = merged = enrolled = 0
    days: dict[str, dt.date] = {}
    values = {"sequence": sequence.id, "step": step_id, "now": now, "timezone": sequence.timezone}
    for first in range(0, count, BATCH):
        batch = {**values, "first": first, "last": first + BATCH}
        new += connection.execute(text(_NEW_CONTACTS), batch).rowcount
        merged += connection.execute(text(_MERGED_CONTACTS), batch).rowcount
        if calendar is not None:
            _add_days(connection, calendar, batch, days)
        batch["enrolled"] = enrolled
        enrolled += connection.execute(text(_ENROLLED), batch).rowcount
        if progress is not None:
            progress(min(first + BATCH, count), count)
    suppressed = connection.scalar(text(_SUPPRESSED)) or 0
    return EnrollReport(
        sequence_id=sequence.id,
        contacts=count,
        enrolled=enrolled,
        already_enrolled=count - enrolled - suppressed,
        suppressed=suppressed,
        new_contacts=new,
        known_contacts=count - new,
        merged_contacts=merged,
        mailboxes=mailboxes,
        first_day=min(days.values(), default=None) if enrolled else None,
        last_day=max(days.values(), default=None) if enrolled else None,
    )


def _add_days(
    connection: Connection, calendar: ReadyDays, batch: dict[str, Any], days: dict[str, dt.date]
) -> None:
    for row in connection.execute(text(_ZONES), batch).all():
        if row.zone in days:
            continue
        fault = zone_fault(row.zone)
        if fault is not None:
            raise DataError([fault.within(f"contact {row.email}")])
        days[row.zone], send_at = calendar.slot(row.zone)
        slot = {"zone": row.zone, "send_day": days[row.zone], "send_at": send_at}
        connection.execute(text(_DAY), slot)
