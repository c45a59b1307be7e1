"""What a mailbox may still send on a day, counted from the rows.

A transaction that uses capacity locks the mailbox's row before it counts, until its commit, so that
no other can use the same capacity (hard rule Capacity).
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sendplan.io.database.conditions import LAST_DAY, among
from sendplan.io.delivery.transactions import Prepared
from sendplan.planner.schema.vocabulary import OCCUPYING, EmailStatus

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

USED = Prepared(
    "count_used",
    ("bigint[]", "date"),
    f"""
    SELECT mailbox_id, send_day, count(*) FROM scheduled_emails
    WHERE mailbox_id = ANY ($1) AND send_day BETWEEN $2 AND DATE '{LAST_DAY}'
      AND {among("status", OCCUPYING)}
    GROUP BY mailbox_id, send_day
    """,
)

# Planned rows by the index of due ones: a send_day lies within a day of its date in UTC.
TAKEN = f"""
    SELECT (
        SELECT count(*) FROM scheduled_emails
        WHERE mailbox_id = %(mailbox_id)s AND send_day = %(day)s AND {among("status", OCCUPYING)}
    ) + (
        SELECT count(*) FROM scheduled_emails
        WHERE mailbox_id = %(mailbox_id)s AND send_day = %(day)s
          AND status = '{EmailStatus.PENDING}' AND plan_run_id IS NOT NULL
          AND send_at >= %(day)s::timestamptz - interval '1 day'
          AND send_at < %(day)s::timestamptz + interval '2 days'
    )
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Emails that a mailbox may send a day, by its columns of these names.

    Parameters
    ----------
    daily : int
    ramp_start, ramp_increment : int or None
    ramp_from : date or None
        The ramp: at most start + increment × days since then, nothing before.
    """

    daily: int
    ramp_start: int | None = None
    ramp_increment: int | None = None
    ramp_from: dt.date | None = None

    def on(self, day: dt.date) -> int:
        """Return the capacity on a day; ramps without a start or a first day do not count."""
        if self.ramp_from is None or self.ramp_start is None:
            return self.daily
        since = (day - self.ramp_from).days
        if since < 0:
            return 0
        return min(self.daily, self.ramp_start + (self.ramp_increment or 0) * since)


def used(
    cursor: "Cursor", mailbox_ids: Iterable[int], since: dt.date
) -> Counter[tuple[int, dt.date]]:
    """Count the sent, claimed, sending and uncertain emails of mailbox-days.

    Parameters
    ----------
    cursor : cursor
        Of a session that knows `USED`, in a transaction that has locked the mailboxes.
    mailbox_ids : iterable of int
    since : date
        The first day.

    Returns
    -------
    Counter
        By mailbox and day.
    """
    USED.execute(cursor, sorted(set(mailbox_ids)), since)
    return Counter({(mailbox_id, day): count for mailbox_id, day, count in cursor})


def taken(cursor: "Cursor", mailbox_id: int, day: dt.date) -> int:
    """Count the emails of a mailbox-day, planned ones included."""
    cursor.execute(TAKEN, {"mailbox_id": mailbox_id, "day": day})
    (count,) = cursor.fetchone() or (0,)
    return int(count)
