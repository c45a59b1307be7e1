"""Why an email leaves at its minute."""

import numpy as np

from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.explain.facts import Minute
from sendplan.planner.placing.send_times import evenly_spread
from sendplan.planner.schema.dates import SECOND


def minute_facts(context: ExplanationContext, email: int) -> Minute:
    """Find an email's place among those of its mailbox and day.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    email : int
        An email with a slot.
    """
    instance = context.instance
    chain = instance.emails.chain
    mailbox, day = int(context.mailbox[chain[email]]), int(context.day[email])
    there = np.flatnonzero((context.day == day) & (context.mailbox[chain] == mailbox))
    at = context.second[there]
    there = there[np.lexsort((there, at))]
    number = int(np.flatnonzero(there == email)[0])
    window = instance.chains.window[chain[there]]
    opens = np.maximum(instance.windows.opens[window, day], context.problem.now)
    opens = np.maximum(opens, instance.chains.not_before[chain[there]])
    closes = instance.windows.closes[window, day]
    moment = context.second[there]
    gap = int(instance.fleet.gap[mailbox])
    even = evenly_spread(opens, closes, np.arange(len(there)), len(there))
    alike = (opens == opens[0]).all() and (closes == closes[0]).all()
    if alike and (even == moment).all():
        spread = "even"
    elif gap and _spaced(context, mailbox, moment, gap):
        spread = "gap"
    else:
        spread = "kept" if alike else "widest"
    others = np.sort(np.append(moment, _sent_seconds(context, mailbox, day)))
    own = int(context.second[email])
    before, after = others[others < own], others[others > own]
    first = instance.stages.is_first[instance.emails.stage[there[:number]]]
    return Minute(
        number=number + 1,
        of=len(there),
        opens=context.moment(int(opens[number])),
        closes=context.moment(int(closes[number])),
        spread=spread,
        gap_before=own - int(before.max()) if len(before) else None,
        gap_after=int(after.min()) - own if len(after) else None,
        follow_ups_before=int((~first).sum()),
        first_emails_before=int(first.sum()),
    )


def _sent_seconds(context: ExplanationContext, mailbox: int, day: int) -> np.ndarray:
    """Return the seconds of emails of the mailbox that day that are sent or in flight."""
    rows = context.state.rows
    mailbox_id = context.problem.mailboxes["id"].iloc[mailbox]
    own = (rows["mailbox_id"] == mailbox_id) & (rows["day"] == day + context.problem.horizon.origin)
    return np.asarray(rows["time"].to_numpy()[own.to_numpy()] // SECOND)


def _spaced(context: ExplanationContext, mailbox: int, moment: np.ndarray, gap: int) -> bool:
    """Tell whether two emails of the day are exactly as close as the gap allows."""
    taken = context.instance.fleet.taken[mailbox]
    moments = np.sort(np.concatenate([moment, taken // SECOND, -(-taken // SECOND)]))
    return bool((np.diff(moments) == gap).any())
