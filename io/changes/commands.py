"""The commands that make changes, declared as data: their options, help and examples.

`sendplan.io.changes.from_options` turns their options into changes.
"""

from functools import partial
from pathlib import Path
from typing import Any

from sendplan.io.commands.command import Check, Command, Options, Section
from sendplan.io.commands.option import Option
from sendplan.io.commands.shared_options import JSON, NOW
from sendplan.planner.schema.columns import COLUMNS, texts_or_files
from sendplan.planner.schema.vocabulary import SUPPRESSING, StopReason


def gives_something(options: Options) -> str | None:
    """Refuse a command without any setting."""
    targets = ("mailbox", "sequence", "step", "position", "preview", "now")
    given = (value for name, value in options.items() if name not in targets)
    if any(value is not None and value is not False and value != () for value in given):
        return None
    return "No change is given; --help lists the options."


def names_one_step(options: Options) -> str | None:
    """Refuse a step that is not named, named twice, or by half of its place."""
    named = options["step"] is not None
    placed = [options[name] is not None for name in ("sequence", "position")]
    if placed == [not named] * 2:
        return None
    return "Name the step by its id, or by --sequence and --position."


def gives_texts_once(options: Options) -> str | None:
    """Refuse a text given both directly and in a file."""
    for part in texts_or_files("steps"):
        if options[part] is not None and options[f"{part}_file"] is not None:
            return f"Give --{part} or --{part}-file, not both."
    return None


def gives_both_texts(options: Options) -> str | None:
    """Refuse a new step without texts, except in a preview."""
    for part in ("subject", "content"):
        if not options["preview"] and options[part] is None and options[f"{part}_file"] is None:
            return f"Give --{part} or --{part}-file; only --preview works without."
    return None


def names_contacts_to_stop(options: Options) -> str | None:
    """Refuse a stop without contact, with both contact and list, or without a known reason."""
    email, file, reason = options["email"], options["file"], options["reason"]
    known = [str(word) for word in StopReason]
    if (email is None) == (file is None):
        return "Give the address of a contact, or a list by --file."
    if reason is None and file is None:
        return f"Give --reason, one of {', '.join(known)}."
    if reason is not None and reason not in known:
        return f"--reason {reason} is unknown; use one of {', '.join(known)}."
    if reason in SUPPRESSING and options["sequence"] is not None:
        return f"A contact who {reason} is stopped in every sequence; leave --sequence out."
    return None


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
        read = partial(_read, table, name)
        required = new and setting.required
        options.append(Option(flag, metavar, column.about, read, name=name, required=required))
        if setting.or_file:
            options.append(_file(f"{flag}-file", "FILE", "The same, in a file."))
    return tuple(sorted(options, key=lambda option: not option.required))


def _read(table: str, column: str, text: str) -> Any:
    from sendplan.io.changes.values import read_argument

    return read_argument(table, column, text)


_position = partial(_read, "steps", "position")
_several = partial(Option, repeatable=True)
_file = partial(Option, kind=Path)
PREVIEW = Option("--preview", about="Show what would become of the plan; change nothing.")

_STEP = (
    Option("--sequence", "NAME", "Its sequence, where its id is not given."),
    Option("--position", "P", "Its position there."),
)


def _command(
    name: str, about: str, example: str, *options: Option, checks: tuple[Check, ...] = ()
) -> Command:
    every = (PREVIEW, NOW, JSON)
    return Command(Section.CHANGE, name, about, (example,), (*options, *every), checks)


COMMANDS = (
    _command(
        "mailbox add",
        "Add a mailbox, or bring back a removed one of the same address.\n\n"
        "A mailbox brought back takes the settings given here and sends for the sequences named"
        " here; if none is named, for those that it had.",
        'dana@mail.example --capacity 40 --sequence "Autumn webinar"',
        Option("email"),
        *column_options("mailboxes", new=True),
        _several("--sequence", "NAME", "Sequence to send for.", name="sequences"),
    ),
    _command(
        "mailbox remove",
        "Remove a mailbox for good.\n\n"
        "Its threads move to other mailboxes of their sequences, if there are any.",
        "dana@mail.example --preview",
        Option("mailbox"),
    ),
    _command(
        "mailbox pause",
        "Pause a mailbox; its threads wait for it.",
        "dana@mail.example",
        Option("mailbox"),
    ),
    _command(
        "mailbox resume",
        "Resume a paused mailbox.",
        "dana@mail.example --preview",
        Option("mailbox"),
    ),
    _command(
        "mailbox set",
        "Change settings of a mailbox.\n\n"
        "It is named by its address or id; settings not given stay.",
        "dana@mail.example --capacity 60 --no-ramp",
        Option("mailbox"),
        *column_options("mailboxes"),
        Option("--no-ramp", about="End its warm-up."),
        checks=(gives_something,),
    ),
    _command(
        "step add",
        "Add a step to a sequence.\n\nContacts who are past its position do not get it.",
        '--sequence "Autumn webinar" --wait 4 --subject "A last word" --content-file last.txt',
        Option("--sequence", "NAME", "Sequence to add it to.", required=True),
        *column_options("steps", new=True),
        Option("--position", "P", "Its place; by default the last one.", _position),
        Option("--reopen", about="Send it also to contacts who have completed the sequence."),
        checks=(gives_texts_once, gives_both_texts),
    ),
    _command(
        "step remove",
        "Remove a step.\n\n"
        "It is named by its id or by its place. Its pending emails are cancelled, and the steps"
        " after it move up.",
        '--sequence "Autumn webinar" --position 3 --preview',
        Option("[step]"),
        *_STEP,
        checks=(names_one_step,),
    ),
    _command(
        "step move",
        "Move a step to another position.\n\nIt is named by its id or by its place.",
        '--sequence "Autumn webinar" --position 3 --to 2',
        Option("[step]"),
        *_STEP,
        Option("--to", "P", "Its new position.", _position, required=True),
        checks=(names_one_step,),
    ),
    _command(
        "step set",
        "Change the wait or the texts of a step.\n\nIt is named by its id or by its place.",
        '--sequence "Autumn webinar" --position 2 --wait 5',
        Option("[step]"),
        *_STEP,
        *column_options("steps"),
        checks=(names_one_step, gives_something, gives_texts_once),
    ),
    _command(
        "sequence pause",
        "Pause a sequence: none of its emails is sent until it is resumed.",
        '"Autumn webinar"',
        Option("sequence"),
    ),
    _command(
        "sequence resume",
        "Resume a paused sequence.\n\nOverdue emails are spread over the next days.",
        '"Autumn webinar" --preview',
        Option("sequence"),
    ),
    _command(
        "sequence set",
        "Change settings of a sequence, or its mailboxes.\n\n"
        "It is named by its name or id; settings not given stay.",
        '"Autumn webinar" --start 08:00 --holidays none --link dana@mail.example',
        Option("sequence"),
        *column_options("sequences"),
        _several("--link", "MAILBOX", "Mailbox to add."),
        _several("--unlink", "MAILBOX", "Mailbox to take away."),
        checks=(gives_something,),
    ),
    _command(
        "contact suppress",
        "Send nothing more to a contact, in any sequence.",
        'ada@client.example --reason "asked not to be written to"',
        Option("email"),
        Option("--reason", "TEXT", "Why; kept with the contact."),
    ),
    _command(
        "contact stop",
        "Stop the threads of a contact who replied, bounced or unsubscribed.\n\n"
        "Their pending emails are cancelled. Contacts who bounced or unsubscribed get nothing more"
        " in any sequence. A list is a CSV file with the column email and, where rows differ,"
        " reason and sequence; the options stand for empty cells.",
        'ada@client.example --reason replied --sequence "Autumn webinar"',
        Option("[email]"),
        Option("--reason", "WORD", "replied, bounced or unsubscribed."),
        Option("--sequence", "NAME", "Only in this sequence; for replies."),
        _file("--file", "FILE", "List of contacts to stop, all or none."),
        checks=(names_contacts_to_stop,),
    ),
)
_GROUPS = {
    "mailbox": "Add, remove, pause, resume and set mailboxes.",
    "step": "Add, remove, move and set the steps of sequences.",
    "sequence": "Pause, resume and set sequences.",
    "contact": "Stop and suppress contacts.",
}
GROUPS = tuple(
    Command(
        Section.CHANGE,
        group,
        about,
        tuple(
            f"{each.name.removeprefix(group).strip()} {each.examples[0]}"
            for each in COMMANDS
            if each.name.startswith(f"{group} ")
        ),
    )
    for group, about in _GROUPS.items()
)
