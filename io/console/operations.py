"""Output for operators: status, health, uncertain emails."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sendplan.io.console.tables import (
    SHOWN_SEQUENCES,
    late_follow_ups,
    print_table,
    print_unplaced,
)
from sendplan.io.console.terminal import Terminal
from sendplan.io.documents.wording import MISSING, named, time_text, written
from sendplan.io.streams import tell
from sendplan.planner.schema.wording import counted

if TYPE_CHECKING:
    from sendplan.io.operations.health import Health
    from sendplan.io.operations.status import Status
    from sendplan.io.operations.uncertain import UncertainEmail

SHOWN_MAILBOXES = 12
SHOWN_PAUSED = 20
NAME_WIDTH = 24


def show_status(status: "Status") -> None:
    """Print the status."""
    console = Terminal()
    run = status.last_run
    if run is None:
        console.print("Nothing has been planned yet; run `sendplan plan`.")
    else:
        console.print(_run(run), markup=False)
    if changes := status.queued_changes:
        console.print(f"Queued: {counted(changes, 'change')}; run `sendplan recalc`.")
    counts = ", ".join(f"{count:,} {name}" for name, count in status.emails.items())
    console.print(f"Emails: {counts or 'none'}.")
    _print_dispatching(console, status)
    print_table(
        console,
        "Sequences",
        {
            "name": ("", "text"),
            "status": ("Status", "text"),
            "contacts": ("Contacts", "count"),
            "sent": ("Sent", "count"),
            "planned": ("Planned", "count"),
            "without_slot": ("No slot", "count"),
            "finish_day": ("Last day", "day"),
        },
        named(status.sequences, "sequence"),
        most=SHOWN_SEQUENCES,
        width=NAME_WIDTH,
    )
    busiest = sorted(
        status.mailboxes,
        key=lambda row: (-row["used_today"] - row["planned_today"], -row["planned"], row["id"]),
    )
    print_table(
        console,
        "Mailboxes, today's busiest first",
        {
            "email": ("", "text"),
            "status": ("Status", "text"),
            "sent_today": ("Sent", "count"),
            "in_flight": ("In hand", "count"),
            "planned_today": ("To go", "count"),
            "daily_capacity": ("Of", "count"),
            "planned": ("Planned", "count"),
            "finish_day": ("Last day", "day"),
        },
        busiest,
        most=SHOWN_MAILBOXES,
        width=NAME_WIDTH,
    )
    if len(busiest) > 1:
        sent, to_go, capacity = (
            sum(row[name] for row in busiest)
            for name in ("sent_today", "planned_today", "daily_capacity")
        )
        console.print(
            f"All {len(busiest):,} today: {sent:,} sent, {to_go:,} to go, capacity {capacity:,}."
        )
    _print_paused(console, status.paused)
    print_unplaced(console, [(row["reason"], row["emails"]) for row in status.unplaced])


def _run(run: Mapping[str, Any]) -> str:
    """Describe the newest run."""
    as_of = f" as of {time_text(run['as_of'])}" if run["as_of"] else ""
    name = f"{run['kind']} {run['id']}{as_of}"
    if run["state"] == "finished":
        late = run["late_follow_ups"]
        figures = (
            _counted(run["emails"], "email"),
            "late follow-ups unknown" if late is None else late_follow_ups(late),
            f"last day {written(run['finish_day'], 'day')}",
        )
        how = f"{run['method'] or MISSING}, {run['status'] or MISSING}"
        return f"Last run: {name} ({how}): {', '.join(figures)}."
    rows = run["rows_changed"]
    so_far = f"{_counted(rows, 'row')} written"
    if isinstance(run["parts"], int):
        so_far = f"{run['parts_published']:,} of {counted(run['parts'], 'part')} published"
        if run["state"] == "unfinished" and rows is not None:
            so_far += f" ({counted(rows, 'row')} changed)"
    if run["state"] == "running":
        return f"Running: {name}; {so_far}."
    again = "recalc" if run["kind"] == "recalc" else "plan"
    return (
        f"Last run: {name} did not finish; {so_far}, the others unchanged. Run"
        f" `sendplan {again}` again."
    )


def _counted(number: int | None, noun: str) -> str:
    return f"{MISSING} {noun}s" if number is None else counted(number, noun)


def _print_dispatching(console: Console, status: "Status") -> None:
    """Print what is due and late, and what dispatchers are doing."""
    late = f", {status.late:,} of them late" if status.late else ""
    if status.overdue:
        late += f" ({status.overdue:,} overdue, to be planned again)"
    upcoming = f"; the next leaves {time_text(status.next_at)}" if status.next_at else ""
    console.print(f"Due now: {status.due:,}{late}{upcoming}.")
    console.print(f"Sent today: {status.sent_today:,}; in flight: {status.in_flight:,}.")
    if status.uncertain:
        console.print(f"Uncertain: {status.uncertain:,}; `sendplan uncertain` lists them.")


def _print_paused(console: Console, paused: Sequence[tuple[str, str | None]]) -> None:
    """Print what is paused; what sendplan paused itself comes first."""
    if not paused:
        return
    console.print("\nPaused", style="italic")
    first = sorted(paused, key=lambda row: row[1] is None)
    for name, reason in first[:SHOWN_PAUSED]:
        console.print(f"{name}: {reason or 'by command'}")
    if len(paused) > SHOWN_PAUSED:
        console.print(f"… and {len(paused) - SHOWN_PAUSED:,} more")


def show_uncertain(emails: Sequence["UncertainEmail"]) -> None:
    """Print uncertain emails, each with its Message-ID."""
    if not emails:
        tell("No email is uncertain.")
        return
    for email in emails:
        tell(_described(email))
    tell(
        "\nLook for the Message-ID among the mailbox's sent messages, then resolve each:\n"
        f"  sendplan uncertain --sent {emails[0].id}\n"
        f"  sendplan uncertain --not-sent {emails[0].id}"
    )


def _described(email: "UncertainEmail") -> str:
    place = f"step {email.position}" if email.position else "a removed step"
    sequence = email.sequence or f"sequence of enrollment {email.enrollment_id}"
    slot = time_text(email.send_at) if email.send_at else "no slot"
    since = f"; uncertain since {time_text(email.since)}" if email.since else ""
    return (
        f"Email {email.id}, {place} of {sequence}, to {email.contact}\n"
        f"  from {email.mailbox or 'no mailbox'}, {slot}{since}\n"
        f"  Message-ID: {email.message_id or 'none was stored'}\n"
        f"  {email.last_error or 'no reason was stored'}"
    )


def show_resolved(resolved: Mapping[str, Sequence[int]]) -> None:
    """Print how many uncertain emails were resolved, and how."""
    sent, not_sent = (len(resolved[name]) for name in ("sent", "not_sent"))
    tell(f"Sent: {sent:,}; not sent: {not_sent:,}. Run `sendplan recalc` to update the plan.")


def show_health(health: "Health") -> None:
    """Print one line for each finding."""
    for finding in health.findings:
        tell(str(finding))
    if health.fine:
        tell("Healthy: emails leave on time, the plan is fresh, no change waits.")
