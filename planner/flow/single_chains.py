"""Single chains: chains that counts cannot stand for, as commodities of their own.

Counts know no contact. So a chain gets a commodity of its own where its contact, who may get one
email a day, has another chain, or where it cannot send on some day on which others of its stage
can. Where there are too many such chains, they stay counted, and placements are repaired.
"""

from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.model.components import connected
from sendplan.planner.model.grouping import rank
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE, Stages

MAX_COMMODITIES = 1_500
"""Most commodities of single chains in one component."""


@dataclass(frozen=True)
class SingleChains:
    """An instance in which some chains have stages of their own.

    Parameters
    ----------
    instance : Instance
        The same chains and emails, with more stages.
    contact : ndarray of int, shape (stages,)
        Contact of a single chain that shares its contact with others, else `NONE`.
    component : ndarray of int, shape (sequences,)
        Component of each sequence: one for all that share mailboxes, or contacts of single chains.
    email : ndarray of int, shape (stages,)
        Email of a single chain that the stage stands for, else `NONE`.
    """

    instance: Instance
    contact: np.ndarray
    component: np.ndarray
    email: np.ndarray

    def all_single(self) -> np.ndarray:
        """Tell in which components every chain is single; ndarray of bool, shape (components,)."""
        chains, stages = self.instance.chains, self.instance.stages
        single = np.ones(int(self.component.max(initial=0)) + 1, dtype=bool)
        counted = chains.stage[self.email[chains.stage] == NONE]
        single[self.component[stages.sequence[counted]]] = False
        return single


def single_out_chains(
    instance: Instance, limits: Limits, *, every_chain: bool = False
) -> SingleChains:
    """Give chains stages of their own where counts cannot stand for them.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    every_chain : bool
        Whether all chains get them.

    Returns
    -------
    SingleChains
        Components in which that takes more than `MAX_COMMODITIES` stay as they are.
    """
    chains, stages, pools = instance.chains, instance.stages, instance.fleet.pools
    sequence = stages.sequence[chains.stage]
    mailbox = np.concatenate([*pools, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    linked = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    single = np.ones(len(chains), dtype=bool) if every_chain else _needed(instance, limits)
    size = np.array([len(pool) for pool in pools], dtype=np.int64)
    commodities = stages.remaining[chains.stage] * size[sequence]
    while True:
        component = connected(
            len(pools), [(linked, mailbox), (sequence[single], chains.contact[single])]
        )
        total = np.bincount(component[sequence], commodities * single)
        crowded = (total > MAX_COMMODITIES)[component[sequence]] & single
        if not crowded.any():
            break
        single &= ~crowded
    if not single.any():
        none = np.full(len(stages.step), NONE)
        return SingleChains(instance, none, component, none)
    return _refined(instance, limits, np.flatnonzero(single), component)


def _needed(instance: Instance, limits: Limits) -> np.ndarray:
    """Tell which chains share their contact, or cannot send on some day on which they might."""
    chains = instance.chains
    days = np.arange(limits.busy.shape[1])
    single = _shares_contact(instance, limits)
    unusable = ~np.pad(instance.windows.usable, ((0, 0), (0, 1)), constant_values=True)
    last_unusable = np.where(unusable, days, NONE).max(axis=1)
    single |= last_unusable[chains.window] > limits.first_release
    last_busy = np.where(limits.busy, days, NONE).max(axis=1)
    known = limits.shared != NONE
    single[known] |= last_busy[limits.shared[known]] > limits.first_release[known]
    return np.asarray(single)


def _shares_contact(instance: Instance, limits: Limits) -> np.ndarray:
    contact = instance.chains.contact
    return np.asarray((np.bincount(contact)[contact] > 1) & (limits.shared != NONE))


def _refined(
    instance: Instance, limits: Limits, singles: np.ndarray, component: np.ndarray
) -> SingleChains:
    """Append stages for the emails of single chains, with the days that are open to each."""
    stages, chains = instance.stages, instance.chains
    before = len(stages.step)
    length = stages.remaining[chains.stage[singles]]
    chain = np.repeat(singles, length)
    number = rank(chain)
    old = stages.path[chains.stage[chain], number] if len(chain) else chain
    new = before + np.arange(len(chain))
    last = number + 1 == np.repeat(length, length)
    email = chains.offset[chain] + number
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
    of_email[email] = new
    shares = _shares_contact(instance, limits)[chain]
    contact = np.append(np.full(before, NONE), np.where(shares, chains.contact[chain], NONE))
    email_of = np.append(np.full(before, NONE), email)
    return SingleChains(
        replace(
            instance,
            stages=refined,
            chains=replace(chains, stage=stage),
            emails=replace(instance.emails, stage=of_email),
        ),
        contact,
        component,
        email_of,
    )
