"""Bounds on capacity: how many mailboxes, or how much of each, every plan needs at the least."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.studies.deadline import Weights, bound_threads, deadline
from sendplan.planner.studies.shortfall import Cut, least_shortfall

ROUNDING = 1e-6
"""What is lost at most, relative to a shortfall, to the arithmetic of real numbers."""


@dataclass(frozen=True)
class Target:
    """What a plan is to reach.

    Parameters
    ----------
    last : int
        Index of the day by which every email has left.
    max_late : int or None
        How many follow-ups may be late; None if it does not matter.
    hurried : bool
        Whether plans may be tried that mind late follow-ups less than was asked for.
    """

    last: int
    max_late: int | None
    hurried: bool = False

    @property
    def weights(self) -> Weights:
        """What falling short weighs; a plan does if it falls short by `limits` at most."""
        return Weights.of(self.max_late)

    @property
    def limits(self) -> int:
        """By how much a plan may fall short."""
        return self.max_late or 0

    def missed(self, short: float) -> bool:
        """Tell whether what every plan falls short by is too much."""
        return short > self.limits + ROUNDING * max(short, 1.0)


@dataclass(frozen=True)
class Obstacle:
    """Why no capacity is enough.

    Parameters
    ----------
    kind : str
        ``"waits"``, ``"threads"`` or ``"limits"``.
    text : str
        A sentence that names who stands in the way.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class LeastMailboxes:
    """The bound.

    Parameters
    ----------
    by_pool : ndarray of int or None
        New mailboxes of each pool whose sum no plan can go below; None if no number is enough.
    threads : dict of int to float
        By mailbox, what every plan of its threads falls short by, however many mailboxes there are.
    """

    by_pool: np.ndarray | None
    threads: dict[int, float]


def least_mailboxes(
    problem: Problem, parameters: Parameters, target: Target, daily_capacity: int
) -> LeastMailboxes:
    """Bound how many new mailboxes are needed, each for the sequences of one pool.

    Every pool's shortfall is bounded from below by straight lines in the number of its new
    mailboxes. The cheapest numbers that satisfy all lines drawn so far are tried; each trial draws
    a line that is exact there, until the lines have nothing more to object (Kelley, "The
    cutting-plane method for solving convex programs", J. SIAM 8, 1960). As the lines lie below the
    shortfall of every plan, those numbers add up to at most what any plan needs.

    Parameters
    ----------
    problem, parameters
        What is to be planned, and how.
    target : Target
        What a plan is to reach.
    daily_capacity : int
        Of a new mailbox.
    """
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    whole = deadline(instance, limits, target.last)
    pools = [whole.at(pool) for pool in range(len(whole.room))]
    new = np.full(whole.days, daily_capacity)
    cuts: list[list[Cut]] = [[] for _ in pools]
    threads: dict[int, float] = {}
    of_threads = np.zeros(len(pools))
    for pool, box, alone in bound_threads(instance, limits, whole):
        short = least_shortfall(alone, target.weights, new).short
        if short > ROUNDING:
            threads[box] = short
            of_threads[pool] += short
    for pool, short in enumerate(of_threads):
        cuts[pool].append(Cut(float(short), 0.0))
    known = np.full(len(pools), NONE)
    count: np.ndarray | None = np.zeros(len(pools), dtype=np.int64)
    while count is not None:
        for pool in np.flatnonzero(count != known).tolist():
            widened = pools[pool].widened(new * count[pool])
            cut = least_shortfall(widened, target.weights, new)
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
    """Return the fewest mailboxes that all lines allow; None if no number is enough.

    Lines make the shortfall convex, so that it is best to add where the next one relieves most.
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


def shortfall(problem: Problem, parameters: Parameters, target: Target) -> float:
    """Bound by how much every plan of a problem falls short of a target.

    Parameters
    ----------
    problem, parameters, target
        What is to be planned, how, and what is to be reached.
    """
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    whole = deadline(instance, limits, target.last)
    nothing = np.zeros(whole.days, dtype=np.int64)
    pooled = np.array(
        [
            least_shortfall(whole.at(pool), target.weights, nothing).short
            for pool in range(len(whole.room))
        ]
    )
    own = np.zeros(len(pooled))
    for pool, _, alone in bound_threads(instance, limits, whole):
        if target.missed(np.maximum(pooled, own).sum()):
            break
        own[pool] += least_shortfall(alone, target.weights, nothing).short
    return float(np.maximum(pooled, own).sum())


def obstacle(
    problem: Problem, parameters: Parameters, target: Target, threads: dict[int, float]
) -> Obstacle:
    """Say why no capacity is enough.

    Parameters
    ----------
    problem, parameters, target
        What is to be planned, how, and what cannot be reached.
    threads : dict of int to float
        By mailbox, what every plan of its threads falls short by.
    """
    if (waits := waits_alone(problem, parameters, target)) is not None:
        return waits
    if threads and target.missed(sum(threads.values())):
        boxes = problem.mailboxes
        named = [
            f"{boxes['email'].iloc[box] or boxes['id'].iloc[box]}"
            for box in sorted(threads, key=lambda box: (-threads[box], box))
        ]
        more = f" and {len(named) - 3} others" if len(named) > 3 else ""
        text = (
            f"threads stay with their mailbox, and those of {', '.join(named[:3])}{more} have more"
            " to send than it has room for; only a higher capacity of these mailboxes would help"
        )
        return Obstacle("threads", text)
    return Obstacle(
        "limits", "what holds it up is no lack of room: see max_new_per_day and the ramps"
    )


def waits_alone(problem: Problem, parameters: Parameters, target: Target) -> Obstacle | None:
    """Name the chain that ends last if there were room for everything, if that is too late."""
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
    emails = "1 email" if left == 1 else f"{left} emails"
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
    """Return the day of each chain's last email if there were room for everything."""
    day = limits.first_release.copy()
    for column in range(1, instance.stages.path.shape[1]):
        if not len(day):
            break
        stage = instance.stages.path[instance.chains.stage, column]
        goes_on = stage != NONE
        day[goes_on] = limits.release[stage[goes_on], day[goes_on]]
    return np.asarray(day)
