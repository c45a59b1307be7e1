"""Retries while the database is away, until it answers or the caller is stopped."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

SHORTEST_WAIT = 0.25
LONGEST_WAIT = 15.0
"""Seconds before the second attempt to reach the database, doubled each time up to the longest."""

ASKED_EVERY = 0.5
"""Seconds after which a wait checks again whether to stop."""

AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)
"""Errors of the driver when the database goes away, or aborts a transaction to end a deadlock."""

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def persistently(
    attempt: Callable[[], Result],
    stopped: Callable[[], bool],
    default: Result,
    errors: tuple[type[Exception], ...] = AWAY,
) -> Result:
    """Repeat an attempt while the database is away.

    Parameters
    ----------
    attempt : callable
        Repeated while it raises one of `errors`; must be safe to repeat.
    stopped : callable
        Whether to give up; called every half a second at least.
    default : object
        The result after giving up.
    errors : tuple of type
        Errors of a database that is away.
    """

    def pause(seconds: float) -> None:
        until = time.monotonic() + seconds
        while not stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, ASKED_EVERY))

    retrying = Retrying(
        retry=retry_if_exception_type(errors),
        wait=wait_exponential(multiplier=SHORTEST_WAIT, max=LONGEST_WAIT),
        sleep=pause,
        stop=lambda _: stopped(),
        before_sleep=_log_failure,
        retry_error_callback=lambda _: default,
    )
    result: Result = retrying(attempt)
    return result


def reason(error: BaseException | None) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split())


def _log_failure(state: RetryCallState) -> None:
    if state.outcome is not None and state.next_action is not None:
        extra = {
            "again_in": round(state.next_action.sleep, 2),
            "reason": reason(state.outcome.exception()),
        }
        logger.warning("The database does not answer", extra=extra)
