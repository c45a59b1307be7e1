"""Changes in the tables: the SQL side of `sendplan.planner.changes`.

A change locks the rows that it depends on and is part of the caller's transaction. It writes
settings only; a recalculation moves the emails afterwards.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Integer, cast, func, select

from sendplan.io.changes import contacts
from sendplan.io.changes import mailboxes as mailbox_changes
from sendplan.io.changes import steps as step_changes
from sendplan.io.changes.rows import (
    Applied,
    locked,
    named_sequence,
    set_row,
    settings_in_words,
    stored,
)
from sendplan.io.database.tables import sequences
from sendplan.io.errors import DataError
from sendplan.io.messages.step_texts import check_unsubscribe_url
from sendplan.planner import changes
from sendplan.planner.changes import Change, SetSequence
from sendplan.planner.schema.errors import Fault, ProblemError

__all__ = ["Applied", "apply", "sentence", "summary", "translated_faults"]


def apply(connection: Connection, change: Change, now: dt.datetime | None = None) -> Applied:
    """Make a change in the tables.

    Parameters
    ----------
    connection : Connection
        The database; the caller commits, or rolls back if an error is raised.
    change : Change
        From `sendplan.planner.changes`.
    now : aware datetime, optional
        When a step is removed, or a contact suppressed; by default the database's clock.

    Returns
    -------
    Applied
        Also of a change that left everything as it was.

    Raises
    ------
    DataError
        If the change names a row that does not exist, does not fit the tables, or is for studies
        only.
    """
    applied = _APPLY.get(type(change))
    if applied is None:
        what = f"{type(change).__name__} is for studies only"
        raise DataError([Fault("", what, "change the mailboxes, steps or sequences one by one")])
    with translated_faults():
        return applied(connection, change, now or connection.scalars(select(func.now())).one())


@contextmanager
def translated_faults() -> Iterator[None]:
    """Turn a `ProblemError` of the planner into the `DataError` of a command."""
    try:
        yield
    except ProblemError as error:
        raise DataError(error.faults) from error


def sentence(done: Sequence[Applied]) -> str:
    """Return one line about changes made together."""
    text = "; ".join(str(applied) for applied in done)
    changed = any(applied.changed for applied in done)
    after = "Run `sendplan recalc` to update the plan." if changed else "Nothing was changed."
    return f"{text[:1].upper()}{text[1:]}. {after}"


def summary(kind: str, done: Sequence[Applied]) -> dict[str, Any]:
    """Return the JSON object of changes made together.

    Parameters
    ----------
    kind : str
        The command, such as ``"mailbox pause"``.
    done : sequence of Applied
        At least one.

    Returns
    -------
    dict
        ``changed``, ``kind``, the ids on which all changes agree, and the list ``changes``.
    """
    first, *others = (applied.ids for applied in done)
    shared = {
        name: value
        for name, value in first.items()
        if all(ids.get(name) == value for ids in others)
    }
    changed = any(applied.changed for applied in done)
    listed = [applied.to_json() for applied in done]
    return {"changed": changed, "kind": kind, **shared, "changes": listed}


def _set_sequence(connection: Connection, change: SetSequence, now: dt.datetime) -> Applied:
    locked(connection, sequences, "sequence", change.sequence_id)
    # In seconds, since the end of the day, 24:00, is no time of Python's.
    window = (
        cast(func.extract("epoch", sequences.c[name]), Integer).label(name)
        for name in ("start_time", "end_time")
    )
    query = select(*window).where(sequences.c.id == change.sequence_id)
    change.refuse_for(dict(connection.execute(query).mappings().one()))
    values = stored(change)
    url = values.get("unsubscribe_url")
    if url is not None:
        check_unsubscribe_url(connection, change.sequence_id, url)
    changed = set_row(connection, sequences, change.sequence_id, values)
    words = f"{named_sequence(connection, change.sequence_id)}: {settings_in_words(values)}"
    return Applied(change, changed, words, {"sequence_id": change.sequence_id})


_APPLY: dict[type[Change], Callable[[Connection, Any, dt.datetime], Applied]] = {
    changes.AddMailbox: mailbox_changes.add_mailbox,
    changes.RemoveMailbox: mailbox_changes.remove_mailbox,
    changes.SetMailbox: mailbox_changes.set_mailbox,
    changes.LinkMailbox: mailbox_changes.link_mailbox,
    changes.UnlinkMailbox: mailbox_changes.unlink_mailbox,
    changes.AddStep: step_changes.add_step,
    changes.RemoveStep: step_changes.remove_step,
    changes.MoveStep: step_changes.move_step,
    changes.SetStep: step_changes.set_step,
    SetSequence: _set_sequence,
    changes.SuppressContact: contacts.suppress_contact,
    changes.StopContacts: contacts.stop_contacts,
}
