"""What the changes of all tables have in common: rows locked and given values, and told of."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Table, Time, cast, or_, select, update

from sendplan.io.campaigns.campaign_file import is_reference
from sendplan.io.database.tables import mailboxes, sequences
from sendplan.io.documents.texts import shown
from sendplan.io.errors import DataError
from sendplan.planner.changes import Change
from sendplan.planner.changes.refusals import unknown
from sendplan.planner.schema import dates
from sendplan.planner.schema.columns import COLUMNS, settable, with_form
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.readers import NULL

SEARCHED = 5_000
"""How many ids are looked through for one that may have been meant."""

UNTOLD = with_form("secret", "subject", "template")
"""Columns whose values are too long, or too secret, for a line that tells of a change."""


@dataclass(frozen=True)
class Applied:
    """What became of a change.

    Parameters
    ----------
    change : Change
        The change.
    changed : bool
        False if everything was so already.
    words : str
        What holds now, for a person: ``"mailbox ann@mail.example (7): removed"``.
    ids : dict
        The ids of what it concerns, new ones included, by name: ``{"mailbox_id": 7}``.
    """

    change: Change
    changed: bool
    words: str
    ids: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Tell what was done, or that there was nothing to do."""
        return self.words if self.changed else f"{self.words} already"

    def to_json(self) -> dict[str, Any]:
        """Return what JSON tells of the change."""
        return {"kind": type(self.change).__name__, "changed": self.changed, **self.ids}


def locked(connection: Connection, table: Table, noun: str, key: int) -> dict[str, Any]:
    """Return a row, which others may refer to but not change until the transaction ends.

    Raises
    ------
    ProblemError
        If it does not exist.
    """
    query = select(table).where(table.c.id == key).with_for_update(key_share=True)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        known = select(table.c.id).order_by(table.c.id).limit(SEARCHED)
        raise unknown(noun, key, connection.scalars(known))
    return dict(row)


def set_row(connection: Connection, table: Table, key: int, values: Mapping[str, Any]) -> bool:
    """Give a row values, and tell whether any of them was another before."""
    cells = {
        name: cast(value, Time) if isinstance(table.c[name].type, Time) else value
        for name, value in values.items()
    }
    other = or_(*(table.c[name].is_distinct_from(value) for name, value in cells.items()))
    statement = update(table).where((table.c.id == key) & other).values(cells)
    return connection.execute(statement).rowcount > 0


def stored(change: Change) -> dict[str, Any]:
    """Return the columns of a change as the driver takes them.

    Raises
    ------
    DataError
        If a value is out of all proportion, or is a secret itself.
    """
    columns = COLUMNS[change.TABLE]
    given = {
        field.name: getattr(change, field.name)
        for field in fields(change)
        if field.name in settable(change.TABLE) and not columns[field.name].frame
    }
    defaults = {field.name: field.default for field in fields(change)}
    only_stored = {name: value for name, value in given.items() if value is not defaults[name]}
    values = {
        name: _plain(columns[name].kind, value)
        for name, value in (change.columns | only_stored).items()
    }
    for name, value in values.items():
        most = columns[name].plausible
        if value is not None and most is not None and value > most:
            what = f"{value:,} is out of range"
            raise DataError([Fault(f"{change.where}, {name}", what, f"at most {most:,}")])
        if value is not None and columns[name].form == "secret" and not is_reference(value):
            what = "no reference to a secret (the value is not repeated here)"
            remedy = 'write "env:NAME" or "file:PATH", and put the URL there'
            raise DataError([Fault(f"{change.where}, {name}", what, remedy)])
    return values


def _plain(kind: str, value: Any) -> Any:
    match kind:
        case "key" | "integer" | "date" if value == NULL:
            return None
        case "key" | "integer":
            return int(value)
        case "number":
            return float(value)
        case "date":
            return dates.to_date(value)
        case "time":
            # A text, since the end of the day, 24:00, is no time of Python's.
            return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"
        case "weekdays":
            return list(value)
        case _:
            return None if value is None else str(value)


def named_mailbox(connection: Connection, mailbox_id: int) -> str:
    """Return what a person calls a mailbox."""
    email = connection.scalar(select(mailboxes.c.email).where(mailboxes.c.id == mailbox_id))
    return f"mailbox {email} ({mailbox_id})"


def named_sequence(connection: Connection, sequence_id: int) -> str:
    """Return what a person calls a sequence."""
    name = connection.scalar(select(sequences.c.name).where(sequences.c.id == sequence_id))
    return f"sequence {sequence_id}" if name is None else f"sequence {shown(name)} ({sequence_id})"


def settings_in_words(values: Mapping[str, Any]) -> str:
    """Return the settings of a row as a person reads them."""
    return ", ".join(
        name if name in UNTOLD else f"{name} {_told(value)}" for name, value in values.items()
    )


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)
