"""The parameters of the last plan, which recalculations and studies take over."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors
from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import DEFAULT_CHANGE_WEIGHT, DEFAULT_RECALC_LIMIT

STEADY = 0.1
"""By how much a repaired plan may widen the gap before a search for a new one."""

WIDEST = 0.99

LAST_PLAN = """
    SELECT as_of, cost, lower_bound, parameters FROM plan_runs
    WHERE kind = 'plan' AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1
"""


def recalc_parameters(
    engine: Engine, now: dt.datetime, given: Mapping[str, Any] | None = None
) -> Parameters:
    """Return the parameters of the last plan, with some of them overridden.

    The horizon ends on the same day. The gap, above which a new search pays, is that of the last
    plan and a little more: a recalculation repairs the loss from a change, not the gap of the
    nightly plan.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.
    given : mapping, optional
        Fields of `Parameters` that override the last plan's.

    Returns
    -------
    how : Parameters
        Valid as of `now`.

    Raises
    ------
    MethodError
        If a field is out of range.
    """
    with translated_errors("reading the last plan"), engine.connect() as connection:
        last = connection.execute(text(LAST_PLAN)).one_or_none()
    known: dict[str, Any] = {
        "time_limit": DEFAULT_RECALC_LIMIT,
        "change_weight": DEFAULT_CHANGE_WEIGHT,
        "gap": STEADY,
    }
    if last is not None:
        before = last.parameters or {}
        names = ("slip_weight", "one_a_day", "seed", "workers")
        known |= {name: before[name] for name in names if name in before}
        if before.get("horizon_days") is not None:
            end = last.as_of.astimezone(dt.UTC).date() + dt.timedelta(days=before["horizon_days"])
            left = (end - now.astimezone(dt.UTC).date()).days
            known["horizon_days"] = max(left, 0)
        if last.lower_bound is not None:
            known["gap"] += relative_gap(last.cost, last.lower_bound)
    known["gap"] = min(known["gap"], WIDEST)
    return Parameters(**(known | dict(given or {})))
