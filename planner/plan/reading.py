"""The slots of a plan read back as a placement."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.readers import microseconds
from sendplan.planner.schema.wording import counted


@dataclass(frozen=True)
class ReadPlan:
    """A plan as a placement.

    Parameters
    ----------
    placement : Placement
        Days and mailboxes.
    at : ndarray of int64, shape (emails,)
        Second at which each email leaves, `NONE` where it has no slot.
    """

    placement: Placement
    at: np.ndarray


def email_numbers(
    instance: Instance, enrollment_id: np.ndarray | pd.Series, step_id: np.ndarray | pd.Series
) -> np.ndarray:
    """Find emails of an instance by their ids.

    Parameters
    ----------
    instance : Instance
        The instance.
    enrollment_id, step_id : array of int, shape (rows,)
        Pairs of ids.

    Returns
    -------
    ndarray of int, shape (rows,)
        Indices in ``instance.emails``, `NONE` where an email is not among them.
    """
    problem, emails, chains = instance.problem, instance.emails, instance.chains
    enrollment = pd.Index(problem.enrollments["id"]).get_indexer(enrollment_id)
    step = pd.Index(problem.live_steps["id"]).get_indexer(step_id)
    width = len(problem.live_steps) + 1
    key = chains.enrollment[emails.chain] * width + instance.stages.step[emails.stage]
    wanted = np.where((enrollment >= 0) & (step >= 0), enrollment * width + step, NONE)
    return np.asarray(pd.Index(key).get_indexer(wanted))


def read_plan(instance: Instance, sends: pd.DataFrame) -> ReadPlan:
    """Read slots as a placement.

    Parameters
    ----------
    instance : Instance
        The instance that was planned.
    sends : DataFrame
        ``Plan.sends``.

    Raises
    ------
    ValueError
        If a slot belongs to no email of the instance: the plan is of another problem.
    """
    email = email_numbers(instance, sends["enrollment_id"], sends["step_id"])
    lost = email == NONE
    if lost.any():
        row = sends[lost].iloc[0]
        raise ValueError(
            f"the plan has {counted(int(lost.sum()), 'slot')} without an email to plan, such as"
            f" enrollment {row['enrollment_id']}, step {row['step_id']}; pass the problem that the"
            " plan was made for"
        )
    placement = Placement.empty(instance)
    day = sends["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    placement.day[email] = day - instance.problem.horizon.origin
    mailbox = pd.Index(instance.problem.mailboxes["id"]).get_indexer(sends["mailbox_id"])
    placement.mailbox[instance.emails.chain[email]] = mailbox
    at = np.full(len(instance.emails), NONE, dtype=np.int64)
    at[email] = microseconds(sends["send_at"]) // SECOND
    return ReadPlan(placement, at)
