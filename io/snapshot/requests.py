"""Requests to plan anew: the queued changes, read together and cleared.

Triggers write one row of ``change_requests`` for each change (migration 0002). Rows are only added,
so that no two transactions wait for each other, and merged when they are read. A published plan
clears exactly the requests of its snapshot: one with a lower id may become visible later.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.tables import RequestKind
from sendplan.planner.schema.vocabulary import MailboxStatus

CHANNEL = "sendplan_changes"
"""Channel of an empty notice from each transaction that queues requests."""

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
    """Queued requests, merged.

    Parameters
    ----------
    ids : tuple of int
        Rows of ``change_requests``, for `clear_requests`.
    sequence_ids, mailbox_ids : frozenset of int
        The rows that they name, which may be gone.
    kinds : mapping of RequestKind to int
        Number of requests by kind; kinds without any are left out.
    """

    ids: tuple[int, ...] = ()
    sequence_ids: frozenset[int] = frozenset()
    mailbox_ids: frozenset[int] = frozenset()
    kinds: Mapping[RequestKind, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.ids)

    def __add__(self, other: "Requests") -> "Requests":
        """Merge two readings; requests of both count once."""
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
    """Read all requests in the transaction of the snapshot, so that both are of one moment.

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
        The requests of the plan's snapshot; some may be gone.

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
    """Count the queued requests.

    Raises
    ------
    DatabaseError
        If they cannot be counted.
    """
    with translated_errors("counting the queued changes"):
        return int(connection.scalar(text("SELECT count(*) FROM change_requests")) or 0)


def request(connection: Connection, kind: RequestKind, sequence_ids: Iterable[int]) -> None:
    """Queue requests to plan sequences anew.

    Parameters
    ----------
    connection : Connection
        The caller's transaction, whose commit sends the notice.
    kind : RequestKind
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


def reach_of(
    connection: Connection, sequence_ids: Iterable[int], mailbox_ids: Iterable[int] = ()
) -> frozenset[int]:
    """Return the sequences that share mailboxes with some, directly or through others.

    Parameters
    ----------
    connection : Connection
    sequence_ids : iterable of int
    mailbox_ids : iterable of int
        Mailboxes whose sequences count, too. A removed mailbox is not shared any more.

    Returns
    -------
    frozenset of int
        Sequences that exist, the given ones included.

    Raises
    ------
    DatabaseError
        If the links cannot be read.
    """
    # Imported here, so that `sendplan status` starts without numpy and scipy.
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
