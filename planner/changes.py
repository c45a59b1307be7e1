"""Changes of mailboxes, steps, sequences and contacts, as values.

A change says in one line what becomes different, as in ``RemoveMailbox(5)``. It has two faces:
``problem.with_(change)`` gives the problem that would be left (`sendplan.planner.revision`), and
`sendplan.io.changes.apply.apply` makes the same change in the tables. Values are checked when a
change is made, and what they meet when it is applied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sendplan.planner import refusals
from sendplan.planner.change import UNCHANGED, Change, Setting, Unchanged
from sendplan.planner.contact_changes import StopContacts, SuppressContact
from sendplan.planner.schema.errors import ProblemError
from sendplan.planner.schema.known_names import country_faults, zone_faults
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MAX_STEPS, MailboxStatus
from sendplan.planner.study_changes import AddMailboxes, Arrivals, DaysOff, ScaleCapacities

__all__ = [
    "UNCHANGED",
    "AddMailbox",
    "AddMailboxes",
    "AddStep",
    "Arrivals",
    "Change",
    "DaysOff",
    "LinkMailbox",
    "MoveStep",
    "RemoveMailbox",
    "RemoveStep",
    "ScaleCapacities",
    "SetMailbox",
    "SetSequence",
    "SetStep",
    "StopContacts",
    "SuppressContact",
    "UnlinkMailbox",
]

Row = Mapping[Any, Any]
"""Canonical values by column."""


# ---------------------------------------------------------------- mailboxes


@dataclass(frozen=True, repr=False)
class AddMailbox(Change):
    """A new mailbox, or a removed one of the same address brought back with these settings.

    Parameters
    ----------
    daily_capacity : int
        Emails a day at most.
    sequence_ids : iterable of int
        The sequences that it sends for. A mailbox brought back sends for these only, or for
        those it had if none is given.
    email : str, optional
        Its address; the tables need one.
    min_gap_seconds, ramp_start, ramp_increment, ramp_from
        As in the table.
    user_id, transport : optional
        For the tables only; a mailbox brought back keeps its own unless they are given.
    """

    WHERE = "new mailbox"
    TABLE = "mailboxes"
    VALUES = (
        "daily_capacity", "email", "min_gap_seconds", "ramp_start", "ramp_increment", "ramp_from"
    )  # fmt: skip
    TEXTS = ("transport",)

    daily_capacity: int
    sequence_ids: Iterable[int] = ()
    email: str | None = None
    min_gap_seconds: int = 0
    ramp_start: int | None = None
    ramp_increment: int | None = None
    ramp_from: Any = None
    user_id: int | None = None
    transport: str | None = None

    def _refuse(self) -> None:
        _refuse_half_a_ramp(self.where, self.columns)


@dataclass(frozen=True, repr=False)
class RemoveMailbox(Change):
    """A mailbox taken out of use for good; its links stay."""

    WHERE = "mailbox {mailbox_id}"

    mailbox_id: int


@dataclass(frozen=True, repr=False)
class SetMailbox(Setting):
    """New settings of a mailbox; with a status it is paused or resumed.

    Parameters
    ----------
    mailbox_id : int
    daily_capacity, min_gap_seconds : int, optional
    ramp_start, ramp_increment, ramp_from : optional
        None for all three takes a ramp away.
    status : str, optional
        A word of `MailboxStatus`.
    transport : str, optional
        For the tables only.
    """

    WHERE = "mailbox {mailbox_id}"
    TABLE = "mailboxes"
    VALUES = (
        "daily_capacity", "min_gap_seconds", "ramp_start", "ramp_increment", "ramp_from", "status"
    )  # fmt: skip
    TEXTS = ("transport",)

    mailbox_id: int
    daily_capacity: int | Unchanged = UNCHANGED
    min_gap_seconds: int | Unchanged = UNCHANGED
    ramp_start: int | Unchanged | None = UNCHANGED
    ramp_increment: int | Unchanged | None = UNCHANGED
    ramp_from: Any = UNCHANGED
    status: str | Unchanged = UNCHANGED
    transport: str | Unchanged = UNCHANGED

    def refuse_for(self, row: Row) -> None:
        """Refuse what does not fit the mailbox as it is."""
        if row["status"] == MailboxStatus.REMOVED:
            raise refusals.removed_mailbox(self.mailbox_id)
        if not {"ramp_start", "ramp_from"}.isdisjoint(self.columns):
            _refuse_half_a_ramp(self.where, {**row, **self.columns})


def _refuse_half_a_ramp(where: str, row: Row) -> None:
    if (row["ramp_start"] == NULL) != (row["ramp_from"] == NULL):
        raise refusals.half_a_ramp(where)


@dataclass(frozen=True, repr=False)
class LinkMailbox(Change):
    """A mailbox that sends for one sequence more."""

    WHERE = "mailbox {mailbox_id} of sequence {sequence_id}"

    sequence_id: int
    mailbox_id: int


@dataclass(frozen=True, repr=False)
class UnlinkMailbox(Change):
    """A mailbox that sends for a sequence no longer."""

    WHERE = "mailbox {mailbox_id} of sequence {sequence_id}"

    sequence_id: int
    mailbox_id: int


# ---------------------------------------------------------------- steps


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
    VALUES = ("wait_days", "position")
    TEXTS = ("subject", "content")

    sequence_id: int
    wait_days: int
    position: int | None = None
    subject: str | None = None
    content: str | None = None
    reopen: bool = False

    def place(self, count: int, last: int) -> int:
        """Return the position in a sequence of `count` steps, whose last one is at `last`."""
        if count >= MAX_STEPS:
            raise refusals.too_many_steps(self.sequence_id)
        position = int(self.columns["position"])
        if position > last + 1:
            raise refusals.out_of_place(self.where, position, last + 1)
        return last + 1 if position == NULL else position


@dataclass(frozen=True, repr=False)
class RemoveStep(Change):
    """A step that is sent to nobody any more; those behind it move up."""

    WHERE = "step {step_id}"

    step_id: int


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
    VALUES = ("position",)

    step_id: int
    position: int

    def _refuse(self) -> None:
        if self.columns["position"] == NULL:
            raise self.fault("position", "a value is missing", self.position, "Fill it in")

    def place(self, last: int) -> int:
        """Return the position in a sequence whose last step is at `last`."""
        position = int(self.columns["position"])
        if position > last:
            raise refusals.out_of_place(self.where, position, last)
        return position


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
    TABLE = "steps"
    VALUES = ("wait_days",)
    TEXTS = ("subject", "content")

    step_id: int
    wait_days: int | Unchanged = UNCHANGED
    subject: str | Unchanged = UNCHANGED
    content: str | Unchanged = UNCHANGED


# ---------------------------------------------------------------- sequences


@dataclass(frozen=True, repr=False)
class SetSequence(Setting):
    """New settings of a sequence; with a status it is paused or resumed.

    Parameters
    ----------
    sequence_id : int
    start_time, end_time : time or str, optional
    timezone : str, optional
    send_days : iterable of int, optional
        ISO weekdays.
    holidays : str or None, optional
        A country code; None for no holidays.
    wait_unit : str, optional
        A word of `WaitUnit`.
    priority : float, optional
    max_new_per_day : int or None, optional
        None for no limit.
    status : str, optional
        A word of `SequenceStatus`.
    unsubscribe_url : str or None, optional
        For the tables only; None for no link.
    """

    WHERE = "sequence {sequence_id}"
    TABLE = "sequences"
    VALUES = (
        "start_time", "end_time", "timezone", "send_days", "holidays", "wait_unit", "priority",
        "max_new_per_day", "status",
    )  # fmt: skip
    TEXTS = ("unsubscribe_url",)
    NULLABLE = TEXTS

    sequence_id: int
    start_time: Any = UNCHANGED
    end_time: Any = UNCHANGED
    timezone: str | Unchanged = UNCHANGED
    send_days: Iterable[int] | Unchanged = UNCHANGED
    holidays: str | Unchanged | None = UNCHANGED
    wait_unit: str | Unchanged = UNCHANGED
    priority: float | Unchanged = UNCHANGED
    max_new_per_day: int | Unchanged | None = UNCHANGED
    status: str | Unchanged = UNCHANGED
    unsubscribe_url: str | Unchanged | None = UNCHANGED

    def _refuse(self) -> None:
        super()._refuse()
        zone, country = (
            pd.Series([self.columns.get(name)], dtype=object) for name in ("timezone", "holidays")
        )
        faults = [*zone_faults(f"{self.where}, timezone", zone)]
        faults += country_faults(f"{self.where}, holidays", country)
        if faults:
            raise ProblemError(faults)
        if {"start_time", "end_time"} <= set(self.columns):
            self.refuse_for({})

    def refuse_for(self, row: Row) -> None:
        """Refuse what does not fit the sequence as it is."""
        window = {**row, **self.columns}
        if window["end_time"] <= window["start_time"]:
            raise refusals.window_upside_down(self.sequence_id)
