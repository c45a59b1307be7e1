"""Uncertain emails: whether they were accepted is unknown until an operator resolves them."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Engine, Row, text

from sendplan.io.database.conditions import in_calendar
from sendplan.io.database.engine import translated_errors
from sendplan.io.delivery.thread_progress import after_success
from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import EmailStatus

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

UNCERTAIN = f"""
    SELECT email.id, email.enrollment_id, email.step_id, step.position, sequence.name AS sequence,
           contact.email AS contact, mailbox.email AS mailbox,
           CASE WHEN {in_calendar("email.send_at", "instant")} THEN email.send_at END AS send_at,
           CASE WHEN {in_calendar("email.lease_until", "instant")}
                THEN email.lease_until END AS since, email.last_error, email.message_id
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
    JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    JOIN steps AS step ON step.id = email.step_id
    LEFT JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    WHERE email.status = '{EmailStatus.UNCERTAIN}'
    ORDER BY email.lease_until NULLS FIRST, email.id
"""

# In the order of ids, as every writer does it, so that two of them cannot block each other.
LOCK = """
    SELECT id, enrollment_id, status, send_at
    FROM scheduled_emails WHERE id = ANY (:ids)
    ORDER BY id FOR NO KEY UPDATE
"""

LET_GO = "claim_token = NULL, claimed_by = NULL, lease_until = NULL, retry_at = NULL"

SENT = f"""
    UPDATE scheduled_emails
    SET status = '{EmailStatus.SENT}', sent_at = coalesce(CAST(:at AS timestamptz), send_at),
        last_error = NULL, {LET_GO}
    WHERE id = ANY (:ids)
"""

# Without its run the slot is provisional again, since its time has passed. A resolved email is
# tried again, whatever the number of attempts before.
NOT_SENT = f"""
    UPDATE scheduled_emails
    SET status = '{EmailStatus.PENDING}', plan_run_id = NULL, attempts = 0, {LET_GO}
    WHERE id = ANY (:ids)
"""

LISTED = "`sendplan uncertain` lists the uncertain ones"


@dataclass(frozen=True)
class UncertainEmail:
    """An email that may have left, with the Message-ID to look for among the sent messages.

    Parameters
    ----------
    id, enrollment_id, step_id : int
    position : int or None
        Of the step; None if it was removed.
    sequence : str or None
        Its name.
    contact, mailbox : str or None
        Addresses.
    send_at : aware datetime or None
        Its slot.
    since : aware datetime or None
        When it became uncertain, or when the lease of its dispatcher ended.
    last_error, message_id : str or None
    """

    id: int
    enrollment_id: int
    step_id: int
    position: int | None
    sequence: str | None
    contact: str
    mailbox: str | None
    send_at: dt.datetime | None
    since: dt.datetime | None
    last_error: str | None
    message_id: str | None


def uncertain_emails(engine: Engine) -> list[UncertainEmail]:
    """List the uncertain emails, the longest uncertain first.

    Raises
    ------
    DatabaseError
        If they cannot be read.
    """
    with translated_errors("listing uncertain emails"), engine.connect() as connection:
        rows = connection.execute(text(UNCERTAIN)).mappings()
        return [UncertainEmail(**row) for row in rows]


def resolve(
    engine: Engine,
    sent: Collection[int],
    not_sent: Collection[int],
    now: dt.datetime,
    *,
    at: dt.datetime | None = None,
) -> None:
    """Resolve uncertain emails as sent or not; all of them, or none if one cannot be resolved.

    An email that was sent counts as any other: its enrollment moves on to the next step. One that
    was not is pending again, without a slot. The database queues the recalculation.

    Parameters
    ----------
    engine : Engine
        The database.
    sent, not_sent : collection of int
        Ids of emails.
    now : aware datetime
        The moment.
    at : aware datetime, optional
        When the sent emails left; by default at their slots.

    Raises
    ------
    DataError
        Naming each email that is not uncertain, is named twice, or has no time at which it left.
    DatabaseError
        If the database refused it.
    """
    if at is not None and at > now:
        raise DataError(
            [Fault("--at", f"{at.isoformat()} is in the future", "give the time they left at")]
        )
    keys = sorted({*sent, *not_sent})
    with translated_errors("resolving uncertain emails"), engine.begin() as connection:
        rows = {row.id: row for row in connection.execute(text(LOCK), {"ids": keys})}
        faults = [
            fault
            for key in keys
            if (fault := _fault(key, rows.get(key), key in sent, key in not_sent, at, now))
        ]
        if faults:
            raise DataError(faults, "uncertain emails")
        if sent:
            connection.execute(text(SENT), {"ids": list(sent), "at": at})
            with cast("Cursor", connection.connection.cursor()) as cursor:
                after_success(cursor, [rows[key].enrollment_id for key in sent])
        if not_sent:
            connection.execute(text(NOT_SENT), {"ids": list(not_sent)})


def _fault(
    key: int,
    row: Row[Any] | None,
    sent: bool,
    not_sent: bool,
    at: dt.datetime | None,
    now: dt.datetime,
) -> Fault | None:
    """Return what keeps an email from being resolved."""
    where = f"email {key}"
    if row is None:
        return Fault(where, "does not exist", LISTED)
    if row.status != EmailStatus.UNCERTAIN:
        return Fault(where, f"is {row.status}, not uncertain", LISTED)
    if sent and not_sent:
        return Fault(where, "is given as sent and as not sent", "keep one of the two")
    if sent and at is None and (row.send_at is None or row.send_at > now):
        return Fault(where, "has no slot in the past", "give --at, the time at which it left")
    return None
