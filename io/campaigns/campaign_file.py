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

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sendplan.io.campaigns.campaign_sequences import Sequence, Step, read_sequence
from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.documents.texts import read_text, shown
from sendplan.io.documents.toml_reader import toml_document
from sendplan.io.documents.toml_tables import TomlTable
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import MailboxStatus

__all__ = ["Campaign", "Mailbox", "Ramp", "Sequence", "Step", "parse", "read_campaign"]

MAX_FILE = 8 * 2**20
"""Bytes of a campaign file at most."""

MAX_CAPACITY = 100_000
"""Emails a day of one mailbox at most: far beyond any provider, yet below any slip of the pen."""

_TRANSPORT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z|file:[^\s@?#][^@?#]*\Z")
_STATUSES = (MailboxStatus.ACTIVE, MailboxStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Ramp:
    """The warm-up of a mailbox: `start` emails on day `since`, `increment` more each day."""

    start: int
    increment: int
    since: dt.date


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of a campaign; `status` is None where the file does not state it."""

    email: str
    daily_capacity: int
    user_id: int | None = None
    min_gap_seconds: int = 0
    ramp: Ramp | None = None
    transport: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one campaign file says, checked.

    Parameters
    ----------
    name : str
        What the file is called in messages.
    mailboxes, sequences : tuple
    warnings : tuple of Fault
        What the reader should know although it stops nothing, such as secrets not set here.
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
        With everything that is wrong with it, and where.
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
        Where the text comes from; `content_file` is looked up there, and refused without it.
    name : str
        What to call the text in messages.
    environ : mapping
        Environment in which secret references are looked up, for warnings only.

    Raises
    ------
    DataError
        With everything that is wrong, each with its path in the document, line and remedy.
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
"""By address in lower case; None for one that is named but cannot be used."""


def _read_mailboxes(tables: list[TomlTable], environ: Mapping[str, str]) -> Mailboxes:
    found: Mailboxes = {}
    for table in tables:
        email = table.text("email", 'write it as email = "ann@mail.example"', required=True)
        if email is not None:
            try:
                email = address(email)
            except AddressError as error:
                table.add("email", f"{error.what}: {shown(email)}", error.remedy)
        mailbox = _read_mailbox(table, email or "", environ)
        table.close()
        if email is not None and email.lower() in found:
            table.add("email", f"{shown(email)} is listed twice", "remove one of them")
        elif email is not None:
            found[email.lower()] = mailbox
    return found


def _read_mailbox(table: TomlTable, email: str, environ: Mapping[str, str]) -> Mailbox | None:
    capacity = table.integer("daily_capacity", 0, MAX_CAPACITY, required=True)
    gap = table.integer("min_gap_seconds", 0, 86_400, default=0)
    user_id = table.integer("user_id", 0, 2**63 - 1)
    ramp = _read_ramp(table)
    transport = _read_transport(table, environ)
    status = table.word("status", MailboxStatus, _STATUSES)
    if capacity is None:
        return None
    return Mailbox(email, capacity, user_id, gap or 0, ramp, transport, status)


def _read_ramp(table: TomlTable) -> Ramp | None:
    remedy = "write it as ramp = { start = 10, increment = 5, from = 2026-01-31 }"
    ramp = table.table("ramp", remedy)
    if ramp is None:
        return None
    start = ramp.integer("start", 0, MAX_CAPACITY, required=True)
    increment = ramp.integer("increment", 0, MAX_CAPACITY, required=True)
    since = ramp.date("from")
    ramp.close()
    if start is None or increment is None or since is None:
        return None
    return Ramp(start, increment, since)


def is_reference(transport: str) -> bool:
    """Tell whether a transport only refers to a secret, and holds none."""
    return _TRANSPORT.match(transport) is not None and "//" not in transport


def _read_transport(table: TomlTable, environ: Mapping[str, str]) -> str | None:
    remedy = 'write "env:NAME" or "file:PATH", and put the URL there'
    value = table.source("transport", remedy)
    if value is None:
        return None
    kind, _, target = value.partition(":")
    if not is_reference(value):
        table.add("transport", "no reference to a secret (the value is not repeated here)", remedy)
        return None
    is_set = target in environ if kind == "env" else Path(target).is_file()
    if not is_set:
        noun = "environment variable" if kind == "env" else "file"
        what = f"the {noun} {shown(target)} does not exist here"
        remedy = "see that it does on the machine that sends"
        table.findings.warn(table.place("transport"), what, remedy)
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
    if pool and all(mailbox.status == MailboxStatus.PAUSED for mailbox in usable):
        table.add("mailboxes", "none of the mailboxes is active", "add one that is active")
    users = sorted({"none" if box.user_id is None else str(box.user_id) for box in usable})
    if len(users) > 1:
        what = f"mailboxes of several users in one sequence (user_id {', '.join(users)})"
        table.add("mailboxes", what, "use mailboxes of one user")
