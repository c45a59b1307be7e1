"""The days between an email's ready day and its slot: what was in the way on each."""

from collections import Counter

import numpy as np

from sendplan.planner.explain.alternatives import Alternatives, Slots
from sendplan.planner.explain.context import Inquiry
from sendplan.planner.explain.facts import Alternative, DayBetween, Emails, FollowUp, Load
from sendplan.planner.explain.ready_facts import ready_day
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.schema.dates import SECOND


class Days:
    """Days on which an email might leave.

    Parameters
    ----------
    inquiry : Inquiry
        The plan.
    email : int
        The email.
    alternatives : Alternatives or None
        What its thread could do instead; None where it has no slot.
    """

    def __init__(self, inquiry: Inquiry, email: int, alternatives: Alternatives | None) -> None:
        self.inquiry, self.email, self.alternatives = inquiry, email, alternatives
        work = inquiry.work
        self.chain = int(work.emails.chain[email])
        self.stage = int(work.emails.stage[email])
        self.order = int(work.emails.order[email])
        self.window = int(work.chains.window[self.chain])
        mailbox = int(inquiry.mailbox[self.chain])
        free = self.order == 0 and work.chains.mailbox[self.chain] == NONE
        pool = work.fleet.pools[inquiry.sequence(email)]
        self.boxes = pool if free or mailbox == NONE else np.array([mailbox])

    def between(self, begin: int, end: int) -> tuple[DayBetween, ...]:
        """Return the facts of the days from `begin` up to the one before `end`."""
        return tuple(self._facts(day) for day in range(begin, end))

    def _facts(self, day: int) -> DayBetween:
        inquiry = self.inquiry
        sequence, date = inquiry.sequence(self.email), inquiry.date(day)
        closed = inquiry.why_closed(sequence, date)
        if closed is not None:
            return DayBetween(date, ("closed",), closed=closed)
        work = inquiry.work
        obstacles: list[str] = []
        if not work.windows.usable[self.window, day]:
            obstacles.append("window")
        elif self._behind_flight(day):
            obstacles.append("in_flight")
        gets = self._contact_gets(day)
        if gets is not None:
            obstacles.append("contact")
        new = self._new(day)
        if new is not None and new[0] >= new[1]:
            obstacles.append("max_new")
        loads = tuple(self.load(int(box), day) for box in self.boxes)
        if all(load.full for load in loads):
            # Where one is as full as its gap allows, a larger capacity would not help there.
            gap = all(load.room < load.capacity - load.used for load in loads)
            obstacles.append("min_gap" if gap and loads else "full")
        alternative = None
        if not obstacles and self.alternatives is not None:
            way = self.alternatives.on(day)
            if way is None:
                obstacles.append("min_gap")
            else:
                alternative = self._alternative(way, day)
        return DayBetween(
            day=date,
            obstacles=tuple(obstacles),
            contact_gets=gets,
            new=new if "max_new" in obstacles else None,
            loads=loads,
            contents=self._contents(day),
            alternative=alternative,
        )

    def _behind_flight(self, day: int) -> bool:
        """Tell whether an email in flight leaves only when the day's window has closed."""
        work = self.inquiry.work
        if self.order:
            return False
        before = int(work.chains.not_before[self.chain])
        return before > 1 and int(work.windows.closes[self.window, day]) <= before + SECOND

    def _contact_gets(self, day: int) -> str | None:
        """Return the other email that the contact gets on a day, where that is one too many."""
        inquiry, work = self.inquiry, self.inquiry.work
        if not inquiry.parameters.one_a_day:
            return None
        chains = np.flatnonzero(work.chains.contact == work.chains.contact[self.chain])
        same = np.isin(work.emails.chain, chains) & (inquiry.day == day)
        for email in np.flatnonzero(same):
            if email != self.email and not (
                work.emails.chain[email] == self.chain and work.emails.order[email] > self.order
            ):
                position = inquiry.step(int(email))[1]
                return f"step {position} of {inquiry.sequence_name(inquiry.sequence(int(email)))}"
        used = work.contact_days
        mine = (used["contact"] == work.chains.contact[self.chain]) & (used["day"] == day)
        return "an email sent, in flight or planned elsewhere" if mine.any() else None

    def _new(self, day: int) -> tuple[int, int] | None:
        """Return the first emails of the sequence on a day, and the most allowed, if any is."""
        inquiry, work = self.inquiry, self.inquiry.work
        sequence = inquiry.sequence(self.email)
        limit = int(work.new_limit[sequence])
        if not work.stages.is_first[self.stage] or limit >= UNLIMITED:
            return None
        of_sequence = work.stages.sequence[work.emails.stage] == sequence
        first = work.stages.is_first[work.emails.stage]
        planned = int((of_sequence & first & (inquiry.day == day)).sum())
        return planned + int(work.new_used[sequence, day]), limit

    def load(self, mailbox: int, day: int) -> Load:
        """Return what a mailbox can send on a day, and what does leave."""
        inquiry, work = self.inquiry, self.inquiry.work
        capacity = int(work.fleet.capacity[mailbox, day])
        boxes = inquiry.problem.mailboxes
        return Load(
            mailbox_id=int(boxes["id"].iloc[mailbox]),
            capacity=capacity,
            ramp=capacity < int(boxes["daily_capacity"].iloc[mailbox]),
            used=int(work.fleet.used[mailbox, day]),
            planned=int(inquiry.planned[mailbox, day]),
            room=int(inquiry.allowed.room[mailbox, day]),
        )

    def _contents(self, day: int) -> tuple[Emails, ...]:
        """Return what leaves the mailboxes on a day, by step."""
        inquiry, work = self.inquiry, self.inquiry.work
        there = (inquiry.day == day) & np.isin(inquiry.mailbox[work.emails.chain], self.boxes)
        stages, counts = np.unique(work.emails.stage[there], return_counts=True)
        merged: Counter[tuple[str, int, bool]] = Counter()
        for stage, count in zip(stages.tolist(), counts.tolist(), strict=True):
            name = inquiry.sequence_name(int(work.stages.sequence[stage]))
            position = inquiry.positions[work.stages.step[stage]]
            merged[name, int(position), bool(work.stages.is_first[stage])] += count
        ranked = sorted(merged.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Emails(*key, number) for key, number in ranked)

    def _alternative(self, way: Slots, day: int) -> Alternative:
        """Tell where the thread would go from a day."""
        inquiry, work = self.inquiry, self.inquiry.work
        moved = dict(zip(way.email.tolist(), way.day.tolist(), strict=True))
        last = int(work.chains.offset[self.chain + 1])
        behind, before = [], day
        for email in range(self.email + 1, last):
            at = int(moved.get(email, inquiry.day[email]))
            slip = at - int(work.stages.ready[work.emails.stage[email], before])
            behind.append(FollowUp(*inquiry.step(email), inquiry.date(at), slip))
            before = at
        box = int(way.mailbox[0]) if len(way.mailbox) else int(inquiry.mailbox[self.chain])
        own = max(day - ready_day(inquiry, self.email), 0)
        slip = 0 if work.stages.is_first[self.stage] else own
        mailbox_id = int(inquiry.problem.mailboxes["id"].iloc[box])
        return Alternative(mailbox_id, round(way.cost, 6), slip, tuple(behind))
