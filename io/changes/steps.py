"""Steps changed in the tables; their sequence is locked, so that positions hold still."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, case, insert, select, update

from sendplan.io.changes.rows import (
    Applied,
    locked,
    named_sequence,
    set_row,
    settings_in_words,
    stored,
)
from sendplan.io.database.tables import enrollments, sequences, steps
from sendplan.io.messages.step_texts import check_texts
from sendplan.planner.changes import AddStep, MoveStep, RemoveStep, SetStep
from sendplan.planner.changes.steps import Positions, refuse_removed_step
from sendplan.planner.schema.columns import with_form
from sendplan.planner.schema.vocabulary import EnrollmentStatus
from sendplan.planner.schema.wording import counted

_TEMPLATES = with_form("subject", "template")


def add_step(connection: Connection, change: AddStep, now: dt.datetime) -> Applied:
    """Insert a step, and reopen completed enrollments if asked to."""
    sequence_id = change.sequence_id
    locked(connection, sequences, "sequence", sequence_id)
    moved, position = change.place(_positions(connection, sequence_id))
    values = stored(change)
    check_texts(connection, sequence_id, _texts(values))
    _set_positions(connection, moved)
    values |= {"sequence_id": sequence_id, "position": position}
    step_id = connection.scalars(insert(steps).values(values).returning(steps.c.id)).one()
    words = (
        f"{named_sequence(connection, sequence_id)}: step {step_id} added at position {position}"
    )
    ids = {"sequence_id": sequence_id, "step_id": step_id, "position": position}
    if change.reopen:
        ids["reopened"] = _reopen(connection, sequence_id)
        words += f", {counted(ids['reopened'], 'enrollment')} reopened"
    return Applied(change, True, words, ids)


def _reopen(connection: Connection, sequence_id: int) -> int:
    completed = (enrollments.c.sequence_id == sequence_id) & (
        enrollments.c.status == str(EnrollmentStatus.COMPLETED)
    )
    active = {"status": str(EnrollmentStatus.ACTIVE), "completed_at": None}
    return connection.execute(update(enrollments).where(completed).values(active)).rowcount


def remove_step(connection: Connection, change: RemoveStep, now: dt.datetime) -> Applied:
    """Mark a step as removed; a trigger clears its position and closes the gap."""
    row = _live_step(connection, change.step_id)
    set_row(connection, steps, change.step_id, {"removed_at": now})
    return _about_step(connection, change, row["sequence_id"], True, "removed")


def move_step(connection: Connection, change: MoveStep, now: dt.datetime) -> Applied:
    """Give a step another position, and shift the steps between."""
    row = _live_step(connection, change.step_id)
    moved = change.place(_positions(connection, row["sequence_id"]))
    changed = _set_positions(connection, moved)
    state = f"at position {moved[change.step_id]}"
    return _about_step(connection, change, row["sequence_id"], changed, state)


def set_step(connection: Connection, change: SetStep, now: dt.datetime) -> Applied:
    """Give a step another wait or text."""
    row = _live_step(connection, change.step_id)
    values = stored(change)
    check_texts(connection, row["sequence_id"], _texts(values))
    changed = set_row(connection, steps, change.step_id, values)
    return _about_step(connection, change, row["sequence_id"], changed, settings_in_words(values))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: source for name, source in values.items() if name in _TEMPLATES}


def _about_step(
    connection: Connection,
    change: RemoveStep | MoveStep | SetStep,
    sequence_id: int,
    changed: bool,
    state: str,
) -> Applied:
    words = f"{named_sequence(connection, sequence_id)}, step {change.step_id}: {state}"
    ids = {"sequence_id": sequence_id, "step_id": change.step_id}
    return Applied(change, changed, words, ids)


def _live_step(connection: Connection, step_id: int) -> dict[str, Any]:
    sequence_id = connection.scalar(select(steps.c.sequence_id).where(steps.c.id == step_id))
    if sequence_id is not None:
        locked(connection, sequences, "sequence", sequence_id)
    row = locked(connection, steps, "step", step_id)
    refuse_removed_step(step_id, row)
    return row


def _positions(connection: Connection, sequence_id: int) -> Positions:
    place = steps.c.position
    query = select(steps.c.id, place).where(steps.c.sequence_id == sequence_id)
    rows = connection.execute(query.where(place.is_not(None)))
    return {row.id: row.position for row in rows}


def _set_positions(connection: Connection, positions: Positions) -> bool:
    """Give steps positions in one statement, and tell whether any changed."""
    if not positions:
        return False
    # Until the transaction ends two steps may share a position.
    place = case(positions, value=steps.c.id)
    other = steps.c.id.in_(positions) & (steps.c.position != place)
    return connection.execute(update(steps).where(other).values(position=place)).rowcount > 0
