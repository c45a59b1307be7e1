"""Day by day: what sequencers do that never look ahead.

Every day all emails that are ready compete for what the mailboxes may send that day; what is left
over waits for the next. The hard rules are those that a plan keeps. Only min_gap_seconds is taken
at the number of emails that it lets through, which can but flatter these policies.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement, Room
from sendplan.planner.model.limits import Rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.placing.first_fit import winners
from sendplan.planner.simulation.rollout import Course


def live_day_by_day(course: Course, rules: Rules, *, follow_ups_first: bool) -> None:
    """Live through one future without looking ahead.

    Parameters
    ----------
    course : Course
        At its beginning; changed in place.
    rules : Rules
        What may be used.
    follow_ups_first : bool
        Whether follow-ups go before first emails. Among equals whoever has waited longest goes
        first, then the older enrolment.
    """
    work = course.work
    chains = work.chains
    room = Room.beside(work, rules, Placement.empty(work))
    # The same arrays as the course's: who has been sent something is bound from then on.
    placement = Placement(course.day, course.mailbox)
    since = chains.ready.copy()
    # The first night is that before day 1; until they come nobody knows of those to come.
    night_seen = course.comes_in[chains.enrollment]
    due = np.maximum(rules.first_release, np.where(night_seen > 0, night_seen + 1, 0))
    for day in range(rules.last + 1):
        if not course.unfinished.any():
            return
        night = max(day - 1, 0)
        course.begin(night)
        rested = np.ones(len(chains), dtype=bool)
        while True:
            chain = np.flatnonzero(course.unfinished & (due <= day) & rested)
            chain = chain[_open(course, rules, room, chain, day)]
            if not len(chain):
                break
            first = work.stages.is_first[work.emails.stage[course.next_email(chain)]]
            rank = first if follow_ups_first else np.zeros(len(chain), dtype=bool)
            chain = chain[np.lexsort((chain, since[chain], rank))]
            email = course.next_email(chain)
            today = np.full(len(chain), day)
            won, mailbox = winners(work, rules, placement, room, chain, email, today)
            sent = course.attempt(email[won], mailbox, today[won], night)
            rested[chain[won][~sent]] = False
            gone = won[sent]
            room.take(work, rules, placement, email[gone])
            more = gone[course.unfinished[chain[gone]]]
            following = work.emails.stage[email[more] + 1]
            due[chain[more]] = rules.release[following, day]
            since[chain[more]] = work.stages.ready[following, day]


def _open(course: Course, rules: Rules, room: Room, chain: np.ndarray, day: int) -> np.ndarray:
    """Tell for which chains nothing but others' precedence is in the way today."""
    work = course.work
    stage = work.emails.stage[course.next_email(chain)]
    sequence = work.stages.sequence[stage]
    has_room = room.mailbox[:, day] > 0
    pooled = np.array([has_room[pool].any() for pool in work.fleet.pools], dtype=bool)
    mailbox = course.mailbox[chain]
    contact = rules.shared[chain]
    return np.asarray(
        work.stages.sends[stage, day]
        & work.windows.usable[work.chains.window[chain], day]
        & np.where(mailbox == NONE, pooled[sequence], has_room[mailbox])
        & (~work.stages.is_first[stage] | (room.new[sequence, day] > 0))
        & ((contact == NONE) | ~room.busy[contact, day])
    )
