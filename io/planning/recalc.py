"""The recalculation: what queued changes reach is planned anew, and only the difference written.

Requests come from triggers (`sendplan.io.snapshot.requests`). One recalculation takes all that are
queued, reads the components that they reach, lets stay what can, and writes what differs in
batches. The requests are deleted with the last batch: whatever stops it before, the next one finds
them, and plans from what stands.
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
from sendplan.io.planning.run import Clock, Report, Run, WallClock, planned
from sendplan.io.planning.watching import notices
from sendplan.io.publish.planner_lock import PlannerBusyError, planner_lock
from sendplan.io.publish.run_records import OvertakenError, Published, RunRecord
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
"""How often a recalculation starts over when it was overtaken; each time less is left to do."""

MOST_SHARES = 3
"""Components for which time is given at most: what takes longer than this is for the night."""

DEFAULT_PACE = Pace(batch_size=5_000, pause=0.05)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recalculation:
    """What a recalculation did.

    Parameters
    ----------
    requests : Requests
        What was queued.
    run : Run
        What was planned and written; an empty plan if nothing was queued.
    """

    requests: Requests
    run: Run

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``recalc --json`` prints: the keys of ``plan``, and more."""
        return self.run.to_json() | {"requests": len(self.requests.ids)}


def fixed_when_due(problem: Problem, one_a_day: bool, grace: float = GRACE_SECONDS) -> Problem:
    """Leave to the dispatchers what they are about to take, see `sendplan.planner.plan.due_slots`.

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
        See `recalc_parameters`; the time limit is meant for each component that is reached, up
        to `MOST_SHARES`.
    grace : float
        See `fixed_when_due`.
    pace : Pace
        How fast the difference is written.
    report, progress : callable
        Told the name of each phase, and how far a search has come.
    written : callable
        Told after each batch how many have been written, of how many.

    Returns
    -------
    Recalculation
        What was queued, planned and written.

    Raises
    ------
    PlannerBusyError
        If another planner is at work; the requests stay queued.
    DataError
        If the tables hold what cannot be planned; the requests stay queued.
    UnsoundPlanError
        If the checker found a broken rule; nothing was written.
    OvertakenError
        If the tables changed under every attempt; what was written is sound, and the requests stay
        queued.
    LockLostError
        If the session that holds the planner's lock has ended; likewise.
    DatabaseError
        If the database failed; likewise.
    """
    clock = Clock(report)
    started_at = dt.datetime.now(dt.UTC)

    def fixed(problem: Problem) -> Problem:
        return fixed_when_due(problem, parameters.one_a_day, grace)

    seen = Requests()
    rows_changed = skipped = 0
    with planner_lock(engine) as session:
        for attempt in range(1, ATTEMPTS + 1):
            clock.enter("load")
            snapshot = load_requested(engine, now)
            clock.leave("load")
            scaled = _scaled(parameters, snapshot)
            watch = WallClock(scaled, progress)
            problem, plan = planned(snapshot, now, scaled, clock, watch, fixed)
            seen += snapshot.requests
            aside = snapshot.set_aside.values
            if not snapshot.requests:
                nothing = Run(plan.summary(), None, clock.total(), plan, set_aside=aside)
                return Recalculation(seen, nothing)
            record = RunRecord("recalc", started_at, asdict(parameters), clock.seconds, watch.steps)
            clock.enter("store")
            try:
                published = store(session.proven(), snapshot, problem, plan, record, pace, written)
                tidy(engine, published)
            except OvertakenError as error:
                if attempt == ATTEMPTS:
                    raise OvertakenError(
                        f"{error} This happened {ATTEMPTS} times in a row. The changes are still"
                        " queued; run `sendplan recalc` again when the database is quieter."
                    ) from error
                report("again, since the tables changed meanwhile")
                continue
            finally:
                clock.leave("store")
            rows_changed += published.rows_changed
            skipped += published.skipped
            if published.skipped and attempt < ATTEMPTS:
                # What was left alone has been queued again.
                report("again, since rows changed meanwhile")
                continue
            published = Published(published.run_id, rows_changed, skipped)
            run = Run(plan.summary(), published, clock.total(), plan, set_aside=aside)
            return Recalculation(seen, run)
    raise AssertionError("the last attempt returns or raises")


def _scaled(parameters: Parameters, snapshot: Snapshot) -> Parameters:
    """Give each component that a snapshot holds its share of time."""
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
    """Work off changes as they come, until told to stop.

    What goes wrong with one recalculation is logged and tried again with the next notice; the
    requests stay queued meanwhile. A restart of the database is survived.

    Parameters
    ----------
    engine : Engine
        The database.
    clock : callable
        Gives the moment of planning.
    given : mapping
        See `recalc_parameters`.
    stopped : callable
        Whether to stop; asked between recalculations and while nothing is to do.
    grace : float
        See `fixed_when_due`.
    pace : Pace
        How fast differences are written.
    done : callable
        Told of each recalculation that had something to do.
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
                logger.info("another planner is at work; trying again with the next notice")
                break
            except SendplanError as error:
                logger.error("the recalculation failed, its changes stay queued: %s", error)
                break
            done(recalculation)
