"""One planner at a time: an advisory lock from before the snapshot until after the commit.

A planner whose session broke may have left processes behind that publish parts of its run. Whoever
comes next gives that run up first, see `sendplan.io.publish.run_records`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import SendplanError
from sendplan.io.publish.run_records import give_up_runs

PLANNER_LOCK = 5_376_002
"""Key of the advisory lock that lets one planner publish at a time."""


class PlannerBusyError(SendplanError):
    """Another planner is at work on this database."""

    exit_code = 0


@contextmanager
def planner_lock(engine: Engine) -> Iterator[None]:
    """Hold the right to publish, from before the snapshot until after the commit.

    Raises
    ------
    PlannerBusyError
        If another planner holds it.
    """
    with translated_errors("taking the planner's lock"), engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        mine = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": PLANNER_LOCK})
        if not mine:
            raise PlannerBusyError(
                "Another planner is at work on this database; nothing was planned or changed."
            )
        try:
            give_up_runs(connection)
            yield
        finally:
            # A session that has broken holds it no more, and is no reason to forget what was done.
            with suppress(DBAPIError):
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": PLANNER_LOCK})
