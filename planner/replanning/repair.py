"""Repair: an existing plan put right after a change, with as few emails moved as it is worth.

1. Chains that cannot stay take their cheapest way through the room that is left, threads under
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
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.replanning.chain_insertion import NEVER, Board

TRIES = 400
SHARE = 0.1
"""How many chains may ask others to yield: so many, and this share of all chains."""

ROUNDS = 4
"""How often those who slip ask again, at most."""

REFRESH = 10
"""Places that change hands before what yielding costs is worked out anew."""


def repair(work: Workload, rules: Rules, parameters: Parameters, placement: Placement) -> None:
    """Complete a placement that a change has left with gaps; others move only for its sake.

    Parameters
    ----------
    work, rules, parameters
        The work, what it may use, and how is planned.
    placement : Placement
        The existing slots that can stay (`sendplan.planner.replanning.incumbent`); changed in
        place. What finds no way within the days in use is left open.
    """
    if not len(work.chains):
        return
    board = Board(work, rules, parameters, placement)
    displaced = ~board.complete()
    _settle(board, np.flatnonzero(displaced))
    # Who has not begun waits for a start that suits, and makes nobody else move.
    _ask_to_yield(board, displaced & ~board.first)
    if _go_forward(board):
        _go_forward(board)


def _settle(board: Board, displaced: np.ndarray) -> None:
    """Put chains that lack days on their cheapest ways; what finds none keeps what it had."""
    chains, rules = board.work.chains, board.rules
    groups = board.alike(displaced)
    heads = np.array([group[0] for group in groups], dtype=np.int64)
    order = np.lexsort(
        (
            rules.first_release[heads],
            board.had_day[heads, 0],
            -rules.urgency[chains.stage[heads]],
            board.first[heads],
        )
    )
    for place in order:
        _settle_anew(board, groups[place])


def _settle_anew(board: Board, alike: np.ndarray) -> None:
    mailbox, days = board.placement.mailbox[alike], board.days_of(alike)
    board.lift(alike)
    left = board.settle(alike)
    kept = np.isin(alike, left)
    board.put(left, mailbox[kept], days[kept])


def _ask_to_yield(board: Board, may_ask: np.ndarray) -> None:
    """Let chains that slip, or have no way, take the place of some that have not begun."""
    component = components(board.work)
    for part in np.unique(component[may_ask]):
        members = np.flatnonzero(component == part)
        tries = TRIES + int(SHARE * len(members))
        for _ in range(ROUNDS):
            waiting = _waiting(board)
            asking = members[(waiting[members] > 0) & may_ask[members]]
            asking = asking[np.argsort(-waiting[asking], kind="stable")][:tries]
            tries -= len(asking)
            if not len(asking) or not _Yielding(board, members).serve(asking):
                break


def _waiting(board: Board) -> np.ndarray:
    """Return what the slip of each chain weighs; infinite for those without a whole way."""
    waiting = np.bincount(board.work.emails.chain, _slip(board), len(board.length))
    waiting[~board.complete()] = np.inf
    return np.asarray(waiting)


def _slip(board: Board) -> np.ndarray:
    """Return what the slip of each email weighs; 0 for those without a day."""
    work, day = board.work, board.placement.day
    emails, stages = work.emails, work.stages
    before = np.roll(day, 1)
    ready = work.chains.ready[emails.chain]
    behind = emails.order > 0
    ready[behind] = stages.ready[emails.stage[behind], before[behind]]
    follows = ~stages.is_first[emails.stage] & (day != NONE)
    return np.asarray(np.where(follows, emails.priority * np.maximum(day - ready, 0), 0.0))


class _Yielding:
    """Chains that have not begun, in groups of one way, and what it costs to put them off."""

    def __init__(self, board: Board, members: np.ndarray) -> None:
        self.board, self.able = board, members[board.first[members]]
        self._look()

    def _look(self) -> None:
        board, chains = self.board, self.board.work.chains
        able = (chains.mailbox[self.able] == NONE) & board.complete()[self.able]
        self.members = board.alike(self.able[able])
        self.head = np.array([group[0] for group in self.members], dtype=np.int64)
        self.used = np.zeros(len(self.head), dtype=np.int64)
        self.gone = np.zeros(len(self.head), dtype=bool)
        self.box = board.placement.mailbox[self.head]
        self.days = board.days_of(self.head)
        self.changes = 0
        self._estimate()

    def _estimate(self) -> None:
        """Work out what each group's next member costs more, elsewhere than where it stands."""
        board, chains = self.board, self.board.work.chains
        number = numbered([chains.stage[self.head], board.rules.first_release[self.head]])
        example = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
        example[number] = self.head
        ways = [board.cheapest(int(chain)) for chain in example]
        elsewhere = np.array([NEVER if way is None else way.value for way in ways])
        self.extra = elsewhere[number] - board.value(self.head)

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
        board = self.board
        one = np.array([chain])
        mailbox, days = board.placement.mailbox[one], board.days_of(one)
        before = float(board.value(one)[0])
        board.lift(one)
        way = board.cheapest(chain)
        alone = NEVER if way is None else way.value
        group, shared = self._best_group(chain)
        if group == NONE or shared >= min(alone, before) - 1e-9:
            if way is not None and alone < before - 1e-9 and not len(board.settle(one)):
                return True
            board.put(one, mailbox, days)
            return False
        other = self._next(group)
        if other == chain:
            board.put(one, mailbox, days)
            return False
        two = np.array([other])
        their_mailbox, their_days = board.placement.mailbox[two], board.days_of(two)
        together = before + float(board.value(two)[0])
        board.lift(two)
        board.settle(one)
        board.settle(two)
        after = float(board.value(np.append(one, two)).sum())
        if after < together - 1e-9:
            return True
        board.lift(np.append(one, two))
        board.put(two, their_mailbox, their_days)
        board.put(one, mailbox, days)
        return False

    def _best_group(self, chain: int) -> tuple[int, float]:
        """Return the group whose yielding costs least with what the chain costs then."""
        board = self.board
        near = np.flatnonzero(np.isin(self.box, board.pool(chain)) & ~self.gone)
        if not len(near):
            return NONE, NEVER
        room = board.room.mailbox[self.box[near], : board.days].copy()
        row, column = np.nonzero(self.days[near] != NONE)
        np.add.at(room, (row, self.days[near][row, column]), 1)
        costs = board.steps(chain, self.box[near], room > 0)[0].min(axis=1)
        costs += self.extra[near] - board.constant(chain)
        best = int(costs.argmin())
        return int(near[best]), float(costs[best])

    def _next(self, group: int) -> int:
        """Return the group's next member that stands where the group stood."""
        member = int(self.members[group][self.used[group]])
        self.used[group] += 1
        self.gone[group] = self.used[group] == len(self.members[group])
        return member


def _go_forward(board: Board) -> bool:
    """Put late chains on cheaper ways, those first that gain most; tell whether any moved."""
    chain = np.flatnonzero(board.complete())
    value = np.zeros(len(board.length))
    value[chain] = board.value(chain)
    groups = board.alike(np.flatnonzero(value > 0))
    groups.sort(key=lambda group: -value[group[0]] / board.length[group[0]])
    moved = False
    for group in groups:
        mailbox, days = board.placement.mailbox[group], board.days_of(group)
        board.lift(group)
        board.settle(group)
        stays = (board.placement.mailbox[group] == mailbox) & (board.days_of(group) == days).all(
            axis=1
        )
        if stays.all():
            continue
        if float(board.value(group).sum()) < float(value[group].sum()) - 1e-9:
            moved = True
            continue
        board.lift(group)
        board.put(group, mailbox, days)
    return moved
