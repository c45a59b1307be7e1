"""The next step of an enrollment, after an email that was sent or never will be."""

import logging
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sendplan.io.database.conditions import among
from sendplan.io.delivery.capacity import Capacity, taken
from sendplan.planner.schema.scalar_dates import (
    ONE_DAY,
    UNREADABLE,
    ScalarSendingDays,
    instant_at,
    local_day,
)
from sendplan.planner.schema.vocabulary import (
    HOLDING_UP,
    MAX_HORIZON_DAYS,
    EmailStatus,
    EnrollmentStatus,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

logger = logging.getLogger(__name__)

NEXT_STEP = f"""
    SELECT step.id, step.position, step.wait_days
    FROM steps AS step
    WHERE step.sequence_id = enrollment.sequence_id
      AND step.position > coalesce(
          (
              SELECT at_step.position FROM steps AS at_step
              WHERE at_step.id = enrollment.current_step_id AND NOT EXISTS (
                  SELECT FROM scheduled_emails AS row_of_it
                  WHERE row_of_it.enrollment_id = enrollment.id AND row_of_it.step_id = at_step.id
                    AND row_of_it.status = '{EmailStatus.SENT}'
              )
          ),
          (
              SELECT reached.position
              FROM scheduled_emails AS newest JOIN steps AS reached ON reached.id = newest.step_id
              WHERE newest.enrollment_id = enrollment.id AND newest.status = '{EmailStatus.SENT}'
                AND reached.position IS NOT NULL
                AND reached.sequence_id = enrollment.sequence_id
              ORDER BY newest.sent_at DESC, newest.step_id DESC LIMIT 1
          ),
          0
      )
      AND step.id IS DISTINCT FROM enrollment.current_step_id
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS received
          WHERE received.enrollment_id = enrollment.id AND received.step_id = step.id
            AND received.status NOT IN ('{EmailStatus.PENDING}', '{EmailStatus.CANCELLED}')
      )
    ORDER BY step.position LIMIT 1
"""
"""The next step of ``enrollment`` (life cycle): the first that it has not received, behind the
newest that it has received and that still exists."""

ADVANCE = f"""
    UPDATE enrollments AS enrollment
    SET current_step_id = newest.step_id, mailbox_id = newest.mailbox_id
    FROM (
        SELECT DISTINCT ON (enrollment_id) enrollment_id, step_id, mailbox_id
        FROM scheduled_emails
        WHERE enrollment_id = ANY(%(enrollment_ids)s) AND status = '{EmailStatus.SENT}'
        ORDER BY enrollment_id, sent_at DESC, step_id DESC
    ) AS newest
    WHERE enrollment.id = newest.enrollment_id
"""

AHEAD = f"""
    SELECT enrollment.id, next_step.id, next_step.wait_days, (
               SELECT count(*) FROM scheduled_emails AS email
               WHERE email.enrollment_id = enrollment.id AND email.step_id = next_step.id
                 AND email.status <> '{EmailStatus.CANCELLED}'
           )
    FROM enrollments AS enrollment LEFT JOIN LATERAL ({NEXT_STEP}) AS next_step ON true
    WHERE enrollment.id = ANY(%(enrollment_ids)s)
      AND enrollment.status = '{EnrollmentStatus.ACTIVE}'
"""

# An email in flight completes it later: a success that is written twice may find one.
COMPLETE = f"""
    UPDATE enrollments AS enrollment
    SET status = '{EnrollmentStatus.COMPLETED}', completed_at = (
        SELECT max(sent_at) FROM scheduled_emails AS email
        WHERE email.enrollment_id = enrollment.id AND email.status = '{EmailStatus.SENT}'
    )
    WHERE id = ANY(%(enrollment_ids)s) AND status = '{EnrollmentStatus.ACTIVE}'
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS open
          WHERE open.enrollment_id = enrollment.id
            AND {among("open.status", HOLDING_UP)}
      )
"""

CANCEL = f"""
    UPDATE scheduled_emails SET status = '{EmailStatus.CANCELLED}'
    WHERE enrollment_id = ANY(%(enrollment_ids)s) AND status = '{EmailStatus.PENDING}'
"""

LAST = f"""
    SELECT email.mailbox_id, email.sent_at, coalesce(contact.timezone, sequence.timezone),
           sequence.send_days, sequence.holidays, sequence.wait_unit,
           mailbox.daily_capacity, mailbox.ramp_start, mailbox.ramp_increment, mailbox.ramp_from
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
    JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    WHERE email.enrollment_id = %(enrollment_id)s AND email.status = '{EmailStatus.SENT}'
    ORDER BY email.sent_at DESC LIMIT 1
"""

PROVISIONAL = """
    INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at)
    VALUES (%(enrollment_id)s, %(step_id)s, %(mailbox_id)s, %(day)s, %(send_at)s)
    ON CONFLICT DO NOTHING
"""


def after_success(cursor: "Cursor", enrollment_ids: Sequence[int]) -> None:
    """Set enrollments to their newest sent email, and go on from there.

    Parameters
    ----------
    cursor : cursor
        The transaction in which their emails have become `sent`.
    enrollment_ids : sequence of int

    Raises
    ------
    psycopg2.Error
        If the database refuses it.
    """
    cursor.execute(ADVANCE, {"enrollment_ids": sorted(set(enrollment_ids))})
    go_on(cursor, enrollment_ids)


def go_on(cursor: "Cursor", enrollment_ids: Sequence[int]) -> None:
    """Complete enrollments, or make the row of their next step.

    Where there is no further step, the enrollment completes, and rows of steps that it skipped are
    cancelled. Where the next step has no row yet, one is made for the next plan to place.

    Parameters
    ----------
    cursor : cursor
        The transaction in which their emails have become `sent`.
    enrollment_ids : sequence of int
    """
    cursor.execute(AHEAD, {"enrollment_ids": sorted(set(enrollment_ids))})
    ahead = cursor.fetchall()
    done = [key for key, step_id, _, _ in ahead if step_id is None]
    if done:
        cursor.execute(COMPLETE, {"enrollment_ids": done})
        cancel_rest(cursor, done)
    for enrollment_id, step_id, wait_days, rows in ahead:
        if step_id is not None and not rows:
            try:
                _make_row(cursor, enrollment_id, step_id, wait_days)
            except UNREADABLE as error:
                # The sent email is recorded all the same, and the next plan makes the row.
                reason = f"{type(error).__name__}: {error}"
                extra = {"enrollment_id": enrollment_id, "reason": reason}
                logger.warning("The next email has no row yet", extra=extra)


def cancel_rest(cursor: "Cursor", enrollment_ids: Sequence[int]) -> None:
    """Cancel the pending emails of enrollments that get no more."""
    cursor.execute(CANCEL, {"enrollment_ids": list(enrollment_ids)})


def _make_row(cursor: "Cursor", enrollment_id: int, step_id: int, wait_days: int) -> None:
    """Make a provisional row of a step, on a sending day with capacity (life cycle)."""
    cursor.execute(LAST, {"enrollment_id": enrollment_id})
    last = cursor.fetchone()
    if last is None:
        # Recorded by hand, it names no mailbox to go on from; the next plan makes the row.
        return
    mailbox_id, sent_at, zone, weekdays, country, unit, *limits = last
    capacity = Capacity(*limits)
    days = ScalarSendingDays(tuple(weekdays), country)
    sent_day = local_day(sent_at, zone)
    first = day = days.after_wait(sent_day, wait_days, unit)
    while day is not None and taken(cursor, mailbox_id, day) >= capacity.on(day):
        day = days.on_or_after(day + ONE_DAY)
        if day is not None and (day - sent_day).days > MAX_HORIZON_DAYS:
            break
    day = day or first or sent_day
    sent = sent_at.astimezone(zoneinfo.ZoneInfo(zone))
    seconds = sent.hour * 3600 + sent.minute * 60 + sent.second
    row = {
        "enrollment_id": enrollment_id,
        "step_id": step_id,
        "mailbox_id": mailbox_id,
        "day": day,
        "send_at": instant_at(day, seconds, zone),
    }
    cursor.execute(PROVISIONAL, row)
