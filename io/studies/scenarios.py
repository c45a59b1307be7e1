"""Scenarios on the command line and in files, read as changes of the planner.

A file holds several, with the options of ``sendplan what-if`` as keys; a repeatable option is a
list, or one text::

    [scenarios."ten more mailboxes"]
    add_mailboxes = 10
    sequence = ["Dentists"]               # left out: where most emails are pending
    capacity = 60

    [scenarios."shorter waits and a holiday"]
    wait = ["Dentists:2=3"]               # the step at position 2, or a step's id
    days_off = ["2026-12-24..2026-12-31"]
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from sendplan.io.campaigns.lookups import find_mailbox, find_sequence, find_step
from sendplan.io.documents.texts import read_text, shown
from sendplan.io.documents.toml_reader import toml_document
from sendplan.io.documents.toml_tables import TomlTable
from sendplan.io.errors import DataError
from sendplan.io.studies.commands import REPEATABLE
from sendplan.planner.changes import (
    AddMailboxes,
    Arrivals,
    Change,
    DaysOff,
    RemoveMailbox,
    RemoveStep,
    ScaleCapacities,
    SetSequence,
    SetStep,
)
from sendplan.planner.schema.errors import Fault

MAX_FILE = 2**20
"""Bytes of a file of scenarios at most."""

MOST_DAYS = 366
"""Days that one range may span."""

_ARRIVALS = re.compile(r"(\d+)\s*[x×]\s*(\d+)(?:@(\d{4}-\d\d-\d\d))?\Z")
_WINDOW = re.compile(r"(\d\d?:\d\d(?::\d\d)?)\s*[-–]\s*(\d\d?:\d\d(?::\d\d)?)\Z")

Scenario = dict[str, Any]
"""Options by the names of `SCENARIO_OPTIONS`."""


def wanted_scenario(connection: Connection, given: Scenario, now: dt.datetime) -> list[Change]:
    """Return the changes of a scenario.

    Parameters
    ----------
    connection : Connection
        For looking up what the texts name.
    given : dict
        By the names of `SCENARIO_OPTIONS`; lists of texts where an option is repeatable.
    now : aware datetime
        Arrivals begin on the next day unless their first day is given.

    Raises
    ------
    DataError
        If a name is unknown or a text cannot be read.
    ProblemError
        If values are out of range.
    """
    known = {name: value for name, value in given.items() if value not in (None, (), [])}
    changes: list[Change] = []
    for name in known:
        if name in _READERS:
            for written in known[name]:
                changes += _READERS[name](connection, written, now)
    if "scale_capacity" in known:
        changes.append(ScaleCapacities(known["scale_capacity"]))
    if "add_mailboxes" in known:
        named = [find_sequence(connection, each) for each in known.get("sequence", ())]
        more = {"daily_capacity": known["capacity"]} if "capacity" in known else {}
        changes.append(AddMailboxes(known["add_mailboxes"], sequence_ids=named or None, **more))
    elif idle := [name for name in ("sequence", "capacity") if name in known]:
        what = f"{' and '.join(idle)}: only for new mailboxes, and none is added"
        raise DataError([Fault("scenario", what, "give add_mailboxes, too")])
    return changes


def _halves(name: str, written: str, form: str) -> tuple[str, str]:
    # Names may hold the sign, values may not.
    left, sign, right = written.rpartition("=")
    if not sign or not left.strip() or not right.strip():
        raise _unreadable(name, written, form)
    return left.strip(), right.strip()


def _unreadable(name: str, written: str, form: str) -> DataError:
    return DataError([Fault(name, f"{shown(written)} cannot be read", f"write it as {form}")])


def _step(connection: Connection, written: str) -> int:
    sequence, sign, position = written.rpartition(":")
    return find_step(connection, position.strip(), sequence.strip() if sign else None)


def _remove_mailbox(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    return [RemoveMailbox(find_mailbox(connection, written))]


def _wait(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    form = "STEP=DAYS, such as 12=3 or Dentists:2=3"
    step, days = _halves("wait", written, form)
    if not days.isdigit():
        raise _unreadable("wait", written, form)
    return [SetStep(_step(connection, step), wait_days=int(days))]


def _drop_step(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    return [RemoveStep(_step(connection, written))]


def _window(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    form = "08:00-18:00, or Dentists=08:00-18:00 for one sequence"
    sequence, sign, times = written.rpartition("=")
    if not (found := _WINDOW.match(times.strip())):
        raise _unreadable("window", written, form)
    start, end = found[1].zfill(5), found[2].zfill(5)
    every = text("SELECT id FROM sequences ORDER BY id")
    ids = [find_sequence(connection, sequence.strip())] if sign else connection.scalars(every)
    return [SetSequence(key, start_time=start, end_time=end) for key in ids]


def _days_off(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    sequence, sign, days = written.rpartition("=")
    ids = [find_sequence(connection, sequence.strip())] if sign else None
    return [DaysOff(list(_dates(days.strip(), written)), ids)]


def _dates(days: str, written: str) -> Iterator[dt.date]:
    form = "2026-12-24, or 2026-12-24..2026-12-31 for all days from one to the other"
    first, _, last = days.partition("..")
    try:
        begin = dt.date.fromisoformat(first)
        end = dt.date.fromisoformat(last) if last else begin
    except ValueError:
        raise _unreadable("days_off", written, form) from None
    if not 0 <= (end - begin).days <= MOST_DAYS:
        what = f"{shown(written)} ends before it begins, or spans more than a year"
        raise DataError([Fault("days_off", what, f"write it as {form}")])
    for number in range((end - begin).days + 1):
        yield begin + dt.timedelta(days=number)


def _arrivals(connection: Connection, written: str, now: dt.datetime) -> list[Change]:
    form = "SEQUENCE=PER_DAYxDAYS, such as Dentists=50x10 or Dentists=50x10@2026-12-01"
    sequence, amount = _halves("arrivals", written, form)
    found = _ARRIVALS.match(amount)
    if not found:
        raise _unreadable("arrivals", written, form)
    first = found[3] or (now.astimezone(dt.UTC).date() + dt.timedelta(days=1)).isoformat()
    key = find_sequence(connection, sequence)
    return [Arrivals(key, int(found[1]), first, days=int(found[2]))]


def _priority(connection: Connection, written: str, _now: dt.datetime) -> list[Change]:
    form = "SEQUENCE=NUMBER, such as Dentists=2.5"
    sequence, number = _halves("priority", written, form)
    try:
        priority = float(number)
    except ValueError:
        raise _unreadable("priority", written, form) from None
    return [SetSequence(find_sequence(connection, sequence), priority=priority)]


_READERS: dict[str, Callable[[Connection, str, dt.datetime], list[Change]]] = {
    "remove_mailbox": _remove_mailbox,
    "wait": _wait,
    "drop_step": _drop_step,
    "window": _window,
    "days_off": _days_off,
    "arrivals": _arrivals,
    "priority": _priority,
}


def read_scenarios(path: Path) -> dict[str, Scenario]:
    """Read scenarios from a file.

    Parameters
    ----------
    path : Path
        A TOML file, see the module.

    Returns
    -------
    dict of str to dict
        By name, in the order of the file.

    Raises
    ------
    DataError
        With everything that is wrong with the file, and where.
    """
    found: dict[str, Scenario] = {}
    with toml_document(read_text(path, MAX_FILE), str(path)) as root:
        remedy = 'write tables [scenarios."a name"]'
        tables = root.table("scenarios", remedy)
        for name in tables.keys() if tables is not None else ():
            table = tables.table(name, "write the scenario as a table") if tables else None
            if table is not None:
                found[name] = _scenario(table)
        if not found and not root.findings.faults:
            root.add("", "the file holds no scenario", remedy)
    return found


def _scenario(table: TomlTable) -> Scenario:
    remedy = "write one text, or a list of texts"
    given: Scenario = {
        "add_mailboxes": table.integer("add_mailboxes", 0, 1_000_000),
        "capacity": table.integer("capacity", 0, 1_000_000),
    }
    scale = table.raw("scale_capacity")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float)):
        table.add("scale_capacity", "a number is needed", "write a factor, such as 1.2")
    given["scale_capacity"] = scale
    for name in REPEATABLE:
        value = table.raw(name)
        given[name] = [value] if isinstance(value, str) else table.texts(name, remedy)
    table.close()
    return given
