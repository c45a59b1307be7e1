"""The count model's variables and rows, as arrays; of no solver in particular."""

from dataclasses import dataclass

import numpy as np

from sendplan.benchmarks.peers.instances import Terms
from sendplan.planner.model.components import mailbox_components
from sendplan.planner.model.stages import NONE


@dataclass
class Counts:
    """Emails that leave, by stage, mailbox and day; the last day is the sink.

    Parameters
    ----------
    bound, free : ndarray of int, shape (stages, mailboxes, days)
        Of chains that have their mailbox, and of those that choose it with this email.
    """

    bound: np.ndarray
    free: np.ndarray

    @classmethod
    def none(cls, terms: Terms) -> "Counts":
        """Return counts of nothing."""
        shape = (len(terms.release), len(terms.limits.room), terms.sink + 1)
        return cls(np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64))


@dataclass(frozen=True)
class _Block:
    """Variables of one kind: where they stand and what they mean.

    Parameters
    ----------
    stage, mailbox, day : ndarray of int, shape (variables,)
        What is counted; mailbox is `NONE` for chains that have none.
    number : ndarray of int, shape (stages, mailboxes + 1, days)
        The column of each, or `NONE`; the last mailbox stands for `NONE`.
    """

    stage: np.ndarray
    mailbox: np.ndarray
    day: np.ndarray
    number: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, begin: int) -> "_Block":
        """Number the marked (stage, mailbox, day) from `begin` on."""
        stage, mailbox, day = np.nonzero(mask)
        number = np.full(mask.shape, NONE)
        number[stage, mailbox, day] = begin + np.arange(len(stage))
        return cls(stage, np.where(mailbox == mask.shape[1] - 1, NONE, mailbox), day, number)

    @property
    def columns(self) -> np.ndarray:
        """The columns, in the order of the other fields."""
        return np.asarray(self.number[self.stage, self.mailbox, self.day])


@dataclass(frozen=True)
class Programme:
    """min cost·x with low ≤ A x ≤ high, 0 ≤ x ≤ upper, x integer where said.

    Parameters
    ----------
    cost, upper, integer : ndarray, shape (columns,)
        Of the variables.
    low, high : ndarray of float, shape (rows,)
        Of the rows.
    row, column, value : ndarray, shape (entries,)
        The matrix A.
    bound, free : _Block
        What the variables of emails that leave mean.
    """

    cost: np.ndarray
    upper: np.ndarray
    integer: np.ndarray
    low: np.ndarray
    high: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    bound: _Block
    free: _Block

    def by_column(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return A column by column: where each begins, the rows and the values."""
        order = np.lexsort((self.row, self.column))
        starts = np.searchsorted(self.column[order], np.arange(len(self.cost)))
        return starts, self.row[order], self.value[order]

    def read(self, solution: np.ndarray, counts: Counts) -> None:
        """Write what a solution says into counts."""
        for block, into in ((self.bound, counts.bound), (self.free, counts.free)):
            amount = np.rint(solution[block.columns]).astype(np.int64)
            into[block.stage, block.mailbox, block.day] = amount


def components(terms: Terms) -> list[np.ndarray]:
    """Return the stages of each part of the instance that shares no mailbox with another."""
    part = mailbox_components(terms.work.fleet.pools)[terms.work.stages.sequence]
    return [np.flatnonzero(part == number) for number in np.unique(part)]


def programme(terms: Terms, stages: np.ndarray) -> Programme:
    """Formulate the plan of some stages.

    Parameters
    ----------
    terms : Terms
        The instance.
    stages : ndarray of int
        Stages that share no mailbox with others.

    Returns
    -------
    Programme
        Its value plus ``terms.constant``, over all components, is the cost.
    """
    come_bound, come_free = _arrivals(terms, stages)
    leave_bound, leave_free = _may_leave(terms, stages, come_bound, come_free)
    bound = _Block.of(leave_bound, 0)
    free = _Block.of(leave_free, len(bound.day))
    leaving = len(bound.day) + len(free.day)
    waiting_places = leave_bound.copy()
    waiting_places[:, -1] = leave_free.any(axis=1)
    # A balance for each place and day; no chain waits once the sink is reached.
    balance = _Block.of(waiting_places, 0)
    waiting_places[:, :, terms.sink] = False
    waiting = _Block.of(waiting_places, leaving)

    columns = leaving + len(waiting.day)
    rows = len(balance.day)
    cost, upper = np.zeros(columns), np.full(columns, np.inf)
    room = terms.limits.room[:, : terms.sink + 1].astype(np.float64)
    room[:, terms.sink] = np.inf
    for block in (bound, free):
        cost[block.columns] = terms.cost[block.stage, block.day]
        upper[block.columns] = room[block.mailbox, block.day]

    entries = [
        # Leaving: from the mailbox's queue, or from the free one.
        (balance.number[bound.stage, bound.mailbox, bound.day], bound.columns, 1.0),
        (balance.number[free.stage, NONE, free.day], free.columns, 1.0),
        (balance.number[waiting.stage, waiting.mailbox, waiting.day], waiting.columns, 1.0),
        _waited(balance, waiting),
    ]
    following = terms.work.stages.following
    for block in (bound, free):
        on = following[block.stage] != NONE
        stage, mailbox = following[block.stage[on]], block.mailbox[on]
        day = terms.release[stage, block.day[on]]
        entries.append((balance.number[stage, mailbox, day], block.columns[on], -1.0))
    used = (leave_bound[:, :-1] | leave_free[:, :-1]).any(axis=0)
    used[:, terms.sink] = False
    capacity = np.full(used.shape, NONE)
    capacity[used] = rows + np.arange(used.sum())
    for block in (bound, free):
        limited = block.day <= terms.last
        row = capacity[block.mailbox[limited], block.day[limited]]
        entries.append((row, block.columns[limited], 1.0))

    come = come_bound + come_free
    low = np.zeros(rows + int(used.sum()))
    low[:rows] = come[balance.stage, balance.mailbox, balance.day]
    high = low.copy()
    low[rows:], high[rows:] = -np.inf, room[:, : terms.sink + 1][used]
    return Programme(
        cost,
        upper,
        np.arange(columns) < leaving,
        low,
        high,
        np.concatenate([row for row, _, _ in entries]),
        np.concatenate([column for _, column, _ in entries]),
        np.concatenate([np.full(len(row), value) for row, _, value in entries]),
        bound,
        free,
    )


def _arrivals(terms: Terms, stages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the chains by stage, mailbox (the last: none yet) and first possible day."""
    chains = terms.work.chains
    shape = (len(terms.release), len(terms.limits.room) + 1, terms.sink + 1)
    bound, free = np.zeros((2, *shape), dtype=np.int64)
    mine = np.isin(chains.stage, stages)
    for counts, which in (
        (bound, mine & (chains.mailbox != NONE)),
        (free, mine & (chains.mailbox == NONE)),
    ):
        place = (chains.stage[which], chains.mailbox[which], terms.first_release[which])
        np.add.at(counts, place, 1)
    return bound, free


def _may_leave(
    terms: Terms, stages: np.ndarray, come_bound: np.ndarray, come_free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mark where and when emails can leave at all, queue by queue; shape like the arrivals."""
    work = terms.work
    days = np.arange(terms.sink + 1)
    leave_bound, leave_free = np.zeros((2, *come_bound.shape), dtype=bool)
    for stage in stages[np.argsort(-work.stages.remaining[stages], kind="stable")]:
        open_days = terms.open_days[stage]
        pool = work.fleet.pools[work.stages.sequence[stage]]
        begun = come_bound[stage, pool].cumsum(axis=1) > 0
        leave_bound[stage, pool] |= begun & open_days
        begins = come_free[stage, NONE].cumsum() > 0
        leave_free[stage, pool] = begins & open_days
        after = work.stages.following[stage]
        if after == NONE:
            continue
        for mailbox in pool:
            can = leave_bound[stage, mailbox] | leave_free[stage, mailbox]
            if can.any():
                first = terms.release[after, np.flatnonzero(can)[0]]
                leave_bound[after, mailbox] |= (days >= first) & terms.open_days[after]
    return leave_bound, leave_free


def _waited(balance: _Block, waiting: _Block) -> tuple[np.ndarray, np.ndarray, float]:
    """Bring who waits on one day to the balance of the next."""
    # Blocks are sorted by stage, mailbox and day, so the next balance stands right behind.
    row = balance.number[waiting.stage, waiting.mailbox, waiting.day] + 1
    return row, waiting.columns, -1.0
