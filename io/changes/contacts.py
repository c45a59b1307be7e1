"""Contacts changed in the tables: suppressed, or stopped after a reply or bounce."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, any_, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from sendplan.io.campaigns.lookups import SEARCHED
from sendplan.io.changes.rows import Applied, locked
from sendplan.io.database.tables import contacts, sequences
from sendplan.planner.changes import StopContacts, SuppressContact
from sendplan.planner.changes.refusals import unknown
from sendplan.planner.schema.vocabulary import EmailStatus, EnrollmentStatus
from sendplan.planner.schema.wording import counted

# All rows are locked in the order of ids, as every writer does it, so that two of them cannot
# block each other.
STOP = f"""
    UPDATE enrollments SET status = '{EnrollmentStatus.STOPPED}', stop_reason = :reason
    FROM (
        SELECT id AS locked_id FROM enrollments
        WHERE contact_id = ANY(:contact_ids) AND status = '{EnrollmentStatus.ACTIVE}'
          AND (CAST(:sequence_ids AS bigint[]) IS NULL OR sequence_id = ANY(:sequence_ids))
        ORDER BY id FOR NO KEY UPDATE
    ) AS locked
    WHERE id = locked_id
"""

# Also those of threads that had ended before: they are never sent.
CANCEL = f"""
    UPDATE scheduled_emails SET status = '{EmailStatus.CANCELLED}'
    FROM (
        SELECT email.id AS locked_id
        FROM scheduled_emails AS email
        JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
        WHERE enrollment.contact_id = ANY(:contact_ids)
          AND enrollment.status <> '{EnrollmentStatus.ACTIVE}'
          AND (CAST(:sequence_ids AS bigint[]) IS NULL OR sequence_id = ANY(:sequence_ids))
          AND email.status = '{EmailStatus.PENDING}'
        ORDER BY email.id FOR NO KEY UPDATE OF email
    ) AS locked
    WHERE id = locked_id
"""


def suppress_contact(connection: Connection, change: SuppressContact, now: dt.datetime) -> Applied:
    """Suppress a contact; the next plan cancels its pending emails."""
    row = locked(connection, contacts, "contact", change.contact_id)
    changed = _suppress(connection, [change.contact_id], change.reason, now) > 0
    words = f"contact {row['email']} ({change.contact_id}): suppressed"
    return Applied(change, changed, words, {"contact_id": change.contact_id})


def stop_contacts(connection: Connection, change: StopContacts, now: dt.datetime) -> Applied:
    """Stop enrollments of contacts, and cancel their pending emails."""
    for sequence_id in change.sequence_ids or ():
        locked(connection, sequences, "sequence", sequence_id)
    ids = sorted(change.contact_ids)
    emails = _locked_contacts(connection, ids)
    reached = {
        "contact_ids": ids,
        "sequence_ids": None if change.sequence_ids is None else list(change.sequence_ids),
    }
    counts = {
        "stopped": connection.execute(text(STOP), reached | {"reason": change.reason}).rowcount,
        "cancelled": connection.execute(text(CANCEL), reached).rowcount,
        "suppressed": _suppress(connection, ids, change.reason, now) if change.suppresses else 0,
    }
    changed = any(counts.values())
    one = f"contact {emails[0]} ({ids[0]})"
    words = f"{one if len(ids) == 1 else counted(len(ids), 'contact')}: stopped, {change.reason}"
    if changed:
        nouns = zip(counts.items(), ("enrollment", "email", "contact"), strict=True)
        details = (f"{counted(count, noun)} {done}" for (done, count), noun in nouns)
        words += f" ({', '.join(details)})"
    return Applied(change, changed, words, {"contact_ids": ids, **counts})


def _locked_contacts(connection: Connection, ids: Sequence[int]) -> list[str]:
    """Lock contacts, and return their addresses in the same order."""
    query = select(contacts.c.id, contacts.c.email).where(contacts.c.id == any_(_bigints(ids)))
    rows = connection.execute(query.order_by(contacts.c.id).with_for_update(key_share=True)).all()
    found = {row.id: row.email for row in rows}
    for key in ids:
        if key not in found:
            known = select(contacts.c.id).order_by(contacts.c.id).limit(SEARCHED)
            raise unknown("contact", key, connection.scalars(known))
    return list(found.values())


def _suppress(
    connection: Connection, ids: Sequence[int], reason: str | None, now: dt.datetime
) -> int:
    """Suppress contacts; the first time and reason stay."""
    fresh = (contacts.c.id == any_(_bigints(ids))) & contacts.c.suppressed_at.is_(None)
    values = {"suppressed_at": now, "suppressed_reason": reason}
    return connection.execute(update(contacts).where(fresh).values(values)).rowcount


def _bigints(ids: Sequence[int]) -> ColumnElement[Any]:
    # One parameter for any number of ids.
    return literal(list(ids), ARRAY(BigInteger))
