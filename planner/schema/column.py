"""What the declaration of a column says.

=========  ======================================  ================
kind       canonical column of a frame             type in a table
=========  ======================================  ================
key        int64                                   bigint
integer    int64                                   integer
number     float64                                 numeric
text       object, None where null                 text
time       int64, seconds since local midnight     time
date       int64, days since 1970-01-01            date
instant    int64, microseconds since 1970-01-01    timestamptz
weekdays   object, a sorted tuple of ISO weekdays  smallint[]
uuid       (tables only)                           uuid
json       (tables only)                           jsonb
=========  ======================================  ================
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Kind = Literal[
    "key", "integer", "number", "text", "time", "date", "instant", "weekdays", "uuid", "json"
]

Form = Literal["", "address", "country", "secret", "subject", "template", "url", "zone"]
"""What a text is: a name of something, a reference to a secret, or a template."""

NOW = "now()"
"""The default of a point in time: when its row is written."""


@dataclass(frozen=True)
class FileKey:
    """How a column stands in a campaign file.

    Parameters
    ----------
    example : str
        A value in TOML, for messages.
    key : str
        Its key, by default the column's name; ``"ramp.start"`` is the key ``start`` of a table
        ``ramp``, whose keys are given all or none.
    required : bool
        Whether a file must give it, even though the column may be null.
    least, most : float or None
        Bounds that are narrower than the column's.
    choices : tuple of str
        The words that a file may use, by default all.
    optional : bool
        Whether leaving it out says nothing, instead of standing for the default.
    or_file : bool
        Whether the text may instead be in a file of its own, named by the key ``KEY_file``.
    """

    example: str = ""
    key: str = ""
    required: bool = False
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    or_file: bool = False


@dataclass(frozen=True)
class Settable:
    """How commands and changes set a column.

    Parameters
    ----------
    metavar : str
        What stands for the value in the help.
    flag : str
        The option, by default made of the column's name.
    none : bool
        Whether the word ``none`` stands for null.
    required : bool
        Whether a new row must be given it.
    only_new : bool
        Whether only a new row is given it.
    or_file : bool
        Whether the text may instead be in a file, named by an option that ends in ``-file``.
    """

    metavar: str
    flag: str = ""
    none: bool = False
    required: bool = False
    only_new: bool = False
    or_file: bool = False


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    kind : str
        How values are read and stored, see the table above.
    about : str
        What it is, in one line.
    unit : str
        Of its numbers.
    form : str
        Of its texts.
    required : bool
        Whether a frame must carry it.
    default : object
        Taken where the column is left out (None: null).
    nullable : bool
        Whether single values may be null.
    least, most : float or None
        Bounds of the value, both inclusive.
    positive : bool
        Whether the value must be above zero.
    choices : type of StrEnum or None
        The only words allowed.
    plausible : float or None
        The largest value taken from a campaign file, a change, or into the table: a larger one is a
        slip of the pen. Of a positive number its inverse is the smallest.
    frame, stored : bool
        Whether the planner's frame has it, and whether the table has it.
    mandatory : bool
        Whether the table refuses null where a frame takes it.
    references : str
        The table whose ids it holds.
    file : FileKey or None
        How it stands in a campaign file.
    setting : Settable or None
        How commands set it.
    """

    kind: Kind
    about: str
    unit: str = ""
    form: Form = ""
    required: bool = False
    default: Any = None
    nullable: bool = False
    least: float | None = None
    most: float | None = None
    positive: bool = False
    choices: type[StrEnum] | None = None
    plausible: float | None = None
    frame: bool = True
    stored: bool = True
    mandatory: bool = False
    references: str = ""
    file: FileKey | None = None
    setting: Settable | None = None

    @property
    def stored_null(self) -> bool:
        """Whether the table takes null."""
        return self.nullable and not self.mandatory
