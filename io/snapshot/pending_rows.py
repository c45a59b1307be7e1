"""The large tables of a snapshot: enrollments, their emails, and days used by others.

They are read by binary COPY of fixed-width columns, which numpy reads without parsing; words are
numbers. The columns are those of a problem, so nothing is converted twice.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sqlalchemy import Connection, text

from sendplan.io.database.binary_copy import copy_out
from sendplan.io.database.exported_snapshot import same_moment
from sendplan.io.snapshot import pending_queries as queries
from sendplan.io.snapshot.contact_zones import ZONES
from sendplan.planner.schema.contracts import Columns
from sendplan.planner.schema.readers import NULL

RECENT_DAYS = 2
"""Days back from today in UTC on which a sent email may count for today in some time zone."""

MANY_PAGES = 1_000
"""Size of ``scheduled_emails`` from which a second session speeds up reading."""

Rows = dict[str, np.ndarray]
Tables = dict[str, Columns]


def read_pending(
    connection: Connection,
    now: dt.datetime,
    reach: frozenset[int] | None = None,
    reopened: Iterable[int] = (),
    strays: Iterable[int] | None = None,
) -> Tables:
    """Read the enrollments that may have emails to send, and their emails.

    Parameters
    ----------
    connection : Connection
    now : aware datetime
        The moment of planning; history long before it is left out.
    reach : frozenset of int, optional
        Sequences to which it is limited. Emails of others that use their mailboxes or their
        contacts' days are read, too.
    reopened : iterable of int
        Sequences whose completed enrollments are read, too.
    strays : iterable of int, optional
        The enrollments of `read_strays`, where one component is read after the other; by default
        those that concern the reach are looked up.

    Returns
    -------
    dict of Columns
        ``enrollments`` and ``scheduled_emails``; within a reach also ``contact_days``.
    """
    recent = (now.astimezone(dt.UTC) - dt.timedelta(days=RECENT_DAYS)).date().isoformat()
    scope = queries.Scope(recent, reach, frozenset(reopened))
    if reach is None:
        return _read_all(connection, scope)
    if strays is None:
        strays = _keys(connection, queries.strays(reach))
    return _read_reach(connection, scope, strays)


def _read_all(connection: Connection, scope: queries.Scope) -> Tables:
    kept = _keys(connection, queries.kept(scope))
    pages = connection.scalar(text(queries.EMAIL_PAGES)) or 0

    def emails(session: Connection, pages: str) -> Rows:
        return copy_out(session, queries.all_emails(scope, kept, pages), queries.EMAIL_KINDS)

    def threads() -> Columns:
        rows = copy_out(connection, queries.enrollments(scope, kept), queries.ENROLLMENT_KINDS)
        return _with_contacts(connection, rows, None)

    if pages < MANY_PAGES:
        return {"enrollments": threads(), "scheduled_emails": _emails(emails(connection, "true"))}
    # PostgreSQL runs one query at a time a session, so the longest one is halved.
    half = pages // 2
    with same_moment(connection) as second, ThreadPoolExecutor(1) as thread:
        later = thread.submit(emails, second, queries.pages(">=", half))
        enrollments = threads()
        earlier = emails(connection, queries.pages("<", half))
        rows = _joined(earlier, later.result())
    return {"enrollments": enrollments, "scheduled_emails": _emails(rows)}


def _read_reach(connection: Connection, scope: queries.Scope, strays: Iterable[int]) -> Tables:
    strays = list(strays)
    kept = _keys(connection, queries.kept(scope, strays))
    rows = copy_out(connection, queries.enrollments(scope, kept), queries.ENROLLMENT_KINDS)
    active = rows["contact_id"][rows["status"] == queries.ACTIVE_NUMBER]
    days = queries.contact_days(scope, active.tolist())
    own, beside = (
        copy_out(connection, query, queries.EMAIL_KINDS)
        for query in (
            queries.emails_of(rows["id"].tolist()),
            queries.emails_beside(scope, strays),
        )
    )
    return {
        "enrollments": _with_contacts(connection, rows, rows["contact_id"].tolist()),
        "scheduled_emails": _emails(_joined(own, beside)),
        "contact_days": Columns(copy_out(connection, days, queries.CONTACT_DAY_KINDS)),
    }


def read_strays(connection: Connection) -> list[int]:
    """Return the enrollments with pending rows that no plan would leave.

    They have ended, or have slots of mailboxes that are not linked to their sequence.
    """
    return _keys(connection, queries.strays(None))


def _keys(connection: Connection, query: str) -> list[int]:
    return sorted(copy_out(connection, query, {"id": "bigint"})["id"].tolist())


def _joined(one: Rows, other: Rows) -> Rows:
    return {name: np.append(one.pop(name), other.pop(name)) for name in list(one)}


def _with_contacts(connection: Connection, rows: Rows, contact_ids: list[int] | None) -> Columns:
    """Add time zone and suppression of their contacts to enrollments."""
    known = copy_out(connection, queries.contacts(contact_ids), queries.CONTACT_KINDS)
    zones = connection.scalars(text(ZONES)).all()
    contact = pd.Index(known["id"]).get_indexer(rows["contact_id"])
    # Contacts without a row have index -1, which is the appended null.
    zone = np.append(known["contact_timezone"], np.int16(0))[contact]
    return Columns(
        rows
        | {
            "status": _words(rows["status"], queries.ENROLLMENT_STATUSES),
            "contact_timezone": _words(zone, zones),
            "suppressed_at": np.append(known["suppressed_at"], NULL)[contact],
        }
    )


def _emails(rows: Rows) -> Columns:
    return Columns(
        rows
        | {
            "unplaced_reason": _words(rows["unplaced_reason"], [*queries.REASONS, "other"]),
            "status": _words(rows["status"], queries.STATUSES),
        }
    )


def _words(codes: np.ndarray, words: Sequence[str]) -> pd.Categorical:
    """Return the words of numbers from 1; 0 is null."""
    return pd.Categorical.from_codes(codes - 1, categories=pd.Index(list(words), dtype=object))
