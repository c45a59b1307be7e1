"""The check of the stored plan, from the database alone."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors
from sendplan.io.snapshot.load import load
from sendplan.planner.plan.checker import violations
from sendplan.planner.problem.slots import slots_of, standing_rows
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
        See `sendplan.planner.plan.checker.violations`.
    """

    as_of: dt.datetime
    emails: int
    violations: pd.DataFrame

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``check --json`` prints: violations by rule."""
        found = self.violations.assign(send_day=self.violations["send_day"].dt.date)
        by_rule = {
            str(rule): rows.drop(columns="rule").to_dict("records")
            for rule, rows in found.groupby("rule", sort=False)
        }
        return {
            "as_of": self.as_of.isoformat(),
            "emails": self.emails,
            "count": len(self.violations),
            "violations": by_rule,
        }


RUNS = f"""
    SELECT id, as_of FROM plan_runs
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
        runs = {row.id: row.as_of for row in connection.execute(text(RUNS))}
        one_a_day = connection.scalar(text(CONTACT_RULE))
    as_of = min(runs.values(), default=now)
    problem = load(engine, as_of).problem(as_of)
    rows = problem.scheduled_emails.iloc[standing_rows(problem)]
    sends = slots_of(rows)
    found = violations(problem, sends, one_a_day=one_a_day is not False)
    # Each slot must lie after the moment of its own run, which may be later than the oldest.
    given = pd.to_datetime(rows["plan_run_id"].map(runs), utc=True)
    past = sends[sends["send_at"].to_numpy() < given.to_numpy()]
    past = past.assign(rule="past", detail="it lay in the past when it was planned")
    found = pd.concat([found[found["rule"] != "past"], past[found.columns]], ignore_index=True)
    return CheckResult(as_of, len(sends), found)
