"""Telling contacts apart: chains that counts cannot stand for get stages of their own.

Chains of one contact must not meet on a day, and some windows do not exist on some dates. A chain
that such a rule concerns is followed by itself, as a stage with one chain, where there are few of
them; where there are many, the rule is mended when counts have become contacts.
"""

from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.model.components import connected
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE, Stages

MOST_LANES = 1_500
"""Commodities that the chains told apart in one component may have in all."""


@dataclass(frozen=True)
class SingleChains:
    """The work with some chains told apart.

    Parameters
    ----------
    instance : Instance
        The same chains and emails, with more stages.
    contact : ndarray of int, shape (stages,)
        The contact whose days the stage's emails use up, `NONE` for counted ones.
    component : ndarray of int, shape (sequences,)
        Component of each sequence: those that share mailboxes, or contacts that are told apart.
    email : ndarray of int, shape (stages,)
        The email that is a stage's only one, `NONE` for counted ones.
    """

    instance: Instance
    contact: np.ndarray
    component: np.ndarray
    email: np.ndarray

    def whole(self) -> np.ndarray:
        """Tell in which components every chain is told apart; shape (components,)."""
        chains, stages = self.instance.chains, self.instance.stages
        whole = np.ones(int(self.component.max(initial=0)) + 1, dtype=bool)
        counted = chains.stage[self.email[chains.stage] == NONE]
        whole[self.component[stages.sequence[counted]]] = False
        return whole


def told_apart(instance: Instance, limits: Limits, *, everybody: bool = False) -> SingleChains:
    """Give stages of their own to the chains that need them, component by component.

    Parameters
    ----------
    instance, limits
        The work and what may be used.
    everybody : bool
        Whether all chains need them.

    Returns
    -------
    SingleChains
        A component with too many such chains is left as it is.
    """
    chains, stages, pools = instance.chains, instance.stages, instance.fleet.pools
    sequence = stages.sequence[chains.stage]
    mailbox = np.concatenate([*pools, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    linked = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    needs = np.ones(len(chains), dtype=bool) if everybody else _in_need(instance, limits)
    size = np.array([len(pool) for pool in pools], dtype=np.int64)
    network = stages.remaining[chains.stage] * size[sequence]
    while True:
        component = connected(
            len(pools), [(linked, mailbox), (sequence[needs], chains.contact[needs])]
        )
        total = np.bincount(component[sequence], network * needs, int(component.max(initial=0)) + 1)
        crowded = (total > MOST_LANES)[component[sequence]] & needs
        if not crowded.any():
            break
        needs &= ~crowded
    if not needs.any():
        nobody = np.full(len(stages.step), NONE)
        return SingleChains(instance, nobody, component, nobody)
    return _refined(instance, limits, np.flatnonzero(needs), component)


def _in_need(instance: Instance, limits: Limits) -> np.ndarray:
    """Return the chains that share their contact's days, or a day on which they cannot send."""
    chains = instance.chains
    days = np.arange(limits.busy.shape[1])
    several = np.bincount(chains.contact)[chains.contact] > 1
    needs = several & (limits.shared != NONE)
    unusable = ~np.pad(instance.windows.usable, ((0, 0), (0, 1)), constant_values=True)
    last_unusable = np.where(unusable, days, NONE).max(axis=1)
    needs |= last_unusable[chains.window] > limits.first_release
    last_busy = np.where(limits.busy, days, NONE).max(axis=1)
    known = limits.shared != NONE
    needs[known] |= last_busy[limits.shared[known]] > limits.first_release[known]
    return np.asarray(needs)


def _refined(
    instance: Instance, limits: Limits, singles: np.ndarray, component: np.ndarray
) -> SingleChains:
    stages, chains = instance.stages, instance.chains
    before = len(stages.step)
    length = stages.remaining[chains.stage[singles]]
    chain = np.repeat(singles, length)
    number = np.arange(len(chain)) - np.repeat(np.cumsum(length) - length, length)
    old = stages.path[chains.stage[chain], number] if len(chain) else chain
    new = before + np.arange(len(chain))
    last = number + 1 == np.repeat(length, length)
    path = np.full((len(chain), stages.path.shape[1]), NONE)
    for ahead in range(path.shape[1]):
        there = number + ahead < np.repeat(length, length)
        path[there, ahead] = new[there] + ahead
    sends = stages.sends[old].copy()
    sends[:, :-1] &= instance.windows.usable[chains.window[chain]]
    known = limits.shared[chain] != NONE
    sends[known] &= ~limits.busy[limits.shared[chain[known]]]
    refined = Stages(
        sequence=np.append(stages.sequence, stages.sequence[old]),
        step=np.append(stages.step, stages.step[old]),
        following=np.append(stages.following, np.where(last, NONE, new + 1)),
        remaining=np.append(stages.remaining, stages.remaining[old]),
        is_first=np.append(stages.is_first, stages.is_first[old]),
        path=np.concatenate([stages.path, path]),
        ready=np.concatenate([stages.ready, stages.ready[old]]),
        sends=np.concatenate([stages.sends, sends]),
    )
    stage = chains.stage.copy()
    stage[chain[number == 0]] = new[number == 0]
    of_email = instance.emails.stage.copy()
    of_email[chains.offset[chain] + number] = new
    contact = np.full(before + len(chain), NONE)
    several = (np.bincount(chains.contact)[chains.contact] > 1) & (limits.shared != NONE)
    contact[new] = np.where(several[chain], chains.contact[chain], NONE)
    email = np.full(before + len(chain), NONE)
    email[new] = chains.offset[chain] + number
    return SingleChains(
        replace(
            instance,
            stages=refined,
            chains=replace(chains, stage=stage),
            emails=replace(instance.emails, stage=of_email),
        ),
        contact,
        component,
        email,
    )
