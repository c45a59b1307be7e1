"""Repair: an existing plan put right after a change, with as few emails moved as it is worth.

1. Chains that cannot stay take their cheapest path through the room that is left, threads under
   way first.
2. A chain that still slips, or found no way, takes the place of one that yields: a contact that
   has received nothing yet, and whose start is put off. Which one is chosen together with the way,
   by what both cost then.
3. Where room has come free, chains that are late go forward, those that gain most first.

What a move costs is part of every comparison, so that an email stays where it is unless moving it
is worth more than `change_weight`.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.components import components
from sendplan.planner.model.grouping import numbered
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.objective import NEVER, slip_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.replanning.chain_insertion import ChainInsertion

TRIES, SHARE = 400, 0.1
"""How many chains may ask others to yield: a number, plus a share of the component's chains."""

YIELD_ROUNDS = 4
"""How often chains that slip ask again, at most."""

REFRESH = 10
"""Places that change hands before what yielding costs is worked out anew."""


def repair(
    instance: Instance, limits: Limits, parameters: Parameters, placement: Placement
) -> None:
    """Complete a placement that a change has left with gaps; others move only for its sake.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    placement : Placement
        The existing slots that can stay (`sendplan.planner.replanning.incumbent`); changed in
        place. What finds no way within the days in use is left open.
    """
    if not len(instance.chains):
        return
    insertion = ChainInsertion(instance, limits, parameters, placement)
    displaced = ~insertion.complete()
    _settle(insertion, np.flatnonzero(displaced))
    # A chain that has not begun waits for a start that suits, and makes no other move.
    _ask_to_yield(insertion, displaced & ~insertion.first)
    if _go_forward(insertion):
        _go_forward(insertion)


def _settle(insertion: ChainInsertion, displaced: np.ndarray) -> None:
    """Put chains that lack days on their cheapest paths; what finds none keeps what it had."""
    chains, limits = insertion.instance.chains, insertion.limits
    groups = insertion.alike(displaced)
    heads = np.array([group[0] for group in groups], dtype=np.int64)
    order = np.lexsort(
        (
            limits.first_release[heads],
            insertion.had_day[heads, 0],
            -limits.urgency[chains.stage[heads]],
            insertion.first[heads],
        )
    )
    for place in order:
        _settle_anew(insertion, groups[place])


def _settle_anew(insertion: ChainInsertion, alike: np.ndarray) -> None:
    mailbox, days = insertion.lift(alike)
    left = insertion.settle(alike)
    kept = np.isin(alike, left)
    insertion.put(left, mailbox[kept], days[kept])


def _ask_to_yield(insertion: ChainInsertion, may_ask: np.ndarray) -> None:
    """Let chains that slip, or have no way, take the place of some that have not begun."""
    component = components(insertion.instance)
    for part in np.unique(component[may_ask]):
        members = np.flatnonzero(component == part)
        tries = TRIES + int(SHARE * len(members))
        for _ in range(YIELD_ROUNDS):
            waiting = _waiting(insertion)
            asking = members[(waiting[members] > 0) & may_ask[members]]
            asking = asking[np.argsort(-waiting[asking], kind="stable")][:tries]
            tries -= len(asking)
            if not len(asking) or not _Yielding(insertion, members).serve(asking):
                break


def _waiting(insertion: ChainInsertion) -> np.ndarray:
    """Return what the slip of each chain weighs; infinite for those without a whole way."""
    waiting = np.bincount(insertion.instance.emails.chain, _slip(insertion), len(insertion.length))
    waiting[~insertion.complete()] = np.inf
    return np.asarray(waiting)


def _slip(insertion: ChainInsertion) -> np.ndarray:
    """Return what the slip of each email weighs; 0 for those without a day."""
    day = insertion.placement.day
    slip = insertion.instance.emails.priority * slip_of(insertion.instance, day)
    return np.asarray(np.where(day != NONE, slip, 0.0))


class _Yielding:
    """Chains that have not begun, in groups of one way, and what it costs to put them off."""

    def __init__(self, insertion: ChainInsertion, members: np.ndarray) -> None:
        self.insertion, self.able = insertion, members[insertion.first[members]]
        self._look()

    def _look(self) -> None:
        insertion, chains = self.insertion, self.insertion.instance.chains
        able = (chains.mailbox[self.able] == NONE) & insertion.complete()[self.able]
        self.members = insertion.alike(self.able[able])
        self.head = np.array([group[0] for group in self.members], dtype=np.int64)
        self.used = np.zeros(len(self.head), dtype=np.int64)
        self.gone = np.zeros(len(self.head), dtype=bool)
        self.mailbox = insertion.placement.mailbox[self.head]
        self.days = insertion.days_of(self.head)
        self.changes = 0
        self._estimate()

    def _estimate(self) -> None:
        """Work out what each group's next member costs more, elsewhere than where it stands."""
        insertion, chains = self.insertion, self.insertion.instance.chains
        number = numbered([chains.stage[self.head], insertion.limits.first_release[self.head]])
        example = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
        example[number] = self.head
        paths = [insertion.cheapest(int(chain)) for chain in example]
        elsewhere = np.array([NEVER if path is None else path.value for path in paths])
        self.extra = elsewhere[number] - insertion.value(self.head)

    def serve(self, asking: np.ndarray) -> bool:
        """Serve chains in turn; tell whether any got a better place."""
        served = False
        for chain in asking:
            if not self._serve(int(chain)):
                continue
            served = True
            self.changes += 1
            if self.changes % REFRESH == 0:
                self._look()
        return served

    def _serve(self, chain: int) -> bool:
        insertion = self.insertion
        one = np.array([chain])
        before = float(insertion.value(one)[0])
        slots = insertion.lift(one)
        path = insertion.cheapest(chain)
        alone = NEVER if path is None else path.value
        group, shared = self._best_group(chain)
        if group == NONE or shared >= min(alone, before) - 1e-9:
            if path is not None and alone < before - 1e-9 and not len(insertion.settle(one)):
                return True
            insertion.put(one, *slots)
            return False
        other = self._next(group)
        if other == chain:
            insertion.put(one, *slots)
            return False
        two = np.array([other])
        together = before + float(insertion.value(two)[0])
        their_slots = insertion.lift(two)
        insertion.settle(one)
        insertion.settle(two)
        after = float(insertion.value(np.append(one, two)).sum())
        if after < together - 1e-9:
            return True
        insertion.lift(np.append(one, two))
        insertion.put(two, *their_slots)
        insertion.put(one, *slots)
        return False

    def _best_group(self, chain: int) -> tuple[int, float]:
        """Return the group whose yielding costs least with what the chain costs then."""
        insertion = self.insertion
        near = np.flatnonzero(np.isin(self.mailbox, insertion.pool(chain)) & ~self.gone)
        if not len(near):
            return NONE, NEVER
        room = insertion.room.mailbox[self.mailbox[near], : insertion.days].copy()
        row, column = np.nonzero(self.days[near] != NONE)
        np.add.at(room, (row, self.days[near][row, column]), 1)
        costs = insertion.steps(chain, self.mailbox[near], room > 0)[0].min(axis=1)
        costs += self.extra[near] - insertion.constant(chain)
        best = int(costs.argmin())
        return int(near[best]), float(costs[best])

    def _next(self, group: int) -> int:
        """Return the group's next member that stands where the group stood."""
        member = int(self.members[group][self.used[group]])
        self.used[group] += 1
        self.gone[group] = self.used[group] == len(self.members[group])
        return member


def _go_forward(insertion: ChainInsertion) -> bool:
    """Put late chains on cheaper ways, those first that gain most; tell whether any moved."""
    chain = np.flatnonzero(insertion.complete())
    value = np.zeros(len(insertion.length))
    value[chain] = insertion.value(chain)
    groups = insertion.alike(np.flatnonzero(value > 0))
    groups.sort(key=lambda group: -value[group[0]] / insertion.length[group[0]])
    moved = False
    for group in groups:
        mailbox, days = insertion.lift(group)
        insertion.settle(group)
        stays = (insertion.placement.mailbox[group] == mailbox) & (
            insertion.days_of(group) == days
        ).all(axis=1)
        if stays.all():
            continue
        if float(insertion.value(group).sum()) < float(value[group].sum()) - 1e-9:
            moved = True
        else:
            insertion.lift(group)
            insertion.put(group, mailbox, days)
    return moved
