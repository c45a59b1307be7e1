"""Dispatching as a command, and the defaults of its settings."""

from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option, moment
from sendplan.io.commands.shared_options import AS_OF, GRACE, JSON, LOG

DEFAULT_LEASE = 180.0
"""Seconds."""

DEFAULT_WORKERS = 32

DISPATCH = Command(
    Section.NIGHTLY,
    "dispatch",
    "Send the emails whose time has come.\n\n"
    "Without --once or --until it keeps running until SIGTERM or Ctrl-C, and then finishes the"
    " emails in hand. Any number of dispatchers may run at the same time.",
    (
        "                          send each email at its time",
        "--once                   send what is due now, and exit",
        "--transport outbox       write files instead of sending",
    ),
    (
        Option("--once", about="Exit when nothing is due but what waits for a mailbox's gap."),
        Option("--until", "TIME", "Exit then, such as 2026-11-23T18:00:00+00:00.", moment),
        Option(
            "--transport",
            about="How messages leave: by SMTP, or as .eml files in a folder. By default smtp, and"
            " outbox if the database holds only the demonstration.",
            choices=("smtp", "outbox"),
        ),
        Option(
            "--outbox",
            "FOLDER",
            "Folder for the files of --transport outbox.",
            Path,
            folder=True,
            default=Path("outbox"),
        ),
        Option(
            "--workers",
            "N",
            "Emails sent at the same time.",
            int,
            least=1,
            most=1000,
            default=DEFAULT_WORKERS,
        ),
        Option(
            "--lease",
            "SECONDS",
            "Time after which an email in hand counts as lost.",
            float,
            least=1,
            default=DEFAULT_LEASE,
        ),
        GRACE,
        LOG,
        AS_OF,
        JSON,
    ),
)
