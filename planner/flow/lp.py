"""The linear relaxation of the count model, solved by MathOpt: emails may be fractional.

Its values show how a good plan flows, its prices make a bound (`sendplan.planner.flow.lagrangian`).
Both solvers run on one thread without a time limit, so that the result is the same every time.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from ortools.math_opt import model_pb2
from ortools.math_opt.python import mathopt
from ortools.math_opt.solvers import highs_pb2

from sendplan.planner.flow.count_model import NO_LOWER, CountModel
from sendplan.planner.flow.lagrangian import DualPrices

FEW = 3_000
"""Variables up to which the simplex method is the faster one."""


class LpMethod(Enum):
    """Method of a linear programme."""

    SIMPLEX = "simplex"
    """A vertex of the polytope, with few fractional emails."""

    INTERIOR_POINT = "interior point"
    """An interior point, without crossover: faster on large models."""


@dataclass(frozen=True)
class LpResult:
    """Solution of a relaxation.

    Parameters
    ----------
    bound, starting : ndarray of float, shape (commodities, days)
        Emails of bound chains, and of starting chains.
    prices : DualPrices
        Saving by one more email of capacity.
    """

    bound: np.ndarray
    starting: np.ndarray
    prices: DualPrices


def solve_relaxation(model: CountModel, method: LpMethod) -> LpResult | None:
    """Solve the relaxation.

    Parameters
    ----------
    model : CountModel
        The model.
    method : LpMethod
        How to solve it.

    Returns
    -------
    LpResult or None
        None if the solver gave up.
    """
    result = solve_programme(
        model_proto(model), interior=method is LpMethod.INTERIOR_POINT and model.variables > FEW
    )
    if result is None:
        return None
    values = np.zeros(model.variables + 1)
    for variable, value in result.variable_values().items():
        values[variable.id] = value
    duals = np.append(dual_values(result, len(model.lower)), 0.0)
    prices = DualPrices(
        np.maximum(-duals[model.room_row], 0.0), np.maximum(-duals[model.new_row], 0.0)
    )
    return LpResult(
        np.maximum(values[model.bound], 0.0), np.maximum(values[model.starting], 0.0), prices
    )


def solve_programme(proto: model_pb2.ModelProto, *, interior: bool) -> mathopt.SolveResult | None:
    """Solve a linear programme.

    Parameters
    ----------
    proto : ModelProto
        The programme.
    interior : bool
        Whether an interior point method is tried first; else, and where it gives up, the simplex
        method is used.

    Returns
    -------
    SolveResult or None
        With the values and prices that are not zero; None if the solvers gave up.
    """
    found = _solve(proto, interior=True) if interior else None
    return found or _solve(proto, interior=False)


def dual_values(result: mathopt.SolveResult, rows: int) -> np.ndarray:
    """Return the dual value of each row; ndarray of float, shape (rows,)."""
    duals = np.zeros(rows)
    for row, price in result.dual_values().items():
        duals[row.id] = price
    return duals


def _solve(proto: model_pb2.ModelProto, *, interior: bool) -> mathopt.SolveResult | None:
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
            # Most values are zero, and reading one takes as long as finding it.
            model_params=mathopt.ModelSolveParameters(
                variable_values_filter=mathopt.VariableFilter(skip_zero_values=True),
                dual_values_filter=mathopt.LinearConstraintFilter(skip_zero_values=True),
                reduced_costs_filter=mathopt.VariableFilter(filtered_items=()),
            ),
        )
    except (RuntimeError, ValueError, AttributeError):
        # MathOpt raises when a solver gives up, and its report reads an attribute that its own
        # exception lacks (ortools 9.15).
        return None
    both = result.has_primal_feasible_solution() and result.has_dual_feasible_solution()
    return result if both else None


def model_proto(model: CountModel, *, whole: bool = False) -> model_pb2.ModelProto:
    """Return a count model as MathOpt reads it.

    Parameters
    ----------
    model : CountModel
        The model.
    whole : bool
        Whether emails are whole numbers.
    """
    sends = np.arange(model.variables) < model.sending
    return programme_proto(
        model.cost,
        (np.where(model.lower == NO_LOWER, -np.inf, model.lower), model.upper),
        (model.row, model.column, model.value),
        sends & whole,
    )


def programme_proto(
    cost: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray],
    whole: np.ndarray,
) -> model_pb2.ModelProto:
    """Return a linear programme over variables of 0 or more as MathOpt reads it.

    Parameters
    ----------
    cost : ndarray of float, shape (variables,)
        Objective, which is minimised.
    bounds : tuple of ndarray of float, shape (rows,)
        Lower and upper limit of each row.
    matrix : tuple of ndarray
        Row, column and value of each entry, by row and column, each place once.
    whole : ndarray of bool, shape (variables,)
        Variables that are whole numbers.
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
