"""Overdue emails: those that missed their slot are handed to the planner, never sent in a burst."""

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sendplan.io.database.tables import RequestKind
from sendplan.io.database.value_checks import usable
from sendplan.planner.schema.vocabulary import EmailStatus

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

# Once only: without a recalculation running, requests would pile up.
REQUEST = f"""
    INSERT INTO change_requests (kind, sequence_id)
    SELECT '{RequestKind.OVERDUE}', wanted.id
    FROM unnest(%(sequence_ids)s::bigint[]) AS wanted (id)
    WHERE NOT EXISTS (
        SELECT FROM change_requests AS queued
        WHERE queued.kind = '{RequestKind.OVERDUE}' AND queued.sequence_id = wanted.id
    )
    RETURNING sequence_id
"""

OVERDUE = f"""
    SELECT DISTINCT enrollment.sequence_id
    FROM scheduled_emails AS email JOIN enrollments AS enrollment
        ON enrollment.id = email.enrollment_id
    WHERE email.status = '{EmailStatus.PENDING}' AND email.plan_run_id IS NOT NULL
      AND email.send_at <= %(overdue)s AND {usable(email="scheduled_emails")}
"""


def request_plan(cursor: "Cursor", sequence_ids: Iterable[int]) -> list[int]:
    """Queue requests to plan overdue emails of some sequences anew.

    Returns
    -------
    list of int
        The sequences without such a request until now.
    """
    cursor.execute(REQUEST, {"sequence_ids": sorted(set(sequence_ids))})
    return [sequence_id for (sequence_id,) in cursor.fetchall()]


def hand_over(cursor: "Cursor", now: dt.datetime, grace: dt.timedelta) -> list[int]:
    """Hand all overdue emails to the planner.

    Parameters
    ----------
    cursor : cursor
    now : aware datetime
    grace : timedelta
        How long after its slot an email may still leave.

    Returns
    -------
    list of int
        The sequences of `request_plan`.
    """
    cursor.execute(OVERDUE, {"overdue": now - grace})
    return request_plan(cursor, [sequence_id for (sequence_id,) in cursor.fetchall()])
