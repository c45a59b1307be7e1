"""Claims: what moving slots take and give back of all that there is only so much of.

Each rule that slots of several enrollments can break is a set of *cells* with so much room: the
mailbox-days, the first emails of a sequence's day, the days of a contact, and for min_gap_seconds
the neighbourhood of each new slot. Within a chain nothing can break, since it moves at once.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from sendplan.planner.model.mailbox_capacity import fleet_of
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.moves import Moves, Slots
from sendplan.planner.problem.enrollment_state import Progress, progress
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.readers import NULL

_NEVER = np.iinfo(np.int64).max
FREE = -(2**40)
"""The need of who needs nothing: every cell has as much room."""


@dataclass(frozen=True)
class Entries:
    """What each chain takes and gives, one entry for each cell that it shares.

    Parameters
    ----------
    chain, cell : ndarray of int, shape (entries,)
        Who, and of what.
    need, need_parked : ndarray of int, shape (entries,)
        Room that the cell must have for the chain to move: from its stored slots, or once these
        have been taken away. 0 or less where as many leave as come, which is too much to ask of a
        cell that is overfull; `FREE` where nothing is written.
    give, give_parked : ndarray of int, shape (entries,)
        Room that the cell gains when the chain moves, and when its slots are taken away.
    """

    chain: np.ndarray
    cell: np.ndarray
    need: np.ndarray
    need_parked: np.ndarray
    give: np.ndarray
    give_parked: np.ndarray


@dataclass(frozen=True)
class Claims:
    """Everybody's claims.

    Parameters
    ----------
    chains : int
        How many chains there are.
    entries : Entries
        Chain by chain.
    room : ndarray of int, shape (cells,)
        Room beside all that is stored; below zero where a rule is broken. It allows what the new
        plan wants, so that there is always a way.
    """

    chains: int
    entries: Entries
    room: np.ndarray


@dataclass(frozen=True)
class _Counted:
    """The cells of one rule: those of the stored and of the new slots, by row, or `NONE`."""

    old: np.ndarray
    new: np.ndarray
    room: np.ndarray


def claims_of(problem: Problem, moves: Moves, *, one_a_day: bool) -> Claims:
    """Find out what moving chains can take from each other.

    Parameters
    ----------
    problem : Problem
        With mailboxes, history and stored slots.
    moves : Moves
        What moves.
    one_a_day : bool
        Whether a contact may get one email a day at most.

    Returns
    -------
    Claims
        Without the cells that have room for all.
    """
    state = progress(problem)
    rules = [_mailbox_days(problem, state, moves), _first_emails(problem, state, moves)]
    if one_a_day:
        rules.append(_contact_days(problem, moves))
    counted, room = _joined(moves, rules)
    near, cells = _neighbourhoods(problem, moves, len(room))
    columns = [
        np.append(getattr(counted, name.name), getattr(near, name.name)) for name in fields(Entries)
    ]
    order = np.argsort(columns[0], kind="stable")
    entries = Entries(*(values[order] for values in columns))
    return Claims(moves.chains, entries, np.append(room, np.zeros(cells, dtype=np.int64)))


def spans(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the members of ranges, one after the other.

    Parameters
    ----------
    begin, end : ndarray of int, shape (ranges,)
        Where each range begins, and ends (exclusive).

    Returns
    -------
    member, of : ndarray of int
        Each member, and the range that it is of.
    """
    length = end - begin
    of = np.repeat(np.arange(len(begin)), length)
    return np.arange(len(of)) + np.repeat(begin - np.cumsum(length) + length, length), of


def _counts(cell: np.ndarray, cells: int) -> np.ndarray:
    return np.bincount(cell[cell != NONE], minlength=cells)


def _mailbox_days(problem: Problem, state: Progress, moves: Moves) -> _Counted:
    fleet, horizon = fleet_of(problem, state), problem.horizon
    boxes = pd.Index(problem.mailboxes["id"])

    def cells(slots: Slots) -> np.ndarray:
        box, day = boxes.get_indexer(slots.mailbox_id), slots.day - horizon.origin
        within = (box != NONE) & (day >= 0) & (day <= horizon.last)
        return np.where(within, box * (horizon.last + 1) + day, NONE)

    old, new = cells(moves.old), cells(moves.new)
    planned = fleet.planned.ravel()
    in_the_end = planned + _counts(new, planned.size) - _counts(old, planned.size)
    allowed = (fleet.capacity - fleet.used).ravel()
    return _Counted(old, new, np.maximum(allowed, in_the_end) - planned)


def _first_emails(problem: Problem, state: Progress, moves: Moves) -> _Counted:
    """Count the first emails of enrollments that have received nothing, by sequence and day."""
    horizon, standing = problem.horizon, moves.standing
    width = horizon.last + 1
    sequence = pd.Index(problem.sequences["id"]).get_indexer(problem.enrollments["sequence_id"])
    limit = problem.sequences["max_new_per_day"].to_numpy()
    size = len(limit) * width
    counts = ~state.received_any & (limit != NULL)[sequence]

    def cells(enrollment: np.ndarray, step: np.ndarray, days: np.ndarray) -> np.ndarray:
        first = np.full(len(counts), _NEVER)
        np.minimum.at(first, enrollment[step != NONE], step[step != NONE])
        day = days - horizon.origin
        leads = np.flatnonzero((step != NONE) & (day >= 0) & (day <= horizon.last))
        person = enrollment[leads]
        chosen = counts[person] & (first[person] == step[leads])
        cell = np.full(len(step), NONE)
        cell[leads[chosen]] = sequence[person[chosen]] * width + day[leads[chosen]]
        return cell

    stored = cells(standing.enrollment, standing.step, standing.day)
    moving = np.zeros(len(stored), dtype=bool)
    moving[moves.slot[moves.stands]] = True
    stays, arrives = np.flatnonzero(~moving), np.flatnonzero(moves.arrives)
    in_the_end = cells(
        np.append(standing.enrollment[stays], moves.new.enrollment[arrives]),
        np.append(standing.step[stays], moves.new.step[arrives]),
        np.append(standing.day[stays], moves.new.day[arrives]),
    )
    new = np.full(len(moves.slot), NONE)
    new[arrives] = in_the_end[len(stays) :]

    rows = state.rows[state.rows["first"].to_numpy()]
    day = rows["day"].to_numpy() - horizon.origin
    within = (day >= 0) & (day <= horizon.last)
    used = sequence[rows["enrollment"].to_numpy()[within]] * width + day[within]
    allowed = np.repeat(limit, width) - _counts(used, size)
    room = np.maximum(allowed, _counts(in_the_end, size)) - _counts(stored, size)
    return _Counted(np.append(stored, NONE)[moves.slot], new, room)


def _contact_days(problem: Problem, moves: Moves) -> _Counted:
    """Count the emails of contacts in several chains by day.

    A new slot's day is nobody else's in the new plan, so that this plan is all the limit it needs.
    """
    person = moves.new.enrollment
    contact_id = np.append(problem.enrollments["contact_id"].to_numpy(), NULL)[person]
    contact, contacts = pd.factorize(contact_id)
    pairs = np.unique(contact * moves.chains + moves.chain)
    several = np.bincount(pairs // max(moves.chains, 1), minlength=len(contacts)) > 1
    concerned = (contact_id != NULL) & several[contact]
    leaves = np.flatnonzero(concerned & moves.stands)
    arrives = np.flatnonzero(concerned & moves.arrives)
    key = pd.MultiIndex.from_arrays(
        [
            np.append(contact[leaves], contact[arrives]),
            np.append(moves.old.day[leaves], moves.new.day[arrives]),
        ]
    )
    cell, cells = pd.factorize(key)
    old, new = np.full(len(person), NONE), np.full(len(person), NONE)
    old[leaves], new[arrives] = cell[: len(leaves)], cell[len(leaves) :]
    return _Counted(old, new, _counts(new, len(cells)) - _counts(old, len(cells)))


def _joined(moves: Moves, rules: list[_Counted]) -> tuple[Entries, np.ndarray]:
    """Bring the cells that may run short together, all slots of a chain in a cell as one entry."""
    room = np.concatenate([rule.room for rule in rules])
    offset = np.cumsum([0, *(len(rule.room) for rule in rules)])
    pairs: list[np.ndarray] = []
    amounts: list[np.ndarray] = []
    for rule, begin in zip(rules, offset[:-1], strict=True):
        short = np.append(_counts(rule.new, len(rule.room)) > np.maximum(rule.room, 0), False)
        for cell, arrives in ((rule.old, False), (rule.new, True)):
            row = np.flatnonzero(short[cell])
            pairs.append(moves.chain[row] * len(room) + cell[row] + begin)
            amount = np.full((len(row), 3), arrives)
            amount[:, 0] = not arrives
            amount[:, 2] &= moves.changed[row]
            amounts.append(amount)
    pair, entry = np.unique(np.concatenate(pairs), return_inverse=True)
    amount = np.concatenate(amounts)
    before, after, written = (
        np.bincount(entry[amount[:, column]], minlength=len(pair)) for column in range(3)
    )
    chain, cell = pair // max(len(room), 1), pair % max(len(room), 1)
    rise = after - before
    kept = ((room < 0) | (np.bincount(cell, np.maximum(rise, 0), len(room)) > room))[cell]
    shared, number = np.unique(cell[kept], return_inverse=True)
    entries = Entries(
        chain=chain[kept],
        cell=number,
        need=np.where((written > 0) | (rise > 0), rise, FREE)[kept],
        need_parked=np.where(after > 0, after, FREE)[kept],
        give=np.maximum(-rise, 0)[kept],
        give_parked=before[kept],
    )
    return entries, room[shared]


def _neighbourhoods(problem: Problem, moves: Moves, first_cell: int) -> tuple[Entries, int]:
    """Make each new slot that stored ones are too near to a cell, which gains room as they go.

    Slots of the new plan keep their distance from each other and from history, so that only
    slots that are to leave can be in the way.
    """
    giver, taker = _near(problem, moves)
    slot, cell, near = np.unique(taker, return_inverse=True, return_counts=True)
    one, free = np.ones_like(giver), np.full_like(giver, FREE)
    entries = Entries(
        chain=np.append(moves.chain[giver], moves.chain[slot]),
        cell=np.append(cell, np.arange(len(slot))) + first_cell,
        # A slot that stays as it is needs no room until it has been taken away.
        need=np.append(free, np.where(moves.changed[slot], near, FREE)),
        need_parked=np.append(free, near),
        give=np.append(one, np.zeros_like(near)),
        give_parked=np.append(one, np.zeros_like(near)),
    )
    return entries, len(slot)


def _near(problem: Problem, moves: Moves) -> tuple[np.ndarray, np.ndarray]:
    """Pair rows by stored slot with rows of other chains whose new slots are too near to it."""
    boxes = problem.mailboxes
    index = pd.Index(boxes["id"])
    gap = boxes["min_gap_seconds"].to_numpy() * SECOND

    def sorted_by_box(slots: Slots, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        box = index.get_indexer(slots.mailbox_id[rows])
        order = np.lexsort((slots.time[rows], box))
        return rows[order], np.searchsorted(box[order], np.arange(len(boxes) + 1))

    old, old_begin = sorted_by_box(moves.old, np.flatnonzero(moves.stands))
    new, new_begin = sorted_by_box(moves.new, np.flatnonzero(moves.arrives))
    givers, takers = [old[:0]], [new[:0]]
    for box in np.flatnonzero(gap > 0):
        here = old[old_begin[box] : old_begin[box + 1]]
        there = new[new_begin[box] : new_begin[box + 1]]
        left, reached = moves.old.time[here], moves.new.time[there]
        place, of = spans(
            np.searchsorted(left, reached - gap[box], "right"),
            np.searchsorted(left, reached + gap[box], "left"),
        )
        givers.append(here[place])
        takers.append(there[of])
    giver, taker = np.concatenate(givers), np.concatenate(takers)
    others = moves.chain[giver] != moves.chain[taker]
    return giver[others], taker[others]
