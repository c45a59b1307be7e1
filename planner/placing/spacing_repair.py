"""Fitting a placement to min_gap_seconds: what has no minute on its day moves to another.

Days are chosen by counts, which bound what min_gap_seconds lets through but cannot always tell:
where the windows of a mailbox differ, only its timetable can. So the timetable hands back what is
crowded, that day is closed to emails of that window, and the email is inserted elsewhere.
"""

from dataclasses import replace

import numpy as np

from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.first_fit import insert
from sendplan.planner.placing.send_times import Timetable, timetable
from sendplan.planner.schema.dates import SECOND, ceil_seconds


def fit(instance: Instance, limits: Limits, placement: Placement) -> np.ndarray:
    """Give every placed email a minute, moving those for which there is none.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place where emails had to move.

    Returns
    -------
    ndarray of int64, shape (emails,)
        Planned seconds since 1970-01-01 UTC; `NONE` for emails without a day.
    """
    times = timetable(instance, placement)
    if not len(times.crowded):
        return times.at
    closed = np.zeros(
        (len(instance.fleet.gap), len(instance.windows.opens), instance.problem.horizon.size),
        dtype=bool,
    )
    while len(times.crowded):
        chain = instance.emails.chain[times.crowded]
        day = placement.day[times.crowded]
        closed[placement.mailbox[chain], instance.chains.window[chain], day] = True
        placement.cut(instance, times.crowded)
        room = replace(ResidualCapacity.beside(instance, limits, placement), closed=closed)
        insert(instance, limits, placement, room)
        times = timetable(instance, placement)
    return _fill(instance, limits, placement, times).at


def _fill(instance: Instance, limits: Limits, placement: Placement, times: Timetable) -> Timetable:
    """Use the days that were closed in passing and have a free second after all.

    One email a mailbox-day at a time, so that the second that was seen is still free for it.
    """
    with_gap = np.flatnonzero(instance.fleet.gap > 0)
    while (placement.day == NONE).any():
        room = replace(
            ResidualCapacity.beside(instance, limits, placement),
            closed=_without_second(instance, placement, times),
        )
        room.mailbox[with_gap] = np.minimum(room.mailbox[with_gap], 1)
        fuller = placement.copy()
        insert(instance, limits, fuller, room)
        if (fuller.day == placement.day).all():
            break
        again = timetable(instance, fuller)
        if len(again.crowded):
            break
        placement.day, placement.mailbox, times = fuller.day, fuller.mailbox, again
    return times


def _without_second(instance: Instance, placement: Placement, times: Timetable) -> np.ndarray:
    """Tell where no second is free for one more email.

    A second is free if it is `gap` away from every email of the mailbox. If any is, then either
    the opening of the window is, or the second that comes `gap` after some email.
    """
    windows, fleet = instance.windows, instance.fleet
    days = instance.problem.horizon.size
    closed = np.zeros((len(fleet.gap), len(windows.opens), days), dtype=bool)
    first, last = windows.seconds(instance.problem.now)
    sender = placement.mailbox[instance.emails.chain]
    for mailbox in np.flatnonzero(fleet.gap > 0):
        gap = fleet.gap[mailbox]
        taken = fleet.taken[mailbox]
        own = times.at[(placement.day != NONE) & (sender == mailbox)]
        # A moment within a second keeps others away from both its ends.
        moments = np.sort(np.concatenate([own, taken // SECOND, ceil_seconds(taken)]))
        free_from = moments + gap
        following = np.append(moments[1:], np.iinfo(np.int64).max // 2)
        good = free_from[following - free_from >= gap]
        before = np.searchsorted(moments, first - gap, side="right")
        opening_free = before == np.searchsorted(moments, first + gap, side="left")
        later_free = np.searchsorted(good, first) < np.searchsorted(good, last, side="right")
        closed[mailbox, :, :-1] = ~((first <= last) & (opening_free | later_free))
    return closed
