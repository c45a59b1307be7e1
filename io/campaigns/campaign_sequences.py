"""The sequences of a campaign file, and their steps."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sendplan.io.campaigns.file_columns import Check, read_columns
from sendplan.io.documents.texts import shown, suggestion
from sendplan.io.documents.toml_tables import TomlTable
from sendplan.io.messages.step_texts import content_faults, subject_faults
from sendplan.io.messages.templates import attribute_fault
from sendplan.io.messages.unsubscribing import url_faults
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import MAX_STEPS

Attributes = tuple[str, ...]
"""Attributes of contacts that templates may use."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence of a campaign.

    Parameters
    ----------
    columns : mapping
        Its columns, with a status only where the file states one.
    mailboxes : tuple of str
        Addresses in lower case, groups resolved, each once.
    steps : tuple of mapping
        The columns of each.
    attributes : tuple of str
        Attributes of contacts that its templates may use.
    """

    columns: Mapping[str, Any]
    mailboxes: tuple[str, ...]
    steps: tuple[Mapping[str, Any], ...]
    attributes: Attributes

    @property
    def name(self) -> str:
        """Its name."""
        return self.columns["name"] or ""


def read_sequence(
    table: TomlTable, groups: Mapping[str, list[str]], known: Listed[str], folder: Path | None
) -> Sequence:
    """Read a sequence; faults are noted in its table.

    Parameters
    ----------
    table : TomlTable
        The sequence; takes the faults.
    groups : mapping
        Addresses in lower case by group.
    known : sequence of str
        The addresses of all mailboxes in lower case.
    folder : Path or None
        Folder of contents in files of their own.
    """
    attributes = _read_attributes(table)
    columns = read_columns(table, "sequences", {"url": _template(url_faults, attributes)})
    start, end = columns["start_time"], columns["end_time"]
    if start is not None and end is not None and end <= start:
        what = f"the window ends at {end:%H:%M:%S}, not after its start at {start:%H:%M:%S}"
        table.add("end_time", what, "let it end later on the same day")
    pool = _read_pool(table, groups, known)
    sequence = Sequence(columns, pool, _read_steps(table, attributes, folder), attributes)
    table.close()
    return sequence


def _template(
    faults: Callable[[str, Attributes], Iterable[Fault]], attributes: Attributes
) -> Check:
    """Return the check of a text that may use some attributes."""

    def check(table: TomlTable, key: str, source: str) -> str:
        table.note(key, *faults(source, attributes))
        return source

    return check


def _read_attributes(table: TomlTable) -> Attributes:
    found: list[str] = []
    for name in table.texts("attributes", 'write them as ["first_name", "company"]'):
        fault = attribute_fault(name)
        if name in found:
            rule = f"the attribute {shown(name)} is listed twice"
            fault = Fault("", rule, "remove one of them")
        if fault:
            table.note("attributes", fault)
        else:
            found.append(name)
    return tuple(found)


def _read_pool(
    table: TomlTable, groups: Mapping[str, list[str]], known: Iterable[str]
) -> tuple[str, ...]:
    remedy = 'write it as mailboxes = ["ann@mail.example"], or name a group'
    pool: list[str] = []
    noted = False
    addresses = set(known)
    for name in table.texts("mailboxes", remedy):
        email = name.strip().lower()
        if name in groups:
            pool += [member for member in groups[name] if member not in pool]
        elif email not in addresses:
            kind, home = ("mailbox", "[[mailboxes]]") if "@" in name else ("group", "[groups]")
            near = suggestion(name, [*sorted(addresses), *groups], f"add it to {home}")
            table.add("mailboxes", f"no {kind} {shown(name)} in this file", near)
            noted = True
        elif email in pool:
            table.add("mailboxes", f"{shown(name)} is listed twice", "remove one of them")
        else:
            pool.append(email)
    if not pool and not noted:
        table.add("mailboxes", "no mailbox to send from", remedy)
    return tuple(pool)


def _read_steps(
    table: TomlTable, attributes: Attributes, folder: Path | None
) -> tuple[Mapping[str, Any], ...]:
    remedy = "write each step under [[sequences.steps]]"
    tables = table.tables("steps", remedy)
    if not tables:
        table.add("steps", "the sequence has no step", remedy)
    if len(tables) > MAX_STEPS:
        table.add("steps", f"{len(tables):,} steps", f"keep to {MAX_STEPS} at most")
    checks = {
        "subject": _template(subject_faults, attributes),
        "template": _template(content_faults, attributes),
    }
    steps = tuple(read_columns(step, "steps", checks, folder) for step in tables)
    for step in tables:
        step.close()
    return steps
