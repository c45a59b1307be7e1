"""The flow network: chains as commodities that flow through resources and days.

Two stages have the same future if their emails may leave on the same days, what follows has the
same waits, and the weights are equal; from then on their chains are interchangeable, whichever
step they send. A commodity is one future at one resource; a resource is a mailbox, or a group of
mailboxes with added-up capacity. The exact methods and the bounds see nothing else of a problem.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sendplan.planner.model.grouping import next_true
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


@dataclass(frozen=True)
class FlowNetwork:
    """Chains as quantities that flow from commodity to commodity.

    The last day is a sink: it takes every email that has not left before, at the cost of that day.
    So no plan costs less than the cheapest flow.

    Parameters
    ----------
    resource, following, remaining : ndarray of int, shape (commodities,)
        Resource that the emails leave from, the commodity that the chains enter next (or `NONE`),
        and the emails that are left, this one included.
    first : ndarray of bool, shape (commodities,)
        Whether the emails are the first of their enrollments.
    sequence : ndarray of int, shape (commodities,)
        Row of `new_room`, for commodities of first emails.
    urgency : ndarray of float, shape (commodities,)
        Cost of waiting one more day.
    sends : ndarray of bool, shape (commodities, days)
        Whether emails may leave on a day.
    cost : ndarray of float, shape (commodities, days)
        What an email that leaves on a day adds to the objective, see `constant`.
    onward : ndarray of int, shape (commodities, days)
        First day on which the chain's next email may leave, by the day of this one.
    arriving : ndarray of int, shape (commodities, days)
        Chains that start here, bound to the resource, by the first day on which they may go on.
    group : ndarray of int, shape (commodities,)
        Row of `waiting` whose chains may start here, or `NONE`.
    waiting : ndarray of int, shape (groups, days)
        Chains that have no mailbox yet, by the first day on which they may go on.
    contact : ndarray of int, shape (commodities,)
        Contact of the one chain of the commodity, who may get one email a day; `NONE` where the
        chains are of many contacts.
    room : ndarray of int, shape (resources, days)
        Emails that may leave.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may leave.
    constant : float
        What the objective has besides the cost of the emails.
    """

    resource: np.ndarray
    following: np.ndarray
    remaining: np.ndarray
    first: np.ndarray
    sequence: np.ndarray
    urgency: np.ndarray
    sends: np.ndarray
    cost: np.ndarray
    onward: np.ndarray
    arriving: np.ndarray
    group: np.ndarray
    waiting: np.ndarray
    contact: np.ndarray
    room: np.ndarray
    new_room: np.ndarray
    constant: float

    def __len__(self) -> int:
        """Return the number of commodities."""
        return len(self.resource)

    @property
    def sink(self) -> int:
        """Return the last day, which takes every email that has not left before."""
        return int(self.cost.shape[1]) - 1

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """Return the commodities by number of emails left, the fewest first."""
        most = int(self.remaining.max(initial=0))
        return [np.flatnonzero(self.remaining == left) for left in range(1, most + 1)]

    @cached_property
    def open_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the days on which emails of bound chains, and of starting chains, can leave.

        Both of shape (commodities, days): no chain is in a commodity before the first arrives.
        """
        days = np.arange(self.sink + 1)
        never = self.sink + 1
        bound = np.where(self.arriving.any(axis=1), (self.arriving > 0).argmax(axis=1), never)
        first = np.where(self.waiting.any(axis=1), (self.waiting > 0).argmax(axis=1), never)
        starts = np.append(first, never)[self.group]
        opens = next_true(self.sends)
        for level in self.levels[::-1]:
            goes_on = level[self.following[level] != NONE]
            begin = np.minimum(bound[goes_on], starts[goes_on])
            here = goes_on[begin < never]
            leaves = opens[here, begin[begin < never]]
            np.minimum.at(bound, self.following[here], self.onward[here, leaves])
        return self.sends & (days >= bound[:, None]), self.sends & (days >= starts[:, None])

    def inflow(self, sends: np.ndarray) -> np.ndarray:
        """Return the chains that enter each commodity from the one before it, by day.

        Parameters
        ----------
        sends : ndarray, shape (commodities, days)
            Emails that leave.
        """
        result = np.zeros_like(sends)
        goes_on = np.flatnonzero(self.following != NONE)
        after = self.following[goes_on][:, None]
        np.add.at(result, (after, self.onward[goes_on]), sends[goes_on])
        return result

    def bound_sends(self, sends: np.ndarray) -> np.ndarray:
        """Return how many of the emails are of chains that are bound to their mailbox.

        As many as possible: then no chain starts before its first possible day.

        Parameters
        ----------
        sends : ndarray of int, shape (commodities, days)
            Emails that leave.
        """
        choosing = np.flatnonzero(self.group != NONE)
        result = sends.copy()
        arriving = (self.arriving + self.inflow(sends))[choosing]
        at_hand = np.zeros(len(choosing), dtype=np.int64)
        for day in range(self.sink + 1):
            at_hand += arriving[:, day]
            result[choosing, day] = np.minimum(sends[choosing, day], at_hand)
            at_hand -= result[choosing, day]
        return result

    def value(self, sends: np.ndarray) -> float:
        """Return the objective of emails by commodity and day."""
        sent = sends > 0
        return float((self.cost[sent] * sends[sent]).sum()) + self.constant

    @cached_property
    def contacts(self) -> list[np.ndarray]:
        """Return the commodities of each contact with commodities of its own."""
        known = np.unique(self.contact[self.contact != NONE])
        return [np.flatnonzero(self.contact == contact) for contact in known]

    def has_clash(self, sends: np.ndarray) -> bool:
        """Tell whether two emails of a contact leave on one day."""
        return any((sends[members, :-1].sum(axis=0) > 1).any() for members in self.contacts)

    def with_starts(self, starts: np.ndarray) -> "FlowNetwork":
        """Return the network with every chain bound to a resource.

        Parameters
        ----------
        starts : ndarray of int, shape (commodities, days)
            Chains of the groups, by the commodity where they start and first possible day.
        """
        return replace(
            self,
            arriving=self.arriving + starts,
            group=np.full(len(self), NONE),
            waiting=np.zeros((0, self.sink + 1), dtype=np.int64),
        )

    def restricted(self, resources: np.ndarray) -> "FlowNetwork":
        """Return the network of some resources alone; every chain must be bound.

        Parameters
        ----------
        resources : ndarray of int
            Resources, ascending; those of the result are numbered in this order.
        """
        new_resource = np.full(len(self.room), NONE)
        new_resource[resources] = np.arange(len(resources))
        kept = np.flatnonzero(new_resource[self.resource] != NONE)
        number = np.full(len(self) + 1, NONE)
        number[kept] = np.arange(len(kept))
        first = self.first[kept]
        rows, row = np.unique(self.sequence[kept[first]], return_inverse=True)
        sequence = np.zeros(len(kept), dtype=np.int64)
        sequence[first] = row
        columns = self._columns(kept) | {
            "resource": new_resource[self.resource[kept]],
            "following": number[self.following[kept]],
            "sequence": sequence,
        }
        return replace(
            self,
            **columns,
            room=self.room[resources],
            new_room=self.new_room[rows],
            constant=0.0,
        )

    def aggregated(self, group_of: np.ndarray) -> "FlowNetwork":
        """Return a relaxation in which groups of resources are one each.

        Parameters
        ----------
        group_of : ndarray of int, shape (resources,)
            The new resource of each resource.
        """
        resources = int(group_of.max(initial=0)) + 1
        _, kept, commodity = np.unique(
            self.future * resources + group_of[self.resource],
            return_index=True,
            return_inverse=True,
        )
        arriving = np.zeros((len(kept), self.sink + 1), dtype=np.int64)
        np.add.at(arriving, commodity, self.arriving)
        room = np.zeros((resources, self.sink + 1), dtype=np.int64)
        np.add.at(room, group_of, self.room)
        columns = self._columns(kept) | {
            "resource": group_of[self.resource[kept]],
            "following": np.append(commodity, NONE)[self.following[kept]],
            "arriving": arriving,
        }
        return replace(self, **columns, room=np.minimum(room, UNLIMITED))

    def _columns(self, kept: np.ndarray) -> dict[str, Any]:
        """Return what is known of some commodities alone."""
        return {name: getattr(self, name)[kept] for name in _BY_COMMODITY}

    @cached_property
    def future(self) -> np.ndarray:
        """Return a number by commodity, equal where only the resources differ."""
        labels: dict[tuple[object, ...], int] = {}
        future = np.full(len(self) + 1, NONE)
        for commodity in np.argsort(self.remaining, kind="stable"):
            key = (
                future[self.following[commodity]],
                self.group[commodity],
                self.sequence[commodity],
                self.contact[commodity],
                bool(self.first[commodity]),
                self.cost[commodity].tobytes(),
                self.onward[commodity].tobytes(),
                self.sends[commodity].tobytes(),
            )
            future[commodity] = labels.setdefault(key, len(labels))
        return future[:-1]


_BY_COMMODITY = (
    "resource", "following", "remaining", "first", "sequence", "urgency", "sends", "cost", "onward",
    "arriving", "group", "contact",
)  # fmt: skip
