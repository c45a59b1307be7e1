"""The flow network: chains as commodities that flow through resources and days.

Two stages have the same future if their emails may leave on the same days, wait alike for what
follows, and weigh the same; from then on their chains are interchangeable, whichever step it is
that they send. A commodity is such a future at a resource, and a resource is a mailbox or a group
of mailboxes whose capacities are added up. Commodities are all that the exact methods and the
bounds see of a problem.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


@dataclass(frozen=True)
class FlowNetwork:
    """Chains as quantities that flow from commodity to commodity.

    The last day is a sink: it takes everything that has not left before, at the cost of that day,
    so that no plan is cheaper than the cheapest flow.

    Parameters
    ----------
    resource, following, remaining : ndarray of int, shape (commodities,)
        Where its emails leave from, the commodity that its chains enter next (or `NONE`), and how
        many emails they have left.
    first : ndarray of bool, shape (commodities,)
        Whether it sends the first emails of enrollments.
    sequence : ndarray of int, shape (commodities,)
        Row of `new_room`, for commodities that send first emails.
    urgency : ndarray of float, shape (commodities,)
        What waiting one more day weighs.
    sends : ndarray of bool, shape (commodities, days)
        Whether its emails may leave on a day.
    cost : ndarray of float, shape (commodities, days)
        What an email that leaves on a day adds to the objective, see `constant`.
    onward : ndarray of int, shape (commodities, days)
        First day on which the chain's next email may leave.
    arriving : ndarray of int, shape (commodities, days)
        Chains that stand here, by the first day on which they may go on.
    group : ndarray of int, shape (commodities,)
        Row of `waiting` whose chains may start here, or `NONE`.
    waiting : ndarray of int, shape (groups, days)
        Chains that may still choose their mailbox, by the first day on which they may go on.
    contact : ndarray of int, shape (commodities,)
        Contact of whose emails only one may leave a day, `NONE` where chains are many contacts'.
    room : ndarray of int, shape (resources, days)
        Emails that may leave.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may leave.
    constant : float
        What the objective has besides the emails' costs.
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
        """Return the last day, which takes what no other has taken."""
        return int(self.cost.shape[1]) - 1

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """Return the commodities by number of emails left, the fewest first."""
        most = int(self.remaining.max(initial=0))
        return [np.flatnonzero(self.remaining == left) for left in range(1, most + 1)]

    @cached_property
    def open_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Return on which days emails can be there to leave: bound chains, and starting ones.

        Both of shape (commodities, days). No chain can be in a commodity before the first that
        comes to it.
        """
        days = np.arange(self.sink + 1)
        never = self.sink + 1
        bound = np.where(self.arriving.any(axis=1), (self.arriving > 0).argmax(axis=1), never)
        starts = np.full(len(self), never)
        grouped = self.group != NONE
        if grouped.any():
            first = np.where(self.waiting.any(axis=1), (self.waiting > 0).argmax(axis=1), never)
            starts[grouped] = first[self.group[grouped]]
        opens = np.where(self.sends, days, self.sink)
        opens = np.minimum.accumulate(opens[:, ::-1], axis=1)[:, ::-1]
        for level in self.levels[::-1]:
            goes_on = level[self.following[level] != NONE]
            begin = np.minimum(bound[goes_on], starts[goes_on])
            here = goes_on[begin < never]
            leaves = opens[here, begin[begin < never]]
            np.minimum.at(bound, self.following[here], self.onward[here, leaves])
        return (
            self.sends & (days >= bound[:, None]),
            self.sends & (days >= starts[:, None]) & (starts < never)[:, None],
        )

    def inflow(self, sends: np.ndarray) -> np.ndarray:
        """Return the chains that come to each commodity from the one before it, by day.

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

    def of_bound(self, sends: np.ndarray) -> np.ndarray:
        """Return how many of the emails are of chains that have no choice of their mailbox.

        As many as there are: those that may choose then start no earlier than they can.

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
        """Return the commodities of each contact that is told apart."""
        known = np.unique(self.contact[self.contact != NONE])
        return [np.flatnonzero(self.contact == contact) for contact in known]

    def meet(self, sends: np.ndarray) -> bool:
        """Tell whether two emails of a contact leave on one day."""
        return any((sends[network, :-1].sum(axis=0) > 1).any() for network in self.contacts)

    def settled(self, shares: np.ndarray) -> "FlowNetwork":
        """Give the chains that may choose to commodities.

        Parameters
        ----------
        shares : ndarray of int, shape (commodities, days)
            Chains of the groups, by commodity and first possible day.
        """
        return replace(
            self,
            arriving=self.arriving + shares,
            group=np.full(len(self), NONE),
            waiting=np.zeros((0, self.sink + 1), dtype=np.int64),
        )

    def at(self, resources: np.ndarray) -> "FlowNetwork":
        """Return the commodities of some resources alone; their groups must have been settled.

        Parameters
        ----------
        resources : ndarray of int
            Resources, ascending; those of the result are numbered in this order.
        """
        place = np.full(len(self.room), NONE)
        place[resources] = np.arange(len(resources))
        commodity = np.flatnonzero(place[self.resource] != NONE)
        number = np.full(len(self) + 1, NONE)
        number[commodity] = np.arange(len(commodity))
        first = self.first[commodity]
        rows, row = np.unique(self.sequence[commodity[first]], return_inverse=True)
        sequence = np.zeros(len(commodity), dtype=np.int64)
        sequence[first] = row
        return replace(
            self,
            resource=place[self.resource[commodity]],
            following=number[self.following[commodity]],
            remaining=self.remaining[commodity],
            first=first,
            sequence=sequence,
            urgency=self.urgency[commodity],
            sends=self.sends[commodity],
            cost=self.cost[commodity],
            onward=self.onward[commodity],
            arriving=self.arriving[commodity],
            group=self.group[commodity],
            contact=self.contact[commodity],
            room=self.room[resources],
            new_room=self.new_room[rows],
            constant=0.0,
        )

    def grouped(self, group_of: np.ndarray) -> "FlowNetwork":
        """Take resources together; what this allows is never less.

        Parameters
        ----------
        group_of : ndarray of int, shape (resources,)
            The new resource of each resource.
        """
        future, resources = self.future, int(group_of.max(initial=0)) + 1
        _, kept, commodity = np.unique(
            future * resources + group_of[self.resource], return_index=True, return_inverse=True
        )
        following = np.where(
            self.following[kept] == NONE, NONE, np.append(commodity, NONE)[self.following[kept]]
        )
        arriving = np.zeros((len(kept), self.sink + 1), dtype=np.int64)
        np.add.at(arriving, commodity, self.arriving)
        room = np.zeros((resources, self.sink + 1), dtype=np.int64)
        np.add.at(room, group_of, self.room)
        return replace(
            self,
            resource=group_of[self.resource[kept]],
            following=following,
            remaining=self.remaining[kept],
            first=self.first[kept],
            sequence=self.sequence[kept],
            urgency=self.urgency[kept],
            sends=self.sends[kept],
            cost=self.cost[kept],
            onward=self.onward[kept],
            arriving=arriving,
            group=self.group[kept],
            contact=self.contact[kept],
            room=np.minimum(room, UNLIMITED),
        )

    @cached_property
    def future(self) -> np.ndarray:
        """Number futures: equal where commodities differ in nothing but their resource."""
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
