"""Rules that several changes share, worded alike for frames and tables."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from sendplan.planner.schema.errors import SHOWN, Fault, ProblemError
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MailboxStatus


def unknown(noun: str, key: int, known: Iterable[int]) -> ProblemError:
    """Return the error of an id that does not exist: it names similar ids, else the first ones."""
    ids = [str(other) for other in known]
    near = difflib.get_close_matches(str(key), ids, SHOWN)
    if near:
        remedy = f"did you mean {' or '.join(near)}?"
    elif ids:
        remedy = f"there is {', '.join(ids[:SHOWN])}{' …' if len(ids) > SHOWN else ''}"
    else:
        remedy = f"there is no {noun} at all"
    return ProblemError([Fault(f"{noun} {key}", "does not exist", remedy)])


def refuse_removed_mailbox(mailbox_id: int, status: str) -> None:
    """Refuse to change a mailbox that was removed."""
    if status == MailboxStatus.REMOVED:
        remedy = "add a mailbox of its address: that brings it back"
        raise ProblemError([Fault(f"mailbox {mailbox_id}", "was removed", remedy)])


def refuse_half_a_ramp(where: str, row: Mapping[str, Any]) -> None:
    """Refuse a ramp without its start or its first day: it would mean nothing."""
    if (row["ramp_start"] == NULL) != (row["ramp_from"] == NULL):
        remedy = "give ramp_start and ramp_from both, or set all of the ramp to none"
        raise ProblemError([Fault(where, "has half a ramp", remedy)])
