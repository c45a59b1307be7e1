"""Commands that watch and look after a running system."""

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option, moment
from sendplan.io.commands.shared_options import JSON, NOW

STATUS = Command(
    Section.ASK,
    "status",
    "Show emails due, late and sent, the last run, sequences, mailboxes.",
    ("", "--as-of 2026-11-23T08:00:00+00:00    as of a moment"),
    (NOW, JSON),
)
HEALTH = Command(
    Section.LOOK_AFTER,
    "health",
    "Check that emails leave and the plan is fresh, for a monitor.\n\n"
    "Exits with 1 if something needs attention. Each finding is one line: what is wrong, and what"
    " to do. Uncertain emails are only a warning, since nothing else waits for them.",
    ("", "--max-late 1800 --fail-on-uncertain"),
    (
        Option(
            "--max-late",
            "S",
            "Seconds that an email may be late if nothing blocks it; by default 900.",
            float,
            least=0,
        ),
        Option(
            "--max-plan-age",
            "H",
            "Age of the last plan in hours, while emails are pending; by default 36.",
            float,
            least=0,
        ),
        Option("--fail-on-uncertain", about="Fail on uncertain emails instead of warning."),
        NOW,
        JSON,
    ),
)
UNCERTAIN = Command(
    Section.LOOK_AFTER,
    "uncertain",
    "List emails that may have been sent or not, or resolve them.\n\n"
    "Look for the Message-ID among the mailbox's sent messages. An email resolved as sent counts"
    " as any other; one resolved as not sent is planned again.",
    (
        "                             list them",
        "--sent 17 --not-sent 23     resolve them, all or none",
    ),
    (
        Option("--sent", "ID", "Email that was sent.", int, repeatable=True),
        Option("--not-sent", "ID", "Email that was not sent.", int, repeatable=True),
        Option("--at", "TIME", "When the sent ones left; by default at their slots.", moment),
        JSON,
    ),
)
