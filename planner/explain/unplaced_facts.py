"""Why an email has no slot, and the remedy."""

from dataclasses import dataclass, field

import numpy as np

from sendplan.planner.changes.rows import row_of
from sendplan.planner.explain.context import ExplanationContext
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import (
    MAX_HORIZON_DAYS,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    MailboxStatus,
    Reason,
    SequenceStatus,
)

NOT_PLANNED = "not_planned"
"""No plan has seen the email yet."""

OVERDUE = "overdue"
"""Its slot has passed, and it was not sent."""


@dataclass(frozen=True)
class Obstruction:
    """Why an email has no slot.

    Parameters
    ----------
    state : str
        ``"unplaced"``, or ``"idle"`` where it is not planned.
    reason : str
        A word of `Reason`, or another one.
    text : str
        The reason as a sentence.
    remedy : str or None
        What to do.
    names : dict
        Names of the mailboxes in the text, by id.
    """

    state: str
    reason: str
    text: str
    remedy: str | None = None
    names: dict[int, str] = field(default_factory=dict)


def obstruction(
    context: ExplanationContext, enrollment_id: int, step_id: int, email: int, reason: str | None
) -> Obstruction:
    """Return why an email has no slot.

    Parameters
    ----------
    context : ExplanationContext
        The plan.
    enrollment_id, step_id : int
        The email.
    email : int
        Its index, `NONE` where it is not planned.
    reason : str or None
        Reason of the plan.
    """
    if email != NONE:
        return _left_out(context, email, reason)
    place = row_of(context.problem.enrollments, "enrollment", enrollment_id)
    return (
        _step_is_over(context, enrollment_id, place, step_id)
        or _stopped(context, place)
        or _blocked(context, place)
        or Obstruction("idle", "passed", "The contact is past this step and does not get it.")
    )


def _left_out(context: ExplanationContext, email: int, reason: str | None) -> Obstruction:
    """Return why an email that can be planned has no slot."""
    if context.overdue[email]:
        return Obstruction(
            "unplaced",
            OVERDUE,
            "Its slot has passed, and it was not sent.",
            "The next plan gives it another one: `sendplan plan`.",
        )
    behind = context.instance.emails.order[email] > 0 and context.day[email - 1] == NONE
    if reason is None:
        return Obstruction(
            "unplaced",
            NOT_PLANNED,
            "It has not been planned yet.",
            "`sendplan plan` gives it a slot, or `sendplan recalc` if a change is queued.",
        )
    if behind:
        position = context.step(email - 1)[1]
        return Obstruction(
            "unplaced",
            Reason.BEHIND_UNPLACED,
            f"It waits for the email before it, step {position}, which has no slot.",
            f"Explain step {position} instead.",
        )
    return Obstruction(
        "unplaced",
        Reason.NO_ROOM,
        "No day within the horizon has capacity left for it.",
        "Lengthen the horizon, raise a capacity or link another mailbox to the sequence.",
    )


def _step_is_over(
    context: ExplanationContext, enrollment_id: int, place: int, step_id: int
) -> Obstruction | None:
    """Return whether the email was sent, is in flight, or belongs to a removed step."""
    rows = context.problem.scheduled_emails
    own = rows[((rows["enrollment_id"] == enrollment_id) & (rows["step_id"] == step_id)).to_numpy()]
    status = [str(word) for word in own["status"] if word != EmailStatus.CANCELLED]
    if status and status[-1] in (*OCCUPYING, EmailStatus.FAILED):
        return Obstruction("idle", status[-1], f"The email is {status[-1]}.")
    steps = context.problem.steps
    step = steps[(steps["id"] == step_id).to_numpy()]
    if int(step["removed_at"].iloc[0]) != NULL or int(step["position"].iloc[0]) == NULL:
        return Obstruction("idle", "step_removed", "The step was removed from its sequence.")
    live = context.problem.live_steps
    mine = live[(live["sequence_id"] == step["sequence_id"].iloc[0]).to_numpy()]
    ordinal = int(np.flatnonzero((mine["id"] == step_id).to_numpy())[0])
    if context.state.remaining[place] & (np.int64(1) << ordinal):
        return None
    return Obstruction("idle", "passed", "The contact has received this step or is past it.")


def _stopped(context: ExplanationContext, place: int) -> Obstruction | None:
    """Return what ends the thread, if anything does."""
    problem = context.problem
    row = problem.enrollments.iloc[place]
    if row["status"] != EnrollmentStatus.ACTIVE:
        word = str(row["status"])
        return Obstruction("idle", word, f"The enrollment is {word}: nothing more is sent.")
    if row["suppressed_at"] != NULL:
        return Obstruction("idle", "suppressed", "The contact is suppressed: nothing is sent.")
    sequence = row_of(problem.sequences, "sequence", row["sequence_id"])
    if problem.sequences["status"].iloc[sequence] != SequenceStatus.ACTIVE:
        name = context.sequence_name(sequence)
        return Obstruction(
            "idle",
            "sequence_paused",
            f"The sequence {name} is paused.",
            f'Resume it: `sendplan sequence resume "{name}"`.',
        )
    if context.state.failed[place]:
        return Obstruction(
            "idle", "behind_failed", "An earlier email of the thread failed, which ends the thread."
        )
    return None


def _blocked(context: ExplanationContext, place: int) -> Obstruction | None:
    """Return what keeps every plan from placing the email."""
    blocked = context.instance.blocked
    own = blocked[(blocked["enrollment"] == place).to_numpy()]
    if not len(own):
        return None
    reason = Reason(own["reason"].iloc[0])
    problem = context.problem
    if reason == Reason.MAILBOX_PAUSED:
        mailbox_id = int(context.state.mailbox_id[place])
        mailbox = row_of(problem.mailboxes, "mailbox", mailbox_id)
        name = context.mailbox_name(mailbox)
        return Obstruction(
            "unplaced",
            reason,
            f"The thread has begun at {name}, which is paused.",
            f"Resume it: `sendplan mailbox resume {name}`. Removing it would move the thread to"
            " another mailbox.",
            {mailbox_id: name},
        )
    if reason == Reason.BEHIND_UNCERTAIN:
        rows = problem.scheduled_emails
        mine = rows["enrollment_id"] == problem.enrollments["id"].iloc[place]
        row = rows[(mine & (rows["status"] == EmailStatus.UNCERTAIN)).to_numpy()].iloc[0]
        known = row["id"] != NULL
        which = f"email {row['id']}" if known else f"the email of step {row['step_id']}"
        flags = f"--sent {row['id']}`, or `--not-sent {row['id']}" if known else "--sent ID"
        return Obstruction(
            "unplaced",
            reason,
            f"It is unknown whether {which} of the thread has left; this one waits for the answer.",
            f"Look for it in the mailbox's sent messages, then `sendplan uncertain {flags}`.",
        )
    sequence = row_of(problem.sequences, "sequence", problem.enrollments["sequence_id"].iloc[place])
    if reason == Reason.NO_NEW_CONTACTS:
        name = context.sequence_name(sequence)
        return Obstruction(
            "unplaced",
            reason,
            f"The sequence {name} starts no new contacts: its max_new_per_day is 0.",
            f'Raise it: `sendplan sequence set "{name}" --max-new-per-day NUMBER`.',
        )
    if reason == Reason.NO_CAPACITY:
        return Obstruction(
            "unplaced",
            reason,
            "No mailbox of the thread has capacity on any day of the next year.",
            "Give one capacity: `sendplan mailbox set MAILBOX --capacity NUMBER`.",
        )
    if reason == Reason.BEYOND_HORIZON:
        return Obstruction(
            "unplaced",
            reason,
            f"It is ready only after the {MAX_HORIZON_DAYS} days that a plan reaches ahead.",
            "A later plan includes it; a shorter wait or more sending days bring it forward.",
        )
    statuses = set(problem.mailboxes["status"])
    paused = MailboxStatus.PAUSED in statuses
    return Obstruction(
        "unplaced",
        reason,
        "No active mailbox is linked to the sequence.",
        f"{'Resume or link' if paused else 'Link'} one:"
        " `sendplan sequence set NAME --link MAILBOX`.",
    )
