"""What a change is refused for, told alike whether it meets frames or tables."""

import difflib
from collections.abc import Iterable

from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.vocabulary import MAX_STEPS

SHOWN = 5
"""How many of the ids that exist a message names."""


def _refusal(where: str, rule: str, remedy: str) -> ProblemError:
    return ProblemError([Fault(where, rule, [], remedy)])


def unknown(noun: str, key: int, known: Iterable[int]) -> ProblemError:
    """Refuse an id that does not exist, naming those that look like it, or else the first ones."""
    ids = [str(other) for other in known]
    near = difflib.get_close_matches(str(key), ids, SHOWN)
    if near:
        remedy = f"Did you mean {' or '.join(near)}?"
    elif ids:
        remedy = f"There is {', '.join(ids[:SHOWN])}{' …' if len(ids) > SHOWN else ''}"
    else:
        remedy = f"There is no {noun} at all"
    return _refusal(f"{noun} {key}", "does not exist", remedy)


def removed_mailbox(mailbox_id: int) -> ProblemError:
    """Refuse to change a mailbox that was removed."""
    remedy = "Add a mailbox of its address: that brings it back"
    return _refusal(f"mailbox {mailbox_id}", "was removed", remedy)


def removed_step(step_id: int) -> ProblemError:
    """Refuse to change a step that was removed."""
    remedy = "Name a step that still has a position, or add one"
    return _refusal(f"step {step_id}", "was removed already", remedy)


def address_taken(email: str, mailbox_id: int) -> ProblemError:
    """Refuse a second mailbox of one address."""
    remedy = f"Change mailbox {mailbox_id}, or remove it first"
    return _refusal("new mailbox, email", f"{email} is mailbox {mailbox_id}", remedy)


def out_of_place(where: str, position: int, last: int) -> ProblemError:
    """Refuse a position that would leave a gap; `last` is the highest possible one."""
    allowed = "1" if last <= 1 else f"1 to {last}"
    return _refusal(
        f"{where}, position", f"{position} is out of range", f"The steps allow {allowed}"
    )


def too_many_steps(sequence_id: int) -> ProblemError:
    """Refuse a step more than a sequence can hold."""
    rule = f"has {MAX_STEPS} steps, the most that a sequence can have"
    return _refusal(f"sequence {sequence_id}", rule, "Remove a step, or begin another sequence")


def window_upside_down(sequence_id: int) -> ProblemError:
    """Refuse a window that does not end after its start."""
    remedy = "A window lies within one day; change start_time and end_time together"
    return _refusal(f"sequence {sequence_id}, end_time", "must be after start_time", remedy)


def half_a_ramp(where: str) -> ProblemError:
    """Refuse a ramp without its start or its first day: it would mean nothing."""
    remedy = "Give ramp_start and ramp_from both, or set all of the ramp to none"
    return _refusal(where, "has half a ramp", remedy)
