"""Two dispatchers that are killed again and again, and what the sink then has accepted."""

import datetime as dt
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Session

from sendplan.benchmarks.accounts import Account, Enrollment, Row, account, standing
from sendplan.benchmarks.due_emails import (
    LATE_ENOUGH,
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
from sendplan.benchmarks.sinks import PATIENCE, ended, python_sink, read_log
from sendplan.io.delivery.claim import MAX_CLAIMS

DISPATCHERS = 2
VICTIMS = ((0,), (1,), (0, 1))
BEGINS_AFTER = dt.timedelta(seconds=3)
LIMITED = 10
"""One mailbox of each group of this size has a capacity below what is due."""

NO_PROGRESS = 120.0
"""Seconds without any change after which the rest counts as left over."""

# Every second contact gets two steps: half of the second ones have a slot, too, a quarter of the
# time later, and half have no row yet.
FIRST_STEPS = f"""
{PLANNED} SELECT id, sequence_id, 1 + (id / 4) %% %(mailboxes)s, %(day)s,
    %(begins)s + date_trunc('second', (id - 1) / %(contacts)s::float8 * 0.75 * %(span)s), 1
FROM enrollments
"""
SECOND_STEPS = f"""
{PLANNED} SELECT enrollment_id, 3, mailbox_id, send_day,
    send_at + date_trunc('second', 0.25 * %(span)s), 1
FROM scheduled_emails WHERE step_id = 2 AND enrollment_id %% 4 = 1
"""
CAPACITIES = """
UPDATE mailboxes
SET daily_capacity = due.count * CASE WHEN id %% %(limited)s = 0 THEN 0.8 ELSE 1 END
FROM (SELECT mailbox_id, count(*) FROM scheduled_emails GROUP BY mailbox_id) AS due
WHERE due.mailbox_id = id
"""

ROWS = """
SELECT message_id, status, enrollment_id, step.position, mailbox_id, plan_run_id IS NOT NULL
FROM scheduled_emails JOIN steps AS step ON step.id = step_id
WHERE status <> 'cancelled'
"""
ENROLLMENTS = """
SELECT enrollment.id, last.position, coalesce(step.position, 0), enrollment.status
FROM enrollments AS enrollment
JOIN (
    SELECT sequence_id, max(position) AS position FROM steps GROUP BY sequence_id
) AS last ON last.sequence_id = enrollment.sequence_id
LEFT JOIN steps AS step ON step.id = enrollment.current_step_id
"""
ATTEMPTS = "SELECT max(attempts), count(*) FILTER (WHERE attempts > 1) FROM scheduled_emails"


@dataclass(frozen=True)
class Size:
    """How much is sent, and how often dispatchers are killed.

    Parameters
    ----------
    emails, mailboxes
        How many, follow-ups included.
    seconds
        Seconds over which the slots are spread.
    every
        Seconds from when both work to the next kill, on average.
    lease
        Seconds.
    seed
        Of the moments of the kills and their victims.
    """

    emails: int
    mailboxes: int
    seconds: float
    every: float
    lease: float
    seed: int


@dataclass(frozen=True)
class Killed:
    """One run: what was done to it, and how log and tables compare."""

    size: Size
    seconds: float
    kills: int
    retaken: int
    most_attempts: int
    account: Account


class Pair:
    """Dispatchers that can be killed, and are started again."""

    def __init__(self, url: str, port: int, size: Size, folder: Path) -> None:
        options = ["--transport", "smtp", "--lease", str(size.lease), "--log", "json"]
        self._command = command(*options, "--grace", str(LATE_ENOUGH))
        self._environment = environment(url, port)
        self._logs = [folder / f"dispatcher-{number}.log" for number in range(DISPATCHERS)]
        for log in self._logs:
            log.write_bytes(b"")
        self._said = [0] * DISPATCHERS
        self._stacks = [ExitStack() for _ in range(DISPATCHERS)]
        self._processes: list[subprocess.Popen[str]] = []
        self.kills = 0

    def start(self) -> None:
        """Start all."""
        self._processes = [self._start(number) for number in range(DISPATCHERS)]

    def _start(self, number: int) -> "subprocess.Popen[str]":
        log = self._logs[number]
        self._said[number] = log.stat().st_size
        with log.open("ab") as stream:
            process = subprocess.Popen(
                self._command, env=self._environment, stdout=stream, stderr=stream, text=True
            )
        return self._stacks[number].enter_context(ended(process))

    def wait_until_they_work(self) -> None:
        """Wait for the first word of all: killed while starting, they would never get to work."""
        for number, log in enumerate(self._logs):
            until = time.monotonic() + PATIENCE
            while log.stat().st_size == self._said[number]:
                if time.monotonic() > until:
                    raise TimeoutError("a dispatcher does not begin")
                time.sleep(0.02)

    def kill(self, numbers: Sequence[int]) -> None:
        """Kill some at the same moment, and start them again."""
        for number in numbers:
            code = self._processes[number].poll()
            if code is not None:
                raise RuntimeError(f"a dispatcher has ended by itself with {code}")
            self._processes[number].kill()
            self.kills += 1
        for number in numbers:
            self._stacks[number].close()
            self._processes[number] = self._start(number)

    def finish(self) -> None:
        """Let all end as a service manager would."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            # The signal itself ends one that has only just been started.
            if (code := process.wait(PATIENCE)) not in (0, -signal.SIGTERM):
                raise RuntimeError(f"a dispatcher ended with {code}")

    def close(self) -> None:
        """See that none is left."""
        for stack in self._stacks:
            stack.close()


def measure(server: str, size: Size, folder: Path, say: Callable[[str], None]) -> Killed:
    """Send everything while dispatchers are killed, and compare log and tables.

    Parameters
    ----------
    server
        Where a database may be made.
    size
        How much.
    folder
        For the logs of the sink and the dispatchers.
    say
        Told of the progress.
    """
    accepted = folder / "accepted.log"
    accepted.write_bytes(b"")
    with (
        database(server, "kills") as url,
        python_sink(accepted) as port,
        closing(psycopg2.connect(libpq(url))) as session,
    ):
        # Five emails for four contacts.
        fill(url, size.emails * 4 // 5, size.mailboxes)
        plan(
            url,
            FIRST_STEPS,
            SECOND_STEPS,
            CAPACITIES,
            begins=dt.datetime.now(dt.UTC).replace(microsecond=0) + BEGINS_AFTER,
            span=dt.timedelta(seconds=size.seconds),
            contacts=size.emails * 4 // 5,
            mailboxes=size.mailboxes,
            limited=min(LIMITED, size.mailboxes),
        )
        began = time.monotonic()
        with closing(Pair(url, port, size, folder)) as pair:
            pair.start()
            above = _kill_until_nothing_is_left(session, pair, size, say)
            seconds = time.monotonic() - began
            pair.finish()
        found = account(
            [message.message_id for message in read_log(accepted)],
            _rows(session),
            _capacities(session),
            [Enrollment(*row) for row in rows(session, ENROLLMENTS)],
        )
        ((most, retaken),) = rows(session, ATTEMPTS)
    faults = {**found.faults, "mailbox-days above capacity meanwhile": above}
    return Killed(size, seconds, pair.kills, retaken, most, replace(found, faults=faults))


def _kill_until_nothing_is_left(
    session: Session, pair: Pair, size: Size, say: Callable[[str], None]
) -> int:
    """Kill now and then; return how many mailbox-days were seen above their capacity."""
    chance = random.Random(size.seed)
    capacities = _capacities(session)
    above, before, changed = 0, Counter[str](), time.monotonic()
    while True:
        pair.wait_until_they_work()
        time.sleep(size.every * chance.uniform(0.5, 1.5))
        emails = _rows(session)
        stand = standing(emails, capacities)
        above = max(above, stand.above)
        statuses = Counter(row.status for row in emails)
        say(f"kills: {', '.join(f'{statuses[word]:,} {word}' for word in sorted(statuses))}")
        if not stand.left:
            return above
        if statuses != before:
            before, changed = statuses, time.monotonic()
        elif time.monotonic() - changed > NO_PROGRESS:
            say("kills: no further progress")
            return above
        pair.kill(chance.choice(VICTIMS))


def _rows(session: Session) -> list[Row]:
    return [Row(*row) for row in rows(session, ROWS)]


def _capacities(session: Session) -> dict[int, int]:
    return dict(rows(session, "SELECT id, daily_capacity FROM mailboxes"))


def report(killed: Killed) -> list[str]:
    """Write a run down as paragraphs of Markdown."""
    size, found = killed.size, killed.account
    facts: list[tuple[str, int]] = [
        ("emails planned", sum(found.statuses.values())),
        *((f"of them {status}", count) for status, count in found.statuses.items()),
        ("accepted by the sink", found.accepted),
        ("uncertain that were accepted", found.uncertain_accepted),
        ("uncertain that were not", found.uncertain_not_accepted),
        ("pending, as their mailbox-day is full", found.standing.no_room),
        ("pending, as the email before them was not sent", found.standing.behind),
        ("provisional rows made for next steps", found.provisional),
        ("mailbox-days used up to the last email", found.standing.full),
        ("emails claimed more than once", killed.retaken),
        *(("fault: " + fault, count) for fault, count in found.faults.items()),
    ]
    verdict = "Everything is accounted for." if found.sound else "NOT everything is accounted for."
    return [
        f"{DISPATCHERS} `sendplan dispatch` processes with a lease of {size.lease:g} s sent to a"
        f" sink that writes each Message-ID down before it answers, {size.emails:,} emails on"
        f" {size.mailboxes} mailboxes with slots within {size.seconds:g} s. One or both were killed"
        f" (SIGKILL) {size.every:g} s after both were at work, on average, and started again:"
        f" {killed.kills} kills in {killed.seconds:.0f} s. Capacities are exactly what is due, one"
        f" mailbox of {LIMITED} has a fifth less. No email was claimed more than"
        f" {killed.most_attempts} times (the limit is {MAX_CLAIMS}). {verdict}",
        table(["", "count"], [[name, f"{count:,}"] for name, count in facts]),
    ]
