"""The sequences of a campaign file, and their steps."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from pathlib import Path

from sendplan.io.documents.known_names import country_fault, zone_fault
from sendplan.io.documents.texts import read_text, shown, suggestion
from sendplan.io.documents.toml_tables import TomlTable, described
from sendplan.io.errors import DataError
from sendplan.io.messages.step_texts import content_faults, subject_faults
from sendplan.io.messages.templates import MAX_SOURCE, attribute_fault
from sendplan.io.messages.unsubscribing import url_faults
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import (
    DEFAULT_PRIORITY,
    DEFAULT_SEND_DAYS,
    DEFAULT_TIMEZONE,
    MAX_HORIZON_DAYS,
    MAX_STEPS,
    SequenceStatus,
    WaitUnit,
)

MAX_PRIORITY = 1e6

Check = Callable[[str], Fault | None]
"""Returns what is wrong with a name, or None."""

_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Step:
    """One email of a sequence."""

    wait_days: int
    subject: str
    content: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence of a campaign; `status` is None where the file does not state it.

    Parameters
    ----------
    mailboxes : tuple of str
        Addresses in lower case, groups resolved, each once.
    attributes : tuple of str
        What its templates may use besides the built-in variables.
    """

    name: str
    start_time: dt.time
    end_time: dt.time
    mailboxes: tuple[str, ...]
    steps: tuple[Step, ...]
    timezone: str = DEFAULT_TIMEZONE
    send_days: tuple[int, ...] = DEFAULT_SEND_DAYS
    holidays: str | None = None
    wait_unit: str = WaitUnit.CALENDAR
    priority: float = DEFAULT_PRIORITY
    max_new_per_day: int | None = None
    attributes: tuple[str, ...] = ()
    status: str | None = None
    unsubscribe_url: str | None = None


def read_sequence(
    table: TomlTable, groups: Mapping[str, list[str]], known: Listed[str], folder: Path | None
) -> Sequence:
    """Read a sequence; where something is unusable, it is noted and a default stands in.

    Parameters
    ----------
    table : TomlTable
        The sequence; takes the faults.
    groups : mapping
        Addresses in lower case by group.
    known : sequence of str
        The addresses of all mailboxes in lower case.
    folder : Path or None
        Where contents in files of their own are looked up.
    """
    name = table.text("name", 'write it as name = "Autumn webinar"', required=True) or ""
    start, end = table.time_of_day("start_time"), table.time_of_day("end_time")
    if start is not None and end is not None and end <= start:
        what = f"the window ends at {end:%H:%M:%S}, not after its start at {start:%H:%M:%S}"
        table.add("end_time", what, "let it end later on the same day")
    attributes = _read_attributes(table)
    sequence = Sequence(
        name=name.strip(),
        start_time=start or dt.time(),
        end_time=end or dt.time(),
        mailboxes=_read_pool(table, groups, known),
        steps=_read_steps(table, attributes, folder),
        timezone=_read_name(table, "timezone", zone_fault) or DEFAULT_TIMEZONE,
        send_days=_read_days(table),
        holidays=_read_name(table, "holidays", country_fault),
        wait_unit=table.word("wait_unit", WaitUnit, tuple(WaitUnit)) or WaitUnit.CALENDAR,
        priority=table.number("priority", MAX_PRIORITY, DEFAULT_PRIORITY),
        max_new_per_day=table.integer("max_new_per_day", 1, 1_000_000),
        attributes=attributes,
        status=table.word("status", SequenceStatus, tuple(SequenceStatus)),
        unsubscribe_url=_read_unsubscribe_url(table, attributes),
    )
    table.close()
    return sequence


def _read_name(table: TomlTable, key: str, check: Check) -> str | None:
    value = table.text(key, f"write the {key} in quotes")
    fault = None if value is None else check(value)
    if fault is not None:
        table.note(key, fault)
        return None
    return value


def _read_days(table: TomlTable) -> tuple[int, ...]:
    remedy = 'write names or ISO numbers, Monday being 1: ["mon", "tue", 3]'
    value = table.raw("send_days")
    if value is None:
        return DEFAULT_SEND_DAYS
    if not isinstance(value, list):
        table.add("send_days", f"a list of days is needed, not {described(value)}", remedy)
        return DEFAULT_SEND_DAYS
    if not value:
        table.add("send_days", "no sending day", remedy)
    days = set()
    for item in value:
        day = weekday(item)
        if day is None:
            table.add("send_days", f"{described(item)} is no day of the week", remedy)
        else:
            days.add(day)
    return tuple(sorted(days))


def weekday(item: object) -> int | None:
    """Return the ISO number of a day given by name, its beginning or number, or None."""
    if isinstance(item, str):
        word = item.strip().lower()
        for number, name in enumerate(_DAY_NAMES, start=1):
            if len(word) >= 3 and name.startswith(word):
                return number
        return None
    if isinstance(item, int) and not isinstance(item, bool) and 1 <= item <= 7:
        return item
    return None


def _read_attributes(table: TomlTable) -> tuple[str, ...]:
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


def _read_unsubscribe_url(table: TomlTable, attributes: tuple[str, ...]) -> str | None:
    key = "unsubscribe_url"
    url = table.source(key, f'write it as {key} = "https://mail.example/out/{{{{ token }}}}"')
    if url is not None:
        table.note(key, *url_faults(url, attributes))
    return url


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
    table: TomlTable, attributes: tuple[str, ...], folder: Path | None
) -> tuple[Step, ...]:
    remedy = "write each step under [[sequences.steps]]"
    tables = table.tables("steps", remedy)
    if not tables:
        table.add("steps", "the sequence has no step", remedy)
    if len(tables) > MAX_STEPS:
        table.add("steps", f"{len(tables):,} steps", f"keep to {MAX_STEPS} at most")
    return tuple(_read_step(step, attributes, folder) for step in tables)


def _read_step(table: TomlTable, attributes: tuple[str, ...], folder: Path | None) -> Step:
    wait = table.integer("wait_days", 0, MAX_HORIZON_DAYS, default=0)
    subject = table.source("subject", 'write it as subject = "…"', required=True)
    if subject is not None:
        table.note("subject", *subject_faults(subject, attributes))
    content = _read_content(table, folder)
    if content is not None:
        key = "content" if table.raw("content") is not None else "content_file"
        table.note(key, *content_faults(content, attributes))
    table.close()
    return Step(wait or 0, subject or "", content or "")


def _read_content(table: TomlTable, folder: Path | None) -> str | None:
    remedy = 'write content = "…" or content_file = "intro.txt"'
    content = table.source("content", remedy)
    file = table.text("content_file", remedy)
    given = table.raw("content") is not None, table.raw("content_file") is not None
    if all(given):
        table.add("content_file", "content and content_file at once", "keep one of them")
    elif not any(given):
        table.add("content", "'content' is missing", remedy)
    if file is None or content is not None:
        return content
    return _read_file(table, file, folder)


def _read_file(table: TomlTable, file: str, folder: Path | None) -> str | None:
    if folder is None:
        table.add("content_file", "the campaign is no file to look beside", "use content")
        return None
    base = folder.resolve()
    path = (base / file).resolve()
    if not path.is_relative_to(base):
        what = f"{shown(file)} lies outside the folder of the campaign file"
        table.add("content_file", what, "move it beside the campaign file")
        return None
    try:
        return read_text(path, MAX_SOURCE)
    except DataError as error:
        table.note("content_file", *(fault.within(shown(file)) for fault in error.faults))
        return None
