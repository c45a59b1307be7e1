"""The nightly run, the recalculation and the check as commands.

Parameters that are not given come from the settings file, the last plan, or the defaults of
`Parameters`, which also checks their range.
"""

from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option
from sendplan.io.commands.shared_options import AS_OF, GRACE, JSON, LOG, NOW
from sendplan.planner.problem.parameters import METHODS, Parameters
from sendplan.planner.schema.vocabulary import DEFAULT_CHANGE_WEIGHT, DEFAULT_RECALC_LIMIT

_WORKERS = Option("--workers", "N", f"Parallel tasks; by default {Parameters.workers}.", int)

PLAN = Command(
    Section.NIGHTLY,
    "plan",
    "Plan all pending emails and store the slots.\n\nThis is the nightly run.",
    (
        "                             improve for 30 seconds of work",
        "--time-limit 300 --gap 0     improve as far as possible",
        "--method greedy --dry-run    show what the greedy plan would be",
    ),
    (
        NOW,
        Option(
            "--config",
            "FILE",
            "TOML file with parameters in a table [plan]; options given here take precedence.",
            Path,
            folder=False,
            exists=True,
        ),
        Option("--horizon-days", "N", "Days to plan ahead; by default as many as needed.", int),
        Option("--method", "WORD", f"One of {', '.join(METHODS)}; by default {Parameters.method}."),
        Option(
            "--time-limit",
            "S",
            "Seconds of work, on one core, for improving the plan;"
            f" by default {Parameters.time_limit:g}.",
            float,
        ),
        Option(
            "--gap",
            "G",
            f"Stop improving at this gap to the lower bound; by default {Parameters.gap:g}.",
            float,
        ),
        _WORKERS,
        Option("--seed", "N", f"Seed of the search; by default {Parameters.seed}.", int),
        Option(
            "--on-interrupt",
            about="What Ctrl-C does with the best plan so far. A plan in several parts stores each"
            " as it is made: discard is refused then.",
            choices=("ask", "store", "discard"),
            default="ask",
        ),
        Option("--dry-run", about="Plan and check, but store nothing."),
        Option(
            "--executor",
            "ADDRESS",
            "Plan parts on a Dask cluster: dask://HOST:PORT of its scheduler. Its workers need"
            " SENDPLAN_DATABASE_URL in their environment.",
        ),
        Option(
            "--part-size",
            "N",
            "Active enrollments of a part, unless one component has more; by default 50,000.",
            int,
            least=1,
        ),
        JSON,
    ),
)
RECALC = Command(
    Section.NIGHTLY,
    "recalc",
    "Re-plan what has changed, and nothing else.\n\n"
    "Every change of settings, stop and suppression is queued; a recalculation re-plans all"
    " sequences that share mailboxes with it.",
    (
        "                 work off the queued changes",
        "--watch          keep running, and re-plan each change as it comes",
    ),
    (
        Option("--watch", about="Keep running, and re-plan each change as it comes."),
        AS_OF,
        Option(
            "--batch-size",
            "N",
            "Rows up to which small components share a transaction; by default 5,000.",
            int,
            least=1,
        ),
        Option("--pause", "S", "Seconds between transactions; by default 0.05.", float, least=0),
        Option(
            "--time-limit",
            "S",
            "Seconds of work for a new plan if the repaired one is much worse; for each component,"
            f" three at most; by default {DEFAULT_RECALC_LIMIT:g}.",
            float,
        ),
        Option(
            "--change-weight",
            "W",
            f"Cost of moving an email, in days of lateness; by default {DEFAULT_CHANGE_WEIGHT:g}.",
            float,
        ),
        _WORKERS,
        GRACE,
        LOG,
        JSON,
    ),
)
CHECK = Command(
    Section.LOOK_AFTER,
    "check",
    "Verify every hard rule on the stored plan.\n\nExits with 1 if one is broken.",
    ("", "--json    every violation, by rule"),
    (JSON,),
)
