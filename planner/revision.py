"""A problem after changes: the planner's face of `sendplan.planner.changes`.

New rows get the highest id of their frame + 1; nothing depends on its value, and the tables may
give another. Frames are never written to: a changed one is built anew, the others are shared.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sendplan.planner import refusals, study_revision
from sendplan.planner.changes import (
    AddMailbox,
    AddMailboxes,
    AddStep,
    Arrivals,
    Change,
    DaysOff,
    LinkMailbox,
    MoveStep,
    RemoveMailbox,
    RemoveStep,
    ScaleCapacities,
    SetMailbox,
    SetSequence,
    SetStep,
    StopContacts,
    SuppressContact,
    UnlinkMailbox,
)
from sendplan.planner.frame_rows import appended, next_id, row_of, with_values
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EnrollmentStatus, MailboxStatus

if TYPE_CHECKING:
    from sendplan.planner.problem.problem import Problem

Frames = dict[str, Any]
"""DataFrames by the name that a problem has for them."""


def revised(problem: "Problem", changes: Iterable[Change]) -> "Problem":
    """Return the problem that some changes leave, made one after the other.

    Parameters
    ----------
    problem : Problem
        Stays as it is.
    changes : iterable of Change
        In their order: a later one may name what an earlier one has added.

    Returns
    -------
    Problem
        As sound as the one before; frames that no change touches are shared with it.

    Raises
    ------
    ProblemError
        If a change names what does not exist, or does not fit what is there.
    TypeError
        If something is no change.
    """
    for change in changes:
        problem = replace(problem, **_frames(change, problem))
    return problem


@singledispatch
def _frames(change: object, problem: "Problem") -> Frames:
    """Return the frames that a change makes anew."""
    raise TypeError(f"{change!r} is no change; use one such as RemoveMailbox(5)")


# ---------------------------------------------------------------- mailboxes


@_frames.register(AddMailbox)
def _add_mailbox(change: AddMailbox, problem: "Problem") -> Frames:
    mailboxes, links = problem.mailboxes, problem.sequence_mailboxes
    for sequence_id in change.sequence_ids:
        row_of(problem.sequences, "sequence", sequence_id)
    values = {**change.columns, "status": str(MailboxStatus.ACTIVE)}
    row = _known_address(mailboxes, change.email)
    if row is None:
        mailbox_id = next_id(mailboxes)
        mailboxes = appended(mailboxes, [{"id": mailbox_id, **values}])
    else:
        # The address stays as it was written: threads know it.
        del values["email"]
        mailbox_id = int(mailboxes["id"].iloc[row])
        mailboxes = with_values(mailboxes, row, values)
        if change.sequence_ids:
            links = links[(links["mailbox_id"] != mailbox_id).to_numpy()]
    fresh = [{"sequence_id": key, "mailbox_id": mailbox_id} for key in change.sequence_ids]
    return {"mailboxes": mailboxes, "sequence_mailboxes": _linked(links, fresh)}


def _known_address(mailboxes: pd.DataFrame, email: str | None) -> int | None:
    """Return the row of a removed mailbox with an address; one that is not removed stays."""
    if email is None:
        return None
    same = mailboxes["email"].map(
        lambda other: other is not None and other.lower() == email.lower()
    )
    rows = np.flatnonzero(same.to_numpy(dtype=bool))
    status = mailboxes["status"].to_numpy()[rows]
    if (present := rows[status != MailboxStatus.REMOVED]).size:
        raise refusals.address_taken(email, mailboxes["id"].iloc[present[0]])
    return int(rows[0]) if rows.size else None


@_frames.register(RemoveMailbox)
def _remove_mailbox(change: RemoveMailbox, problem: "Problem") -> Frames:
    row = row_of(problem.mailboxes, "mailbox", change.mailbox_id)
    removed = {"status": str(MailboxStatus.REMOVED)}
    return {"mailboxes": with_values(problem.mailboxes, row, removed)}


@_frames.register(SetMailbox)
def _set_mailbox(change: SetMailbox, problem: "Problem") -> Frames:
    row = row_of(problem.mailboxes, "mailbox", change.mailbox_id)
    change.refuse_for(problem.mailboxes.iloc[row].to_dict())
    return {"mailboxes": with_values(problem.mailboxes, row, change.columns)}


@_frames.register(LinkMailbox)
def _link_mailbox(change: LinkMailbox, problem: "Problem") -> Frames:
    row_of(problem.sequences, "sequence", change.sequence_id)
    row = row_of(problem.mailboxes, "mailbox", change.mailbox_id)
    if problem.mailboxes["status"].iloc[row] == MailboxStatus.REMOVED:
        raise refusals.removed_mailbox(change.mailbox_id)
    link = {"sequence_id": change.sequence_id, "mailbox_id": change.mailbox_id}
    return {"sequence_mailboxes": _linked(problem.sequence_mailboxes, [link])}


@_frames.register(UnlinkMailbox)
def _unlink_mailbox(change: UnlinkMailbox, problem: "Problem") -> Frames:
    row_of(problem.sequences, "sequence", change.sequence_id)
    row_of(problem.mailboxes, "mailbox", change.mailbox_id)
    links = problem.sequence_mailboxes
    gone = (links["sequence_id"] == change.sequence_id) & (links["mailbox_id"] == change.mailbox_id)
    return {"sequence_mailboxes": links[~gone].reset_index(drop=True)}


def _linked(links: pd.DataFrame, fresh: list[dict[str, int]]) -> pd.DataFrame:
    key = ["sequence_id", "mailbox_id"]
    return appended(links, fresh).drop_duplicates(key).sort_values(key, ignore_index=True)


# ---------------------------------------------------------------- steps


@_frames.register(AddStep)
def _add_step(change: AddStep, problem: "Problem") -> Frames:
    row_of(problem.sequences, "sequence", change.sequence_id)
    positions = _positions(problem, change.sequence_id)
    position = change.place(int((positions != NULL).sum()), _last(positions))
    step = {
        "id": next_id(problem.steps),
        "sequence_id": change.sequence_id,
        "position": position,
        "wait_days": change.columns["wait_days"],
        "removed_at": NULL,
    }
    shifted = problem.steps["position"].to_numpy() + (positions >= position)
    frames = {"steps": appended(problem.steps.assign(position=shifted), [step])}
    if change.reopen:
        frames["enrollments"] = _reopened(problem.enrollments, change.sequence_id)
    return frames


def _reopened(enrollments: pd.DataFrame, sequence_id: int) -> pd.DataFrame:
    completed = (
        (enrollments["sequence_id"] == sequence_id)
        & (enrollments["status"] == EnrollmentStatus.COMPLETED)
    ).to_numpy()
    active = {"status": str(EnrollmentStatus.ACTIVE), "completed_at": NULL}
    return with_values(enrollments, completed, active)


@_frames.register(RemoveStep)
def _remove_step(change: RemoveStep, problem: "Problem") -> Frames:
    row = _live_step(problem, change.step_id)
    positions = _positions(problem, problem.steps["sequence_id"].iloc[row])
    closed = problem.steps["position"].to_numpy() - (positions > positions[row])
    steps = problem.steps.assign(position=closed)
    return {"steps": with_values(steps, row, {"position": NULL, "removed_at": problem.now})}


@_frames.register(MoveStep)
def _move_step(change: MoveStep, problem: "Problem") -> Frames:
    row = _live_step(problem, change.step_id)
    positions = _positions(problem, problem.steps["sequence_id"].iloc[row])
    position = change.place(_last(positions))
    shift = (positions > positions[row]).astype(np.int64)
    shift -= positions - shift >= position
    moved = problem.steps["position"].to_numpy() - shift
    moved[row] = position
    return {"steps": problem.steps.assign(position=moved)}


@_frames.register(SetStep)
def _set_step(change: SetStep, problem: "Problem") -> Frames:
    row = _live_step(problem, change.step_id)
    return {"steps": with_values(problem.steps, row, change.columns)} if change.columns else {}


def _live_step(problem: "Problem", step_id: int) -> int:
    steps = problem.steps
    row = row_of(steps, "step", step_id)
    if steps["position"].iloc[row] == NULL or steps["removed_at"].iloc[row] != NULL:
        raise refusals.removed_step(step_id)
    return row


def _positions(problem: "Problem", sequence_id: int) -> np.ndarray:
    """Return the position of each row of `steps` that is a live step of a sequence, else NULL."""
    steps = problem.steps
    live = ((steps["sequence_id"] == sequence_id) & (steps["removed_at"] == NULL)).to_numpy()
    return np.where(live, steps["position"].to_numpy(), NULL)


def _last(positions: np.ndarray) -> int:
    return int(positions.max(initial=0))


# ---------------------------------------------------------------- sequences and contacts


@_frames.register(SetSequence)
def _set_sequence(change: SetSequence, problem: "Problem") -> Frames:
    row = row_of(problem.sequences, "sequence", change.sequence_id)
    change.refuse_for(problem.sequences.iloc[row].to_dict())
    return {"sequences": with_values(problem.sequences, row, change.columns)}


@_frames.register(SuppressContact)
def _suppress_contact(change: SuppressContact, problem: "Problem") -> Frames:
    own = (problem.enrollments["contact_id"] == change.contact_id).to_numpy()
    return _of_enrollments(problem, _suppressed(problem.enrollments, own, problem.now))


@_frames.register(StopContacts)
def _stop_contacts(change: StopContacts, problem: "Problem") -> Frames:
    """Stop enrollments; their emails stay, as those of stopped ones are nobody's to plan."""
    people = problem.enrollments
    for sequence_id in change.sequence_ids or ():
        row_of(problem.sequences, "sequence", sequence_id)
    own = people["contact_id"].isin(list(change.contact_ids)).to_numpy()
    stopped = own & (people["status"] == EnrollmentStatus.ACTIVE).to_numpy()
    if change.sequence_ids is not None:
        stopped &= people["sequence_id"].isin(list(change.sequence_ids)).to_numpy()
    if stopped.any():
        people = with_values(people, stopped, {"status": str(EnrollmentStatus.STOPPED)})
    if change.suppresses:
        people = _suppressed(people, own, problem.now)
    return _of_enrollments(problem, people)


def _suppressed(people: pd.DataFrame, own: np.ndarray, now: int) -> pd.DataFrame:
    """Return enrollments suppressed where a mask says so, and since the first time."""
    fresh = own & (people["suppressed_at"] == NULL).to_numpy()
    return with_values(people, fresh, {"suppressed_at": now}) if fresh.any() else people


def _of_enrollments(problem: "Problem", people: pd.DataFrame) -> Frames:
    return {} if people is problem.enrollments else {"enrollments": people}


# ---------------------------------------------------------------- for studies only


_frames.register(ScaleCapacities)(study_revision.scale_capacities)
_frames.register(AddMailboxes)(study_revision.add_mailboxes)
_frames.register(DaysOff)(study_revision.take_days_off)
_frames.register(Arrivals)(study_revision.let_arrive)
