"""Explanations: why an email leaves on its day, from its mailbox, at its minute, or not at all."""

from typing import Any

import numpy as np
import pandas as pd

from sendplan.planner.changes.rows import row_of
from sendplan.planner.explain.alternatives import Alternatives, SlotOption
from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.explain.day_facts import Days
from sendplan.planner.explain.facts import DayBetween, Exchange, Move, Ready, SenderChoice
from sendplan.planner.explain.minute_facts import minute_facts
from sendplan.planner.explain.ready_facts import ready_day, ready_facts
from sendplan.planner.explain.texts import Explanation
from sendplan.planner.explain.unplaced_facts import obstruction
from sendplan.planner.model.limits import horizon_end
from sendplan.planner.model.objective import delays
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.reading import email_numbers
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import SECOND
from sendplan.planner.schema.vocabulary import Reason

EXCHANGES = 5
"""Full days for which exchanges with another email are tried."""


def explain(
    problem: Problem,
    plan: Plan,
    enrollment_id: int,
    step_id: int,
    *,
    horizon_days: int | None = None,
    slip_weight: float = Parameters.slip_weight,
    one_a_day: bool = True,
) -> Explanation:
    """Explain why an email leaves on its day, from its mailbox, at its minute, or not at all.

    Parameters
    ----------
    problem : Problem
        The problem.
    plan : Plan
        A plan of it.
    enrollment_id, step_id : int
        The email.
    horizon_days, slip_weight, one_a_day
        Parameters of the plan, see `sendplan.solve`.

    Returns
    -------
    Explanation
        Facts; printed, a few paragraphs.

    Raises
    ------
    ValueError
        If the problem has no such enrollment, or its sequence no such step.
    """
    parameters = Parameters(
        "greedy", horizon_days=horizon_days, slip_weight=slip_weight, one_a_day=one_a_day
    )
    unplaced = plan.unplaced
    own = (unplaced["enrollment_id"] == enrollment_id) & (unplaced["step_id"] == step_id)
    reason = str(unplaced["reason"][own].iloc[0]) if own.any() else None
    return explain_slots(problem, plan.sends, enrollment_id, step_id, parameters, reason)


def explain_slots(
    problem: Problem,
    sends: pd.DataFrame,
    enrollment_id: int,
    step_id: int,
    parameters: Parameters,
    reason: str | None,
) -> Explanation:
    """Explain slots that are not those of a `Plan`, such as stored ones.

    Parameters
    ----------
    problem, sends
        The problem, and slots as in ``Plan.sends``.
    enrollment_id, step_id : int
        The email.
    parameters : Parameters
        Planning parameters.
    reason : str or None
        Reason of the plan if the email has no slot; None if no plan has seen it.
    """
    context = ExplanationContext(problem, sends, parameters)
    _require(problem, enrollment_id, step_id)
    email = int(email_numbers(context.instance, np.array([enrollment_id]), np.array([step_id]))[0])
    if email == NONE or context.day[email] == NONE:
        return _without_slot(context, enrollment_id, step_id, email, reason)
    return _with_slot(context, email)


def _require(problem: Problem, enrollment_id: int, step_id: int) -> None:
    """Refuse an email that is not in the problem."""
    here = problem.enrollments[(problem.enrollments["id"] == enrollment_id).to_numpy()]
    if not len(here):
        raise ValueError(f"enrollment {enrollment_id} is not in the problem; look up its id")
    steps = problem.steps[(problem.steps["id"] == step_id).to_numpy()]
    sequence_id = int(here["sequence_id"].iloc[0])
    if not len(steps) or int(steps["sequence_id"].iloc[0]) != sequence_id:
        raise ValueError(
            f"step {step_id} is not one of sequence {sequence_id}, in which enrollment"
            f" {enrollment_id} is"
        )


def _with_slot(context: ExplanationContext, email: int) -> Explanation:
    instance = context.instance
    chain, day = int(instance.emails.chain[email]), int(context.day[email])
    mailbox = int(context.mailbox[chain])
    of_chain = slice(int(instance.chains.offset[chain]), int(instance.chains.offset[chain + 1]))
    complete = bool((context.day[of_chain] != NONE).all())
    alternatives = Alternatives(context, email) if complete else None
    ready = ready_day(context, email)
    days = Days(context, email, alternatives).between(ready, day) if ready != NONE else ()
    end = horizon_end(context.limits, context.parameters, context.day)
    delay = delays(instance, context.placement, end, context.parameters)
    sender = _sender(context, email, alternatives)
    step_id, _ = context.step(email)
    return Explanation(
        **_identity(context, context.enrollment_id(email), step_id, email),
        state="planned",
        mailbox_id=sender.mailbox_id,
        mailbox=context.mailbox_name(mailbox),
        send_day=context.date(day),
        send_at=context.moment(int(context.second[email]) * SECOND),
        lateness=int(delay.lateness[email]),
        slip=int(delay.slip[email]),
        cost=float(delay.cost[email]),
        ready=ready_facts(context, email),
        days=days,
        sender=sender,
        exchange=_exchange(context, alternatives, days) if alternatives is not None else None,
        minute=minute_facts(context, email),
        names=_names(context, email),
    )


def _identity(
    context: ExplanationContext, enrollment_id: int, step_id: int, email: int
) -> dict[str, Any]:
    """Return the fields of an explanation that identify the email."""
    problem = context.problem
    place = row_of(problem.enrollments, "enrollment", enrollment_id)
    sequence_id = int(problem.enrollments["sequence_id"].iloc[place])
    sequence = row_of(problem.sequences, "sequence", sequence_id)
    steps = problem.live_steps
    position = steps["position"].to_numpy()[(steps["id"] == step_id).to_numpy()]
    follow_up = bool(context.state.received_any[place])
    if email != NONE:
        follow_up = not context.instance.stages.is_first[context.instance.emails.stage[email]]
    return {
        "enrollment_id": enrollment_id,
        "step_id": step_id,
        "sequence_id": sequence_id,
        "position": int(position[0]) if len(position) else None,
        "sequence": context.sequence_name(sequence),
        "follow_up": follow_up,
        "timezone": str(context.state.zones[place]),
    }


def _names(context: ExplanationContext, email: int) -> dict[int, str]:
    """Return the names of the mailboxes of an explanation, by id."""
    pool = context.instance.fleet.pools[context.sequence(email)].tolist()
    own = int(context.mailbox[context.instance.emails.chain[email]])
    places = {*pool, own} - {NONE}
    ids = context.problem.mailboxes["id"].to_numpy()
    return {int(ids[place]): context.mailbox_name(place) for place in sorted(places)}


def _sender(
    context: ExplanationContext, email: int, alternatives: Alternatives | None
) -> SenderChoice:
    instance = context.instance
    chain = int(instance.emails.chain[email])
    ids = context.problem.mailboxes["id"].to_numpy()
    mailbox = int(context.mailbox[chain])
    own = int(ids[mailbox])
    if instance.chains.mailbox[chain] != NONE:
        return SenderChoice(own, "bound")
    if len(instance.fleet.pools[context.sequence(email)]) == 1:
        return SenderChoice(own, "only")
    if instance.emails.order[email] > 0:
        return SenderChoice(own, "thread")
    others: list[tuple[int, float | None]] = []
    if alternatives is not None:
        least = alternatives.costs.min(axis=1)
        for other, cost in zip(alternatives.mailboxes.tolist(), least.tolist(), strict=True):
            if other != mailbox:
                others.append((int(ids[other]), round(cost, 6) if np.isfinite(cost) else None))
        others.sort(key=lambda each: (each[1] is None, each[1] or 0.0, each[0]))
    return SenderChoice(own, "chosen", tuple(others))


def _exchange(
    context: ExplanationContext, alternatives: Alternatives, days: tuple[DayBetween, ...]
) -> Exchange | None:
    """Return the cheapest exchange with one other email on the first full days."""
    crowded = [
        day.day
        for day in days
        if day.obstacles and set(day.obstacles) <= {"full", "min_gap", "max_new"}
    ][:EXCHANGES]
    best: tuple[SlotOption, int, int] | None = None
    best_day = None
    for date in crowded:
        index = context.index(date)
        found = alternatives.in_exchange(index)
        if found is not None and (best is None or found[0].cost < best[0].cost - 1e-9):
            best, best_day = found, date
    if best is None or best_day is None:
        return None
    slots, other, might_yield = best
    moves = {
        int(email): _move(context, int(email), int(mailbox), int(day))
        for email, mailbox, day in zip(slots.email, slots.mailbox, slots.day, strict=True)
    }
    if other not in moves:
        return None
    return Exchange(
        day=best_day,
        yields=moves[other],
        cost=round(slots.cost, 6),
        moves=tuple(moves.values()),
        might_yield=might_yield,
        days_tried=tuple(crowded),
    )


def _move(context: ExplanationContext, email: int, mailbox: int, day: int) -> Move:
    ids = context.problem.mailboxes["id"].to_numpy()
    step_id, position = context.step(email)
    return Move(
        enrollment_id=context.enrollment_id(email),
        step_id=step_id,
        position=position,
        sequence=context.sequence_name(context.sequence(email)),
        from_day=context.date(int(context.day[email])),
        to_day=context.date(day),
        from_mailbox_id=int(ids[context.mailbox[context.instance.emails.chain[email]]]),
        to_mailbox_id=int(ids[mailbox]),
    )


def _without_slot(
    context: ExplanationContext, enrollment_id: int, step_id: int, email: int, reason: str | None
) -> Explanation:
    """Explain why an email is not planned, with a remedy."""
    found = obstruction(context, enrollment_id, step_id, email, reason)
    ready: Ready | None = None
    days: tuple[DayBetween, ...] = ()
    if email != NONE:
        ready = ready_facts(context, email)
        if found.reason == Reason.NO_ROOM:
            begin, end = ready_day(context, email), context.limits.last + 1
            days = Days(context, email, None).between(begin, end)
    return Explanation(
        **_identity(context, enrollment_id, step_id, email),
        state=found.state,
        reason=found.reason,
        why=found.text,
        remedy=found.remedy,
        ready=ready,
        days=days,
        names=found.names if email == NONE else _names(context, email),
    )
