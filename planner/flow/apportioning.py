"""Sharing: which mailbox gets how many of the chains that may choose one."""

from dataclasses import replace

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE


def alike(network: FlowNetwork, groups: int) -> np.ndarray:
    """Put resources that are loaded alike into groups of about equal size.

    What is lost by taking mailboxes as one is small if each has as much to do, for its room, as the
    others.

    Parameters
    ----------
    commodities : Commodities
        A flow.
    groups : int
        How many.

    Returns
    -------
    ndarray of int, shape (resources,)
        Number of each resource's group.
    """
    resources = len(network.room)
    load = _bound_emails(network) / np.maximum(network.room[:, 1:-1].mean(axis=1), 1.0)
    # Resources that may take different chains are kept apart as far as the number allows.
    takes = np.zeros((resources, len(network.waiting)), dtype=bool)
    grouped = network.group != NONE
    takes[network.resource[grouped], network.group[grouped]] = True
    pool = np.unique(takes, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((load, pool))
    group = np.empty(resources, dtype=np.int64)
    group[order] = np.arange(resources) * min(groups, resources) // resources
    return group


def shares(
    network: FlowNetwork, group_of: np.ndarray, grouped: FlowNetwork, starting: np.ndarray
) -> np.ndarray:
    """Share the chains that may choose out over commodities as a grouped flow does.

    Parameters
    ----------
    commodities : Commodities
        The flow.
    group_of : ndarray of int, shape (resources,)
        Group of each resource.
    grouped : Commodities
        The flow with each group as one resource.
    starting : ndarray of float, shape (commodities of grouped, days)
        How many start in the grouped flow.

    Returns
    -------
    ndarray of int, shape (commodities, days)
        Chains by commodity and first possible day.
    """
    result = np.zeros_like(network.arriving)
    weight = _spare(network)
    total = starting.sum(axis=1)
    resources, owed = len(network.room), np.zeros(len(network.room))
    # The longest chains first: what is owed to a resource can then be made good in small coin.
    member = [np.flatnonzero(network.group == group) for group in range(len(network.waiting))]
    length = [int(network.remaining[commodity[0]]) if len(commodity) else 0 for commodity in member]
    for group in np.argsort(-np.array(length, dtype=np.int64), kind="stable"):
        commodity = member[group]
        units = int(network.waiting[group].sum())
        if not units or not len(commodity):
            continue
        in_grouped = np.zeros(int(group_of.max()) + 1)
        there = grouped.group == group
        np.add.at(in_grouped, grouped.resource[there], total[there])
        of_box = np.zeros(resources)
        np.add.at(of_box, network.resource[commodity], weight[network.resource[commodity]])
        of_group = np.bincount(group_of, of_box, len(in_grouped))
        part = in_grouped[group_of] * of_box / np.maximum(of_group[group_of], 1e-9)
        part = part[network.resource[commodity]]
        if part.sum() <= 0:
            part = np.ones(len(commodity))
        part *= units / part.sum()
        wanted = np.maximum(part + owed[network.resource[commodity]] / length[group], 0)
        count = _rounded(wanted, units)
        owed[network.resource[commodity]] += (part - count) * length[group]
        result[commodity] = _by_day(count, network.waiting[group])
    return result


def settled(network: FlowNetwork, share: np.ndarray) -> FlowNetwork:
    """Give chains to commodities, and max_new_per_day with them, so that resources are apart.

    Parameters
    ----------
    commodities : Commodities
        The flow.
    share : ndarray of int, shape (commodities, days)
        See `shares`.

    Returns
    -------
    Commodities
        Each commodity that sends first emails has a row of `new_room` of its own.
    """
    result = network.settled(share)
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
        # Dealt out day by day in turns, so that every commodity has its part over any stretch of
        # days.
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
    """Return each resource's room beside its bound chains, by the last day that is needed."""
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
    """Deal chains, in order of their days, to commodities that get `count` each, evenly mixed."""
    day = np.repeat(np.arange(len(waiting)), waiting)
    result = np.zeros((len(count), len(waiting)), dtype=np.int64)
    np.add.at(result, (_evenly_mixed(count), day), 1)
    return result


def _evenly_mixed(count: np.ndarray) -> np.ndarray:
    """Return every number as often as it counts, evenly mixed."""
    number = np.repeat(np.arange(len(count)), count)
    turn = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(number[np.lexsort((number, (turn + 0.5) / count[number]))])
