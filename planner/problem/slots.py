"""The standing slots: those that an earlier plan gave and that are still to be sent."""

import numpy as np
import pandas as pd

from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus


def slots_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Write rows of a problem's ``scheduled_emails`` as slots.

    Parameters
    ----------
    rows : DataFrame
        Canonical rows that have mailbox, day and time.

    Returns
    -------
    DataFrame
        enrollment_id, step_id, mailbox_id, send_day and send_at, as in ``Plan.sends``; in the
        order of the rows.
    """
    return pd.DataFrame(
        {
            "enrollment_id": rows["enrollment_id"].to_numpy(),
            "step_id": rows["step_id"].to_numpy(),
            "mailbox_id": rows["mailbox_id"].to_numpy(),
            "send_day": rows["send_day"].to_numpy().astype("datetime64[D]").astype("datetime64[s]"),
            "send_at": pd.DatetimeIndex(
                rows["send_at"].to_numpy().astype("datetime64[us]")
            ).tz_localize("UTC"),
        }
    )


def standing_rows(problem: Problem) -> np.ndarray:
    """Return the places of the rows with a slot that an earlier plan gave; ndarray of int."""
    return np.flatnonzero(has_slot(problem))


def has_slot(problem: Problem) -> np.ndarray:
    """Tell which rows have a slot that a plan gave; provisional rows have none."""
    rows = problem.scheduled_emails
    slot = (rows["status"] == EmailStatus.PENDING).to_numpy()
    for column in ("plan_run_id", "mailbox_id", "send_day", "send_at"):
        slot = slot & (rows[column] != NULL).to_numpy()
    return slot
