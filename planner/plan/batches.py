"""Batches: the changes of a plan, divided so that each batch can be written by itself.

No two batches touch the same mailbox, sequence or contact, so that the slots stored between two
batches keep every hard rule that they kept before.
"""

import numpy as np
import pandas as pd

from sendplan.planner.model.components import connected
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MailboxStatus


def component_batches(problem: Problem, changes: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """Divide the changes of a plan into batches of whole components.

    Components that share a contact are one group, and so are those between which an email moves,
    as after a change of pools. A group is in one batch; small groups fill a batch together, the
    smallest first.

    Parameters
    ----------
    problem : Problem
        The problem.
    changes : DataFrame
        The rows to insert or change, with the int64 columns enrollment_id and old_mailbox_id,
        the mailbox as stored, or `NULL`. The mailbox as planned is one of the sequence's.
    size : int
        Rows of a batch. A group with more is a batch of its own.

    Returns
    -------
    list of DataFrame
        The batches, at least one. Each row of `changes` is in one of them, in the order given.
    """
    if len(changes) <= size:
        return [changes]
    group = _groups(problem, changes)
    rows = np.bincount(group)
    batch_of = np.zeros(len(rows), dtype=np.int64)
    batch = filled = 0
    for each in np.argsort(rows, kind="stable"):
        if filled and filled + rows[each] > size:
            batch, filled = batch + 1, 0
        batch_of[each] = batch
        filled += rows[each]
    of_row = batch_of[group]
    return [changes[of_row == number] for number in range(batch + 1)]


def _groups(problem: Problem, changes: pd.DataFrame) -> np.ndarray:
    """Return the group of each row; rows that share mailboxes or contacts are in one."""
    sequence_ids = pd.Index(problem.sequences["id"])
    enrollments, mailboxes = problem.enrollments, problem.mailboxes
    links = problem.sequence_mailboxes
    sequence = sequence_ids.get_indexer(enrollments["sequence_id"])
    enrollment = pd.Index(enrollments["id"]).get_indexer(changes["enrollment_id"])
    # A removed mailbox is shared only by the emails that leave it.
    removed = mailboxes["id"][mailboxes["status"] == MailboxStatus.REMOVED]
    links = links[~links["mailbox_id"].isin(removed)]
    linked = sequence_ids.get_indexer(links["sequence_id"])
    moving = sequence[enrollment]
    shared = [
        (np.append(linked, moving), np.append(links["mailbox_id"], changes["old_mailbox_id"])),
        (sequence, enrollments["contact_id"].to_numpy()),
    ]
    edges = [(node[key != NULL], pd.factorize(key[key != NULL])[0]) for node, key in shared]
    return np.asarray(connected(len(sequence_ids), edges)[moving])
