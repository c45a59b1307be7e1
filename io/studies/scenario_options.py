"""What a scenario may make different, declared once for the command line and for files.

Nothing heavy is loaded here, since every command starts by reading this.
"""

from sendplan.io.changes.option import Option


def _one(name: str, number: type[int] | type[float], metavar: str, about: str) -> Option:
    return Option(_flag(name), name, metavar, about, number=number)


def _several(name: str, metavar: str, about: str) -> Option:
    return Option(_flag(name), name, metavar, about, repeatable=True)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


SCENARIO_OPTIONS = (
    _one("add_mailboxes", int, "N", "So many more mailboxes."),
    _several(
        "sequence",
        "NAME",
        "The sequence that they send for; without it they are shared out where most is to be sent.",
    ),
    _one("capacity", int, "C", "Emails a day of each; by default the median of the mailboxes."),
    _several("remove_mailbox", "EMAIL", "Without a mailbox."),
    _one("scale_capacity", float, "X", "All capacities multiplied, such as by 1.2."),
    _several("wait", "STEP=DAYS", "Another wait; STEP is an id, or NAME:POSITION."),
    _several("drop_step", "STEP", "Without a step."),
    _several(
        "window",
        "[NAME=]FROM-TO",
        "Another daily window, such as 08:00-18:00, of one sequence or all.",
    ),
    _several("days_off", "[NAME=]DATE[..DATE]", "Dates on which one sequence, or none, sends."),
    _several(
        "arrivals",
        "NAME=NxDAYS[@DATE]",
        "N people who enrol on each of so many days, from tomorrow or DATE on.",
    ),
    _several("priority", "NAME=X", "Another priority."),
)

REPEATABLE = tuple(option.name for option in SCENARIO_OPTIONS if option.repeatable)
