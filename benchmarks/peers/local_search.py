# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# mypy: disable-error-code="operator, index, attr-defined"
"""Timefold's Python package: local search over the day of each email and the mailbox of each chain.

The package was given up by its makers at 1.24.0b0, a beta; README.md beside this file tells where
it still runs. Constraints and objective are all expressed, as constraint streams; whatever breaks a
hard one in the best solution found is placed anew, see `answers.mend`. It proves no bound, and its
open edition searches with one thread.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from timefold.solver import SolverFactory
from timefold.solver.config import (
    Duration,
    ScoreDirectorFactoryConfig,
    SolverConfig,
    SolverConfigOverride,
    TerminationConfig,
)
from timefold.solver.domain import (
    PlanningEntityCollectionProperty,
    PlanningId,
    PlanningPin,
    PlanningScore,
    PlanningVariable,
    ProblemFactCollectionProperty,
    ValueRangeProvider,
    planning_entity,
    planning_solution,
)
from timefold.solver.score import (
    Constraint,
    ConstraintCollectors,
    ConstraintFactory,
    HardSoftScore,
    Joiners,
    constraint_provider,
)

from sendplan.benchmarks.peers import java
from sendplan.benchmarks.peers.answers import Answer, Clock, PeerError, answer
from sendplan.benchmarks.peers.instances import PeerInstance, Terms
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters

# The annotations below would start it themselves, with memory as they please.
java.start()


@dataclass
class Stage:
    """Ready day and first possible day of an email, by the day of the one before."""

    ready: list[int]
    release: list[int]


@dataclass
class Mailbox:
    """A mailbox and its residual capacity by day."""

    place: int
    room: list[int]


@planning_entity
@dataclass
class Chain:
    """A chain, which has its mailbox or chooses one."""

    id: Annotated[int, PlanningId]
    pool: Annotated[list[Mailbox], ValueRangeProvider(id="pool")]
    bound: Annotated[bool, PlanningPin]
    mailbox: Annotated[Mailbox | None, PlanningVariable(value_range_provider_refs=["pool"])] = (
        field(default=None)
    )


@planning_entity
@dataclass
class Email:
    """An email, which chooses its day.

    `previous` is the email before it in its chain, or -1; then `first_ready` is its ready day.
    """

    id: Annotated[int, PlanningId]
    chain: int
    previous: int
    stage: Stage
    ideal: int
    first_ready: int
    slip_weight: int
    days: Annotated[list[int], ValueRangeProvider(id="days")]
    day: Annotated[int | None, PlanningVariable(value_range_provider_refs=["days"])] = field(
        default=None
    )


@planning_solution
@dataclass
class Schedule:
    """All chains and emails."""

    mailboxes: Annotated[list[Mailbox], ProblemFactCollectionProperty]
    chains: Annotated[list[Chain], PlanningEntityCollectionProperty]
    emails: Annotated[list[Email], PlanningEntityCollectionProperty]
    score: Annotated[HardSoftScore | None, PlanningScore] = field(default=None)


@constraint_provider
def constraints(factory: ConstraintFactory) -> list[Constraint]:
    """Return the rules and the terms of the cost."""
    emails = factory.for_each(Email)
    pairs = emails.join(Email, Joiners.equal(lambda e: e.id, lambda f: f.previous))
    loads = emails.join(Chain, Joiners.equal(lambda e: e.chain, lambda c: c.id)).group_by(
        lambda e, c: c.mailbox, lambda e, c: e.day, ConstraintCollectors.count_bi()
    )
    return [
        loads.filter(lambda mailbox, day, count: count > mailbox.room[day])
        .penalize(HardSoftScore.ONE_HARD, lambda mailbox, day, count: count - mailbox.room[day])
        .as_constraint("capacity"),
        pairs.filter(lambda e, f: f.day < f.stage.release[e.day])
        .penalize(HardSoftScore.ONE_HARD, lambda e, f: f.stage.release[e.day] - f.day)
        .as_constraint("order"),
        emails.filter(lambda e: e.day > e.ideal)
        .penalize(HardSoftScore.ONE_SOFT, lambda e: e.day - e.ideal)
        .as_constraint("lateness"),
        pairs.filter(lambda e, f: f.day > f.stage.ready[e.day])
        .penalize(
            HardSoftScore.ONE_SOFT, lambda e, f: f.slip_weight * (f.day - f.stage.ready[e.day])
        )
        .as_constraint("slip"),
        emails.filter(lambda e: e.previous < 0 and e.day > e.first_ready)
        .penalize(HardSoftScore.ONE_SOFT, lambda e: e.slip_weight * (e.day - e.first_ready))
        .as_constraint("slip behind a sent email"),
    ]


def plan(instance: PeerInstance, limit: float) -> Answer:
    """Plan an instance.

    Parameters
    ----------
    instance : PeerInstance
        What to plan.
    limit : float
        Seconds for starting Java, translating the constraints and searching.

    Returns
    -------
    Answer
        Without a bound.

    Raises
    ------
    PeerError
        If the search did not come to a first solution.
    """
    clock = Clock(limit)
    terms = Terms.of(instance.problem)
    schedule = _schedule(terms)
    config = SolverConfig(
        solution_class=Schedule,
        entity_class_list=[Chain, Email],
        random_seed=0,
        score_director_factory_config=ScoreDirectorFactoryConfig(
            constraint_provider_function=constraints
        ),
    )
    factory = SolverFactory.create(config)
    # Only now, since the constraints have just been translated, which takes seconds.
    left = clock.left("while translating the constraints")
    spent = TerminationConfig(spent_limit=Duration(milliseconds=int(1000 * left)))
    solved = factory.build_solver(SolverConfigOverride(termination_config=spent)).solve(schedule)
    placement = Placement.empty(terms.work)
    for chain in solved.chains:
        if chain.mailbox is not None:
            placement.mailbox[chain.id] = chain.mailbox.place
    for email in solved.emails:
        if email.day is not None and placement.mailbox[email.chain] != NONE:
            placement.day[email.id] = email.day
    if (placement.day == NONE).all():
        raise PeerError("no plan in time (nothing was given a day)")
    return answer(terms, placement, None, f"best found, {solved.score}")


def _schedule(terms: Terms) -> Schedule:
    work, limits = terms.work, terms.limits
    chains, emails = work.chains, work.emails
    stages = [
        Stage(ready.tolist(), release.tolist())
        for ready, release in zip(terms.ready, terms.release, strict=True)
    ]
    mailboxes = [
        Mailbox(place, [*room, len(emails)])
        for place, room in enumerate(limits.room[:, : terms.sink].tolist())
    ]
    pools = [[mailboxes[place] for place in pool] for pool in work.fleet.pools]
    sequence = work.stages.sequence[chains.stage]
    slip = np.where(work.stages.is_first, 0, int(Parameters.slip_weight))
    # Lists are shared, so that few of them are carried over to Java.
    days: dict[tuple[int, int], list[int]] = {}
    earliest = terms.earliest()
    for stage, first in zip(emails.stage.tolist(), earliest.tolist(), strict=True):
        if (stage, first) not in days:
            days[stage, first] = [
                day for day in np.flatnonzero(terms.open_days[stage]).tolist() if day >= first
            ]
    return Schedule(
        mailboxes,
        [
            Chain(
                chain,
                pools[sequence[chain]],
                bound != NONE,
                mailboxes[bound] if bound != NONE else None,
            )
            for chain, bound in enumerate(chains.mailbox.tolist())
        ],
        [
            Email(
                email,
                chain,
                email - 1 if order else -1,
                stages[stage],
                ideal,
                int(chains.ready[chain]),
                int(slip[stage]),
                days[stage, first],
            )
            for email, (chain, order, stage, ideal, first) in enumerate(
                zip(
                    emails.chain.tolist(),
                    emails.order.tolist(),
                    emails.stage.tolist(),
                    emails.ideal.tolist(),
                    earliest.tolist(),
                    strict=True,
                )
            )
        ],
    )
