"""The count model of a whole component solved by HiGHS: branch and bound over its relaxation.

It solves many components that are too large for CP-SAT, since the relaxation is tight: on the
reference instance a component of 5,000 contacts and 20 mailboxes is closed at the first node, up
to the least difference between two costs.
HiGHS cannot be interrupted, and its only limit of work is a number of nodes; so it gets only models
of a size that it can solve.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np
from ortools.math_opt.python import mathopt
from ortools.math_opt.solvers import highs_pb2

from sendplan.planner.flow import work_estimates
from sendplan.planner.flow.count_model import CountModel
from sendplan.planner.flow.lp import model_proto

NODES = 3
"""Most nodes of the search tree."""

TOLERANCE = 1.01
"""Error of the bound of HiGHS, in least differences between two costs.

From its best solution on it only looks for solutions better by the least difference, and its
arithmetic may miss one: it has called 53,931 the bound where another run found 53,930.
"""

PATIENCE = 6.0
"""Safety stop: most wall-clock time, in expected times."""


@dataclass(frozen=True)
class MipResult:
    """What HiGHS found.

    Parameters
    ----------
    solution : ndarray of int, shape (variables,), or None
        The best found; None if none was.
    bound : float
        Proven bound on the cost of the variables; minus infinity where there is none.
    work : float
        Seconds of work.
    on_time : bool
        Whether the safety stop did not act.
    """

    solution: np.ndarray | None
    bound: float
    work: float
    on_time: bool


def solve_mip(model: CountModel, hint: np.ndarray, denominator: int | None, seed: int) -> MipResult:
    """Search for the best solution of a model.

    Parameters
    ----------
    model : CountModel
        The model.
    hint : ndarray of int, shape (variables,)
        A known solution.
    denominator : int or None
        See `sendplan.planner.flow.cpsat.cost_denominator`.
    seed : int
        Seed of the search.

    Returns
    -------
    MipResult
        The same for the same input, unless the safety stop acts.
    """
    least = 1.0 if denominator is None else 1.0 / denominator
    options = highs_pb2.HighsOptionsProto()
    options.string_options["parallel"] = "off"
    options.int_options["random_seed"] = seed % 2**31
    options.double_options["mip_rel_gap"] = 0.0
    # With a wider one HiGHS cuts off solutions that are better by less, but keeps its bound.
    options.double_options["mip_abs_gap"] = 1e-6
    problem = mathopt.Model.from_model_proto(model_proto(model, whole=True))
    known = mathopt.SolutionHint(
        variable_values=dict(zip(problem.variables(), hint.astype(float).tolist(), strict=True))
    )
    patience = PATIENCE * (work_estimates.expected_mip(model.variables) + 5)
    try:
        result = mathopt.solve(
            problem,
            mathopt.SolverType.HIGHS,
            params=mathopt.SolveParameters(
                node_limit=NODES, time_limit=dt.timedelta(seconds=patience), highs=options
            ),
            model_params=mathopt.ModelSolveParameters(solution_hints=[known]),
        )
    except (RuntimeError, ValueError, AttributeError):
        # The solver gave up, see `sendplan.planner.flow.lp`.
        return MipResult(None, -np.inf, work_estimates.expected_mip(model.variables), on_time=True)
    solution = None
    if result.has_primal_feasible_solution():
        values = np.array(list(result.variable_values().values()))
        solution = np.round(values).astype(np.int64)
    bound = float(result.termination.objective_bounds.dual_bound) - TOLERANCE * least
    statistics = result.solve_stats
    work = work_estimates.mip(model.variables, statistics.simplex_iterations, statistics.node_count)
    on_time = result.termination.limit is not mathopt.Limit.TIME
    return MipResult(solution, bound if np.isfinite(bound) else -np.inf, work, on_time)
