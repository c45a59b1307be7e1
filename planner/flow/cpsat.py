"""The count model solved by CP-SAT: whole emails, improved from a known plan, with a bound.

One worker and a limit of deterministic time make a solve the same every time; solves run beside
each other, not inside (`sendplan.planner.improve.rounds`).
"""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from ortools.sat.python import cp_model

from sendplan.planner.flow.count_model import FREE, CountModel, Neighbourhood

FINEST = 1_000_000
"""Finest fraction of a day's cost that is told apart."""

_NO_LOWER = -(2**40)


@dataclass(frozen=True)
class CpSatResult:
    """What CP-SAT found.

    Parameters
    ----------
    solution : ndarray of int, shape (variables,)
        The best; that of the hint if nothing better was found.
    bound : float
        Proven bound on the cost of the variables; minus infinity where there is none.
    optimal : bool
        Whether it was proven that nothing is better.
    work : float
        Deterministic time spent.
    """

    solution: np.ndarray
    bound: float
    optimal: bool
    work: float


def unit_of(weights: np.ndarray) -> int | None:
    """Return by what all weights must be multiplied to become whole.

    Parameters
    ----------
    weights : ndarray of float
        Costs of a day.

    Returns
    -------
    int or None
        None if no number up to `FINEST` does it: costs are then rounded, and nothing is proven.
    """
    unit = 1
    for weight in np.unique(weights).tolist():
        fraction = Fraction(weight).limit_denominator(FINEST)
        if float(fraction) != weight:
            return None
        unit = lcm(unit, fraction.denominator)
        if unit > FINEST:
            return None
    return unit


def solve_whole(
    model: CountModel | Neighbourhood,
    hint: np.ndarray,
    most: int,
    unit: int | None,
    limit: float,
    seed: int,
) -> CpSatResult:
    """Improve a solution of a model.

    Parameters
    ----------
    model : CountModel or Neighbourhood
        The model.
    hint : ndarray of int, shape (variables,)
        The known solution.
    most : int
        Largest value of any variable.
    unit : int or None
        See `unit_of`.
    limit : float
        Deterministic time to spend at most.
    seed : int
        Seed of the search.

    Returns
    -------
    CpSatResult
        Never worse than the hint.
    """
    scale = FINEST if unit is None else unit
    cost = np.round(model.cost * scale).astype(np.int64)
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = seed
    parameters.max_deterministic_time = limit
    # A signal is for whoever planned, and the solver's own handler cannot run beside the main one.
    parameters.catch_sigint_signal = False
    status = solver.solve(_written(model, cost, hint, most))
    response = solver.response_proto
    solution = hint
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        found = np.array(response.solution, dtype=np.int64)
        if int(cost @ found) < int(cost @ hint):
            solution = found
    bound, optimal = -np.inf, False
    if unit is not None and status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
        bound = response.best_objective_bound / scale
        optimal = bool(response.best_objective_bound >= int(cost @ solution) - 1e-6)
    return CpSatResult(solution, bound, optimal, response.deterministic_time)


def _written(
    model: CountModel | Neighbourhood, cost: np.ndarray, hint: np.ndarray, most: int
) -> cp_model.CpModel:
    result = cp_model.CpModel()
    proto = result.proto
    for _ in range(len(cost)):
        proto.variables.add().domain.extend([0, most])
    begins = np.searchsorted(model.row, np.arange(len(model.lower) + 1)).tolist()
    column, value = model.column.tolist(), model.value.tolist()
    lower = np.where(model.lower == FREE, _NO_LOWER, model.lower).tolist()
    for row, limits in enumerate(zip(lower, model.upper.tolist(), strict=True)):
        begin, end = begins[row], begins[row + 1]
        linear = proto.constraints.add().linear
        linear.vars.extend(column[begin:end])
        linear.coeffs.extend(value[begin:end])
        linear.domain.extend(limits)
    used = np.flatnonzero(cost)
    proto.objective.vars.extend(used.tolist())
    proto.objective.coeffs.extend(cost[used].tolist())
    proto.solution_hint.vars.extend(range(len(cost)))
    proto.solution_hint.values.extend(hint.tolist())
    return result
