"""Lanes: what one mailbox, or several taken as one, can send of emails with the same future.

Two stages have the same future if their emails may leave on the same days, wait alike for what
follows, and weigh the same; from then on their chains are interchangeable, whichever step it is
that they send. A lane is such a future at a box, and a box is a mailbox or a group of mailboxes
whose capacities are added up. Lanes are all that the exact methods and the bounds see of a problem.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.step_classes import NONE


@dataclass(frozen=True)
class Lanes:
    """Chains as quantities that flow from lane to lane.

    The last day is a sink: it takes everything that has not left before, at the cost of that day,
    so that no plan is cheaper than the cheapest flow.

    Parameters
    ----------
    box, following, remaining : ndarray of int, shape (lanes,)
        Where its emails leave from, the lane that its chains enter next (or `NONE`), and how many
        emails they have left.
    first : ndarray of bool, shape (lanes,)
        Whether it sends the first emails of enrollments.
    sequence : ndarray of int, shape (lanes,)
        Row of `new_room`, for lanes that send first emails.
    urgency : ndarray of float, shape (lanes,)
        What waiting one more day weighs.
    sends : ndarray of bool, shape (lanes, days)
        Whether its emails may leave on a day.
    cost : ndarray of float, shape (lanes, days)
        What an email that leaves on a day adds to the objective, see `constant`.
    onward : ndarray of int, shape (lanes, days)
        First day on which the chain's next email may leave.
    arriving : ndarray of int, shape (lanes, days)
        Chains that stand here, by the first day on which they may go on.
    group : ndarray of int, shape (lanes,)
        Row of `waiting` whose chains may start here, or `NONE`.
    waiting : ndarray of int, shape (groups, days)
        Chains that may still choose their mailbox, by the first day on which they may go on.
    contact : ndarray of int, shape (lanes,)
        Contact of whose emails only one may leave a day, `NONE` where chains are many contacts'.
    room : ndarray of int, shape (boxes, days)
        Emails that may leave.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may leave.
    constant : float
        What the objective has besides the emails' costs.
    """

    box: np.ndarray
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
        """Return the number of lanes."""
        return len(self.box)

    @property
    def sink(self) -> int:
        """Return the last day, which takes what no other has taken."""
        return int(self.cost.shape[1]) - 1

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """Return the lanes by number of emails left, the fewest first."""
        most = int(self.remaining.max(initial=0))
        return [np.flatnonzero(self.remaining == left) for left in range(1, most + 1)]

    @cached_property
    def open_days(self) -> tuple[np.ndarray, np.ndarray]:
        """Return on which days emails can be there to leave: bound chains, and starting ones.

        Both of shape (lanes, days). No chain can be in a lane before the first that comes to it.
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
        """Return the chains that come to each lane from the one before it, by day.

        Parameters
        ----------
        sends : ndarray, shape (lanes, days)
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
        sends : ndarray of int, shape (lanes, days)
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
        """Return the objective of emails by lane and day."""
        sent = sends > 0
        return float((self.cost[sent] * sends[sent]).sum()) + self.constant

    @cached_property
    def contacts(self) -> list[np.ndarray]:
        """Return the lanes of each contact that is told apart."""
        known = np.unique(self.contact[self.contact != NONE])
        return [np.flatnonzero(self.contact == contact) for contact in known]

    def meet(self, sends: np.ndarray) -> bool:
        """Tell whether two emails of a contact leave on one day."""
        return any((sends[lanes, :-1].sum(axis=0) > 1).any() for lanes in self.contacts)

    def settled(self, shares: np.ndarray) -> "Lanes":
        """Give the chains that may choose to lanes.

        Parameters
        ----------
        shares : ndarray of int, shape (lanes, days)
            Chains of the groups, by lane and first possible day.
        """
        return replace(
            self,
            arriving=self.arriving + shares,
            group=np.full(len(self), NONE),
            waiting=np.zeros((0, self.sink + 1), dtype=np.int64),
        )

    def at(self, boxes: np.ndarray) -> "Lanes":
        """Return the lanes of some boxes alone; their groups must have been settled.

        Parameters
        ----------
        boxes : ndarray of int
            Boxes, ascending; those of the result are numbered in this order.
        """
        place = np.full(len(self.room), NONE)
        place[boxes] = np.arange(len(boxes))
        lane = np.flatnonzero(place[self.box] != NONE)
        number = np.full(len(self) + 1, NONE)
        number[lane] = np.arange(len(lane))
        first = self.first[lane]
        rows, row = np.unique(self.sequence[lane[first]], return_inverse=True)
        sequence = np.zeros(len(lane), dtype=np.int64)
        sequence[first] = row
        return replace(
            self,
            box=place[self.box[lane]],
            following=number[self.following[lane]],
            remaining=self.remaining[lane],
            first=first,
            sequence=sequence,
            urgency=self.urgency[lane],
            sends=self.sends[lane],
            cost=self.cost[lane],
            onward=self.onward[lane],
            arriving=self.arriving[lane],
            group=self.group[lane],
            contact=self.contact[lane],
            room=self.room[boxes],
            new_room=self.new_room[rows],
            constant=0.0,
        )

    def grouped(self, group_of: np.ndarray) -> "Lanes":
        """Take boxes together; what this allows is never less.

        Parameters
        ----------
        group_of : ndarray of int, shape (boxes,)
            The new box of each box.
        """
        future, boxes = self.future, int(group_of.max(initial=0)) + 1
        _, kept, lane = np.unique(
            future * boxes + group_of[self.box], return_index=True, return_inverse=True
        )
        following = np.where(
            self.following[kept] == NONE, NONE, np.append(lane, NONE)[self.following[kept]]
        )
        arriving = np.zeros((len(kept), self.sink + 1), dtype=np.int64)
        np.add.at(arriving, lane, self.arriving)
        room = np.zeros((boxes, self.sink + 1), dtype=np.int64)
        np.add.at(room, group_of, self.room)
        return replace(
            self,
            box=group_of[self.box[kept]],
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
        """Number the lanes' futures: equal where lanes differ in nothing but their box."""
        labels: dict[tuple[object, ...], int] = {}
        future = np.full(len(self) + 1, NONE)
        for lane in np.argsort(self.remaining, kind="stable"):
            key = (
                future[self.following[lane]],
                self.group[lane],
                self.sequence[lane],
                self.contact[lane],
                bool(self.first[lane]),
                self.cost[lane].tobytes(),
                self.onward[lane].tobytes(),
                self.sends[lane].tobytes(),
            )
            future[lane] = labels.setdefault(key, len(labels))
        return future[:-1]
