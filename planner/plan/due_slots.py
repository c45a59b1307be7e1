"""Due slots: emails that a dispatcher is about to take are left to it."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sendplan.planner.plan.checker import violations
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import slots_of, standing_rows
from sendplan.planner.schema.vocabulary import EmailStatus

KEY = ["enrollment_id", "step_id"]


def hold_due(problem: Problem, since: int, until: int, *, one_a_day: bool = True) -> Problem:
    """Fix the emails whose time has just come or is about to come.

    They count as claimed: their chains are planned from there, and their rows are left alone. A
    slot that breaks a rule by now (its mailbox was removed, its window moved) is not held, nor is
    any behind it in its chain: the chain is planned anew from there.

    Parameters
    ----------
    problem : Problem
        With existing slots.
    since, until : int
        Microseconds since 1970-01-01 UTC: slots after `since` and up to `until` are fixed.
    one_a_day : bool
        Whether a contact may get one email a day at most.

    Returns
    -------
    Problem
        The same one if nothing is due.
    """
    rows = problem.scheduled_emails
    at = rows["send_at"].to_numpy()
    due = standing_rows(problem)
    due = due[(at[due] > since) & (at[due] <= until)]
    if not len(due):
        return problem
    slots = slots_of(rows.iloc[due])
    before = replace(problem, now=int(at[due].min()))
    sound = np.ones(len(due), dtype=bool)
    while sound.any():
        # Without a slot that breaks a rule, those behind it in its chain break the order of steps.
        broken = violations(before, slots[sound], one_a_day=one_a_day)
        if not len(broken):
            break
        bad = pd.MultiIndex.from_frame(broken[KEY])
        sound &= ~pd.MultiIndex.from_frame(slots[KEY]).isin(bad)
    status = rows["status"].to_numpy().copy()
    status[due[sound]] = str(EmailStatus.CLAIMED)
    return replace(problem, scheduled_emails=rows.assign(status=status))
