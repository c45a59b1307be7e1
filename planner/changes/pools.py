"""Sequences that share mailboxes, and what each such group has left to send."""

import numpy as np
import pandas as pd

from sendplan.planner.model.components import mailbox_components
from sendplan.planner.model.instance import goes_on
from sendplan.planner.model.mailbox_capacity import fleet_of
from sendplan.planner.problem.enrollment_state import EnrollmentState, enrollment_state
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.vocabulary import MailboxStatus


def usual_capacity(problem: Problem) -> int:
    """Return the median daily capacity of the active mailboxes; 50 where there is none."""
    mailboxes = problem.mailboxes
    active = mailboxes["daily_capacity"][mailboxes["status"] == MailboxStatus.ACTIVE]
    return int(active.median()) if len(active) else 50


class Pools:
    """Sequences that share mailboxes, with the emails that they have left and what sends them.

    Parameters
    ----------
    problem : Problem
        The problem.

    Attributes
    ----------
    of_sequence : ndarray of int, shape (sequences,)
        Number of each sequence's pool, from 0.
    emails, capacity : ndarray of int, shape (pools,)
        Emails left, and emails a day that the active mailboxes may send.
    """

    def __init__(self, problem: Problem) -> None:
        self._ids = problem.sequences["id"].to_numpy()
        state = enrollment_state(problem)
        pools = fleet_of(problem, state).pools
        # The numbers that `sendplan.planner.studies.deadline` gives them, too.
        self.of_sequence = mailbox_components(pools)
        count = int(self.of_sequence.max(initial=-1)) + 1
        size = problem.mailboxes["daily_capacity"].to_numpy()
        self.capacity = np.zeros(count, dtype=np.int64)
        for pool in range(count):
            members = [pools[place] for place in np.flatnonzero(self.of_sequence == pool)]
            self.capacity[pool] = size[np.unique(np.concatenate(members))].sum()
        self.emails = np.zeros(count, dtype=np.int64)
        np.add.at(self.emails, self.of_sequence, _emails_left(problem, state))

    def __len__(self) -> int:
        """Return the number of pools."""
        return len(self.emails)

    def sequence_ids(self, pool: int) -> np.ndarray:
        """Return the sequences of a pool."""
        return np.asarray(self._ids[self.of_sequence == pool])

    def shared_out(self, count: int, daily_capacity: int) -> list[int]:
        """Return the pool of each new mailbox: the one with most emails left for its capacity."""
        capacity = self.capacity.astype(float)
        chosen = []
        for _ in range(count if len(self) else 0):
            # A pool with no capacity at all needs a mailbox first, if it has anything to send.
            load = np.divide(self.emails, capacity, out=np.zeros(len(self)), where=capacity > 0)
            load = np.where((capacity == 0) & (self.emails > 0), np.inf, load)
            pool = int(load.argmax())
            capacity[pool] += max(daily_capacity, 1)
            chosen.append(pool)
        return chosen


def _emails_left(problem: Problem, state: EnrollmentState) -> np.ndarray:
    """Return how many emails each sequence has left to send, blocked ones included."""
    sequences = problem.sequences
    sequence = pd.Index(sequences["id"]).get_indexer(problem.enrollments["sequence_id"])
    wanted = goes_on(problem, state, sequence)
    masks, inverse = np.unique(state.remaining, return_inverse=True)
    left = np.array([int(mask).bit_count() for mask in masks], dtype=np.int64)[inverse]
    result = np.zeros(len(sequences), dtype=np.int64)
    np.add.at(result, sequence[wanted], left[wanted])
    return result
