"""Counts back into contacts: first in, first out within a stage and mailbox.

The i-th chain to become ready for a stage takes the i-th place that the counts have there. Since
up to every day no more leave than have become ready, each gets a day on or after its own.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement, first_days
from sendplan.planner.model.counts import Counts, Demand, Pairs
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE


def demand(instance: Instance, limits: Limits, placement: Placement, pairs: Pairs) -> Demand:
    """Count the chains that a placement leaves unfinished, by where they stand.

    Parameters
    ----------
    instance, limits
        The work and what may be used.
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
    chain, stage = _unfinished(instance, placement)
    day = first_days(instance, limits, placement)[chain]
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
        The work and what may be used.
    placement : Placement
        What stood when the demand was counted; changed in place.
    pairs : Pairs
        Stages and mailboxes.
    counts : Counts
        The decision.
    """
    stages, chains = instance.stages, instance.chains
    chain, stage = _unfinished(instance, placement)
    day = first_days(instance, limits, placement)[chain]
    email = chains.offset[chain] + placement.placed(instance)[chain]
    alive = np.ones(len(chain), dtype=bool)
    tables = (_by_stage(pairs, counts.free, len(stages.step)), _by_pair(counts.bound))
    for remaining in range(int(stages.remaining.max(initial=0)), 0, -1):
        here = np.flatnonzero(alive & (stages.remaining[stage] == remaining))
        free = placement.mailbox[chain[here]] == NONE
        for group, table in zip((here[free], here[~free]), tables, strict=True):
            if not len(group):
                continue
            at = stage[group]
            queue = at
            if table.mailbox is None:
                queue = pairs.number[at, placement.mailbox[chain[group]]]
            order = np.lexsort((day[group], queue))
            group, queue = group[order], queue[order]
            place, found = table.places(queue)
            alive[group[~found]] = False
            group, place = group[found], place[found]
            placement.day[email[group]] = table.day[place]
            if table.mailbox is not None:
                placement.mailbox[chain[group]] = table.mailbox[place]
            following = stages.following[stage[group]]
            alive[group[following == NONE]] = False
            group, following = group[following != NONE], following[following != NONE]
            day[group] = limits.release[following, placement.day[email[group]]]
            stage[group] = following
            email[group] += 1


class _Places:
    """Places by queue, each queue's in order of days."""

    def __init__(self, begins: np.ndarray, day: np.ndarray, mailbox: np.ndarray | None) -> None:
        self.begins, self.day, self.mailbox = begins, day, mailbox

    def places(self, queue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place of each of sorted queuers, and whether there is one."""
        first = np.searchsorted(queue, queue)
        place = self.begins[queue] + np.arange(len(queue)) - first
        return place, place < self.begins[queue + 1]


def _by_pair(count: np.ndarray) -> _Places:
    pair, day = np.nonzero(count)
    times = count[pair, day]
    begins = np.append(0, np.cumsum(np.bincount(pair, times, len(count)).astype(np.int64)))
    return _Places(begins, np.repeat(day, times), None)


def _by_stage(pairs: Pairs, count: np.ndarray, stages: int) -> _Places:
    pair, day = np.nonzero(count)
    order = np.lexsort((pairs.mailbox[pair], day, pairs.stage[pair]))
    pair, day = pair[order], day[order]
    times = count[pair, day]
    stage = pairs.stage[pair]
    begins = np.append(0, np.cumsum(np.bincount(stage, times, stages).astype(np.int64)))
    return _Places(begins, np.repeat(day, times), np.repeat(pairs.mailbox[pair], times))


def _unfinished(instance: Instance, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Return the chains with emails left to place, and the stage at which each stands."""
    placed = placement.placed(instance)
    chain = np.flatnonzero(placed < np.diff(instance.chains.offset))
    email = instance.chains.offset[chain] + placed[chain]
    return chain, instance.emails.stage[email]
