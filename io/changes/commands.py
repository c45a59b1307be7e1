"""The commands that make changes, declared as data: their options, help and examples.

`cli.py` turns each `ChangeCommand` into a command; `sendplan.io.changes.from_options` works out
what its options ask for. Nothing heavy is loaded here, since every command starts by reading this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sendplan.io.changes.option import Option, column_options
from sendplan.planner.schema.columns import texts_or_files
from sendplan.planner.schema.vocabulary import SUPPRESSING, StopReason

Options = Mapping[str, Any]
Check = Callable[[Options, bool], str | None]
"""Returns what is wrong with options taken together; also told whether only to preview."""


@dataclass(frozen=True)
class ChangeCommand:
    """One command.

    Parameters
    ----------
    group, name : str
        The two words that call it.
    about : str
        Its help: a line and, after an empty one, more.
    example : str
        What may follow the two words.
    argument : str
        What stands first; in brackets if it may be left out.
    options : tuple of Option
        Without those that all commands have.
    checks : tuple of callable
        For what is wrong between options.
    """

    group: str
    name: str
    about: str
    example: str
    argument: str = ""
    options: tuple[Option, ...] = ()
    checks: tuple[Check, ...] = ()


def gives_something(options: Options, preview: bool) -> str | None:
    """Refuse a command that names what to set, but nothing to set there."""
    targets = ("mailbox", "sequence", "step", "position")
    given = (value for name, value in options.items() if name not in targets)
    if any(value is not None and value is not False and value != () for value in given):
        return None
    return "Nothing to change is given; --help lists what can be."


def names_one_step(options: Options, preview: bool) -> str | None:
    """Refuse a step that is named by nothing, by half its place, or twice."""
    named = options["step"] is not None
    placed = [options[name] is not None for name in ("sequence", "position")]
    if placed == [not named] * 2:
        return None
    return "Name the step by its id, or else by --sequence and --position."


def gives_texts_once(options: Options, preview: bool) -> str | None:
    """Refuse a text that is given both itself and in a file."""
    for part in texts_or_files("steps"):
        if options[part] is not None and options[f"{part}_file"] is not None:
            return f"Give --{part} or --{part}-file, not both."
    return None


def gives_both_texts(options: Options, preview: bool) -> str | None:
    """Refuse a new step without text, unless it is only to be looked at."""
    for part in ("subject", "content"):
        if not preview and options[part] is None and options[f"{part}_file"] is None:
            return f"Give --{part} or --{part}-file; only --preview does without."
    return None


def names_who_stops(options: Options, preview: bool) -> str | None:
    """Refuse a stop of nobody, of somebody and a list at once, or for no reason that is known."""
    email, file, reason = options["email"], options["file"], options["reason"]
    known = [str(word) for word in StopReason]
    if (email is None) == (file is None):
        return "Name the contact by its address, or else a list of them by --file."
    if reason is None and file is None:
        return f"Give --reason, one of {', '.join(known)}."
    if reason is not None and reason not in known:
        return f"--reason {reason} is unknown; use one of {', '.join(known)}."
    if reason in SUPPRESSING and options["sequence"] is not None:
        return f"Whoever {reason} is stopped in every sequence; leave --sequence out."
    return None


GROUPS = {
    "mailbox": "Add, remove, pause, resume and set mailboxes.",
    "step": "Add, remove, move and set the steps of sequences.",
    "sequence": "Pause, resume and set sequences.",
    "contact": "Stop and suppress contacts.",
}

_several = partial(Option, repeatable=True)
_STEP = (
    Option("--sequence", "sequence", "NAME", "Its sequence, where its id is not given."),
    Option("--position", "position", "P", "Its position there."),
)
_of_step = partial(Option, table="steps", column="position")

COMMANDS = (
    ChangeCommand(
        "mailbox",
        "add",
        "Add a mailbox, or bring back a removed one of the same address.\n\n"
        "One brought back takes the settings given here and sends for the sequences named here;"
        " if none is named, for those it had.",
        'dana@mail.example --capacity 40 --sequence "Autumn webinar"',
        "email",
        (
            *column_options("mailboxes", new=True),
            _several("--sequence", "sequences", "NAME", "A sequence that it sends for."),
        ),
    ),
    ChangeCommand(
        "mailbox",
        "remove",
        "Remove a mailbox for good.\n\n"
        "Its threads move to other mailboxes of their sequences, if there are any.",
        "dana@mail.example --preview",
        "mailbox",
    ),
    ChangeCommand(
        "mailbox",
        "pause",
        "Pause a mailbox; its threads wait for it.",
        "dana@mail.example",
        "mailbox",
    ),
    ChangeCommand(
        "mailbox",
        "resume",
        "Resume a paused mailbox.",
        "dana@mail.example --preview",
        "mailbox",
    ),
    ChangeCommand(
        "mailbox",
        "set",
        "Change settings of a mailbox.\n\n"
        "It is named by its address or id; settings not given stay.",
        "dana@mail.example --capacity 60 --no-ramp",
        "mailbox",
        (
            *column_options("mailboxes"),
            Option("--no-ramp", "no_ramp", "", "End its warm-up."),
        ),
        (gives_something,),
    ),
    ChangeCommand(
        "step",
        "add",
        "Add a step to a sequence.\n\nContacts who are past its position do not get it.",
        '--sequence "Autumn webinar" --wait 4 --subject "A last word" --content-file last.txt',
        options=(
            Option("--sequence", "sequence", "NAME", "The sequence to add it to.", required=True),
            *column_options("steps", new=True),
            _of_step("--position", "position", "P", "Its place; by default the last one."),
            Option("--reopen", "reopen", "", "Send it also to contacts who have completed."),
        ),
        checks=(gives_texts_once, gives_both_texts),
    ),
    ChangeCommand(
        "step",
        "remove",
        "Remove a step.\n\n"
        "It is named by its id or by its place. Its emails that are still to be sent are"
        " cancelled, and the steps behind it move up.",
        '--sequence "Autumn webinar" --position 3 --preview',
        "[step]",
        _STEP,
        (names_one_step,),
    ),
    ChangeCommand(
        "step",
        "move",
        "Move a step to another position.\n\nIt is named by its id or by its place.",
        '--sequence "Autumn webinar" --position 3 --to 2',
        "[step]",
        (
            *_STEP,
            _of_step("--to", "to", "P", "Its new position.", required=True),
        ),
        (names_one_step,),
    ),
    ChangeCommand(
        "step",
        "set",
        "Change the wait or the texts of a step.\n\nIt is named by its id or by its place.",
        '--sequence "Autumn webinar" --position 2 --wait 5',
        "[step]",
        (*_STEP, *column_options("steps")),
        (names_one_step, gives_something, gives_texts_once),
    ),
    ChangeCommand(
        "sequence",
        "pause",
        "Pause a sequence: nothing of it is sent until it is resumed.",
        '"Autumn webinar"',
        "sequence",
    ),
    ChangeCommand(
        "sequence",
        "resume",
        "Resume a paused sequence.\n\nWhat is due by then is spread over the days to come.",
        '"Autumn webinar" --preview',
        "sequence",
    ),
    ChangeCommand(
        "sequence",
        "set",
        "Change settings of a sequence, or its mailboxes.\n\n"
        "It is named by its name or id; settings not given stay.",
        '"Autumn webinar" --start 08:00 --holidays none --link dana@mail.example',
        "sequence",
        (
            *column_options("sequences"),
            _several("--link", "link", "MAILBOX", "One that is to send for it."),
            _several("--unlink", "unlink", "MAILBOX", "One that is to send for it no more."),
        ),
        (gives_something,),
    ),
    ChangeCommand(
        "contact",
        "suppress",
        "Send nothing more to the contact of an address, in any sequence.",
        'ada@client.example --reason "asked not to be written to"',
        "email",
        (Option("--reason", "reason", "TEXT", "Why; kept with the contact."),),
    ),
    ChangeCommand(
        "contact",
        "stop",
        "Stop the threads of a contact who replied, bounced or unsubscribed.\n\n"
        "What is still to be sent is cancelled. Whoever bounced or unsubscribed gets nothing more"
        " in any sequence. A list is a CSV file with the column email and, where rows differ,"
        " reason and sequence; the options say what its cells leave open.",
        'ada@client.example --reason replied --sequence "Autumn webinar"',
        "[email]",
        (
            Option("--reason", "reason", "WORD", "replied, bounced or unsubscribed."),
            Option("--sequence", "sequence", "NAME", "The only one to stop, of who replied."),
            Option("--file", "file", "FILE", "Stop everybody on a list, or nobody.", is_file=True),
        ),
        (names_who_stops,),
    ),
)
