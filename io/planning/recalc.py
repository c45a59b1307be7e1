"""The recalculation: the components that queued changes reach are re-planned.

Requests come from triggers (`sendplan.io.snapshot.requests`). One recalculation takes all that are
queued, reads the components that they reach, keeps the slots that it can, and writes the difference
in batches. The requests are deleted with the last batch: if it stops before, the next recalculation
finds them.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import SendplanError
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.planning.run import Clock, Report, Run, WallClock, planned, retried
from sendplan.io.planning.watching import notices
from sendplan.io.publish.planner_lock import PlannerBusyError, planner_lock
from sendplan.io.publish.run_records import RunRecord
from sendplan.io.publish.store import Pace, store, tidy
from sendplan.io.snapshot.load import Snapshot, load_requested
from sendplan.io.snapshot.requests import Requests, pending_requests
from sendplan.planner.improve.task_pool import SearchProgress
from sendplan.planner.model.components import mailbox_components
from sendplan.planner.plan.due_slots import hold_due
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.vocabulary import GRACE_SECONDS, LEAD_SECONDS

ATTEMPTS = 10
"""How often a recalculation is tried when changes overtake it; each time less is left to do."""

MOST_SHARES = 3
"""The time limit counts for as many components at most; the nightly plan improves the rest."""

DEFAULT_PACE = Pace(batch_size=5_000, pause=0.05)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recalculation:
    """A finished recalculation.

    Parameters
    ----------
    requests : Requests
        The requests that it worked off.
    run : Run
        Its run; with an empty plan if nothing was queued.
    """

    requests: Requests
    run: Run

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``recalc --json`` prints: the keys of ``plan``, and more."""
        return self.run.to_json() | {"requests": len(self.requests.ids)}


def fixed_when_due(problem: Problem, one_a_day: bool, grace: float = GRACE_SECONDS) -> Problem:
    """Leave due emails to the dispatchers, see `sendplan.planner.plan.due_slots`.

    Parameters
    ----------
    problem : Problem
        With the stored slots.
    one_a_day : bool
        Whether a contact may get one email a day at most.
    grace : float
        Seconds after its slot in which dispatchers still send an email.
    """
    since, until = problem.now - int(grace * SECOND), problem.now + LEAD_SECONDS * SECOND
    return hold_due(problem, since, until, one_a_day=one_a_day)


def recalc(
    engine: Engine,
    now: dt.datetime,
    parameters: Parameters,
    *,
    grace: float = GRACE_SECONDS,
    pace: Pace = DEFAULT_PACE,
    report: Report = lambda phase: None,
    progress: Callable[[SearchProgress], None] = lambda step: None,
    written: Callable[[int, int], None] = lambda done, total: None,
) -> Recalculation:
    """Work off the queued changes once.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        See `recalc_parameters`; the time limit counts for each component, up to `MOST_SHARES`.
    grace : float
        See `fixed_when_due`.
    pace : Pace
        Batches of the difference.
    report, progress : callable
        Called with the name of each phase, and with each step of a search.
    written : callable
        Called after each batch with the number written, and of all batches.

    Returns
    -------
    Recalculation
        Of all requests that were queued.

    Raises
    ------
    PlannerBusyError
        If another planner is running; the requests stay queued.
    DataError
        If the tables cannot be planned; the requests stay queued.
    UnsoundPlanError
        If the checker found a broken rule; nothing was written.
    OvertakenError
        If the tables changed under every attempt; what was written is sound, and the requests stay
        queued.
    LockLostError
        If the session with the planner's lock has ended; likewise.
    DatabaseError
        If the database failed; likewise.
    """
    clock = Clock(report)
    started_at = dt.datetime.now(dt.UTC)
    seen = Requests()
    rows_changed = skipped = 0

    def attempt() -> Recalculation:
        nonlocal seen, rows_changed, skipped
        with clock.phase("load"):
            snapshot = load_requested(engine, now)
        scaled = _scaled(parameters, snapshot)
        callback = WallClock(scaled, progress)
        problem, plan = planned(
            snapshot,
            now,
            scaled,
            clock,
            callback,
            lambda problem: fixed_when_due(problem, parameters.one_a_day, grace),
        )
        seen += snapshot.requests
        published = None
        if snapshot.requests:
            how = asdict(parameters)
            record = RunRecord("recalc", started_at, how, clock.seconds, callback.steps)
            with clock.phase("store"):
                published = store(session.proven(), snapshot, problem, plan, record, pace, written)
                tidy(engine, published)
            rows_changed += published.rows_changed
            skipped += published.skipped
            published = replace(published, rows_changed=rows_changed, skipped=skipped)
        aside = snapshot.set_aside.values
        run = Run(plan.summary(), published, clock.total(), plan, set_aside=aside)
        return Recalculation(seen, run)

    remedy = (
        "The changes are still queued; run `sendplan recalc` again when the database is less busy."
    )
    with planner_lock(engine) as session:
        for left in range(ATTEMPTS, 0, -1):
            before = skipped
            done = retried(attempt, left, remedy, report)
            if skipped == before:
                break
            # Rows left alone have been queued again.
            report("Planning again: rows have changed")
    return done


def _scaled(parameters: Parameters, snapshot: Snapshot) -> Parameters:
    """Multiply the time limit by the number of components in a snapshot."""
    pools: dict[object, list[object]] = {}
    for sequence_id, mailbox_id in snapshot.settings["sequence_mailboxes"]:
        pools.setdefault(sequence_id, []).append(mailbox_id)
    members = [np.array(pool, dtype=np.int64) for pool in pools.values()]
    count = len(np.unique(mailbox_components(members))) if members else 1
    return replace(parameters, time_limit=parameters.time_limit * min(count, MOST_SHARES))


def watch_changes(
    engine: Engine,
    clock: Callable[[], dt.datetime],
    given: Mapping[str, Any],
    stopped: Callable[[], bool],
    *,
    grace: float = GRACE_SECONDS,
    pace: Pace = DEFAULT_PACE,
    done: Callable[[Recalculation], None] = lambda recalculation: None,
) -> None:
    """Work off changes as they come, until stopped.

    A recalculation that fails is logged and tried again with the next notice; the requests stay
    queued meanwhile. A restart of the database is survived.

    Parameters
    ----------
    engine : Engine
        The database.
    clock : callable
        Returns the moment of planning.
    given : mapping
        See `recalc_parameters`.
    stopped : callable
        Whether to stop; called between recalculations and while waiting.
    grace : float
        See `fixed_when_due`.
    pace : Pace
        Batches of the differences.
    done : callable
        Called with each recalculation that found requests.
    """
    for _ in notices(engine, stopped):
        while not stopped():
            try:
                with translated_errors("looking for changes"), engine.connect() as connection:
                    if not pending_requests(connection):
                        break
                now = clock()
                how = recalc_parameters(engine, now, given)
                recalculation = recalc(engine, now, how, grace=grace, pace=pace)
            except PlannerBusyError:
                logger.info("Another planner is running; the next notice starts another attempt")
                break
            except SendplanError as error:
                logger.error("The recalculation failed; its changes stay queued: %s", error)
                break
            done(recalculation)
