"""One consistent snapshot of the database as the frames of a problem.

Its transaction ends before planning begins: an old snapshot keeps dead rows alive, which slows
claiming.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd
from sqlalchemy import Connection, Engine

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.exported_snapshot import one_moment
from sendplan.io.errors import DataError
from sendplan.io.snapshot.pending_rows import read_pending
from sendplan.io.snapshot.requests import Requests, reach_of, read_requests
from sendplan.io.snapshot.set_aside import SetAside, find_unusable
from sendplan.io.snapshot.setting_rows import Settings, read_settings, settings_frame
from sendplan.io.snapshot.taking_out import taken_out
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.contracts import Columns
from sendplan.planner.schema.errors import ProblemError


@dataclass(frozen=True)
class Snapshot:
    """The database at one moment, or the components that some changes reach.

    Parameters
    ----------
    tables : dict of DataFrame or Columns
        For `Problem.from_tables`.
    settings : dict of list
        The rows of sequences, steps, mailboxes and links, for `same_settings` when publishing.
    requests : Requests
        The queued requests of that moment, which the published plan clears.
    reach : frozenset of int or None
        The sequences that it is limited to; None: all.
    set_aside : SetAside
        What the tables leave out; values of the whole database, with all enrollments within reach.
    unmarked : tuple of int
        Pending emails that are set aside and not yet marked so.
    """

    tables: dict[str, pd.DataFrame | Columns]
    settings: Settings
    requests: Requests
    reach: frozenset[int] | None = None
    set_aside: SetAside = field(default_factory=SetAside)
    unmarked: tuple[int, ...] = ()

    def problem(self, now: dt.datetime) -> Problem:
        """Return the problem of the snapshot at `now`.

        Raises
        ------
        DataError
            If the tables break a contract.
        """
        try:
            return Problem.from_tables(self.tables, now)
        except ProblemError as error:
            raise DataError(error.faults, "The tables cannot be planned") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a transaction that sees the database as of one moment.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with translated_errors("reading the pending emails"), one_moment(engine) as connection:
        yield connection


def load(engine: Engine, now: dt.datetime) -> Snapshot:
    """Read the input of a plan.

    Parameters
    ----------
    engine : Engine
    now : aware datetime
        The moment of planning; history long before it is left out.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        return read_snapshot(connection, now)


def load_requested(engine: Engine, now: dt.datetime) -> Snapshot:
    """Read the components that the queued requests reach; parameters and errors as in `load`."""
    with reading(engine) as connection:
        requests = read_requests(connection)
        reach = reach_of(connection, requests.sequence_ids, requests.mailbox_ids)
        return read_snapshot(connection, now, requests, reach)


def load_around(
    engine: Engine,
    now: dt.datetime,
    sequence_ids: Iterable[int],
    reopened: Iterable[int] = (),
) -> Snapshot:
    """Read the components of some sequences, without the queued requests.

    Parameters
    ----------
    engine : Engine
    now : aware datetime
        The moment of planning; history long before it is left out.
    sequence_ids : iterable of int
    reopened : iterable of int
        Sequences whose completed enrollments are read, too.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        reach = reach_of(connection, sequence_ids)
        return read_snapshot(connection, now, Requests(), reach, reopened)


def read_snapshot(
    connection: Connection,
    now: dt.datetime,
    requests: Requests | None = None,
    reach: frozenset[int] | None = None,
    reopened: Iterable[int] = (),
    strays: Iterable[int] | None = None,
) -> Snapshot:
    """Read a snapshot within a transaction of `reading`.

    Parameters
    ----------
    connection : Connection
    now : aware datetime
        The moment of planning; history long before it is left out.
    requests : Requests, optional
        The queued requests; by default they are read.
    reach : frozenset of int, optional
        Sequences to which it is limited: all of their components.
    reopened : iterable of int
        Sequences whose completed enrollments are read, too.
    strays : iterable of int, optional
        See `read_pending`.
    """
    settings = read_settings(connection, reach)
    tables: dict[str, pd.DataFrame | Columns] = {
        name: settings_frame(name, rows) for name, rows in settings.items()
    }
    tables |= read_pending(connection, now, reach, reopened, strays)
    seen = read_requests(connection) if requests is None else requests
    aside = find_unusable(connection)
    unmarked: tuple[int, ...] = ()
    if aside:
        tables, aside, unmarked = taken_out(tables, aside)
    return Snapshot(tables, settings, seen, reach, aside, unmarked)
