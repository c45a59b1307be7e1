"""Due slots: emails that a dispatcher is about to take are left to it."""

from dataclasses import replace

import pandas as pd

from sendplan.planner.plan.checker import violations
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import slots_of, standing_rows
from sendplan.planner.schema.vocabulary import EmailStatus


def hold_due(problem: Problem, since: int, until: int, *, one_a_day: bool = True) -> Problem:
    """Fix the emails whose time has just come or is about to come.

    They count as claimed: their chains are planned from there, and their rows are left alone. A
    slot that breaks a rule by now (its mailbox was removed, its window moved) is not fixed.

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
    broken = violations(before, slots, one_a_day=one_a_day)
    key = ["enrollment_id", "step_id"]
    bad = pd.MultiIndex.from_frame(slots[key]).isin(pd.MultiIndex.from_frame(broken[key]))
    status = rows["status"].to_numpy().copy()
    status[due[~bad]] = str(EmailStatus.CLAIMED)
    return replace(problem, scheduled_emails=rows.assign(status=status))
