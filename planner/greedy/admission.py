"""The look-ahead greedy: day by day, on counts, admitting only what can be followed up in time.

On each day the follow-ups that wait go first; then each sequence starts as many contacts as its
mailboxes have room for *over the whole trajectory* of follow-ups that a start entails. With
targets, the emails that a relaxed plan has sent by each day
(`sendplan.planner.greedy.volume_algorithm`), it starts no more than those, and lets a follow-up
wait where the relaxed plan does.

A contact is a count here, and `sendplan.planner.model.disaggregation` turns counts back into
contacts, so that the time depends on stages, mailboxes and days only.
"""

import numpy as np

from sendplan.planner.model.counts import AggregatedInstance, Counts, Demand, trajectories
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE

SLACK = (0.0, 0.1, 0.3, 1.0)
"""How far, as shares of a day's room, the follow-ups foreseen may exceed it to meet a target.

Mailboxes with room over the whole trajectory come first, then those with the smallest excess.
"""


def decide(
    aggregated: AggregatedInstance, demand: Demand, targets: np.ndarray | None = None
) -> Counts:
    """Decide how many emails of each stage leave from each mailbox on each day.

    Parameters
    ----------
    aggregated : AggregatedInstance
        Room and rules.
    demand : Demand
        Chains to place.
    targets : ndarray of float, shape (stages, days), optional
        Emails by stage and day of a relaxed plan for the same demand; from its last day on there
        is no target.

    Returns
    -------
    Counts
        What is not in it found no room up to ``aggregated.last``.
    """
    return _Simulation(aggregated, demand, targets).run()


class _Targets:
    """How much of what has become ready a relaxed plan has sent, by stage and day."""

    def __init__(self, aggregated: AggregatedInstance, demand: Demand, sends: np.ndarray) -> None:
        stages, pairs = aggregated.stages, aggregated.pairs
        self.days = sends.shape[1] - 1
        arriving = demand.free.astype(float)
        np.add.at(arriving, pairs.stage, demand.bound)
        last = arriving.shape[1] - 1
        for stage in np.flatnonzero(stages.following != NONE):
            after = stages.following[stage]
            day = np.minimum(aggregated.release[after, : sends.shape[1]], last)
            np.add.at(arriving[after], day, sends[stage])
        arrived = np.cumsum(arriving[:, : self.days], axis=1)
        self.sent = np.cumsum(sends[:, : self.days], axis=1)
        self.share = np.where(arrived > 0, self.sent / np.maximum(arrived, 1e-9), 1.0)


class _Simulation:
    """The state of one pass over the days."""

    def __init__(
        self, aggregated: AggregatedInstance, demand: Demand, targets: np.ndarray | None
    ) -> None:
        self.aggregated = aggregated
        self.stages, self.pairs = aggregated.stages, aggregated.pairs
        self.targets = None if targets is None else _Targets(aggregated, demand, targets)
        self.mailboxes, self.days = aggregated.room.shape
        self.new_room = aggregated.new_room.copy()
        self.arriving = demand.bound.copy()
        self.free_arriving = demand.free
        self.waiting = np.zeros(len(self.pairs.stage), dtype=np.int64)
        self.arrived = np.zeros_like(self.waiting)
        self.sent = np.zeros_like(self.waiting)
        self.free_waiting = np.zeros(len(self.stages.step), dtype=np.int64)
        self.started = np.zeros_like(self.free_waiting)
        self.paths = trajectories(self.stages, aggregated.release)
        beyond = self.days - 1
        spans = np.where(self.paths < beyond, self.paths - np.arange(self.days)[:, None], 0)
        self.reach = int(spans.max(initial=0))
        self.one_a_day = not (
            (self.paths[:, :, 1:] == self.paths[:, :, :-1]) & (self.paths[:, :, 1:] < beyond)
        ).any()
        self.next_day = self.stages.next_sending_day()
        self.foreseen = np.zeros((self.mailboxes, self.days), dtype=np.int64)
        pair, day = np.nonzero(demand.bound)
        self._foresee(pair, day, demand.bound[pair, day])
        self.segment = np.searchsorted(self.pairs.mailbox, np.arange(self.mailboxes))
        self.first_pairs = self.stages.is_first[self.pairs.stage]
        self.same_day = False
        self.left = int(demand.bound.sum() + demand.free.sum())
        self.sent_bound = np.zeros(demand.bound.shape, dtype=np.int32)
        self.sent_free = np.zeros(demand.bound.shape, dtype=np.int32)
        demanded = demand.free.sum(axis=1)
        starters = np.flatnonzero(self.stages.is_first | (demanded > 0))
        # Follow-ups without a mailbox first, then by priority the sequences with most to start.
        priority = aggregated.urgency[starters] / self.stages.remaining[starters]
        order = np.lexsort((-demanded[starters], -priority, self.stages.is_first[starters]))
        self.starters = starters[order]
        number = self.pairs.number
        self.mates = {int(stage): np.flatnonzero(number[stage] != NONE) for stage in self.starters}
        self.pair_of = {stage: number[stage, mates] for stage, mates in self.mates.items()}

    def run(self) -> Counts:
        for day in range(self.aggregated.last + 1):
            if not self.left:
                break
            self.waiting += self.arriving[:, day]
            self.arrived += self.arriving[:, day]
            self.free_waiting += self.free_arriving[:, day]
            room = self.aggregated.room[:, day].copy()
            targeted = self.targets is not None and day < self.targets.days
            self._send_waiting(day, room, targeted=targeted)
            self._start(day, room, targeted=targeted)
            if targeted:
                self._send_waiting(day, room, targeted=False)
            while self.same_day:
                self.same_day = False
                self._send_waiting(day, room, targeted=False)
            self._carry_over(day)
        return Counts(self.sent_bound, self.sent_free)

    def _foresee(self, pair: np.ndarray, day: np.ndarray, count: np.ndarray) -> None:
        """Add the emails that chains at `pair`, going on from `day`, will send."""
        if not len(pair):
            return
        stage, mailbox = self.pairs.stage[pair], self.pairs.mailbox[pair]
        path = self.paths[stage, day]
        np.add.at(self.foreseen, (mailbox[:, None], path), count[:, None])

    def _send_waiting(self, day: int, room: np.ndarray, *, targeted: bool) -> None:
        """Send what is bound and no first email, the most urgent first, while there is room."""
        wants = np.where(
            self.stages.sends[self.pairs.stage, day] & ~self.first_pairs, self.waiting, 0
        )
        if targeted and self.targets is not None:
            due = self.targets.share[self.pairs.stage, day] * self.arrived
            wants = np.minimum(wants, np.maximum(_rounded(due) - self.sent, 0))
        if not wants.any():
            return
        mailbox = self.pairs.mailbox
        ahead = np.cumsum(wants) - wants
        ahead -= np.append(ahead, 0)[self.segment][mailbox]
        sent = np.clip(room[mailbox] - ahead, 0, wants)
        room -= np.bincount(mailbox, sent, self.mailboxes).astype(np.int64)
        pair = np.flatnonzero(sent)
        self._record(self.sent_bound, pair, day, sent[pair])
        self.waiting -= sent
        self.sent += sent

    def _record(self, table: np.ndarray, pair: np.ndarray, day: int, sent: np.ndarray) -> None:
        table[pair, day] += sent.astype(np.int32)
        following = self.pairs.following[pair]
        goes_on = following != NONE
        self.left -= int(sent[~goes_on].sum())
        following, sent = following[goes_on], sent[goes_on]
        release = self.aggregated.release[self.pairs.stage[following], day]
        now = release == day
        if now.any():
            np.add.at(self.waiting, following[now], sent[now])
            np.add.at(self.arrived, following[now], sent[now])
            self.same_day = True
        # Several stages may lead to one.
        np.add.at(self.arriving, (following[~now], release[~now]), sent[~now])

    def _start(self, day: int, room: np.ndarray, *, targeted: bool) -> None:
        """Start chains, each sequence as far as the trajectory of its follow-ups has room."""
        waits = self.free_waiting + np.bincount(
            self.pairs.stage, self.waiting * self.first_pairs, len(self.free_waiting)
        ).astype(np.int64)
        starters = [int(s) for s in self.starters if waits[s] and self.stages.sends[s, day]]
        if not starters:
            return
        spare = self._spare(day, room)
        later = self.aggregated.room[:, day + 1 : day + spare.shape[1]]
        extra = np.zeros_like(later)
        for slack in SLACK if targeted else SLACK[:1]:
            more = (slack * later).astype(np.int64)
            spare[:, 1:] += more - extra
            spare[:, -1] = UNLIMITED
            extra = more
            starters = [
                stage
                for stage in starters
                if (limits := self._allowed(stage, day, targeted=targeted)) > 0
                and not self._start_stage(stage, day, limits, spare)
            ]
        room[:] = spare[:, 0]

    def _spare(self, day: int, room: np.ndarray) -> np.ndarray:
        """Return the room of today and of the days that a chain started today may need.

        What is foreseen beyond a day's room is carried to the next; the last column stands for
        every later day and has room for all.
        """
        end = min(day + 1 + self.reach, self.days - 1)
        excess = self.foreseen[:, day + 1 : end] - self.aggregated.room[:, day + 1 : end]
        total = np.cumsum(excess, axis=1)
        backlog = total - np.minimum(np.minimum.accumulate(total, axis=1), 0)
        spare = np.empty((self.mailboxes, end - day + 1), dtype=np.int64)
        spare[:, 0] = room
        spare[:, 1:-1] = -excess
        spare[:, 2:-1] -= backlog[:, :-1]
        return spare

    def _allowed(self, stage: int, day: int, *, targeted: bool) -> int:
        """Return how many chains may start, their mailboxes' room aside."""
        limits = int(self.free_waiting[stage])
        if not self.stages.is_first[stage]:
            return limits
        limits += int(self.waiting[self.pair_of[stage]].sum())
        if targeted and self.targets is not None:
            due = np.floor(self.targets.sent[stage, day] + 0.5) - self.started[stage]
            limits = min(limits, int(due))
        return min(limits, int(self.new_room[self.stages.sequence[stage], day]))

    def _start_stage(self, stage: int, day: int, limits: int, spare: np.ndarray) -> bool:
        """Start up to `limits` chains where there is room; tell whether all of them started."""
        mailbox, pair = self.mates[stage], self.pair_of[stage]
        path = self.paths[stage, day, : self.stages.remaining[stage]] - day
        path = np.minimum(path, spare.shape[1] - 1)
        bound = np.zeros_like(pair)
        if self.stages.is_first[stage]:
            bound = self.waiting[pair]
            # Two emails of a chain on one day need twice the room there.
            times = 1 if self.one_a_day else (path[:, None] == path).sum(axis=1)
            limit = np.maximum((spare[mailbox[:, None], path] // times).min(axis=1), 0)
        else:
            limit = np.maximum(spare[mailbox, 0], 0)
        given = np.minimum(bound, limit)
        if given.sum() > limits:
            given = np.diff(np.minimum(np.cumsum(given), limits), prepend=0)
        rest = min(int(self.free_waiting[stage]), limits - int(given.sum()))
        taken = _shared(limit - given, rest)
        started = given + taken
        number = int(started.sum())
        if not number:
            return False
        if self.stages.is_first[stage]:
            self.new_room[self.stages.sequence[stage], day] -= number
        self._record(self.sent_bound, pair, day, given)
        self._record(self.sent_free, pair, day, taken)
        self.waiting[pair] -= given
        self.free_waiting[stage] -= int(taken.sum())
        self.started[stage] += number
        self._foresee(pair, np.full(len(pair), day), taken)
        np.subtract.at(spare, (mailbox[:, None], path), started[:, None])
        return number == limits

    def _carry_over(self, day: int) -> None:
        """Move what is still waiting, with all that follows, to the next sending day."""
        late = np.flatnonzero((self.waiting > 0) & self.stages.sends[self.pairs.stage, day])
        if len(late):
            tomorrow = self.next_day[self.pairs.stage[late], day + 1]
            self._foresee(late, np.full(len(late), day), -self.waiting[late])
            self._foresee(late, tomorrow, self.waiting[late])


def _rounded(amount: np.ndarray) -> np.ndarray:
    return np.floor(amount + 0.5).astype(np.int64)


def _shared(limit: np.ndarray, wanted: int) -> np.ndarray:
    """Share `wanted` starts over mailboxes in proportion to their room, never above it."""
    total = int(limit.sum())
    if wanted >= total:
        return limit
    if wanted <= 0:
        return np.zeros_like(limit)
    upto = np.cumsum(limit) * wanted // total
    return np.diff(upto, prepend=0)
