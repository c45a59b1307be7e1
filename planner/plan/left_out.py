"""Emails that a stored plan leaves out against hard rule Nothing left out."""

from dataclasses import replace

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.reading import email_numbers
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus

COLUMNS = ("enrollment_id", "step_id", "detail")


def left_out(problem: Problem, parameters: Parameters, now: int) -> pd.DataFrame:
    """Find emails without a slot that have no reason, or that have room.

    Chains of which no pending row has a slot or a reason wait for their first plan, and are left
    alone; so are provisional rows. Room is looked for with every slot as it is, on days whose
    window has not opened yet, and only where a mailbox's min_gap_seconds certainly leaves it.

    Parameters
    ----------
    problem : Problem
        The stored plan, as of the run that made it.
    parameters : Parameters
        Those of that run.
    now : int
        Microseconds since 1970-01-01 UTC from which room may be used.

    Returns
    -------
    DataFrame
        enrollment_id, step_id and detail of each such email.
    """
    instance = build_instance(problem)
    emails, chains = instance.emails, instance.chains
    rows = problem.scheduled_emails
    slotted, told = has_slot(problem), rows["unplaced_reason"].notna().to_numpy()
    pending = (rows["status"] == EmailStatus.PENDING).to_numpy()
    bare = pending & (rows["mailbox_id"] == NULL).to_numpy() & ~told
    email = email_numbers(instance, rows["enrollment_id"], rows["step_id"])
    known = email != NONE

    def marked(of_rows: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(emails), dtype=bool)
        mask[email[known & of_rows]] = True
        return mask

    planned = np.zeros(len(chains), dtype=bool)
    planned[emails.chain[marked(pending & (slotted | told))]] = True
    missing = ~marked(pending) & planned[emails.chain]
    slots = Placement.empty(instance)
    stands = marked(slotted)
    slots.day[stands] = emails.existing_day[stands]
    slots.mailbox[emails.chain[stands]] = emails.existing_mailbox[stands]
    roomy = _with_room(instance, limits_of(instance, parameters), slots, marked(told), now)
    enrollment_id = problem.enrollments["id"].to_numpy()[chains.enrollment[emails.chain]]
    step_id = problem.live_steps["id"].to_numpy()[instance.stages.step[emails.stage]]
    return pd.concat(
        [
            pd.DataFrame(
                {"enrollment_id": enrollment_id[mask], "step_id": step_id[mask], "detail": detail}
            )
            for mask, detail in (
                (missing, "the chain is planned without this email"),
                (marked(bare), "it has neither a slot nor a reason"),
                (roomy, "it is left out though it has room"),
            )
        ],
        ignore_index=True,
    )[list(COLUMNS)]


def _with_room(
    instance: Instance, limits: Limits, slots: Placement, told: np.ndarray, now: int
) -> np.ndarray:
    """Tell which emails, first of their chains without a slot, have room; bool, by email."""
    emails, chains, stages = instance.emails, instance.chains, instance.stages
    previous = np.where(emails.order > 0, np.roll(slots.day, 1), NONE)
    heads = np.flatnonzero(told & (slots.day == NONE) & ((emails.order == 0) | (previous != NONE)))
    result = np.zeros(len(emails), dtype=bool)
    if not len(heads):
        return result
    chain, stage = emails.chain[heads], emails.stage[heads]
    days = instance.windows.opens.shape[1]
    first = np.where(
        emails.order[heads] > 0,
        limits.release[stage, previous[heads]],
        limits.first_release[chain],
    )
    on = np.arange(days)
    window = chains.window[chain]
    fits = (on >= first[:, None]) & (on <= limits.last) & stages.sends[stage, :days]
    fits &= instance.windows.usable[window] & (instance.windows.opens[window] > now)
    fits &= ~_contact_busy(instance, limits, slots, chain)[:, :days]
    placed = np.flatnonzero(slots.day != NONE)
    used = np.zeros_like(limits.room)
    np.add.at(used, (slots.mailbox[emails.chain[placed]], slots.day[placed]), 1)
    begun = np.zeros_like(limits.new_room)
    starts = placed[stages.is_first[emails.stage[placed]]]
    np.add.at(begun, (stages.sequence[emails.stage[starts]], slots.day[starts]), 1)
    may_start = (limits.new_room - begun > 0)[stages.sequence[stage], :days]
    fits &= ~stages.is_first[stage][:, None] | may_start
    # Each email keeps others away for its gap on both sides, at most.
    shortest = (instance.windows.closes - instance.windows.opens).min(axis=0) // SECOND
    near = (used[:, :days] + instance.fleet.used) * 2 * instance.fleet.gap[:, None]
    free = (limits.room - used > 0)[:, :days]
    free &= (instance.fleet.gap[:, None] == 0) | (near < shortest)
    pooled = np.array([free[pool].any(axis=0) for pool in instance.fleet.pools], dtype=bool)
    sender = np.where(chains.mailbox[chain] != NONE, chains.mailbox[chain], slots.mailbox[chain])
    has_sender = (sender != NONE)[:, None]
    fits &= np.where(has_sender, free[sender], pooled[stages.sequence[stage]])
    result[heads] = fits.any(axis=1)
    return result


def _contact_busy(
    instance: Instance, limits: Limits, slots: Placement, chain: np.ndarray
) -> np.ndarray:
    """Tell on which days the contacts of some chains get another email; bool, by chain and day."""
    busy = limits.busy.copy()
    row = limits.shared[instance.emails.chain]
    placed = (slots.day != NONE) & (row != NONE)
    busy[row[placed], slots.day[placed]] = True
    return np.asarray(busy[limits.shared[chain]] & (limits.shared[chain] != NONE)[:, None])


def as_planned(problem: Problem) -> Problem:
    """Take emails for sent at their slots, as the plan did: a dispatcher's delay moves nothing.

    Parameters
    ----------
    problem : Problem
        With history.

    Returns
    -------
    Problem
        One whose sent emails left at ``send_at`` where they have one that lies before ``sent_at``.
    """
    rows = problem.scheduled_emails
    send_at, sent_at = rows["send_at"].to_numpy(), rows["sent_at"].to_numpy()
    later = (send_at != NULL) & (sent_at > send_at)
    return replace(problem, scheduled_emails=rows.assign(sent_at=np.where(later, send_at, sent_at)))
