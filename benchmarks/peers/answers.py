"""What a peer hands back, and how a plan of days becomes one that keeps every rule."""

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.benchmarks.peers.instances import Terms
from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.first_fit import insert
from sendplan.planner.schema import dates


class PeerError(Exception):
    """A peer has no plan to show; the message says why, `bound` what it has proven even so."""

    def __init__(self, message: str, bound: float | None = None) -> None:
        super().__init__(message)
        self.bound = bound


@dataclass(frozen=True)
class Answer:
    """A plan, as a peer made it.

    Parameters
    ----------
    sends : DataFrame
        enrollment_id, step_id, mailbox_id and send_day of every email that has a slot.
    bound : float or None
        What the peer has proven that every plan costs; None where it has proven nothing.
    status : str
        What the peer says about it.
    mended : int
        Emails that the peer left unplaced or placed against a rule, and `mend` has placed.
    """

    sends: pd.DataFrame
    bound: float | None
    status: str
    mended: int = 0


class Clock:
    """How much of a time limit is left."""

    def __init__(self, limit: float) -> None:
        self._end = time.monotonic() + limit

    def left(self, doing: str) -> float:
        """Return the seconds that are left.

        Parameters
        ----------
        doing : str
            What the peer is about to do.

        Raises
        ------
        PeerError
            If none are.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise PeerError(f"out of time {doing}")
        return seconds


def answer(terms: Terms, placement: Placement, bound: float | None, status: str) -> Answer:
    """Mend a placement and turn it into an answer; changes the placement."""
    mended = mend(terms, placement)
    return Answer(sends_of(terms, placement), bound, status, mended)


def mend(terms: Terms, placement: Placement) -> int:
    """Take out what breaks order or capacity, and put all without a day where capacity is left.

    Parameters
    ----------
    terms : Terms
        The instance.
    placement : Placement
        Changed in place.

    Returns
    -------
    int
        The number of emails that it has placed.
    """
    work, limits = terms.work, terms.limits
    emails = work.emails
    placement.cut(work, np.flatnonzero(placement.day == NONE))
    day = placement.day
    behind = emails.order > 0
    first = terms.first_release[emails.chain]
    before = np.roll(day, 1)
    first[behind] = limits.release[emails.stage[behind], before[behind]]
    sends = work.stages.sends[emails.stage, day]
    placement.cut(work, np.flatnonzero((day != NONE) & ((day < first) | ~sends)))
    placement.cut(work, _crowded(terms, placement))
    wanting = placement.day == NONE
    if wanting.any():
        insert(work, limits, placement, ResidualCapacity.beside(work, limits, placement))
    return int((wanting & (placement.day != NONE)).sum())


def _crowded(terms: Terms, placement: Placement) -> np.ndarray:
    """Return the emails above the capacity of their mailbox and day, longer chains first."""
    emails = terms.work.emails
    placed = np.flatnonzero(placement.day != NONE)
    mailbox, day = placement.mailbox[emails.chain[placed]], placement.day[placed]
    order = np.lexsort((placed, emails.order[placed], day, mailbox))
    key = (mailbox * terms.limits.room.shape[1] + day)[order]
    number = np.arange(len(key)) - np.searchsorted(key, key)
    over = number >= terms.limits.room[mailbox[order], day[order]]
    return np.asarray(placed[order][over])


def sends_of(terms: Terms, placement: Placement) -> pd.DataFrame:
    """Return the emails that have a day, in terms of the tables."""
    work = terms.work
    emails, chains, problem = work.emails, work.chains, work.problem
    email = np.flatnonzero(placement.day != NONE)
    chain = emails.chain[email]
    step = work.stages.step[emails.stage[email]]
    return pd.DataFrame(
        {
            "enrollment_id": problem.enrollments["id"].to_numpy()[chains.enrollment[chain]],
            "step_id": problem.live_steps["id"].to_numpy()[step],
            "mailbox_id": problem.mailboxes["id"].to_numpy()[placement.mailbox[chain]],
            "send_day": dates.to_dates(placement.day[email] + problem.horizon.origin).to_numpy(),
        }
    )
