"""Sharing: which mailbox gets how many of the chains that may choose one."""

from dataclasses import replace

import numpy as np

from sendplan.planner.flow.network import Lanes
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.step_classes import NONE


def alike(lanes: Lanes, groups: int) -> np.ndarray:
    """Put boxes that are loaded alike into groups of about equal size.

    What is lost by taking mailboxes as one is small if each has as much to do, for its room, as the
    others.

    Parameters
    ----------
    lanes : Lanes
        A flow.
    groups : int
        How many.

    Returns
    -------
    ndarray of int, shape (boxes,)
        Number of each box's group.
    """
    boxes = len(lanes.room)
    load = _bound_emails(lanes) / np.maximum(lanes.room[:, 1:-1].mean(axis=1), 1.0)
    # Boxes that may take different chains are kept apart as far as the number allows.
    takes = np.zeros((boxes, len(lanes.waiting)), dtype=bool)
    grouped = lanes.group != NONE
    takes[lanes.box[grouped], lanes.group[grouped]] = True
    pool = np.unique(takes, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((load, pool))
    group = np.empty(boxes, dtype=np.int64)
    group[order] = np.arange(boxes) * min(groups, boxes) // boxes
    return group


def shares(lanes: Lanes, group_of: np.ndarray, grouped: Lanes, starting: np.ndarray) -> np.ndarray:
    """Share the chains that may choose out over lanes as a grouped flow does.

    Parameters
    ----------
    lanes : Lanes
        The flow.
    group_of : ndarray of int, shape (boxes,)
        Group of each box.
    grouped : Lanes
        The flow with each group as one box.
    starting : ndarray of float, shape (lanes of grouped, days)
        How many start in the grouped flow.

    Returns
    -------
    ndarray of int, shape (lanes, days)
        Chains by lane and first possible day.
    """
    result = np.zeros_like(lanes.arriving)
    weight = _spare(lanes)
    total = starting.sum(axis=1)
    boxes, owed = len(lanes.room), np.zeros(len(lanes.room))
    # The longest chains first: what is owed to a box can then be made good in small coin.
    member = [np.flatnonzero(lanes.group == group) for group in range(len(lanes.waiting))]
    length = [int(lanes.remaining[lane[0]]) if len(lane) else 0 for lane in member]
    for group in np.argsort(-np.array(length, dtype=np.int64), kind="stable"):
        lane = member[group]
        units = int(lanes.waiting[group].sum())
        if not units or not len(lane):
            continue
        in_grouped = np.zeros(int(group_of.max()) + 1)
        there = grouped.group == group
        np.add.at(in_grouped, grouped.box[there], total[there])
        of_box = np.zeros(boxes)
        np.add.at(of_box, lanes.box[lane], weight[lanes.box[lane]])
        of_group = np.bincount(group_of, of_box, len(in_grouped))
        part = in_grouped[group_of] * of_box / np.maximum(of_group[group_of], 1e-9)
        part = part[lanes.box[lane]]
        if part.sum() <= 0:
            part = np.ones(len(lane))
        part *= units / part.sum()
        wanted = np.maximum(part + owed[lanes.box[lane]] / length[group], 0)
        count = _rounded(wanted, units)
        owed[lanes.box[lane]] += (part - count) * length[group]
        result[lane] = _by_day(count, lanes.waiting[group])
    return result


def settled(lanes: Lanes, share: np.ndarray) -> Lanes:
    """Give chains to lanes, and max_new_per_day with them, so that boxes are apart.

    Parameters
    ----------
    lanes : Lanes
        The flow.
    share : ndarray of int, shape (lanes, days)
        See `shares`.

    Returns
    -------
    Lanes
        Each lane that sends first emails has a row of `new_room` of its own.
    """
    result = lanes.settled(share)
    first = np.flatnonzero(lanes.first)
    count = result.arriving[first].sum(axis=1)
    new_room = np.full((len(first), lanes.sink + 1), UNLIMITED, dtype=np.int64)
    limited = np.asarray((lanes.new_room < UNLIMITED).any(axis=1))
    for sequence in np.unique(lanes.sequence[first]):
        if not limited[sequence]:
            continue
        here = np.flatnonzero(lanes.sequence[first] == sequence)
        new_room[here] = 0
        if not count[here].any():
            continue
        # Dealt out day by day in turns, so that every lane has its part over any stretch of days.
        turns = _evenly_mixed(count[here])
        usable = lanes.sends[first[here]].any(axis=0)
        each_day = np.where(usable, np.minimum(lanes.new_room[sequence], len(turns)), 0)
        day = np.repeat(np.arange(len(each_day)), each_day)
        np.add.at(new_room, (here[turns[np.arange(len(day)) % len(turns)]], day), 1)
    sequence_of = np.zeros(len(lanes), dtype=np.int64)
    sequence_of[first] = np.arange(len(first))
    return replace(result, sequence=sequence_of, new_room=new_room)


def _bound_emails(lanes: Lanes) -> np.ndarray:
    emails = lanes.arriving.sum(axis=1) * lanes.remaining
    return np.bincount(lanes.box, emails, len(lanes.room))


def _spare(lanes: Lanes) -> np.ndarray:
    """Return each box's room beside its bound chains, up to the day when all have found room."""
    usable = np.zeros(lanes.room.shape, dtype=bool)
    np.logical_or.at(usable, lanes.box, lanes.sends)
    room = np.cumsum((lanes.room * usable)[:, :-1], axis=1)
    spare = np.maximum(room - _bound_emails(lanes)[:, None], 0)
    longest = np.zeros(len(lanes.waiting), dtype=np.int64)
    grouped = lanes.group != NONE
    np.maximum.at(longest, lanes.group[grouped], lanes.remaining[grouped])
    emails = (lanes.waiting.sum(axis=1) * longest).sum()
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
    """Deal chains, in order of their days, to lanes that get `count` each, evenly mixed."""
    day = np.repeat(np.arange(len(waiting)), waiting)
    result = np.zeros((len(count), len(waiting)), dtype=np.int64)
    np.add.at(result, (_evenly_mixed(count), day), 1)
    return result


def _evenly_mixed(count: np.ndarray) -> np.ndarray:
    """Return every number as often as it counts, evenly mixed."""
    number = np.repeat(np.arange(len(count)), count)
    turn = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(number[np.lexsort((number, (turn + 0.5) / count[number]))])
