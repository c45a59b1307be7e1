"""Placements: the day and mailbox of every email, and what capacity a placement leaves.

A `Placement` is what a method decides; the minutes follow from it.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules
from sendplan.planner.model.step_classes import NONE


@dataclass
class Placement:
    """A day for every email and a mailbox for every chain.

    Parameters
    ----------
    day : ndarray of int, shape (emails,)
        Index of the day, or `NONE`.
    mailbox : ndarray of int, shape (chains,)
        Place of the mailbox, or `NONE` as long as none is chosen.
    """

    day: np.ndarray
    mailbox: np.ndarray

    @classmethod
    def empty(cls, work: Workload) -> "Placement":
        """Return a placement of nothing, with bound threads at their mailbox."""
        return cls(np.full(len(work.emails), NONE), work.chains.mailbox.copy())

    def copy(self) -> "Placement":
        """Return another one with the same days and mailboxes."""
        return Placement(self.day.copy(), self.mailbox.copy())

    def placed(self, work: Workload) -> np.ndarray:
        """Return how many emails of each chain have a day; shape (chains,)."""
        return np.bincount(work.emails.chain[self.day != NONE], minlength=len(work.chains))

    def load(self, work: Workload) -> np.ndarray:
        """Return how many emails leave each mailbox on each day; shape (mailboxes, days)."""
        result = np.zeros(work.fleet.capacity.shape, dtype=np.int64)
        email = np.flatnonzero(self.day != NONE)
        np.add.at(result, (self.mailbox[work.emails.chain[email]], self.day[email]), 1)
        return result

    def cut(self, work: Workload, email: np.ndarray) -> None:
        """Take emails out, with all that follow them in their chains.

        Parameters
        ----------
        work : Workload
            The work.
        email : ndarray of int
            Emails to take out.
        """
        chains = work.chains
        first = np.full(len(chains), np.iinfo(np.int64).max)
        np.minimum.at(first, work.emails.chain[email], work.emails.order[email])
        out = work.emails.order >= first[work.emails.chain]
        self.day[out] = NONE
        self.mailbox[first == 0] = chains.mailbox[first == 0]


@dataclass
class Room:
    """What is left to use once a placement stands.

    Parameters
    ----------
    mailbox, new : ndarray of int
        Emails by mailbox and day, first emails by sequence and day, that may still leave.
    busy : ndarray of bool
        Days used by shared contacts, see `Rules`.
    closed : ndarray of bool, shape (mailboxes, windows, days), or None
        Where min_gap_seconds leaves no room for one more email of a window; None: nowhere.
    """

    mailbox: np.ndarray
    new: np.ndarray
    busy: np.ndarray
    closed: np.ndarray | None = None

    @classmethod
    def beside(cls, work: Workload, rules: Rules, placement: Placement) -> "Room":
        """Return the room that a placement leaves."""
        room = cls(rules.room.copy(), rules.new_room.copy(), rules.busy.copy())
        room.mailbox[:, rules.last + 1 :] = 0
        room.take(work, rules, placement, np.flatnonzero(placement.day != NONE))
        return room

    def take(self, work: Workload, rules: Rules, placement: Placement, email: np.ndarray) -> None:
        """Use the room of emails that have just been placed."""
        chain, stage, day = work.emails.chain[email], work.emails.stage[email], placement.day[email]
        np.subtract.at(self.mailbox, (placement.mailbox[chain], day), 1)
        first = work.stages.is_first[stage]
        np.subtract.at(self.new, (work.stages.sequence[stage[first]], day[first]), 1)
        known = rules.shared[chain] != NONE
        self.busy[rules.shared[chain[known]], day[known]] = True


def first_days(work: Workload, rules: Rules, placement: Placement) -> np.ndarray:
    """Return the first day on which each chain's next unplaced email may leave.

    Parameters
    ----------
    work, rules
        The work and what may be used.
    placement : Placement
        What stands already; emails of a chain are placed from its beginning.

    Returns
    -------
    ndarray of int, shape (chains,)
        Day indices; of no meaning for chains that are placed whole.
    """
    placed = placement.placed(work)
    result = rules.first_release.copy()
    going = np.flatnonzero((placed > 0) & (placed < np.diff(work.chains.offset)))
    email = work.chains.offset[going] + placed[going]
    result[going] = rules.release[work.emails.stage[email], placement.day[email - 1]]
    return result
