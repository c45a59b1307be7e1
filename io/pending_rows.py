"""The large tables of a snapshot: enrollments, their emails, and days used by others.

They come by binary COPY of fixed-width columns, which numpy reads without parsing; words travel as
numbers.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from sqlalchemy import Connection, text

from sendplan.io.binary import copy_out
from sendplan.planner.reading import NULL
from sendplan.planner.vocabulary import OCCUPYING, EmailStatus, EnrollmentStatus, Reason

RECENT_DAYS = 2
"""How many days back a sent email may still count for today, in some time zone."""

STATUSES = [str(status) for status in EmailStatus]
REASONS = [str(reason) for reason in Reason]
OTHER_REASON = len(REASONS) + 1
"""Stands for a reason that is none of ours."""

LINGERING = """
    SELECT email.enrollment_id
    FROM scheduled_emails AS email
    JOIN enrollments AS ended ON ended.id = email.enrollment_id AND ended.status <> '{active}'
    WHERE email.status = '{pending}'
       OR (email.status IN ({occupying})
           AND coalesce(email.send_day, email.sent_at::date) >= DATE '{recent}')
"""
"""Enrollments that have ended but still matter: rows to tidy up, or an email sent just now."""

ENROLLMENTS = """
    WITH zones AS (
        SELECT timezone, row_number() OVER (ORDER BY timezone)::integer AS code
        FROM (SELECT DISTINCT timezone FROM contacts WHERE timezone IS NOT NULL) AS zone
    )
    SELECT enrollment.id, contact_id, sequence_id, enrolled_at,
           coalesce(current_step_id, {null}) AS current_step_id,
           coalesce(mailbox_id, {null}) AS mailbox_id,
           array_position(ARRAY[{enrollment_statuses}], status) AS status,
           coalesce(zones.code, 0) AS contact_timezone,
           coalesce(suppressed_at, '-infinity') AS suppressed_at
    FROM enrollments AS enrollment
    JOIN contacts AS contact ON contact.id = contact_id
    LEFT JOIN zones USING (timezone)
    WHERE (status = '{active}' OR enrollment.id IN ({lingering}) OR {reopened}) AND {within}
"""

EMAILS = """
    SELECT email.id, enrollment_id, step_id,
           coalesce(email.mailbox_id, {null}) AS mailbox_id,
           coalesce(send_day, '-infinity') AS send_day,
           coalesce(send_at, '-infinity') AS send_at,
           coalesce(sent_at, '-infinity') AS sent_at,
           coalesce(plan_run_id, {null}) AS plan_run_id,
           CASE WHEN unplaced_reason IS NULL THEN 0
                ELSE coalesce(array_position(ARRAY[{reasons}], unplaced_reason), {other_reason})
           END AS unplaced_reason,
           array_position(ARRAY[{statuses}], email.status) AS status
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
    WHERE email.status <> '{cancelled}'
      AND (enrollment.status = '{active}' OR enrollment_id IN ({lingering}) OR {reopened})
      AND ({within} OR {beside})
"""

BESIDE = """email.mailbox_id IN (
             SELECT mailbox_id FROM sequence_mailboxes WHERE sequence_id IN ({reach})
         )"""
"""Emails of other sequences, which use up what the mailboxes within reach can send."""

CONTACT_DAYS = """
    SELECT DISTINCT own.contact_id,
           coalesce(email.send_day, (email.sent_at AT TIME ZONE 'UTC')::date) AS send_day
    FROM enrollments AS own
    JOIN enrollments AS other
        ON other.contact_id = own.contact_id AND other.sequence_id NOT IN ({reach})
    JOIN scheduled_emails AS email ON email.enrollment_id = other.id
    WHERE own.sequence_id IN ({reach}) AND own.status = '{active}'
      AND (email.status IN ({occupying})
           OR email.status = '{pending}' AND email.plan_run_id IS NOT NULL)
      AND coalesce(email.send_day, (email.sent_at AT TIME ZONE 'UTC')::date) >= DATE '{recent}'
"""
"""Days on which contacts within reach get emails of other sequences."""


def read_pending(
    connection: Connection,
    now: dt.datetime,
    reach: frozenset[int] | None = None,
    reopened: Iterable[int] = (),
) -> dict[str, pd.DataFrame]:
    """Read the enrollments that may have something to send, and their emails.

    Parameters
    ----------
    connection : Connection
        The snapshot's transaction.
    now : aware datetime
        The moment of planning; history long before it is left out.
    reach : frozenset of int, optional
        Sequences to which it is limited. What others use of their mailboxes and of their
        contacts' days comes along.
    reopened : iterable of int
        Sequences whose completed enrollments are wanted, too.

    Returns
    -------
    dict of DataFrame
        ``enrollments`` and ``scheduled_emails``; within a reach also ``contact_days``.
    """
    sequences = _listed(reach or ())
    common: dict[str, object] = {
        "active": EnrollmentStatus.ACTIVE,
        "pending": EmailStatus.PENDING,
        "cancelled": EmailStatus.CANCELLED,
        "occupying": _quoted(OCCUPYING),
        "recent": (now.astimezone(dt.UTC) - dt.timedelta(days=RECENT_DAYS)).date().isoformat(),
        "null": NULL,
        "reach": sequences,
        "reopened": f"enrollment.status = '{EnrollmentStatus.COMPLETED}' AND sequence_id IN"
        f" ({_listed(reopened)})",
        "within": "true" if reach is None else f"sequence_id IN ({sequences})",
        "enrollment_statuses": _quoted(EnrollmentStatus),
        "statuses": _quoted(STATUSES),
        "reasons": _quoted(REASONS),
        "other_reason": OTHER_REASON,
    }
    common["lingering"] = LINGERING.format(**common)
    common["beside"] = "false" if reach is None else BESIDE.format(**common)
    enrollments = copy_out(connection, ENROLLMENTS.format(**common))
    emails = copy_out(connection, EMAILS.format(**common))
    zones = connection.scalars(
        text("SELECT DISTINCT timezone FROM contacts WHERE timezone IS NOT NULL ORDER BY timezone")
    ).all()
    frames = {
        "enrollments": _enrollments(enrollments, zones),
        "scheduled_emails": _emails(emails),
    }
    if reach is not None:
        frames["scheduled_emails"] = _with_others_fixed(frames)
        days = copy_out(connection, CONTACT_DAYS.format(**common))
        frames["contact_days"] = days.assign(send_day=_days(days["send_day"]))
    return frames


def _with_others_fixed(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Let the slots of other sequences count as used."""
    emails = frames["scheduled_emails"]
    others = ~emails["enrollment_id"].isin(frames["enrollments"]["id"])
    planned = others & (emails["status"] == EmailStatus.PENDING) & emails["plan_run_id"].notna()
    # A provisional row of others is nobody's use.
    emails = emails[~(others & (emails["status"] == EmailStatus.PENDING) & ~planned)]
    status = emails["status"].astype(object).mask(planned, str(EmailStatus.CLAIMED))
    return emails.assign(status=status).reset_index(drop=True)


def _enrollments(rows: pd.DataFrame, zones: Sequence[str]) -> pd.DataFrame:
    return rows.assign(
        enrolled_at=_instants(rows["enrolled_at"]),
        current_step_id=_nullable(rows["current_step_id"]),
        mailbox_id=_nullable(rows["mailbox_id"]),
        status=_words(rows["status"], [str(status) for status in EnrollmentStatus]),
        contact_timezone=_words(rows["contact_timezone"], zones),
        suppressed_at=_instants(rows["suppressed_at"]),
    )


def _emails(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(
        mailbox_id=_nullable(rows["mailbox_id"]),
        send_day=_days(rows["send_day"]),
        send_at=_instants(rows["send_at"]),
        sent_at=_instants(rows["sent_at"]),
        plan_run_id=_nullable(rows["plan_run_id"]),
        unplaced_reason=_words(rows["unplaced_reason"], [*REASONS, "other"]),
        status=_words(rows["status"], STATUSES),
    )


def _days(column: pd.Series) -> pd.Series:
    days = column.to_numpy()
    seconds = np.where(days == NULL, NULL, days * 86_400)
    return pd.Series(seconds.astype("datetime64[s]"))


def _instants(column: pd.Series) -> pd.Series:
    return pd.Series(
        pd.DatetimeIndex(column.to_numpy().astype("datetime64[us]")).tz_localize("UTC")
    )


def _nullable(column: pd.Series) -> pd.Series:
    values = column.to_numpy()
    return pd.Series(pd.arrays.IntegerArray(values.copy(), values == NULL))


def _words(codes: pd.Series, words: Sequence[str]) -> pd.Series:
    """Return words by number from 1; 0 is null."""
    return pd.Series(
        pd.Categorical.from_codes(codes.to_numpy() - 1, categories=pd.Index(list(words)))
    )


def _listed(keys: Iterable[int]) -> str:
    return ", ".join(str(int(key)) for key in sorted(keys)) or "NULL"


def _quoted(words: Iterable[object]) -> str:
    return ", ".join(f"'{word}'" for word in words)
