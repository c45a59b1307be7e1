"""The facade: a problem in, a plan out."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from sendplan.planner.apart import told_apart
from sendplan.planner.components import components
from sendplan.planner.contacts import clashes
from sendplan.planner.cpsat import unit_of
from sendplan.planner.crew import Crew, Nobody, Watch
from sendplan.planner.exchange import exchange
from sendplan.planner.existing import kept_placement
from sendplan.planner.filling import fill
from sendplan.planner.fitting import fit
from sendplan.planner.improvement import improve
from sendplan.planner.objective import delays
from sendplan.planner.outcome import horizon_end, outcome
from sendplan.planner.parameters import Parameters
from sendplan.planner.parts import Part, bound_quickly
from sendplan.planner.pieces import Piece, counted, pieces, place
from sendplan.planner.placement import Placement, Room, insert
from sendplan.planner.plan import Plan
from sendplan.planner.problem import Problem
from sendplan.planner.rules import Rules, rules
from sendplan.planner.stages import NONE
from sendplan.planner.workload import Workload, workload

THREADS = "sendplan-crew"
"""How the names of the threads begin that improve a plan."""

SINK_MARGIN = 5
"""Days between the end of a component's known plan and the day that stands for all later ones."""

WIDE_MARGIN = 45
SMALL = 400
"""The same for components with so few emails, in which a chain that is put off may still count."""


def solve(
    problem: Problem,
    method: str = "auto",
    time_limit: float = Parameters.time_limit,
    *,
    horizon_days: int | None = None,
    slip_weight: float = Parameters.slip_weight,
    one_a_day: bool = True,
    seed: int = 0,
    gap: float = Parameters.gap,
    workers: int = Parameters.workers,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> Plan:
    """Plan all pending emails of a problem.

    Ctrl-C while a plan is being improved returns the best one so far.

    Parameters
    ----------
    problem : Problem
        What must be planned.
    method : str
        ``"greedy"``; ``"auto"``, which improves the greedy's plan until the gap is closed; or
        ``"cpsat"``, which goes on as far as it can.
    time_limit : float
        Seconds of work, on one core, for improving the plan.
    horizon_days : int, optional
        Last day that may be used, in days after today's UTC date; without it the horizon is as
        long as it must be, 366 days at most.
    slip_weight : float
        What a day of slip of a follow-up costs, in days of lateness.
    one_a_day : bool
        Whether a contact gets at most one email a day.
    seed : int
        Seed of whatever the method draws.
    gap : float
        Part of its cost by which a plan may be above the lower bound when ``"auto"`` stops.
    workers : int
        How many parts of the problem are worked on side by side, in threads.
    executor : Executor, optional
        Who works instead of such threads, for instance a process pool.
    watch : Watch, optional
        Who is told of the progress, and may stop it.

    Returns
    -------
    Plan
        The same for the same input, whoever works.

    Raises
    ------
    MethodError
        If the method or a parameter does not exist or is out of range.
    """
    parameters = Parameters(
        method, time_limit, horizon_days, slip_weight, one_a_day, seed, gap, workers
    )
    return plan_with(problem, parameters, executor=executor, watch=watch)


def plan_with(
    problem: Problem,
    parameters: Parameters,
    *,
    executor: Executor | None = None,
    watch: Watch | None = None,
) -> Plan:
    """Plan all pending emails of a problem, with parameters as one value; see `solve`."""
    work = workload(problem)
    allowed = rules(work, parameters)
    fresh, kept = _greedy(work, allowed, parameters)
    found = fresh if kept is None else _cheaper(work, allowed, parameters, kept, fresh)
    if not len(work.chains):
        return outcome(
            work,
            allowed,
            parameters,
            *found,
            method=parameters.method if parameters.method != "auto" else "greedy",
            lower_bound=None,
            stopped=None,
        )
    # The search starts afresh, so that planning again finds the same, and nothing moves.
    search = _Search(work, allowed, parameters, fresh[0])
    bound_quickly(search.parts, search.unit)
    method, stopped = "greedy", None
    if parameters.method != "greedy":
        pool = executor or ThreadPoolExecutor(parameters.workers, THREADS)
        try:
            crew = Crew(pool, watch or Nobody())
            rival = np.inf if kept is None else _cost(work, allowed, parameters, found[0])
            stopped = improve(search.parts, search.unit, parameters, crew, rival)
        finally:
            if executor is None:
                pool.shutdown(wait=False, cancel_futures=True)
        before = found[0]
        for improved in search.improved(fresh[0]):
            better = _mended(work, allowed, improved)
            found = _cheaper(work, allowed, parameters, found, better)
        method = "greedy" if found[0] is before else "cpsat"
        if parameters.method == "cpsat":
            method = "cpsat"
    return outcome(
        work,
        allowed,
        parameters,
        *found,
        method=method,
        lower_bound=search.lower_bound(found[0]),
        stopped=stopped,
    )


Timed = tuple[Placement, np.ndarray]


def _greedy(work: Workload, allowed: Rules, parameters: Parameters) -> tuple[Timed, Timed | None]:
    """Return a fresh plan, and the existing one carried on, if there is one."""

    def filled(placement: Placement) -> Timed:
        fixed = placement.day != NONE
        fill(work, allowed, placement, parameters.slip_weight)
        return _mended(work, allowed, placement, fixed)

    fresh = filled(Placement.empty(work))
    existing = kept_placement(work, allowed)
    return fresh, None if existing is None else filled(existing)


def _cost(work: Workload, allowed: Rules, parameters: Parameters, placement: Placement) -> float:
    end = horizon_end(allowed, parameters, placement.day)
    return float(delays(work, placement, end, parameters.slip_weight).cost.sum())


def _mended(
    work: Workload, allowed: Rules, placement: Placement, fixed: np.ndarray | None = None
) -> Timed:
    """Mend what counts cannot see, place what they have left out, give times.

    The minutes come before any comparison: min_gap_seconds may still move emails.
    """
    exchange(work, allowed, placement, fixed)
    placement.cut(work, clashes(work, allowed, placement, fixed))
    insert(work, allowed, placement, Room.beside(work, allowed, placement))
    return placement, fit(work, allowed, placement)


def _cheaper(
    work: Workload, allowed: Rules, parameters: Parameters, known: Timed, other: Timed
) -> Timed:
    """Return the cheaper of two placements, component by component, the known one on a tie."""
    component = components(work)
    cost = np.zeros((2, int(component.max(initial=0)) + 1))
    end = horizon_end(allowed, parameters, np.append(known[0].day, other[0].day))
    for row, (placement, _) in enumerate((known, other)):
        each = delays(work, placement, end, parameters.slip_weight).cost
        np.add.at(cost[row], component[work.emails.chain], each)
    better = cost[1] < cost[0] * (1 - 1e-9) - 1e-9
    if not better.any():
        return known
    swap = better[component]
    swap_email = swap[work.emails.chain]
    best = Placement(
        np.where(swap_email, other[0].day, known[0].day),
        np.where(swap, other[0].mailbox, known[0].mailbox),
    )
    return best, np.where(swap_email, other[1], known[1])


class _Search:
    """The work as parts that share no mailbox, each with the best that is known of it."""

    def __init__(
        self, work: Workload, allowed: Rules, parameters: Parameters, known: Placement
    ) -> None:
        apart = told_apart(work, allowed)
        self.work, self.parameters = apart.work, parameters
        self.allowed = rules(apart.work, parameters) if apart.work is not work else allowed
        component = apart.component
        self.of_chain = component[work.stages.sequence[work.chains.stage]]
        of_email = self.of_chain[work.emails.chain]
        parts = int(component.max(initial=0)) + 1
        sink = self._sinks(known, of_email, parts)
        self.pieces: list[Piece] = pieces(
            apart,
            self.allowed,
            parameters.slip_weight,
            sink,
            strict=parameters.horizon_days is not None,
        )
        end = horizon_end(allowed, parameters, known.day)
        each = delays(work, known, end, parameters.slip_weight).cost
        cost = np.bincount(of_email, each, parts)
        self.parts = [
            Part(piece.lanes, float(cost[piece.part]), counted(self.work, piece, known))
            for piece in self.pieces
        ]
        priority = work.problem.sequences["priority"].to_numpy()
        self.unit = unit_of(np.append(priority, priority * parameters.slip_weight))

    def _sinks(self, known: Placement, of_email: np.ndarray, parts: int) -> np.ndarray:
        """Return the day, by component, as of which all that leaves later is counted."""
        if self.parameters.horizon_days is not None:
            return np.full(parts, self.allowed.last + 1)
        emails = np.bincount(of_email, minlength=parts)
        end = np.zeros(parts, dtype=np.int64)
        np.maximum.at(end, of_email, known.day)
        margin = np.where(emails <= SMALL, WIDE_MARGIN + end, SINK_MARGIN)
        sink = np.minimum(end + margin, self.allowed.last + 1)
        # What finds no room within a year counts as of the day after the plan's end, and no plan
        # ends before the ideal day of an email that can be placed.
        left_out = np.zeros(parts, dtype=bool)
        left_out[of_email[known.day == NONE]] = True
        placed = self.work.emails.ideal[~left_out[of_email]]
        sink[left_out] = max(int(placed.max(initial=1)), 1) + 1
        return sink

    def improved(self, known: Placement) -> Iterator[Placement]:
        """Give the known placement with the parts that were improved, and with those to be mended.

        Parameters
        ----------
        known : Placement
            What it was before.
        """
        pairs = list(zip(self.pieces, self.parts, strict=True))
        sound = [(piece, part.sends) for piece, part in pairs if part.improved]
        rough = [
            (piece, part.rough)
            for piece, part in pairs
            if part.rough is not None and part.rough_cost < part.cost
        ]
        for found in (sound, rough):
            if found:
                yield self._with(known, found)

    def _with(self, known: Placement, found: list[tuple[Piece, np.ndarray]]) -> Placement:
        numbers = np.array([piece.part for piece, _ in found])
        swap = np.isin(self.of_chain, numbers)
        other = place(self.work, self.allowed, found)
        return Placement(
            np.where(swap[self.work.emails.chain], other.day, known.day),
            np.where(swap, other.mailbox, known.mailbox),
        )

    def lower_bound(self, placement: Placement) -> float:
        """Return what every plan costs at least."""
        cost = _cost(self.work, self.allowed, self.parameters, placement)
        bound = sum(part.bound for part in self.parts)
        if bound > cost + 1e-6 * max(cost, 1.0):
            raise AssertionError(
                f"the lower bound {bound} is above the plan's cost {cost}; this is a fault of"
                " sendplan, please report it with the tables"
            )
        return float(min(bound, cost))
