"""The records of runs: a row of ``plan_runs`` each, and one of ``plan_run_parts`` for each part.

A run is `publishing` from when it is opened until it ends; one that is planned part by part is
opened first. A transaction that publishes a part holds a share lock on that row: the next planner,
which ends open runs, waits for it, and parts that come later find the run ended.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from sendplan.io.database.planner_lock_key import lock_is_held
from sendplan.io.errors import SendplanError
from sendplan.io.publish.summaries import summary_from_json, summary_to_json
from sendplan.io.snapshot.requests import reach_of
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.summary import Summary

FIGURES = (
    "method",
    "status",
    "cost",
    "lower_bound",
    "emails",
    "unplaced",
    "blocked",
    "late_follow_ups",
    "slip_days",
    "moved",
    "horizon_end",
    "finish_day",
)
"""Columns of ``plan_runs`` that hold headline figures of `Summary`."""

OPEN = """
    INSERT INTO plan_runs (kind, started_at, as_of, parameters, progress, publishing)
    VALUES (:kind, :started_at, :as_of, :parameters, :progress, true)
    RETURNING id
"""

CLOSE = """
    UPDATE plan_runs
    SET finished_at = CASE WHEN :finished THEN clock_timestamp() END, publishing = :publishing,
        rows_changed = :rows_changed, skipped = :skipped, seconds = CAST(:seconds AS jsonb)
    WHERE id = :run_id
"""

ENTER = f"""
    UPDATE plan_runs
    SET {", ".join(f"{name} = :{name}" for name in FIGURES)}, stop_reason = :stop_reason
    WHERE id = :run_id
"""

GIVE_UP = "UPDATE plan_runs SET publishing = false WHERE publishing RETURNING id"

# In a statement of its own, which sees what was committed while the one before waited.
ENTER_PUBLISHED = """
    UPDATE plan_runs SET rows_changed = part.rows_changed, skipped = part.skipped
    FROM (SELECT run_id, sum((figures ->> 'rows_changed')::bigint) AS rows_changed,
                 sum((figures ->> 'skipped')::bigint) AS skipped
          FROM plan_run_parts WHERE run_id = ANY(:run_ids) GROUP BY run_id) AS part
    WHERE plan_runs.id = part.run_id
"""

END = "UPDATE plan_runs SET publishing = false WHERE id = :run_id AND publishing RETURNING id"

ENTER_PARTS = """
    UPDATE plan_runs SET parameters = parameters || jsonb_build_object('parts', :parts)
    WHERE id = :run_id
"""

HOLD = f"""
    SELECT publishing AND {lock_is_held(":planner")}
    FROM plan_runs WHERE id = :run_id FOR SHARE
"""

# Parts of ended runs are of no use; and the ids of runs may have been reset since.
FORGET_PARTS = "DELETE FROM plan_run_parts"

BEGIN_PART = "INSERT INTO plan_run_parts (run_id, part) VALUES (:run_id, :part)"

END_PART = """
    UPDATE plan_run_parts SET figures = CAST(:figures AS jsonb)
    WHERE run_id = :run_id AND part = :part
"""

PUBLISHED_SO_FAR = """
    SELECT coalesce(sum((figures ->> 'rows_changed')::bigint), 0),
           coalesce(sum((figures ->> 'skipped')::bigint), 0)
    FROM plan_run_parts WHERE run_id = :run_id
"""

PUBLISHED_PART = "SELECT figures FROM plan_run_parts WHERE run_id = :run_id AND part = :part"


@dataclass(frozen=True)
class Published:
    """The result of publishing.

    Parameters
    ----------
    run_id : int
        The row of ``plan_runs``.
    rows_changed : int
        Rows inserted or changed.
    skipped : int
        Rows left alone since they, or their enrollment, changed after the snapshot.
    """

    run_id: int
    rows_changed: int
    skipped: int


class Record(Protocol):
    """The record of a plan, written in the transactions that publish it."""

    def open(self, connection: Connection, plan: Plan) -> int:
        """Enter a plan before it is published; return the run's id."""

    def close(
        self, connection: Connection, plan: Plan, published: Published, *, finished: bool
    ) -> None:
        """Enter the rows written so far, and whether those are all."""


@dataclass(frozen=True)
class RunRecord:
    """A run that is published by itself.

    Parameters
    ----------
    kind : str
        One of `RUN_KINDS`.
    started_at : aware datetime
        When it began.
    parameters : mapping
        Planning parameters.
    seconds : mapping of float
        By phase.
    progress : sequence of mappings
        Steps of the search.
    """

    kind: str
    started_at: dt.datetime
    parameters: Mapping[str, Any]
    seconds: Mapping[str, float]
    progress: Sequence[Mapping[str, Any]] = ()

    def open(self, connection: Connection, plan: Plan) -> int:
        """Enter the run with the plan's figures."""
        run_id = _open(connection, self, plan.as_of)
        enter_figures(connection, run_id, plan.summary())
        return run_id

    def close(
        self, connection: Connection, plan: Plan, published: Published, *, finished: bool
    ) -> None:
        """Enter the rows written so far, and whether those are all."""
        close_run(connection, published, self.seconds, finished=finished, publishing=not finished)


class SupersededError(SendplanError):
    """The run has ended, or another planner has begun since."""


class OvertakenError(SendplanError):
    """Changes since the snapshot make the plan unsound; it takes a new snapshot."""


@dataclass(frozen=True)
class PartRecord:
    """One part of a run that is planned part by part.

    Parameters
    ----------
    run_id : int
        The run, which is open.
    part : int
        The part's number.
    planner : int or None
        The process of the server behind `sendplan.io.publish.planner_lock.PlannerSession`.
    sequence_ids : frozenset of int
        Its sequences, which share no mailbox with others.
    seconds : mapping of float
        By phase.
    """

    run_id: int
    part: int
    planner: int | None
    sequence_ids: frozenset[int]
    seconds: Mapping[str, float]

    def open(self, connection: Connection, plan: Plan) -> int:
        """Enter the part, unless another process publishes or has published it.

        Raises
        ------
        SupersededError
            If the run has ended.
        """
        values = {"run_id": self.run_id, "planner": self.planner}
        if not connection.scalar(text(HOLD), values):
            raise SupersededError(
                f"Run {self.run_id} has ended, or its planner has lost the session that holds the"
                f" planner's lock; its part {self.part} was dropped."
            )
        connection.execute(text(BEGIN_PART), {"run_id": self.run_id, "part": self.part})
        return self.run_id

    def close(
        self, connection: Connection, plan: Plan, published: Published, *, finished: bool
    ) -> None:
        """Enter the part's figures.

        Raises
        ------
        OvertakenError
            If a mailbox is shared with another part by now: both may use its capacity.
        """
        # Links hold still until the commit: publishing has locked the settings.
        if reach_of(connection, self.sequence_ids) != self.sequence_ids:
            raise OvertakenError("A sequence of another part was linked to a mailbox of this one.")
        figures = summary_to_json(plan.summary()) | {
            "rows_changed": published.rows_changed,
            "skipped": published.skipped,
            "seconds": dict(self.seconds),
        }
        values = {"run_id": self.run_id, "part": self.part, "figures": json.dumps(figures)}
        connection.execute(text(END_PART), values)


def published_part(
    connection: Connection, run_id: int, part: int
) -> tuple[Summary, Published, dict[str, float]] | None:
    """Return the figures of a published part; None if it is not published."""
    figures = connection.scalar(text(PUBLISHED_PART), {"run_id": run_id, "part": part})
    if figures is None:
        return None
    published = Published(run_id, figures["rows_changed"], figures["skipped"])
    return summary_from_json(figures), published, figures["seconds"]


def open_run(connection: Connection, record: RunRecord, as_of: dt.datetime) -> int:
    """Enter a run that will be published part by part, and return its id.

    Parameters
    ----------
    connection : Connection
        A transaction of its own.
    record : RunRecord
        The run.
    as_of : aware datetime
        The moment of planning.
    """
    run_id = _open(connection, record, as_of)
    connection.execute(text(FORGET_PARTS))
    return run_id


def give_up_runs(connection: Connection) -> None:
    """End the runs that earlier planners left open.

    Parameters
    ----------
    connection : Connection
        The session with the planner's lock. Waits for parts that are about to commit.
    """
    run_ids = list(connection.scalars(text(GIVE_UP)))
    if run_ids:
        connection.execute(text(ENTER_PUBLISHED), {"run_ids": run_ids})


def enter_parts(connection: Connection, run_id: int, parts: int) -> None:
    """Enter the number of parts of a run, replaced ones included."""
    connection.execute(text(ENTER_PARTS), {"run_id": run_id, "parts": parts})


def abandon_run(connection: Connection, run_id: int, seconds: Mapping[str, float]) -> None:
    """End a run before all its parts are published, with the rows that these wrote.

    A run that another planner has ended keeps the record of that one.

    Parameters
    ----------
    connection : Connection
        A transaction of its own. Waits for parts that are about to commit.
    run_id : int
        The run.
    seconds : mapping of float
        By phase.
    """
    if connection.scalar(text(END), {"run_id": run_id}) is None:
        return
    rows_changed, skipped = connection.execute(text(PUBLISHED_SO_FAR), {"run_id": run_id}).one()
    published = Published(run_id, int(rows_changed), int(skipped))
    close_run(connection, published, seconds, finished=False)


def _open(connection: Connection, record: RunRecord, as_of: dt.datetime) -> int:
    query = text(OPEN).bindparams(
        bindparam("parameters", type_=JSONB), bindparam("progress", type_=JSONB)
    )
    values = {
        "kind": record.kind,
        "started_at": record.started_at,
        "as_of": as_of,
        "parameters": dict(record.parameters),
        "progress": [dict(step) for step in record.progress],
    }
    return int(connection.execute(query, values).scalar_one())


def enter_figures(connection: Connection, run_id: int, summary: Summary) -> None:
    """Enter the headline figures of a plan.

    Parameters
    ----------
    connection : Connection
        The transaction that publishes or closes the run.
    run_id : int
        The run.
    summary : Summary
        The plan in figures.
    """
    values = {name: summary.totals[name] for name in FIGURES}
    values |= {"run_id": run_id, "stop_reason": summary.stopped}
    connection.execute(text(ENTER), values)


def close_run(
    connection: Connection,
    published: Published,
    seconds: Mapping[str, float],
    *,
    finished: bool,
    publishing: bool = False,
) -> None:
    """Enter the rows that a run has written so far, and the seconds of its phases.

    Parameters
    ----------
    connection : Connection
        The transaction that publishes or closes the run.
    published : Published
        The rows.
    seconds : mapping of float
        By phase.
    finished : bool
        Whether those are all.
    publishing : bool
        Whether more batches follow.
    """
    values = {
        "run_id": published.run_id,
        "finished": finished,
        "publishing": publishing,
        "rows_changed": published.rows_changed,
        "skipped": published.skipped,
        "seconds": json.dumps(dict(seconds)),
    }
    connection.execute(text(CLOSE), values)
