"""Why an email leaves at its minute."""

import numpy as np

from sendplan.planner.explain.context import Inquiry
from sendplan.planner.explain.facts import Minute
from sendplan.planner.placing.send_times import evenly_spread
from sendplan.planner.schema.dates import SECOND


def minute_facts(inquiry: Inquiry, email: int) -> Minute:
    """Find an email's place among those of its mailbox and day.

    Parameters
    ----------
    inquiry : Inquiry
        The plan.
    email : int
        An email with a slot.
    """
    work = inquiry.work
    chain = work.emails.chain
    mailbox, day = int(inquiry.mailbox[chain[email]]), int(inquiry.day[email])
    there = np.flatnonzero((inquiry.day == day) & (inquiry.mailbox[chain] == mailbox))
    at = inquiry.second[there]
    there = there[np.lexsort((there, at))]
    number = int(np.flatnonzero(there == email)[0])
    window = work.chains.window[chain[there]]
    opens = np.maximum(work.windows.opens[window, day], inquiry.problem.now)
    opens = np.maximum(opens, work.chains.not_before[chain[there]])
    closes = work.windows.closes[window, day]
    moment = inquiry.second[there]
    gap = int(work.fleet.gap[mailbox])
    even = evenly_spread(opens, closes, np.arange(len(there)), len(there))
    alike = (opens == opens[0]).all() and (closes == closes[0]).all()
    if alike and (even == moment).all():
        spread = "even"
    elif gap and _spaced(inquiry, mailbox, moment, gap):
        spread = "gap"
    else:
        spread = "kept" if alike else "widest"
    others = np.sort(np.append(moment, _gone(inquiry, mailbox, day)))
    own = int(inquiry.second[email])
    before, after = others[others < own], others[others > own]
    first = work.stages.is_first[work.emails.stage[there[:number]]]
    return Minute(
        number=number + 1,
        of=len(there),
        opens=inquiry.moment(int(opens[number])),
        closes=inquiry.moment(int(closes[number])),
        spread=spread,
        gap_before=own - int(before.max()) if len(before) else None,
        gap_after=int(after.min()) - own if len(after) else None,
        follow_ups_before=int((~first).sum()),
        first_emails_before=int(first.sum()),
    )


def _gone(inquiry: Inquiry, mailbox: int, day: int) -> np.ndarray:
    """Return the seconds at which emails of the mailbox have left, or are about to, that day."""
    rows = inquiry.state.rows
    mailbox_id = inquiry.problem.mailboxes["id"].iloc[mailbox]
    own = (rows["mailbox_id"] == mailbox_id) & (rows["day"] == day + inquiry.problem.horizon.origin)
    return np.asarray(rows["time"].to_numpy()[own.to_numpy()] // SECOND)


def _spaced(inquiry: Inquiry, mailbox: int, moment: np.ndarray, gap: int) -> bool:
    """Tell whether a day's emails stand exactly as close as the gap allows somewhere."""
    taken = inquiry.work.fleet.taken[mailbox]
    moments = np.sort(np.concatenate([moment, taken // SECOND, -(-taken // SECOND)]))
    return bool((np.diff(moments) == gap).any())
