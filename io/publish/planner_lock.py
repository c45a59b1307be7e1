"""One planner at a time: an advisory lock from before the snapshot until after the commit.

A planner whose session broke may have left processes behind that publish parts of its run. The next
planner gives that run up first, see `sendplan.io.publish.run_records`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import SendplanError
from sendplan.io.publish.run_records import give_up_runs

PLANNER_LOCK = 5_376_002
"""Key of the advisory lock of the planner."""


class PlannerBusyError(SendplanError):
    """Another planner is running on this database."""

    exit_code = 0


@contextmanager
def planner_lock(engine: Engine) -> Iterator[None]:
    """Hold the planner's lock; give up runs that an earlier planner left open.

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
                "Another planner is running on this database; nothing was planned or changed."
            )
        try:
            give_up_runs(connection)
            yield
        finally:
            # A broken session holds the lock no more; that is no error of the run.
            with suppress(DBAPIError):
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": PLANNER_LOCK})
