"""Candidates: placements with their minutes, and the choice between them."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.components import components
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, horizon_end
from sendplan.planner.model.objective import delays, moved
from sendplan.planner.placing.contact_conflicts import clashes
from sendplan.planner.placing.day_swaps import swap_days
from sendplan.planner.placing.first_fit import insert
from sendplan.planner.placing.spacing_repair import fit
from sendplan.planner.problem.parameters import Parameters


@dataclass(frozen=True)
class Candidate:
    """A plan in the making.

    Parameters
    ----------
    placement : Placement
        Days and mailboxes.
    at : ndarray of int64, shape (emails,)
        Second at which each email leaves, `NONE` where it has no day.
    """

    placement: Placement
    at: np.ndarray


def completed(
    instance: Instance, limits: Limits, placement: Placement, fixed: np.ndarray | None = None
) -> Candidate:
    """Repair what counts cannot see, place what they have left out, give times.

    Send times come before any comparison: min_gap_seconds may still move emails.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place.
    fixed : ndarray of bool, shape (emails,), optional
        Emails that keep their day before any other.
    """
    swap_days(instance, limits, placement, fixed)
    placement.cut(instance, clashes(instance, limits, placement, fixed))
    insert(instance, limits, placement, ResidualCapacity.beside(instance, limits, placement))
    return Candidate(placement, fit(instance, limits, placement))


def cost_of(
    instance: Instance, limits: Limits, parameters: Parameters, placement: Placement
) -> float:
    """Return what a placement costs; moves do not count."""
    end = horizon_end(limits, parameters, placement.day)
    return float(delays(instance, placement, end, parameters).cost.sum())


def cheaper(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    known: Candidate,
    other: Candidate,
    *,
    margin: float = 0.0,
) -> Candidate:
    """Return the better of two candidates, component by component.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    known, other : Candidate
        What is compared: cost, and `change_weight` for each email moved; of two that are equal the
        one that moves fewer emails, else the known one.
    margin : float
        By which part the other must be better.
    """
    component = components(instance)
    of_email = component[instance.emails.chain]
    count = int(component.max(initial=0)) + 1
    days = np.append(known.placement.day, other.placement.day)
    end = horizon_end(limits, parameters, days)
    cost, moves = np.zeros((2, count)), np.zeros((2, count))
    for row, candidate in enumerate((known, other)):
        each = delays(instance, candidate.placement, end, parameters).cost
        moves[row] = np.bincount(of_email, moved(instance, candidate.placement), count)
        cost[row] = np.bincount(of_email, each, count) + parameters.change_weight * moves[row]
    tolerance = 1e-9 * np.maximum(cost[0], 1.0)
    better = cost[1] < cost[0] * (1 - margin) - tolerance
    if not margin:
        better |= (cost[1] <= cost[0] + tolerance) & (moves[1] < moves[0])
    if not better.any():
        return known
    swap = better[component]
    swap_email = swap[instance.emails.chain]
    best = Placement(
        np.where(swap_email, other.placement.day, known.placement.day),
        np.where(swap, other.placement.mailbox, known.placement.mailbox),
    )
    return Candidate(best, np.where(swap_email, other.at, known.at))
