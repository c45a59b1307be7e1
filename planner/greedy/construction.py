"""The construction heuristic: relax, decide on counts, give them to contacts, reinsert."""

import numpy as np

from sendplan.planner.greedy.admission import decide
from sendplan.planner.greedy.reinsertion import reinsert
from sendplan.planner.greedy.volume_algorithm import Flow, relax
from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.components import components, mailbox_components
from sendplan.planner.model.counts import AggregatedInstance, Counts, Demand, Pairs, trajectories
from sendplan.planner.model.disaggregation import assign, demand
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.objective import DayWeights, delays, surcharge
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters

PASSES = 100
"""Passes of the relaxation; more change little."""

CAUTION = 2.6
"""How much dearer slip is to the relaxation than in the objective.

Sharing its flow out to mailboxes makes some follow-ups slip that it had on time.
"""

REINSERTIONS = 2
"""How often the chains that slip are removed and reinserted, at most."""

LOOK_BEYOND = 21
"""Days looked at beyond the one on which capacity has caught up with demand."""


def construct(
    instance: Instance, limits: Limits, placement: Placement, parameters: Parameters
) -> None:
    """Place what a placement leaves open, as far as counts can tell.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place; what it holds already stays.
    parameters : Parameters
        Planning parameters.
    """
    fixed = placement.day != NONE
    pairs = Pairs.build(instance.stages, instance.fleet.pools, limits.urgency)
    aggregated = _aggregated(instance, limits, placement, pairs)
    wanted = demand(instance, limits, placement, pairs)
    if not wanted.bound.any() and not wanted.free.any():
        return
    days = _days(instance, aggregated, wanted)
    counts = _cheaper(instance, aggregated, wanted, parameters, days)
    assign(instance, limits, placement, pairs, counts)
    for _ in range(REINSERTIONS):
        if not _improve(instance, limits, placement, fixed, pairs, parameters, days):
            return


def _aggregated(
    instance: Instance, limits: Limits, placement: Placement, pairs: Pairs
) -> AggregatedInstance:
    room = ResidualCapacity.beside(instance, limits, placement)
    # Days are not filled beyond what their timetables are likely to hold.
    room.mailbox -= limits.room - limits.expected_room
    np.maximum(room.mailbox, 0, out=room.mailbox)
    room.mailbox[:, limits.last + 1 :] = limits.room[:, limits.last + 1 :]
    return AggregatedInstance(
        instance.stages, pairs, room.mailbox, room.new, limits.release, limits.urgency, limits.last
    )


def _days(instance: Instance, aggregated: AggregatedInstance, wanted: Demand) -> int:
    """Return how many days matter: until capacity has caught up, and the last chains have ended."""
    stages = instance.stages
    component = mailbox_components(instance.fleet.pools)
    count = int(component.max(initial=0)) + 1
    waiting = wanted.free.sum(axis=1).astype(float)
    np.add.at(waiting, aggregated.pairs.stage, wanted.bound.sum(axis=1))
    emails = np.bincount(component[stages.sequence], waiting * stages.remaining, count)
    capacity = _pooled(aggregated, component, instance.fleet.pools)[:, : aggregated.last + 1]
    # Weekends and holidays have capacity that no sequence can use.
    sends = np.zeros(capacity.shape, dtype=bool)
    np.logical_or.at(sends, component[stages.sequence], stages.sends[:, : aggregated.last + 1])
    caught_up = (np.cumsum(capacity * sends, axis=1) < emails[:, None]).sum(axis=1).max(initial=0)
    caught_up = min(int(caught_up), aggregated.last)
    ends = trajectories(stages, aggregated.release)[:, caught_up]
    longest = np.where(stages.path != NONE, ends, 0).max(initial=0)
    return min(int(longest) + LOOK_BEYOND, aggregated.last + 2)


def _pooled(
    aggregated: AggregatedInstance, component: np.ndarray, pools: list[np.ndarray]
) -> np.ndarray:
    """Return the room of each component's mailboxes together."""
    room = np.zeros((int(component.max(initial=0)) + 1, aggregated.room.shape[1]))
    for place in range(len(room)):
        members = [pools[sequence] for sequence in np.flatnonzero(component == place)]
        mailbox = np.unique(np.concatenate(members)).astype(np.int64)
        room[place] = aggregated.room[mailbox].sum(axis=0)
    return room


def _cheaper(
    instance: Instance,
    aggregated: AggregatedInstance,
    wanted: Demand,
    parameters: Parameters,
    days: int,
) -> Counts:
    """Decide with and without targets, and keep what costs less, component by component."""
    component = mailbox_components(instance.fleet.pools)
    stages, pairs = instance.stages, aggregated.pairs
    arriving = wanted.free.copy()
    np.add.at(arriving, pairs.stage, wanted.bound)
    cut = arriving[:, :days].copy()
    cut[:, -1] += arriving[:, days:].sum(axis=1)
    capacity = _pooled(aggregated, component, instance.fleet.pools)[:, :days]
    capacity[:, -1] = arriving.sum() * int(stages.remaining.max(initial=1))
    flow = Flow(
        stages,
        cut,
        aggregated.release,
        stages.ready,
        capacity,
        component[stages.sequence],
        DayWeights.of(instance, CAUTION * parameters.slip_weight),
    )
    guided = decide(aggregated, wanted, relax(flow, PASSES))
    plain = decide(aggregated, wanted)
    of_pair = component[stages.sequence[pairs.stage]]
    weights = DayWeights.of(instance, parameters.slip_weight)
    left_out = surcharge(weights.lateness, parameters)
    costs = [
        np.bincount(of_pair, _cost(aggregated, counts, weights, left_out), len(capacity))
        for counts in (plain, guided)
    ]
    better = (costs[1] < costs[0])[of_pair][:, None]
    return Counts(
        np.where(better, guided.bound, plain.bound), np.where(better, guided.free, plain.free)
    )


def _cost(
    aggregated: AggregatedInstance, counts: Counts, weights: DayWeights, left_out: np.ndarray
) -> np.ndarray:
    """Return the cost of each pair's emails, up to a constant of the demand.

    What found no room counts from the day after the horizon on, and `left_out` (by stage) on top.
    """
    stages, pairs = aggregated.stages, aggregated.pairs
    sends = counts.bound + counts.free
    day = np.arange(sends.shape[1])
    weight = (weights.lateness + weights.slip)[pairs.stage]
    # Relative to leaving everything out, so that an email that was not placed costs nothing less.
    cost = weight * (sends * (day - aggregated.last - 1)).sum(axis=1)
    cost -= left_out[pairs.stage] * sends.sum(axis=1)
    after = stages.following[pairs.stage]
    goes_on = after != NONE
    ready = stages.ready[after[goes_on]] - aggregated.last - 1
    cost[goes_on] -= weights.slip[after[goes_on]] * (sends[goes_on] * np.minimum(ready, 0)).sum(
        axis=1
    )
    return np.asarray(cost)


def _improve(
    instance: Instance,
    limits: Limits,
    placement: Placement,
    fixed: np.ndarray,
    pairs: Pairs,
    parameters: Parameters,
    days: int,
) -> bool:
    """Take out the chains that slip and give each its cheapest way; tell whether that helped."""
    emails, chains = instance.emails, instance.chains
    component = components(instance)
    delay = delays(instance, placement, limits.last, parameters)
    slips = np.zeros(len(chains), dtype=bool)
    slips[emails.chain[(delay.slip > 0) & ~fixed]] = True
    new = np.flatnonzero(slips[emails.chain] & ~fixed)
    if not len(new):
        return False
    other = placement.copy()
    other.cut(instance, new)
    aggregated = _aggregated(instance, limits, other, pairs)
    wanted = demand(instance, limits, other, pairs)
    weights = DayWeights.of(instance, parameters.slip_weight)
    assign(instance, limits, other, pairs, reinsert(aggregated, wanted, weights, days))
    after = delays(instance, other, limits.last, parameters)
    saved = np.bincount(component[emails.chain], delay.cost - after.cost)
    better = saved > 1e-9 * delay.cost.sum()
    if not better.any():
        return False
    swap = better[component]
    placement.day[:] = np.where(swap[emails.chain], other.day, placement.day)
    placement.mailbox[:] = np.where(swap, other.mailbox, placement.mailbox)
    return True
