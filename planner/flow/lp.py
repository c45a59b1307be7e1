"""The count model's linear relaxation, solved by MathOpt: emails may be divided.

Its values say how a good plan flows, its prices make a bound (`sendplan.planner.flow.lagrangian`).
Both solvers used work on one thread and count no time, so that the result is the same every time.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt
from ortools.math_opt.solvers import highs_pb2

from sendplan.planner.flow.count_model import FREE, CountModel
from sendplan.planner.flow.lagrangian import DualPrices

FEW = 3_000
"""Variables up to which the simplex method is as fast as any."""


class LpMethod(Enum):
    """How to solve."""

    CORNER = "corner"
    """By the simplex method: a corner of the polytope, with few divided emails."""

    INTERIOR = "interior"
    """By an interior point method, without going to a corner: faster on large models."""


@dataclass(frozen=True)
class LpResult:
    """A relaxation's solution.

    Parameters
    ----------
    bound, starting : ndarray of float, shape (commodities, days)
        Emails of bound chains, and of chains that start.
    prices : DualPrices
        What one more email of room would save.
    """

    bound: np.ndarray
    starting: np.ndarray
    prices: DualPrices


def solve_linear(model: CountModel, way: LpMethod) -> LpResult | None:
    """Solve the relaxation.

    Parameters
    ----------
    model : CountModel
        What to solve.
    way : LpMethod
        How.

    Returns
    -------
    Relaxed or None
        None if the solver gave up; nothing is known then.
    """
    result = solved(written(model), interior=way is LpMethod.INTERIOR and model.variables > FEW)
    if result is None:
        return None
    values, duals = np.zeros(model.variables + 1), np.zeros(len(model.lower) + 1)
    for variable, value in result.variable_values().items():
        values[variable.id] = value
    for row, price in result.dual_values().items():
        duals[row.id] = price
    prices = DualPrices(
        np.maximum(-duals[model.room_row], 0.0), np.maximum(-duals[model.new_row], 0.0)
    )
    return LpResult(
        np.maximum(values[model.bound], 0.0), np.maximum(values[model.starting], 0.0), prices
    )


def solved(proto: model_pb2.ModelProto, *, interior: bool) -> mathopt.SolveResult | None:
    """Solve a linear programme.

    Parameters
    ----------
    proto : ModelProto
        The programme.
    interior : bool
        Whether to try an interior point method first; else, and where that gives up, the simplex
        method is used.

    Returns
    -------
    SolveResult or None
        With the values and prices that are not zero; None if the solvers gave up.
    """
    found = _solved(proto, interior=True) if interior else None
    return found or _solved(proto, interior=False)


def _solved(proto: model_pb2.ModelProto, *, interior: bool) -> mathopt.SolveResult | None:
    parameters, solver = mathopt.SolveParameters(), mathopt.SolverType.GLOP
    if interior:
        solver = mathopt.SolverType.HIGHS
        options = highs_pb2.HighsOptionsProto()
        options.string_options["solver"] = "ipm"
        options.string_options["run_crossover"] = "off"
        parameters = mathopt.SolveParameters(highs=options)
    try:
        result = mathopt.solve(
            mathopt.Model.from_model_proto(proto),
            solver,
            params=parameters,
            # Most values are zero, and reading one costs as much as finding it.
            model_params=mathopt.ModelSolveParameters(
                variable_values_filter=mathopt.VariableFilter(skip_zero_values=True),
                dual_values_filter=mathopt.LinearConstraintFilter(skip_zero_values=True),
                reduced_costs_filter=mathopt.VariableFilter(filtered_items=()),
            ),
        )
    except (RuntimeError, ValueError, AttributeError):
        # A solver that gives up is an error to MathOpt, and in reporting it MathOpt trips over an
        # attribute that its own exception lacks (ortools 9.15).
        return None
    both = result.has_primal_feasible_solution() and result.has_dual_feasible_solution()
    return result if both else None


def written(model: CountModel, *, whole: bool = False) -> model_pb2.ModelProto:
    """Write a model down for MathOpt.

    Parameters
    ----------
    model : CountModel
        The model.
    whole : bool
        Whether emails may not be divided.
    """
    sends = np.arange(model.variables) < model.sending
    return programme(
        model.cost,
        (np.where(model.lower == FREE, -np.inf, model.lower), model.upper),
        (model.row, model.column, model.value),
        sends & whole,
    )


def programme(
    cost: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray],
    whole: np.ndarray,
) -> model_pb2.ModelProto:
    """Write a linear programme down for MathOpt, whose variables are 0 or more.

    Parameters
    ----------
    cost : ndarray of float, shape (variables,)
        What is minimised.
    bounds : tuple of ndarray of float, shape (rows,)
        Of each row, from below and from above.
    matrix : tuple of ndarray
        Row, column and value of each entry; by row and column, each once.
    whole : ndarray of bool, shape (variables,)
        Which variables are whole numbers.
    """
    count, (lower, upper), (row, column, value) = len(cost), bounds, matrix
    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(count))
    proto.variables.lower_bounds.extend(np.zeros(count))
    proto.variables.upper_bounds.extend(np.full(count, np.inf))
    proto.variables.integers.extend(whole.tolist())
    used = np.flatnonzero(cost)
    proto.objective.linear_coefficients.ids.extend(used)
    proto.objective.linear_coefficients.values.extend(cost[used])
    rows = proto.linear_constraints
    rows.ids.extend(range(len(lower)))
    rows.lower_bounds.extend(lower)
    rows.upper_bounds.extend(upper.astype(float))
    proto.linear_constraint_matrix.row_ids.extend(row)
    proto.linear_constraint_matrix.column_ids.extend(column)
    proto.linear_constraint_matrix.coefficients.extend(value.astype(float))
    return proto
