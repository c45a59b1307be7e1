"""The columns that are declared for campaign files, each read by its kind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.documents.known_names import country_fault, zone_fault
from sendplan.io.documents.texts import read_text, shown
from sendplan.io.documents.toml_tables import TomlTable, described
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import MAX_SOURCE
from sendplan.planner.schema.column import Column, FileKey
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.errors import Fault

Check = Callable[[TomlTable, str, str], str]
"""Notes the faults of a text, and returns it as it is stored."""

_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def read_columns(
    table: TomlTable, name: str, checks: Mapping[str, Check], folder: Path | None = None
) -> dict[str, Any]:
    """Read all columns of a row; faults are noted in the table.

    Parameters
    ----------
    table : TomlTable
        Where they stand.
    name : str
        The row's table in the database.
    checks : mapping
        By the form of a text, besides those of addresses, countries and time zones.
    folder : Path, optional
        Folder of texts in files of their own, which are refused without it.

    Returns
    -------
    dict
        Values by column, by default its declared default; None for null and for missing values.
        Optional columns that the file leaves out are left out.
    """
    read: dict[str, Any] = {}
    groups: dict[str, TomlTable | None] = {"": table}
    for column_name, column, file in _declared(name):
        group, _, key = (file.key or column_name).rpartition(".")
        if group not in groups:
            groups[group] = table.table(group, f"write it as {group} = {_example(name, group)}")
        place = groups[group]
        if place is None:
            read[column_name] = None
        elif not file.optional or place.raw(key) is not None:
            required = column.required or file.required or bool(group)
            cell = _Cell(place, key, column, file, required, {**_CHECKS, **checks}, folder)
            read[column_name] = cell.value()
    for place in groups.values():
        if place is not None and place is not table:
            place.close()
    return read


def is_whole(name: str, values: Mapping[str, Any]) -> bool:
    """Tell whether a row has all required columns."""
    return all(
        values[column_name] is not None
        for column_name, column, file in _declared(name)
        if column.required or file.required
    )


def _declared(name: str) -> Iterator[tuple[str, Column, FileKey]]:
    for column_name, column in COLUMNS[name].items():
        if column.file is not None:
            yield column_name, column, column.file


def _example(name: str, group: str) -> str:
    keys = [
        f"{file.key.removeprefix(f'{group}.')} = {file.example}"
        for _, _, file in _declared(name)
        if file.key.startswith(f"{group}.")
    ]
    return f"{{ {', '.join(keys)} }}"


@dataclass(frozen=True)
class _Cell:
    """A column at its place in a file."""

    table: TomlTable
    key: str
    column: Column
    file: FileKey
    required: bool
    checks: Mapping[str, Check]
    folder: Path | None

    def value(self) -> Any:
        table, key, column = self.table, self.key, self.column
        match column.kind:
            case "key" | "integer":
                least = _first(self.file.least, column.least, 0)
                most = _first(self.file.most, column.plausible, column.most, 2**63 - 1)
                default = column.default
                return table.integer(key, least, most, default=default, required=self.required)
            case "number":
                return table.number(key, column.plausible or float("inf"), column.default)
            case "time":
                return table.time_of_day(key)
            case "date":
                return table.date(key, required=self.required)
            case "weekdays":
                return self._weekdays()
        if column.choices is not None:
            allowed = self.file.choices or tuple(column.choices)
            return str(table.word(key, column.choices, allowed) or column.default)
        key, text = self._text_or_file() if self.file.or_file else (key, self._text())
        if text is None:
            return column.default
        return self.checks[column.form](table, key, text) if column.form else text.strip()

    def _text(self) -> str | None:
        remedy = f"write it in quotes: {self.key} = {self.file.example}"
        # These have checks of their own.
        foreign = self.column.form in ("secret", "subject", "template", "url")
        read = self.table.source if foreign else self.table.text
        return read(self.key, remedy, required=self.required)

    def _text_or_file(self) -> tuple[str, str | None]:
        """Return the key that gives the text, and the text."""
        table, key, file_key = self.table, self.key, f"{self.key}_file"
        remedy = f'write {key} = {self.file.example} or {file_key} = "intro.txt"'
        text = table.source(key, remedy)
        file = table.text(file_key, remedy)
        given = table.raw(key) is not None, table.raw(file_key) is not None
        if all(given):
            table.add(file_key, f"{key} and {file_key} at once", "keep one of them")
        elif self.required and not any(given):
            table.add(key, f"'{key}' is missing", remedy)
        if file is None or given[0]:
            return key, text
        return file_key, self._content(file_key, file)

    def _content(self, key: str, file: str) -> str | None:
        if self.folder is None:
            what = "the campaign is not read from a file"
            self.table.add(key, what, f"use {self.key}")
            return None
        base = self.folder.resolve()
        path = (base / file).resolve()
        if not path.is_relative_to(base):
            what = f"{shown(file)} lies outside the folder of the campaign file"
            self.table.add(key, what, "move it beside the campaign file")
            return None
        try:
            return read_text(path, MAX_SOURCE)
        except DataError as error:
            self.table.note(key, *(fault.within(shown(file)) for fault in error.faults))
            return None

    def _weekdays(self) -> list[int]:
        table, key = self.table, self.key
        remedy = f"write names or ISO numbers, Monday being 1: {self.file.example}"
        value = table.raw(key)
        if value is None:
            return list(self.column.default)
        if not isinstance(value, list):
            table.add(key, f"a list of days is needed, not {described(value)}", remedy)
            return []
        if not value:
            table.add(key, "no sending day", remedy)
        days = set()
        for item in value:
            day = weekday(item)
            if day is None:
                table.add(key, f"{described(item)} is no day of the week", remedy)
            else:
                days.add(day)
        return sorted(days)


def _first(*bounds: float | None) -> int:
    return int(next(bound for bound in bounds if bound is not None))


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


def _address(table: TomlTable, key: str, text: str) -> str:
    try:
        return address(text)
    except AddressError as error:
        table.note(key, error.fault)
        return text


def _named(fault_of: Callable[[str], Fault | None]) -> Check:
    """Return the check of a text that names something."""

    def check(table: TomlTable, key: str, text: str) -> str:
        if fault := fault_of(text):
            table.note(key, fault)
        return text

    return check


_CHECKS = {"address": _address, "country": _named(country_fault), "zone": _named(zone_fault)}
