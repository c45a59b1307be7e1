"""What the changes of all tables share: rows locked and updated, and reported."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Table, Time, cast, or_, select, update

from sendplan.io.campaigns.campaign_file import is_reference
from sendplan.io.campaigns.lookups import SEARCHED
from sendplan.io.database.tables import mailboxes, sequences
from sendplan.io.documents.texts import shown
from sendplan.io.errors import DataError
from sendplan.planner.changes import Change
from sendplan.planner.changes.refusals import unknown
from sendplan.planner.schema import dates
from sendplan.planner.schema.columns import COLUMNS, settable, with_form
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.readers import NULL

NOT_SHOWN = with_form("secret", "subject", "template")
"""Columns whose values are too long, or too secret, for a message."""


@dataclass(frozen=True)
class Applied:
    """A change that was made.

    Parameters
    ----------
    change : Change
        The change.
    changed : bool
        False if the tables were so already.
    words : str
        The new state in words: ``"mailbox ann@mail.example (7): removed"``.
    ids : dict
        The ids that it concerns, new ones included, by name: ``{"mailbox_id": 7}``.
    """

    change: Change
    changed: bool
    words: str
    ids: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the new state in words."""
        return self.words if self.changed else f"{self.words} already"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the change."""
        return {"kind": type(self.change).__name__, "changed": self.changed, **self.ids}


def locked(connection: Connection, table: Table, noun: str, key: int) -> dict[str, Any]:
    """Lock a row until the transaction ends, and return it; others may still refer to it.

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
    """Set columns of a row, and tell whether any of them changed."""
    cells = {
        name: cast(value, Time) if isinstance(table.c[name].type, Time) else value
        for name, value in values.items()
    }
    other = or_(*(table.c[name].is_distinct_from(value) for name, value in cells.items()))
    statement = update(table).where((table.c.id == key) & other).values(cells)
    return connection.execute(statement).rowcount > 0


def stored(change: Change) -> dict[str, Any]:
    """Return the columns of a change as values for the driver.

    Raises
    ------
    DataError
        If a value is out of range, or is a secret itself.
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
    """Return the address and id of a mailbox."""
    email = connection.scalar(select(mailboxes.c.email).where(mailboxes.c.id == mailbox_id))
    return f"mailbox {email} ({mailbox_id})"


def named_sequence(connection: Connection, sequence_id: int) -> str:
    """Return the name and id of a sequence."""
    name = connection.scalar(select(sequences.c.name).where(sequences.c.id == sequence_id))
    return f"sequence {sequence_id}" if name is None else f"sequence {shown(name)} ({sequence_id})"


def settings_in_words(values: Mapping[str, Any]) -> str:
    """Return the settings of a row in words."""
    return ", ".join(
        name if name in NOT_SHOWN else f"{name} {_plain_text(value)}"
        for name, value in values.items()
    )


def _plain_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)
