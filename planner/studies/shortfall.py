"""The shortfall bound of a pool: prices from a linear programme, judged without it."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.lp import dual_values, programme_proto, solve_programme
from sendplan.planner.flow.sparse_rows import SparseRows, number_entries
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE
from sendplan.planner.studies.deadline import Deadline, Weights

FEW = 8_000
"""Variables up to which the simplex method is the faster one."""


def relaxation_prices(
    pool: Deadline, late: float, left_out: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the prices of capacity by the relaxation of one pool, with fractional emails.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    late, left_out : float
        Weights of a late follow-up and of an email that leaves after the last day.

    Returns
    -------
    tuple of ndarray of float or None
        Prices of emails by day, and of first emails by sequence and day; None if the solver gave
        up.
    """
    stages, days = pool.stages, pool.days
    reached = _reached(pool)
    may_send = stages.sends[:, :days] & reached
    counted = ~stages.is_first & (late > 0)
    # Emails that leave as soon as they may, emails that have waited, and those that wait.
    (prompt, waited, queue), variables = number_entries(
        [may_send, may_send & counted[:, None], reached]
    )
    (balance, at_once, room, new), rows = number_entries(
        [
            reached,
            may_send & counted[:, None],
            np.ones((1, days), dtype=bool),
            pool.new_room < UNLIMITED,
        ]
    )
    matrix = SparseRows()
    for sends in (prompt, waited):
        matrix.add(balance, sends, 1.0)
        matrix.add(room, sends, 1.0)
    matrix.add(balance, queue, 1.0)
    matrix.add(balance[:, 1:], queue[:, :-1], -1.0)
    matrix.add(at_once, prompt, 1.0)
    first = np.flatnonzero(stages.is_first)
    matrix.add(new[stages.sequence[first]], prompt[first], 1.0)
    cost = np.zeros(variables)
    cost[waited[waited != NONE]] = late
    ends = queue[:, -1]
    cost[ends[ends != NONE]] = (left_out * stages.remaining)[ends != NONE]
    goes_on = stages.following != NONE
    after = stages.following[goes_on]
    onward = pool.onward[after]
    within = onward < days
    place = after[:, None], np.minimum(onward, days - 1)
    for sends in (prompt[goes_on], waited[goes_on]):
        matrix.add(np.where(within, balance[place], NONE), sends, -1.0)
        matrix.add(np.where(within, at_once[place], NONE), sends, -1.0)
        stage, day = np.nonzero(~within & (sends != NONE))
        cost[sends[stage, day]] += left_out * stages.remaining[after[stage]]
    lower, upper = np.full(rows, -np.inf), np.full(rows, np.inf)
    arriving = pool.arriving[:, :days]
    lower[balance[balance != NONE]] = upper[balance[balance != NONE]] = arriving[balance != NONE]
    upper[at_once[at_once != NONE]] = arriving[at_once != NONE]
    upper[room[0]] = pool.room[0]
    upper[new[new != NONE]] = pool.new_room[new != NONE]
    fractional = np.zeros(variables, dtype=bool)
    programme = programme_proto(cost, (lower, upper), matrix.merged(), fractional)
    result = solve_programme(programme, interior=variables > FEW)
    if result is None:
        return None
    duals = dual_values(result, rows)
    padded = np.append(np.maximum(-duals, 0.0), 0.0)
    return padded[room[0]], padded[new]


def _reached(pool: Deadline) -> np.ndarray:
    """Tell on which days chains can be at each stage; ndarray of bool, shape (stages, days)."""
    stages, days = pool.stages, pool.days
    first = np.where(pool.arriving.any(axis=1), (pool.arriving > 0).argmax(axis=1), days)
    for left in range(int(stages.remaining.max(initial=0)), 1, -1):
        for stage in np.flatnonzero(stages.remaining == left):
            after = stages.following[stage]
            if first[stage] < days:
                first[after] = min(first[after], pool.onward[after, first[stage]])
    return np.asarray(np.arange(days) >= first[:, None])


@dataclass(frozen=True)
class Cut:
    """A lower bound on the shortfall of a pool: `short`, less `relief` for each new mailbox."""

    short: float
    relief: float

    def at(self, mailboxes: int) -> float:
        """Return the bound with some new mailboxes."""
        return max(self.short - self.relief * mailboxes, 0.0)


def shortfall_cut(pool: Deadline, weights: Weights, new_mailbox: np.ndarray) -> Cut:
    """Bound the shortfall of every plan of one pool.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    weights : Weights
        Weights of the shortfall.
    new_mailbox : ndarray of int, shape (days,)
        Capacity of a new mailbox of the pool.

    Returns
    -------
    Cut
        Valid for every number of new mailboxes, and tight without one.
    """
    zero = np.zeros(pool.days), np.zeros(pool.new_room.shape)
    if not _exceeds_capacity(pool):
        return Cut(lagrangian_shortfall(pool, weights, *zero), 0.0)
    room_price, new_price = relaxation_prices(pool, weights.late, weights.left_out) or zero
    short = lagrangian_shortfall(pool, weights, room_price, new_price)
    cut = Cut(short, float(room_price @ new_mailbox))
    alone = lagrangian_shortfall(pool, weights, *zero)
    return cut if cut.short > alone else Cut(alone, 0.0)


def _exceeds_capacity(pool: Deadline) -> bool:
    """Tell whether capacity is exceeded if every email leaves as soon as it can."""
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


def lagrangian_shortfall(
    pool: Deadline, weights: Weights, room_price: np.ndarray, new_price: np.ndarray
) -> float:
    """Return a lower bound on the shortfall of one pool, given prices of capacity.

    Parameters
    ----------
    pool : Deadline
        One pool alone.
    weights : Weights
        Weights of the shortfall.
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
        # From the next day on, and late; first emails are never late.
        waited = np.minimum.accumulate(sent[:, ::-1], axis=1)[:, ::-1]
        waited = np.append(waited[:, 1:], np.full((len(level), 1), np.inf), axis=1)
        waited += np.where(first, 0.0, weights.late)[:, None]
        best[level, :days] = np.minimum(np.minimum(sent, waited), weights.left_out * left)
    short = float((pool.arriving * best).sum())
    return short - float(room_price @ pool.room[0]) - float((new_price * pool.new_room).sum())
