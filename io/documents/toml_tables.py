"""TOML tables from outside: each key read by its type, faults collected, none raised."""

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sendplan.io.documents.headers import control_character
from sendplan.io.documents.texts import shown, suggestion
from sendplan.io.documents.toml_lines import TomlLines
from sendplan.planner.schema.errors import Fault

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\Z")
_SECRET_KEY = re.compile(r"pass(word|wd)?|secret|token|smtp_?url|credential", re.IGNORECASE)
_TYPE_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a truth value"),
    (str, "the text"),
    (int, "the number"),
    (float, "the number"),
    (dt.datetime, "the date and time"),
    (dt.date, "the date"),
    (dt.time, "the time"),
)
MAX_NAME = 200
"""Most characters of a name."""


def described(value: object) -> str:
    """Return a value with its type, for a message."""
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return f"{name} {shown(value)}"
    return "a table" if isinstance(value, Mapping) else "a list"


class FaultCollector:
    """The faults and warnings of one document.

    Parameters
    ----------
    lines : TomlLines
        Where the keys of the document stand.
    """

    def __init__(self, lines: TomlLines) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._lines = lines

    def add(self, path: str, what: str, remedy: str) -> None:
        """Note what is wrong at a path."""
        self.note(path, Fault("", what, remedy))

    def note(self, path: str, fault: Fault) -> None:
        """Note a fault of the value at a path."""
        self.faults.append(fault.within(self._where(path)))

    def warn(self, path: str, what: str, remedy: str) -> None:
        """Note what may be wrong at a path."""
        self.warnings.append(Fault(self._where(path), what, remedy))

    def _where(self, path: str) -> str:
        line = self._lines.line(path)
        return ", ".join(part for part in (f"line {line}" if line else "", path) if part)


class TomlTable:
    """One table of a document; each method reads one key and returns None where it is unusable.

    Parameters
    ----------
    values : mapping
        The table.
    path : str
        Its path in the document; empty for the document itself.
    findings : FaultCollector
        Takes the faults.
    """

    def __init__(self, values: Mapping[str, Any], path: str, findings: FaultCollector) -> None:
        self._values = values
        self._known: list[str] = []
        self.path = path
        self.findings = findings

    def place(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}".lstrip(".")

    def add(self, key: str, what: str, remedy: str) -> None:
        """Note what is wrong with a key."""
        self.findings.add(self.place(key), what, remedy)

    def note(self, key: str, *faults: Fault) -> None:
        """Note faults of the value of a key."""
        for fault in faults:
            self.findings.note(self.place(key), fault)

    def raw(self, key: str) -> Any:
        """Return the value of a key as it is, or None."""
        if key not in self._known:
            self._known.append(key)
        return self._values.get(key)

    def keys(self) -> Sequence[str]:
        """Return the keys of a table whose keys are free."""
        return tuple(self._values)

    def _typed(self, key: str, kind: type, wanted: str, remedy: str, required: bool) -> Any:
        value = self.raw(key)
        if value is None:
            if required:
                self.add(key, f"'{key}' is missing", remedy)
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.add(key, f"{wanted} is needed, not {described(value)}", remedy)
            return None
        return value

    def text(self, key: str, remedy: str, *, required: bool = False) -> str | None:
        """Read a single line of text."""
        value = self._typed(key, str, "a text", remedy, required)
        if value is None:
            return None
        fault = control_character(value)
        if not value.strip():
            fault = Fault("", "the text is empty", remedy)
        elif len(value) > MAX_NAME:
            rule = f"{len(value):,} characters: {shown(value)}"
            fault = Fault("", rule, f"keep to {MAX_NAME} at most")
        if fault:
            self.note(key, fault)
            return None
        return str(value)

    def source(self, key: str, remedy: str, *, required: bool = False) -> str | None:
        """Read a text of any content, which the caller checks."""
        value = self._typed(key, str, "a text", remedy, required)
        return None if value is None else str(value)

    def integer(
        self, key: str, least: int, most: int, *, default: int | None = None, required: bool = False
    ) -> int | None:
        """Read a whole number within bounds; the default where it is missing or unusable."""
        remedy = f"a whole number from {least:,} to {most:,}"
        value = self._typed(key, int, "a whole number", f"write {remedy}", required)
        if value is None:
            return default
        if not least <= value <= most:
            self.add(key, f"{value} is out of range", f"write {remedy}")
            return default
        return int(value)

    def number(self, key: str, most: float, default: float) -> float:
        """Read a number above zero."""
        value = self.raw(key)
        if value is None:
            return default
        sound = isinstance(value, int | float) and not isinstance(value, bool)
        if not sound or not math.isfinite(value) or not 0 < value <= most:
            remedy = f"write a number above 0, up to {most:g}"
            self.add(key, f"{described(value)} cannot be used", remedy)
            return default
        return float(value)

    def word(self, key: str, choices: type[StrEnum], allowed: Sequence[str]) -> str | None:
        """Read one of a few words."""
        remedy = "write one of " + ", ".join(f"'{word}'" for word in allowed)
        value = self._typed(key, str, "a word", remedy, required=False)
        if value is None:
            return None
        if value not in allowed:
            self.add(key, f"unknown word {shown(value)}", suggestion(value, allowed, remedy))
            return None
        return choices(value)

    def time_of_day(self, key: str) -> dt.time | None:
        """Read a local time of day in whole seconds."""
        remedy = f'write it as {key} = "09:00"'
        value = self.raw(key)
        if value is None:
            self.add(key, f"'{key}' is missing", remedy)
            return None
        if isinstance(value, dt.time) and value.microsecond == 0:
            return value
        match = _TIME.match(value) if isinstance(value, str) else None
        if match is None:
            latest = ", the latest being 23:59:59" if str(value).startswith("24") else ""
            self.add(key, f"{described(value)} is no time of day{latest}", remedy)
            return None
        return dt.time(int(match[1]), int(match[2]), int(match[3] or 0))

    def date(self, key: str, *, required: bool = False) -> dt.date | None:
        """Read a date without time and zone."""
        remedy = f"write it as {key} = 2026-01-31"
        value = self.raw(key)
        if value is None:
            if required:
                self.add(key, f"'{key}' is missing", remedy)
            return None
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            return value
        try:
            return dt.date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            self.add(key, f"{described(value)} is no date", remedy)
            return None

    def texts(self, key: str, remedy: str) -> list[str]:
        """Read a list of texts, without those that are none."""
        value = self._typed(key, list, "a list of texts", remedy, required=False)
        found = []
        for item in value or ():
            if isinstance(item, str):
                found.append(item)
            else:
                self.add(key, f"a text is needed, not {described(item)}", remedy)
        return found

    def table(self, key: str, remedy: str) -> "TomlTable | None":
        """Read a table inside this one."""
        value = self._typed(key, dict, "a table", remedy, required=False)
        return None if value is None else TomlTable(value, self.place(key), self.findings)

    def tables(self, key: str, remedy: str) -> list["TomlTable"]:
        """Read a list of tables, counted from 1 in paths."""
        value = self._typed(key, list, "a list of tables", remedy, required=False)
        found = []
        for number, item in enumerate(value or (), start=1):
            path = f"{self.place(key)}[{number}]"
            if isinstance(item, dict):
                found.append(TomlTable(item, path, self.findings))
            else:
                self.findings.add(path, f"a table is needed, not {described(item)}", remedy)
        return found

    def close(self) -> None:
        """Note every key that was not read, without its value."""
        for key in self._values:
            if key in self._known:
                continue
            if _SECRET_KEY.search(key):
                remedy = 'refer to the secret: transport = "env:NAME" or "file:PATH"'
                self.add(key, f"secrets do not belong into this file ({shown(key)})", remedy)
            else:
                known = ", ".join(self._known)
                remedy = suggestion(key, self._known, f"remove it; known here: {known}")
                self.add(key, f"unknown key {shown(key)}", remedy)
