"""Planning one part in a process of its own: read it, plan it, check it, publish it.

A worker gets the ids of the part and reads the rest. A part that was published before its worker
was lost is found in ``plan_run_parts``, and not planned again.
"""

import datetime as dt
import functools
import os
import uuid
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from sendplan.io.database.engine import connect, translated_errors
from sendplan.io.errors import DatabaseError, SendplanError
from sendplan.io.planning.run import Clock, WallClock, planned, retried
from sendplan.io.publish.run_records import PartRecord, Published, published_part
from sendplan.io.publish.store import store
from sendplan.io.snapshot.load import Snapshot, read_snapshot, reading
from sendplan.io.snapshot.partition import Part, stands_alone
from sendplan.io.snapshot.requests import Requests
from sendplan.planner.plan.summary import Summary
from sendplan.planner.problem.parameters import Parameters

ATTEMPTS = 4
"""How often a part is tried when changes overtake it."""

DATABASE_VARIABLE = "SENDPLAN_DATABASE_URL"
"""Where processes on other machines find the database: a URL may hold a password."""


class PartitionChangedError(SendplanError):
    """A part has come to share mailboxes or contacts with another; both must be formed again."""


@dataclass(frozen=True)
class PartJob:
    """The task of a worker.

    Parameters
    ----------
    part : Part
        The part.
    run_id : int or None
        The run that it is part of; None for a dry run.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        Planning parameters.
    installation : UUID
        The id of the database's installation.
    strays : tuple of int or None
        See `sendplan.io.snapshot.partition.Partition`.
    planner : int or None
        The process of the server with the planner's lock; None for a dry run.
    url : str or None
        The database, for processes of this machine; None: the worker's `DATABASE_VARIABLE`.
    """

    part: Part
    run_id: int | None
    now: dt.datetime
    parameters: Parameters
    installation: uuid.UUID
    strays: tuple[int, ...] | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    planner: int | None = None


@dataclass(frozen=True)
class PlannedPart:
    """The result of a worker.

    Parameters
    ----------
    summary : Summary
        The plan in figures.
    published : Published or None
        What was written; None for a dry run.
    seconds : dict of float
        By phase.
    """

    summary: Summary
    published: Published | None
    seconds: dict[str, float]


def installation_of(engine: Engine) -> uuid.UUID:
    """Return the id of the installation that a database belongs to.

    Raises
    ------
    DatabaseError
        If it cannot be read.
    """
    with translated_errors("looking for the installation"), engine.connect() as connection:
        found: uuid.UUID = connection.execute(text("SELECT id FROM installation")).scalar_one()
    return found


def plan_part(job: PartJob) -> PlannedPart:
    """Plan a part and publish it; the entry point of a worker.

    Parameters
    ----------
    job : PartJob
        The task.

    Returns
    -------
    PlannedPart
        Figures only.

    Raises
    ------
    DataError
        If the tables cannot be planned.
    UnsoundPlanError
        If the checker found a broken rule; the part was not written.
    PartitionChangedError
        If it shares mailboxes or contacts with another part; the part was not written.
    OvertakenError
        If the tables changed under every attempt; the part was not written.
    SupersededError
        If the run has ended meanwhile; the part was not written.
    DatabaseError
        If the database failed, or is another one than the run's; the part was not written.
    """
    engine = _engine(job.url or _own_url())
    if installation_of(engine) != job.installation:
        raise DatabaseError(
            f"{DATABASE_VARIABLE} of a worker names another database than that of the run."
        )
    return retried(
        lambda: _known(engine, job) or _planned(engine, job),
        ATTEMPTS,
        f"Part {job.part.number} was not written.",
        lambda phase: None,
    )


def _planned(engine: Engine, job: PartJob) -> PlannedPart:
    clock = Clock()
    with clock.phase("load"):
        snapshot = _snapshot(engine, job)
    problem, plan = planned(snapshot, job.now, job.parameters, clock, WallClock(job.parameters))
    if job.run_id is None:
        return PlannedPart(plan.summary(), None, clock.seconds)
    record = PartRecord(
        job.run_id, job.part.number, job.planner, job.part.sequence_ids, clock.seconds
    )
    with (
        clock.phase("store"),
        translated_errors("storing the part"),
        engine.connect() as connection,
    ):
        published = store(connection, snapshot, problem, plan, record)
    return PlannedPart(plan.summary(), published, clock.seconds)


def _snapshot(engine: Engine, job: PartJob) -> Snapshot:
    with reading(engine) as connection:
        # Not checked again when the part is published: a part that comes to share a contact later
        # finds out when it is read.
        if not stands_alone(connection, job.part.sequence_ids):
            raise PartitionChangedError(
                "Links or enrollments have changed since the parts were formed: this part now"
                " shares mailboxes or contacts with another."
            )
        # The requests are the coordinator's: it clears them once all parts are published.
        return read_snapshot(
            connection, job.now, Requests(), job.part.sequence_ids, strays=job.strays
        )


def _known(engine: Engine, job: PartJob) -> PlannedPart | None:
    if job.run_id is None:
        return None
    with translated_errors("looking for the part"), engine.connect() as connection:
        found = published_part(connection, job.run_id, job.part.number)
    return None if found is None else PlannedPart(*found)


def _own_url() -> str:
    url = os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise DatabaseError(
            f"A worker has no {DATABASE_VARIABLE}; set it to the database before the worker starts."
        )
    return url


@functools.lru_cache(maxsize=1)
def _engine(url: str) -> Engine:
    """Keep the sessions of one database open from part to part."""
    return connect(url)
