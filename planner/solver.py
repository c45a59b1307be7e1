"""The facade: a problem in, a plan out."""

import numpy as np
import pandas as pd

from sendplan.planner import dates
from sendplan.planner.components import components
from sendplan.planner.contacts import clashes
from sendplan.planner.existing import kept_placement
from sendplan.planner.filling import fill
from sendplan.planner.fitting import fit
from sendplan.planner.objective import delays
from sendplan.planner.parameters import Parameters
from sendplan.planner.placement import Placement, Room, insert
from sendplan.planner.plan import Plan
from sendplan.planner.problem import Problem
from sendplan.planner.rules import Rules, rules
from sendplan.planner.stages import NONE
from sendplan.planner.vocabulary import Reason
from sendplan.planner.workload import Workload, workload


def solve(
    problem: Problem,
    method: str = "auto",
    time_limit: float = Parameters.time_limit,
    *,
    horizon_days: int | None = None,
    slip_weight: float = Parameters.slip_weight,
    one_a_day: bool = True,
    seed: int = 0,
) -> Plan:
    """Plan all pending emails of a problem.

    Parameters
    ----------
    problem : Problem
        What must be planned.
    method : str
        ``"greedy"``, or ``"auto"`` for the best there is.
    time_limit : float
        Seconds for improving the plan.
    horizon_days : int, optional
        Last day that may be used, in days after today's UTC date; without it the horizon is as
        long as it must be, 366 days at most.
    slip_weight : float
        What a day of slip of a follow-up costs, in days of lateness.
    one_a_day : bool
        Whether a contact gets at most one email a day.
    seed : int
        Seed of whatever the method draws.

    Returns
    -------
    Plan
        The same for the same input.

    Raises
    ------
    MethodError
        If the method or a parameter does not exist or is out of range.
    """
    return plan_with(
        problem, Parameters(method, time_limit, horizon_days, slip_weight, one_a_day, seed)
    )


def plan_with(problem: Problem, parameters: Parameters) -> Plan:
    """Plan all pending emails of a problem, with parameters as one value; see `solve`."""
    work = workload(problem)
    allowed = rules(work, parameters)
    placement, at = _best(work, allowed, parameters)
    return _plan(work, allowed, parameters, placement, at)


def _best(work: Workload, allowed: Rules, parameters: Parameters) -> tuple[Placement, np.ndarray]:
    """Return the cheaper of a fresh plan and the existing one carried on, component by component.

    On a tie the existing one stays, since it moves fewer emails.
    """
    fresh, fresh_at = _complete(work, allowed, Placement.empty(work), parameters)
    existing = kept_placement(work, allowed)
    if existing is None:
        return fresh, fresh_at
    kept, kept_at = _complete(work, allowed, existing, parameters)
    component = components(work)
    cost = np.zeros((2, int(component.max(initial=0)) + 1))
    end = _end(allowed, parameters, np.append(fresh.day, kept.day))
    for row, placement in enumerate((kept, fresh)):
        each = delays(work, placement, end, parameters.slip_weight).cost
        np.add.at(cost[row], component[work.emails.chain], each)
    better = cost[1] < cost[0] * (1 - 1e-9) - 1e-9
    swap = better[component]
    swap_email = swap[work.emails.chain]
    best = Placement(
        np.where(swap_email, fresh.day, kept.day), np.where(swap, fresh.mailbox, kept.mailbox)
    )
    return best, np.where(swap_email, fresh_at, kept_at)


def _complete(
    work: Workload, allowed: Rules, placement: Placement, parameters: Parameters
) -> tuple[Placement, np.ndarray]:
    """Fill up a placement, mend what counts cannot see, give times.

    The minutes come before any comparison: min_gap_seconds may still move emails.
    """
    fixed = placement.day != NONE
    fill(work, allowed, placement, parameters.slip_weight)
    placement.cut(work, clashes(work, allowed, placement, fixed))
    insert(work, allowed, placement, Room.beside(work, allowed, placement))
    return placement, fit(work, allowed, placement)


def _end(allowed: Rules, parameters: Parameters, day: np.ndarray) -> int:
    """Return the horizon's last day: the given one, or the last one needed (SPEC §5)."""
    if parameters.horizon_days is not None:
        return allowed.last
    today = 1
    return int(day.max()) if (day != NONE).any() else today


def _usable_room(work: Workload, end: int) -> np.ndarray:
    """Return each mailbox's room from today to `end`, on days that its sequences may send."""
    today = 1
    days = slice(today, end + 1)
    room = np.maximum(work.fleet.capacity - work.fleet.used, 0)[:, days]
    sends = np.zeros(room.shape, dtype=bool)
    for sequence, stage in zip(*np.unique(work.stages.sequence, return_index=True), strict=True):
        sends[work.fleet.pools[sequence]] |= work.stages.sends[stage, days]
    return np.asarray((room * sends).sum(axis=1))


def _plan(
    work: Workload,
    allowed: Rules,
    parameters: Parameters,
    placement: Placement,
    at: np.ndarray,
) -> Plan:
    problem, emails, chains = work.problem, work.emails, work.chains
    horizon = problem.horizon
    end = _end(allowed, parameters, placement.day)
    delay = delays(work, placement, end, parameters.slip_weight)
    enrollment_id = problem.enrollments["id"].to_numpy()
    steps = problem.live_steps
    step_id, position = steps["id"].to_numpy(), steps["position"].to_numpy()
    sequence_id = problem.sequences["id"].to_numpy()
    mailbox_id = problem.mailboxes["id"].to_numpy()

    order = np.lexsort((np.arange(len(emails)), enrollment_id[chains.enrollment[emails.chain]]))
    ids = pd.DataFrame(
        {
            "enrollment_id": enrollment_id[chains.enrollment[emails.chain[order]]],
            "step_id": step_id[work.stages.step[emails.stage[order]]],
        }
    )
    placed = placement.day[order] != NONE
    email = order[placed]
    sends = ids[placed].assign(
        position=position[work.stages.step[emails.stage[email]]],
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
            "enrollment_id": enrollment_id[work.blocked["enrollment"].to_numpy(dtype=np.int64)],
            "step_id": step_id[work.blocked["step"].to_numpy(dtype=np.int64)],
            "reason": work.blocked["reason"].map(str).astype(object),
        }
    )
    had_slot = emails.existing_at != np.iinfo(np.int64).min
    stays = (emails.existing_day == placement.day) & (
        emails.existing_mailbox == placement.mailbox[emails.chain]
    )
    planned = np.bincount(placement.mailbox[emails.chain[email]], minlength=len(mailbox_id))
    capacity = pd.DataFrame(
        {
            "mailbox_id": mailbox_id,
            "email": problem.mailboxes["email"].to_numpy(),
            "planned": planned,
            "capacity": _usable_room(work, end),
        }
    )
    delay_frame = ids.assign(
        sequence_id=sequence_id[work.stages.sequence[emails.stage[order]]],
        lateness=delay.lateness[order],
        slip=delay.slip[order],
        late=delay.late[order],
        cost=delay.cost[order],
    )
    return Plan(
        sends=sends.reset_index(drop=True),
        unplaced=pd.concat([no_room, blocked], ignore_index=True),
        delays=delay_frame,
        method="greedy",
        status="feasible" if len(emails) else "empty",
        lower_bound=None,
        horizon_end=dates.to_date(end + horizon.origin),
        as_of=problem.now_at,
        moved=int((had_slot & ~stays).sum()),
        capacity=capacity,
        names=pd.Series(problem.sequences["name"].to_numpy(), index=sequence_id),
    )
