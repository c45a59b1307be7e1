"""The standing slots: those that an earlier plan gave and that are still to be sent."""

import numpy as np
import pandas as pd

from sendplan.planner.model.mailbox_capacity import has_slot
from sendplan.planner.problem.problem import Problem


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
