"""Tiny problems as the arrays that methods work on, and placements that a test can write down.

Enrollments and mailboxes go by their ids, days by their number from Monday 2 March 2026 on, as in
`tiny`; None stands for no mailbox and no day.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.single_chains import single_out_chains
from sendplan.planner.flow.subproblems import build_subproblems
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.limits import limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.replanning.incumbent import incumbent
from sendplan.tests.worlds.problems.tiny import MONDAY, World

Threads = dict[int, tuple[int | None, list[int | None]]]
"""The mailbox of each enrollment, and the day of each of its emails that are still to be sent."""


class Arrays:
    """One problem, and what a plan of it may use."""

    def __init__(self, world: World, **parameters: Any) -> None:
        problem = world.problem()
        self.parameters = Parameters(method="greedy", **parameters)
        self.instance = build_instance(problem)
        self.limits = limits_of(self.instance, self.parameters)
        chains = self.instance.chains
        self.enrollments = problem.enrollments["id"].to_numpy()[chains.enrollment].tolist()
        self.mailboxes = problem.mailboxes["id"].tolist()
        # Index 1 is today.
        self.origin = (world.now.date() - MONDAY).days - 1

    def chain(self, enrollment: int) -> int:
        return self.enrollments.index(enrollment)

    def email(self, enrollment: int, number: int = 0) -> int:
        """Give one of the emails that an enrollment has still to get, from 0."""
        return int(self.instance.chains.offset[self.chain(enrollment)]) + number

    def mailbox(self, key: int) -> int:
        return self.mailboxes.index(key)

    def day(self, number: int) -> int:
        return number - self.origin

    def placement(
        self, days: Mapping[int, Sequence[int]], mailboxes: Mapping[int, int] | None = None
    ) -> Placement:
        """Place the first emails of enrollments, from the first mailbox where none is given."""
        result = Placement.empty(self.instance)
        for enrollment, numbers in days.items():
            begin, chain = self.email(enrollment), self.chain(enrollment)
            result.day[begin : begin + len(numbers)] = [self.day(number) for number in numbers]
            key = (mailboxes or {}).get(enrollment)
            if key is not None or result.mailbox[chain] == NONE:
                result.mailbox[chain] = 0 if key is None else self.mailbox(key)
        return result

    def existing(self) -> Placement:
        """Give the existing slots, as far as they can stay."""
        found = incumbent(self.instance, self.limits)
        return Placement.empty(self.instance) if found is None else found.placement

    def threads(self, placement: Placement) -> Threads:
        result: Threads = {}
        for chain, enrollment in enumerate(self.enrollments):
            begin, end = self.instance.chains.offset[chain : chain + 2]
            days = placement.day[begin:end].tolist()
            mailbox = int(placement.mailbox[chain])
            result[enrollment] = (
                None if mailbox == NONE else self.mailboxes[mailbox],
                [None if day == NONE else day + self.origin for day in days],
            )
        return result

    def days(self, placement: Placement) -> dict[int, list[int | None]]:
        return {enrollment: days for enrollment, (_, days) in self.threads(placement).items()}

    def network(self, last: int) -> FlowNetwork:
        """Return the only component as a flow network; the day after `last` is its sink."""
        singles = single_out_chains(self.instance, self.limits)
        sink = np.full(int(singles.component.max()) + 1, self.day(last) + 1)
        limits = limits_of(singles.instance, self.parameters)
        [subproblem] = build_subproblems(singles, limits, self.parameters, sink)
        return subproblem.network
