"""Parts: groups of components, of a size that one process plans at a time.

Components share no sequence, mailbox or contact (SPEC §6), so that parts can be read, planned and
published each by itself: in turn, side by side, or on other machines.
"""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Engine, text

from sendplan.io.database import translated_errors
from sendplan.io.requests import CONNECTING_LINKS
from sendplan.planner.components import connected
from sendplan.planner.vocabulary import EnrollmentStatus

PART_SIZE = 50_000
"""Active enrollments of a part, unless one component alone has more."""

SIZES = f"""
    SELECT sequence.id, coalesce(active.enrollments, 0) AS enrollments
    FROM sequences AS sequence
    LEFT JOIN (
        SELECT sequence_id, count(*) AS enrollments FROM enrollments
        WHERE status = '{EnrollmentStatus.ACTIVE}' GROUP BY sequence_id
    ) AS active ON active.sequence_id = sequence.id
    ORDER BY sequence.id
"""

# By now most contacts have one enrollment; sorting them is what takes time, so that is done once.
SHARED_CONTACTS = f"""
    SELECT DISTINCT sequence_ids FROM (
        SELECT array_agg(sequence_id ORDER BY sequence_id) AS sequence_ids FROM enrollments
        WHERE status = '{EnrollmentStatus.ACTIVE}' GROUP BY contact_id HAVING count(*) > 1
    ) AS shared
    ORDER BY sequence_ids
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
        How many of them are active.
    """

    number: int
    sequence_ids: frozenset[int]
    enrollments: int


def read_parts(engine: Engine, size: int = PART_SIZE) -> list[Part]:
    """Divide the work of a database.

    Parameters
    ----------
    engine : Engine
        The database.
    size : int
        Active enrollments up to which components are put together.

    Returns
    -------
    list of Part
        Each sequence in one; a single part if that is all there is to plan, or if everything is
        connected.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    """
    with translated_errors("dividing the pending work"), engine.connect() as connection:
        rows = np.array(connection.execute(text(SIZES)).all(), dtype=np.int64).reshape(-1, 2)
        sequence_ids, enrollments = rows[:, 0], rows[:, 1]
        if enrollments.sum() <= size:
            return [Part(1, frozenset(sequence_ids.tolist()), int(enrollments.sum()))]
        links = np.array(connection.execute(text(CONNECTING_LINKS)).all(), dtype=np.int64)
        shared = connection.scalars(text(SHARED_CONTACTS)).all()
    links = links.reshape(-1, 2)
    meeting = np.array([key for keys in shared for key in keys], dtype=np.int64)
    hub = np.repeat(np.arange(len(shared)), [len(keys) for keys in shared])
    component = connected(
        len(sequence_ids),
        [
            (
                np.searchsorted(sequence_ids, links[:, 0]),
                np.unique(links[:, 1], return_inverse=True)[1],
            ),
            (np.searchsorted(sequence_ids, meeting), hub),
        ],
    )
    part_of = _packed(np.bincount(component, enrollments).astype(np.int64), size)[component]
    return [
        Part(
            int(number) + 1,
            frozenset(sequence_ids[part_of == number].tolist()),
            int(enrollments[part_of == number].sum()),
        )
        for number in np.unique(part_of)
    ]


def _packed(sizes: np.ndarray, most: int) -> np.ndarray:
    """Put components together in their order; return the part of each."""
    parts = np.zeros(len(sizes), dtype=np.int64)
    part = filled = 0
    for place, size in enumerate(sizes.tolist()):
        if filled and filled + size > most:
            part, filled = part + 1, 0
        parts[place] = part
        filled += size
    return parts
