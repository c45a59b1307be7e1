"""One command, declared as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sendplan.io.commands.option import Option

Options = Mapping[str, Any]
Check = Callable[[Options], str | None]
"""Returns the error in options taken together, or None."""


class Section(StrEnum):
    """Sections of the list of commands, in their order."""

    START = "Start"
    NIGHTLY = "Every night"
    CHANGE = "Change"
    ASK = "Ask"
    LOOK_AFTER = "Look after"


@dataclass(frozen=True)
class Command:
    """One command.

    Parameters
    ----------
    section : Section
        Where the list of commands names it.
    name : str
        Its word on the command line, after that of its group if it has one.
    about : str
        Its help: a line and, after an empty one, more.
    examples : tuple of str
        Arguments and, after more than one space, their effect.
    options : tuple of Option
        In the order of the help, arguments first.
    checks : tuple of callable
        Of options taken together.
    """

    section: Section
    name: str
    about: str
    examples: tuple[str, ...]
    options: tuple[Option, ...] = ()
    checks: tuple[Check, ...] = ()
