"""The tasks of an improvement: pure functions of lanes, each fit to run anywhere."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow import work_estimates as effort
from sendplan.planner.flow.apportioning import alike, settled, shares
from sendplan.planner.flow.cpsat_solver import solve_whole
from sendplan.planner.flow.flow_model import CountModel, count_model
from sendplan.planner.flow.lagrangian import Prices, lagrangian
from sendplan.planner.flow.lp_solver import Way, solve_linear
from sendplan.planner.flow.mip_solver import branch
from sendplan.planner.flow.network import Lanes
from sendplan.planner.flow.rounding import follow

SMALL = 1_600
"""Variables up to which CP-SAT takes a box at one go."""

WIDTHS = (14, 28, 42, 63, 91)
"""Days that are freed at once, from pass to pass."""

OVERHANG = 10
"""Days beyond those in which what waits may change too."""

SHORTEST = 0.05
"""Deterministic time that a neighbourhood gets at least."""


@dataclass(frozen=True)
class Relaxed:
    """A relaxation of a piece.

    Parameters
    ----------
    bound : float
        What every plan of the piece costs at least.
    lanes : Lanes or None
        The piece with its boxes apart, every chain at one; None if the solver gave up.
    work : float
        Seconds of work.
    """

    bound: float
    lanes: Lanes | None
    work: float


def pooled_bound(lanes: Lanes) -> float:
    """Return the bound that taking all boxes as one gives: weaker, and soon had."""
    pooled = lanes.grouped(np.zeros(len(lanes.room), dtype=np.int64))
    relaxed = solve_linear(count_model(pooled), Way.CORNER)
    return lagrangian(pooled, Prices.free(pooled) if relaxed is None else relaxed.prices)


def relaxation_work(lanes: Lanes, groups: int) -> float:
    """Return the work of `relaxed`."""
    return effort.interior(size(lanes) * min(groups, len(lanes.room)) // len(lanes.room))


def relaxed(lanes: Lanes, groups: int) -> Relaxed:
    """Bound a piece, and share its chains out as the relaxation does.

    Parameters
    ----------
    lanes : Lanes
        A piece.
    groups : int
        As how many boxes its boxes are taken: the more, the tighter, and the more work.
    """
    group_of = alike(lanes, groups)
    grouped = lanes.grouped(group_of)
    model = count_model(grouped)
    solution = solve_linear(model, Way.INTERIOR)
    work = effort.interior(model.variables)
    if solution is None:
        return Relaxed(-np.inf, None, work)
    bound = lagrangian(grouped, solution.prices)
    share = shares(lanes, group_of, grouped, solution.starting)
    return Relaxed(bound, settled(lanes, share), work)


def following_work(lanes: Lanes) -> float:
    """Return the work of `followed` on all boxes of a piece."""
    boxes = len(lanes.room)
    return boxes * effort.corner(size(lanes) // boxes)


@dataclass(frozen=True)
class Followed:
    """Boxes made whole.

    Parameters
    ----------
    sends : ndarray of int, shape (lanes, days)
        Emails that leave.
    bound : ndarray of float, shape (boxes,)
        What the emails of each box cost at least, its chains being what they are.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    bound: np.ndarray
    work: float


def followed(lanes: Lanes) -> Followed:
    """Relax each of some boxes by itself, and make that whole.

    Parameters
    ----------
    lanes : Lanes
        Boxes that are apart.
    """
    targets, work = np.zeros(lanes.cost.shape), 0.0
    bound = np.full(len(lanes.room), -np.inf)
    for box in range(len(lanes.room)):
        alone = lanes.at(np.array([box]))
        model = count_model(alone)
        if not model.variables:
            bound[box] = 0.0
            continue
        solution = solve_linear(model, Way.CORNER)
        work += effort.corner(model.variables)
        if solution is not None:
            targets[lanes.box == box] = solution.bound
            bound[box] = lagrangian(alone, solution.prices)
    return Followed(follow(lanes, targets), bound, work)


@dataclass(frozen=True)
class Refined:
    """A box made better.

    Parameters
    ----------
    sends : ndarray of int, shape (lanes, days)
        Emails that leave.
    ended : bool
        Whether there is nothing left to try.
    work : float
        Seconds of work.
    """

    sends: np.ndarray
    ended: bool
    work: float


def refined(lanes: Lanes, sends: np.ndarray, unit: int | None, limit: float, seed: int) -> Refined:
    """Improve one box by CP-SAT: at one go if it is small, else some weeks at a time.

    Parameters
    ----------
    lanes : Lanes
        A box by itself.
    sends : ndarray of int, shape (lanes, days)
        What leaves so far.
    unit : int or None
        See `sendplan.planner.flow.cpsat_solver.unit_of`.
    limit : float
        Seconds of work to spend at most.
    seed : int
        Seed of the search.
    """
    model = count_model(lanes)
    most = int(lanes.arriving.sum())
    solution = model.solution(sends)
    if model.variables <= SMALL:
        spare = effort.deterministic(limit - effort.whole(0, model.variables))
        solved = solve_whole(model, solution, most, unit, spare, seed)
        work = effort.whole(solved.work, model.variables)
        return Refined(model.sends(solved.solution), solved.optimal, work)
    solution, ended, work = _window_by_window(model, solution, most, unit, limit, seed)
    return Refined(model.sends(solution), ended, work)


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
            for begin in range(1, model.lanes.sink, width // 2):
                until = begin + width + np.where(sends, 0, OVERHANG)
                around = model.around(solution, (model.day >= begin) & (model.day < until))
                size = len(around.variable)
                if not size:
                    continue
                if work + effort.whole(SHORTEST, size) > limit:
                    return solution, False, work
                spare = effort.deterministic(limit - work) / 4
                hint = solution[around.variable]
                solved = solve_whole(around, hint, most, unit, max(spare, SHORTEST), seed)
                work += effort.whole(solved.work, size)
                solution = solution.copy()
                solution[around.variable] = solved.solution
            improved = float(model.cost @ solution) < before * (1 - 5e-4)
    return solution, True, work


AT_ONE_GO = 8_000
"""Variables up to which CP-SAT is asked for the best plan of a whole piece."""

WITHIN_REACH = 30_000
"""Variables up to which HiGHS is."""


@dataclass(frozen=True)
class Proven:
    """A piece solved at one go.

    Parameters
    ----------
    sends : ndarray of int, shape (lanes, days)
        Emails that leave.
    bound : float
        What every plan of the piece costs at least.
    work : float
        Seconds of work.
    on_time : bool
        Whether it ended before a safety stop.
    """

    sends: np.ndarray
    bound: float
    work: float
    on_time: bool = True


def proof_work(lanes: Lanes) -> float:
    """Return the work that `proven` is likely to take; infinite where it is not worth trying."""
    variables = size(lanes)
    if variables <= AT_ONE_GO:
        return effort.whole(SHORTEST, variables)
    return effort.branching(variables) if variables <= WITHIN_REACH else np.inf


def size(lanes: Lanes) -> int:
    """Return about how many variables the count model has."""
    return 2 * sum(int(table.sum()) for table in lanes.open_days)


def proven(lanes: Lanes, sends: np.ndarray, unit: int | None, limit: float, seed: int) -> Proven:
    """Look for the best plan of a whole piece, and for the proof that it is the best.

    Parameters
    ----------
    lanes : Lanes
        A piece.
    sends : ndarray of int, shape (lanes, days)
        What leaves in a known plan.
    unit, limit, seed
        See `refined`.
    """
    model = count_model(lanes)
    of_bound = lanes.of_bound(sends)
    hint = model.solution(of_bound, sends - of_bound)
    if size(lanes) > AT_ONE_GO:
        found = branch(model, hint, unit, seed)
        best = sends if found.solution is None else model.sends(found.solution)
        return Proven(best, found.bound + lanes.constant, found.work, found.on_time)
    most = int(lanes.arriving.sum() + lanes.waiting.sum())
    spare = effort.deterministic(limit - effort.whole(0, model.variables))
    solved = solve_whole(model, hint, most, unit, spare, seed)
    return Proven(
        model.sends(solved.solution),
        solved.bound + lanes.constant,
        effort.whole(solved.work, model.variables),
    )
