"""Mailboxes and their links changed in the tables."""

import datetime as dt
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from sendplan.io.changes.rows import (
    Applied,
    locked,
    named_mailbox,
    named_sequence,
    set_row,
    settings_in_words,
    stored,
)
from sendplan.io.database.tables import mailboxes, sequence_mailboxes, sequences
from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.errors import DataError
from sendplan.planner.changes import (
    AddMailbox,
    LinkMailbox,
    RemoveMailbox,
    SetMailbox,
    UnlinkMailbox,
)
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MailboxStatus


def add_mailbox(connection: Connection, change: AddMailbox, now: dt.datetime) -> Applied:
    """Insert a mailbox and its links, or bring back the one of that address."""
    values = stored(change) | {"status": str(MailboxStatus.ACTIVE)}
    values["email"] = _address(change.email)
    for sequence_id in sorted(change.sequence_ids):
        locked(connection, sequences, "sequence", sequence_id)
    mailbox_id = change.brought_back(_of_address(connection, values["email"]))
    if mailbox_id is None:
        statement = insert(mailboxes).values(values).returning(mailboxes.c.id)
        mailbox_id, done = connection.scalars(statement).one(), "added"
    else:
        done = "brought back"
        # The address keeps its spelling: its threads use it.
        del values["email"]
        set_row(connection, mailboxes, mailbox_id, values)
        if change.sequence_ids:
            others = sequence_mailboxes.c.sequence_id.not_in(change.sequence_ids)
            own = sequence_mailboxes.c.mailbox_id == mailbox_id
            connection.execute(sequence_mailboxes.delete().where(own & others))
    for sequence_id in change.sequence_ids:
        _link(connection, sequence_id, mailbox_id)
    words = f"{named_mailbox(connection, mailbox_id)}: {done}"
    ids = {"mailbox_id": mailbox_id, "sequence_ids": [*change.sequence_ids]}
    return Applied(change, True, words, ids)


def _address(email: str | None) -> str:
    try:
        return address(email or "")
    except AddressError as error:
        raise DataError([error.fault.within("new mailbox, email")]) from None


def _of_address(connection: Connection, email: str) -> list[tuple[int, str]]:
    """Lock the mailboxes of an address, and return their ids and statuses."""
    rows = connection.execute(
        select(mailboxes.c.id, mailboxes.c.status)
        .where(func.lower(mailboxes.c.email) == email.lower())
        .order_by(mailboxes.c.id)
        .with_for_update(key_share=True)
    )
    return [(row.id, row.status) for row in rows]


def remove_mailbox(connection: Connection, change: RemoveMailbox, now: dt.datetime) -> Applied:
    """Mark a mailbox as removed."""
    locked(connection, mailboxes, "mailbox", change.mailbox_id)
    removed = {"status": str(MailboxStatus.REMOVED)}
    changed = set_row(connection, mailboxes, change.mailbox_id, removed)
    return _about_mailbox(connection, change, changed, "removed")


def set_mailbox(connection: Connection, change: SetMailbox, now: dt.datetime) -> Applied:
    """Give a mailbox other settings."""
    row = locked(connection, mailboxes, "mailbox", change.mailbox_id)
    change.refuse_for({name: NULL if value is None else value for name, value in row.items()})
    values = stored(change)
    changed = set_row(connection, mailboxes, change.mailbox_id, values)
    return _about_mailbox(connection, change, changed, settings_in_words(values))


def _about_mailbox(
    connection: Connection, change: RemoveMailbox | SetMailbox, changed: bool, state: str
) -> Applied:
    words = f"{named_mailbox(connection, change.mailbox_id)}: {state}"
    return Applied(change, changed, words, {"mailbox_id": change.mailbox_id})


def link_mailbox(connection: Connection, change: LinkMailbox, now: dt.datetime) -> Applied:
    """Let a mailbox send for a sequence."""
    locked(connection, sequences, "sequence", change.sequence_id)
    row = locked(connection, mailboxes, "mailbox", change.mailbox_id)
    change.refuse_for(row)
    changed = _link(connection, change.sequence_id, change.mailbox_id)
    return _about_link(connection, change, changed, "linked to")


def unlink_mailbox(connection: Connection, change: UnlinkMailbox, now: dt.datetime) -> Applied:
    """Stop a mailbox from sending for a sequence."""
    locked(connection, sequences, "sequence", change.sequence_id)
    locked(connection, mailboxes, "mailbox", change.mailbox_id)
    link = (sequence_mailboxes.c.sequence_id == change.sequence_id) & (
        sequence_mailboxes.c.mailbox_id == change.mailbox_id
    )
    changed = connection.execute(sequence_mailboxes.delete().where(link)).rowcount > 0
    return _about_link(connection, change, changed, "not linked to")


def _about_link(
    connection: Connection, change: LinkMailbox | UnlinkMailbox, changed: bool, state: str
) -> Applied:
    mailbox = named_mailbox(connection, change.mailbox_id)
    words = f"{mailbox}: {state} {named_sequence(connection, change.sequence_id)}"
    ids = {"sequence_id": change.sequence_id, "mailbox_id": change.mailbox_id}
    return Applied(change, changed, words, ids)


def _link(connection: Connection, sequence_id: int, mailbox_id: int) -> bool:
    link = {"sequence_id": sequence_id, "mailbox_id": mailbox_id}
    statement = insert(sequence_mailboxes).values(link).on_conflict_do_nothing()
    fresh = connection.execute(statement).rowcount > 0
    users = _users(connection, sequence_id)
    # A trigger would refuse it too, but only when the transaction ends.
    if fresh and len(users) > 1:
        what = f"its mailboxes would belong to several users ({', '.join(map(str, users))})"
        where = named_sequence(connection, sequence_id)
        raise DataError([Fault(where, what, "link mailboxes of one user")])
    return fresh


def _users(connection: Connection, sequence_id: int) -> list[Any]:
    query = (
        select(mailboxes.c.user_id)
        .join(sequence_mailboxes, sequence_mailboxes.c.mailbox_id == mailboxes.c.id)
        .where(sequence_mailboxes.c.sequence_id == sequence_id, mailboxes.c.user_id.is_not(None))
        .distinct()
        .order_by(mailboxes.c.user_id)
    )
    return list(connection.scalars(query))
