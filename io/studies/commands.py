"""Studies as commands; the options of a scenario are also the keys of a scenario file."""

from functools import partial
from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option, day
from sendplan.io.commands.shared_options import AS_OF, JSON, NOW
from sendplan.planner.problem.parameters import METHODS, Parameters

_several = partial(Option, repeatable=True)
_count = partial(Option, kind=int)
_METHOD = Option("--method", "WORD", f"Planning method: {', '.join(METHODS)}.", default="greedy")
_WORKERS = _count("--workers", "N", f"Parallel plans; by default {Parameters.workers}.", least=1)
_MEDIAN = "Emails a day of each new mailbox; by default the median."

SCENARIO_OPTIONS = (
    _count("--add-mailboxes", "N", "Number of mailboxes to add.", least=0),
    _several("--sequence", "NAME", "Sequence for them; by default those with most pending emails."),
    _count("--capacity", "C", _MEDIAN, least=0),
    _several("--remove-mailbox", "EMAIL", "Mailbox to remove."),
    Option("--scale-capacity", "X", "Factor for all capacities, such as 1.2.", float, least=0),
    _several("--wait", "STEP=DAYS", "New wait of a step; STEP is an id, or NAME:POSITION."),
    _several("--drop-step", "STEP", "Step to remove."),
    _several("--window", "[NAME=]FROM-TO", "Daily window of one sequence or all: 08:00-18:00."),
    _several("--days-off", "[NAME=]DATE[..DATE]", "Dates without emails of one sequence or all."),
    _several("--arrivals", "NAME=NxDAYS[@DATE]", "N new contacts a day, from tomorrow or DATE on."),
    _several("--priority", "NAME=X", "New priority of a sequence."),
)
REPEATABLE = tuple(option.name for option in SCENARIO_OPTIONS if option.repeatable)

WHAT_IF = Command(
    Section.ASK,
    "what-if",
    "Show what the plan would be under other conditions.\n\n"
    "Nothing is changed. All options together make one scenario; --scenarios compares several.",
    (
        "--add-mailboxes 10 --capacity 60",
        "--wait Dentists:2=3 --days-off 2026-12-24..2026-12-31",
        "--arrivals Dentists=50x20 --scale-capacity 1.2",
        "--scenarios winter.toml --method auto",
    ),
    (
        *SCENARIO_OPTIONS,
        Option("--scenarios", "FILE", "TOML file of scenarios, with these options as keys.", Path),
        _METHOD,
        Option("--time-limit", "S", "Seconds of work for improving each plan.", float),
        _WORKERS,
        NOW,
        JSON,
    ),
)
CAPACITY = Command(
    Section.ASK,
    "capacity",
    "Find the capacity with which all emails leave by a day.\n\n"
    "Nothing is changed. A plan shows that the capacity is enough, a bound that less is not.",
    (
        "--finish-by 2026-12-31",
        "--finish-by 2026-12-31 --max-late 100 --capacity 60",
        "--finish-by 2026-12-31 --of capacity",
    ),
    (
        Option("--finish-by", "DATE", "Day by which all emails have left.", day, required=True),
        _count("--max-late", "N", "Late follow-ups allowed; by default any number.", least=0),
        Option(
            "--of",
            about="Find the fewest new mailboxes, or the smallest capacity of the existing ones.",
            choices=("mailboxes", "capacity"),
            default="mailboxes",
        ),
        _count("--capacity", "C", _MEDIAN, least=1),
        _METHOD,
        _WORKERS,
        NOW,
        JSON,
    ),
)
BOTTLENECKS = Command(
    Section.ASK,
    "bottlenecks",
    "Show where the stored plan lacks capacity.\n\n"
    "It also shows what more capacity would save there. Mailboxes that send for the same"
    " sequences count as one pool. Nothing is changed.",
    (
        "                 pools, the costliest first",
        "--by-mailbox    single mailboxes",
        "--json          every day and its price",
    ),
    (Option("--by-mailbox", about="Count each mailbox by itself; takes far longer."), NOW, JSON),
)
EXPLAIN = Command(
    Section.ASK,
    "explain",
    "Explain why an email leaves when it does, or not at all.\n\n"
    "EMAIL_ID is an id of scheduled_emails. Day, mailbox and minute are explained as of the run"
    " that planned it, or as of --as-of, with all other slots as they are now. Nothing is changed.",
    ("4711           a few paragraphs", "4711 --json    all facts"),
    (Option("email_id", kind=int, least=1), AS_OF, JSON),
)
