"""Commands that bring in campaigns and contacts, and the demonstration."""

from functools import partial
from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option
from sendplan.io.commands.shared_options import JSON, NOW

_FILE = Option("file", kind=Path)
_count = partial(Option, kind=int, least=1)

LOAD = Command(
    Section.START,
    "load",
    "Load a campaign FILE: sequences, steps, mailboxes, links.\n\n"
    "The TOML file is loaded whole or not at all. Rows that exist already must be equal, and stay.",
    ("campaign.toml",),
    (_FILE, JSON),
)
ENROLL = Command(
    Section.START,
    "enroll",
    "Enrol the contacts of a CSV FILE into a sequence.\n\n"
    "The file needs a column `email`; `timezone` is optional, and all other columns become"
    " attributes of the contact. Enrolling the same file again changes nothing.",
    ('--sequence "Autumn webinar" contacts.csv',),
    (_FILE, Option("--sequence", "NAME", "Sequence to enrol into.", required=True), NOW, JSON),
)
DEMO = Command(
    Section.START,
    "demo",
    "Fill the database with a realistic instance and plan it.\n\n"
    "A demonstration that is there already is planned again.",
    ("", "--contacts 2000 --mailboxes 10"),
    (
        _count("--contacts", "N", "Contacts to make up.", default=50_000),
        _count("--mailboxes", "N", "Mailboxes to make up.", default=200),
        Option("--seed", "N", "Seed of the made-up data.", int, default=0),
        NOW,
        JSON,
    ),
)
