"""Reinsertion: each chain on its cheapest path through the room that is left.

A plan made day by day is improved by taking out the chains that slip and giving each the path that
costs least now: the start and the days of its follow-ups are chosen together, by one pass over
the days from the last email to the first (a shortest path). Interchangeable chains travel in
groups, and all mailboxes choose at once, round after round.
"""

import numpy as np

from sendplan.planner.model.counts import AggregatedInstance, Counts, Demand
from sendplan.planner.model.grouping import rank
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.objective import NEVER, DayWeights
from sendplan.planner.model.stages import NONE

TOLERANCES = (0.5, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, NEVER / 2)
"""How much dearer than a free calendar a path may be, in priority-days, tried in this order.

A mailbox whose path is dear waits until those with cheap ones have taken what they can.
"""


def reinsert(
    aggregated: AggregatedInstance, demand: Demand, weights: DayWeights, days: int
) -> Counts:
    """Place chains one group at a time where they cost least.

    Parameters
    ----------
    aggregated : AggregatedInstance
        Room that is left, and rules.
    demand : Demand
        Chains to place.
    weights : DayWeights
        What lateness and slip cost.
    days : int
        How many days to look at.

    Returns
    -------
    Counts
        What is not in it found no path within those days.
    """
    return _Insertion(aggregated, demand, weights, days).run()


class _Insertion:
    """Room and availability while groups are placed."""

    def __init__(
        self, aggregated: AggregatedInstance, demand: Demand, weights: DayWeights, days: int
    ) -> None:
        self.aggregated, self.demand = aggregated, demand
        self.stages, self.pairs = aggregated.stages, aggregated.pairs
        self.days = days = min(days, aggregated.last + 1)
        self.day = np.arange(days)
        self.room = aggregated.room[:, :days].copy()
        self.new_room = aggregated.new_room[:, :days].copy()
        self.limited = np.asarray((self.new_room < UNLIMITED).any(axis=1))
        self.first = self.stages.is_first
        self.cost = weights.by_day(self.stages.sends[:, :days])
        # An email released beyond the days looked at finds none of them.
        self.release = np.minimum(aggregated.release[:, :days], days)
        self.credit = weights.slip[:, None] * self.stages.ready[:, :days]
        self.bound = np.zeros(demand.bound.shape, dtype=np.int32)
        self.free = np.zeros(demand.bound.shape, dtype=np.int32)

    def run(self) -> Counts:
        self._place_bound()
        self._place_free()
        return Counts(self.bound, self.free)

    def _paths(
        self, mailbox: np.ndarray, stage: np.ndarray, earliest: np.ndarray, open_days: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the cheapest path of a chain of each stage through each mailbox, and its cost.

        Parameters
        ----------
        mailbox, stage, earliest : ndarray of int, shape (paths,)
            Where it is to go, what is next, and the first day for that.
        open_days : ndarray of bool, shape (paths, days)
            Days on which the next email may leave, the mailbox's room aside.

        Returns
        -------
        cost : ndarray of float, shape (paths,)
            `NEVER` or more where there is no path.
        path : ndarray of int, shape (paths, emails)
            Days, `NONE` past the chain's end.
        """
        full = np.where(self.room[mailbox] > 0, 0.0, NEVER)
        path_stage = self.stages.path[stage]
        length = int(self.stages.remaining[stage].max(initial=1))
        by_email: list[np.ndarray] = []
        onward = np.zeros((len(stage), self.days + 1))
        for column in range(length - 1, -1, -1):
            at = path_stage[:, column]
            cost = self.cost[at] + full
            if column + 1 < length:
                after = path_stage[:, column + 1]
                step = np.take_along_axis(onward, self.release[after], axis=1) - self.credit[after]
                cost = cost + np.where(after[:, None] != NONE, step, 0.0)
            if column == 0:
                cost = np.where(open_days, cost, NEVER)
            onward[:, : self.days] = np.minimum.accumulate(cost[:, ::-1], axis=1)[:, ::-1]
            onward[:, self.days] = NEVER
            by_email.insert(0, cost)
        path = np.full((len(stage), length), NONE)
        rows = np.arange(len(stage))
        total = np.zeros(len(stage))
        begin = earliest
        for column, cost in enumerate(by_email):
            at = path_stage[:, column]
            if column:
                begin = self.release[at, np.maximum(path[:, column - 1], 0)]
            chosen = np.where(self.day >= begin[:, None], cost, 2 * NEVER).argmin(axis=1)
            if not column:
                total = cost[rows, chosen]
            path[:, column] = np.where(at != NONE, chosen, NONE)
        # What a later email is credited may have taken it below the cost of the impossible.
        return np.where(total < NEVER / 2, total, 2 * NEVER), path

    def _fitting(self, mailbox: np.ndarray, path: np.ndarray) -> np.ndarray:
        """Return how many chains fit on each path."""
        times = (path[:, :, None] == path[:, None, :]).sum(axis=2)
        room = self.room[mailbox[:, None], np.maximum(path, 0)] // times
        return np.asarray(np.where(path != NONE, room, room.max(initial=0)).min(axis=1))

    def _take(
        self,
        mailbox: np.ndarray,
        stage: np.ndarray,
        path: np.ndarray,
        count: np.ndarray,
        table: np.ndarray,
    ) -> None:
        """Place chains on their paths; the first email is entered into `table`."""
        going = count > 0
        mailbox, stage, path, count = mailbox[going], stage[going], path[going], count[going]
        for column in range(path.shape[1]):
            on = path[:, column] != NONE
            day = path[on, column]
            pair = self.pairs.number[self.stages.path[stage[on], column], mailbox[on]]
            np.add.at(table if column == 0 else self.bound, (pair, day), count[on])
            np.subtract.at(self.room, (mailbox[on], day), count[on])
        starts = self.first[stage]
        sequence = self.stages.sequence[stage[starts]]
        np.subtract.at(self.new_room, (sequence, path[starts, 0]), count[starts])

    def _new_limited(self, stage: np.ndarray, day: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Cut counts to the first emails that max_new_per_day lets leave, in the order given."""
        sequence = self.stages.sequence[stage]
        starts = np.flatnonzero(self.first[stage] & self.limited[sequence])
        if not len(starts):
            return count
        result = count.copy()
        key = sequence[starts] * self.days + day[starts]
        for place in np.unique(key):
            here = starts[key == place]
            limits = np.minimum(np.cumsum(result[here]), self.new_room.ravel()[place])
            result[here] = np.diff(limits, prepend=0)
        return result

    def _place_bound(self) -> None:
        """Place chains whose mailbox is given, the most urgent first."""
        pair, day = np.nonzero(self.demand.bound[:, : self.days])
        left = self.demand.bound[pair, day].copy()
        mailbox, stage = self.pairs.mailbox[pair], self.pairs.stage[pair]
        order = np.lexsort((day, -self.aggregated.urgency[stage], mailbox))
        mailbox, stage, day, left = mailbox[order], stage[order], day[order], left[order]
        mailboxes = np.unique(mailbox)
        turn = np.searchsorted(mailbox, mailboxes)
        end = np.searchsorted(mailbox, mailboxes, side="right")
        while len(mailboxes):
            open_days = self._open_days(stage[turn])
            cost, path = self._paths(mailboxes, stage[turn], day[turn], open_days)
            fitting = np.where(cost < NEVER, self._fitting(mailboxes, path), 0)
            count = np.minimum(fitting, left[turn])
            count = self._new_limited(stage[turn], path[:, 0], count)
            self._take(mailboxes, stage[turn], path, count, self.bound)
            left[turn] -= count
            turn = turn + ((left[turn] == 0) | (fitting == 0))
            going = turn < end
            mailboxes, turn, end = mailboxes[going], turn[going], end[going]

    def _open_days(self, stage: np.ndarray) -> np.ndarray:
        """Return the days on which max_new_per_day lets the stage's email leave."""
        room = self.new_room[self.stages.sequence[stage]] > 0
        return np.asarray(room | ~self.first[stage][:, None])

    def _place_free(self) -> None:
        """Place chains that may choose: in each round every mailbox takes its cheapest path."""
        ready = np.cumsum(self.demand.free[:, : self.days], axis=1)
        wanted = np.flatnonzero(ready[:, -1] > 0)
        stage, mailbox = np.nonzero(self.pairs.number[wanted] != NONE)
        stage = wanted[stage]
        if not len(stage):
            return
        earliest = (ready > 0).argmax(axis=1)[stage]
        started = np.zeros_like(ready)
        usual = self._costs_if_empty(stage, earliest)
        extra = np.full(len(stage), NEVER)
        path = np.zeros((len(stage), self.stages.path.shape[1]), dtype=np.int64)
        stale = np.ones(len(stage), dtype=bool)
        tolerance = 0
        while tolerance < len(TOLERANCES):
            # A start uses up what has become ready by that day, and by every later one.
            available = np.minimum.accumulate((ready - started)[:, ::-1], axis=1)[:, ::-1]
            look = np.flatnonzero(stale & (available[stage, -1] > 0))
            if len(look):
                open_days = self._open_days(stage[look]) & (available[stage[look]] > 0)
                cost, found = self._paths(mailbox[look], stage[look], earliest[look], open_days)
                extra[look] = np.where(cost < NEVER, cost - usual[look], 2 * NEVER)
                path[look] = NONE
                path[look, : found.shape[1]] = found
                stale[look] = False
            extra[available[stage, -1] <= 0] = 2 * NEVER
            best = _cheapest_of_each(mailbox, extra)
            best = best[extra[best] < TOLERANCES[tolerance]]
            best = best[np.lexsort((mailbox[best], extra[best], stage[best]))]
            count = self._started(stage[best], mailbox[best], path[best], available)
            if not count.any():
                tolerance += 1
                continue
            self._take(mailbox[best], stage[best], path[best], count, self.free)
            beginning = np.zeros_like(started)
            np.add.at(beginning, (stage[best], path[best, 0]), count)
            started += np.cumsum(beginning, axis=1)
            touched = np.zeros(len(self.room), dtype=bool)
            touched[mailbox[best[count > 0]]] = True
            stale |= touched[mailbox]
            stale |= np.isin(stage, stage[best[count > 0]])

    def _costs_if_empty(self, stage: np.ndarray, earliest: np.ndarray) -> np.ndarray:
        """Return what each path would cost if there were room everywhere."""
        room, self.room = self.room, np.ones_like(self.room)
        everything = np.ones((len(stage), self.days), dtype=bool)
        cost, _ = self._paths(np.zeros(len(stage), dtype=np.int64), stage, earliest, everything)
        self.room = room
        return cost

    def _started(
        self, stage: np.ndarray, mailbox: np.ndarray, path: np.ndarray, available: np.ndarray
    ) -> np.ndarray:
        """Return how many start on each path, cheapest first, as far as there are any."""
        at_hand = available[stage, path[:, 0]]
        count = np.minimum(self._fitting(mailbox, path), at_hand)
        begins = np.flatnonzero(np.append(True, stage[1:] != stage[:-1])[: len(stage)])
        if len(begins):
            group = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(stage))))
            # Paths that start on different days share what is at hand on the tightest of them.
            least = np.minimum.reduceat(at_hand, begins)[group]
            upto = np.cumsum(count)
            upto -= (upto - count)[begins][group]
            count = np.clip(least - (upto - count), 0, count)
        return self._new_limited(stage, path[:, 0], count)


def _cheapest_of_each(group: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return the cheapest member of each group."""
    order = np.lexsort((cost, group))
    return np.asarray(order[rank(group[order]) == 0])
