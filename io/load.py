"""One consistent snapshot of the database as the frames of a problem.

The large tables come by binary COPY of fixed-width columns, which numpy reads without parsing;
words travel as numbers. The snapshot is closed before anybody solves: a transaction left open
would make claiming slow (an old snapshot keeps dead rows alive).
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Engine, text

from sendplan.io.binary import copy_out
from sendplan.io.database import translated_errors
from sendplan.io.errors import DataError
from sendplan.io.errors import Problem as Fault
from sendplan.planner.errors import ProblemError
from sendplan.planner.problem import Problem
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
    WHERE status = '{active}' OR enrollment.id IN ({lingering})
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
      AND (enrollment.status = '{active}' OR enrollment_id IN ({lingering}))
"""

SMALL = {
    "sequences": """
        SELECT id, name, extract(epoch FROM start_time)::integer AS start_time,
               extract(epoch FROM end_time)::integer AS end_time, timezone, send_days, holidays,
               wait_unit, priority::double precision AS priority, max_new_per_day, status
        FROM sequences ORDER BY id""",
    "steps": """
        SELECT id, sequence_id, position, wait_days, removed_at FROM steps ORDER BY id""",
    "mailboxes": """
        SELECT id, email, daily_capacity, min_gap_seconds, ramp_start, ramp_increment, ramp_from,
               status
        FROM mailboxes ORDER BY id""",
    "sequence_mailboxes": """
        SELECT sequence_id, mailbox_id FROM sequence_mailboxes
        ORDER BY sequence_id, mailbox_id""",
}


@dataclass(frozen=True)
class Snapshot:
    """The database at one moment.

    Parameters
    ----------
    frames : dict of DataFrame
        What `Problem.from_frames` takes, but for `now`.
    settings : dict of list
        The rows of sequences, steps, mailboxes and links, to see later whether they changed.
    """

    frames: dict[str, pd.DataFrame]
    settings: dict[str, list[tuple[object, ...]]]

    def problem(self, now: dt.datetime) -> Problem:
        """Return the problem that the snapshot poses at `now`.

        Raises
        ------
        DataError
            If the tables hold what cannot be planned.
        """
        try:
            return Problem.from_frames(**self.frames, now=now)
        except ProblemError as error:
            faults = [
                Fault(fault.where, str(fault).removeprefix(f"{fault.where}: "))
                for fault in error.faults
            ]
            raise DataError(faults, "The tables cannot be planned") from error


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
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with (
        translated_errors("reading the pending work"),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):
        return read_snapshot(connection, now)


def read_snapshot(connection: Connection, now: dt.datetime) -> Snapshot:
    """Read a snapshot within a transaction that is already open."""
    settings = read_settings(connection)
    lingering = LINGERING.format(
        active=EnrollmentStatus.ACTIVE,
        pending=EmailStatus.PENDING,
        occupying=_quoted(OCCUPYING),
        recent=(now.astimezone(dt.UTC) - dt.timedelta(days=RECENT_DAYS)).date().isoformat(),
    )
    enrollments = copy_out(
        connection,
        ENROLLMENTS.format(
            active=EnrollmentStatus.ACTIVE,
            lingering=lingering,
            null=NULL,
            enrollment_statuses=_quoted(EnrollmentStatus),
        ),
    )
    emails = copy_out(
        connection,
        EMAILS.format(
            active=EnrollmentStatus.ACTIVE,
            lingering=lingering,
            null=NULL,
            statuses=_quoted(STATUSES),
            reasons=_quoted(REASONS),
            other_reason=OTHER_REASON,
            cancelled=EmailStatus.CANCELLED,
        ),
    )
    zones = connection.scalars(
        text("SELECT DISTINCT timezone FROM contacts WHERE timezone IS NOT NULL ORDER BY timezone")
    ).all()
    frames = {name: _small_frame(name, rows) for name, rows in settings.items()}
    frames["enrollments"] = _enrollments(enrollments, zones)
    frames["scheduled_emails"] = _emails(emails)
    return Snapshot(frames, settings)


def read_settings(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of the small tables that shape a plan."""
    return {
        name: [tuple(row) for row in connection.execute(text(query))]
        for name, query in SMALL.items()
    }


SMALL_COLUMNS = {
    "sequences": (
        "id", "name", "start_time", "end_time", "timezone", "send_days", "holidays", "wait_unit",
        "priority", "max_new_per_day", "status",
    ),
    "steps": ("id", "sequence_id", "position", "wait_days", "removed_at"),
    "mailboxes": (
        "id", "email", "daily_capacity", "min_gap_seconds", "ramp_start", "ramp_increment",
        "ramp_from", "status",
    ),
    "sequence_mailboxes": ("sequence_id", "mailbox_id"),
}  # fmt: skip


def _small_frame(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(SMALL_COLUMNS[name]), dtype=object)
    if name == "sequences":
        for column in ("start_time", "end_time"):
            frame[column] = pd.to_timedelta(frame[column].astype("int64"), unit="s")
    return frame


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


def _quoted(words: Iterable[object]) -> str:
    return ", ".join(f"'{word}'" for word in words)
