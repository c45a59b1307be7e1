"""The derivation of the ready day of an email."""

import datetime as dt
from dataclasses import replace

import numpy as np

from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.explain.facts import Ready
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema.dates import local_days, to_date
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import EmailStatus, WaitUnit

ONE_DAY = dt.timedelta(days=1)


def ready_facts(context: ExplanationContext, email: int) -> Ready | None:
    """Derive the ready day of an email.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    email : int
        The email.

    Returns
    -------
    Ready or None
        None behind an email without a slot.
    """
    ready = ready_day(context, email)
    if ready == NONE:
        return None
    if context.instance.emails.order[email] > 0:
        before = context.day[email - 1]
        step_id, position = context.step(email - 1)
        return _after(context, email, context.date(before), ready, (step_id, position, "planned"))
    return _at_first(context, email, ready)


def ready_day(context: ExplanationContext, email: int) -> int:
    """Return the ready day of an email, `NONE` behind one without a slot."""
    instance = context.instance
    if instance.emails.order[email] == 0:
        return int(instance.chains.ready[instance.emails.chain[email]])
    before = context.day[email - 1]
    return (
        NONE if before == NONE else int(instance.stages.ready[instance.emails.stage[email], before])
    )


def _at_first(context: ExplanationContext, email: int, ready: int) -> Ready:
    """Derive the ready day of the first email that a thread has still to send."""
    instance, state = context.instance, context.state
    chain = instance.emails.chain[email]
    place = int(instance.chains.enrollment[chain])
    previous = int(state.previous_day[place])
    if state.received_any[place] and previous != NULL:
        return _after(context, email, to_date(previous), ready, _received(context, place))
    enrolled_at = np.array([context.problem.enrollments["enrolled_at"].iloc[place]])
    enrolled = int(local_days(enrolled_at, str(state.zones[place]))[0])
    window = instance.chains.window[chain]
    last = context.problem.horizon.last
    index = min(max(enrolled - context.problem.horizon.origin, 0), last)
    after_hours = bool(enrolled_at[0] >= instance.windows.closes[window, index])
    since = to_date(enrolled)
    start = since + after_hours * ONE_DAY
    if state.received_any[place]:
        # When the step before left is unknown, so that the wait runs from the enrolment.
        return _after(context, email, start, ready, (None, None, None))
    return _floored(context, email, ready, "enrolment", since, start, after_hours=after_hours)


def _received(context: ExplanationContext, place: int) -> tuple[int | None, int | None, str | None]:
    """Return step, position and status of the newest email that an enrollment got."""
    rows = context.state.rows
    own = rows[(rows["enrollment"] == place).to_numpy()]
    if not len(own):
        step_id = int(context.problem.enrollments["current_step_id"].iloc[place])
        status = str(EmailStatus.SENT)
    else:
        step_id, status = int(own["step_id"].iloc[-1]), str(own["status"].iloc[-1])
    steps = context.problem.live_steps
    position = steps["position"].to_numpy()[(steps["id"] == step_id).to_numpy()]
    known = None if step_id == NULL else step_id
    return known, int(position[0]) if len(position) else None, status


def _after(
    context: ExplanationContext,
    email: int,
    since: dt.date,
    ready: int,
    previous: tuple[int | None, int | None, str | None],
) -> Ready:
    """Derive a ready day that a wait gives."""
    sequence = context.sequence(email)
    stage = context.instance.emails.stage[email]
    step = context.problem.live_steps.iloc[int(context.instance.stages.step[stage])]
    unit, wait = str(context.problem.sequences["wait_unit"].iloc[sequence]), int(step["wait_days"])
    counted = unit == WaitUnit.SENDING and wait > 0
    start = since + (ONE_DAY if counted else wait * ONE_DAY)
    found = _floored(
        context, email, ready, "previous", since, start, left=wait - 1 if counted else 0
    )
    step_id, position, state = previous
    return replace(
        found,
        previous_step_id=step_id,
        previous_position=position,
        previous_state=state,
        wait_days=wait,
        wait_unit=unit,
    )


def _floored(
    context: ExplanationContext,
    email: int,
    ready: int,
    since: str,
    since_day: dt.date,
    start: dt.date,
    *,
    left: int = 0,
    after_hours: bool = False,
) -> Ready:
    """Walk from a day to the ready day, and record the closed days between.

    `left` sending days are counted before the ready day. If the walk ends before the first usable
    day, that one decides.
    """
    sequence, day = context.sequence(email), context.date(ready)
    closed: list[tuple[dt.date, str]] = []
    at = start
    while at < day:
        why = context.why_closed(sequence, at)
        if why is not None:
            closed.append((at, why))
        elif left:
            left -= 1
        else:
            break
        at += ONE_DAY
    if at == day and not left:
        return Ready(day, since, since_day, after_hours, closed=tuple(closed))
    # The wait was over, or the enrolment was, before the first day that could still be used.
    window = context.instance.chains.window[context.instance.emails.chain[email]]
    first = context.date(int(context.instance.windows.first_day[window]))
    behind = [first + number * ONE_DAY for number in range((day - first).days)]
    reasons = [(date, context.why_closed(sequence, date) or "") for date in behind]
    return Ready(day, "now", since_day, after_hours, closed=tuple(reasons))
