"""One email explained: its row, and why its slot is what it is."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from sendplan.io.database.conditions import in_calendar
from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import DataError
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.snapshot.load import load_around
from sendplan.io.snapshot.set_aside import SetAside, UnusableValue, find_unusable, to_json
from sendplan.planner.explain.explanations import explain_slots
from sendplan.planner.explain.texts import Explanation
from sendplan.planner.problem.slots import slots_of, standing_rows
from sendplan.planner.schema.column import Kind
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import EmailStatus


def _usable(name: str, kind: Kind) -> str:
    return f"CASE WHEN {in_calendar(f'email.{name}', kind)} THEN email.{name} END AS {name}"


EMAIL = f"""
    SELECT email.id, email.status, email.enrollment_id, email.step_id, email.mailbox_id,
           {_usable("send_day", "date")}, {_usable("send_at", "instant")},
           {_usable("sent_at", "instant")}, email.plan_run_id, email.unplaced_reason,
           email.attempts, email.last_error, email.message_id, {_usable("retry_at", "instant")},
           step.position, sequence.id AS sequence_id, sequence.name AS sequence,
           contact.email AS contact, enrollment.status AS enrollment_status,
           enrollment.stop_reason, contact.suppressed_reason,
           mailbox.email AS mailbox, mailbox.paused_reason,
           run.as_of AS planned_as_of, run.kind AS run_kind
    FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = email.enrollment_id
    JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    JOIN steps AS step ON step.id = email.step_id
    LEFT JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
    LEFT JOIN plan_runs AS run ON run.id = email.plan_run_id
    WHERE email.id = :id
"""

IDS = "SELECT min(id) AS least, max(id) AS most FROM scheduled_emails"

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class ExplainedEmail:
    """An email, and why its slot is what it is.

    Parameters
    ----------
    row : dict
        Its columns, and those of the rows that it refers to.
    as_of : aware datetime
        The moment as of which its slot is explained: that of the run that planned it.
    explanation : Explanation or None
        None unless the email is pending in an active enrollment and not set aside.
    set_aside : tuple of UnusableValue
        If it is set aside: all values that cannot be used.
    """

    row: dict[str, Any]
    as_of: dt.datetime
    explanation: Explanation | None
    set_aside: tuple[UnusableValue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``explain --json`` prints."""
        facts = None if self.explanation is None else self.explanation.to_json()
        return {"email": self.row, "as_of": self.as_of, "explanation": facts} | to_json(
            self.set_aside
        )


def explain_email(
    engine: Engine, email_id: int, now: dt.datetime, as_of: dt.datetime | None = None
) -> ExplainedEmail:
    """Explain an email of the stored plan; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    email_id : int
        A row of ``scheduled_emails``.
    now : aware datetime
        The moment.
    as_of : aware datetime, optional
        The moment as of which its slot is explained; by default that of the run that planned it.

    Returns
    -------
    ExplainedEmail
        From the component of its sequence only.

    Raises
    ------
    DataError
        If there is no such email, or the tables cannot be planned.
    DatabaseError
        If the database cannot be read.
    """
    row, aside = _row(engine, email_id)
    moment = as_of or row["planned_as_of"] or now
    if email_id in aside.emails:
        return ExplainedEmail(row, moment, None, aside.values)
    if row["status"] != EmailStatus.PENDING:
        return ExplainedEmail(row, moment, None)
    snapshot = load_around(engine, moment, [row["sequence_id"]])
    if row["enrollment_id"] in snapshot.set_aside.enrollments:
        return ExplainedEmail(row, moment, None, snapshot.set_aside.values)
    problem = snapshot.problem(moment)
    parameters = recalc_parameters(engine, moment)
    if not (problem.enrollments["id"] == row["enrollment_id"]).any():
        # The enrollment has ended, and its emails with it.
        return ExplainedEmail(row, moment, None)
    slots = slots_of(problem.scheduled_emails.iloc[standing_rows(problem)])
    explanation = explain_slots(
        problem, slots, row["enrollment_id"], row["step_id"], parameters, row["unplaced_reason"]
    )
    return ExplainedEmail(row, moment, explanation)


def _row(engine: Engine, email_id: int) -> tuple[dict[str, Any], SetAside]:
    with translated_errors("reading the email"), engine.connect() as connection:
        if abs(email_id) <= LARGEST_ID:
            found = connection.execute(text(EMAIL), {"id": email_id}).mappings()
            if (row := found.one_or_none()) is not None:
                return dict(row), find_unusable(connection)
        ids = connection.execute(text(IDS)).one()
    if ids.most is None:
        remedy = "nothing has been planned yet; run `sendplan plan`"
    else:
        remedy = f"ids go from {ids.least} to {ids.most}"
    raise DataError([Fault("scheduled_emails", f"there is no email {email_id}", remedy)])
