"""Bounds on capacity: the fewest mailboxes, or the least of each, that every plan needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.wording import counted
from sendplan.planner.studies.deadline import Weights, bound_threads, build_deadline
from sendplan.planner.studies.shortfall import Cut, shortfall_cut

ROUNDING = 1e-6
"""Largest relative error of real arithmetic in a shortfall."""


@dataclass(frozen=True)
class Target:
    """What a plan must reach.

    Parameters
    ----------
    last : int
        Index of the day by which every email has left.
    max_late : int or None
        Most late follow-ups; None if their number does not matter.
    hurried : bool
        Whether plans with a smaller slip_weight may be tried, too.
    """

    last: int
    max_late: int | None
    hurried: bool = False

    @property
    def weights(self) -> Weights:
        """Weights of the shortfall; a plan reaches the target if it is at most `limit`."""
        return Weights.of(self.max_late)

    @property
    def limit(self) -> int:
        """Largest shortfall of a plan that reaches the target."""
        return self.max_late or 0

    def missed(self, short: float) -> bool:
        """Tell whether a lower bound on the shortfall of every plan refutes the target."""
        return short > self.limit + ROUNDING * max(short, 1.0)


@dataclass(frozen=True)
class Obstacle:
    """Why no capacity is enough.

    Parameters
    ----------
    kind : str
        ``"waits"``, ``"threads"`` or ``"limits"``.
    text : str
        A sentence that names the cause.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class LeastMailboxes:
    """A lower bound on new mailboxes.

    Parameters
    ----------
    by_pool : ndarray of int or None
        New mailboxes of each pool; no plan does with a smaller sum. None if no number is enough.
    threads : dict of int to float
        By mailbox, the shortfall of its bound threads, whatever mailboxes are added.
    """

    by_pool: np.ndarray | None
    threads: dict[int, float]


def least_mailboxes(
    problem: Problem, parameters: Parameters, target: Target, daily_capacity: int
) -> LeastMailboxes:
    """Bound how many new mailboxes are needed, each for the sequences of one pool.

    The shortfall of every pool is bounded from below by cuts that are linear in the number of its
    new mailboxes. The smallest numbers that satisfy all cuts so far are tried, and each trial adds
    a cut that is tight there, until none is violated (Kelley, "The cutting-plane method for solving
    convex programs", J. SIAM 8, 1960). As the cuts lie below the shortfall of every plan, these
    numbers add up to at most what any plan needs.

    Parameters
    ----------
    problem, parameters
        The problem and the planning parameters.
    target : Target
        What a plan must reach.
    daily_capacity : int
        Emails a day of a new mailbox.
    """
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    whole = build_deadline(instance, limits, target.last)
    pools = [whole.pool_alone(pool) for pool in range(len(whole.room))]
    new = np.full(whole.days, daily_capacity)
    cuts: list[list[Cut]] = [[] for _ in pools]
    threads: dict[int, float] = {}
    of_threads = np.zeros(len(pools))
    for pool, mailbox, alone in bound_threads(instance, limits, whole):
        short = shortfall_cut(alone, target.weights, new).short
        if short > ROUNDING:
            threads[mailbox] = short
            of_threads[pool] += short
    for pool, short in enumerate(of_threads):
        cuts[pool].append(Cut(float(short), 0.0))
    known = np.full(len(pools), NONE)
    count: np.ndarray | None = np.zeros(len(pools), dtype=np.int64)
    while count is not None:
        for pool in np.flatnonzero(count != known).tolist():
            widened = pools[pool].with_more_room(new * count[pool])
            cut = shortfall_cut(widened, target.weights, new)
            cuts[pool].append(Cut(cut.short + cut.relief * int(count[pool]), cut.relief))
        if not target.missed(_short(cuts, count).sum()):
            break
        known, count = count, _cheapest(cuts, target)
    return LeastMailboxes(count, threads)


def _short(cuts: Sequence[Sequence[Cut]], count: np.ndarray) -> np.ndarray:
    return np.array(
        [
            max(cut.at(int(number)) for cut in lines)
            for lines, number in zip(cuts, count, strict=True)
        ]
    )


def _cheapest(cuts: Sequence[Sequence[Cut]], target: Target) -> np.ndarray | None:
    """Return the fewest mailboxes that satisfy all cuts; None if no number is enough.

    By the cuts the shortfall is convex, so that each mailbox is best added where it relieves most.
    """
    count = np.zeros(len(cuts), dtype=np.int64)
    short = _short(cuts, count)
    after = _short(cuts, count + 1)
    while target.missed(short.sum()):
        relief = short - after
        pool = int(relief.argmax())
        if relief[pool] <= ROUNDING * max(short.sum(), 1.0):
            return None
        count[pool] += 1
        short[pool] = after[pool]
        after[pool] = max(cut.at(int(count[pool]) + 1) for cut in cuts[pool])
    return count


def total_shortfall(problem: Problem, parameters: Parameters, target: Target) -> float:
    """Return a lower bound on the shortfall of every plan of a problem.

    Parameters
    ----------
    problem, parameters, target
        The problem, the planning parameters and the target.
    """
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    whole = build_deadline(instance, limits, target.last)
    nothing = np.zeros(whole.days, dtype=np.int64)
    pooled = np.array(
        [
            shortfall_cut(whole.pool_alone(pool), target.weights, nothing).short
            for pool in range(len(whole.room))
        ]
    )
    own = np.zeros(len(pooled))
    for pool, _, alone in bound_threads(instance, limits, whole):
        if target.missed(np.maximum(pooled, own).sum()):
            break
        own[pool] += shortfall_cut(alone, target.weights, nothing).short
    return float(np.maximum(pooled, own).sum())


def find_obstacle(
    problem: Problem, parameters: Parameters, target: Target, threads: dict[int, float]
) -> Obstacle:
    """Return why no capacity is enough for a target.

    Parameters
    ----------
    problem, parameters, target
        The problem, the planning parameters and the target.
    threads : dict of int to float
        See `LeastMailboxes`.
    """
    if (waits := waits_obstacle(problem, parameters, target)) is not None:
        return waits
    if threads and target.missed(sum(threads.values())):
        mailboxes = problem.mailboxes
        named = [
            f"{mailboxes['email'].iloc[mailbox] or mailboxes['id'].iloc[mailbox]}"
            for mailbox in sorted(threads, key=lambda mailbox: (-threads[mailbox], mailbox))
        ]
        more = f" and {counted(len(named) - 3, 'other')}" if len(named) > 3 else ""
        text = (
            f"threads stay with their mailbox, and those of {', '.join(named[:3])}{more} have more"
            " to send than its capacity; only a higher capacity of these mailboxes would help"
        )
        return Obstacle("threads", text)
    return Obstacle("limits", "capacity is not what limits it: see max_new_per_day and the ramps")


def waits_obstacle(problem: Problem, parameters: Parameters, target: Target) -> Obstacle | None:
    """Return the chain that ends last with unlimited capacity, if that is too late."""
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    ends = _earliest_ends(instance, limits)
    if not len(ends) or ends.max() <= target.last:
        return None
    chain = int(ends.argmax())
    row = problem.enrollments.iloc[instance.chains.enrollment[chain]]
    sequence = problem.sequences[problem.sequences["id"] == row["sequence_id"]].iloc[0]
    name = sequence["name"] or f"sequence {sequence['id']}"
    left = int(instance.stages.remaining[instance.chains.stage[chain]])
    emails = counted(left, "email")
    if ends[chain] > problem.horizon.last:
        end = "ends more than a year from now"
    else:
        end = f"ends on {dates.to_date(int(ends[chain]) + problem.horizon.origin)}"
    many = int((ends > target.last).sum())
    others = "" if many == 1 else f", and so do {many - 1:,} more after that day"
    text = (
        f"the waits alone take longer: enrollment {row['id']} of {name} has {emails} to get, and"
        f" {end} at the earliest{others}"
    )
    return Obstacle("waits", text)


def _earliest_ends(instance: Instance, limits: Limits) -> np.ndarray:
    """Return the day of the last email of each chain with unlimited capacity."""
    day = limits.first_release.copy()
    for column in range(1, instance.stages.path.shape[1]):
        if not len(day):
            break
        stage = instance.stages.path[instance.chains.stage, column]
        goes_on = stage != NONE
        day[goes_on] = limits.release[stage[goes_on], day[goes_on]]
    return np.asarray(day)
