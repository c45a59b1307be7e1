"""Requests to plan anew: the changes that the database has noted, read together and cleared.

Triggers write one row of ``change_requests`` for each change (migration 0002). Requests are only
ever added, so that no two transactions wait for each other, and brought together when they are
read. Whoever has planned from a snapshot clears the requests that the snapshot had seen, and those
only: one with a lower id may become visible later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.tables import RequestKind
from sendplan.planner.schema.vocabulary import MailboxStatus

CHANNEL = "sendplan_changes"
"""Where PostgreSQL sends a notice, without a word in it, when a transaction has left requests."""

READ = """
    SELECT kind, array_agg(id ORDER BY id) AS ids,
           array_agg(DISTINCT sequence_id) FILTER (WHERE sequence_id IS NOT NULL) AS sequence_ids,
           array_agg(DISTINCT mailbox_id) FILTER (WHERE mailbox_id IS NOT NULL) AS mailbox_ids
    FROM change_requests GROUP BY kind ORDER BY kind
"""

CONNECTING_LINKS = f"""
    SELECT sequence_id, mailbox_id
    FROM sequence_mailboxes JOIN mailboxes ON mailboxes.id = mailbox_id
    WHERE mailboxes.status <> '{MailboxStatus.REMOVED}'
"""

DIRECTLY_REACHED = """
    SELECT id FROM sequences
    WHERE id = ANY(:sequence_ids) OR id IN (
        SELECT sequence_id FROM sequence_mailboxes WHERE mailbox_id = ANY(:mailbox_ids)
    )
"""


@dataclass(frozen=True)
class Requests:
    """Requests as one: what has changed, said once.

    Parameters
    ----------
    ids : tuple of int
        Rows of ``change_requests``, for `clear_requests`.
    sequence_ids, mailbox_ids : frozenset of int
        What they name; it may not exist any more.
    kinds : mapping of RequestKind to int
        Number of requests by kind; kinds without any are left out.
    """

    ids: tuple[int, ...] = ()
    sequence_ids: frozenset[int] = frozenset()
    mailbox_ids: frozenset[int] = frozenset()
    kinds: Mapping[RequestKind, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.ids)

    def __add__(self, other: "Requests") -> "Requests":
        """Bring two readings together; what both have seen counts once."""
        known = frozenset(self.ids)
        if known.issuperset(other.ids):
            return self
        kinds = dict(self.kinds)
        for kind, count in other.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + count
        return Requests(
            ids=self.ids + tuple(key for key in other.ids if key not in known),
            sequence_ids=self.sequence_ids | other.sequence_ids,
            mailbox_ids=self.mailbox_ids | other.mailbox_ids,
            kinds=kinds,
        )


def read_requests(connection: Connection) -> Requests:
    """Read all requests that the caller's transaction sees.

    Parameters
    ----------
    connection : Connection
        The transaction of the snapshot to plan from, so that plan and requests are of one moment.

    Returns
    -------
    Requests
        Brought together.

    Raises
    ------
    DatabaseError
        If they cannot be read.
    """
    with translated_errors("reading the queued changes"):
        rows = connection.execute(text(READ)).all()
    return Requests(
        ids=tuple(key for row in rows for key in row.ids),
        sequence_ids=frozenset(key for row in rows for key in row.sequence_ids or ()),
        mailbox_ids=frozenset(key for row in rows for key in row.mailbox_ids or ()),
        kinds={RequestKind(row.kind): len(row.ids) for row in rows},
    )


def clear_requests(connection: Connection, ids: Iterable[int]) -> None:
    """Delete requests that have been planned.

    Parameters
    ----------
    connection : Connection
        The transaction that publishes the plan.
    ids : iterable of int
        The requests that the plan's snapshot had seen. Rows that are gone do not matter.

    Raises
    ------
    DatabaseError
        If the database refused it.
    """
    with translated_errors("clearing the queued changes"):
        connection.execute(
            text("DELETE FROM change_requests WHERE id = ANY(:ids)"), {"ids": list(ids)}
        )


def pending_requests(connection: Connection) -> int:
    """Count the requests that no plan has seen yet.

    Raises
    ------
    DatabaseError
        If they cannot be counted.
    """
    with translated_errors("counting the queued changes"):
        return int(connection.scalar(text("SELECT count(*) FROM change_requests")) or 0)


def request(connection: Connection, kind: RequestKind, sequence_ids: Iterable[int]) -> None:
    """Ask for sequences to be planned anew.

    Parameters
    ----------
    connection : Connection
        The caller's transaction; the request and its notice come with the commit.
    kind : RequestKind
        Why.
    sequence_ids : iterable of int
        The sequences, one request each.

    Raises
    ------
    DatabaseError
        If the database refused it.
    """
    with translated_errors("queueing a change"):
        connection.execute(
            text(
                "INSERT INTO change_requests (kind, sequence_id)"
                " SELECT :kind, unnest(CAST(:sequence_ids AS bigint[]))"
            ),
            {"kind": kind, "sequence_ids": sorted(set(sequence_ids))},
        )


def reached_sequences(connection: Connection, requests: Requests) -> frozenset[int]:
    """Find all sequences whose plan the requested changes can touch.

    Parameters
    ----------
    connection : Connection
        The transaction that read the requests.
    requests : Requests
        The requests.

    Returns
    -------
    frozenset of int
        Ids of sequences that exist, see `reach_of`.

    Raises
    ------
    DatabaseError
        If the links cannot be read.
    """
    return reach_of(connection, requests.sequence_ids, requests.mailbox_ids)


def reach_of(
    connection: Connection, sequence_ids: Iterable[int], mailbox_ids: Iterable[int] = ()
) -> frozenset[int]:
    """Find what shares mailboxes with some sequences, directly or through others.

    Parameters
    ----------
    connection : Connection
        A transaction.
    sequence_ids : iterable of int
        The sequences.
    mailbox_ids : iterable of int
        Mailboxes whose sequences are meant, too. A removed mailbox is shared no more.

    Returns
    -------
    frozenset of int
        Ids of sequences that exist, the given ones among them.

    Raises
    ------
    DatabaseError
        If the links cannot be read.
    """
    # Here, since a dispatcher, which only asks for plans, must start without numpy and pandas.
    import numpy as np

    from sendplan.planner.model.components import connected

    named = {"sequence_ids": list(sequence_ids), "mailbox_ids": list(mailbox_ids)}
    with translated_errors("finding what shares mailboxes"):
        direct = list(connection.scalars(text(DIRECTLY_REACHED), named))
        links = np.array(connection.execute(text(CONNECTING_LINKS)).all(), dtype=np.int64)
    links = links.reshape(-1, 2)
    known, sequence = np.unique(
        np.concatenate([np.array(direct, dtype=np.int64), links[:, 0]]), return_inverse=True
    )
    mailbox = np.unique(links[:, 1], return_inverse=True)[1]
    component = connected(len(known), [(sequence[len(direct) :], mailbox)])
    reached = np.isin(component, component[sequence[: len(direct)]])
    return frozenset(known[reached].tolist())
