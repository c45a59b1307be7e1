"""The record of runs: one row of ``plan_runs`` each."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from sendplan.planner.plan import Plan


def open_run(
    connection: Connection,
    plan: Plan,
    kind: str,
    started_at: dt.datetime,
    parameters: Mapping[str, Any],
    progress: Sequence[Mapping[str, Any]],
) -> int:
    """Enter a run that is about to be published.

    Parameters
    ----------
    connection : Connection
        The publishing transaction.
    plan : Plan
        The plan.
    kind : str
        What made it, one of `RUN_KINDS`.
    started_at : aware datetime
        When the run began, by the clock.
    parameters : mapping
        How it was planned.
    progress : sequence of mappings
        How cost and lower bound came closer.

    Returns
    -------
    int
        The run's id.
    """
    query = text(
        """
        INSERT INTO plan_runs
            (kind, started_at, as_of, method, status, cost, lower_bound, emails, unplaced, blocked,
             late_follow_ups, slip_days, moved, horizon_end, finish_day, parameters,
             stop_reason, progress)
        VALUES
            (:kind, :started_at, :as_of, :method, :status, :cost, :lower_bound, :emails, :unplaced,
             :blocked, :late_follow_ups, :slip_days, :moved, :horizon_end, :finish_day,
             :parameters, :stop_reason, :progress)
        RETURNING id
        """
    ).bindparams(bindparam("parameters", type_=JSONB), bindparam("progress", type_=JSONB))
    names = (
        "method",
        "status",
        "cost",
        "lower_bound",
        "blocked",
        "late_follow_ups",
        "slip_days",
        "moved",
        "horizon_end",
        "finish_day",
    )
    values = {name: getattr(plan, name) for name in names}
    values |= {"emails": len(plan.sends), "unplaced": len(plan.unplaced)}
    values |= {
        "kind": kind,
        "started_at": started_at,
        "as_of": plan.as_of,
        "parameters": dict(parameters),
    }
    values |= {"stop_reason": plan.stopped, "progress": [dict(step) for step in progress]}
    return int(connection.execute(query, values).scalar_one())


def close_run(
    connection: Connection,
    run_id: int,
    rows_changed: int,
    skipped: int,
    seconds: Mapping[str, float],
    *,
    finished: bool = True,
) -> None:
    """Enter what a run has written so far, and how long each phase took.

    Parameters
    ----------
    connection : Connection
        The publishing transaction.
    run_id : int
        The run.
    rows_changed, skipped : int
        Rows written, and rows left alone since they had changed.
    seconds : mapping of float
        By phase.
    finished : bool
        Whether that was all.
    """
    connection.execute(
        text(
            """
            UPDATE plan_runs
            SET finished_at = CASE WHEN :finished THEN clock_timestamp() END,
                rows_changed = :rows_changed, skipped = :skipped, seconds = CAST(:seconds AS jsonb)
            WHERE id = :run_id
            """
        ),
        {
            "run_id": run_id,
            "finished": finished,
            "rows_changed": rows_changed,
            "skipped": skipped,
            "seconds": json.dumps(dict(seconds)),
        },
    )
