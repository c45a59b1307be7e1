"""Names of mailboxes, sequences, steps and contacts looked up, with the one that was meant."""

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from sendplan.io.database.tables import contacts, mailboxes, sequences, steps
from sendplan.io.documents.texts import nearest, shown
from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault

SHOWN = 10
"""How many existing names a message lists."""

SEARCHED = 5_000
"""How many rows are searched for the one that was meant."""


def find_mailbox(connection: Connection, text: str) -> int:
    """Return the id of a mailbox.

    Parameters
    ----------
    connection : Connection
        The database.
    text : str
        Its address, in capital or small letters, or its id.

    Raises
    ------
    DataError
        If no mailbox is so called, or several are; the message names existing ones.
    """
    return _find(connection, mailboxes, "mailbox", func.lower(mailboxes.c.email), text.lower())


def find_sequence(connection: Connection, text: str) -> int:
    """Return the id of a sequence named by its name or id; raises as `find_mailbox` does."""
    return _find(connection, sequences, "sequence", sequences.c.name, text)


def _find(
    connection: Connection, table: Table, noun: str, name: ColumnElement[str], text: str
) -> int:
    # Ids take precedence over names of digits.
    if (key := _number(text)) is not None and _exists(connection, table, key):
        return key
    found = connection.scalars(select(table.c.id).where(name == text).order_by(table.c.id)).all()
    if len(found) == 1:
        return int(found[0])
    if found:
        ids = ", ".join(map(str, found))
        what = f"several are called {shown(text)} (ids {ids})"
        raise DataError([Fault(noun, what, "give the id of one")])
    names = sorted(connection.scalars(select(name).where(name.is_not(None)).distinct()))
    if near := nearest(text, names):
        remedy = f"did you mean {shown(near)}?"
    else:
        listed = ", ".join(map(shown, names[:SHOWN])) + (", …" if names[SHOWN:] else "")
        remedy = f"use one of {listed}" if names else "load a campaign first"
    raise DataError([Fault(noun, f"no {noun} is called {shown(text)}", remedy)])


def find_step(connection: Connection, text: str, sequence: str | None = None) -> int:
    """Return the id of a step.

    Parameters
    ----------
    connection : Connection
        The database.
    text : str
        The step's id or, with a sequence, its position.
    sequence : str, optional
        The sequence's name or id.

    Raises
    ------
    DataError
        If there is none; the message lists the steps of the sequence.
    """
    number = _number(text)
    if sequence is None:
        if number is None or not _exists(connection, steps, number):
            remedy = "give the id of a step, or --sequence and --position"
            raise DataError([Fault("step", f"there is no step {shown(text)}", remedy)])
        return number
    query = select(steps.c.id, steps.c.position, steps.c.subject).where(
        steps.c.sequence_id == find_sequence(connection, sequence), steps.c.position.is_not(None)
    )
    rows = connection.execute(query.order_by(steps.c.position)).all()
    for row in rows:
        if row.position == number:
            return int(row.id)
    what = f"sequence {shown(sequence)} has no step at position {shown(text)}"
    named = [_step(row.position, row.subject, row.id) for row in rows[:SHOWN]]
    listed = "; ".join(named) + ("; …" if rows[SHOWN:] else "")
    raise DataError([Fault("step", what, f"it has {listed or 'no step'}")])


def _step(position: int, subject: str | None, key: int) -> str:
    return f"{position}:{'' if subject is None else ' ' + shown(subject)} (id {key})"


def find_contact(connection: Connection, email: str) -> int:
    """Return the id of the contact of an address, in capital or small letters.

    Raises
    ------
    DataError
        If there is none; the message names a similar one.
    """
    address = func.lower(contacts.c.email)
    wanted = email.strip().lower()
    found: int | None = connection.scalar(select(contacts.c.id).where(address == wanted))
    if found is not None:
        return found
    # Of many contacts only those that begin or end alike are compared.
    begins, ends = wanted[:2], wanted.rpartition("@")[2]
    alike = or_(func.left(address, 2) == begins, func.split_part(address, "@", 2) == ends)
    query = select(contacts.c.email).where(alike).order_by(address).limit(SEARCHED)
    near = nearest(email, connection.scalars(query))
    remedy = f"did you mean {shown(near)}?" if near else "enrol it first"
    raise DataError([Fault("contact", f"no contact has the address {shown(email)}", remedy)])


def _exists(connection: Connection, table: Table, key: int) -> bool:
    return connection.scalar(select(table.c.id).where(table.c.id == key)) is not None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
