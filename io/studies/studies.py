"""Studies on the database: read once, planned several times, never written."""

import datetime as dt
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine

from sendplan.io.changes.apply import translated_faults
from sendplan.io.snapshot.load import load, read_snapshot, reading
from sendplan.io.studies.scenarios import Scenario, wanted_scenario
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.studies.capacity_need import CapacityNeed
from sendplan.planner.studies.capacity_search import fewest_mailboxes, smallest_capacity
from sendplan.planner.studies.comparison import AS_IT_IS, Comparison, compare

FIGURES = (
    "finish_day",
    "emails",
    "unplaced",
    "blocked",
    "late_follow_ups",
    "slip_days",
    "cost",
    "lower_bound",
    "gap",
    "moved",
    "method",
    "status",
)


def what_if(
    engine: Engine,
    scenarios: Mapping[str, Scenario],
    now: dt.datetime,
    parameters: Mapping[str, Any],
    *,
    workers: int = Parameters.workers,
    done: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Plan the database as it is and under several scenarios; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    scenarios : mapping
        By name, as `sendplan.io.studies.scenarios` reads them.
    now : aware datetime
        The moment of planning.
    parameters : mapping
        Planning parameters, by the names of `Parameters`.
    workers : int
        Scenarios planned at the same time.
    done : callable
        Called with the name of each scenario when it has been planned.

    Returns
    -------
    Comparison
        The database as it is comes first.

    Raises
    ------
    DataError
        If a scenario does not fit the tables, or these cannot be planned.
    DatabaseError
        If the database cannot be read.
    """
    with translated_faults(), reading(engine) as connection:
        changes = {
            name: wanted_scenario(connection, given, now) for name, given in scenarios.items()
        }
        snapshot = read_snapshot(connection, now)
    problem = snapshot.problem(now)
    with translated_faults():
        return compare(
            problem, changes, workers=workers, clock=time.perf_counter, progress=done, **parameters
        )


def capacity(
    engine: Engine,
    finish_by: dt.date,
    now: dt.datetime,
    *,
    of: str = "mailboxes",
    max_late: int | None = None,
    daily_capacity: int | None = None,
    method: str = "greedy",
    workers: int = Parameters.workers,
    told: Callable[[str], None] = lambda message: None,
) -> CapacityNeed:
    """Find the capacity that all emails need to leave by a day; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    finish_by : date
        The day.
    now : aware datetime
        The moment of planning.
    of : str
        ``"mailboxes"`` or ``"capacity"``.
    max_late, daily_capacity, method, workers, told
        See `sendplan.planner.studies.capacity_search.fewest_mailboxes`.

    Raises
    ------
    DataError
        If the tables cannot be planned.
    DatabaseError
        If the database cannot be read.
    """
    problem = load(engine, now).problem(now)
    if of == "capacity":
        return smallest_capacity(
            problem, finish_by, max_late, method=method, workers=workers, progress=told
        )
    return fewest_mailboxes(
        problem,
        finish_by,
        max_late,
        daily_capacity=daily_capacity,
        method=method,
        workers=workers,
        progress=told,
    )


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return the object that ``what-if --json`` prints."""
    late_days, use = found.frame["late_days"].tolist(), found.frame["use"].tolist()
    return {
        "as_of": found[AS_IT_IS].as_of,
        "scenarios": [
            {
                "scenario": name,
                "changes": [repr(change) for change in found.changes[name]],
                **_figures(plan),
                "late_days": late_days[place],
                "use": use[place],
                "seconds": found.seconds[name],
            }
            for place, (name, plan) in enumerate(found.plans.items())
        ],
    }


def capacity_json(found: CapacityNeed) -> dict[str, Any]:
    """Return the object that ``capacity --json`` prints."""
    return {
        "of": found.of,
        "finish_by": found.finish_by,
        "max_late": found.max_late,
        "needed": found.needed,
        "at_least": found.at_least,
        "proven": found.proven,
        "daily_capacity": found.daily_capacity,
        "obstacle": found.obstacle and {"kind": found.obstacle.kind, "text": found.obstacle.text},
        "verdict": found.verdict,
        "changes": [repr(change) for change in found.changes],
        "plan": None if found.plan is None else _figures(found.plan),
        "pools": []
        if found.pools is None
        else found.pools[["sequences", "mailboxes", "at_least"]].to_dict("records"),
    }


def _figures(plan: Plan) -> dict[str, Any]:
    totals = plan.summary().totals
    return {name: totals[name] for name in FIGURES}
