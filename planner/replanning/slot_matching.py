"""Matching: contacts that are interchangeable keep the places they had.

A method decides how many contacts of a cohort take which path, not which contacts. One that has a
slot on such a path is given that path, so that no email moves needlessly.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.grouping import numbered, rank
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE

_ELSEWHERE = -2
"""Stands for the mailbox of a chain whose slots are spread over several."""


def match(instance: Instance, limits: Limits, placement: Placement) -> None:
    """Give each chain of a cohort the way that shares most with its existing slots.

    Ways are told apart by the mailbox and as many days as they have in common from the first on:
    whole ways are matched first, then those that part before the last email, and so on. Contacts
    that share their days with other chains keep what they were given.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place; how many emails leave which mailbox on which day stays as it is.
    """
    emails, chains = instance.emails, instance.chains
    if not (emails.existing_day != NONE).any():
        return
    count, width = len(chains), instance.stages.path.shape[1]
    shape = (count, width)
    before, after = np.full(shape, NONE), np.full(shape, NONE)
    before[emails.chain, emails.order] = emails.existing_day
    after[emails.chain, emails.order] = placement.day
    cohort = numbered([chains.stage, limits.first_release, chains.mailbox, chains.window])
    # A contact that shares its days with other chains is a cohort of its own.
    alone = limits.shared != NONE
    cohort[alone] = count + np.flatnonzero(alone)
    sender = _sender(instance)
    taken = np.full(count, NONE)
    chain, way = np.arange(count), np.arange(count)
    both = np.append(cohort, cohort), np.append(sender, placement.mailbox)
    prefixes = [numbered(both)]
    for column in range(width):
        prefixes.append(numbered([prefixes[-1], np.append(before[:, column], after[:, column])]))
    for prefix in prefixes[:0:-1]:
        one, other = _pairs(prefix[:count][chain], prefix[count:][way])
        taken[chain[one]] = way[other]
        chain, way = np.delete(chain, one), np.delete(way, other)
    # The others take what is left, in the order of their existing slots.
    taken[chain[np.lexsort((chain, before[chain, 0], cohort[chain]))]] = way[
        np.lexsort((way, after[way, 0], cohort[way]))
    ]
    placement.mailbox[:] = placement.mailbox[taken]
    placement.day[:] = after[taken[emails.chain], emails.order]


def _sender(instance: Instance) -> np.ndarray:
    """Return the mailbox of each chain's existing slots."""
    emails, head = instance.emails, instance.chains.offset[:-1]
    sender = emails.existing_mailbox[head].copy()
    known = emails.existing_mailbox != NONE
    differs = known & (emails.existing_mailbox != sender[emails.chain])
    sender[emails.chain[differs]] = _ELSEWHERE
    sender[sender == NONE] = _ELSEWHERE
    return np.asarray(sender)


def _pairs(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of keys that are equal, each in one pair at most."""
    size = max(len(one), len(other)) + 1
    mine, theirs = one * size + rank(one), other * size + rank(other)
    _, first, second = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return first, second
