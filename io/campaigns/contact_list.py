"""Contact lists: a strict reader of CSV files.

A list has a header, one contact a row, columns separated by commas. The column ``email`` is
required and ``timezone`` optional, both in any case; every other column is an attribute under the
name that the header gives it. Empty cells are no attributes.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.documents.headers import control_character, encoded_word
from sendplan.io.documents.known_names import zone_fault
from sendplan.io.documents.texts import CONTROL, character, read_text, shown
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import BUILT_INS, MAX_VALUE
from sendplan.planner.schema.errors import Fault

MAX_FILE = 256 * 2**20
"""Bytes of a list at most."""

MAX_COLUMNS = 200

EMAIL, TIMEZONE = "email", "timezone"
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Contact:
    """One row of a list; `line` is where it begins in the file."""

    line: int
    email: str
    timezone: str | None
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ContactList:
    """A checked list.

    Parameters
    ----------
    name : str
        Name of the file in messages.
    columns : tuple of str
        The attributes' columns, in the order of the file.
    contacts : tuple of Contact
    """

    name: str
    columns: tuple[str, ...]
    contacts: tuple[Contact, ...]


def read_contacts(path: Path, *, several_by: str | None = None) -> ContactList:
    """Read and check a contact list.

    Parameters
    ----------
    path : Path
        The file.
    several_by : str, optional
        A column in lower case; rows of one address may differ in it.

    Raises
    ------
    DataError
        With every offending line, its column, value and a remedy.
    """
    text = read_text(path, MAX_FILE)
    return parse_contacts(text, name=str(path), several_by=several_by)


def parse_contacts(
    text: str, *, name: str = "contacts", several_by: str | None = None
) -> ContactList:
    """Check the text of a contact list.

    Parameters
    ----------
    text : str
        CSV, without byte order mark, line ends as in the file.
    name : str
        Name of the text in messages.
    several_by : str, optional
        See `read_contacts`.

    Raises
    ------
    DataError
        With every offending line, its column, value and a remedy.
    """
    if not text.strip():
        raise DataError([Fault("line 1", "the file is empty", "write a header and rows")], name)
    faults: list[Fault] = []
    rows = _rows(text, faults)
    line, header = next(rows, (1, []))
    columns = () if faults else _header(line, header, faults)
    if faults:
        raise DataError(faults, name)
    contacts = _read_rows(rows, columns, faults, several_by)
    if not contacts and not faults:
        remedy = "write one contact a row below the header"
        faults.append(Fault(f"line {line + 1}", "the file has no contacts", remedy))
    if faults:
        raise DataError(faults, name)
    attributes = tuple(column for column in columns if column not in (EMAIL, TIMEZONE))
    return ContactList(name, attributes, contacts)


def _rows(text: str, faults: list[Fault]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line it begins on; stop where quoting breaks."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            faults.append(_quoting_fault(line, reader.line_num, str(error)))
            return
        if row is None:
            return
        if row:
            yield line, row
        line = reader.line_num + 1


def _quoting_fault(first: int, last: int, message: str) -> Fault:
    where = f"line {first}"
    if "end of data" in message:
        what = "a quote is opened and never closed"
    elif "field larger" in message:
        limit = csv.field_size_limit()
        what = f"a field is longer than {limit:,} characters; a quote may never be closed"
    else:
        what = "text follows a closing quote"
    if last > first:
        what += f" (read up to line {last})"
    remedy = 'close the quote, or write quotes inside a quoted field twice (""); rows after it'
    return Fault(where, what, f"{remedy} were not read")


def _header(line: int, header: list[str], faults: list[Fault]) -> tuple[str, ...]:
    where = f"line {line}"

    def note(*fault: str) -> None:
        faults.append(Fault(*fault))

    names = [name.strip() for name in header]
    names = [name.lower() if name.lower() in (EMAIL, TIMEZONE) else name for name in names]
    if EMAIL not in names:
        joined = ",".join(header)
        delimiter = next((mark for mark in _OTHER_DELIMITERS if mark in joined), None)
        if delimiter is not None:
            what = f"the columns are separated by {_OTHER_DELIMITERS[delimiter]}: {shown(joined)}"
            note(where, what, "save the file with commas")
        elif any("@" in name for name in names):
            what = f"the header is missing; the first line is {shown(joined)}"
            note(where, what, "put a line such as email,first_name above it")
        else:
            what = f"no column 'email' among {shown(', '.join(names), 200)}"
            note(where, what, "name the column that holds the addresses 'email'")
        return ()
    if len(names) > MAX_COLUMNS:
        note(where, f"{len(names):,} columns", f"keep to {MAX_COLUMNS} at most")
        return ()
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        place = f"{where}, column {number}"
        control = CONTROL.search(name)
        if not name:
            note(place, "the header of this column is empty", "name the column, or remove it")
        elif control:
            note(place, f"{character(control[0])} in the header {shown(name)}", "remove it")
        elif len(name) > 100:
            note(place, f"{len(name):,} characters: {shown(name)}", "keep to 100 at most")
        elif name in BUILT_INS and name != EMAIL:
            note(place, f"{shown(name)} is a variable of sendplan", "rename the column")
        elif name.casefold() in seen:
            what = f"{shown(name)} is the header of column {seen[name.casefold()]} too"
            note(place, what, "rename or remove one of them")
        seen.setdefault(name.casefold(), number)
    return tuple(names)


def _read_rows(
    rows: Iterator[tuple[int, list[str]]],
    columns: tuple[str, ...],
    faults: list[Fault],
    several_by: str | None,
) -> tuple[Contact, ...]:
    folded = [column.lower() for column in columns]
    apart_place = folded.index(several_by) if several_by in folded else None
    email_place = columns.index(EMAIL)
    zone_place = columns.index(TIMEZONE) if TIMEZONE in columns else None
    others = [
        (place, name)
        for place, name in enumerate(columns)
        if place not in (email_place, zone_place)
    ]
    contacts: list[Contact] = []
    seen: dict[tuple[str, str], int] = {}
    for line, row in rows:
        if len(row) != len(columns):
            faults.append(_width_fault(line, row, columns))
            continue
        email = _email(line, row[email_place], faults)
        apart = row[apart_place].strip() if apart_place is not None else ""
        if email and (first := seen.setdefault((email.lower(), apart), line)) != line:
            what = f"{shown(row[email_place])} is already in line {first}"
            faults.append(Fault(f"line {line}, column email", what, "remove one of the rows"))
        zone = row[zone_place].strip() if zone_place is not None else ""
        if zone and (fault := zone_fault(zone)):
            faults.append(fault.within(f"line {line}, column timezone"))
        attributes = {name: value for place, name in others if (value := row[place].strip(" \t"))}
        # One search over the whole row, since faults are rare.
        if CONTROL.search("".join(attributes.values())) or any(
            "=?" in value or len(value) > MAX_VALUE for value in attributes.values()
        ):
            faults += _attribute_faults(line, attributes)
        contacts.append(Contact(line, email, zone or None, attributes))
    return tuple(contacts)


def _email(line: int, value: str, faults: list[Fault]) -> str:
    try:
        return address(value)
    except AddressError as error:
        faults.append(error.fault.within(f"line {line}, column email"))
        return ""


def _width_fault(line: int, row: list[str], columns: tuple[str, ...]) -> Fault:
    what = f"{len(row)} fields, but the header has {len(columns)}: {shown(','.join(row))}"
    if len(row) < len(columns):
        missing = ", ".join(columns[len(row) :])
        return Fault(f"line {line}", what, f"add the missing columns ({shown(missing, 80)})")
    return Fault(f"line {line}", what, "put fields that hold a comma in double quotes")


def _attribute_faults(line: int, attributes: Mapping[str, str]) -> Iterator[Fault]:
    for name, value in attributes.items():
        where = f"line {line}, column {name}"
        if len(value) > MAX_VALUE:
            what = f"{len(value):,} characters: {shown(value)}"
            yield Fault(where, what, f"keep to {MAX_VALUE:,} at most")
        for fault in (control_character(value), encoded_word(value)):
            if fault is not None:
                yield fault.within(where)
