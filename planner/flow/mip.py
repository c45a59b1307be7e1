"""The count model of a whole component solved by HiGHS: branch and bound over its relaxation.

Components too large for CP-SAT are often within reach of it, since the relaxation is tight: on the
reference instance a component of 5,000 contacts and 20 mailboxes is closed at the first node, up
to the least difference between two costs.
HiGHS cannot be called off once it runs, and has no limit of work but a number of nodes; so it is
only asked for what its size says it can do.
"""

import datetime as dt
from dataclasses import dataclass

import numpy as np
from ortools.math_opt.python import mathopt
from ortools.math_opt.solvers import highs_pb2

from sendplan.planner.flow import work_estimates
from sendplan.planner.flow.count_model import CountModel
from sendplan.planner.flow.lp import written

NODES = 3
"""Nodes of the search tree after which it ends."""

TOLERANCE = 1.01
"""What HiGHS's bound may be wrong by, in parts of the least difference between two costs.

Once it has a plan it only looks for one that is better by the least difference, and its arithmetic
may take such a one for no better: it has called 53,931 the bound where another run found 53,930.
"""

PATIENCE = 6.0
"""How many times as long as expected it may run, by the clock, as a safety stop."""


@dataclass(frozen=True)
class MipResult:
    """What HiGHS found.

    Parameters
    ----------
    solution : ndarray of int, shape (variables,), or None
        The best; None if none was found.
    bound : float
        Proven bound on the cost of the variables; minus infinity where there is none.
    work : float
        Seconds of work.
    on_time : bool
        Whether it ended before the safety stop.
    """

    solution: np.ndarray | None
    bound: float
    work: float
    on_time: bool


def branch(model: CountModel, hint: np.ndarray, unit: int | None, seed: int) -> MipResult:
    """Search for the best solution of a model.

    Parameters
    ----------
    model : CountModel
        The model.
    hint : ndarray of int, shape (variables,)
        A known solution.
    unit : int or None
        By what costs must be multiplied to become whole, if there is such a number.
    seed : int
        Seed of the search.

    Returns
    -------
    MipResult
        The same for the same input, unless the safety stop acts.
    """
    least = 1.0 if unit is None else 1.0 / unit
    options = highs_pb2.HighsOptionsProto()
    options.string_options["parallel"] = "off"
    options.int_options["random_seed"] = seed % 2**31
    options.double_options["mip_rel_gap"] = 0.0
    # With a wider one HiGHS cuts off what is better by less, and still calls the rest its bound.
    options.double_options["mip_abs_gap"] = 1e-6
    problem = mathopt.Model.from_model_proto(written(model, whole=True))
    known = mathopt.SolutionHint(
        variable_values=dict(zip(problem.variables(), hint.astype(float).tolist(), strict=True))
    )
    patience = PATIENCE * (work_estimates.branching(model.variables) + 5)
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
        # See `sendplan.planner.flow.lp`: a solver that gives up.
        return MipResult(None, -np.inf, work_estimates.branching(model.variables), on_time=True)
    solution = None
    if result.has_primal_feasible_solution():
        values = np.array(list(result.variable_values().values()))
        solution = np.round(values).astype(np.int64)
    bound = float(result.termination.objective_bounds.dual_bound) - TOLERANCE * least
    statistics = result.solve_stats
    work = work_estimates.branched(
        model.variables, statistics.simplex_iterations, statistics.node_count
    )
    on_time = result.termination.limit is not mathopt.Limit.TIME
    return MipResult(solution, bound if np.isfinite(bound) else -np.inf, work, on_time)
