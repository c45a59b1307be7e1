"""Dispatch rules: what sequencers do that never look ahead.

Every day all emails that are ready compete for the capacity of that day, and the others wait for
the next. The hard rules are those of a plan. Only min_gap_seconds is counted as a limit of emails a
day, which can only flatter these policies.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.first_fit import winners
from sendplan.planner.simulation.rollout import Rollout


def run_dispatch_rule(rollout: Rollout, limits: Limits, *, follow_ups_first: bool) -> None:
    """Run one future under a dispatch rule.

    Parameters
    ----------
    rollout : Rollout
        At its beginning; changed in place.
    limits : Limits
        The limits.
    follow_ups_first : bool
        Whether follow-ups go before first emails. Among equals the longest wait goes first, then
        the older enrolment.
    """
    instance = rollout.instance
    chains = instance.chains
    room = ResidualCapacity.beside(instance, limits, Placement.empty(instance))
    # The arrays of the rollout: a chain is bound from its first email on.
    placement = Placement(rollout.day, rollout.mailbox)
    since = chains.ready.copy()
    # The first night is that before day 1; later enrollments are unknown until their night.
    night_seen = rollout.comes_in[chains.enrollment]
    due = np.maximum(limits.first_release, np.where(night_seen > 0, night_seen + 1, 0))
    for day in range(limits.last + 1):
        if not rollout.unfinished.any():
            return
        night = max(day - 1, 0)
        rollout.begin(night)
        rested = np.ones(len(chains), dtype=bool)
        while True:
            chain = np.flatnonzero(rollout.unfinished & (due <= day) & rested)
            chain = chain[_open(rollout, limits, room, chain, day)]
            if not len(chain):
                break
            first = instance.stages.is_first[instance.emails.stage[rollout.next_email(chain)]]
            rank = first if follow_ups_first else np.zeros(len(chain), dtype=bool)
            chain = chain[np.lexsort((chain, since[chain], rank))]
            email = rollout.next_email(chain)
            today = np.full(len(chain), day)
            won, mailbox = winners(instance, limits, placement, room, chain, email, today)
            sent = rollout.attempt(email[won], mailbox, today[won], night)
            rested[chain[won][~sent]] = False
            gone = won[sent]
            room.take(instance, limits, placement, email[gone])
            more = gone[rollout.unfinished[chain[gone]]]
            following = instance.emails.stage[email[more] + 1]
            due[chain[more]] = limits.release[following, day]
            since[chain[more]] = instance.stages.ready[following, day]


def _open(
    rollout: Rollout, limits: Limits, room: ResidualCapacity, chain: np.ndarray, day: int
) -> np.ndarray:
    """Tell for which chains the day is open and there is capacity, for at least one of them."""
    instance = rollout.instance
    stage = instance.emails.stage[rollout.next_email(chain)]
    sequence = instance.stages.sequence[stage]
    has_room = room.mailbox[:, day] > 0
    pooled = np.array([has_room[pool].any() for pool in instance.fleet.pools], dtype=bool)
    mailbox = rollout.mailbox[chain]
    contact = limits.shared[chain]
    return np.asarray(
        instance.stages.sends[stage, day]
        & instance.windows.usable[instance.chains.window[chain], day]
        & np.where(mailbox == NONE, pooled[sequence], has_room[mailbox])
        & (~instance.stages.is_first[stage] | (room.new[sequence, day] > 0))
        & ((contact == NONE) | ~room.busy[contact, day])
    )
