"""An option of a command, declared as data for `cli.py` to make one of."""

from dataclasses import dataclass

from sendplan.planner.schema.columns import COLUMNS


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
        The column whose declaration its value keeps, by default the one called `name`; without a
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


def column_options(table: str, *, new: bool = False) -> tuple[Option, ...]:
    """Return the options that set the columns of a table, required ones first.

    Parameters
    ----------
    table : str
        The table.
    new : bool
        Whether for a new row.
    """
    options = []
    for name, column in COLUMNS[table].items():
        setting = column.setting
        if setting is None or (setting.only_new and not new):
            continue
        flag = setting.flag or f"--{name.replace('_', '-')}"
        metavar = f"{setting.metavar}|none" if setting.none else setting.metavar
        required = new and setting.required
        options.append(Option(flag, name, metavar, column.about, table, required))
        if setting.or_file:
            about = "The same, in a file."
            options.append(Option(f"{flag}-file", f"{name}_file", "FILE", about, is_file=True))
    return tuple(sorted(options, key=lambda option: not option.required))
