"""Claiming due emails: each belongs to at most one dispatcher at a time.

One transaction selects due rows that are not locked, checks again what the plan took for granted,
locks their mailboxes, and claims as many as these have capacity for. It waits for no lock, so that
it cannot be part of a deadlock: what is locked is skipped, and tried again soon.
"""

import datetime as dt
import json
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg2.extras import NamedTupleCursor

from sendplan.io.database.conditions import among
from sendplan.io.database.value_checks import usable
from sendplan.io.delivery.capacity import USED, Capacity, used
from sendplan.io.delivery.claim import MAX_CLAIMS, Claim, Claimed
from sendplan.io.delivery.thread_progress import NEXT_STEP
from sendplan.io.delivery.transactions import Prepared
from sendplan.io.messages.composing import Texts
from sendplan.io.messages.message_ids import message_id
from sendplan.planner.schema.scalar_dates import UNREADABLE, ScalarSendingDays, local_day, window
from sendplan.planner.schema.vocabulary import (
    HOLDING_UP,
    IN_FLIGHT,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

REST = dt.timedelta(seconds=30)
"""How long a row that cannot be claimed is left out."""

CONTENDED = 0.2
"""Seconds for which a mailbox that another session has locked is left out."""

IN_FLIGHT_REST = dt.timedelta(seconds=1)
"""How long a mailbox with a minimum gap is left out while one of its emails is in flight."""

LOOK_BACK = dt.timedelta(days=2)
"""How far back the last email of a mailbox is looked for, for the gap to it."""

MAX_DIGITS = 4_000
"""Of a number; Python reads some more."""

logger = logging.getLogger(__name__)

Moment = TypeVar("Moment", dt.datetime, float)

DUE = Prepared(
    "find_due",
    ("timestamptz", "timestamptz", "bigint[]", "bigint[]", "bigint"),
    f"""
    SELECT id FROM scheduled_emails
    WHERE status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL
      AND send_at <= $1 AND send_at > $2 AND (retry_at IS NULL OR retry_at <= $1)
      AND id <> ALL ($3) AND mailbox_id <> ALL ($4)
    ORDER BY send_at
    LIMIT $5
    FOR NO KEY UPDATE SKIP LOCKED
    """,
)

# What the plan took for granted, checked again (life cycle).
SOUND = Prepared(
    "check_due",
    ("bigint[]",),
    f"""
    SELECT email.id, email.enrollment_id, email.step_id, email.mailbox_id, email.send_day,
           email.send_at, email.attempts, enrollment.sequence_id, enrollment.contact_id,
           step.wait_days, step.subject, step.content,
           contact.email AS recipient, contact.attributes::text AS attributes,
           mailbox.email AS sender, mailbox.transport,
           coalesce(contact.timezone, sequence.timezone) AS zone,
           extract(epoch FROM sequence.start_time)::integer AS starts,
           extract(epoch FROM sequence.end_time)::integer AS ends,
           sequence.send_days, sequence.holidays, sequence.wait_unit, sequence.unsubscribe_url,
           thread.last_sent_at, thread.message_ids, thread.first_subject
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
    JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    JOIN sequence_mailboxes AS link
        ON link.sequence_id = sequence.id AND link.mailbox_id = mailbox.id
    JOIN LATERAL ({NEXT_STEP}) AS next_step ON next_step.id = email.step_id
    JOIN steps AS step ON step.id = email.step_id
    CROSS JOIN LATERAL (
        SELECT max(earlier.sent_at) AS last_sent_at,
               array_agg(earlier.message_id ORDER BY earlier.sent_at)
                   FILTER (WHERE earlier.message_id IS NOT NULL) AS message_ids,
               coalesce(bool_and({usable(earlier="scheduled_emails")}), true) AS usable,
               (array_agg(earlier_step.subject ORDER BY earlier.sent_at))[1] AS first_subject,
               coalesce(
                   enrollment.mailbox_id,
                   (array_agg(earlier.mailbox_id ORDER BY earlier.sent_at DESC))[1]
               ) AS mailbox_id
        FROM scheduled_emails AS earlier JOIN steps AS earlier_step ON earlier_step.id = step_id
        WHERE earlier.enrollment_id = enrollment.id AND earlier.status = '{EmailStatus.SENT}'
    ) AS thread
    WHERE email.id = ANY ($1)
      AND enrollment.status = '{EnrollmentStatus.ACTIVE}'
      AND contact.suppressed_at IS NULL
      AND sequence.status = '{SequenceStatus.ACTIVE}'
      AND mailbox.status = '{MailboxStatus.ACTIVE}'
      AND thread.usable AND {
        usable(
            email="scheduled_emails",
            enrollment="enrollments",
            step="steps",
            contact="contacts",
            sequence="sequences",
            mailbox="mailboxes",
        )
    }
      -- One thread, one sender: another one only when the thread's own is no longer in the pool.
      AND (
          thread.mailbox_id IS NULL OR thread.mailbox_id = email.mailbox_id
          OR NOT EXISTS (
              SELECT FROM mailboxes AS own JOIN sequence_mailboxes AS own_link
                  ON own_link.mailbox_id = own.id AND own_link.sequence_id = sequence.id
              WHERE own.id = thread.mailbox_id AND own.status <> '{MailboxStatus.REMOVED}'
          )
      )
      -- Nothing of the thread in flight, and nothing whose outcome would have to be known first.
      AND NOT EXISTS (
          SELECT FROM scheduled_emails AS other
          WHERE other.enrollment_id = enrollment.id AND {among("other.status", HOLDING_UP)}
      )
    ORDER BY email.send_at
    """,
)

# The status is checked again under the lock, where later commits are seen.
LOCK_MAILBOXES = Prepared(
    "lock_mailboxes",
    ("bigint[]",),
    f"""
    SELECT id, daily_capacity, ramp_start, ramp_increment, ramp_from, min_gap_seconds
    FROM mailboxes
    WHERE id = ANY ($1) AND status = '{MailboxStatus.ACTIVE}'
      AND {usable(mailboxes="mailboxes")}
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
    """,
)

# An email of unknown outcome may have left as late as its lease allowed.
LAST_LEFT = f"""
    SELECT mailbox_id, bool_or({among("status", IN_FLIGHT)}) AS in_flight,
           max(CASE WHEN status = '{EmailStatus.UNCERTAIN}' THEN coalesce(sent_at, lease_until)
                    ELSE sent_at END) FILTER (WHERE {usable(email="scheduled_emails")}) AS at
    FROM scheduled_emails AS email
    WHERE mailbox_id = ANY (%(mailbox_ids)s) AND send_day >= %(since)s
      AND {among("status", OCCUPYING)}
    GROUP BY mailbox_id
"""

TAKE = Prepared(
    "take",
    ("bigint[]", "text[]", "uuid", "text", "interval"),
    f"""
    UPDATE scheduled_emails AS email
    SET status = '{EmailStatus.CLAIMED}', attempts = attempts + 1, retry_at = NULL,
        message_id = taken.message_id, claim_token = $3, claimed_by = $4, lease_until = now() + $5
    FROM unnest($1, $2) AS taken (id, message_id)
    WHERE email.id = taken.id
    """,
)

PREPARED = (DUE, SOUND, LOCK_MAILBOXES, USED, TAKE)
"""What a session of a `Claimer` must know."""


class Claimer:
    """Finds due emails and claims them.

    Parameters
    ----------
    installation : UUID
        Part of every Message-ID.
    claimed_by : str
        The dispatcher's name in the table.
    lease : timedelta
        How long a claim holds.
    grace : timedelta
        How long after its slot an email may still leave.
    """

    def __init__(
        self,
        installation: uuid.UUID,
        claimed_by: str,
        *,
        lease: dt.timedelta,
        grace: dt.timedelta,
    ) -> None:
        self._installation = installation
        self._claimed_by = claimed_by
        self._lease = lease
        self._grace = grace
        self._passed: dict[int, dt.datetime] = {}
        self._resting: dict[int, dt.datetime] = {}
        self._contended: dict[int, float] = {}

    def claim(
        self,
        connection: "Connection",
        now: dt.datetime,
        limit: int,
        room: Callable[[int], int],
        busy: Collection[int] = (),
    ) -> Claimed:
        """Claim emails that are due, the earliest first.

        Parameters
        ----------
        connection : connection
            In a transaction, which the caller commits, of a session that knows `PREPARED`.
        now : aware datetime
        limit : int
            The most to claim.
        room : callable
            How many more emails the queue of a mailbox takes.
        busy : collection of int
            Mailboxes to leave out.

        Raises
        ------
        psycopg2.Error
            If the database refuses it.
        """
        self._passed = _still(self._passed, now)
        self._resting = _still(self._resting, now)
        self._contended = _still(self._contended, time.monotonic())
        resting = [*self._resting, *self._contended, *busy]
        cursor: Any
        with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
            DUE.execute(cursor, now, now - self._grace, list(self._passed), resting, limit)
            due = [row.id for row in cursor.fetchall()]
            if not due:
                return Claimed()
            SOUND.execute(cursor, due)
            eligible = [row for row in cursor.fetchall() if _may_leave(row, now)]
            for email_id in set(due).difference(row.id for row in eligible):
                self._passed[email_id] = now + REST
            chosen = self._within_room(cursor, eligible, now, room)
            claims = self._take(cursor, chosen)
        return Claimed(
            [claim for claim in claims if claim.attempts <= MAX_CLAIMS],
            [claim for claim in claims if claim.attempts > MAX_CLAIMS],
            more=len(due) == limit,
        )

    @property
    def contended(self) -> bool:
        """Whether another session has just locked a mailbox with due emails."""
        return bool(self._contended)

    def rest(self, mailbox_id: int, until: dt.datetime) -> None:
        """Claim nothing of a mailbox before a moment."""
        self._resting[mailbox_id] = until

    def _within_room(
        self, cursor: Any, rows: Sequence[Any], now: dt.datetime, room: Callable[[int], int]
    ) -> list[Any]:
        """Lock the mailboxes and choose the emails that they have capacity for."""
        if not rows:
            return []
        wanted = {row.mailbox_id for row in rows}
        LOCK_MAILBOXES.execute(cursor, sorted(wanted))
        mailboxes = {mailbox.id: mailbox for mailbox in cursor.fetchall()}
        # Left out for a moment, as their due emails would use up the limit of the next look.
        until = time.monotonic() + CONTENDED
        self._contended |= dict.fromkeys(wanted.difference(mailboxes), until)
        rows = [row for row in rows if row.mailbox_id in mailboxes]
        if not rows:
            return []
        spaced = [mailbox for mailbox in mailboxes.values() if mailbox.min_gap_seconds]
        gaps = self._gaps(cursor, spaced, now)
        counted = used(cursor, mailboxes, min(row.send_day for row in rows))
        left = {key: room(key) if key not in gaps else gaps[key] for key in mailboxes}
        chosen = []
        for row in rows:
            mailbox_day = (row.mailbox_id, row.send_day)
            _, *capacity, _ = mailboxes[row.mailbox_id]
            if counted[mailbox_day] >= Capacity(*capacity).on(row.send_day):
                self._passed[row.id] = now + REST
            elif left[row.mailbox_id] > 0:
                counted[mailbox_day] += 1
                left[row.mailbox_id] -= 1
                chosen.append(row)
        return chosen

    def _gaps(self, cursor: Any, mailboxes: Sequence[Any], now: dt.datetime) -> dict[int, int]:
        """Return how many emails may leave now, 0 or 1, of mailboxes with a minimum gap."""
        if not mailboxes:
            return {}
        mailbox_ids = [mailbox.id for mailbox in mailboxes]
        since = (now - LOOK_BACK).date()
        cursor.execute(LAST_LEFT, {"mailbox_ids": mailbox_ids, "since": since})
        last = {row.mailbox_id: row for row in cursor.fetchall()}
        allowed = {}
        for mailbox in mailboxes:
            again = _gap_ends(mailbox, last.get(mailbox.id), now)
            allowed[mailbox.id] = int(again <= now)
            if again > now:
                self.rest(mailbox.id, again)
        return allowed

    def _take(self, cursor: Any, rows: Sequence[Any]) -> list[Claim]:
        token = uuid.uuid4()
        claims = [self._claim(row, token) for row in rows]
        if claims:
            email_ids = [claim.email_id for claim in claims]
            message_ids = [claim.message_id for claim in claims]
            TAKE.execute(cursor, email_ids, message_ids, token, self._claimed_by, self._lease)
        return claims

    def _claim(self, row: Any, token: uuid.UUID) -> Claim:
        _, closes = window(row.send_day, row.starts, row.ends, row.zone)
        return Claim(
            email_id=row.id,
            enrollment_id=row.enrollment_id,
            step_id=row.step_id,
            sequence_id=row.sequence_id,
            contact_id=row.contact_id,
            mailbox_id=row.mailbox_id,
            token=token,
            send_at=row.send_at,
            send_day=row.send_day,
            closes=closes,
            attempts=row.attempts + 1,
            transport=row.transport,
            message_id=message_id(self._installation, row.enrollment_id, row.step_id),
            texts=Texts(
                enrollment_id=row.enrollment_id,
                step_id=row.step_id,
                sender=row.sender,
                recipient=row.recipient,
                subject=row.subject,
                content=row.content,
                first_subject=row.first_subject,
                attributes=json.loads(row.attributes, parse_int=_number),
                earlier=tuple(row.message_ids or ()),
                unsubscribe_url=row.unsubscribe_url,
            ),
        )


def _number(digits: str) -> int | str:
    """Read a number; one that is too long for Python stays a text."""
    return int(digits) if len(digits) < MAX_DIGITS else digits


def _still(known: dict[int, Moment], now: Moment) -> dict[int, Moment]:
    """Keep the entries whose moment is yet to come."""
    return {key: until for key, until in known.items() if until > now}


def _gap_ends(mailbox: Any, last: Any, now: dt.datetime) -> dt.datetime:
    """Return the moment from which the next email of a mailbox with a minimum gap may leave."""
    if last is not None and last.in_flight:
        return now + IN_FLIGHT_REST
    if last is None or last.at is None:
        return now
    again: dt.datetime = last.at + dt.timedelta(seconds=mailbox.min_gap_seconds)
    return again


def _may_leave(row: Any, now: dt.datetime) -> bool:
    """Return whether the calendar lets an email leave now; one that cannot be read does not."""
    try:
        return _calendar_allows(row, now)
    except UNREADABLE as error:
        extra = {"email_id": row.id, "reason": f"{type(error).__name__}: {error}"}
        logger.warning("The calendar of an email cannot be read", extra=extra)
        return False


def _calendar_allows(row: Any, now: dt.datetime) -> bool:
    days = ScalarSendingDays(tuple(row.send_days), row.holidays)
    opens, closes = window(row.send_day, row.starts, row.ends, row.zone)
    if not opens <= now < closes or not days.is_sending_day(row.send_day):
        return False
    if row.last_sent_at is None:
        return True
    sent_day = local_day(row.last_sent_at, row.zone)
    ready = days.after_wait(sent_day, row.wait_days, row.wait_unit)
    return ready is not None and ready <= row.send_day
