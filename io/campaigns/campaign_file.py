"""Campaign files: sequences, their steps and the mailboxes that send them, in TOML.

A whole file, with everything optional::

    [groups]                                     # names for sets of mailboxes
    sales = ["ann@mail.example", "ben@mail.example"]

    [[mailboxes]]
    email = "ann@mail.example"
    daily_capacity = 60
    user_id = 7                                  # optional, as is all below
    min_gap_seconds = 90
    ramp = { start = 10, increment = 5, from = 2026-11-02 }
    transport = "env:SMTP_URL_ANN"               # or "file:PATH"; never the URL itself
    status = "active"                            # or "paused"

    [[sequences]]
    name = "Autumn webinar"
    start_time = "09:00"
    end_time = "17:00"
    mailboxes = ["sales", "cleo@mail.example"]   # addresses, or groups of them
    timezone = "Europe/Berlin"                   # optional, as is all below
    send_days = ["mon", "tue", "wed", 4]         # names or ISO numbers
    holidays = "DE"
    wait_unit = "calendar"                       # or "sending"
    priority = 1
    max_new_per_day = 200
    attributes = ["first_name", "company"]       # what its templates may use
    unsubscribe_url = "https://mail.example/out/{{ token }}"    # or "mailto:…"; for the headers
    status = "active"                            # or "paused"

    [[sequences.steps]]
    subject = "A question, {{ first_name }}"
    content = "Hello {{ first_name }}, …"        # or content_file = "intro.txt"

    [[sequences.steps]]
    wait_days = 3                                # after the step before it
    subject = "Re: a question"
    content_file = "reminder.txt"                # beside this file or below it
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sendplan.io.campaigns.campaign_sequences import Sequence, read_sequence
from sendplan.io.campaigns.file_columns import is_whole, read_columns
from sendplan.io.documents.texts import read_text, shown
from sendplan.io.documents.toml_reader import toml_document
from sendplan.io.documents.toml_tables import TomlTable
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import MailboxStatus

__all__ = ["Campaign", "Mailbox", "Sequence", "parse", "read_campaign"]

MAX_FILE = 8 * 2**20
"""Bytes of a campaign file at most."""

_TRANSPORT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z|file:[^\s@?#][^@?#]*\Z")

Mailbox = Mapping[str, Any]
"""A mailbox of a campaign: its columns, with a status only where the file states one."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A checked campaign file.

    Parameters
    ----------
    name : str
        Name of the file in messages.
    mailboxes, sequences : tuple
    warnings : tuple of Fault
        Such as references to secrets that do not exist on this machine.
    """

    name: str
    mailboxes: tuple[Mailbox, ...]
    sequences: tuple[Sequence, ...]
    warnings: tuple[Fault, ...] = ()


def read_campaign(path: Path, environ: Mapping[str, str] = os.environ) -> Campaign:
    """Read and check a campaign file.

    Raises
    ------
    DataError
        With all faults of the file, and where.
    """
    return parse(read_text(path, MAX_FILE), path.parent, name=str(path), environ=environ)


def parse(
    text: str,
    folder: Path | None = None,
    *,
    name: str = "campaign",
    environ: Mapping[str, str] = os.environ,
) -> Campaign:
    """Check the text of a campaign file.

    Parameters
    ----------
    text : str
        TOML.
    folder : Path, optional
        Folder of `content_file`, which is refused without it.
    name : str
        Name of the text in messages.
    environ : mapping
        Environment in which secret references are looked up, for warnings only.

    Raises
    ------
    DataError
        With all faults, each with its path in the document, line and remedy.
    """
    with toml_document(text, name) as root:
        tables = root.tables("mailboxes", "write each mailbox under [[mailboxes]]")
        mailboxes = _read_mailboxes(tables, environ)
        groups = _read_groups(root, mailboxes)
        sequences = _read_sequences(root, mailboxes, groups, folder)
        if not tables and not root.raw("sequences"):
            root.add("", "the file has no sequence and no mailbox", "add [[sequences]]")
    named = tuple(mailbox for mailbox in mailboxes.values() if mailbox is not None)
    return Campaign(name, named, sequences, tuple(root.findings.warnings))


Mailboxes = dict[str, Mailbox | None]
"""By address in lower case; None for a mailbox with faults."""


def _read_mailboxes(tables: list[TomlTable], environ: Mapping[str, str]) -> Mailboxes:
    found: Mailboxes = {}
    checks = {"secret": partial(_check_secret, environ)}
    for table in tables:
        mailbox = read_columns(table, "mailboxes", checks)
        table.close()
        email = mailbox["email"]
        if email is not None and email.lower() in found:
            table.add("email", f"{shown(email)} is listed twice", "remove one of them")
        elif email is not None:
            found[email.lower()] = mailbox if is_whole("mailboxes", mailbox) else None
    return found


def is_reference(transport: str) -> bool:
    """Tell whether a transport only refers to a secret, and holds none."""
    return _TRANSPORT.match(transport) is not None and "//" not in transport


def _check_secret(environ: Mapping[str, str], table: TomlTable, key: str, value: str) -> str:
    kind, _, target = value.partition(":")
    if not is_reference(value):
        remedy = 'write "env:NAME" or "file:PATH", and put the URL there'
        table.add(key, "no reference to a secret (the value is not repeated here)", remedy)
    elif not (target in environ if kind == "env" else Path(target).is_file()):
        noun = "environment variable" if kind == "env" else "file"
        what = f"the {noun} {shown(target)} does not exist here"
        table.findings.warn(table.place(key), what, "create it on the machine that sends")
    return value


def _read_groups(root: TomlTable, mailboxes: Mailboxes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    remedy = 'write it as name = ["ann@mail.example", …] under [groups]'
    table = root.table("groups", "write the groups under [groups]")
    for name in table.keys() if table else ():
        assert table is not None
        if "@" in name:
            table.add(name, f"{shown(name)} looks like an address", "name the group without @")
        found[name] = []
        if table.raw(name) == []:
            table.add(name, "the group has no mailbox", remedy)
        for email in table.texts(name, remedy):
            if email.strip().lower() not in mailboxes:
                table.add(
                    name, f"no mailbox {shown(email)} in this file", "add it to [[mailboxes]]"
                )
            else:
                found[name].append(email.strip().lower())
    return found


def _read_sequences(
    root: TomlTable, mailboxes: Mailboxes, groups: Mapping[str, list[str]], folder: Path | None
) -> tuple[Sequence, ...]:
    found: list[Sequence] = []
    names: set[str] = set()
    for table in root.tables("sequences", "write each sequence under [[sequences]]"):
        sequence = read_sequence(table, groups, list(mailboxes), folder)
        _check_pool(table, [mailboxes[email] for email in sequence.mailboxes])
        if sequence.name and sequence.name in names:
            what = f"two sequences are called {shown(sequence.name)}"
            table.add("name", what, "give each a name of its own")
        names.add(sequence.name)
        found.append(sequence)
    return tuple(found)


def _check_pool(table: TomlTable, pool: list[Mailbox | None]) -> None:
    usable = [mailbox for mailbox in pool if mailbox is not None]
    if len(usable) < len(pool):
        return
    if pool and all(mailbox.get("status") == MailboxStatus.PAUSED for mailbox in usable):
        table.add("mailboxes", "none of the mailboxes is active", "add one that is active")
    ids = [mailbox["user_id"] for mailbox in usable]
    users = sorted({"none" if user_id is None else str(user_id) for user_id in ids})
    if len(users) > 1:
        what = f"mailboxes of several users in one sequence (user_id {', '.join(users)})"
        table.add("mailboxes", what, "use mailboxes of one user")
