"""Fitting a placement to min_gap_seconds: what has no minute on its day moves to another.

Days are chosen by counts, which bound what min_gap_seconds lets through but cannot always tell:
where the windows of a mailbox differ, only its timetable can. So the timetable hands back what is
crowded, that day is closed to emails of that window, and the email is inserted elsewhere.
"""

from dataclasses import replace

import numpy as np

from sendplan.planner.model.assignment import Placement, Room
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.placing.first_fit import insert
from sendplan.planner.placing.send_times import Timetable, timetable
from sendplan.planner.schema.dates import SECOND


def fit(work: Workload, rules: Rules, placement: Placement) -> np.ndarray:
    """Give every placed email a minute, moving those for which there is none.

    Parameters
    ----------
    work, rules
        The work and what may be used.
    placement : Placement
        Changed in place where emails had to move.

    Returns
    -------
    ndarray of int64, shape (emails,)
        Planned seconds since 1970-01-01 UTC; `NONE` for emails without a day.
    """
    times = timetable(work, placement)
    if not len(times.crowded):
        return times.at
    closed = np.zeros(
        (len(work.fleet.gap), len(work.windows.opens), work.problem.horizon.size), dtype=bool
    )
    while len(times.crowded):
        chain = work.emails.chain[times.crowded]
        day = placement.day[times.crowded]
        closed[placement.mailbox[chain], work.chains.window[chain], day] = True
        placement.cut(work, times.crowded)
        room = replace(Room.beside(work, rules, placement), closed=closed)
        insert(work, rules, placement, room)
        times = timetable(work, placement)
    return _fill(work, rules, placement, times).at


def _fill(work: Workload, rules: Rules, placement: Placement, times: Timetable) -> Timetable:
    """Use the days that were closed in passing and have a free second after all.

    One email a mailbox-day at a time, so that the second that was seen is still free for it.
    """
    with_gap = np.flatnonzero(work.fleet.gap > 0)
    while (placement.day == NONE).any():
        room = replace(
            Room.beside(work, rules, placement), closed=_without_second(work, placement, times)
        )
        room.mailbox[with_gap] = np.minimum(room.mailbox[with_gap], 1)
        fuller = placement.copy()
        insert(work, rules, fuller, room)
        if (fuller.day == placement.day).all():
            break
        again = timetable(work, fuller)
        if len(again.crowded):
            break
        placement.day, placement.mailbox, times = fuller.day, fuller.mailbox, again
    return times


def _without_second(work: Workload, placement: Placement, times: Timetable) -> np.ndarray:
    """Tell where no second is free for one more email.

    A second is free if it is `gap` away from every email of the mailbox. If any is, then either
    the opening of the window is, or the second that comes `gap` after some email.
    """
    windows, fleet = work.windows, work.fleet
    days = work.problem.horizon.size
    closed = np.zeros((len(fleet.gap), len(windows.opens), days), dtype=bool)
    first = -(-np.maximum(windows.opens, work.problem.now) // SECOND)
    last = -(-windows.closes // SECOND) - 1
    sender = placement.mailbox[work.emails.chain]
    for mailbox in np.flatnonzero(fleet.gap > 0):
        gap = fleet.gap[mailbox]
        taken = fleet.taken[mailbox]
        own = times.at[(placement.day != NONE) & (sender == mailbox)]
        # A moment within a second keeps others away from both its ends.
        moments = np.sort(np.concatenate([own, taken // SECOND, -(-taken // SECOND)]))
        free_from = moments + gap
        following = np.append(moments[1:], np.iinfo(np.int64).max // 2)
        good = free_from[following - free_from >= gap]
        before = np.searchsorted(moments, first - gap, side="right")
        opening_free = before == np.searchsorted(moments, first + gap, side="left")
        later_free = np.searchsorted(good, first) < np.searchsorted(good, last, side="right")
        closed[mailbox, :, :-1] = ~((first <= last) & (opening_free | later_free))
    return closed
