"""The tasks of a search: pure functions of flow networks, which any executor can run."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow import work_estimates
from sendplan.planner.flow.apportioning import apportion, group_by_load, separate_resources
from sendplan.planner.flow.count_model import CountModel, build_count_model
from sendplan.planner.flow.cpsat import solve_cpsat
from sendplan.planner.flow.lagrangian import DualPrices, lagrangian_bound
from sendplan.planner.flow.lp import LpMethod, solve_relaxation
from sendplan.planner.flow.mip import solve_mip
from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.rounding import round_flow

SMALL = 1_600
"""Variables up to which CP-SAT refines a resource as a whole."""

WIDTHS = (14, 28, 42, 63, 91)
"""Days of a neighbourhood, from pass to pass."""

OVERHANG = 10
"""Days behind a neighbourhood in which the waiting emails are free, too."""

SHORTEST = 0.05
"""Least deterministic time of a neighbourhood."""

CPSAT_VARIABLES = 8_000
"""Variables up to which CP-SAT solves a subproblem as a whole."""

MIP_VARIABLES = 30_000
"""Variables up to which HiGHS does."""


@dataclass(frozen=True)
class RelaxationResult:
    """A relaxed subproblem.

    Parameters
    ----------
    bound : float
        Lower bound on the cost of every plan of the subproblem.
    network : FlowNetwork or None
        The subproblem with every chain bound to a resource; None if the solver gave up.
    work : float
        Seconds of work.
    """

    bound: float
    network: FlowNetwork | None
    work: float


def pooled_lp_bound(network: FlowNetwork) -> float:
    """Return the bound from one LP over all resources pooled: weak but cheap."""
    pooled = network.aggregated(np.zeros(len(network.room), dtype=np.int64))
    solution = solve_relaxation(build_count_model(pooled), LpMethod.SIMPLEX)
    return lagrangian_bound(
        pooled, DualPrices.zero(pooled) if solution is None else solution.prices
    )


def relaxation_work(network: FlowNetwork, groups: int) -> float:
    """Return the work of `relax`."""
    return work_estimates.interior_point(
        size(network) * min(groups, len(network.room)) // len(network.room)
    )


def relax(network: FlowNetwork, groups: int) -> RelaxationResult:
    """Bound a subproblem, and bind its chains to resources as the relaxation does.

    Parameters
    ----------
    network : FlowNetwork
        A subproblem.
    groups : int
        Number of resources in the relaxation: with more it is tighter and takes more work.
    """
    group_of = group_by_load(network, groups)
    aggregated = network.aggregated(group_of)
    model = build_count_model(aggregated)
    solution = solve_relaxation(model, LpMethod.INTERIOR_POINT)
    work = work_estimates.interior_point(model.variables)
    if solution is None:
        return RelaxationResult(-np.inf, None, work)
    shares = apportion(network, group_of, aggregated, solution.starting)
    return RelaxationResult(
        lagrangian_bound(aggregated, solution.prices), separate_resources(network, shares), work
    )


def rounding_work(network: FlowNetwork) -> float:
    """Return the work of `round_resources` on all resources of a subproblem."""
    resources = len(network.room)
    return resources * work_estimates.simplex(size(network) // resources)


@dataclass(frozen=True)
class RoundingResult:
    """Resources with whole emails.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    bound : ndarray of float, shape (resources,)
        Lower bound on the cost of each resource, given its chains.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    bound: np.ndarray
    work: float


def round_resources(network: FlowNetwork) -> RoundingResult:
    """Relax some resources, each by itself, and round the result.

    Parameters
    ----------
    network : FlowNetwork
        The resources, which share nothing.
    """
    targets, work = np.zeros(network.cost.shape), 0.0
    bound = np.full(len(network.room), -np.inf)
    for resource in range(len(network.room)):
        alone = network.restricted(np.array([resource]))
        model = build_count_model(alone)
        if not model.variables:
            bound[resource] = 0.0
            continue
        solution = solve_relaxation(model, LpMethod.SIMPLEX)
        work += work_estimates.simplex(model.variables)
        if solution is not None:
            targets[network.resource == resource] = solution.bound
            bound[resource] = lagrangian_bound(alone, solution.prices)
    return RoundingResult(round_flow(network, targets), bound, work)


@dataclass(frozen=True)
class RefinementResult:
    """A refined resource.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    ended : bool
        Whether further refinement finds nothing.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    ended: bool
    work: float


def refine(
    network: FlowNetwork, sends: np.ndarray, denominator: int | None, limit: float, seed: int
) -> RefinementResult:
    """Improve one resource by CP-SAT: as a whole if it is small, else some weeks at a time.

    Parameters
    ----------
    network : FlowNetwork
        The resource alone.
    sends : ndarray of int, shape (commodities, days)
        Emails that leave so far.
    denominator : int or None
        See `sendplan.planner.flow.cpsat.cost_denominator`.
    limit : float
        Most seconds of work.
    seed : int
        Seed of the search.
    """
    model = build_count_model(network)
    most = int(network.arriving.sum())
    solution = model.solution(sends)
    if model.variables <= SMALL:
        spare = work_estimates.deterministic_time(limit - work_estimates.cpsat(0, model.variables))
        solved = solve_cpsat(model, solution, most, denominator, spare, seed)
        work = work_estimates.cpsat(solved.work, model.variables)
        return RefinementResult(model.sends(solved.solution), solved.optimal, work)
    solution, ended, work = _window_by_window(model, solution, most, denominator, limit, seed)
    return RefinementResult(model.sends(solution), ended, work)


def _window_by_window(
    model: CountModel,
    solution: np.ndarray,
    most: int,
    denominator: int | None,
    limit: float,
    seed: int,
) -> tuple[np.ndarray, bool, float]:
    """Improve the emails of some weeks at a time, of more weeks from pass to pass."""
    work = 0.0
    sends = np.arange(model.variables) < model.sending
    for width in WIDTHS:
        improved = True
        while improved:
            before = float(model.cost @ solution)
            for begin in range(1, model.network.sink, width // 2):
                until = begin + width + np.where(sends, 0, OVERHANG)
                around = model.neighbourhood(solution, (model.day >= begin) & (model.day < until))
                size = len(around.variable)
                if not size:
                    continue
                if work + work_estimates.cpsat(SHORTEST, size) > limit:
                    return solution, False, work
                spare = work_estimates.deterministic_time(limit - work) / 4
                hint = solution[around.variable]
                solved = solve_cpsat(around, hint, most, denominator, max(spare, SHORTEST), seed)
                work += work_estimates.cpsat(solved.work, size)
                solution = solution.copy()
                solution[around.variable] = solved.solution
            improved = float(model.cost @ solution) < before * (1 - 5e-4)
    return solution, True, work


@dataclass(frozen=True)
class ProofResult:
    """A subproblem solved as a whole.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    bound : float
        Lower bound on the cost of every plan of the subproblem.
    work : float
        Seconds of work.
    on_time : bool
        Whether no safety stop acted.
    """

    sends: np.ndarray
    bound: float
    work: float
    on_time: bool = True


def proof_work(network: FlowNetwork) -> float:
    """Return the expected work of `prove`; infinite where the subproblem is too large."""
    variables = size(network)
    if variables <= CPSAT_VARIABLES:
        return work_estimates.cpsat(SHORTEST, variables)
    return work_estimates.expected_mip(variables) if variables <= MIP_VARIABLES else np.inf


def size(network: FlowNetwork) -> int:
    """Return the approximate number of variables of the count model."""
    return 2 * sum(int(table.sum()) for table in network.open_days)


def prove(
    network: FlowNetwork, sends: np.ndarray, denominator: int | None, limit: float, seed: int
) -> ProofResult:
    """Search for the best plan of a whole subproblem and the proof that it is the best.

    Parameters
    ----------
    network : FlowNetwork
        A subproblem.
    sends : ndarray of int, shape (commodities, days)
        Emails that leave in a known plan.
    denominator, limit, seed
        See `refine`.
    """
    model = build_count_model(network)
    bound = network.bound_sends(sends)
    hint = model.solution(bound, sends - bound)
    if size(network) > CPSAT_VARIABLES:
        found = solve_mip(model, hint, denominator, seed)
        best = sends if found.solution is None else model.sends(found.solution)
        return ProofResult(best, found.bound + network.constant, found.work, found.on_time)
    most = int(network.arriving.sum() + network.waiting.sum())
    spare = work_estimates.deterministic_time(limit - work_estimates.cpsat(0, model.variables))
    solved = solve_cpsat(model, hint, most, denominator, spare, seed)
    return ProofResult(
        model.sends(solved.solution),
        solved.bound + network.constant,
        work_estimates.cpsat(solved.work, model.variables),
    )
