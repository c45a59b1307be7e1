"""From counts back to people: first in, first out."""

import numpy as np

from sendplan.benchmarks.peers.count_rows import Counts
from sendplan.benchmarks.peers.instances import Terms
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.stages import NONE


def people(terms: Terms, counts: Counts) -> Placement:
    """Give every email that the counts send before the sink its day and mailbox.

    Parameters
    ----------
    terms : Terms
        The instance.
    counts : Counts
        What leaves, of a solution of the count model.

    Returns
    -------
    Placement
        Who comes first leaves first, so that the sum of delays is that of the counts.
    """
    work = terms.work
    chains = work.chains
    placement = Placement.empty(work)
    at = chains.stage.copy()
    day = terms.first_release.copy()
    sent = np.zeros(len(chains), dtype=np.int64)
    for stage in np.argsort(-work.stages.remaining, kind="stable"):
        here = np.flatnonzero(at == stage)
        here = here[np.argsort(day[here], kind="stable")]
        owner = placement.mailbox[here]
        leaving = [
            _leave(here[owner == mailbox], counts.bound[stage, [mailbox]], np.array([mailbox]))
            for mailbox in np.unique(owner[owner != NONE])
        ]
        free = here[owner == NONE]
        leaving.append(_leave(free, counts.free[stage], np.arange(counts.free.shape[1])))
        for chain, mailbox, when in leaving:
            gone = when <= terms.last
            chain, mailbox, when = chain[gone], mailbox[gone], when[gone]
            placement.mailbox[chain] = mailbox
            placement.day[chains.offset[chain] + sent[chain]] = when
            sent[chain] += 1
            after = work.stages.following[stage]
            at[chain] = after
            if after != NONE:
                day[chain] = terms.release[after, when]
    return placement


def _leave(
    chain: np.ndarray, counts: np.ndarray, mailbox: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match chains, in order of precedence, with what leaves, in order of days."""
    row, day = np.nonzero(counts)
    amount = counts[row, day]
    row, day = np.repeat(row, amount), np.repeat(day, amount)
    order = np.lexsort((row, day))[: len(chain)]
    return chain[: len(order)], mailbox[row[order]], day[order]
