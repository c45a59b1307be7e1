"""Apportioning: how many of the chains that have no mailbox yet each mailbox gets."""

from dataclasses import replace

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.grouping import rank
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


def group_by_load(network: FlowNetwork, groups: int) -> np.ndarray:
    """Group resources of like load, in groups of about equal size.

    Aggregating mailboxes loses little if each has as much to send, for its capacity, as the others.

    Parameters
    ----------
    network : FlowNetwork
        The flow.
    groups : int
        Number of groups.

    Returns
    -------
    ndarray of int, shape (resources,)
        Group of each resource.
    """
    resources = len(network.room)
    load = _bound_emails(network) / np.maximum(network.room[:, 1:-1].mean(axis=1), 1.0)
    # Resources that may take different chains stay in different groups as far as possible.
    takes = np.zeros((resources, len(network.waiting)), dtype=bool)
    grouped = network.group != NONE
    takes[network.resource[grouped], network.group[grouped]] = True
    pool = np.unique(takes, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((load, pool))
    group = np.empty(resources, dtype=np.int64)
    group[order] = np.arange(resources) * min(groups, resources) // resources
    return group


def apportion(
    network: FlowNetwork, group_of: np.ndarray, aggregated: FlowNetwork, starting: np.ndarray
) -> np.ndarray:
    """Apportion the chains without a mailbox to commodities as an aggregated flow does.

    Parameters
    ----------
    network : FlowNetwork
        The flow.
    group_of : ndarray of int, shape (resources,)
        Group of each resource.
    aggregated : FlowNetwork
        The flow with each group as one resource.
    starting : ndarray of float, shape (commodities of aggregated, days)
        Chains that start in the aggregated flow.

    Returns
    -------
    ndarray of int, shape (commodities, days)
        Chains by commodity and first possible day.
    """
    result = np.zeros_like(network.arriving)
    weight = _spare(network)[network.resource]
    total = starting.sum(axis=1)
    resources, owed = len(network.room), np.zeros(len(network.room))
    # The longest chains first: the short ones can then balance what is owed to a resource.
    member = [np.flatnonzero(network.group == group) for group in range(len(network.waiting))]
    length = [int(network.remaining[commodity[0]]) if len(commodity) else 0 for commodity in member]
    for group in np.argsort(-np.array(length, dtype=np.int64), kind="stable"):
        commodity = member[group]
        units = int(network.waiting[group].sum())
        if not units or not len(commodity):
            continue
        resource = network.resource[commodity]
        there = aggregated.group == group
        of_group = np.bincount(
            aggregated.resource[there], total[there], minlength=int(group_of.max()) + 1
        )
        of_resource = np.bincount(resource, weight[commodity], resources)
        group_weight = np.bincount(group_of, of_resource, len(of_group))
        share = of_group[group_of] * of_resource / np.maximum(group_weight[group_of], 1e-9)
        share = share[resource]
        if share.sum() <= 0:
            share = np.ones(len(commodity))
        share *= units / share.sum()
        count = _rounded(np.maximum(share + owed[resource] / length[group], 0), units)
        owed[resource] += (share - count) * length[group]
        result[commodity] = _by_day(count, network.waiting[group])
    return result


def separate_resources(network: FlowNetwork, shares: np.ndarray) -> FlowNetwork:
    """Bind every chain to a resource and divide max_new_per_day, so that resources share nothing.

    Parameters
    ----------
    network : FlowNetwork
        The flow.
    shares : ndarray of int, shape (commodities, days)
        See `apportion`.

    Returns
    -------
    FlowNetwork
        Each commodity of first emails has a row of `new_room` of its own.
    """
    result = network.with_starts(shares)
    first = np.flatnonzero(network.first)
    count = result.arriving[first].sum(axis=1)
    new_room = np.full((len(first), network.sink + 1), UNLIMITED, dtype=np.int64)
    limited = np.asarray((network.new_room < UNLIMITED).any(axis=1))
    for sequence in np.unique(network.sequence[first]):
        if not limited[sequence]:
            continue
        here = np.flatnonzero(network.sequence[first] == sequence)
        new_room[here] = 0
        if not count[here].any():
            continue
        # Dealt out in turns, day by day, so that every commodity has its share of any run of days.
        turns = _evenly_mixed(count[here])
        usable = network.sends[first[here]].any(axis=0)
        each_day = np.where(usable, np.minimum(network.new_room[sequence], len(turns)), 0)
        day = np.repeat(np.arange(len(each_day)), each_day)
        np.add.at(new_room, (here[turns[np.arange(len(day)) % len(turns)]], day), 1)
    sequence_of = np.zeros(len(network), dtype=np.int64)
    sequence_of[first] = np.arange(len(first))
    return replace(result, sequence=sequence_of, new_room=new_room)


def _bound_emails(network: FlowNetwork) -> np.ndarray:
    emails = network.arriving.sum(axis=1) * network.remaining
    return np.bincount(network.resource, emails, len(network.room))


def _spare(network: FlowNetwork) -> np.ndarray:
    """Return the room of each resource beside its bound chains, up to the last day needed."""
    usable = np.zeros(network.room.shape, dtype=bool)
    np.logical_or.at(usable, network.resource, network.sends)
    room = np.cumsum((network.room * usable)[:, :-1], axis=1)
    spare = np.maximum(room - _bound_emails(network)[:, None], 0)
    longest = np.zeros(len(network.waiting), dtype=np.int64)
    grouped = network.group != NONE
    np.maximum.at(longest, network.group[grouped], network.remaining[grouped])
    emails = (network.waiting.sum(axis=1) * longest).sum()
    day = min(int((spare.sum(axis=0) < emails).sum()), spare.shape[1] - 1)
    return np.asarray(spare[:, day] + 1e-6)


def _rounded(wanted: np.ndarray, units: int) -> np.ndarray:
    """Round to whole numbers that add up to `units`."""
    wanted = wanted * (units / max(wanted.sum(), 1e-9))
    count = np.floor(wanted + 1e-9).astype(np.int64)
    missing = units - int(count.sum())
    order = np.argsort(count - wanted, kind="stable")
    count[order[:missing]] += 1
    return count


def _by_day(count: np.ndarray, waiting: np.ndarray) -> np.ndarray:
    """Deal chains, in order of their days, evenly to commodities that get `count` each."""
    day = np.repeat(np.arange(len(waiting)), waiting)
    result = np.zeros((len(count), len(waiting)), dtype=np.int64)
    np.add.at(result, (_evenly_mixed(count), day), 1)
    return result


def _evenly_mixed(count: np.ndarray) -> np.ndarray:
    """Return each index `count` times, evenly mixed."""
    number = np.repeat(np.arange(len(count)), count)
    return np.asarray(number[np.lexsort((number, (rank(number) + 0.5) / count[number]))])
