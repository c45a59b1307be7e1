"""How late emails are accepted: seconds between an email's slot and a sink's acceptance of it."""

import datetime as dt
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psycopg2

from sendplan.benchmarks.due_emails import (
    FOLLOW_UPS,
    PLANNED,
    command,
    database,
    environment,
    fill,
    plan,
    rows,
)
from sendplan.benchmarks.results import table
from sendplan.benchmarks.scratch import libpq
from sendplan.benchmarks.sinks import PATIENCE, Accepted, ended, python_sink, read_log

ON_TIME = 5.0

# As a plan spreads the emails of a window, in which the n-th mailbox has two more or two fewer
# than others: start + i × (end − start) / n. Whoever is enrolled in a sequence of two steps gets
# the first.
SPREAD = f"""
{PLANNED} SELECT slot.enrollment_id, enrollment.sequence_id, slot.box, %(day)s,
    %(begins)s + date_trunc('second', %(span)s * slot.i / slot.n), 1
FROM (
    SELECT row_number() OVER (ORDER BY box, i) AS enrollment_id, box, i, n
    FROM (
        SELECT box, greatest(1, %(emails)s - 2 + box %% 5) AS n
        FROM generate_series(1, %(mailboxes)s) AS box
    ) AS boxes, generate_series(0, n - 1) AS i
) AS slot JOIN enrollments AS enrollment ON enrollment.id = slot.enrollment_id
"""
BURST = f"""
{PLANNED} SELECT enrollment.id, enrollment.sequence_id,
    row_number() OVER (ORDER BY enrollment.id), %(day)s, %(burst)s, 1
FROM enrollments AS enrollment
WHERE NOT EXISTS (SELECT FROM scheduled_emails WHERE enrollment_id = enrollment.id)
ORDER BY enrollment.id LIMIT %(mailboxes)s
"""
TODAY = "SELECT count(*) FROM scheduled_emails WHERE step_id < 3"
SLOTS = "SELECT message_id, send_at FROM scheduled_emails WHERE message_id IS NOT NULL"


@dataclass(frozen=True)
class Size:
    """How much is sent within which time.

    Parameters
    ----------
    mailboxes
        How many.
    emails
        Of each, on average, the burst aside.
    seconds
        Seconds over which they are spread.
    rest
        Seconds for the dispatcher to start and to come to rest, and once more before the burst.
    """

    mailboxes: int
    emails: int
    seconds: float
    rest: float


@dataclass(frozen=True)
class Punctuality:
    """Seconds that emails were late, of one server."""

    server: str
    spread: list[float]
    burst: list[float]


def measure(
    server: str, size: Size, answers: Sequence[float], say: Callable[[str], None]
) -> list[Punctuality]:
    """Let a dispatcher run while emails come due, once for each time that a sink answers after."""
    return [_one(server, size, answer_after, say) for answer_after in answers]


def _one(server: str, size: Size, answer_after: float, say: Callable[[str], None]) -> Punctuality:
    with tempfile.TemporaryDirectory() as folder, database(server, "punctuality") as url:
        log = Path(folder) / "accepted.log"
        log.touch()
        # Two more a mailbox than the average, and one for the burst.
        fill(url, size.mailboxes * (size.emails + 3), size.mailboxes)
        begins = dt.datetime.now(dt.UTC).replace(microsecond=0)
        begins += dt.timedelta(seconds=size.rest)
        burst = begins + dt.timedelta(seconds=size.seconds + size.rest)
        plan(
            url,
            SPREAD,
            BURST,
            FOLLOW_UPS,
            begins=begins,
            burst=burst,
            span=dt.timedelta(seconds=size.seconds),
            emails=size.emails,
            mailboxes=size.mailboxes,
        )
        with (
            python_sink(log, answer_after) as port,
            Path(folder, "dispatcher.log").open("wb") as said,
            ended(
                subprocess.Popen(
                    command("--transport", "smtp"),
                    env=environment(url, port),
                    stdout=said,
                    stderr=said,
                    text=True,
                )
            ) as dispatcher,
        ):
            with closing(psycopg2.connect(libpq(url))) as session:
                ((planned,),) = rows(session, TODAY)
                say(f"punctuality: {planned:,} emails, answers after {answer_after:g} s")
                accepted = _wait_for(planned, log, burst)
                slots = dict(rows(session, SLOTS))
            dispatcher.send_signal(signal.SIGTERM)
            dispatcher.wait(PATIENCE)
    late = [(slots[email.message_id], email) for email in accepted]
    return Punctuality(
        f"answers after {answer_after * 1_000:g} ms" if answer_after else "answers at once",
        [_seconds(slot, email) for slot, email in late if slot != burst],
        [_seconds(slot, email) for slot, email in late if slot == burst],
    )


def _seconds(slot: dt.datetime, email: Accepted) -> float:
    return email.time - slot.timestamp()


def _wait_for(count: int, log: Path, burst: dt.datetime) -> list[Accepted]:
    until = burst + dt.timedelta(seconds=PATIENCE)
    while len(accepted := read_log(log)) < count:
        if dt.datetime.now(dt.UTC) > until:
            raise TimeoutError(f"{count - len(accepted):,} emails of {count:,} have not come")
        time.sleep(0.5)
    return accepted


def report(measured: Sequence[Punctuality], size: Size) -> list[str]:
    """Write the measurements down as paragraphs of Markdown."""
    lines = []
    for server in measured:
        for kind, late in (("spread", server.spread), ("burst", server.burst)):
            on_time = sum(0 <= seconds <= ON_TIME for seconds in late) / len(late)
            lines.append(
                [
                    f"{server.server}, {kind}",
                    f"{len(late):,}",
                    f"{on_time:.1%}",
                    f"{min(late):.2f}",
                    f"{median(late):.2f}",
                    f"{quantiles(late, n=20)[-1]:.2f}",
                    f"{max(late):.2f}",
                ]
            )
    return [
        f"Seconds from an email's slot to its acceptance by the sink, with one dispatcher that does"
        f" nothing else. Spread: {size.mailboxes} mailboxes send {size.emails} emails each on"
        f" average, evenly over {size.seconds:g} s as a plan does it, so that all send their first"
        " at the same second. Burst: each sends one more, all at the same second.",
        table(
            ["server", "emails", f"within {ON_TIME:g} s", "least", "median", "95 %", "worst"],
            lines,
        ),
    ]
