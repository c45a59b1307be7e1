"""Counts back into contacts: first in, first out within a stage and mailbox.

The i-th chain to become ready for a stage takes the i-th place that the counts have there. Since
up to every day no more leave than have become ready, each gets a day on or after its own.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement, unfinished
from sendplan.planner.model.counts import Counts, Demand, Pairs
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE


def demand(instance: Instance, limits: Limits, placement: Placement, pairs: Pairs) -> Demand:
    """Count the chains that a placement leaves unfinished, by where they stand.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        What stands already.
    pairs : Pairs
        Stages and mailboxes.

    Returns
    -------
    Demand
        Chains by stage, mailbox and first possible day.
    """
    size = instance.problem.horizon.size
    chain, email, day = unfinished(instance, limits, placement)
    stage = instance.emails.stage[email]
    mailbox = placement.mailbox[chain]
    given = mailbox != NONE
    bound = np.zeros((len(pairs.stage), size), dtype=np.int64)
    np.add.at(bound, (pairs.number[stage[given], mailbox[given]], day[given]), 1)
    free = np.zeros((len(instance.stages.step), size), dtype=np.int64)
    np.add.at(free, (stage[~given], day[~given]), 1)
    return Demand(bound, free)


def assign(
    instance: Instance, limits: Limits, placement: Placement, pairs: Pairs, counts: Counts
) -> None:
    """Give the counted places to chains.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        What stood when the demand was counted; changed in place.
    pairs : Pairs
        Stages and mailboxes.
    counts : Counts
        The decision.
    """
    stages = instance.stages
    chain, email, day = unfinished(instance, limits, placement)
    stage = instance.emails.stage[email]
    alive = np.ones(len(chain), dtype=bool)
    tables = (
        _Places(counts.free, pairs.stage, pairs.mailbox, len(stages.step)),
        _Places(counts.bound, np.arange(len(pairs.stage)), pairs.mailbox, len(pairs.stage)),
    )
    for remaining in range(int(stages.remaining.max(initial=0)), 0, -1):
        here = np.flatnonzero(alive & (stages.remaining[stage] == remaining))
        free = placement.mailbox[chain[here]] == NONE
        number = pairs.number[stage, placement.mailbox[chain]]
        for group, queue, table in zip(
            (here[free], here[~free]), (stage, number), tables, strict=True
        ):
            group = group[np.lexsort((day[group], queue[group]))]
            place, found = table.places(queue[group])
            alive[group[~found]] = False
            group, place = group[found], place[found]
            placement.day[email[group]] = table.day[place]
            placement.mailbox[chain[group]] = table.mailbox[place]
            following = stages.following[stage[group]]
            alive[group[following == NONE]] = False
            group, following = group[following != NONE], following[following != NONE]
            day[group] = limits.release[following, placement.day[email[group]]]
            stage[group] = following
            email[group] += 1


class _Places:
    """The places that counts by pair and day have for each queue, in order of days.

    Parameters
    ----------
    count : ndarray of int, shape (pairs, days)
        Emails that leave.
    queue, mailbox : ndarray of int, shape (pairs,)
        Queue and mailbox of each pair.
    queues : int
        Number of queues.
    """

    def __init__(
        self, count: np.ndarray, queue: np.ndarray, mailbox: np.ndarray, queues: int
    ) -> None:
        pair, day = np.nonzero(count)
        order = np.lexsort((mailbox[pair], day, queue[pair]))
        pair, day = pair[order], day[order]
        times = count[pair, day]
        size = np.bincount(queue[pair], times, queues).astype(np.int64)
        self.begins = np.append(0, np.cumsum(size))
        self.day, self.mailbox = np.repeat(day, times), np.repeat(mailbox[pair], times)

    def places(self, queue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of each entry of sorted queues, and whether there is one."""
        place = self.begins[queue] + np.arange(len(queue)) - np.searchsorted(queue, queue)
        return place, place < self.begins[queue + 1]
