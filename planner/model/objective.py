"""The objective (planner/README.md), from days alone: what a plan costs, by any method."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.schema.readers import NULL


@dataclass(frozen=True)
class Delays:
    """Lateness and slip of every email, in days.

    Parameters
    ----------
    lateness, slip : ndarray of int64, shape (emails,)
        Days behind the ideal timeline, and behind the email's own ready day (follow-ups only).
    late : ndarray of bool, shape (emails,)
        Whether it is a follow-up that slips, or one that is left out.
    cost : ndarray of float, shape (emails,)
        priority × (lateness + slip_weight × slip).
    """

    lateness: np.ndarray
    slip: np.ndarray
    late: np.ndarray
    cost: np.ndarray


def moved(work: Workload, placement: Placement) -> np.ndarray:
    """Tell which emails leave their existing slot: another day, another mailbox, or none.

    Parameters
    ----------
    work : Workload
        The work.
    placement : Placement
        Days and mailboxes.

    Returns
    -------
    ndarray of bool, shape (emails,)
        False where an email had no slot.
    """
    emails = work.emails
    stays = (
        (placement.day != NONE)
        & (emails.existing_day == placement.day)
        & (emails.existing_mailbox == placement.mailbox[emails.chain])
    )
    return np.asarray((emails.existing_at != NULL) & ~stays)


def delays(work: Workload, placement: Placement, end: int, slip_weight: float) -> Delays:
    """Compute the delay of every email.

    Parameters
    ----------
    work : Workload
        The work.
    placement : Placement
        Days; an email without one counts as if it left the day after `end`.
    end : int
        The horizon's last day.
    slip_weight : float
        What a day of slip costs, in days of lateness.

    Returns
    -------
    Delays
        By email.
    """
    emails, stages = work.emails, work.stages
    left_out = placement.day == NONE
    day = np.where(left_out, end + 1, placement.day)
    before = np.roll(day, 1)
    ready = work.chains.ready[emails.chain]
    behind = emails.order > 0
    ready[behind] = stages.ready[emails.stage[behind], before[behind]]
    follow_up = ~stages.is_first[emails.stage] if len(emails) else left_out
    lateness = np.maximum(day - emails.ideal, 0)
    slip = np.where(follow_up, np.maximum(day - ready, 0), 0)
    return Delays(
        lateness=lateness,
        slip=slip,
        late=follow_up & ((slip > 0) | left_out),
        cost=emails.priority * (lateness + slip_weight * slip),
    )
