"""Stop lists: CSV files of contacts to stop, read as strictly as lists of contacts to enrol.

The column ``email`` is required; ``reason`` and ``sequence`` are optional, and the options of the
command stand for their empty cells. Other columns are refused: a misspelt one would stop contacts
for another reason than meant, or in more sequences.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, text

from sendplan.io.campaigns.contact_list import Contact, ContactList, read_contacts
from sendplan.io.campaigns.lookups import find_sequence
from sendplan.io.documents.texts import shown, suggestion
from sendplan.io.errors import DataError
from sendplan.planner.changes import StopContacts
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import SUPPRESSING, StopReason

REASON, SEQUENCE = "reason", "sequence"
COLUMNS = ("email", REASON, SEQUENCE)
REASONS = tuple(str(reason) for reason in StopReason)

KNOWN = """
    SELECT listed.email, contact.id
    FROM unnest(CAST(:emails AS text[])) AS listed (email)
    JOIN contacts AS contact ON lower(contact.email) = listed.email
"""


class StopListRow(NamedTuple):
    """One row of a list; `line` is where it begins in the file."""

    line: int
    email: str
    reason: str
    sequence: str | None


def _read(path: Path, reason: str | None, sequence: str | None) -> list[StopListRow]:
    listed = read_contacts(path, several_by=SEQUENCE)
    faults = list(_unknown_columns(listed))
    stops = []
    for contact in () if faults else listed.contacts:
        stop = _stop(contact, reason, sequence)
        faults += _faults(stop)
        stops.append(stop)
    if faults:
        raise DataError(faults, listed.name)
    return stops


def _unknown_columns(listed: ContactList) -> Iterator[Fault]:
    named = [*listed.columns]
    if any(contact.timezone for contact in listed.contacts):
        named.append("timezone")
    for name in named:
        if name.lower() not in COLUMNS:
            remedy = suggestion(name, COLUMNS, f"keep to {', '.join(COLUMNS)}")
            yield Fault("line 1", f"{shown(name)} is not a column of a stop list", remedy)


def _stop(contact: Contact, reason: str | None, sequence: str | None) -> StopListRow:
    given = {name.lower(): value for name, value in contact.attributes.items()}
    reason = given.get(REASON, reason or "").lower()
    return StopListRow(contact.line, contact.email, reason, given.get(SEQUENCE, sequence))


def _faults(stop: StopListRow) -> Iterator[Fault]:
    where = f"line {stop.line}, column {REASON}"
    if not stop.reason:
        yield Fault(where, "no reason", f"fill in {', '.join(REASONS)}, or give --reason")
    elif stop.reason not in REASONS:
        remedy = suggestion(stop.reason, REASONS, f"use one of {', '.join(REASONS)}")
        yield Fault(where, f"unknown reason {shown(stop.reason)}", remedy)
    elif stop.reason in SUPPRESSING and stop.sequence is not None:
        what = f"{shown(stop.sequence)}, but {stop.reason} contacts are stopped in every sequence"
        yield Fault(f"line {stop.line}, column {SEQUENCE}", what, "leave the sequence out")


def wanted_stops(
    connection: Connection, path: Path, reason: str | None, sequence: str | None
) -> list[StopContacts]:
    """Return the changes of a list: one for each reason and sequence.

    Parameters
    ----------
    connection : Connection
        For looking up addresses and names.
    path : Path
        The file.
    reason, sequence : str, optional
        For rows without one.

    Raises
    ------
    DataError
        With every offending line, its column, value and a remedy.
    """
    stops = _read(path, reason, sequence)
    emails = list({stop.email.lower() for stop in stops})
    known = {row.email: row.id for row in connection.execute(text(KNOWN), {"emails": emails})}
    sequences: dict[str, int] = {}
    faults: list[Fault] = []
    grouped: dict[tuple[str, str | None], list[int]] = {}
    for stop in stops:
        if stop.sequence is not None and stop.sequence not in sequences:
            # Reported once, at its first line, if it does not exist.
            sequences[stop.sequence] = _sequence(connection, stop.line, stop.sequence, faults)
        contact_id = known.get(stop.email.lower())
        if contact_id is None:
            what = f"no contact has the address {shown(stop.email)}"
            remedy = "correct it, or remove the row"
            faults.append(Fault(f"line {stop.line}, column email", what, remedy))
        else:
            grouped.setdefault((stop.reason, stop.sequence), []).append(contact_id)
    if faults:
        raise DataError(faults, str(path))
    return [
        StopContacts(ids, reason, None if name is None else [sequences[name]])
        for (reason, name), ids in grouped.items()
    ]


def _sequence(connection: Connection, line: int, name: str, faults: list[Fault]) -> int:
    try:
        return find_sequence(connection, name)
    except DataError as error:
        where = f"line {line}, column {SEQUENCE}"
        faults += [replace(fault, where=where) for fault in error.faults]
        return 0
