"""Assembly: a placement and its minutes as a `Plan` of frames."""

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits, horizon_end
from sendplan.planner.model.objective import delays, moved
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema import dates
from sendplan.planner.schema.vocabulary import PlanStatus, Reason, Termination


def _usable_room(instance: Instance, end: int) -> np.ndarray:
    """Return the capacity of each mailbox from today to `end`, on days that its sequences send."""
    today = 1
    days = slice(today, end + 1)
    room = np.maximum(instance.fleet.capacity - instance.fleet.used, 0)[:, days]
    return np.asarray((room * instance.sends()[:, days]).sum(axis=1))


def assemble(
    instance: Instance,
    limits: Limits,
    parameters: Parameters,
    placement: Placement,
    at: np.ndarray,
    *,
    method: str,
    lower_bound: float | None,
    stopped: Termination | None,
    untenable: int,
) -> Plan:
    """Return a placement as a plan.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    placement : Placement
        Days and mailboxes.
    at : ndarray of int64, shape (emails,)
        Second at which each email leaves.
    method : str
        The method of the placement.
    lower_bound : float or None
        Lower bound on the cost of every plan.
    stopped : Termination or None
        Why the search ended.
    untenable : int
        Emails whose existing slot breaks a rule.

    Returns
    -------
    Plan
        The plan.
    """
    problem, emails, chains = instance.problem, instance.emails, instance.chains
    horizon = problem.horizon
    end = horizon_end(limits, parameters, placement.day)
    delay = delays(instance, placement, end, parameters)
    enrollment_id = problem.enrollments["id"].to_numpy()
    steps = problem.live_steps
    step_id, position = steps["id"].to_numpy(), steps["position"].to_numpy()
    sequence_id = problem.sequences["id"].to_numpy()
    mailbox_id = problem.mailboxes["id"].to_numpy()

    order = np.lexsort((np.arange(len(emails)), enrollment_id[chains.enrollment[emails.chain]]))
    ids = pd.DataFrame(
        {
            "enrollment_id": enrollment_id[chains.enrollment[emails.chain[order]]],
            "step_id": step_id[instance.stages.step[emails.stage[order]]],
        }
    )
    placed = placement.day[order] != NONE
    email = order[placed]
    sends = ids[placed].assign(
        position=position[instance.stages.step[emails.stage[email]]],
        mailbox_id=mailbox_id[placement.mailbox[emails.chain[email]]],
        send_day=dates.to_dates(placement.day[email] + horizon.origin).to_numpy(),
        send_at=dates.to_instants(at[email] * dates.SECOND).array,
    )
    left_out = order[~placed]
    after_gap = (emails.order[left_out] > 0) & (placement.day[left_out - 1] == NONE)
    no_room = ids[~placed].assign(
        reason=np.where(after_gap, str(Reason.BEHIND_UNPLACED), str(Reason.NO_ROOM)).astype(object)
    )
    blocked = pd.DataFrame(
        {
            "enrollment_id": enrollment_id[instance.blocked["enrollment"].to_numpy(dtype=np.int64)],
            "step_id": step_id[instance.blocked["step"].to_numpy(dtype=np.int64)],
            "reason": instance.blocked["reason"].map(str).astype(object),
        }
    )
    planned = np.bincount(placement.mailbox[emails.chain[email]], minlength=len(mailbox_id))
    capacity = pd.DataFrame(
        {
            "mailbox_id": mailbox_id,
            "email": problem.mailboxes["email"].to_numpy(),
            "planned": planned,
            "capacity": _usable_room(instance, end),
        }
    )
    delay_frame = ids.assign(
        sequence_id=sequence_id[instance.stages.sequence[emails.stage[order]]],
        lateness=delay.lateness[order],
        slip=delay.slip[order],
        late=delay.late[order],
        cost=delay.cost[order],
    )
    return Plan(
        sends=sends.reset_index(drop=True),
        unplaced=pd.concat([no_room, blocked], ignore_index=True),
        delays=delay_frame,
        method=method,
        status=_status(len(emails), float(delay.cost.sum()), lower_bound),
        lower_bound=lower_bound,
        stopped=stopped,
        horizon_end=dates.to_date(end + horizon.origin),
        as_of=problem.now_at,
        moved=int(moved(instance, placement).sum()),
        unavoidable=untenable,
        capacity=capacity,
        names=pd.Series(problem.sequences["name"].to_numpy(), index=sequence_id),
    )


def _status(emails: int, cost: float, lower_bound: float | None) -> PlanStatus:
    if not emails:
        return PlanStatus.EMPTY
    optimal = lower_bound is not None and lower_bound >= cost
    return PlanStatus.OPTIMAL if optimal else PlanStatus.FEASIBLE
