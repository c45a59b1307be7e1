"""Changes of the steps of sequences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.changes.change import UNCHANGED, Change, Row, Setting, Unchanged
from sendplan.planner.changes.rows import appended, next_id, row_of, with_values
from sendplan.planner.problem.problem import Frames, Problem
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MAX_STEPS, EnrollmentStatus

Positions = Mapping[int, int]
"""Positions of steps by their ids."""


@dataclass(frozen=True, repr=False)
class AddStep(Change):
    """A new step of a sequence.

    Parameters
    ----------
    sequence_id : int
    wait_days : int
        After the step before it.
    position : int, optional
        Where it comes, steps from there on moving one place back; at the end by default.
    subject, content : str, optional
        For the tables only.
    reopen : bool
        Whether enrollments of the sequence that have completed become active again.
    """

    WHERE = "new step of sequence {sequence_id}"
    TABLE = "steps"

    sequence_id: int
    wait_days: int
    position: int | None = None
    subject: str | None = None
    content: str | None = None
    reopen: bool = False

    def place(self, positions: Positions) -> tuple[Positions, int]:
        """Return the positions of the steps that move back, and that of the new one.

        Parameters
        ----------
        positions : mapping
            Positions of the steps that the sequence has, by id.

        Raises
        ------
        ProblemError
            If there is no room for another step, or the position would leave a gap.
        """
        if len(positions) >= MAX_STEPS:
            where = f"sequence {self.sequence_id}"
            rule = f"has {MAX_STEPS} steps, the most that a sequence can have"
            remedy = "remove a step, or begin another sequence"
            raise ProblemError([Fault(where, rule, remedy)])
        end = max(positions.values(), default=0) + 1
        given = int(self.columns["position"])
        position = end if given == NULL else given
        _refuse_gap(self, position, end)
        return {key: at + 1 for key, at in positions.items() if at >= position}, position

    def revise(self, problem: Problem) -> Frames:
        """Append the step, move those behind it, and reopen enrollments if asked to."""
        row_of(problem.sequences, "sequence", self.sequence_id)
        moved, position = self.place(_positions(problem.steps, self.sequence_id))
        step = {
            "id": next_id(problem.steps),
            "sequence_id": self.sequence_id,
            "position": position,
            "wait_days": self.columns["wait_days"],
            "removed_at": NULL,
        }
        frames = {"steps": appended(_placed(problem.steps, moved), [step])}
        if self.reopen:
            people = problem.enrollments
            own = people["sequence_id"] == self.sequence_id
            completed = own & (people["status"] == EnrollmentStatus.COMPLETED)
            active = {"status": str(EnrollmentStatus.ACTIVE), "completed_at": NULL}
            frames["enrollments"] = with_values(people, completed.to_numpy(), active)
        return frames


@dataclass(frozen=True, repr=False)
class RemoveStep(Change):
    """A step that is no longer sent; those behind it move up."""

    WHERE = "step {step_id}"

    step_id: int

    def revise(self, problem: Problem) -> Frames:
        """Take the step's position away, and move those behind it up."""
        row, positions = _live_step(problem.steps, self.step_id)
        behind = {key: at - 1 for key, at in positions.items() if at > positions[self.step_id]}
        removed = {"position": NULL, "removed_at": problem.now}
        return {"steps": with_values(_placed(problem.steps, behind), row, removed)}


@dataclass(frozen=True, repr=False)
class MoveStep(Change):
    """A step at another position of its sequence; those between move by one place.

    Parameters
    ----------
    step_id : int
    position : int
        Where it stands afterwards.
    """

    WHERE = "step {step_id}"
    TABLE = "steps"

    step_id: int
    position: int

    def _refuse(self) -> None:
        if self.columns["position"] == NULL:
            raise self.refused("a value is missing", "fill it in", "position", self.position)

    def place(self, positions: Positions) -> Positions:
        """Return the positions of the step and of those that move out of its way.

        Parameters
        ----------
        positions : mapping
            Positions of the steps of the sequence, by id.

        Raises
        ------
        ProblemError
            If the position would leave a gap.
        """
        old, new = positions[self.step_id], int(self.columns["position"])
        _refuse_gap(self, new, max(positions.values()))
        up = {key: at - 1 for key, at in positions.items() if old < at <= new}
        back = {key: at + 1 for key, at in positions.items() if new <= at < old}
        return {**up, **back, self.step_id: new}

    def revise(self, problem: Problem) -> Frames:
        """Give the steps their positions."""
        _, positions = _live_step(problem.steps, self.step_id)
        return {"steps": _placed(problem.steps, self.place(positions))}


@dataclass(frozen=True, repr=False)
class SetStep(Setting):
    """Another wait or text of a step.

    Parameters
    ----------
    step_id : int
    wait_days : int, optional
        After the step before it.
    subject, content : str, optional
        For the tables only.
    """

    WHERE = "step {step_id}"
    TABLE, NOUN = "steps", "step"

    step_id: int
    wait_days: int | Unchanged = UNCHANGED
    subject: str | Unchanged = UNCHANGED
    content: str | Unchanged = UNCHANGED

    def refuse_for(self, row: Row) -> None:
        """Refuse a step that was removed."""
        refuse_removed_step(self.step_id, row)


def refuse_removed_step(step_id: int, row: Row) -> None:
    """Refuse to change a step that was removed."""
    if row["position"] in (None, NULL) or row["removed_at"] not in (None, NULL):
        remedy = "name a step that still has a position, or add one"
        raise ProblemError([Fault(f"step {step_id}", "was removed already", remedy)])


def _refuse_gap(change: AddStep | MoveStep, position: int, last: int) -> None:
    """Refuse a position that would leave a gap; `last` is the highest possible one."""
    if position > last:
        allowed = "1" if last <= 1 else f"1 to {last}"
        rule = f"{position} is out of range"
        raise change.refused(rule, f"the steps allow {allowed}", "position")


def _live_step(steps: pd.DataFrame, step_id: int) -> tuple[int, Positions]:
    """Return the row of a step that is not removed, and the positions of its sequence's steps."""
    row = row_of(steps, "step", step_id)
    refuse_removed_step(step_id, steps.iloc[row].to_dict())
    return row, _positions(steps, steps["sequence_id"].iloc[row])


def _positions(steps: pd.DataFrame, sequence_id: int) -> Positions:
    live = (steps["position"] != NULL) & (steps["removed_at"] == NULL)
    own = steps[live & (steps["sequence_id"] == sequence_id)]
    return dict(zip(own["id"].tolist(), own["position"].tolist(), strict=True))


def _placed(steps: pd.DataFrame, positions: Positions) -> pd.DataFrame:
    """Return steps of which some have other positions."""
    known = steps["position"].to_numpy()
    placed = [positions.get(key, at) for key, at in zip(steps["id"], known, strict=True)]
    return steps.assign(position=np.array(placed, dtype=known.dtype))
