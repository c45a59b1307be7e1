"""What has come to its end: rows that will never be sent, and enrollments with nothing left."""

import numpy as np
import pandas as pd

from sendplan.planner.problem.enrollment_state import enrollment_state
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import HOLDING_UP, EmailStatus, EnrollmentStatus


def obsolete(problem: Problem) -> np.ndarray:
    """Tell which pending rows will never be sent, and are cancelled (life cycle).

    Parameters
    ----------
    problem : Problem
        With its scheduled_emails.

    Returns
    -------
    ndarray of bool, shape (rows of scheduled_emails,)
        True for pending rows of enrollments that have ended, of suppressed contacts, behind a
        failed email, and of steps that were removed or that the contact has received or passed.
        What is left waits: its sequence is paused, or the plan speaks of it.
    """
    rows = problem.scheduled_emails
    people = problem.enrollments
    state = enrollment_state(problem)
    steps = problem.live_steps
    enrollment = pd.Index(people["id"]).get_indexer(rows["enrollment_id"])
    step = pd.Index(steps["id"]).get_indexer(rows["step_id"])
    known = (enrollment >= 0) & (step >= 0)
    ordinal = steps.groupby("sequence_id").cumcount().to_numpy()
    due = np.zeros(len(rows), dtype=bool)
    due[known] = (state.remaining[enrollment[known]] >> ordinal[step[known]]) & 1 == 1
    going = (
        (people["status"] == EnrollmentStatus.ACTIVE).to_numpy()
        & (people["suppressed_at"] == NULL).to_numpy()
        & ~state.failed
    )
    due[known] &= going[enrollment[known]]
    sequence_id = people["sequence_id"].to_numpy()[enrollment[known]]
    due[known] &= steps["sequence_id"].to_numpy()[step[known]] == sequence_id
    pending = (rows["status"] == EmailStatus.PENDING).to_numpy()
    return np.asarray(pending & (enrollment >= 0) & ~due)


def finished(problem: Problem) -> np.ndarray:
    """Tell which enrollments have come to their end: nothing remains (life cycle).

    Parameters
    ----------
    problem : Problem
        With its history.

    Returns
    -------
    ndarray of int64
        Ids of active enrollments that have received all that their sequence has left for them, or
        whose sequence has had steps and lost them all. As long as an email is in flight, or its
        fate uncertain, nothing has ended; a failed one ends the enrollment otherwise.
    """
    people, state = problem.enrollments, enrollment_state(problem)
    rows = problem.scheduled_emails
    open_rows = rows["status"].isin(HOLDING_UP)
    waits = people["id"].isin(rows["enrollment_id"][open_rows])
    over = (
        (people["status"] == EnrollmentStatus.ACTIVE)
        & (people["suppressed_at"] == NULL)
        & people["sequence_id"].isin(problem.steps["sequence_id"])
        & (state.remaining == 0)
        & ~waits
    )
    return np.asarray(people["id"].to_numpy()[over.to_numpy()])
