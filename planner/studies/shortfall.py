"""The linear programme behind a deadline: it proposes prices, which are then judged without it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.lp import programme, solved
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE
from sendplan.planner.studies.deadline import Deadline, Weights

FEW = 8_000
"""Variables up to which the simplex method is as fast as any."""


class _Rows:
    """A matrix in the making, entry by entry."""

    def __init__(self) -> None:
        self.row: list[np.ndarray] = []
        self.column: list[np.ndarray] = []
        self.value: list[np.ndarray] = []

    def add(self, row: np.ndarray, column: np.ndarray, value: float) -> None:
        """Add entries where both the row and the column exist."""
        row, column = np.broadcast_arrays(row, column)
        there = (row != NONE) & (column != NONE)
        self.row.append(row[there])
        self.column.append(column[there])
        self.value.append(np.full(int(there.sum()), value))

    def sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries by row and column, each once."""
        row, column = np.concatenate(self.row), np.concatenate(self.column)
        value = np.concatenate(self.value)
        key = row * (int(column.max(initial=0)) + 1) + column
        keys, first, place = np.unique(key, return_index=True, return_inverse=True)
        total = np.bincount(place, value, len(keys))
        kept = total != 0
        return row[first][kept], column[first][kept], total[kept]


def proposed_prices(
    pool: Deadline, late: float, left_out: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Solve the relaxation of one pool, in which emails may be divided.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    late, left_out : float
        What a late follow-up and an email that leaves after the last day weigh.

    Returns
    -------
    tuple of ndarray of float or None
        Prices of room by day, and of first emails by sequence and day; None if the solver gave up.
    """
    stages, days = pool.stages, pool.days
    count = len(stages.step)
    reached = _reached(pool)
    may_send = stages.sends[:, :days] & reached
    counted = ~stages.is_first & (late > 0)
    # Variables: emails that leave as soon as they may, those that have waited, those that wait.
    number = _numbered([may_send, may_send & counted[:, None], reached])
    prompt, waited, queue = number
    rows = _numbered(
        [
            reached,
            may_send & counted[:, None],
            np.ones((1, days), dtype=bool),
            pool.new_room < UNLIMITED,
        ]
    )
    balance, at_once, room, new = rows
    matrix = _Rows()
    for sends in (prompt, waited):
        matrix.add(balance, sends, 1.0)
        matrix.add(np.broadcast_to(room, sends.shape), sends, 1.0)
    matrix.add(balance, queue, 1.0)
    matrix.add(balance[:, 1:], queue[:, :-1], -1.0)
    matrix.add(at_once, prompt, 1.0)
    first = np.flatnonzero(stages.is_first)
    matrix.add(new[stages.sequence[first]], prompt[first], 1.0)
    cost = np.zeros(int(max(table.max(initial=NONE) for table in number)) + 1)
    cost[waited[waited != NONE]] = late
    ends = queue[:, -1]
    cost[ends[ends != NONE]] = (left_out * stages.remaining)[ends != NONE]
    for stage in range(count):
        after = stages.following[stage]
        if after == NONE:
            continue
        onward = pool.onward[after]
        within = onward < days
        place = np.minimum(onward, days - 1)
        for sends in (prompt[stage], waited[stage]):
            matrix.add(np.where(within, balance[after, place], NONE), sends, -1.0)
            matrix.add(np.where(within, at_once[after, place], NONE), sends, -1.0)
            lost = sends[~within & (sends != NONE)]
            cost[lost] += left_out * stages.remaining[after]
    size = int(max(table.max(initial=NONE) for table in rows)) + 1
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    arriving = pool.arriving[:, :days]
    lower[balance[balance != NONE]] = upper[balance[balance != NONE]] = arriving[balance != NONE]
    upper[at_once[at_once != NONE]] = arriving[at_once != NONE]
    upper[room[0]] = pool.room[0]
    upper[new[new != NONE]] = pool.new_room[new != NONE]
    duals = _duals(cost, matrix.sorted(), lower, upper)
    if duals is None:
        return None
    padded = np.append(np.maximum(-duals, 0.0), 0.0)
    return padded[room[0]], padded[new]


def _reached(pool: Deadline) -> np.ndarray:
    """Tell on which days there can be chains at each stage; shape (stages, days)."""
    stages, days = pool.stages, pool.days
    first = np.where(pool.arriving.any(axis=1), (pool.arriving > 0).argmax(axis=1), days)
    for left in range(int(stages.remaining.max(initial=0)), 1, -1):
        for stage in np.flatnonzero(stages.remaining == left):
            after = stages.following[stage]
            if first[stage] < days:
                first[after] = min(first[after], pool.onward[after, first[stage]])
    return np.asarray(np.arange(days) >= first[:, None])


def _numbered(tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Give numbers to what is true in some tables, one after the other; `NONE` elsewhere."""
    result, begin = [], 0
    for table in tables:
        numbers = np.full(table.shape, NONE)
        numbers[table] = np.arange(begin, begin + int(table.sum()))
        begin += int(table.sum())
        result.append(numbers)
    return result


def _duals(
    cost: np.ndarray,
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray],
    lower: np.ndarray,
    upper: np.ndarray,
) -> np.ndarray | None:
    divided = np.zeros(len(cost), dtype=bool)
    result = solved(programme(cost, (lower, upper), matrix, divided), interior=len(cost) > FEW)
    if result is None:
        return None
    duals = np.zeros(len(lower))
    for constraint, price in result.dual_values().items():
        duals[constraint.id] = price
    return duals


@dataclass(frozen=True)
class Cut:
    """What every plan of a pool falls short by: at least `short` less `relief` a new mailbox."""

    short: float
    relief: float

    def at(self, mailboxes: int) -> float:
        """Return the least shortfall with some mailboxes more."""
        return max(self.short - self.relief * mailboxes, 0.0)


def least_shortfall(pool: Deadline, weights: Weights, new_mailbox: np.ndarray) -> Cut:
    """Bound the shortfall of every plan of one pool.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    weights : Weights
        What a plan falls short by.
    new_mailbox : ndarray of int, shape (days,)
        The room that a new mailbox of the pool would bring.

    Returns
    -------
    Cut
        True of every number of new mailboxes, and tight at the pool's room as it is.
    """
    free = np.zeros(pool.days), np.zeros(pool.new_room.shape)
    if not _overfull(pool):
        return Cut(priced_shortfall(pool, weights, *free), 0.0)
    room_price, new_price = proposed_prices(pool, weights.late, weights.left_out) or free
    short = priced_shortfall(pool, weights, room_price, new_price)
    cut = Cut(short, float(room_price @ new_mailbox))
    alone = priced_shortfall(pool, weights, *free)
    return cut if cut.short > alone else Cut(alone, 0.0)


def _overfull(pool: Deadline) -> bool:
    """Tell whether the chains do not all fit if each goes as soon as it can."""
    stages, load = pool.stages, np.zeros_like(pool.room)
    new = np.zeros_like(pool.new_room)
    waiting = pool.arriving.copy()
    for left in range(int(stages.remaining.max(initial=0)), 0, -1):
        for stage in np.flatnonzero(stages.remaining == left):
            now = waiting[stage, : pool.days]
            load[0] += now
            if stages.is_first[stage]:
                new[stages.sequence[stage]] += now
            if (after := stages.following[stage]) != NONE:
                np.add.at(waiting[after], pool.onward[after], now)
    return bool((load > pool.room).any() or (new > pool.new_room).any())


def priced_shortfall(
    pool: Deadline, weights: Weights, room_price: np.ndarray, new_price: np.ndarray
) -> float:
    """Return what every plan of one pool falls short by, given prices of room.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    weights : Weights
        What a plan falls short by.
    room_price : ndarray of float, shape (days,)
        Price of an email of a day; negative ones count as 0.
    new_price : ndarray of float, shape (sequences, days)
        Price of a first email of a sequence and day.
    """
    stages, days = pool.stages, pool.days
    room_price = np.maximum(room_price, 0)
    new_price = np.where(pool.new_room >= UNLIMITED, 0, np.maximum(new_price, 0))
    best = np.zeros((len(stages.step), days + 1))
    for left in range(1, int(stages.remaining.max(initial=0)) + 1):
        level = np.flatnonzero(stages.remaining == left)
        best[level, days] = weights.left_out * left
        sent = np.where(stages.sends[level, :days], room_price, np.inf)
        first = stages.is_first[level]
        sent[first] += new_price[stages.sequence[level[first]]]
        goes_on = stages.following[level] != NONE
        after = stages.following[level[goes_on]]
        sent[goes_on] += np.take_along_axis(best[after], pool.onward[after], axis=1)
        # From the day after on, and late; first emails are never late.
        waited = np.minimum.accumulate(sent[:, ::-1], axis=1)[:, ::-1]
        waited = np.append(waited[:, 1:], np.full((len(level), 1), np.inf), axis=1)
        waited += np.where(first, 0.0, weights.late)[:, None]
        best[level, :days] = np.minimum(np.minimum(sent, waited), weights.left_out * left)
    short = float((pool.arriving * best).sum())
    return short - float(room_price @ pool.room[0]) - float((new_price * pool.new_room).sum())
