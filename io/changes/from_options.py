"""The options of a command as changes: names looked up, texts read.

One function for each command of `sendplan.io.changes.commands`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from sendplan.io.campaigns.lookups import find_contact, find_mailbox, find_sequence, find_step
from sendplan.io.changes.stop_lists import wanted_stops
from sendplan.io.changes.values import Null
from sendplan.io.documents.texts import read_text
from sendplan.io.messages.templates import MAX_SOURCE
from sendplan.planner.changes import (
    AddMailbox,
    AddStep,
    Change,
    LinkMailbox,
    MoveStep,
    RemoveMailbox,
    RemoveStep,
    SetMailbox,
    SetSequence,
    SetStep,
    StopContacts,
    SuppressContact,
    UnlinkMailbox,
)
from sendplan.planner.schema.columns import COLUMNS, texts_or_files
from sendplan.planner.schema.vocabulary import MailboxStatus, SequenceStatus


def wanted_changes(connection: Connection, name: str, options: dict[str, Any]) -> list[Change]:
    """Return the changes that a command asks for.

    Parameters
    ----------
    connection : Connection
        For looking up what the options name.
    name : str
        Of the command, such as ``"mailbox pause"``.
    options : dict
        By the names of its declaration; those not given are None.

    Raises
    ------
    DataError
        If a name is unknown or a file cannot be read.
    ProblemError
        If the values do not go together.
    """
    given = {
        option: None if value is Null.NULL else value
        for option, value in options.items()
        if value is not None
    }
    found = _WANTED[name](connection, **given)
    return [found] if isinstance(found, Change) else list(found)


def _add_mailbox(
    connection: Connection,
    email: str,
    daily_capacity: int,
    sequences: tuple[str, ...],
    **more: Any,
) -> Change:
    ids = [find_sequence(connection, name) for name in sequences]
    return AddMailbox(daily_capacity, ids, email, **more)


def _remove_mailbox(connection: Connection, mailbox: str) -> Change:
    return RemoveMailbox(find_mailbox(connection, mailbox))


def _set_mailbox(
    connection: Connection, mailbox: str, no_ramp: bool = False, **settings: Any
) -> Change:
    if no_ramp:
        settings |= dict.fromkeys(("ramp_start", "ramp_increment", "ramp_from"))
    return SetMailbox(find_mailbox(connection, mailbox), **settings)


def _add_step(
    connection: Connection,
    sequence: str,
    wait_days: int,
    position: int | None = None,
    reopen: bool = False,
    **texts: Any,
) -> Change:
    key = find_sequence(connection, sequence)
    return AddStep(key, wait_days, position, reopen=reopen, **_with_files(texts))


def _remove_step(connection: Connection, **named: str) -> Change:
    return RemoveStep(_step(connection, **named))


def _move_step(connection: Connection, to: int, **named: str) -> Change:
    return MoveStep(_step(connection, **named), to)


def _set_step(
    connection: Connection,
    step: str = "",
    sequence: str | None = None,
    position: str = "",
    **settings: Any,
) -> Change:
    return SetStep(_step(connection, step, sequence, position), **_with_files(settings))


def _step(
    connection: Connection, step: str = "", sequence: str | None = None, position: str = ""
) -> int:
    return find_step(connection, step or position, sequence)


def _with_files(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the texts of a step that are in files."""
    for name in texts_or_files("steps"):
        path = settings.pop(f"{name}_file", None)
        if path is not None:
            text = read_text(path, MAX_SOURCE)
            # An editor ends the line, which a subject cannot hold.
            is_line = COLUMNS["steps"][name].form == "subject"
            settings[name] = text.rstrip("\r\n") if is_line else text
    return settings


def _set_sequence(
    connection: Connection,
    sequence: str,
    link: tuple[str, ...] = (),
    unlink: tuple[str, ...] = (),
    **settings: Any,
) -> list[Change]:
    key = find_sequence(connection, sequence)
    changes: list[Change] = [SetSequence(key, **settings)] if settings else []
    changes += [LinkMailbox(key, find_mailbox(connection, mailbox)) for mailbox in link]
    changes += [UnlinkMailbox(key, find_mailbox(connection, mailbox)) for mailbox in unlink]
    return changes


def _suppress_contact(connection: Connection, email: str, reason: str | None = None) -> Change:
    return SuppressContact(find_contact(connection, email), reason)


def _stop_contact(
    connection: Connection,
    email: str | None = None,
    reason: str = "",
    sequence: str | None = None,
    file: Path | None = None,
) -> Sequence[Change]:
    if file is not None:
        return wanted_stops(connection, file, reason or None, sequence)
    ids = None if sequence is None else [find_sequence(connection, sequence)]
    return [StopContacts([find_contact(connection, email or "")], reason, ids)]


_WANTED: dict[str, Callable[..., Change | Sequence[Change]]] = {
    "mailbox add": _add_mailbox,
    "mailbox remove": _remove_mailbox,
    "mailbox pause": partial(_set_mailbox, status=MailboxStatus.PAUSED),
    "mailbox resume": partial(_set_mailbox, status=MailboxStatus.ACTIVE),
    "mailbox set": _set_mailbox,
    "step add": _add_step,
    "step remove": _remove_step,
    "step move": _move_step,
    "step set": _set_step,
    "sequence pause": partial(_set_sequence, status=SequenceStatus.PAUSED),
    "sequence resume": partial(_set_sequence, status=SequenceStatus.ACTIVE),
    "sequence set": _set_sequence,
    "contact suppress": _suppress_contact,
    "contact stop": _stop_contact,
}
