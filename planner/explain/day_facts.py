"""The days between the ready day of an email and its slot: the obstacles on each."""

from collections import Counter

import numpy as np

from sendplan.planner.explain.alternatives import Alternatives, SlotOption
from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.explain.facts import Alternative, DayBetween, EmailGroup, FollowUp, Load
from sendplan.planner.explain.ready_facts import ready_day
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema.dates import SECOND


class Days:
    """Facts of the days on which an email might leave.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    email : int
        The email.
    alternatives : Alternatives or None
        Other slots of its thread; None where it has no slot.
    """

    def __init__(
        self, context: ExplanationContext, email: int, alternatives: Alternatives | None
    ) -> None:
        self.context, self.email, self.alternatives = context, email, alternatives
        instance = context.instance
        self.chain = int(instance.emails.chain[email])
        self.stage = int(instance.emails.stage[email])
        self.order = int(instance.emails.order[email])
        self.window = int(instance.chains.window[self.chain])
        mailbox = int(context.mailbox[self.chain])
        free = self.order == 0 and instance.chains.mailbox[self.chain] == NONE
        pool = instance.fleet.pools[context.sequence(email)]
        self.mailboxes = pool if free or mailbox == NONE else np.array([mailbox])

    def between(self, begin: int, end: int) -> tuple[DayBetween, ...]:
        """Return the facts of the days from `begin` up to the one before `end`."""
        return tuple(self._facts(day) for day in range(begin, end))

    def _facts(self, day: int) -> DayBetween:
        context = self.context
        sequence, date = context.sequence(self.email), context.date(day)
        closed = context.why_closed(sequence, date)
        if closed is not None:
            return DayBetween(date, ("closed",), closed=closed)
        instance = context.instance
        obstacles: list[str] = []
        if not instance.windows.usable[self.window, day]:
            obstacles.append("window")
        elif self._behind_flight(day):
            obstacles.append("in_flight")
        gets = self._contact_gets(day)
        if gets is not None:
            obstacles.append("contact")
        new = self._new(day)
        if new is not None and new[0] >= new[1]:
            obstacles.append("max_new")
        loads = tuple(self.load(int(mailbox), day) for mailbox in self.mailboxes)
        if all(load.full for load in loads):
            # Where the gap limits a mailbox, a larger capacity would not help.
            gap = all(load.room < load.capacity - load.used for load in loads)
            obstacles.append("min_gap" if gap and loads else "full")
        alternative = None
        if not obstacles and self.alternatives is not None:
            option = self.alternatives.on(day)
            if option is None:
                obstacles.append("min_gap")
            else:
                alternative = self._alternative(option, day)
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
        """Tell whether an email in flight leaves only after the window of the day."""
        instance = self.context.instance
        if self.order:
            return False
        before = int(instance.chains.not_before[self.chain])
        return before > 1 and int(instance.windows.closes[self.window, day]) <= before + SECOND

    def _contact_gets(self, day: int) -> str | None:
        """Return the other email of the contact on a day, if one a day is the limit."""
        context, instance = self.context, self.context.instance
        if not context.parameters.one_a_day:
            return None
        chains = np.flatnonzero(instance.chains.contact == instance.chains.contact[self.chain])
        same = np.isin(instance.emails.chain, chains) & (context.day == day)
        for email in np.flatnonzero(same):
            if email != self.email and not (
                instance.emails.chain[email] == self.chain
                and instance.emails.order[email] > self.order
            ):
                position = context.step(int(email))[1]
                return f"step {position} of {context.sequence_name(context.sequence(int(email)))}"
        used = instance.contact_days
        mine = (used["contact"] == instance.chains.contact[self.chain]) & (used["day"] == day)
        return "an email sent, in flight or planned elsewhere" if mine.any() else None

    def _new(self, day: int) -> tuple[int, int] | None:
        """Return the first emails of the sequence on a day and their limit, if there is one."""
        context, instance = self.context, self.context.instance
        sequence = context.sequence(self.email)
        limit = int(instance.new_limit[sequence])
        if not instance.stages.is_first[self.stage] or limit >= UNLIMITED:
            return None
        of_sequence = instance.stages.sequence[instance.emails.stage] == sequence
        first = instance.stages.is_first[instance.emails.stage]
        planned = int((of_sequence & first & (context.day == day)).sum())
        return planned + int(instance.new_used[sequence, day]), limit

    def load(self, mailbox: int, day: int) -> Load:
        """Return the capacity and the load of a mailbox on a day."""
        context, instance = self.context, self.context.instance
        capacity = int(instance.fleet.capacity[mailbox, day])
        mailboxes = context.problem.mailboxes
        return Load(
            mailbox_id=int(mailboxes["id"].iloc[mailbox]),
            capacity=capacity,
            ramp=capacity < int(mailboxes["daily_capacity"].iloc[mailbox]),
            used=int(instance.fleet.used[mailbox, day]),
            planned=int(context.planned[mailbox, day]),
            room=int(context.limits.room[mailbox, day]),
        )

    def _contents(self, day: int) -> tuple[EmailGroup, ...]:
        """Return the emails that leave the mailboxes on a day, by step."""
        context, instance = self.context, self.context.instance
        there = (context.day == day) & np.isin(
            context.mailbox[instance.emails.chain], self.mailboxes
        )
        stages, counts = np.unique(instance.emails.stage[there], return_counts=True)
        merged: Counter[tuple[str, int, bool]] = Counter()
        for stage, count in zip(stages.tolist(), counts.tolist(), strict=True):
            name = context.sequence_name(int(instance.stages.sequence[stage]))
            position = context.positions[instance.stages.step[stage]]
            merged[name, int(position), bool(instance.stages.is_first[stage])] += count
        ranked = sorted(merged.items(), key=lambda item: (-item[1], item[0]))
        return tuple(EmailGroup(*key, number) for key, number in ranked)

    def _alternative(self, option: SlotOption, day: int) -> Alternative:
        """Return an option as facts."""
        context, instance = self.context, self.context.instance
        moved = dict(zip(option.email.tolist(), option.day.tolist(), strict=True))
        last = int(instance.chains.offset[self.chain + 1])
        behind, before = [], day
        for email in range(self.email + 1, last):
            at = int(moved.get(email, context.day[email]))
            slip = at - int(instance.stages.ready[instance.emails.stage[email], before])
            behind.append(FollowUp(*context.step(email), context.date(at), slip))
            before = at
        mailbox = (
            int(option.mailbox[0]) if len(option.mailbox) else int(context.mailbox[self.chain])
        )
        own = max(day - ready_day(context, self.email), 0)
        slip = 0 if instance.stages.is_first[self.stage] else own
        mailbox_id = int(context.problem.mailboxes["id"].iloc[mailbox])
        return Alternative(mailbox_id, round(option.cost, 6), slip, tuple(behind))
