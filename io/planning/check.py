"""The check of the stored plan, from the database alone."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors
from sendplan.io.snapshot.load import load
from sendplan.io.snapshot.requests import reach_of
from sendplan.io.snapshot.set_aside import UnusableValue, to_json
from sendplan.planner.plan.checker import violations
from sendplan.planner.plan.left_out import as_planned, left_out
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import slots_of, standing_rows
from sendplan.planner.schema.dates import to_microseconds
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus


@dataclass(frozen=True)
class CheckResult:
    """The result of `check`.

    Parameters
    ----------
    as_of : aware datetime
        The moment of planning of the oldest slot; slots are checked as of then.
    emails : int
        Slots that were checked.
    violations : DataFrame
        See `sendplan.planner.plan.checker.violations`; of the rule ``left_out``, and without a
        slot, those of `sendplan.planner.plan.left_out`.
    set_aside : tuple of UnusableValue
        Values that could not be used, see `sendplan.io.snapshot.set_aside`.
    """

    as_of: dt.datetime
    emails: int
    violations: pd.DataFrame
    set_aside: tuple[UnusableValue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``check --json`` prints: violations by rule."""
        found = self.violations.assign(send_day=self.violations["send_day"].dt.date)
        found = found.astype(object).where(found.notna(), None)
        by_rule = {
            str(rule): rows.drop(columns="rule").to_dict("records")
            for rule, rows in found.groupby("rule", sort=False)
        }
        return {
            "as_of": self.as_of.isoformat(),
            "emails": self.emails,
            "count": len(self.violations),
            "violations": by_rule,
            **to_json(self.set_aside),
        }


RUNS = f"""
    SELECT id, as_of, (parameters ->> 'horizon_days')::integer AS horizon_days FROM plan_runs
    WHERE as_of IS NOT NULL
      AND id IN (SELECT DISTINCT plan_run_id FROM scheduled_emails
                 WHERE status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL)
"""

CONTACT_RULE = """
    SELECT coalesce((parameters ->> 'one_a_day')::boolean, true)
    FROM plan_runs ORDER BY id DESC LIMIT 1
"""


def check(engine: Engine, now: dt.datetime) -> CheckResult:
    """Verify every hard rule on the stored slots.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment if no slot is stored.

    Returns
    -------
    CheckResult
        Without violations for a sound plan.
    """
    with translated_errors("reading the plan's moment"), engine.connect() as connection:
        listed = connection.execute(text(RUNS)).all()
        one_a_day = connection.scalar(text(CONTACT_RULE)) is not False
    runs = {row.id: row.as_of for row in listed}
    as_of = min(runs.values(), default=now)
    snapshot = load(engine, as_of)
    problem = as_planned(snapshot.problem(as_of))
    with translated_errors("finding what is queued"), engine.connect() as connection:
        requests = snapshot.requests
        reached = reach_of(connection, requests.sequence_ids, requests.mailbox_ids)
    rows = problem.scheduled_emails.iloc[standing_rows(problem)]
    sends = slots_of(rows)
    found = violations(problem, sends, one_a_day=one_a_day)
    found = found[~_awaited(problem, found, reached)]
    # Each slot must lie after the moment of its own run, which may be later than the oldest.
    given = pd.to_datetime(rows["plan_run_id"].map(runs), utc=True)
    past = sends[sends["send_at"].to_numpy() < given.to_numpy()]
    past = past.assign(rule="past", detail="the slot was in the past when it was planned")
    found = pd.concat([found[found["rule"] != "past"], past[found.columns]], ignore_index=True)
    horizon = min(
        (row.horizon_days for row in listed if row.horizon_days is not None), default=None
    )
    parameters = Parameters(horizon_days=horizon, one_a_day=one_a_day)
    out = left_out(problem, parameters, to_microseconds(now))
    out = out[~_of_sequences(problem, out, reached)].assign(rule="left_out")
    found = pd.concat([found, out], ignore_index=True).astype({"mailbox_id": "Int64"})
    return CheckResult(as_of, len(sends), found, snapshot.set_aside.values)


def _awaited(problem: Problem, found: pd.DataFrame, reached: frozenset[int]) -> np.ndarray:
    """Tell which violations only wait for a recalculation.

    An email that was not accepted, or did not leave, has lost its slot; those behind it keep theirs
    until the recalculation that is queued.
    """
    rows = problem.scheduled_emails
    lost = rows[(rows["status"] == EmailStatus.PENDING) & (rows["plan_run_id"] == NULL)]
    behind = found["enrollment_id"].isin(lost["enrollment_id"]).to_numpy()
    order = (found["rule"] == "order").to_numpy()
    return np.asarray(order & behind & _of_sequences(problem, found, reached))


def _of_sequences(problem: Problem, found: pd.DataFrame, reached: frozenset[int]) -> np.ndarray:
    sequence = problem.enrollments.set_index("id")["sequence_id"]
    return np.asarray(found["enrollment_id"].map(sequence).isin(reached).to_numpy())
