"""Changes of contacts: suppressed, or stopped for what they or their servers said."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.changes.change import Change
from sendplan.planner.changes.rows import named, with_values
from sendplan.planner.problem.problem import Frames, Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import SUPPRESSING, EnrollmentStatus, StopReason


@dataclass(frozen=True, repr=False)
class SuppressContact(Change):
    """A contact that is sent nothing any more, in any sequence.

    Parameters
    ----------
    contact_id : int
        One without an enrollment in a problem has nothing to be sent there: nothing changes.
    reason : str, optional
        For the tables only.
    """

    WHERE = "contact {contact_id}"

    contact_id: int
    reason: str | None = None

    def _refuse(self) -> None:
        if not isinstance(self.reason, str | None):
            raise self.refused("must hold text", "correct it", "reason", self.reason)

    def revise(self, problem: Problem) -> Frames:
        """Suppress the contact in all of its enrollments."""
        own = (problem.enrollments["contact_id"] == self.contact_id).to_numpy()
        return _revised(problem, _suppressed(problem.enrollments, own, problem.now))


@dataclass(frozen=True, repr=False)
class StopContacts(Change):
    """Contacts who replied, bounced or unsubscribed: their active enrollments are stopped.

    Those who bounced or unsubscribed are suppressed as well, and get nothing of any sequence.

    Parameters
    ----------
    contact_ids : iterable of int
        Those without an enrollment in a problem have nothing to be sent there: nothing changes.
    reason : str
        A word of `StopReason`.
    sequence_ids : iterable of int, optional
        The sequences to which they replied; by default all of theirs.
    """

    WHERE = "contacts to stop"

    contact_ids: Iterable[int]
    reason: str
    sequence_ids: Iterable[int] | None = None

    @property
    def suppresses(self) -> bool:
        """Whether the contacts are suppressed as well."""
        return self.reason in SUPPRESSING

    def _refuse(self) -> None:
        known = [str(reason) for reason in StopReason]
        if self.reason not in known:
            remedy = f"use one of {', '.join(known)}"
            raise self.refused("is unknown", remedy, "reason", self.reason)
        self._put("reason", str(self.reason))
        if self.suppresses and self.sequence_ids is not None:
            rule = f"{self.reason} contacts are stopped in every sequence"
            raise self.refused(rule, "leave sequence_ids out", "sequence_ids")

    def revise(self, problem: Problem) -> Frames:
        """Stop enrollments; emails of stopped ones are not planned, so they stay as they are."""
        people, sequences = problem.enrollments, problem.sequences
        chosen = sequences["id"][named(sequences, "sequence", self.sequence_ids)]
        own = people["contact_id"].isin(list(self.contact_ids)).to_numpy()
        stopped = own & (people["status"] == EnrollmentStatus.ACTIVE).to_numpy()
        stopped &= people["sequence_id"].isin(chosen).to_numpy()
        if stopped.any():
            people = with_values(people, stopped, {"status": str(EnrollmentStatus.STOPPED)})
        if self.suppresses:
            people = _suppressed(people, own, problem.now)
        return _revised(problem, people)


def _suppressed(people: pd.DataFrame, own: np.ndarray, now: int) -> pd.DataFrame:
    """Return enrollments suppressed where a mask says so, and since the first time."""
    fresh = own & (people["suppressed_at"] == NULL).to_numpy()
    return with_values(people, fresh, {"suppressed_at": now}) if fresh.any() else people


def _revised(problem: Problem, people: pd.DataFrame) -> Frames:
    return {} if people is problem.enrollments else {"enrollments": people}
