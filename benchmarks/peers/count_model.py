# mypy: disable-error-code="import-not-found, no-untyped-call"
"""HiGHS on counts: how many emails of each stage leave each mailbox on each day.

The mixed-integer programme that cohorts allow. Chains wait at a stage, either at their mailbox or,
as long as they have none, free; a row for each sending day balances who waited, who came, who
leaves and who stays. Only the emails that leave are integer variables: who waits follows. Mailboxes
and sequences that share nothing are solved one after the other.
"""

from dataclasses import dataclass

import highspy
import numpy as np

from sendplan.benchmarks.peers.answers import Answer, Clock, PeerError, answer
from sendplan.benchmarks.peers.count_rows import Counts, Programme, programme
from sendplan.benchmarks.peers.count_rows import components as components_of
from sendplan.benchmarks.peers.crowd import people
from sendplan.benchmarks.peers.instances import PeerInstance, Terms

THREADS = 2


@dataclass(frozen=True)
class _Solved:
    counts: np.ndarray | None
    bound: float
    optimal: bool


def plan(instance: PeerInstance, limit: float) -> Answer:
    """Plan an instance.

    Parameters
    ----------
    instance : PeerInstance
        What to plan.
    limit : float
        Seconds for building and solving the models of all components.

    Returns
    -------
    Answer
        With a bound that holds for every plan.

    Raises
    ------
    PeerError
        If no plan was found in time.
    """
    clock = Clock(limit)
    terms = Terms.of(instance.problem)
    parts = components_of(terms)
    counts = Counts.none(terms)
    solved = []
    for number, stages in enumerate(parts):
        rows = programme(terms, stages)
        share = clock.left("while building the model") / (len(parts) - number)
        solved.append(_solve(rows, share))
        if solved[-1].counts is not None:
            rows.read(solved[-1].counts, counts)
    bound = sum(part.bound for part in solved) + terms.constant
    known_bound = float(bound) if np.isfinite(bound) else None
    missing = sum(part.counts is None for part in solved)
    if missing:
        raise PeerError(f"no plan in time for {missing} of {len(parts)} components", known_bound)
    optimal = all(part.optimal for part in solved)
    return answer(terms, people(terms, counts), known_bound, "optimal" if optimal else "feasible")


def _solve(rows: Programme, limit: float) -> _Solved:
    solver = highspy.Highs()
    for option, value in {
        "output_flag": False,
        "threads": THREADS,
        "random_seed": 0,
        "time_limit": limit,
        # The default would end the search while the plan could still be a little cheaper.
        "mip_rel_gap": 0.0,
    }.items():
        solver.setOptionValue(option, value)
    columns = len(rows.cost)
    starts, index, entries = rows.by_column()
    solver.passModel(
        columns,
        len(rows.low),
        len(index),
        int(highspy.MatrixFormat.kColwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        rows.cost,
        np.zeros(columns),
        rows.upper,
        rows.low,
        rows.high,
        starts.astype(np.int32),
        index.astype(np.int32),
        entries,
        rows.integer.astype(np.int32),
    )
    solver.run()
    info = solver.getInfo()
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    counts = np.asarray(solver.getSolution().col_value) if feasible else None
    optimal = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return _Solved(counts, info.mip_dual_bound, optimal)
