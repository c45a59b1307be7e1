"""An option of a command, declared as data for `cli.py` to make one of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Parameters
    ----------
    flag : str
        As it is written, such as ``"--capacity"``.
    name : str
        What its value is passed on as.
    metavar : str
        What stands for its value in the help; empty for a switch.
    about : str
        Its help.
    table, column : str
        The column whose contract its value keeps, by default the one called `name`; without a
        table it is any text, unless it is a number.
    required, repeatable, is_file : bool
        Whether it must be given, may be given several times, and names a file.
    number : type, optional
        ``int`` or ``float`` for a number from 0 on.
    """

    flag: str
    name: str
    metavar: str
    about: str
    table: str = ""
    required: bool = False
    column: str = ""
    repeatable: bool = False
    is_file: bool = False
    number: type[int] | type[float] | None = None
