"""Changes of mailboxes and of the sequences that they send for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sendplan.planner.changes.change import UNCHANGED, Change, Row, Setting, Unchanged
from sendplan.planner.changes.refusals import refuse_half_a_ramp, refuse_removed_mailbox
from sendplan.planner.changes.rows import appended, linked, named, next_id, row_of, with_values
from sendplan.planner.problem.problem import Frames, Problem
from sendplan.planner.schema.vocabulary import MailboxStatus


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
        refuse_half_a_ramp(self.where, self.columns)

    def brought_back(self, found: Iterable[tuple[int, str]]) -> int | None:
        """Return the id of the removed mailbox that comes back, or None for a new one.

        Parameters
        ----------
        found : iterable of (int, str)
            Id and status of every mailbox that has the address, in capital or small letters.

        Raises
        ------
        ProblemError
            If one of them is not removed.
        """
        removed = []
        for mailbox_id, status in found:
            if status != MailboxStatus.REMOVED:
                rule = f"{self.email} is mailbox {mailbox_id}"
                remedy = f"change mailbox {mailbox_id}, or remove it first"
                raise self.refused(rule, remedy, "email")
            removed.append(mailbox_id)
        return removed[0] if removed else None

    def revise(self, problem: Problem) -> Frames:
        """Append the mailbox or bring it back, and link it."""
        mailboxes, links = problem.mailboxes, problem.sequence_mailboxes
        named(problem.sequences, "sequence", self.sequence_ids)
        values = {**self.columns, "status": str(MailboxStatus.ACTIVE)}
        mailbox_id = self.brought_back(_of_address(mailboxes, self.email))
        if mailbox_id is None:
            mailbox_id = next_id(mailboxes)
            mailboxes = appended(mailboxes, [{"id": mailbox_id, **values}])
        else:
            # The address stays as it was written: threads know it.
            del values["email"]
            mailboxes = with_values(mailboxes, row_of(mailboxes, "mailbox", mailbox_id), values)
            if self.sequence_ids:
                links = links[(links["mailbox_id"] != mailbox_id).to_numpy()]
        fresh = [{"sequence_id": key, "mailbox_id": mailbox_id} for key in self.sequence_ids]
        return {"mailboxes": mailboxes, "sequence_mailboxes": linked(links, fresh)}


@dataclass(frozen=True, repr=False)
class RemoveMailbox(Change):
    """A mailbox taken out of use for good; its links stay."""

    WHERE = "mailbox {mailbox_id}"

    mailbox_id: int

    def revise(self, problem: Problem) -> Frames:
        """Mark the mailbox as removed."""
        row = row_of(problem.mailboxes, "mailbox", self.mailbox_id)
        removed = {"status": str(MailboxStatus.REMOVED)}
        return {"mailboxes": with_values(problem.mailboxes, row, removed)}


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
    TABLE, NOUN = "mailboxes", "mailbox"

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
        refuse_removed_mailbox(self.mailbox_id, row["status"])
        if not {"ramp_start", "ramp_from"}.isdisjoint(self.columns):
            refuse_half_a_ramp(self.where, {**row, **self.columns})


@dataclass(frozen=True, repr=False)
class LinkMailbox(Change):
    """A mailbox that sends for one sequence more."""

    WHERE = "mailbox {mailbox_id} of sequence {sequence_id}"

    sequence_id: int
    mailbox_id: int

    def refuse_for(self, row: Row) -> None:
        """Refuse what does not fit the mailbox as it is."""
        refuse_removed_mailbox(self.mailbox_id, row["status"])

    def revise(self, problem: Problem) -> Frames:
        """Add the link, unless it is there."""
        row_of(problem.sequences, "sequence", self.sequence_id)
        row = row_of(problem.mailboxes, "mailbox", self.mailbox_id)
        self.refuse_for(problem.mailboxes.iloc[row].to_dict())
        link = {"sequence_id": self.sequence_id, "mailbox_id": self.mailbox_id}
        return {"sequence_mailboxes": linked(problem.sequence_mailboxes, [link])}


@dataclass(frozen=True, repr=False)
class UnlinkMailbox(Change):
    """A mailbox that sends for a sequence no longer."""

    WHERE = "mailbox {mailbox_id} of sequence {sequence_id}"

    sequence_id: int
    mailbox_id: int

    def revise(self, problem: Problem) -> Frames:
        """Drop the link, if it is there."""
        row_of(problem.sequences, "sequence", self.sequence_id)
        row_of(problem.mailboxes, "mailbox", self.mailbox_id)
        links = problem.sequence_mailboxes
        gone = (links["sequence_id"] == self.sequence_id) & (links["mailbox_id"] == self.mailbox_id)
        return {"sequence_mailboxes": links[~gone].reset_index(drop=True)}


def _of_address(mailboxes: pd.DataFrame, email: str | None) -> Iterator[tuple[int, str]]:
    """Yield id and status of the mailboxes that have an address, in any case of its letters."""
    if email is not None:
        same = mailboxes["email"].str.lower() == email.lower()
        yield from mailboxes.loc[same, ["id", "status"]].itertuples(index=False, name=None)
