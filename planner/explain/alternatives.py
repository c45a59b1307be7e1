"""Alternatives: other slots of one thread, with all other threads fixed or one of them yielding.

Emails of the thread that leave earlier keep their slots; the email itself goes to another day, and
those behind it take their cheapest path from there through the residual capacity. So the cost of an
alternative is exactly what the plan would cost more.
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
    """Other slots of some emails.

    Parameters
    ----------
    cost : float
        What the plan would cost more.
    email, mailbox, day : ndarray of int, shape (emails,)
        The emails with another day or mailbox, and those.
    """

    cost: float
    email: np.ndarray
    mailbox: np.ndarray
    day: np.ndarray


class Alternatives:
    """Other slots of the thread of one email.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    email : int
        The email, which has a slot.
    """

    def __init__(self, context: ExplanationContext, email: int) -> None:
        self.context, self.email = context, email
        self.chain = int(context.instance.emails.chain[email])
        self.order = int(context.instance.emails.order[email])
        self.insertion = context.insertion
        bound = context.instance.chains.mailbox[self.chain] != NONE
        free = self.order == 0 and not bound
        own = np.array([context.mailbox[self.chain]])
        self.mailboxes = self.insertion.pool(self.chain) if free else own

    @cached_property
    def costs(self) -> np.ndarray:
        """Added cost of the plan, by mailbox and day; infinite without capacity.

        Of shape (mailboxes, days), with all other threads fixed.
        """
        with _RemovedChain(self.context, self.chain) as removed:
            return removed.costs(self.order, self.mailboxes)

    def on(self, day: int) -> SlotOption | None:
        """Return the cheapest option with the email on a day and all other threads fixed, or None.

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
        with _RemovedChain(self.context, self.chain) as removed:
            days = removed.days(self.order, int(self.mailboxes[row]), day)
            path = removed.slots(self.order, int(self.mailboxes[row]), days)
        return path if self._fits([path]) else None

    def in_exchange(self, day: int) -> tuple[SlotOption, int, int] | None:
        """Return the cheapest option with the email on a full day that one other email leaves.

        Parameters
        ----------
        day : int
            Day index.

        Returns
        -------
        tuple of SlotOption, int, int, or None
            The slots of both threads, the email that yields, and the number of emails that might;
            None if none of them can.
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
        """Give one email of each kind; emails of a kind differ in nothing that matters here."""
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
        with _RemovedChain(self.context, their_chain) as theirs:
            theirs.use_earlier(their_order)
            with _RemovedChain(self.context, self.chain) as ours:
                if np.isfinite(ours.costs(self.order, np.array([mailbox]))[0, day]):
                    days = ours.days(self.order, mailbox, day)
                    path = ours.slots(self.order, mailbox, days)
                    ours.put(path, mailbox)
                theirs.release_earlier(their_order)
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
        """Tell whether every email finds a minute, and capacity suffices on every day.

        Days are chosen email by email, so that two of one thread on a day, or min_gap_seconds, show
        only in the whole.
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
    """Tell whether an option costs less, or the same with fewer emails moved."""
    if abs(one.cost - other.cost) > 1e-9:
        return one.cost < other.cost
    return len(one.email) < len(other.email)


class _RemovedChain:
    """A chain that is removed from the plan for a while, as a context manager."""

    def __init__(self, context: ExplanationContext, chain: int) -> None:
        self.context, self.insertion, self.chain = context, context.insertion, chain
        self.one = np.array([chain])
        self.mailbox = int(context.mailbox[chain])
        self.day = self.insertion.days_of(self.one)[0, : self.insertion.length[chain]].copy()
        self.first_email = int(context.instance.chains.offset[chain])

    def __enter__(self) -> "_RemovedChain":
        self.insertion.lift(self.one)
        return self

    def __exit__(self, *_: object) -> None:
        if (self.insertion.placement.day[self._emails()] != NONE).any():
            self.insertion.lift(self.one)
        self.insertion.put(self.one, self.mailbox, self.day)

    def _emails(self) -> np.ndarray:
        return self.first_email + np.arange(len(self.day))

    def use_earlier(self, order: int) -> None:
        """Use the capacity of the emails before one, which keep their slots."""
        self._use(order, 1)

    def release_earlier(self, order: int) -> None:
        """Release that capacity."""
        self._use(order, -1)

    def _use(self, order: int, sign: int) -> None:
        for day in self.day[:order]:
            self.insertion.room.mailbox[self.mailbox, day] -= sign
        contact = self.context.limits.shared[self.chain]
        if contact != NONE:
            self.insertion.room.busy[contact, self.day[:order]] = sign > 0
        if order and self.insertion.first[self.chain]:
            self.insertion.room.new[self.context.sequence(self.first_email), self.day[0]] -= sign

    def _steps(self, order: int, mailboxes: np.ndarray) -> list[np.ndarray]:
        """Return `ChainInsertion.steps`, with the emails before one in their slots."""
        self.use_earlier(order)
        is_open = self.insertion.room.mailbox[mailboxes, : self.insertion.days] > 0
        steps = self.insertion.steps(self.chain, mailboxes, is_open)
        self.release_earlier(order)
        if order:
            begin = self._release(order, int(self.day[order - 1]))
            steps[order][:, :begin] = 2 * NEVER
        return steps

    def _release(self, order: int, before: int) -> int:
        stage = self.context.instance.emails.stage[self.first_email + order]
        return int(self.context.limits.release[stage, before])

    def costs(self, order: int, mailboxes: np.ndarray) -> np.ndarray:
        """Return the added cost of the plan, by mailbox and day of an email."""
        step = self._steps(order, mailboxes)[order]
        return np.where(step < NEVER / 2, step - self._present_cost(order), np.inf)

    def _present_cost(self, order: int) -> float:
        """Return the cost of an email and those behind it, as `ChainInsertion.steps` counts it."""
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
        """Return the cheapest days of an email on a given day and of those behind it."""
        steps = self._steps(order, np.array([mailbox]))
        days = [day]
        for place in range(order + 1, len(self.day)):
            begin = self._release(place, days[-1])
            days.append(begin + int(steps[place][0, begin:].argmin()))
        return np.array(days)

    def slots(self, order: int, mailbox: int, days: np.ndarray) -> SlotOption:
        """Return given days, from an email on, as an option."""
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
        """Insert the chain with the slots of an option."""
        days = self.day.copy()
        days[path.email - self.first_email] = path.day
        self.insertion.put(self.one, mailbox, days)

    def cheapest(self, order: int) -> SlotOption | None:
        """Return the cheapest option of an email and those behind it, or None."""
        bound = self.context.instance.chains.mailbox[self.chain] != NONE
        own = np.array([self.mailbox])
        mailboxes = self.insertion.pool(self.chain) if order == 0 and not bound else own
        costs = self.costs(order, mailboxes)
        row, day = np.unravel_index(int(costs.argmin()), costs.shape)
        if not np.isfinite(costs[row, day]):
            return None
        mailbox = int(mailboxes[row])
        return self.slots(order, mailbox, self.days(order, mailbox, int(day)))
