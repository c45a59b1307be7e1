"""Output of one email explained: its outcome, or why its slot is what it is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sendplan.io.console.tables import print_set_aside
from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.wording import called, time_text
from sendplan.planner.explain.texts import paragraphs
from sendplan.planner.explain.unplaced_facts import OVERDUE
from sendplan.planner.schema.vocabulary import EmailStatus
from sendplan.planner.schema.wording import counted

if TYPE_CHECKING:
    from sendplan.io.studies.explanations import ExplainedEmail


def show_explained(found: "ExplainedEmail") -> None:
    """Print an explanation as a few paragraphs."""
    console = Terminal(soft_wrap=True)
    console.print("\n\n".join(_texts(found)), markup=False)
    print_set_aside(found.set_aside)


def _texts(found: "ExplainedEmail") -> Iterator[str]:
    row = found.row
    place = f"step {row['position']}" if row["position"] else "a removed step"
    sequence = called(row["sequence"], "sequence", row["sequence_id"])
    yield f"Email {row['id']} to {row['contact']}: {place} of {sequence}, {row['status']}."
    if found.set_aside:
        yield (
            "It is set aside: its enrollment, sequence or mailbox has a value that cannot be used."
            " The next plan after the correction includes it."
        )
        return
    if row["status"] != EmailStatus.PENDING:
        yield _outcome(row)
        return
    if found.explanation is None:
        yield (
            f"The enrollment is {row['enrollment_status']}"
            + (f" ({row['stop_reason']})" if row["stop_reason"] else "")
            + ": nothing more is sent, and the next plan cancels this email."
        )
        return
    yield from paragraphs(found.explanation)
    if found.explanation.send_at is None and row["send_at"] is not None and row["plan_run_id"]:
        slot = time_text(row["send_at"])
        if found.explanation.reason == OVERDUE:
            yield f"That slot was on {slot}."
        else:
            yield f"It still has a slot, on {slot}; `sendplan recalc` removes it."
    if row["retry_at"] is not None or row["last_error"]:
        yield _tried(row)


def _outcome(row: dict[str, Any]) -> str:
    """Describe the outcome of an email that is no longer pending."""
    slot = f"its slot was {row['send_at']:%a %d %b %Y %H:%M:%S} UTC" if row["send_at"] else None
    mailbox = f"from {row['mailbox']}" if row["mailbox"] else None
    message = f"Message-ID {row['message_id']}" if row["message_id"] else None
    status = row["status"]
    if status == EmailStatus.SENT:
        parts = [f"It left on {row['sent_at']:%a %d %b %Y at %H:%M:%S} UTC", mailbox, slot]
        if row["send_at"] is not None:
            seconds = (row["sent_at"] - row["send_at"]).total_seconds()
            parts.append(f"{abs(seconds):,.0f} s {'late' if seconds >= 0 else 'early'}")
        return f"{_joined([*parts, message])}."
    if status in (EmailStatus.CLAIMED, EmailStatus.SENDING):
        return f"{_joined(['A dispatcher holds it', mailbox, slot, message])}."
    if status == EmailStatus.UNCERTAIN:
        head = _joined(["It may or may not have left", mailbox, slot, message])
        return (
            f"{head}. {row['last_error'] or 'No reason was stored.'}\n"
            "Look for its Message-ID among the mailbox's sent messages, then resolve it:"
            f" `sendplan uncertain --sent {row['id']}` or `--not-sent {row['id']}`."
        )
    if status == EmailStatus.FAILED:
        tries = f"after {counted(row['attempts'], 'attempt')}" if row["attempts"] else None
        head = _joined(["It failed", tries, mailbox, slot])
        return f"{head}. {row['last_error'] or 'No reason was stored.'} The thread ends there."
    why = row["stop_reason"] or row["suppressed_reason"]
    ended = row["enrollment_status"] != "active"
    state = f"the enrollment is {row['enrollment_status']}" if ended else None
    if not row["position"]:
        state = "its step was removed"
    return f"{_joined(['It was cancelled and will not be sent', state, why])}."


def _tried(row: dict[str, Any]) -> str:
    again = f" Not before {time_text(row['retry_at'])}." if row["retry_at"] else ""
    error = f": {row['last_error']}" if row["last_error"] else ""
    return f"It was tried {counted(row['attempts'], 'time')}{error}.{again}"


def _joined(parts: list[str | None]) -> str:
    return ", ".join(part for part in parts if part)
