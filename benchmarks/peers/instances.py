"""The instances that all peers plan, and what of them every peer may look up.

They are of the reference kind, in its plain form: no minimum gaps, no ramps, no limit on new
contacts, none in two sequences. No peer but sendplan knows those rules, so that none of them is
judged by one it does not know.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.synthetic import instances as synthetic

CONTACTS_PER_OWNER = 5_000

_LABEL = re.compile(r"(\d+)x(\d+)(?:x(\d+))?(-tight)?")


@dataclass(frozen=True)
class Size:
    """How large an instance is; `tight` makes every capacity a quarter."""

    contacts: int
    mailboxes: int
    owners: int
    tight: bool = False

    @classmethod
    def parse(cls, label: str) -> "Size":
        """Read ``CONTACTSxMAILBOXES``, ``…xOWNERS`` and ``-tight`` where wanted.

        Parameters
        ----------
        label : str
            Such as ``500x4`` or ``100x2-tight``. By default there is one owner for every 5,000
            contacts.

        Raises
        ------
        ValueError
            If the label is of another form.
        """
        match = _LABEL.fullmatch(label)
        if match is None:
            raise ValueError(
                f"size {label!r}: write CONTACTSxMAILBOXES, such as 500x4 or 20x2-tight"
            )
        contacts, mailboxes = int(match[1]), int(match[2])
        owners = int(match[3]) if match[3] else max(1, contacts // CONTACTS_PER_OWNER)
        return cls(contacts, mailboxes, owners, match[4] is not None)

    def __str__(self) -> str:
        """Return the label that `parse` reads."""
        return f"{self.contacts}x{self.mailboxes}x{self.owners}{'-tight' if self.tight else ''}"


@dataclass(frozen=True)
class PeerInstance:
    """One instance, as frames and as validated problem."""

    size: Size
    frames: dict[str, pd.DataFrame]
    problem: Problem

    @classmethod
    def build(cls, size: Size, seed: int = 0) -> "PeerInstance":
        """Make the instance of a size."""
        frames = synthetic.reference(
            size.contacts, size.mailboxes, size.owners, seed=seed, tight=size.tight
        )
        known = {name: frame for name, frame in frames.items() if name != "contacts"}
        return cls(size, frames, Problem.from_frames(**known, now=synthetic.REFERENCE_NOW))


@dataclass(frozen=True)
class Terms:
    """An instance as arrays, and its cost as a sum over emails, each by its own day alone.

    The days that a peer decides about end at `last`; one more, the `sink`, takes whatever is left
    and has capacity for all. Days behind it count as the sink, so that no plan becomes dearer:
    what is proven of this sum is proven of all plans, however long they take.

    Parameters
    ----------
    work, limits
        The build_instance and the hard rules.
    last : int
        Last day that is looked at.
    open_days : ndarray of bool, shape (stages, last + 2)
        Sending days of the stage's sequence, and the sink.
    ready, release : ndarray of int, shape (stages, last + 2)
        Ready day and first possible day of a stage's email by the day of the email before it.
    first_release : ndarray of int, shape (chains,)
        First possible day of the chain's next email.
    cost : ndarray of float, shape (stages, last + 2)
        What an email of the stage that leaves on the day adds. A slip is the difference of two
        days, each of which one email answers for: the follow-up pays for its own day, and the
        email before it is paid for the ready day that it gives.
    constant : float
        What has to be added to the sum.
    """

    work: Instance
    limits: Limits
    last: int
    open_days: np.ndarray
    ready: np.ndarray
    release: np.ndarray
    first_release: np.ndarray
    cost: np.ndarray
    constant: float

    @property
    def sink(self) -> int:
        """The day that takes what is left."""
        return self.last + 1

    @classmethod
    def of(cls, problem: Problem) -> "Terms":
        """Work out the terms of a problem."""
        parameters = Parameters(method="greedy")
        work = build_instance(problem)
        limits = limits_of(work, parameters)
        stages, chains, emails = work.stages, work.chains, work.emails
        last = _days_to_look_at(work, limits)
        sink = last + 1
        days = np.arange(sink + 1)
        open_days = stages.sends[:, : sink + 1].copy()
        open_days[:, sink] = True
        ready, release = (
            np.where(days == sink, sink, np.minimum(table[:, : sink + 1], sink))
            for table in (stages.ready, limits.release)
        )
        priority = problem.sequences["priority"].to_numpy(dtype=np.float64)[stages.sequence]
        slip = parameters.slip_weight * ~stages.is_first
        cost = priority[:, None] * (1 + slip[:, None]) * days
        goes_on = stages.following >= 0
        after = stages.following[goes_on]
        cost[goes_on] -= (priority * slip)[after, None] * ready[after]
        begun = (priority * slip)[chains.stage] * np.minimum(chains.ready, sink)
        constant = -float(begun.sum() + (emails.priority * np.minimum(emails.ideal, sink)).sum())
        first_release = np.minimum(limits.first_release, sink)
        return cls(work, limits, last, open_days, ready, release, first_release, cost, constant)

    def earliest(self) -> np.ndarray:
        """Return the first possible day of every email, by its chain alone; shape (emails,)."""
        emails = self.work.emails
        day = np.empty(len(emails), dtype=np.int64)
        day[self.work.chains.offset[:-1]] = self.first_release
        for number in range(1, int(emails.order.max(initial=0)) + 1):
            at = np.flatnonzero(emails.order == number)
            day[at] = self.release[emails.stage[at], day[at - 1]]
        return day


def _days_to_look_at(work: Instance, limits: Limits) -> int:
    """Return a last day by which every chain ends in any sensible plan.

    By the day on which the capacity of a pool would suffice if all were ready at once, the last
    chain may only just have begun: it is given as long as the longest chain takes.
    """
    emails, stages = work.emails, work.stages
    longest = int((emails.ideal - work.chains.ready[emails.chain]).max(initial=0))
    end = int(emails.ideal.max(initial=1))
    sequence = stages.sequence[emails.stage]
    pools = {tuple(pool): pool for pool in work.fleet.pools}
    for key, pool in pools.items():
        members = [place for place, other in enumerate(work.fleet.pools) if tuple(other) == key]
        sends = stages.sends[np.isin(stages.sequence, members), : limits.last + 1].any(axis=0)
        room = np.cumsum(limits.room[pool, : limits.last + 1].sum(axis=0) * sends)
        enough = int(np.searchsorted(room, np.isin(sequence, members).sum()))
        end = max(end, enough + longest)
    return min(end, limits.last)
