"""The objective (planner/README.md), from days alone: what a plan costs, by any method."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MAX_HORIZON_DAYS

NEVER = 1e12
"""Cost of a day that cannot be used."""


@dataclass(frozen=True)
class DayWeights:
    """What a day costs, by stage.

    Parameters
    ----------
    lateness, slip : ndarray of float, shape (stages,)
        Cost of a day behind the ideal timeline, and of a day behind the ready day (0 for first
        emails).
    """

    lateness: np.ndarray
    slip: np.ndarray

    @classmethod
    def of(cls, instance: Instance, slip_weight: float) -> "DayWeights":
        """Return the weights of an instance's stages."""
        follow_up = np.where(instance.stages.is_first, 0.0, slip_weight)
        return cls(instance.priority, instance.priority * follow_up)

    def by_day(self, sends: np.ndarray) -> np.ndarray:
        """Return the cost of an email by stage and day, measured from day 0.

        The credit of its ready day, slip × ready, is left to the caller.

        Parameters
        ----------
        sends : ndarray of bool, shape (stages, days)
            Days that may be used; others cost `NEVER`.
        """
        weight = (self.lateness + self.slip)[:, None]
        return np.where(sends, weight * np.arange(sends.shape[1]), NEVER)


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
        priority × (lateness + slip_weight × slip), and `surcharge` where it is left out.
    """

    lateness: np.ndarray
    slip: np.ndarray
    late: np.ndarray
    cost: np.ndarray


def moved(instance: Instance, placement: Placement) -> np.ndarray:
    """Tell which emails leave their existing slot: another day, another mailbox, or none.

    Parameters
    ----------
    instance, placement
        The instance, and the days and mailboxes of its emails.

    Returns
    -------
    ndarray of bool, shape (emails,)
        False where an email had no slot.
    """
    emails = instance.emails
    stays = (
        (placement.day != NONE)
        & (emails.existing_day == placement.day)
        & (emails.existing_mailbox == placement.mailbox[emails.chain])
    )
    return np.asarray((emails.existing_at != NULL) & ~stays)


def surcharge(priority: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return what leaving an email out of a given horizon costs besides its delay.

    As much as the longest delay that sending it could cause: a follow-up, left out too, slips from
    a day within the horizon. So leaving out an email that has room never pays.

    Parameters
    ----------
    priority : ndarray of float
        Priority of each email, or stage.
    parameters : Parameters
        Planning parameters.

    Returns
    -------
    ndarray of float
        Of the shape of `priority`; 0 where no horizon is given.
    """
    if parameters.horizon_days is None:
        return np.zeros_like(priority)
    return priority * MAX_HORIZON_DAYS * (1 + parameters.slip_weight)


def delays(instance: Instance, placement: Placement, end: int, parameters: Parameters) -> Delays:
    """Compute the delay of every email.

    Parameters
    ----------
    instance : Instance
        The instance.
    placement : Placement
        Days; an email without one counts as if it left the day after `end`.
    end : int
        The horizon's last day.
    parameters : Parameters
        Planning parameters.

    Returns
    -------
    Delays
        By email.
    """
    emails = instance.emails
    left_out = placement.day == NONE
    day = np.where(left_out, end + 1, placement.day)
    lateness = np.maximum(day - emails.ideal, 0)
    follow_up = ~instance.stages.is_first[emails.stage]
    slip = slip_of(instance, day)
    return Delays(
        lateness=lateness,
        slip=slip,
        late=follow_up & ((slip > 0) | left_out),
        cost=emails.priority * (lateness + parameters.slip_weight * slip)
        + np.where(left_out, surcharge(emails.priority, parameters), 0.0),
    )


def slip_of(instance: Instance, day: np.ndarray) -> np.ndarray:
    """Return the days of slip of every email, 0 for first ones; shape (emails,).

    Parameters
    ----------
    instance : Instance
        The instance.
    day : ndarray of int, shape (emails,)
        Days of the emails.
    """
    emails, stages = instance.emails, instance.stages
    ready = instance.chains.ready[emails.chain]
    behind = emails.order > 0
    ready[behind] = stages.ready[emails.stage[behind], np.roll(day, 1)[behind]]
    return np.where(stages.is_first[emails.stage], 0, np.maximum(day - ready, 0))
