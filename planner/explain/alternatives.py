"""Alternatives: what a thread could do instead, all others staying or one of them yielding.

Emails of the thread that leave earlier keep their slots; the email itself goes to another day, and
those behind it take their cheapest path from there through the room that is left. So the cost of an
alternative is what the plan would cost more, to the day; it rests on nothing but the objective.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.grouping import numbered
from sendplan.planner.model.objective import NEVER
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.send_times import timetable


@dataclass(frozen=True)
class SlotOption:
    """Days that some emails would have instead.

    Parameters
    ----------
    cost : float
        What the plan would cost more.
    email, mailbox, day : ndarray of int, shape (emails,)
        The emails whose day or mailbox would differ, and what they would be.
    """

    cost: float
    email: np.ndarray
    mailbox: np.ndarray
    day: np.ndarray


class Alternatives:
    """What the thread of one email with a slot could do instead.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    email : int
        The email.
    """

    def __init__(self, context: ExplanationContext, email: int) -> None:
        self.context, self.email = context, email
        self.chain = int(context.instance.emails.chain[email])
        self.order = int(context.instance.emails.order[email])
        self.insertion = context.insertion
        bound = context.instance.chains.mailbox[self.chain] != NONE
        free = self.order == 0 and not bound
        own = np.array([context.mailbox[self.chain]])
        self.boxes = self.insertion.pool(self.chain) if free else own

    @cached_property
    def costs(self) -> np.ndarray:
        """What the plan would cost more, by mailbox and day; infinite where there is no room.

        Of shape (boxes, days). All emails of others stay where they are.
        """
        with self._lifted(self.chain) as stand:
            return stand.costs(self.order, self.boxes)

    def _lifted(self, chain: int) -> "_Lifted":
        return _Lifted(self.context, chain)

    def on(self, day: int) -> SlotOption | None:
        """Return the cheapest path with the email on a day, nobody yielding; None if there is none.

        Parameters
        ----------
        day : int
            Day index.
        """
        if day >= self.costs.shape[1]:
            return None
        row = int(self.costs[:, day].argmin())
        if not np.isfinite(self.costs[row, day]):
            return None
        with self._lifted(self.chain) as stand:
            days = stand.days(self.order, int(self.boxes[row]), day)
            path = stand.slots(self.order, int(self.boxes[row]), days)
        return path if self._fits([path]) else None

    def in_exchange(self, day: int) -> tuple[SlotOption, int, int] | None:
        """Return the cheapest path with the email on a full day for which one other email yields.

        Parameters
        ----------
        day : int
            Day index.

        Returns
        -------
        tuple of SlotOption, int, int, or None
            What both threads would do instead, the email that yields, and how many others leave
            there that might; None if none of them can.
        """
        emails, mailbox = self.context.instance.emails, int(self.context.mailbox[self.chain])
        there = (self.context.day == day) & (self.context.mailbox[emails.chain] == mailbox)
        there &= emails.chain != self.chain
        others = np.flatnonzero(there & self.insertion.complete()[emails.chain])
        best: tuple[SlotOption, int, int] | None = None
        for other in self._of_each_kind(others):
            found = self._exchanged(int(other), mailbox, day)
            if found is not None and (best is None or _better(found, best[0])):
                best = (found, int(other), len(others))
        return best

    def _of_each_kind(self, others: np.ndarray) -> Iterator[int]:
        """Give one email of each kind whose members differ in nothing that matters here."""
        instance, insertion = self.context.instance, self.insertion
        chain = instance.emails.chain[others]
        if not len(others):
            return
        kind = numbered(
            [
                instance.emails.stage[others],
                instance.emails.order[others],
                instance.chains.mailbox[chain],
                instance.chains.window[chain],
                self.context.limits.shared[chain],
                self.context.limits.first_release[chain],
                *insertion.days_of(chain).T,
            ]
        )
        yield from others[np.unique(kind, return_index=True)[1]].tolist()

    def _exchanged(self, other: int, mailbox: int, day: int) -> SlotOption | None:
        emails = self.context.instance.emails
        their_chain, their_order = int(emails.chain[other]), int(emails.order[other])
        path = yielded = None
        with self._lifted(their_chain) as theirs:
            theirs.stand(their_order)
            with self._lifted(self.chain) as ours:
                if np.isfinite(ours.costs(self.order, np.array([mailbox]))[0, day]):
                    days = ours.days(self.order, mailbox, day)
                    path = ours.slots(self.order, mailbox, days)
                    ours.put(path, mailbox)
                theirs.unstand(their_order)
                if path is not None:
                    yielded = theirs.cheapest(their_order)
        if path is None or yielded is None or not self._fits([path, yielded]):
            return None
        return SlotOption(
            path.cost + yielded.cost,
            np.append(path.email, yielded.email),
            np.append(path.mailbox, yielded.mailbox),
            np.append(path.day, yielded.day),
        )

    def _fits(self, paths: list[SlotOption]) -> bool:
        """Tell whether every email would find a minute, and every day have room.

        Days are chosen email by email: two of one thread on a day, or min_gap_seconds, are seen
        only when they are put together.
        """
        context = self.context
        emails, fleet = context.instance.emails, context.instance.fleet
        placement = context.placement.copy()
        for path in paths:
            placement.day[path.email] = path.day
            placement.mailbox[emails.chain[path.email]] = path.mailbox
        touched = np.unique(np.concatenate([path.mailbox for path in paths])).astype(np.int64)
        days = np.concatenate([path.day for path in paths])
        sender = placement.mailbox[emails.chain]
        near = np.isin(sender, touched) & np.isin(placement.day, np.unique(days))
        load = np.zeros_like(context.limits.room)
        np.add.at(load, (sender[near], placement.day[near]), 1)
        if (load > context.limits.room).any():
            return False
        spaced = touched[fleet.gap[touched] > 0]
        if not len(spaced):
            return True
        around = np.unique(np.concatenate([days - 1, days, days + 1]))
        there = np.isin(sender, spaced) & np.isin(placement.day, around)
        alone = Placement(np.where(there, placement.day, NONE), placement.mailbox)
        return not len(timetable(context.instance, alone).crowded)


def _better(one: SlotOption, other: SlotOption) -> bool:
    """Tell whether slots cost less, or as much with fewer emails moved."""
    if abs(one.cost - other.cost) > 1e-9:
        return one.cost < other.cost
    return len(one.email) < len(other.email)


class _Lifted:
    """A thread that is off the board for a while."""

    def __init__(self, context: ExplanationContext, chain: int) -> None:
        self.context, self.insertion, self.chain = context, context.insertion, chain
        self.one = np.array([chain])
        self.mailbox = int(context.mailbox[chain])
        self.day = self.insertion.days_of(self.one)[0, : self.insertion.length[chain]].copy()
        self.first_email = int(context.instance.chains.offset[chain])

    def __enter__(self) -> "_Lifted":
        self.insertion.lift(self.one)
        return self

    def __exit__(self, *_: object) -> None:
        if (self.insertion.placement.day[self._emails()] != NONE).any():
            self.insertion.lift(self.one)
        self.insertion.put(self.one, self.mailbox, self.day)

    def _emails(self) -> np.ndarray:
        return self.first_email + np.arange(len(self.day))

    def stand(self, order: int) -> None:
        """Use the room of the emails before one, which keep their slots."""
        self._use(order, 1)

    def unstand(self, order: int) -> None:
        """Free it again."""
        self._use(order, -1)

    def _use(self, order: int, sign: int) -> None:
        for day in self.day[:order]:
            self.insertion.room.mailbox[self.mailbox, day] -= sign
        contact = self.context.limits.shared[self.chain]
        if contact != NONE:
            self.insertion.room.busy[contact, self.day[:order]] = sign > 0
        if order and self.insertion.first[self.chain]:
            self.insertion.room.new[self.context.sequence(self.first_email), self.day[0]] -= sign

    def _steps(self, order: int, boxes: np.ndarray) -> list[np.ndarray]:
        """Return `ChainInsertion.steps`, the emails before one standing where they are."""
        self.stand(order)
        is_open = self.insertion.room.mailbox[boxes, : self.insertion.days] > 0
        steps = self.insertion.steps(self.chain, boxes, is_open)
        self.unstand(order)
        if order:
            begin = self._release(order, int(self.day[order - 1]))
            steps[order][:, :begin] = 2 * NEVER
        return steps

    def _release(self, order: int, before: int) -> int:
        stage = self.context.instance.emails.stage[self.first_email + order]
        return int(self.context.limits.release[stage, before])

    def costs(self, order: int, boxes: np.ndarray) -> np.ndarray:
        """Return what the plan costs more if an email leaves on each day, by mailbox."""
        step = self._steps(order, boxes)[order]
        return np.where(step < NEVER / 2, step - self._as_it_is(order), np.inf)

    def _as_it_is(self, order: int) -> float:
        """Return what an email and those behind it cost now, as `ChainInsertion.steps` counts."""
        stages, parameters = self.context.instance.stages, self.context.parameters
        emails = self.context.instance.emails
        total = 0.0
        for place in range(order, len(self.day)):
            email = self.first_email + place
            stage, day, priority = emails.stage[email], self.day[place], emails.priority[email]
            slip = 0.0 if stages.is_first[stage] else parameters.slip_weight
            total += priority * (1 + slip) * day
            if place > order:
                total -= priority * slip * stages.ready[stage, self.day[place - 1]]
        return float(total)

    def days(self, order: int, mailbox: int, day: int) -> np.ndarray:
        """Return the days of an email, put on a day, and of those behind it."""
        steps = self._steps(order, np.array([mailbox]))
        days = [day]
        for place in range(order + 1, len(self.day)):
            begin = self._release(place, days[-1])
            days.append(begin + int(steps[place][0, begin:].argmin()))
        return np.array(days)

    def slots(self, order: int, mailbox: int, days: np.ndarray) -> SlotOption:
        """Return the slots that some days, from an email on, are, as far as they differ."""
        costs = self.costs(order, np.array([mailbox]))[0]
        email = self._emails()[order:]
        differs = (days != self.day[order:]) | (mailbox != self.mailbox)
        return SlotOption(
            float(costs[days[0]]),
            email[differs],
            np.full(int(differs.sum()), mailbox),
            days[differs],
        )

    def put(self, path: SlotOption, mailbox: int) -> None:
        """Put the thread back the way it would go."""
        days = self.day.copy()
        days[path.email - self.first_email] = path.day
        self.insertion.put(self.one, mailbox, days)

    def cheapest(self, order: int) -> SlotOption | None:
        """Return the cheapest path of an email and those behind it; None if there is none."""
        bound = self.context.instance.chains.mailbox[self.chain] != NONE
        own = np.array([self.mailbox])
        boxes = self.insertion.pool(self.chain) if order == 0 and not bound else own
        costs = self.costs(order, boxes)
        row, day = np.unravel_index(int(costs.argmin()), costs.shape)
        if not np.isfinite(costs[row, day]):
            return None
        mailbox = int(boxes[row])
        return self.slots(order, mailbox, self.days(order, mailbox, int(day)))
