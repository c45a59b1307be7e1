"""Mailboxes: what they may send, and what of it is used."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.problem.enrollment_state import EnrollmentState
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema.dates import DAY, SECOND
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MailboxStatus

UNLIMITED = np.iinfo(np.int32).max // 4
"""More room than any plan can use, yet safe to add and subtract."""


@dataclass(frozen=True)
class MailboxCapacity:
    """The mailboxes and what of them is used already.

    Parameters
    ----------
    capacity, used : ndarray of int, shape (mailboxes, days)
        Emails that may leave, ramp included, and emails that have left or are in flight.
    gap : ndarray of int64, shape (mailboxes,)
        min_gap_seconds.
    pools : list of ndarray of int
        Active mailboxes linked to each sequence.
    taken : list of ndarray of int64
        For each mailbox, the sorted moments at which emails have left or are about to.
    planned : ndarray of int, shape (mailboxes, days)
        Slots that an earlier plan gave.
    """

    capacity: np.ndarray
    used: np.ndarray
    gap: np.ndarray
    pools: list[np.ndarray]
    taken: list[np.ndarray]
    planned: np.ndarray


def fleet_of(problem: Problem, state: EnrollmentState) -> MailboxCapacity:
    """Work out what the mailboxes may still send.

    Parameters
    ----------
    problem : Problem
        Mailboxes, links, and days already used.
    state : EnrollmentState
        History.

    Returns
    -------
    MailboxCapacity
        With ramps applied; min_gap_seconds is not yet.
    """
    horizon = problem.horizon
    mailboxes = problem.mailboxes
    days = horizon.origin + np.arange(horizon.last + 1)
    ramp_from = mailboxes["ramp_from"].to_numpy()[:, None]
    ramp_start = mailboxes["ramp_start"].to_numpy()[:, None]
    increment = mailboxes["ramp_increment"].to_numpy()[:, None]
    ramps = (ramp_from != NULL) & (ramp_start != NULL)
    growth = np.where(increment == NULL, 0, increment) * np.maximum(days - ramp_from, 0)
    limit = np.where(ramps, ramp_start + growth, UNLIMITED)
    capacity = np.minimum(mailboxes["daily_capacity"].to_numpy()[:, None], limit)

    index, count = pd.Index(mailboxes["id"]), len(mailboxes)
    rows, given = state.rows, problem.used
    row_mailbox = index.get_indexer(rows["mailbox_id"])
    used = horizon.totals(count, row_mailbox, rows["day"].to_numpy())
    of_given = index.get_indexer(given["mailbox_id"])
    used += horizon.totals(count, of_given, given["send_day"].to_numpy(), given["used"].to_numpy())

    active = (mailboxes["status"] == MailboxStatus.ACTIVE).to_numpy()
    links = problem.sequence_mailboxes.drop_duplicates()
    link_mailbox = index.get_indexer(links["mailbox_id"])
    link_sequence = pd.Index(problem.sequences["id"]).get_indexer(links["sequence_id"])
    pools = [
        np.sort(link_mailbox[(link_sequence == place) & active[link_mailbox]])
        for place in range(len(problem.sequences))
    ]
    gap = mailboxes["min_gap_seconds"].to_numpy()
    near = rows["time"].to_numpy() > (horizon.origin - 1) * DAY - gap.max(initial=0) * SECOND
    taken = [np.zeros(0, dtype=np.int64)] * len(mailboxes)
    for place in np.unique(row_mailbox[near & (row_mailbox >= 0)]):
        if gap[place] > 0:
            taken[place] = np.sort(rows["time"].to_numpy()[near & (row_mailbox == place)])
    slots = problem.scheduled_emails[has_slot(problem)]
    of_slot = index.get_indexer(slots["mailbox_id"])
    planned = horizon.totals(count, of_slot, slots["send_day"].to_numpy())
    return MailboxCapacity(np.minimum(capacity, UNLIMITED), used, gap, pools, taken, planned)
