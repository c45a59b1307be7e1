"""The count model solved by CP-SAT: a known solution improved, with a bound.

One worker and a limit of deterministic time make a solve the same every time; solves run beside
each other, not inside (`sendplan.planner.improve.rounds`).
"""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from ortools.sat.python import cp_model

from sendplan.planner.flow.count_model import NO_LOWER, CountModel, Neighbourhood

FINEST = 1_000_000
"""Finest fraction of the cost of a day that is resolved."""

_NO_LOWER = -(2**40)


@dataclass(frozen=True)
class CpSatResult:
    """What CP-SAT found.

    Parameters
    ----------
    solution : ndarray of int, shape (variables,)
        The best found; the hint if none is better.
    bound : float
        Proven bound on the cost of the variables; minus infinity where there is none.
    optimal : bool
        Whether the solution is proven to be the best.
    work : float
        Deterministic time spent.
    """

    solution: np.ndarray
    bound: float
    optimal: bool
    work: float


def cost_denominator(weights: np.ndarray) -> int | None:
    """Return the common denominator of weights.

    Parameters
    ----------
    weights : ndarray of float
        Costs of one day.

    Returns
    -------
    int or None
        None if it is above `FINEST`: costs are then rounded, and nothing is proven.
    """
    denominator = 1
    for weight in np.unique(weights).tolist():
        fraction = Fraction(weight).limit_denominator(FINEST)
        if float(fraction) != weight:
            return None
        denominator = lcm(denominator, fraction.denominator)
        if denominator > FINEST:
            return None
    return denominator


def solve_cpsat(
    model: CountModel | Neighbourhood,
    hint: np.ndarray,
    most: int,
    denominator: int | None,
    limit: float,
    seed: int,
) -> CpSatResult:
    """Improve a solution of a model.

    Parameters
    ----------
    model : CountModel or Neighbourhood
        The model.
    hint : ndarray of int, shape (variables,)
        A known solution.
    most : int
        Upper limit of every variable.
    denominator : int or None
        See `cost_denominator`.
    limit : float
        Most deterministic time.
    seed : int
        Seed of the search.

    Returns
    -------
    CpSatResult
        Never worse than the hint.
    """
    scale = FINEST if denominator is None else denominator
    cost = np.round(model.cost * scale).astype(np.int64)
    solver = cp_model.CpSolver()
    parameters = solver.parameters
    parameters.num_workers = 1
    parameters.random_seed = seed
    parameters.max_deterministic_time = limit
    # Ctrl-C is handled by the task pool; the solver's handler cannot run outside the main thread.
    parameters.catch_sigint_signal = False
    status = solver.solve(_proto(model, cost, hint, most))
    response = solver.response_proto
    solution = hint
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        found = np.array(response.solution, dtype=np.int64)
        if int(cost @ found) < int(cost @ hint):
            solution = found
    bound, optimal = -np.inf, False
    searched = status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN)
    if denominator is not None and searched:
        bound = response.best_objective_bound / scale
        optimal = bool(response.best_objective_bound >= int(cost @ solution) - 1e-6)
    return CpSatResult(solution, bound, optimal, response.deterministic_time)


def _proto(
    model: CountModel | Neighbourhood, cost: np.ndarray, hint: np.ndarray, most: int
) -> cp_model.CpModel:
    result = cp_model.CpModel()
    proto = result.proto
    for _ in range(len(cost)):
        proto.variables.add().domain.extend([0, most])
    begins = np.searchsorted(model.row, np.arange(len(model.lower) + 1)).tolist()
    column, value = model.column.tolist(), model.value.tolist()
    lower = np.where(model.lower == NO_LOWER, _NO_LOWER, model.lower).tolist()
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
