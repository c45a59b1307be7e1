"""State transitions of claimed emails, each by the holder of the claim only.

Every statement names the token of the claim and the states that it starts from. A row in another
state is not changed, and not returned.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sendplan.io.database.conditions import among
from sendplan.io.delivery.claim import MAX_ATTEMPTS, Claim
from sendplan.io.delivery.overdue import request_plan
from sendplan.io.delivery.retries import free_moment, retry_at
from sendplan.io.delivery.thread_progress import cancel_rest, go_on
from sendplan.io.delivery.transactions import Prepared
from sendplan.planner.schema.vocabulary import (
    IN_FLIGHT,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    SequenceStatus,
)

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

HELD = f"email.id = %(id)s AND email.claim_token = %(token)s AND {among('email.status', IN_FLIGHT)}"

LET_GO = "claim_token = NULL, claimed_by = NULL, lease_until = NULL"

# The last check before the email leaves: what was stopped since the claim does not. By subqueries,
# since a join planned for empty tables would begin with the mailboxes' whole history.
BEGIN = Prepared(
    "begin_sending",
    ("bigint[]", "uuid[]", "interval"),
    f"""
    UPDATE scheduled_emails AS email
    SET status = '{EmailStatus.SENDING}', lease_until = now() + $3
    FROM unnest($1, $2) AS claim (id, token)
    WHERE email.id = claim.id AND email.claim_token = claim.token
      AND email.status = '{EmailStatus.CLAIMED}' AND email.lease_until > now()
      AND (
          SELECT enrollment.status = '{EnrollmentStatus.ACTIVE}' AND contact.suppressed_at IS NULL
             AND sequence.status = '{SequenceStatus.ACTIVE}'
          FROM enrollments AS enrollment
          JOIN contacts AS contact ON contact.id = enrollment.contact_id
          JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
          WHERE enrollment.id = email.enrollment_id
      )
      AND (
          SELECT mailbox.status = '{MailboxStatus.ACTIVE}'
          FROM mailboxes AS mailbox WHERE mailbox.id = email.mailbox_id
      )
    RETURNING email.id
    """,
)

# A sent row keeps its token, so that a second write, after a commit without an answer, finds it.
SUCCEED = Prepared(
    "record_sent",
    ("bigint[]", "uuid[]", "timestamptz[]"),
    f"""
    WITH done AS (
        UPDATE scheduled_emails AS email
        SET status = '{EmailStatus.SENT}', sent_at = left_at.moment, last_error = NULL,
            lease_until = NULL
        FROM unnest($1, $2, $3) AS left_at (id, token, moment)
        WHERE email.id = left_at.id AND email.claim_token = left_at.token
          AND email.status IN ('{EmailStatus.SENDING}', '{EmailStatus.SENT}')
        RETURNING email.id, email.enrollment_id, email.step_id, email.mailbox_id, email.sent_at
    ), advanced AS (
        UPDATE enrollments AS enrollment
        SET current_step_id = done.step_id, mailbox_id = done.mailbox_id
        FROM done WHERE enrollment.id = done.enrollment_id
          -- Written once more, it may have been followed by others in the meantime.
          AND NOT EXISTS (
              SELECT FROM scheduled_emails AS newer
              WHERE newer.enrollment_id = done.enrollment_id
                AND newer.status = '{EmailStatus.SENT}' AND newer.sent_at > done.sent_at
          )
    )
    SELECT done.id, done.enrollment_id, EXISTS (
        SELECT FROM scheduled_emails AS later
        WHERE later.enrollment_id = done.enrollment_id AND later.status = '{EmailStatus.PENDING}'
    ) FROM done
    """,
)

PREPARED = (BEGIN, SUCCEED)
"""Prepared on the sessions of `begin` and `succeed`."""

# A thread that was stopped meanwhile has its pending emails cancelled, but this one was claimed.
GIVEN_BACK = f"""
    CASE WHEN EXISTS (
        SELECT FROM enrollments AS enrollment
        WHERE enrollment.id = email.enrollment_id
          AND enrollment.status = '{EnrollmentStatus.ACTIVE}'
    ) THEN '{EmailStatus.PENDING}' ELSE '{EmailStatus.CANCELLED}' END
"""

RELEASE = f"""
    UPDATE scheduled_emails AS email
    SET status = {GIVEN_BACK}, attempts = greatest(attempts - 1, 0),
        last_error = coalesce(%(error)s, last_error), {LET_GO}
    WHERE {HELD}
    RETURNING email.id
"""

DOUBT = f"""
    UPDATE scheduled_emails AS email
    SET status = '{EmailStatus.UNCERTAIN}', last_error = %(error)s, claim_token = NULL,
        lease_until = now()
    WHERE {HELD}
    RETURNING email.id
"""

POSTPONE = f"""
    UPDATE scheduled_emails AS email
    SET status = {GIVEN_BACK}, last_error = %(error)s, retry_at = %(retry_at)s,
        send_at = coalesce(%(send_at)s, send_at),
        plan_run_id = CASE WHEN %(send_at)s IS NOT NULL THEN plan_run_id END, {LET_GO}
    WHERE {HELD}
    RETURNING email.id
"""

NEIGHBOURS = f"""
    SELECT mailbox.min_gap_seconds, email.send_at
    FROM mailboxes AS mailbox LEFT JOIN scheduled_emails AS email
        ON email.mailbox_id = mailbox.id AND email.status = '{EmailStatus.PENDING}'
        AND email.plan_run_id IS NOT NULL
        AND email.send_at > %(after)s AND email.send_at < %(before)s
        AND mailbox.min_gap_seconds > 0
    WHERE mailbox.id = %(mailbox_id)s
"""

FAIL = f"""
    UPDATE scheduled_emails AS email
    SET status = '{EmailStatus.FAILED}', last_error = %(error)s, {LET_GO}
    WHERE {HELD}
    RETURNING email.id
"""

END_ENROLLMENT = f"""
    UPDATE enrollments SET status = '{EnrollmentStatus.FAILED}', stop_reason = %(reason)s
    WHERE id = %(enrollment_id)s AND status = '{EnrollmentStatus.ACTIVE}'
"""

SUPPRESS = """
    UPDATE contacts SET suppressed_at = %(now)s, suppressed_reason = %(reason)s
    WHERE id = %(contact_id)s AND suppressed_at IS NULL
"""

STOP_OTHERS = f"""
    UPDATE enrollments SET status = '{EnrollmentStatus.STOPPED}', stop_reason = %(reason)s
    WHERE contact_id = %(contact_id)s AND status = '{EnrollmentStatus.ACTIVE}'
    RETURNING id
"""

PAUSE_MAILBOX = f"""
    UPDATE mailboxes SET status = '{MailboxStatus.PAUSED}', paused_reason = %(reason)s
    WHERE id = %(id)s AND status = '{MailboxStatus.ACTIVE}'
"""

LACKING_EVERYWHERE = """
    SELECT name FROM unnest(%(names)s::text[]) AS name
    WHERE NOT EXISTS (
        SELECT FROM enrollments JOIN contacts ON contacts.id = contact_id
        WHERE sequence_id = %(id)s AND attributes ->> name IS NOT NULL
    )
"""

PAUSE_SEQUENCE = f"""
    UPDATE sequences SET status = '{SequenceStatus.PAUSED}', paused_reason = %(reason)s
    WHERE id = %(id)s AND status = '{SequenceStatus.ACTIVE}'
"""


def begin(cursor: "Cursor", claims: Sequence[Claim], lease: dt.timedelta) -> set[int]:
    """Move claimed emails to `sending`: from the commit on they may have left.

    Returns
    -------
    set of int
        The emails that may leave now. The others' claims are lost, or their threads were stopped.
    """
    # In the order of ids, as all writers do, against deadlocks.
    BEGIN.execute(cursor, *_keys(sorted(claims, key=lambda claim: claim.email_id)), lease)
    return {email_id for (email_id,) in cursor.fetchall()}


def succeed(cursor: "Cursor", accepted: Sequence[tuple[Claim, dt.datetime]]) -> set[int]:
    """Record emails that were accepted, each with its moment, and go on with their threads.

    Returns
    -------
    set of int
        The emails that were recorded.
    """
    ordered = sorted(accepted, key=lambda pair: pair[0].email_id)
    moments = [moment for _, moment in ordered]
    SUCCEED.execute(cursor, *_keys(claim for claim, _ in ordered), moments)
    rows = cursor.fetchall()
    last = [enrollment_id for _, enrollment_id, goes_on in rows if not goes_on]
    if last:
        go_on(cursor, last)
    return {email_id for email_id, _, _ in rows}


def release(cursor: "Cursor", claim: Claim, error: str | None = None) -> bool:
    """Give back an email that was not tried; the attempt does not count.

    Returns
    -------
    bool
        Whether the claim still held; so for all functions below.
    """
    return _changed(cursor, RELEASE, claim, error=error)


def doubt(cursor: "Cursor", claim: Claim, error: str) -> bool:
    """Mark an email as uncertain: it may have been accepted or not."""
    return _changed(cursor, DOUBT, claim, error=error)


def postpone(cursor: "Cursor", claim: Claim, error: str, now: dt.datetime) -> bool:
    """Retry an email later, or fail it after its last attempt.

    It is tried again on the same day, from the same mailbox, if window and gap allow. Otherwise it
    loses its slot and is handed to the planner.
    """
    if claim.attempts >= MAX_ATTEMPTS:
        return fail(cursor, claim, error, "not accepted", now)
    earliest = retry_at(now, claim.attempts)
    moment = None
    if earliest < claim.closes:
        # No gap is longer than a day.
        until = claim.closes + dt.timedelta(days=1)
        around = {"mailbox_id": claim.mailbox_id, "after": now, "before": until}
        cursor.execute(NEIGHBOURS, around)
        rows = cursor.fetchall()
        gap = dt.timedelta(seconds=rows[0][0])
        others = [send_at for _, send_at in rows if send_at is not None]
        moment = free_moment(earliest, claim.closes, gap, others)
    held = _changed(cursor, POSTPONE, claim, error=error, retry_at=earliest, send_at=moment)
    if held and moment is None:
        request_plan(cursor, [claim.sequence_id])
    return held


def fail(
    cursor: "Cursor",
    claim: Claim,
    error: str,
    reason: str,
    now: dt.datetime,
    *,
    suppress: bool = False,
) -> bool:
    """Mark an email and its enrollment as failed; the thread's later emails are cancelled.

    Parameters
    ----------
    cursor : cursor
    claim : Claim
    error : str
        For the email's ``last_error``.
    reason : str
        For the enrollment's ``stop_reason``.
    now : aware datetime
    suppress : bool
        Whether the contact is suppressed in all sequences.
    """
    if not _changed(cursor, FAIL, claim, error=error):
        return False
    ended = {"enrollment_id": claim.enrollment_id, "contact_id": claim.contact_id}
    cursor.execute(END_ENROLLMENT, ended | {"reason": reason})
    stopped = [claim.enrollment_id]
    if suppress:
        cursor.execute(SUPPRESS, ended | {"now": now, "reason": reason})
        cursor.execute(STOP_OTHERS, ended | {"reason": reason})
        stopped += [enrollment_id for (enrollment_id,) in cursor.fetchall()]
    cancel_rest(cursor, stopped)
    return True


def pause_mailbox(cursor: "Cursor", claim: Claim, reason: str) -> bool:
    """Pause the mailbox of an email that was refused because of it; the email waits."""
    held = release(cursor, claim, reason)
    cursor.execute(PAUSE_MAILBOX, {"id": claim.mailbox_id, "reason": reason})
    return held


def pause_sequence(cursor: "Cursor", claim: Claim, reason: str) -> bool:
    """Pause the sequence of an email whose template is flawed; the email waits."""
    held = release(cursor, claim, reason)
    cursor.execute(PAUSE_SEQUENCE, {"id": claim.sequence_id, "reason": reason})
    return held


def lacking_everywhere(cursor: "Cursor", claim: Claim, names: Sequence[str]) -> list[str]:
    """Return those of some attributes that no contact of the email's sequence has."""
    cursor.execute(LACKING_EVERYWHERE, {"id": claim.sequence_id, "names": list(names)})
    return [name for (name,) in cursor.fetchall()]


def _keys(claims: Iterable[Claim]) -> tuple[list[int], list[UUID]]:
    listed = list(claims)
    return [claim.email_id for claim in listed], [claim.token for claim in listed]


def _changed(cursor: "Cursor", statement: str, claim: Claim, **values: object) -> bool:
    cursor.execute(statement, {"id": claim.email_id, "token": claim.token, **values})
    return cursor.fetchone() is not None
