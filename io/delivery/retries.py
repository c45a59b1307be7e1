"""The moments at which an email that was not accepted is tried again."""

import bisect
import datetime as dt
from collections.abc import Iterable

FIRST_BACKOFF = dt.timedelta(minutes=30)
"""Servers that ask to come back mean half an hour or more (RFC 5321, section 4.5.4.1)."""


def retry_at(now: dt.datetime, attempts: int) -> dt.datetime:
    """Return the earliest moment of the next attempt; the wait doubles each time.

    Parameters
    ----------
    now : aware datetime
    attempts : int
        Attempts so far, from 1.
    """
    doubled = int(2 ** (attempts - 1))
    return now + FIRST_BACKOFF * doubled


def free_moment(
    after: dt.datetime, before: dt.datetime, gap: dt.timedelta, taken: Iterable[dt.datetime]
) -> dt.datetime | None:
    """Find the first moment that keeps a gap to others.

    Parameters
    ----------
    after, before : aware datetime
        The moment lies at or after the one and before the other.
    gap : timedelta
    taken : iterable of aware datetime
        The others.

    Returns
    -------
    aware datetime or None
        In whole seconds; None if there is none.
    """
    moment = after.replace(microsecond=0)
    if moment < after:
        moment += dt.timedelta(seconds=1)
    others = sorted(taken)
    for other in others[bisect.bisect_right(others, moment - gap) :]:
        if other - moment >= gap:
            break
        moment = max(moment, other + gap)
    return moment if moment < before else None
