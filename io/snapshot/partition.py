"""The partition of a database into parts: groups of components that one process plans at a time.

Components share no sequence, mailbox or contact, so that each part is read, planned and published
by itself: in turn, in parallel, or on other machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, text

from sendplan.io.snapshot.load import reading
from sendplan.io.snapshot.pending_rows import read_strays
from sendplan.io.snapshot.requests import CONNECTING_LINKS, Requests, reach_of, read_requests
from sendplan.planner.model.components import connected
from sendplan.planner.schema.vocabulary import EmailStatus, EnrollmentStatus, MailboxStatus

PART_SIZE = 50_000
"""Most active enrollments of a part, unless one component alone has more."""

SIZES = f"""
    SELECT sequence.id, coalesce(active.enrollments, 0) AS enrollments
    FROM sequences AS sequence
    LEFT JOIN (
        SELECT sequence_id, count(*) AS enrollments FROM enrollments
        WHERE status = '{EnrollmentStatus.ACTIVE}' GROUP BY sequence_id
    ) AS active ON active.sequence_id = sequence.id
    ORDER BY sequence.id
"""

# Nearly all contacts have one enrollment; the sort takes the time, so that is done once.
SHARED_CONTACTS = f"""
    SELECT DISTINCT sequence_ids FROM (
        SELECT array_agg(sequence_id ORDER BY sequence_id) AS sequence_ids FROM enrollments
        WHERE status = '{EnrollmentStatus.ACTIVE}' GROUP BY contact_id HAVING count(*) > 1
    ) AS shared
    ORDER BY sequence_ids
"""

# Slots that the run will take away: until then they use capacity and contacts' days.
STRAY_ROOM = f"""
    SELECT DISTINCT sequence_id, email.mailbox_id
    FROM enrollments AS stray
    JOIN scheduled_emails AS email ON email.enrollment_id = stray.id
    JOIN mailboxes ON mailboxes.id = email.mailbox_id
    WHERE stray.id = ANY(:strays) AND mailboxes.status <> '{MailboxStatus.REMOVED}'
      AND email.status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL
"""

STRAY_CONTACTS = f"""
    SELECT DISTINCT array_agg(sequence_id) FROM enrollments
    WHERE contact_id IN (SELECT contact_id FROM enrollments WHERE id = ANY(:strays))
      AND (status = '{EnrollmentStatus.ACTIVE}' OR id = ANY(:strays))
    GROUP BY contact_id HAVING count(*) > 1
"""

CONTACTS_ELSEWHERE = f"""
    SELECT EXISTS (
        SELECT FROM enrollments AS own
        CROSS JOIN LATERAL (
            SELECT FROM enrollments
            WHERE contact_id = own.contact_id AND sequence_id <> ALL(:sequence_ids)
              AND status = '{EnrollmentStatus.ACTIVE}' OFFSET 0
        ) AS other
        WHERE own.status = '{EnrollmentStatus.ACTIVE}' AND own.sequence_id = ANY(:sequence_ids)
    )
"""


@dataclass(frozen=True)
class Part:
    """Sequences that are planned together.

    Parameters
    ----------
    number : int
        From 1.
    sequence_ids : frozenset of int
        All sequences of its components.
    enrollments : int
        Number of its active enrollments.
    """

    number: int
    sequence_ids: frozenset[int]
    enrollments: int


@dataclass(frozen=True)
class Partition:
    """A database in parts.

    Parameters
    ----------
    parts : tuple of Part
        Each sequence is in one.
    requests : Requests
        The queued requests, which are cleared once all parts are planned.
    strays : tuple of int or None
        The enrollments of `sendplan.io.snapshot.pending_rows.read_strays`, read once for all parts;
        None if a single part looks for its own.
    """

    parts: tuple[Part, ...]
    requests: Requests
    strays: tuple[int, ...] | None = None


def divide(engine: Engine, size: int = PART_SIZE) -> Partition:
    """Divide a database into parts, as of one moment.

    Parameters
    ----------
    engine : Engine
    size : int
        Active enrollments up to which components are put together.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        requests = read_requests(connection)
        sequence_ids, enrollments = _sizes(connection)
        if enrollments.sum() <= size:
            whole = Part(1, frozenset(sequence_ids.tolist()), int(enrollments.sum()))
            return Partition((whole,), requests)
        strays = tuple(read_strays(connection))
        component = _components(connection, sequence_ids, strays)
    return Partition(_parts(sequence_ids, enrollments, component, size, 1), requests, strays)


def divide_again(
    engine: Engine, size: int, parts: Sequence[Part], stale: Sequence[Part]
) -> Partition:
    """Divide anew what stale parts hold, after a change of links or enrollments.

    With it goes whatever shares mailboxes or contacts with them by now, and the whole of each part
    that holds any of that: a part's figures are of all its sequences.

    Parameters
    ----------
    engine : Engine
        The database.
    size : int
        Active enrollments up to which components are put together.
    parts : sequence of Part
        The division so far.
    stale : sequence of Part
        Those of them that stand alone no more.

    Returns
    -------
    Partition
        As of one moment: of the sequences that are to be planned again and no others, numbered
        after `parts`.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with reading(engine) as connection:
        requests = read_requests(connection)
        sequence_ids, enrollments = _sizes(connection)
        strays = tuple(read_strays(connection))
        component = _components(connection, sequence_ids, strays)
    part_of = np.zeros(len(sequence_ids), dtype=np.int64)
    for part in parts:
        part_of[np.isin(sequence_ids, list(part.sequence_ids))] = part.number
    divided = np.flatnonzero(part_of)
    everything = np.arange(len(sequence_ids))
    tied = connected(len(sequence_ids), [(everything, component), (divided, part_of[divided])])
    again = np.isin(tied, tied[np.isin(part_of, [part.number for part in stale])])
    component = np.unique(component[again], return_inverse=True)[1]
    first = max(part.number for part in parts) + 1
    made = _parts(sequence_ids[again], enrollments[again], component, size, first)
    # Stale parts whose sequences have been deleted leave nothing to plan.
    return Partition(made or (Part(first, frozenset(), 0),), requests, strays)


def stands_alone(connection: Connection, sequence_ids: frozenset[int]) -> bool:
    """Return whether a part still shares neither mailbox nor contact with another.

    Parameters
    ----------
    connection : Connection
        The transaction in which the part is read.
    sequence_ids : frozenset of int
        Its sequences.

    Raises
    ------
    DatabaseError
        If that cannot be read.
    """
    if reach_of(connection, sequence_ids) != sequence_ids:
        return False
    named = {"sequence_ids": list(sequence_ids)}
    return not connection.scalar(text(CONTACTS_ELSEWHERE), named)


def _sizes(connection: Connection) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of all sequences, in order, and the active enrollments of each."""
    rows = np.array(connection.execute(text(SIZES)).all(), dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _parts(
    sequence_ids: np.ndarray,
    enrollments: np.ndarray,
    component: np.ndarray,
    size: int,
    first: int,
) -> tuple[Part, ...]:
    """Put components together up to the size; number the parts from the first number."""
    part_of = _packed(np.bincount(component, enrollments).astype(np.int64), size)[component]
    return tuple(
        Part(
            int(number) + first,
            frozenset(sequence_ids[part_of == number].tolist()),
            int(enrollments[part_of == number].sum()),
        )
        for number in np.unique(part_of)
    )


def _components(
    connection: Connection, sequence_ids: np.ndarray, stray_ids: Sequence[int]
) -> np.ndarray:
    """Return the number of each sequence's component."""
    strays = {"strays": list(stray_ids)}
    links = [
        *connection.execute(text(CONNECTING_LINKS)).all(),
        *connection.execute(text(STRAY_ROOM), strays).all(),
    ]
    shared = [
        *connection.scalars(text(SHARED_CONTACTS)).all(),
        *connection.scalars(text(STRAY_CONTACTS), strays).all(),
    ]
    linked, mailbox = np.array(links, dtype=np.int64).reshape(-1, 2).T
    meeting = np.array([key for keys in shared for key in keys], dtype=np.int64)
    hub = np.repeat(np.arange(len(shared)), [len(keys) for keys in shared])
    return connected(
        len(sequence_ids),
        [
            (np.searchsorted(sequence_ids, linked), np.unique(mailbox, return_inverse=True)[1]),
            (np.searchsorted(sequence_ids, meeting), hub),
        ],
    )


def _packed(sizes: np.ndarray, most: int) -> np.ndarray:
    """Return the part of each component, filled in their order."""
    parts = np.zeros(len(sizes), dtype=np.int64)
    part = filled = 0
    for component, size in enumerate(sizes.tolist()):
        if filled and filled + size > most:
            part, filled = part + 1, 0
        parts[component] = part
        filled += size
    return parts
