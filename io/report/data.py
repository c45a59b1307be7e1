"""The data of a report, read from the tables as of one moment."""

import datetime as dt
from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Engine, text

from sendplan.io.database.value_checks import usable
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.snapshot.load import read_snapshot, reading
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.stored_slots import stored_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.vocabulary import IN_FLIGHT, EmailStatus, EnrollmentStatus

SENT = f"""
    SELECT enrollment.sequence_id, coalesce(step.position, 0) AS position,
           coalesce(email.send_day, (email.sent_at AT TIME ZONE 'UTC')::date) AS send_day,
           count(*) AS emails
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
    JOIN steps AS step ON step.id = email.step_id
    WHERE email.status = '{EmailStatus.SENT}'
      AND {usable(email="scheduled_emails")}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

SENT_BY_MAILBOX = f"""
    SELECT mailbox_id, count(*) AS emails FROM scheduled_emails
    WHERE status = '{EmailStatus.SENT}' AND mailbox_id IS NOT NULL
    GROUP BY mailbox_id ORDER BY mailbox_id
"""

CONTACTS = f"""
    SELECT sequence_id,
           CASE WHEN enrollment.status <> '{EnrollmentStatus.ACTIVE}' THEN enrollment.status
                WHEN contact.suppressed_at IS NOT NULL THEN '{EnrollmentStatus.STOPPED}'
                WHEN current_step_id IS NOT NULL OR EXISTS (
                    SELECT FROM scheduled_emails AS email
                    WHERE email.enrollment_id = enrollment.id
                      AND email.status = '{EmailStatus.SENT}'
                ) THEN 'under_way'
                ELSE 'not_started'
           END AS progress,
           count(*) AS contacts
    FROM enrollments AS enrollment JOIN contacts AS contact ON contact.id = contact_id
    GROUP BY 1, 2 ORDER BY 1, 2
"""

IN_HAND = f"""
    SELECT count(*) FROM scheduled_emails
    WHERE status IN ({", ".join(f"'{word}'" for word in IN_FLIGHT)})
"""

LAST_NIGHT = """
    SELECT id, as_of, cost, lower_bound, stop_reason,
           (SELECT count(*) FROM plan_runs AS later
            WHERE later.id > night.id AND later.finished_at IS NOT NULL) AS later_runs
    FROM plan_runs AS night
    WHERE kind = 'plan' AND as_of IS NOT NULL AND finished_at IS NOT NULL
    ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Night:
    """The last nightly run.

    Parameters
    ----------
    id : int
        Its number.
    as_of : aware datetime
        The moment of planning.
    cost, lower_bound : float or None
        Of its plan.
    stop_reason : str or None
        Why its search stopped, a word of `Termination`.
    later_runs : int
        Recalculations since.
    """

    id: int
    as_of: dt.datetime
    cost: float | None
    lower_bound: float | None
    stop_reason: str | None
    later_runs: int


@dataclass(frozen=True, eq=False)
class ReportData:
    """The data of a report.

    Parameters
    ----------
    problem : Problem
        The problem as of the moment.
    parameters : Parameters
        Of the last plan, for the cost.
    plan : Plan
        The stored slots.
    sent : DataFrame
        Emails sent so far: sequence_id, position (0 for removed steps), send_day, emails.
    sent_by_mailbox : DataFrame
        The same by mailbox_id, where a mailbox is known.
    contacts : DataFrame
        Enrollments by sequence_id and progress (``not_started``, ``under_way``, ``completed``,
        ``stopped`` or ``failed``): contacts.
    in_hand : int
        Emails that dispatchers hold.
    queued_changes : int
        Changes that are not yet in the plan.
    night : Night or None
        The last nightly run; None before the first.
    """

    problem: Problem
    parameters: Parameters
    plan: Plan
    sent: pd.DataFrame
    sent_by_mailbox: pd.DataFrame
    contacts: pd.DataFrame
    in_hand: int
    queued_changes: int
    night: Night | None


def read_data(engine: Engine, now: dt.datetime) -> ReportData:
    """Read the data of a report, as of one moment; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment.

    Returns
    -------
    ReportData
        Its transaction has ended.

    Raises
    ------
    DatabaseError
        If the database cannot be read.
    DataError
        If the tables cannot be planned.
    """
    parameters = recalc_parameters(engine, now)
    with reading(engine) as connection:
        snapshot = read_snapshot(connection, now)
        sent = _frame(connection, SENT, days=("send_day",))
        sent_by_mailbox = _frame(connection, SENT_BY_MAILBOX)
        contacts = _frame(connection, CONTACTS)
        in_hand = int(connection.execute(text(IN_HAND)).scalar_one())
        night = connection.execute(text(LAST_NIGHT)).mappings().one_or_none()
    problem = snapshot.problem(now)
    return ReportData(
        problem=problem,
        parameters=parameters,
        plan=stored_plan(problem, parameters),
        sent=sent,
        sent_by_mailbox=sent_by_mailbox,
        contacts=contacts,
        in_hand=in_hand,
        queued_changes=len(snapshot.requests.ids),
        night=None if night is None else Night(**night),
    )


def _frame(connection: Connection, query: str, days: tuple[str, ...] = ()) -> pd.DataFrame:
    result = connection.execute(text(query))
    frame = pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))
    return frame.assign(**{name: pd.to_datetime(frame[name]) for name in days})
