"""Placements: the day and mailbox of every email, and what capacity a placement leaves.

A `Placement` is what a method decides; the minutes follow from it.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE


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
    def empty(cls, instance: Instance) -> "Placement":
        """Return a placement of nothing, with bound threads at their mailbox."""
        return cls(np.full(len(instance.emails), NONE), instance.chains.mailbox.copy())

    def copy(self) -> "Placement":
        """Return another one with the same days and mailboxes."""
        return Placement(self.day.copy(), self.mailbox.copy())

    def placed(self, instance: Instance) -> np.ndarray:
        """Return how many emails of each chain have a day; shape (chains,)."""
        return np.bincount(instance.emails.chain[self.day != NONE], minlength=len(instance.chains))

    def load(self, instance: Instance) -> np.ndarray:
        """Return how many emails leave each mailbox on each day; shape (mailboxes, days)."""
        result = np.zeros(instance.fleet.capacity.shape, dtype=np.int64)
        email = np.flatnonzero(self.day != NONE)
        np.add.at(result, (self.mailbox[instance.emails.chain[email]], self.day[email]), 1)
        return result

    def cut(self, instance: Instance, email: np.ndarray) -> None:
        """Take emails out, with all that follow them in their chains.

        Parameters
        ----------
        instance : Instance
            The instance.
        email : ndarray of int
            Emails to take out.
        """
        chains = instance.chains
        first = np.full(len(chains), np.iinfo(np.int64).max)
        np.minimum.at(first, instance.emails.chain[email], instance.emails.order[email])
        out = instance.emails.order >= first[instance.emails.chain]
        self.day[out] = NONE
        self.mailbox[first == 0] = chains.mailbox[first == 0]


@dataclass
class ResidualCapacity:
    """What is left to use once a placement stands.

    Parameters
    ----------
    mailbox, new : ndarray of int
        Emails by mailbox and day, first emails by sequence and day, that may still leave.
    busy : ndarray of bool
        Days used by shared contacts, see `Limits`.
    closed : ndarray of bool, shape (mailboxes, windows, days), or None
        Where min_gap_seconds leaves no room for one more email of a window; None: nowhere.
    """

    mailbox: np.ndarray
    new: np.ndarray
    busy: np.ndarray
    closed: np.ndarray | None = None

    @classmethod
    def beside(cls, instance: Instance, limits: Limits, placement: Placement) -> "ResidualCapacity":
        """Return the room that a placement leaves."""
        room = cls(limits.room.copy(), limits.new_room.copy(), limits.busy.copy())
        room.mailbox[:, limits.last + 1 :] = 0
        room.take(instance, limits, placement, np.flatnonzero(placement.day != NONE))
        return room

    def take(
        self, instance: Instance, limits: Limits, placement: Placement, email: np.ndarray
    ) -> None:
        """Use the room of emails that have just been placed."""
        chain, stage, day = (
            instance.emails.chain[email],
            instance.emails.stage[email],
            placement.day[email],
        )
        np.subtract.at(self.mailbox, (placement.mailbox[chain], day), 1)
        first = instance.stages.is_first[stage]
        np.subtract.at(self.new, (instance.stages.sequence[stage[first]], day[first]), 1)
        known = limits.shared[chain] != NONE
        self.busy[limits.shared[chain[known]], day[known]] = True


def unfinished(
    instance: Instance, limits: Limits, placement: Placement
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the chains with emails left to place, and where each goes on.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        What stands already; emails of a chain are placed from its beginning.

    Returns
    -------
    chain, email, day : ndarray of int
        The chains, the next email of each, and the first day on which that may leave.
    """
    placed = placement.placed(instance)
    chain = np.flatnonzero(placed < np.diff(instance.chains.offset))
    email = instance.chains.offset[chain] + placed[chain]
    day = limits.first_release[chain]
    begun = placed[chain] > 0
    behind = email[begun]
    day[begun] = limits.release[instance.emails.stage[behind], placement.day[behind - 1]]
    return chain, email, day
