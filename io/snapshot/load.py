"""One consistent snapshot of the database as the frames of a problem.

The snapshot is closed before anybody solves: a transaction left open would make claiming slow (an
old snapshot keeps dead rows alive).
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.exported_snapshot import one_moment
from sendplan.io.errors import DataError
from sendplan.io.snapshot.pending_rows import read_pending
from sendplan.io.snapshot.requests import Requests, reached_sequences, read_requests
from sendplan.io.snapshot.setting_rows import Settings, read_settings, settings_frame
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.contracts import Columns
from sendplan.planner.schema.errors import ProblemError


@dataclass(frozen=True)
class Snapshot:
    """The database at one moment, or the part of it that some changes reach.

    Parameters
    ----------
    tables : dict of DataFrame or Columns
        What `Problem.from_tables` takes.
    settings : dict of list
        The rows of sequences, steps, mailboxes and links, to see later whether they changed.
    requests : Requests
        The requests that the snapshot has seen; a published plan clears them.
    reach : frozenset of int or None
        The sequences that it was limited to, with all that concerns them.
    """

    tables: dict[str, pd.DataFrame | Columns]
    settings: Settings
    requests: Requests
    reach: frozenset[int] | None = None

    def problem(self, now: dt.datetime) -> Problem:
        """Return the problem that the snapshot poses at `now`.

        Raises
        ------
        DataError
            If the tables hold what cannot be planned.
        """
        try:
            return Problem.from_tables(self.tables, now)
        except ProblemError as error:
            raise DataError(error.faults, "The tables cannot be planned") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which everything is seen as of one moment.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with translated_errors("reading the pending work"), one_moment(engine) as connection:
        yield connection


def load(engine: Engine, now: dt.datetime) -> Snapshot:
    """Read everything that a plan needs, as of one moment.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning; history long before it is left out.

    Returns
    -------
    Snapshot
        Its transaction is over.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        return read_snapshot(connection, now)


def load_requested(engine: Engine, now: dt.datetime) -> Snapshot:
    """Read what the queued requests reach, and these requests, as of one moment.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.

    Returns
    -------
    Snapshot
        Limited to the components that the changes reach.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        requests = read_requests(connection)
        return read_snapshot(connection, now, requests, reached_sequences(connection, requests))


def load_around(
    engine: Engine,
    now: dt.datetime,
    sequence_ids: Iterable[int],
    reopened: Iterable[int] = (),
) -> Snapshot:
    """Read the components of some sequences, as of one moment.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment of planning.
    sequence_ids : iterable of int
        The sequences.
    reopened : iterable of int
        Sequences whose completed enrollments are wanted, too.

    Returns
    -------
    Snapshot
        Limited to those components.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    named = Requests(sequence_ids=frozenset(sequence_ids))
    with reading(engine) as connection:
        reach = reached_sequences(connection, named)
        return read_snapshot(connection, now, Requests(), reach, reopened)


def read_snapshot(
    connection: Connection,
    now: dt.datetime,
    requests: Requests | None = None,
    reach: frozenset[int] | None = None,
    reopened: Iterable[int] = (),
    strays: Iterable[int] | None = None,
) -> Snapshot:
    """Read a snapshot within a transaction that is already open.

    Parameters
    ----------
    connection : Connection
        The transaction.
    now : aware datetime
        The moment of planning.
    requests : Requests, optional
        The queued requests; by default they are read.
    reach : frozenset of int, optional
        Sequences to which it is limited; whole components, so that nothing else is concerned.
    reopened : iterable of int
        Sequences whose completed enrollments are wanted, too.
    strays : iterable of int, optional
        See `read_pending`.
    """
    settings = read_settings(connection, reach)
    tables: dict[str, pd.DataFrame | Columns] = {
        name: settings_frame(name, rows) for name, rows in settings.items()
    }
    tables |= read_pending(connection, now, reach, reopened, strays)
    seen = read_requests(connection) if requests is None else requests
    return Snapshot(tables, settings, seen, reach)
