"""The best plan of a tiny instance, by exhaustive search: the objective in plain Python.

The facts come from ``oracle_facts.py``; nothing is shared with ``planner/`` but the vocabulary.

    from sendplan.tests.worlds.oracle.enumeration import best
    found = best(frames, now, slip_weight=20.0, horizon_days=None, one_a_day=True)
    found.cost, found.moved

The search goes day by day: what leaves today is chosen in every way that the rules allow, and a
state that can be reached at several costs is kept at the least one. It goes on from the state whose
cost, plus what its chains would cost at least if each were alone in the world, is smallest (A*).
Being alone only takes rules away, so that the first finished state is a best one, and no day needs
to be named as the last to be looked at.

Left out: min_gap_seconds, since it makes the minutes decide about days. With no gap every window
has a second for each email that the capacity allows, so that windows may differ.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from itertools import count
from math import inf
from typing import Any, NamedTuple

import pandas as pd

from sendplan.planner.schema.vocabulary import EmailStatus, Reason
from sendplan.tests.worlds.oracle.facts import (
    ONE_DAY,
    Chain,
    Facts,
    first_email,
    read,
    whole_second_from,
)

UNCHOSEN = 0
"""The mailbox of a thread that has none yet; ids are at least 1."""

MOST_STATES = 400_000
"""States after which an instance is too large to be called tiny."""


class TooLargeError(Exception):
    """The instance has too many states."""


class Incumbent(NamedTuple):
    """Where a chain stands at the beginning of a day."""

    sent: int  # emails of the chain that have left
    ready: int  # the first day on which the next one may leave, today at least
    mailbox_id: int


Move = tuple[int, int, int, int]
"""A slot: the chain's number, the email's place in the chain, the mailbox, the day."""


@dataclass(frozen=True)
class Best:
    """A plan that no other one beats.

    Parameters
    ----------
    cost : float
        The objective, moves not counted.
    moved : int
        Emails that had a slot and have another one, or none.
    sends : DataFrame
        enrollment_id, step_id, position, mailbox_id, send_day and send_at. The times keep the hard
        rules, but are not spread.
    unplaced : DataFrame
        enrollment_id, step_id and reason, blocked emails included.
    horizon_end : date
        The given horizon's last day, or the last slot's day.
    """

    cost: float
    moved: int
    sends: pd.DataFrame
    unplaced: pd.DataFrame
    horizon_end: date


def best(
    frames: Mapping[str, pd.DataFrame | None],
    now: Any,
    *,
    slip_weight: float = 20.0,
    horizon_days: int | None = None,
    one_a_day: bool = True,
    change_weight: float = 0.0,
) -> Best:
    """Find a plan for which cost and change_weight × emails moved are least together.

    Parameters
    ----------
    frames
        As for `sendplan.tests.worlds.oracle.judge.judge`; min_gap_seconds counts for nothing.
    now
        The aware time of planning.
    slip_weight, horizon_days, one_a_day, change_weight
        As for `sendplan.solve`.

    Raises
    ------
    TooLargeError
        If there are more than `MOST_STATES` states to be looked at.
    """
    search = _Search(read(frames, now), slip_weight, horizon_days, one_a_day, change_weight)
    return search.best()


@dataclass(frozen=True, eq=False)
class _Job:
    """A chain as numbers; days count from today's UTC date."""

    chain: Chain
    ideal: tuple[int, ...]
    first_ready: int
    mailboxes: tuple[int, ...]  # those that it may leave from
    private: bool  # one email a day of its contact concerns no other chain, nor history
    had: tuple[tuple[int, int] | None, ...]  # mailbox and day of each email's existing slot

    @property
    def emails(self) -> int:
        return len(self.chain.steps)

    @property
    def priority(self) -> float:
        return self.chain.enrollment.sequence.priority

    def is_follow_up(self, place: int) -> bool:
        return self.chain.started or place > 0

    def alike(self) -> tuple[object, ...]:
        """Give a key that is equal for chains that could change places in any plan."""
        enrollment = self.chain.enrollment
        what = (enrollment.sequence.id, self.chain.steps, self.chain.started)
        when = (self.first_ready, self.chain.first_usable, self.mailboxes)
        return (*what, *when, self.had, None if self.private else enrollment.id)

    def moves(self, place: int, mailbox_id: int | None, day: int | None) -> bool:
        """Tell whether an email leaves the slot that it had; None: it is left out."""
        return self.had[place] not in (None, (mailbox_id, day))


class _Search:
    """The states, day by day."""

    def __init__(
        self,
        facts: Facts,
        slip_weight: float,
        horizon_days: int | None,
        one_a_day: bool,
        change_weight: float,
    ) -> None:
        self.facts, self.slip_weight, self.one_a_day = facts, slip_weight, one_a_day
        self.change_weight = change_weight
        self.today = facts.now.date()
        self.last = horizon_days
        self.busy = {
            (enrollment.contact, self.number(email.day))
            for enrollment, email in facts.all_emails()
            if one_a_day and email.occupies and email.day is not None
        }
        self.new_had = Counter(
            (enrollment.sequence.id, self.number(email.day))
            for enrollment in facts.enrollments.values()
            if (email := first_email(enrollment)) is not None and email.day is not None
        )
        placeable = [(chain, chain.placeable) for chain in facts.chains.values()]
        self.jobs = [self.job(replace(chain, steps=some)) for chain, some in placeable if some]
        keys = [job.alike() for job in self.jobs]
        self.groups = [[i for i, k in enumerate(keys) if k == key] for key in dict.fromkeys(keys)]
        self.room = cache(self._room)
        self.new_room = cache(self._new_room)
        self.open = cache(self._open)
        self.ready_after = cache(self._ready_after)
        self.alone = cache(self._alone)
        self.left_out = cache(self._left_out)

    # -------------------------------------------------------- the rules, one at a time

    def number(self, day: date) -> int:
        return (day - self.today).days

    def day(self, number: int) -> date:
        return self.today + number * ONE_DAY

    def job(self, chain: Chain) -> _Job:
        enrollment = chain.enrollment
        pool = enrollment.sequence.pool if chain.sender is None else (chain.sender,)
        active = [m for m in pool if self.facts.mailboxes[m].status == "active"]
        active = [m for m in active if self.facts.mailboxes[m].capacity(chain.last_day) > 0]
        contact = enrollment.contact
        sharing = [c for c in self.facts.chains.values() if c.enrollment.contact == contact]
        return _Job(
            chain=chain,
            ideal=tuple(self.number(day) for day in chain.ideal_days()),
            first_ready=self.number(chain.first_ready),
            mailboxes=tuple(sorted(active)),
            private=not self.one_a_day
            or (len(sharing) == 1 and all(contact != busy for busy, _ in self.busy)),
            had=tuple(self.slot(chain, step.id) for step in chain.steps),
        )

    def slot(self, chain: Chain, step_id: int) -> tuple[int, int] | None:
        """Give the mailbox and day of the slot that an earlier plan gave to an email, if any."""
        for email in chain.enrollment.emails:
            planned = email.slotted and email.status == EmailStatus.PENDING
            if email.step_id == step_id and planned and email.at is not None:
                assert email.mailbox_id is not None and email.day is not None
                return email.mailbox_id, self.number(email.day)
        return None

    def _room(self, mailbox_id: int, day: int) -> int:
        used = self.facts.used.get((mailbox_id, self.day(day)), 0)
        return max(0, self.facts.mailboxes[mailbox_id].capacity(self.day(day)) - used)

    def _new_room(self, sequence_id: int, day: int) -> float:
        limit = self.facts.sequences[sequence_id].max_new
        return inf if limit is None else max(0, limit - self.new_had[sequence_id, day])

    def _open(self, job: _Job, day: int) -> bool:
        """Tell whether neither the calendar nor history keeps the day from a chain."""
        enrollment = job.chain.enrollment
        sends = enrollment.sequence.sends_on(self.day(day))
        return sends and (enrollment.contact, day) not in self.busy

    def _ready_after(self, job: _Job, place: int, day: int) -> int:
        """Give the ready day of the email at a place, the one before it having left on a day."""
        return self.number(job.chain.ready_after(self.day(day), job.chain.steps[place]))

    # -------------------------------------------------------- the cost

    def delay(self, job: _Job, place: int, ready: int, day: int) -> float:
        """Give what an email costs that leaves on a day, of its slip what comes from `ready` on."""
        slip = max(0, day - ready) if job.is_follow_up(place) else 0
        return job.priority * (max(0, day - job.ideal[place]) + self.slip_weight * slip)

    def move(self, job: _Job, place: int, mailbox_id: int | None, day: int | None) -> float:
        return self.change_weight * job.moves(place, mailbox_id, day)

    def _left_out(self, job: _Job, place: int, ready: int, day: int) -> float:
        """Give the cost of leaving an email and all behind it out, all standing at `day`."""
        cost = self.delay(job, place, ready, day) + self.move(job, place, None, None)
        if self.last is not None:
            cost += job.priority * 366 * (1 + self.slip_weight)
        if place + 1 < job.emails:
            cost += self._left_out(job, place + 1, self.ready_after(job, place + 1, day), day)
        return cost

    def _alone(self, job: _Job, place: int, mailbox_id: int, ready: int, first: int) -> float:
        """Give what the rest of a chain costs at least, as if no other chain were there.

        The next email may leave from day `first` on; its slip counts from `ready`.
        """
        if place == job.emails:
            return 0.0
        least = inf
        for day in count(first):
            if self.last is not None and day > self.last:
                least = min(least, self.left_out(job, place, ready, self.last + 1))
                break
            cost = self.delay(job, place, ready, day)
            if cost >= least:
                break
            if not self.open(job, day) or not self.may_start(job, place, day):
                continue
            for mailbox in self.choice(job, mailbox_id):
                if self.room(mailbox, day):
                    paid = cost + self.move(job, place, mailbox, day)
                    least = min(least, paid + self.alone_after(job, place + 1, mailbox, day))
        return least

    def alone_after(self, job: _Job, place: int, mailbox_id: int, day: int) -> float:
        if place == job.emails:
            return 0.0
        ready = self.ready_after(job, place, day)
        first = max(ready, day + 1) if self.one_a_day else ready
        return self.alone(job, place, mailbox_id, ready, first)

    def may_start(self, job: _Job, place: int, day: int) -> bool:
        follow_up = job.is_follow_up(place)
        return follow_up or self.new_room(job.chain.enrollment.sequence.id, day) > 0

    @staticmethod
    def choice(job: _Job, mailbox_id: int) -> Iterable[int]:
        return job.mailboxes if mailbox_id == UNCHOSEN else (mailbox_id,)

    # -------------------------------------------------------- one day

    def on(
        self, day: int, state: tuple[Incumbent, ...]
    ) -> Iterator[tuple[float, tuple[Incumbent, ...], tuple[Move, ...]]]:
        """Go through everything that may leave on a day.

        Yields the cost, the state in which the next day begins, and what leaves.
        """
        room = {m: self.room(m, day) for job in self.jobs for m in job.mailboxes}
        new_room = {
            job.chain.enrollment.sequence.id: self.new_room(job.chain.enrollment.sequence.id, day)
            for job in self.jobs
        }
        had: set[tuple[str, int]] = set()
        now_at = list(state)
        moves: list[Move] = []

        def places(number: int) -> Iterator[int]:
            """Give the mailboxes from which a chain's next email may leave."""
            job, at = self.jobs[number], now_at[number]
            enrollment = job.chain.enrollment
            if at.sent == job.emails or at.ready > day or not self.open(job, day):
                return
            if self.one_a_day and enrollment.contact in had:
                return
            if not job.is_follow_up(at.sent) and new_room[enrollment.sequence.id] <= 0:
                return
            for mailbox in self.choice(job, at.mailbox_id):
                if room[mailbox] > 0:
                    yield mailbox

        def choose(
            number: int, cost: float
        ) -> Iterator[tuple[float, tuple[Incumbent, ...], tuple[Move, ...]]]:
            if number == len(self.jobs):
                yield cost + waiting(), tuple(at_night(i) for i in range(number)), tuple(moves)
                return
            yield from choose(number + 1, cost)
            job, before = self.jobs[number], now_at[number]
            contact = job.chain.enrollment.contact
            sequence_id = job.chain.enrollment.sequence.id
            is_first = not job.is_follow_up(before.sent)
            for mailbox in list(places(number)):
                room[mailbox] -= 1
                new_room[sequence_id] -= is_first
                had.add(contact)
                moves.append((number, before.sent, mailbox, day))
                place = before.sent + 1
                ready = day if place == job.emails else self.ready_after(job, place, day)
                now_at[number] = Incumbent(place, ready, mailbox)
                paid = job.priority * max(0, day - job.ideal[before.sent])
                paid += self.move(job, before.sent, mailbox, day)
                # The chain again, since a wait of 0 may let the next email leave today as well.
                again = place < job.emails and ready <= day and not self.one_a_day
                yield from choose(number if again else number + 1, cost + paid)
                now_at[number] = before
                moves.pop()
                had.discard(contact)
                new_room[sequence_id] += is_first
                room[mailbox] += 1

        def waiting() -> float:
            """Give the price of the night: a day of slip for each follow-up that was ready."""
            return sum(
                job.priority * self.slip_weight
                for job, at in zip(self.jobs, now_at, strict=True)
                if at.sent < job.emails and at.ready <= day and job.is_follow_up(at.sent)
            )

        def at_night(number: int) -> Incumbent:
            job, at = self.jobs[number], now_at[number]
            if at.sent == job.emails:
                return Incumbent(at.sent, 0, UNCHOSEN)
            return Incumbent(at.sent, max(at.ready, day + 1), at.mailbox_id)

        yield from choose(0, 0.0)

    # -------------------------------------------------------- all days

    def key(self, state: tuple[Incumbent, ...]) -> tuple[tuple[Incumbent, ...], ...]:
        """Give what states have in common that differ by chains that are alike only."""
        return tuple(tuple(sorted(state[i] for i in group)) for group in self.groups)

    def least_from(self, state: tuple[Incumbent, ...]) -> float:
        return sum(
            self.alone(job, at.sent, at.mailbox_id, at.ready, at.ready)
            for job, at in zip(self.jobs, state, strict=True)
            if at.sent < job.emails
        )

    def best(self) -> Best:
        begin = tuple(Incumbent(0, job.first_ready, UNCHOSEN) for job in self.jobs)
        first_day = min((job.first_ready for job in self.jobs), default=0)
        if not self.jobs:
            return self.result(0.0, ())
        order = count()
        Entry = tuple[float, int, int, int, float, tuple[Incumbent, ...], tuple[Any, ...]]
        heap: list[Entry] = []
        reached: dict[tuple[int, Any], float] = {}

        def push(
            day: int, state: tuple[Incumbent, ...], cost: float, path: tuple[Any, ...]
        ) -> None:
            key = day, self.key(state)
            if reached.get(key, inf) <= cost:
                return
            reached[key] = cost
            left = sum(job.emails - at.sent for job, at in zip(self.jobs, state, strict=True))
            total = cost + self.least_from(state)
            if total < inf:
                heapq.heappush(heap, (total, left, next(order), day, cost, state, path))

        push(first_day, begin, 0.0, ())
        while heap:
            total, left, _, day, cost, state, path = heapq.heappop(heap)
            if not left or (self.last is not None and day > self.last):
                return self.result(total, path)
            if reached[day, self.key(state)] < cost:
                continue
            if len(reached) > MOST_STATES:
                raise TooLargeError(f"more than {MOST_STATES} states")
            for paid, after, moves in self.on(day, state):
                push(day + 1, after, cost + paid, (moves, path) if moves else path)
        raise AssertionError("a plan always exists")

    def result(self, cost: float, path: tuple[Any, ...]) -> Best:
        moves: list[Move] = []
        while path:
            moves += path[0]
            path = path[1]
        placed = {(number, place): (mailbox, day) for number, place, mailbox, day in moves}
        last = max((day for *_, day in moves), default=0) if self.last is None else self.last
        moved = sum(
            job.moves(place, *placed.get((number, place), (None, None)))
            for number, job in enumerate(self.jobs)
            for place in range(job.emails)
        )
        sends, unplaced = [], []
        for number, job in enumerate(self.jobs):
            enrollment = job.chain.enrollment
            for place, step in enumerate(job.chain.steps):
                if (number, place) not in placed:
                    reason = Reason.NO_ROOM
                    if place and (number, place - 1) not in placed:
                        reason = Reason.BEHIND_UNPLACED
                    unplaced.append((enrollment.id, step.id, str(reason)))
                    continue
                mailbox, day = placed[number, place]
                start, _ = enrollment.window(self.day(day))
                at = pd.Timestamp(whole_second_from(max(start, self.facts.now)))
                slot = (mailbox, pd.Timestamp(self.day(day)), at)
                sends.append((enrollment.id, step.id, step.position, *slot))
        for chain in self.facts.chains.values():
            unplaced += [
                (chain.enrollment.id, step.id, min(chain.blocked_by(step)))
                for step in chain.steps
                if chain.blocked_by(step)
            ]
        columns = ["enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at"]
        frame = pd.DataFrame(sends, columns=columns)
        frame["send_at"] = pd.to_datetime(frame["send_at"], utc=True)
        left = pd.DataFrame(unplaced, columns=["enrollment_id", "step_id", "reason"])
        cost -= self.change_weight * moved
        return Best(cost, moved, frame, left, self.day(last))


__all__ = ["Best", "TooLargeError", "best"]
