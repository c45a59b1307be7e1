"""One option or argument of a command, declared as data."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """One option of a command, or one argument.

    Parameters
    ----------
    flag : str
        As it is written, such as ``"--capacity"``. Without dashes it is an argument; in brackets,
        one that may be left out.
    metavar : str
        Name of the value in the help; empty for a switch.
    about : str
        Its help.
    kind : type or callable
        ``str``, ``int``, ``float``, ``Path``, or a function that reads the value from its text and
        raises ValueError with a message.
    name : str
        The parameter that takes its value; by default the words of `flag`.
    choices : tuple of str
        The allowed words; empty for any.
    least, most : float, optional
        Bounds of a number.
    folder : bool, optional
        Whether a path must be a folder if it exists; False: it must not be one.
    exists : bool
        Whether a path must exist.
    required, repeatable : bool
        Whether it must be given, and may be given several times.
    default : object
        The default, or a function that returns it.
    environment : str
        The environment variable that gives the default.
    """

    flag: str
    metavar: str = ""
    about: str = ""
    kind: Callable[..., Any] = str
    name: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    folder: bool | None = None
    exists: bool = False
    required: bool = False
    repeatable: bool = False
    default: Any = None
    environment: str = ""

    def __post_init__(self) -> None:
        """Take the name from the flag if none is given."""
        words = self.flag.strip("-[]").replace("-", "_")
        object.__setattr__(self, "name", self.name or words)

    @property
    def is_argument(self) -> bool:
        """Whether it is given by its place."""
        return not self.flag.startswith("--")


def moment(text: str) -> dt.datetime:
    """Read an aware time in ISO 8601.

    Raises
    ------
    ValueError
        If it is no time, or has no UTC offset.
    """
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it like 2026-11-23T02:00:00+00:00") from None
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add the UTC offset: {text}+00:00")
    return found


def day(text: str) -> dt.date:
    """Read a date in ISO 8601.

    Raises
    ------
    ValueError
        If it is no date.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date; write it like 2026-12-31") from None


def clock() -> dt.datetime:
    """Return the current time in UTC."""
    return dt.datetime.now(dt.UTC)
