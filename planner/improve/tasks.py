"""The tasks of an improvement: pure functions of commodities, each fit to run anywhere."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow import work_estimates
from sendplan.planner.flow.apportioning import alike, settled, shares
from sendplan.planner.flow.count_model import CountModel, count_model
from sendplan.planner.flow.cpsat import solve_whole
from sendplan.planner.flow.lagrangian import DualPrices, lagrangian
from sendplan.planner.flow.lp import LpMethod, solve_linear
from sendplan.planner.flow.mip import branch
from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.rounding import follow

SMALL = 1_600
"""Variables up to which CP-SAT takes a resource at one go."""

WIDTHS = (14, 28, 42, 63, 91)
"""Days that are freed at once, from pass to pass."""

OVERHANG = 10
"""Days beyond those in which what waits may change too."""

SHORTEST = 0.05
"""Deterministic time that a neighbourhood gets at least."""


@dataclass(frozen=True)
class RelaxationResult:
    """A relaxation of a subproblem.

    Parameters
    ----------
    bound : float
        What every plan of the subproblem costs at least.
    commodities : Commodities or None
        The subproblem with its resources apart, every chain at one; None if the solver gave up.
    work : float
        Seconds of work.
    """

    bound: float
    network: FlowNetwork | None
    work: float


def pooled_bound(network: FlowNetwork) -> float:
    """Return the bound that taking all resources as one gives: weaker, and soon had."""
    pooled = network.grouped(np.zeros(len(network.room), dtype=np.int64))
    relax = solve_linear(count_model(pooled), LpMethod.CORNER)
    return lagrangian(pooled, DualPrices.free(pooled) if relax is None else relax.prices)


def relaxation_work(network: FlowNetwork, groups: int) -> float:
    """Return the work of `relax`."""
    return work_estimates.interior(
        size(network) * min(groups, len(network.room)) // len(network.room)
    )


def relax(network: FlowNetwork, groups: int) -> RelaxationResult:
    """Bound a subproblem, and share its chains out as the relaxation does.

    Parameters
    ----------
    commodities : Commodities
        A subproblem.
    groups : int
        As how many resources its resources are taken: the more, the tighter, and the more work.
    """
    group_of = alike(network, groups)
    grouped = network.grouped(group_of)
    model = count_model(grouped)
    solution = solve_linear(model, LpMethod.INTERIOR)
    work = work_estimates.interior(model.variables)
    if solution is None:
        return RelaxationResult(-np.inf, None, work)
    bound = lagrangian(grouped, solution.prices)
    share = shares(network, group_of, grouped, solution.starting)
    return RelaxationResult(bound, settled(network, share), work)


def rounding_work(network: FlowNetwork) -> float:
    """Return the work of `round_off` on all resources of a subproblem."""
    resources = len(network.room)
    return resources * work_estimates.corner(size(network) // resources)


@dataclass(frozen=True)
class RoundingResult:
    """Resources made whole.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    bound : ndarray of float, shape (resources,)
        What the emails of each resource cost at least, its chains being what they are.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    bound: np.ndarray
    work: float


def round_off(network: FlowNetwork) -> RoundingResult:
    """Relax each of some resources by itself, and make that whole.

    Parameters
    ----------
    commodities : Commodities
        Resources that are apart.
    """
    targets, work = np.zeros(network.cost.shape), 0.0
    bound = np.full(len(network.room), -np.inf)
    for resource in range(len(network.room)):
        alone = network.at(np.array([resource]))
        model = count_model(alone)
        if not model.variables:
            bound[resource] = 0.0
            continue
        solution = solve_linear(model, LpMethod.CORNER)
        work += work_estimates.corner(model.variables)
        if solution is not None:
            targets[network.resource == resource] = solution.bound
            bound[resource] = lagrangian(alone, solution.prices)
    return RoundingResult(follow(network, targets), bound, work)


@dataclass(frozen=True)
class RefinementResult:
    """A resource made better.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    ended : bool
        Whether there is nothing left to try.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    ended: bool
    work: float


def refine(
    network: FlowNetwork, sends: np.ndarray, unit: int | None, limit: float, seed: int
) -> RefinementResult:
    """Improve one resource by CP-SAT: at one go if it is small, else some weeks at a time.

    Parameters
    ----------
    commodities : Commodities
        A resource by itself.
    sends : ndarray of int, shape (commodities, days)
        What leaves so far.
    unit : int or None
        See `sendplan.planner.flow.cpsat.unit_of`.
    limit : float
        Seconds of work to spend at most.
    seed : int
        Seed of the search.
    """
    model = count_model(network)
    most = int(network.arriving.sum())
    solution = model.solution(sends)
    if model.variables <= SMALL:
        spare = work_estimates.deterministic(limit - work_estimates.whole(0, model.variables))
        solved = solve_whole(model, solution, most, unit, spare, seed)
        work = work_estimates.whole(solved.work, model.variables)
        return RefinementResult(model.sends(solved.solution), solved.optimal, work)
    solution, ended, work = _window_by_window(model, solution, most, unit, limit, seed)
    return RefinementResult(model.sends(solution), ended, work)


def _window_by_window(
    model: CountModel, solution: np.ndarray, most: int, unit: int | None, limit: float, seed: int
) -> tuple[np.ndarray, bool, float]:
    """Free the emails of some weeks at a time, wider from pass to pass."""
    work = 0.0
    sends = np.arange(model.variables) < model.sending
    for width in WIDTHS:
        improved = True
        while improved:
            before = float(model.cost @ solution)
            for begin in range(1, model.network.sink, width // 2):
                until = begin + width + np.where(sends, 0, OVERHANG)
                around = model.around(solution, (model.day >= begin) & (model.day < until))
                size = len(around.variable)
                if not size:
                    continue
                if work + work_estimates.whole(SHORTEST, size) > limit:
                    return solution, False, work
                spare = work_estimates.deterministic(limit - work) / 4
                hint = solution[around.variable]
                solved = solve_whole(around, hint, most, unit, max(spare, SHORTEST), seed)
                work += work_estimates.whole(solved.work, size)
                solution = solution.copy()
                solution[around.variable] = solved.solution
            improved = float(model.cost @ solution) < before * (1 - 5e-4)
    return solution, True, work


AT_ONE_GO = 8_000
"""Variables up to which CP-SAT is asked for the best plan of a whole subproblem."""

WITHIN_REACH = 30_000
"""Variables up to which HiGHS is."""


@dataclass(frozen=True)
class ProofResult:
    """A subproblem solved at one go.

    Parameters
    ----------
    sends : ndarray of int, shape (commodities, days)
        Emails that leave.
    bound : float
        What every plan of the subproblem costs at least.
    work : float
        Seconds of work.
    on_time : bool
        Whether it ended before a safety stop.
    """

    sends: np.ndarray
    bound: float
    work: float
    on_time: bool = True


def proof_work(network: FlowNetwork) -> float:
    """Return the work that `prove` is likely to take; infinite where it is not worth trying."""
    variables = size(network)
    if variables <= AT_ONE_GO:
        return work_estimates.whole(SHORTEST, variables)
    return work_estimates.branching(variables) if variables <= WITHIN_REACH else np.inf


def size(network: FlowNetwork) -> int:
    """Return about how many variables the count model has."""
    return 2 * sum(int(table.sum()) for table in network.open_days)


def prove(
    network: FlowNetwork, sends: np.ndarray, unit: int | None, limit: float, seed: int
) -> ProofResult:
    """Look for the best plan of a whole subproblem, and for the proof that it is the best.

    Parameters
    ----------
    commodities : Commodities
        A subproblem.
    sends : ndarray of int, shape (commodities, days)
        What leaves in a known plan.
    unit, limit, seed
        See `refine`.
    """
    model = count_model(network)
    of_bound = network.of_bound(sends)
    hint = model.solution(of_bound, sends - of_bound)
    if size(network) > AT_ONE_GO:
        found = branch(model, hint, unit, seed)
        best = sends if found.solution is None else model.sends(found.solution)
        return ProofResult(best, found.bound + network.constant, found.work, found.on_time)
    most = int(network.arriving.sum() + network.waiting.sum())
    spare = work_estimates.deterministic(limit - work_estimates.whole(0, model.variables))
    solved = solve_whole(model, hint, most, unit, spare, seed)
    return ProofResult(
        model.sends(solved.solution),
        solved.bound + network.constant,
        work_estimates.whole(solved.work, model.variables),
    )
