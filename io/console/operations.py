"""What an operator sees: where the work stands, what is wrong, what is uncertain."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sendplan.io.console.tables import (
    SHOWN_SEQUENCES,
    counted,
    day_of,
    print_table,
    print_unplaced,
)
from sendplan.io.console.terminal import Terminal
from sendplan.io.streams import tell

if TYPE_CHECKING:
    from sendplan.io.operations.health import Health
    from sendplan.io.operations.status import Status
    from sendplan.io.operations.uncertain import UncertainEmail

SHOWN_MAILBOXES = 12
SHOWN_PAUSED = 20
NAME_WIDTH = 24
"""Characters of a name, so that a table fits on 80 columns."""


def show_status(status: "Status") -> None:
    """Print where the work stands."""
    console = Terminal()
    run = status.last_run
    if run is None:
        console.print("Nothing has been planned yet; run `sendplan plan`.")
    else:
        console.print(_run(run), markup=False)
    if status.queued_changes:
        console.print(
            f"Queued: {counted(status.queued_changes, 'change')}; `sendplan recalc` re-plans what"
            " they reach."
        )
    counts = ", ".join(f"{count:,} {name}" for name, count in status.emails.items())
    console.print(f"Emails: {counts or 'none'}.")
    _print_dispatching(console, status)
    print_table(
        console,
        "Sequences",
        ["", "Status", "Contacts", "Sent", "ReadPlan", "No slot", "Finished"],
        [
            [
                _short(row["name"] or f"sequence {row['id']}"),
                row["status"],
                f"{row['contacts']:,}",
                f"{row['sent']:,}",
                f"{row['planned']:,}",
                f"{row['without_slot']:,}",
                _day(row["finish_day"]),
            ]
            for row in status.sequences[:SHOWN_SEQUENCES]
        ],
        hidden=len(status.sequences) - SHOWN_SEQUENCES,
    )
    busiest = sorted(
        status.mailboxes,
        key=lambda row: (-row["used_today"] - row["planned_today"], -row["planned"], row["id"]),
    )
    print_table(
        console,
        "Mailboxes, today's busiest first",
        ["", "Status", "Sent", "In hand", "To go", "Of", "ReadPlan", "Finished"],
        [
            [
                _short(row["email"]),
                row["status"],
                f"{row['sent_today']:,}",
                f"{row['in_flight']:,}",
                f"{row['planned_today']:,}",
                f"{row['daily_capacity']:,}",
                f"{row['planned']:,}",
                _day(row["finish_day"]),
            ]
            for row in busiest[:SHOWN_MAILBOXES]
        ],
        hidden=len(busiest) - SHOWN_MAILBOXES,
    )
    if len(busiest) > 1:
        _print_all_mailboxes(console, status.mailboxes)
    _print_paused(console, status.paused)
    print_unplaced(console, [(row["reason"], row["emails"]) for row in status.unplaced])


def _run(run: Mapping[str, Any]) -> str:
    """Return what the newest run has come to, as one sentence or two."""
    moment = f", as of {run['as_of']:%a %d %b %Y %H:%M} UTC" if run["as_of"] else ""
    name = f"{run['kind']} run, {run['id']}{moment}"
    if run["state"] == "finished":
        emails, late = (_number(run[column]) for column in ("emails", "late_follow_ups"))
        return (
            f"Last {name} ({run['method'] or '–'}, {run['status'] or '–'}): {emails} emails,"
            f" {late} late follow-ups, finished {day_of(run['finish_day'])}."
        )
    written = f"{_number(run['rows_changed'])} rows are written"
    if isinstance(run["parts"], int):
        written = f"{run['parts_published']:,} of {run['parts']:,} parts are published"
        if run["state"] == "unfinished" and run["rows_changed"] is not None:
            written += f", {run['rows_changed']:,} rows changed"
    if run["state"] == "running":
        return f"The {name}, is under way: {written}."
    again = "recalc" if run["kind"] == "recalc" else "plan"
    return (
        f"The last {name}, did not finish: {written}, and stand; the others are as they were."
        f" Run `sendplan {again}` again."
    )


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _print_dispatching(console: Console, status: "Status") -> None:
    """Print what is due, what is late, and what dispatchers are doing."""
    late = f", {status.late:,} of them late" if status.late else ""
    if status.overdue:
        late += f" ({status.overdue:,} overdue, to be planned again)"
    upcoming = f"; the next leaves {status.next_at:%a %d %b %H:%M} UTC" if status.next_at else ""
    console.print(f"Due now: {status.due:,}{late}{upcoming}.")
    console.print(f"Sent today: {status.sent_today:,}; in flight: {status.in_flight:,}.")
    if status.uncertain:
        console.print(f"Uncertain: {status.uncertain:,}; `sendplan uncertain` lists them.")


def _print_all_mailboxes(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    sent, to_go, capacity = (
        sum(row[name] for row in rows) for name in ("sent_today", "planned_today", "daily_capacity")
    )
    console.print(
        f"All {len(rows):,} today: {sent:,} sent, {to_go:,} to go, of {capacity:,} at most."
    )


def _print_paused(console: Console, paused: Sequence[tuple[str, str | None]]) -> None:
    """Print what is paused; what nobody has paused on purpose comes first."""
    if not paused:
        return
    console.print("\nPaused", style="italic")
    first = sorted(paused, key=lambda row: row[1] is None)
    for name, reason in first[:SHOWN_PAUSED]:
        console.print(f"{name}: {reason or 'on purpose'}")
    if len(paused) > SHOWN_PAUSED:
        console.print(f"… and {len(paused) - SHOWN_PAUSED:,} more")


def _short(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def _day(value: Any) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d}"


def show_uncertain(emails: Sequence["UncertainEmail"]) -> None:
    """Print uncertain emails, each with what finds it in the mailbox's sent messages."""
    if not emails:
        tell("No email is uncertain.")
        return
    for email in emails:
        tell(_told(email))
    tell(
        "\nLook for the Message-ID among the mailbox's sent messages, then say what you found:\n"
        f"  sendplan uncertain --sent {emails[0].id}\n"
        f"  sendplan uncertain --not-sent {emails[0].id}"
    )


def _told(email: "UncertainEmail") -> str:
    place = f"step {email.position}" if email.position else "a removed step"
    sequence = email.sequence or f"sequence of enrollment {email.enrollment_id}"
    slot = f"{email.send_at:%a %d %b %Y %H:%M} UTC" if email.send_at else "no slot"
    since = f"; uncertain since {email.since:%a %d %b %H:%M} UTC" if email.since else ""
    return (
        f"Email {email.id}, {place} of {sequence}, to {email.contact}\n"
        f"  from {email.mailbox or 'no mailbox'}, {slot}{since}\n"
        f"  Message-ID: {email.message_id or 'none was stored'}\n"
        f"  {email.last_error or 'no reason was stored'}"
    )


def show_resolved(resolved: Mapping[str, Sequence[int]]) -> None:
    """Print how many uncertain emails were sent, and how many were not."""
    sent, not_sent = (len(resolved[name]) for name in ("sent", "not_sent"))
    tell(f"Sent: {sent:,}; not sent: {not_sent:,}. `sendplan recalc` re-plans what that reaches.")


def show_health(health: "Health") -> None:
    """Print what was found, one line each."""
    for finding in health.findings:
        tell(str(finding))
    if health.fine:
        tell("Emails leave, plans are made, changes are worked off.")
