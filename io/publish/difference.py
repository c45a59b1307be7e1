"""The difference between a plan and the rows of its snapshot."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sendplan.io.snapshot.pending_queries import OTHER_REASON, REASONS
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.ended import obsolete
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus

SLOT_KINDS = {
    "mailbox_id": "bigint",
    "send_day": "date",
    "send_at": "timestamptz",
    "reason": "smallint",
}
KEY_KINDS = {"enrollment_id": "bigint", "step_id": "bigint"}
OLD_KINDS = {
    "old_mailbox_id": "bigint",
    "old_send_day": "date",
    "old_send_at": "timestamptz",
    "old_plan_run_id": "bigint",
}
CHANGE_KINDS = {"id": "bigint"} | KEY_KINDS | SLOT_KINDS | OLD_KINDS | {"cancelled": "smallint"}


def difference(problem: Problem, plan: Plan) -> pd.DataFrame:
    """Compare a plan with the rows of the snapshot it was made from.

    Parameters
    ----------
    problem : Problem
        With the snapshot's scheduled_emails.
    plan : Plan
        The plan.

    Returns
    -------
    DataFrame
        One row for each email whose row is inserted or changed, in order of enrollment and step,
        all int64: id (`NULL` for a new row), enrollment_id, step_id, the slot (mailbox_id,
        send_day, send_at and the number of a reason; `NULL` and 0 if missing), the stored values
        under ``old_…``, and whether the row is ``cancelled``.
    """
    rows = problem.scheduled_emails
    pending = (rows["status"] == EmailStatus.PENDING).to_numpy()
    reason_number = {reason: number for number, reason in enumerate(REASONS, 1)}
    current = pd.DataFrame(
        {
            "id": rows["id"],
            "enrollment_id": rows["enrollment_id"],
            "step_id": rows["step_id"],
            "old_mailbox_id": rows["mailbox_id"],
            "old_send_day": rows["send_day"],
            "old_send_at": rows["send_at"],
            "old_plan_run_id": rows["plan_run_id"],
            "old_reason": rows["unplaced_reason"]
            .map(reason_number)
            .fillna(OTHER_REASON)
            .where(rows["unplaced_reason"].notna(), 0)
            .astype("int64"),
            "cancelled": obsolete(problem).astype("int64"),
        }
    )[pending]
    wanted = _wanted(plan, reason_number)
    key = list(KEY_KINDS)
    both = current.merge(wanted, on=key, how="outer", indicator="found")
    both = both.fillna({"cancelled": 0})
    for column in SLOT_KINDS:
        both[column] = both[column].fillna(0 if column == "reason" else NULL).astype("int64")
    new = (both["found"] == "right_only").to_numpy()
    both = both.fillna({"id": NULL, **dict.fromkeys(OLD_KINDS, NULL)}).fillna({"old_reason": 0})
    both = both.astype(dict.fromkeys([*CHANGE_KINDS, "old_reason"], "int64"))
    planned = (both["mailbox_id"] != NULL).to_numpy()
    differs = new | (both["cancelled"] == 1).to_numpy()
    for column in SLOT_KINDS:
        differs = differs | (both[column] != both[f"old_{column}"]).to_numpy()
    differs = differs | (planned != (both["old_plan_run_id"] != NULL).to_numpy())
    changed: pd.DataFrame = both.loc[differs, list(CHANGE_KINDS)]
    return changed.reset_index(drop=True)


def _wanted(plan: Plan, reason_number: Mapping[str, int]) -> pd.DataFrame:
    """Return the slot or reason of each email of the plan."""
    sends, unplaced = plan.sends, plan.unplaced
    day = sends["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    at = sends["send_at"].dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    empty = np.full(len(unplaced), NULL)
    return pd.DataFrame(
        {
            "enrollment_id": np.append(sends["enrollment_id"], unplaced["enrollment_id"]),
            "step_id": np.append(sends["step_id"], unplaced["step_id"]),
            "mailbox_id": np.append(sends["mailbox_id"], empty),
            "send_day": np.append(day, empty),
            "send_at": np.append(at, empty),
            "reason": np.append(
                np.zeros(len(sends), np.int64), unplaced["reason"].map(reason_number)
            ),
        }
    ).astype("int64")
