"""The count model: a multi-commodity network flow with shared capacities, as sparse rows.

Variables are the emails that leave a commodity on a day, and those that wait there until its next
open day. What enters a commodity on a day equals what leaves and waits. So each variable stands in
two balance rows, with opposite signs, and but for the capacity rows the matrix is that of a
network: linear relaxations are tight, and integer solutions near. Every solver gets this model.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.sparse_rows import SparseRows, number_entries
from sendplan.planner.model.grouping import next_true
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE

NO_LOWER = np.iinfo(np.int64).min
"""Lower limit of a row without one."""


@dataclass(frozen=True)
class CountModel:
    """Minimise ``cost @ x`` under ``lower <= rows @ x <= upper``, ``x >= 0``, sends integer.

    Parameters
    ----------
    network : FlowNetwork
        What is modelled.
    variables : int
        Number of variables: first those of emails that leave, then those of emails that wait.
    cost : ndarray of float, shape (variables,)
        Objective, without the network's constant.
    row, column, value : ndarray
        The matrix, entry by entry, sorted by row and column; no entry twice.
    lower, upper : ndarray of int, shape (rows,)
        Limits of the rows; `NO_LOWER` where there is no lower one.
    bound, starting : ndarray of int, shape (commodities, days)
        Variable of the emails of bound chains, and of starting chains; `NONE` where none is.
    room_row, new_row : ndarray of int
        Capacity row of each resource, and of each sequence, by day; `NONE` where none can bind.
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
        """Return the number of variables of emails that leave."""
        return self.variables - len(self.waits)

    def sends(self, solution: np.ndarray) -> np.ndarray:
        """Return the emails by commodity and day of a solution."""
        padded = np.append(solution, 0)
        return np.asarray(padded[self.bound] + padded[self.starting])

    def solution(self, bound: np.ndarray, starting: np.ndarray | None = None) -> np.ndarray:
        """Return the solution in which given emails leave.

        Parameters
        ----------
        bound, starting : ndarray of int, shape (commodities, days)
            Emails of bound chains, and of starting chains; none leaves before it can be there.

        Returns
        -------
        ndarray of int, shape (variables,)
            The waiting variables follow from the balance.
        """
        result = np.zeros(self.variables, dtype=np.int64)
        used = self.bound != NONE
        result[self.bound[used]] = bound[used]
        if starting is not None:
            used = self.starting != NONE
            result[self.starting[used]] = starting[used]
        of_sends = self.column < self.sending
        left = np.where(self.lower == NO_LOWER, 0, self.lower)
        spent = (self.value * result[self.column])[of_sends]
        np.subtract.at(left, self.row[of_sends], spent)
        for number, (leaves, enters) in enumerate(self.waits.tolist(), start=self.sending):
            result[number] = left[leaves]
            left[enters] += left[leaves]
        return result

    def neighbourhood(self, solution: np.ndarray, chosen: np.ndarray) -> "Neighbourhood":
        """Return the model of some variables, with the others fixed.

        Parameters
        ----------
        solution : ndarray of int, shape (variables,)
            Values that satisfy all rows.
        chosen : ndarray of bool, shape (variables,)
            Variables that are free.
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
            lower=np.where(lower == NO_LOWER, NO_LOWER, lower - spent[rows]),
            upper=self.upper[rows] - spent[rows],
        )

    @cached_property
    def day(self) -> np.ndarray:
        """Return the day on which the emails of each variable leave, or begin to wait."""
        day = np.zeros(self.variables, dtype=np.int64)
        of_row = np.zeros(len(self.lower), dtype=np.int64)
        for variable in (self.bound, self.starting):
            commodity, on = np.nonzero(variable != NONE)
            day[variable[commodity, on]] = on
        balanced = self.lower[self.row] != NO_LOWER
        leaves = (self.column < self.sending) & (self.value == 1) & balanced
        of_row[self.row[leaves]] = day[self.column[leaves]]
        day[self.sending :] = of_row[self.waits[:, 0]]
        return day


@dataclass(frozen=True)
class Neighbourhood:
    """Some variables of a model, with the others fixed.

    Parameters
    ----------
    variable : ndarray of int
        The variables; columns are numbered in this order.
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


def build_count_model(network: FlowNetwork) -> CountModel:
    """Write a flow network as a model.

    Parameters
    ----------
    network : FlowNetwork
        What is decided.

    Returns
    -------
    CountModel
        With variables only for days on which an email can be there.
    """
    opens_bound, opens_start = network.open_days
    grouped = network.group != NONE
    opens_group = _any_by(network.group[grouped], opens_start[grouped], network.waiting.shape)
    (bound, starting), sending = number_entries([opens_bound, opens_start])
    capacity, limits = _capacity_rows(network, opens_bound | opens_start)
    (balance, group_balance, room_row, new_row, contact_row), _ = number_entries(
        [opens_bound, opens_group, *capacity]
    )
    next_open, next_group = next_true(opens_bound), next_true(opens_group)

    matrix = SparseRows()
    matrix.add(balance, bound, 1)
    matrix.add(group_balance[network.group[grouped]], starting[grouped], 1)
    goes_on = network.following != NONE
    after = network.following[goes_on][:, None]
    enters = balance[after, next_open[after, network.onward[goes_on]]]
    first = network.first
    for variable in (bound, starting):
        matrix.add(enters, variable[goes_on], -1)
        matrix.add(room_row[network.resource], variable, 1)
        matrix.add(new_row[network.sequence[first]], variable[first], 1)
        for contact, members in enumerate(network.contacts):
            matrix.add(contact_row[contact], variable[members], 1)
    waits = []
    for row, opens, next_day in (
        (balance, opens_bound, next_open),
        (group_balance, opens_group, next_group),
    ):
        chains, day = np.nonzero(opens[:, :-1])
        waits.append(np.column_stack([row[chains, day], row[chains, next_day[chains, day + 1]]]))
    waiting = np.concatenate(waits)
    matrix.add(waiting[:, 0], sending + np.arange(len(waiting)), 1)
    matrix.add(waiting[:, 1], sending + np.arange(len(waiting)), -1)

    supply = np.zeros(int(opens_bound.sum() + opens_group.sum()), dtype=np.int64)
    for row, chains, next_day in (
        (balance, network.arriving, next_open),
        (group_balance, network.waiting, next_group),
    ):
        place, day = np.nonzero(chains)
        np.add.at(supply, row[place, next_day[place, day]], chains[place, day])
    cost = np.zeros(sending + len(waiting))
    for variable, opens in ((bound, opens_bound), (starting, opens_start)):
        cost[variable[opens]] = network.cost[opens]
    row, column, value = matrix.merged()
    return CountModel(
        network=network,
        variables=len(cost),
        cost=cost,
        row=row,
        column=column,
        value=value,
        lower=np.append(supply, np.full(len(limits), NO_LOWER)),
        upper=np.append(supply, limits),
        bound=bound,
        starting=starting,
        room_row=room_row,
        new_row=new_row,
        waits=waiting,
    )


def _capacity_rows(network: FlowNetwork, opens: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return where capacities may bind, of resources, sequences and contacts, and how many may go.

    `opens` tells on which days emails of a commodity can leave. The sink takes everything.
    """
    first = network.first
    room = _any_by(network.resource, opens, network.room.shape)
    room &= network.room < UNLIMITED
    new = _any_by(network.sequence[first], opens[first], network.new_room.shape)
    new &= network.new_room < UNLIMITED
    contact = np.zeros((len(network.contacts), network.sink + 1), dtype=bool)
    for place, members in enumerate(network.contacts):
        contact[place] = opens[members].sum(axis=0) > 1
    for table in (room, new, contact):
        table[:, network.sink] = False
    once = np.ones(int(contact.sum()), dtype=np.int64)
    return [room, new, contact], np.concatenate([network.room[room], network.new_room[new], once])


def _any_by(key: np.ndarray, flags: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return, by key and column, whether any row with the key is true."""
    result = np.zeros(shape, dtype=bool)
    np.logical_or.at(result, key, flags)
    return result
