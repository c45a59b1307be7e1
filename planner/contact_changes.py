"""Changes of contacts, as values; part of `sendplan.planner.changes`."""

from collections.abc import Iterable
from dataclasses import dataclass

from sendplan.planner.change import Change
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.vocabulary import SUPPRESSING, StopReason


@dataclass(frozen=True, repr=False)
class SuppressContact(Change):
    """A contact to whom nothing is sent any more, in any sequence.

    Parameters
    ----------
    contact_id : int
        One without an enrollment in a problem has nothing to be sent there: nothing changes.
    reason : str, optional
        For the tables only.
    """

    WHERE = "contact {contact_id}"
    TEXTS = ("reason",)

    contact_id: int
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class StopContacts(Change):
    """Contacts who replied, bounced or unsubscribed: their active enrollments are stopped.

    Whoever bounced or unsubscribed is suppressed as well, and gets nothing of any sequence.

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
            raise self.fault("reason", "is unknown", self.reason, f"Use one of {', '.join(known)}")
        self._put("reason", str(self.reason))
        if self.suppresses and self.sequence_ids is not None:
            rule = f"whoever {self.reason} is stopped in every sequence"
            remedy = "Leave sequence_ids out"
            raise ProblemError([Fault(f"{self.where}, sequence_ids", rule, [], remedy)])
