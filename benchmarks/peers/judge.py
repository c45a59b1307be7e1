"""One judge for all: what a peer's slots cost and which rules they break, from the slots alone."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.objective import delays
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.checker import violations
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem

_EMAIL = ["enrollment_id", "step_id"]


@dataclass(frozen=True)
class Verdict:
    """What a plan is worth.

    Parameters
    ----------
    cost : float
        The objective (planner/README.md). An email without a slot counts as sent on the day
        after the plan's last.
    emails, late_follow_ups : int
        Emails with a slot, and follow-ups that slip or have none.
    broken : dict of str to int
        Breaches by rule; empty for a sound plan.
    """

    cost: float
    emails: int
    late_follow_ups: int
    broken: dict[str, int]


def judge(problem: Problem, sends: pd.DataFrame) -> Verdict:
    """Judge slots.

    Parameters
    ----------
    problem : Problem
        What was to be planned.
    sends : DataFrame
        enrollment_id, step_id, mailbox_id, send_day, and send_at where the peer decides minutes;
        otherwise they are spread evenly over the day (minutes, planner/README.md).

    Returns
    -------
    Verdict
        For any peer by the same functions that judge sendplan's own plans.
    """
    work = build_instance(problem)
    emails, chains = work.emails, work.chains
    ids = pd.MultiIndex.from_arrays(
        [
            problem.enrollments["id"].to_numpy()[chains.enrollment[emails.chain]],
            problem.live_steps["id"].to_numpy()[work.stages.step[emails.stage]],
        ]
    )
    placement = Placement.empty(work)
    email = ids.get_indexer(pd.MultiIndex.from_frame(sends[_EMAIL]))
    day = sends["send_day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    placement.day[email[email >= 0]] = day[email >= 0] - problem.horizon.origin
    end = int(placement.day.max(initial=1))
    each = delays(work, placement, end, Parameters())
    timed = sends if "send_at" in sends else sends.assign(send_at=_spread(problem, sends))
    broken = violations(problem, timed)["rule"].value_counts()
    return Verdict(
        cost=float(each.cost.sum()),
        emails=int((placement.day != NONE).sum()),
        late_follow_ups=int(each.late.sum()),
        broken={str(rule): int(count) for rule, count in broken.items()},
    )


def _spread(problem: Problem, sends: pd.DataFrame) -> pd.Series:
    """Return evenly spread times; all sequences must share one window, in UTC."""
    windows = problem.sequences[["start_time", "end_time", "timezone"]].drop_duplicates()
    if len(windows) != 1 or windows["timezone"].iloc[0] != "UTC":
        raise ValueError("times are spread over one window in UTC only: plan a plain instance")
    opens, closes = (int(windows[name].iloc[0]) for name in ("start_time", "end_time"))
    mailbox_day = sends.groupby(["mailbox_id", "send_day"])
    number, count = mailbox_day.cumcount(), mailbox_day["step_id"].transform("size")
    second = opens + number * (closes - opens) // count
    day: pd.Series = sends["send_day"].dt.tz_localize("UTC")
    return day + pd.to_timedelta(second, unit="s")
