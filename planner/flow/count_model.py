"""The count model: a network flow of several commodities with common capacities, as sparse rows.

What leaves a commodity on a day, and what waits there until its next sending day, are variables;
what comes in equals what leaves and waits, commodity by commodity and day by day. So written, each
variable stands in two balance rows, with opposite signs, and the matrix is a network's but for the
capacity rows: linear relaxations are tight, and integer solutions near. Every solver gets this same
model.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE

FREE = np.iinfo(np.int64).min
"""Lower limit of a row that has none."""


@dataclass(frozen=True)
class CountModel:
    """Minimise ``cost @ x`` under ``lower <= rows @ x <= upper``, ``x >= 0``, sends integer.

    Parameters
    ----------
    commodities : Commodities
        What is modelled.
    variables : int
        Number of variables: first those that send, then those that wait.
    cost : ndarray of float, shape (variables,)
        Objective; the commodities' constant comes on top.
    row, column, value : ndarray
        The matrix, entry by entry, sorted by row and column; no entry twice.
    lower, upper : ndarray of int, shape (rows,)
        Limits of the rows; `FREE` where there is no lower one.
    bound, starting : ndarray of int, shape (commodities, days)
        Variable of the emails of bound chains, and of chains that start; `NONE` where none is.
    room_row, new_row : ndarray of int
        Row of each resource and sequence, and day; `NONE` where nothing binds.
    waits : ndarray of int, shape (waiting variables, 2)
        The balance rows that a waiting variable leaves and enters.
    """

    network: FlowNetwork
    variables: int
    cost: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bound: np.ndarray
    starting: np.ndarray
    room_row: np.ndarray
    new_row: np.ndarray
    waits: np.ndarray

    @property
    def sending(self) -> int:
        """Return the number of variables that send."""
        return self.variables - len(self.waits)

    def sends(self, solution: np.ndarray) -> np.ndarray:
        """Return the emails by commodity and day of a solution."""
        padded = np.append(solution, 0)
        return np.asarray(padded[self.bound] + padded[self.starting])

    def solution(self, bound: np.ndarray, starting: np.ndarray | None = None) -> np.ndarray:
        """Return the solution that belongs to emails by commodity and day.

        Parameters
        ----------
        bound, starting : ndarray of int, shape (commodities, days)
            Emails of bound chains, and of chains that start; none leaves before it is there.

        Returns
        -------
        ndarray of int, shape (variables,)
            Waiting included.
        """
        result = np.zeros(self.variables, dtype=np.int64)
        used = self.bound != NONE
        result[self.bound[used]] = bound[used]
        if starting is not None:
            used = self.starting != NONE
            result[self.starting[used]] = starting[used]
        of_sends = self.column < self.sending
        left = np.where(self.lower == FREE, 0, self.lower)
        spent = (self.value * result[self.column])[of_sends]
        np.subtract.at(left, self.row[of_sends], spent)
        for number, (leaves, enters) in enumerate(self.waits.tolist(), start=self.sending):
            result[number] = left[leaves]
            left[enters] += left[leaves]
        return result

    def around(self, solution: np.ndarray, chosen: np.ndarray) -> "Neighbourhood":
        """Return the model of some variables, the others keeping their values.

        Parameters
        ----------
        solution : ndarray of int, shape (variables,)
            Values, all rows kept.
        chosen : ndarray of bool, shape (variables,)
            Variables that may change.
        """
        of_chosen = chosen[self.column]
        fixed = ~of_chosen
        spent = np.zeros(len(self.lower), dtype=np.int64)
        np.add.at(spent, self.row[fixed], self.value[fixed] * solution[self.column[fixed]])
        rows, row = np.unique(self.row[of_chosen], return_inverse=True)
        number = np.cumsum(chosen) - 1
        lower = self.lower[rows]
        return Neighbourhood(
            variable=np.flatnonzero(chosen),
            cost=self.cost[chosen],
            row=row,
            column=number[self.column[of_chosen]],
            value=self.value[of_chosen],
            lower=np.where(lower == FREE, FREE, lower - spent[rows]),
            upper=self.upper[rows] - spent[rows],
        )

    @cached_property
    def day(self) -> np.ndarray:
        """Return the day on which each variable's emails leave, or begin to wait."""
        day = np.zeros(self.variables, dtype=np.int64)
        of_row = np.zeros(len(self.lower), dtype=np.int64)
        for variable in (self.bound, self.starting):
            commodity, on = np.nonzero(variable != NONE)
            day[variable[commodity, on]] = on
        leaves = (self.column < self.sending) & (self.value == 1) & (self.lower[self.row] != FREE)
        of_row[self.row[leaves]] = day[self.column[leaves]]
        day[self.sending :] = of_row[self.waits[:, 0]]
        return day


@dataclass(frozen=True)
class Neighbourhood:
    """Some of a model's variables, the others being fixed.

    Parameters
    ----------
    variable : ndarray of int
        Which; columns are numbered in this order.
    cost, row, column, value, lower, upper : ndarray
        As in `CountModel`.
    """

    variable: np.ndarray
    cost: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def count_model(network: FlowNetwork) -> CountModel:
    """Write commodities as a model.

    Parameters
    ----------
    commodities : Commodities
        What there is to decide.

    Returns
    -------
    CountModel
        With no variable for days on which no email can be there.
    """
    sink = network.sink
    opens_bound, opens_start = network.open_days
    bound, sends = _numbered(opens_bound, 0)
    starting, sends = _numbered(opens_start, sends)
    opens_group = np.zeros(network.waiting.shape, dtype=bool)
    grouped = np.flatnonzero(network.group != NONE)
    np.logical_or.at(opens_group, network.group[grouped], opens_start[grouped])
    balance, rows = _numbered(opens_bound, 0)
    group_balance, rows = _numbered(opens_group, rows)
    next_open = _next(opens_bound)
    entries = _Entries()

    commodity, day = np.nonzero(opens_bound)
    entries.add(balance[commodity, day], bound[commodity, day], 1)
    commodity, day = np.nonzero(opens_start)
    entries.add(group_balance[network.group[commodity], day], starting[commodity, day], 1)
    for variable in (bound, starting):
        commodity, day = np.nonzero((variable != NONE) & (network.following != NONE)[:, None])
        after = network.following[commodity]
        comes = next_open[after, network.onward[commodity, day]]
        entries.add(balance[after, comes], variable[commodity, day], -1)

    waits = []
    variables = sends
    for table, opens in ((balance, opens_bound), (group_balance, opens_group)):
        commodity, day = np.nonzero(opens[:, :sink])
        until = _next(opens)[commodity, day + 1]
        number = variables + np.arange(len(commodity))
        variables += len(commodity)
        waits.append(np.column_stack([table[commodity, day], table[commodity, until]]))
        entries.add(table[commodity, day], number, 1)
        entries.add(table[commodity, until], number, -1)

    supply = np.zeros(rows, dtype=np.int64)
    commodity, day = np.nonzero(network.arriving)
    np.add.at(
        supply, balance[commodity, next_open[commodity, day]], network.arriving[commodity, day]
    )
    group, day = np.nonzero(network.waiting)
    opens = _next(opens_group)[group, day]
    np.add.at(supply, group_balance[group, opens], network.waiting[group, day])

    limited = np.zeros(network.room.shape, dtype=bool)
    np.logical_or.at(limited, network.resource, opens_bound | opens_start)
    limited &= network.room < UNLIMITED
    limited[:, sink] = False
    room_row, rows = _numbered(limited, rows)
    new_limited = np.zeros(network.new_room.shape, dtype=bool)
    first = np.flatnonzero(network.first)
    np.logical_or.at(new_limited, network.sequence[first], (opens_bound | opens_start)[first])
    new_limited &= network.new_room < UNLIMITED
    new_limited[:, sink] = False
    new_row, rows = _numbered(new_limited, rows)
    for variable in (bound, starting):
        commodity, day = np.nonzero((variable != NONE) & (room_row[network.resource] != NONE))
        entries.add(room_row[network.resource[commodity], day], variable[commodity, day], 1)
        commodity, day = np.nonzero(
            (variable[first] != NONE) & (new_row[network.sequence[first]] != NONE)
        )
        entries.add(
            new_row[network.sequence[first[commodity]], day], variable[first[commodity], day], 1
        )
    contact_days = np.zeros((len(network.contacts), sink + 1), dtype=bool)
    for contact, members in enumerate(network.contacts):
        contact_days[contact] = (opens_bound | opens_start)[members].sum(axis=0) > 1
    contact_days[:, sink] = False
    contact_row, rows = _numbered(contact_days, rows)
    for contact, members in enumerate(network.contacts):
        for variable in (bound[members], starting[members]):
            commodity, day = np.nonzero((variable != NONE) & (contact_row[contact] != NONE))
            entries.add(contact_row[contact, day], variable[commodity, day], 1)
    limits = np.concatenate(
        [
            network.room[limited],
            network.new_room[new_limited],
            np.ones(int(contact_days.sum()), dtype=np.int64),
        ]
    )

    cost = np.zeros(variables)
    for variable in (bound, starting):
        used = variable != NONE
        cost[variable[used]] = network.cost[used]
    row, column, value = entries.merged(variables)
    return CountModel(
        network=network,
        variables=variables,
        cost=cost,
        row=row,
        column=column,
        value=value,
        lower=np.append(supply, np.full(len(limits), FREE)),
        upper=np.append(supply, limits),
        bound=bound,
        starting=starting,
        room_row=room_row,
        new_row=new_row,
        waits=np.concatenate(waits),
    )


def _numbered(mask: np.ndarray, start: int) -> tuple[np.ndarray, int]:
    """Give numbers from `start` on to the true entries; return also the next number."""
    number = np.full(mask.shape, NONE)
    count = int(mask.sum())
    number[mask] = start + np.arange(count)
    return number, start + count


def _next(mask: np.ndarray) -> np.ndarray:
    """Return the first true column from each one on; the last column where there is none."""
    last = mask.shape[1] - 1
    place = np.where(mask, np.arange(last + 1), last)
    return np.asarray(np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1])


class _Entries:
    """The matrix while it is being written."""

    def __init__(self) -> None:
        self.row: list[np.ndarray] = []
        self.column: list[np.ndarray] = []
        self.value: list[np.ndarray] = []

    def add(self, row: np.ndarray, column: np.ndarray, value: int) -> None:
        self.row.append(row)
        self.column.append(column)
        self.value.append(np.full(len(row), value))

    def merged(self, variables: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries, those of one place added up, zeros left out."""
        key = np.concatenate(self.row) * variables + np.concatenate(self.column)
        places, entry = np.unique(key, return_inverse=True)
        value = np.zeros(len(places), dtype=np.int64)
        np.add.at(value, entry, np.concatenate(self.value))
        used = value != 0
        return places[used] // max(variables, 1), places[used] % max(variables, 1), value[used]
