"""Changes between nights: how soon they are noticed, planned and written, and what they move.

    make bench-changes

The reference instance is planned once. For every run of every case a copy of that database gets
a `sendplan recalc --watch` of its own, a process like any user's; then another session commits the
change in plain SQL, and the clock runs until the process says that it has published.
"""

import argparse
import datetime as dt
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from statistics import median
from types import TracebackType
from typing import Any, Self

import psycopg2
from sqlalchemy import make_url, text

from sendplan.benchmarks import machine, results
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.nightly import administer, let_days_pass
from sendplan.benchmarks.scratch import libpq, scratch_server

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADING = results.OTHERS[2]
CONTACTS, MAILBOXES = 50_000, 200
AFTER_THE_NIGHT = dt.timedelta(minutes=30)
CHANGES = 500
SPACING = 0.005
"""Seconds between two changes of a burst."""
QUIET = 3.0
"""Seconds without an answer after which a burst is over, if nothing is queued."""

REMOVED = "UPDATE mailboxes SET status = 'removed' WHERE id = %(mailbox)s"
WAIT = """
    UPDATE steps SET wait_days = wait_days + 2
    WHERE position = 2 AND sequence_id = %(sequence)s
"""
ADDED = """
    WITH added AS (
        INSERT INTO mailboxes (email, user_id, daily_capacity)
        SELECT 'added.' || n || '@outreach.example', user_id, 50
        FROM generate_series(1, 20) AS n
        JOIN (
            SELECT user_id, row_number() OVER (ORDER BY user_id) AS place
            FROM (SELECT DISTINCT user_id FROM mailboxes) AS users
        ) AS owners ON place = 1 + n %% (SELECT count(DISTINCT user_id) FROM mailboxes)
        RETURNING id, user_id
    )
    INSERT INTO sequence_mailboxes (sequence_id, mailbox_id)
    SELECT DISTINCT link.sequence_id, added.id
    FROM added
    JOIN mailboxes AS other ON other.user_id = added.user_id
    JOIN sequence_mailboxes AS link ON link.mailbox_id = other.id
"""
LEAVING = """
    SELECT count(*) FROM scheduled_emails
    WHERE status = 'pending' AND plan_run_id IS NOT NULL AND mailbox_id = %(mailbox)s
"""
CLAIM = """
    UPDATE scheduled_emails SET status = 'claimed'
    WHERE id IN (
        SELECT id FROM scheduled_emails
        WHERE status = 'pending' AND plan_run_id IS NOT NULL
          AND send_at > %(begins)s AND send_at <= %(now)s
        ORDER BY send_at LIMIT 10 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, send_at
"""
SENT = "UPDATE scheduled_emails SET status = 'sent', sent_at = send_at WHERE id = %s"


@dataclass(frozen=True)
class Outcome:
    """One change, or one burst: seconds from the commit, and what came of it."""

    seconds: float
    runs: list[dict[str, Any]]
    leaving: int | None = None
    delays: list[float] | None = None
    violations: int = 0

    @property
    def moved(self) -> int:
        """Return the emails that were moved."""
        return sum(run["moved"] for run in self.runs)


class Watcher:
    """A `sendplan recalc --watch` and what it prints."""

    def __init__(self, url: str, now: dt.datetime) -> None:
        command = [sys.executable, "-m", "sendplan", "--database-url", url, "recalc", "--watch"]
        command += ["--json", "--as-of", now.isoformat()]
        self.url = url
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: Queue[tuple[float, dict[str, Any]]] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._until_it_listens()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((time.perf_counter(), json.loads(line)))

    def _until_it_listens(self) -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        query += " AND datname = current_database()"
        for _ in range(600):
            if int(_scalar(self.url, query)):
                time.sleep(0.5)
                return
            time.sleep(0.1)
        raise TimeoutError("the watcher does not listen")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End it as a service manager would."""
        self.process.terminate()
        if self.process.wait(timeout=60) != 0:
            raise RuntimeError(f"the watcher ended with {self.process.returncode}")


def _scalar(url: str, query: str, values: dict[str, Any] | None = None) -> Any:
    with closing(psycopg2.connect(libpq(url))) as session, session.cursor() as cursor:
        cursor.execute(query, values)
        row = cursor.fetchone()
        return row[0] if row else None


def _commit(url: str, statement: str, values: dict[str, Any]) -> None:
    with closing(psycopg2.connect(libpq(url))) as session, session.cursor() as cursor:
        cursor.execute(statement, values)
        session.commit()


def one_change(statement: str, url: str, now: dt.datetime, number: int) -> Outcome:
    """Commit a change and wait until it has been published."""
    values = {"mailbox": 7 + 60 * number, "sequence": 3 + 13 * number}
    leaving = int(_scalar(url, LEAVING, values)) if statement == REMOVED else None
    with Watcher(url, now) as watcher:
        begun = time.perf_counter()
        _commit(url, statement, values)
        at, run = watcher.lines.get(timeout=300)
    return Outcome(at - begun, [run], leaving, violations=_violations(url))


def burst(url: str, now: dt.datetime, number: int) -> Outcome:
    """Commit changes one after another while emails leave, and wait until all are planned."""
    noon = now.replace(hour=12, minute=0)
    _send_what_was_due(url, noon)
    statements = list(_changes(random.Random(number)))
    with Watcher(url, noon) as watcher, Dispatcher(url, noon) as dispatcher:
        begun = time.perf_counter()
        with closing(psycopg2.connect(libpq(url))) as session, session.cursor() as cursor:
            for statement, values in statements:
                cursor.execute(statement, values)
                session.commit()
                time.sleep(SPACING)
        runs, last = [], begun
        while True:
            try:
                last, run = watcher.lines.get(timeout=QUIET)
                runs.append(run)
            except Empty:
                if int(_scalar(url, "SELECT count(*) FROM change_requests")):
                    continue
                # The last one may have published, and still be at its vacuuming.
                try:
                    last, run = watcher.lines.get(timeout=5 * QUIET)
                    runs.append(run)
                except Empty:
                    break
    return Outcome(last - begun, runs, delays=dispatcher.delays, violations=_violations(url))


def _send_what_was_due(url: str, until: dt.datetime) -> None:
    from sendplan.io.database.engine import connect

    engine = connect(url)
    let_days_pass(engine, until)
    with engine.begin() as connection:
        # New enrollments wait for the next night; they are no change.
        connection.execute(text("DELETE FROM change_requests"))
    engine.dispose()


class Dispatcher:
    """Claims emails as they come due, and records them as sent; the clock begins at a moment."""

    def __init__(self, url: str, begins: dt.datetime) -> None:
        self.url, self.begins = url, begins
        self.delays: list[float] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        """Begin."""
        self.thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End."""
        self.stop.set()
        self.thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        with closing(psycopg2.connect(libpq(self.url))) as session, session.cursor() as cursor:
            while not self.stop.wait(0.1):
                now = self.begins + dt.timedelta(seconds=time.monotonic() - begun)
                cursor.execute(CLAIM, {"now": now, "begins": self.begins})
                session.commit()
                claimed = cursor.fetchall()
                at = self.begins + dt.timedelta(seconds=time.monotonic() - begun)
                self.delays += [(at - send_at).total_seconds() for _, send_at in claimed]
                for email, _ in claimed:
                    cursor.execute(SENT, (email,))
                    session.commit()


def _changes(chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the statements of a burst: what a busy hour of users and replies may bring."""
    kinds = [
        ("UPDATE enrollments SET status = 'stopped', stop_reason = 'replied' WHERE id = %(id)s",
         300, CONTACTS),
        ("UPDATE mailboxes SET daily_capacity = greatest(daily_capacity - 5, 1) WHERE id = %(id)s",
         70, MAILBOXES),
        ("UPDATE mailboxes SET daily_capacity = daily_capacity + 5 WHERE id = %(id)s",
         70, MAILBOXES),
        ("UPDATE contacts SET suppressed_at = now() WHERE id = %(id)s", 40, CONTACTS),
        ("UPDATE steps SET wait_days = wait_days + 1 WHERE position = 3 AND sequence_id = %(id)s",
         10, 40),
        ("UPDATE mailboxes SET status = 'paused' WHERE id = %(id)s", 10, MAILBOXES),
    ]  # fmt: skip
    statements = [
        (statement, {"id": chance.randrange(1, most + 1)})
        for statement, count, most in kinds
        for _ in range(count)
    ]
    chance.shuffle(statements)
    assert len(statements) == CHANGES
    return iter(statements)


def _violations(url: str) -> int:
    from sendplan.io.database.engine import connect
    from sendplan.io.planning.check import check

    engine = connect(url)
    try:
        return len(check(engine, dt.datetime.now(dt.UTC)).violations)
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Case:
    """What is measured, and what is to be reached."""

    name: str
    target: float
    measure: Callable[[str, dt.datetime, int], Outcome]
    outcomes: list[Outcome] = field(default_factory=list)


def cases() -> list[Case]:
    """Return the changes that are measured."""
    return [
        Case("one mailbox of 200 removed", 5, partial(one_change, REMOVED)),
        Case("one step's wait raised by 2 days", 3, partial(one_change, WAIT)),
        Case("20 mailboxes added at once", 10, partial(one_change, ADDED)),
        Case(f"a burst of {CHANGES} changes", 30, burst),
    ]  # fmt: skip


def section(measured: Sequence[Case], runs: int, planned: str) -> str:
    """Write the results down as a section of Markdown."""
    lines = [
        HEADING,
        "",
        f"{today()}, commit {machine.commit()}; {machine.describe()}; {machine.packages()}. "
        f"Reference instance, {planned}; medians of {runs} runs, in brackets the worst. Seconds "
        "run from the commit of a plain SQL statement in another session until `sendplan recalc "
        "--watch` has published. Moved: another day or mailbox; had to: its slot could not stay. "
        "Made by `make bench-changes`.",
        "",
        "| change | target | seconds | plans | moved | had to | ratio | rows | violations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in measured:
        outcomes = case.outcomes
        seconds = [outcome.seconds for outcome in outcomes]
        forced = [
            outcome.leaving
            if outcome.leaving is not None
            else sum(run["unavoidable"] for run in outcome.runs)
            for outcome in outcomes
        ]
        moved = [outcome.moved for outcome in outcomes]
        ratios = [m / f for m, f in zip(moved, forced, strict=True) if f]
        rows = [sum(run["rows_changed"] for run in outcome.runs) for outcome in outcomes]
        ratio = f"{median(ratios):.2f} ({max(ratios):.2f})" if ratios else "–"
        lines.append(
            f"| {case.name} | {case.target:g} s | {median(seconds):.1f} ({max(seconds):.1f})"
            f" | {median(len(outcome.runs) for outcome in outcomes):g} | {median(moved):,.0f}"
            f" | {median(forced):,.0f} | {ratio} | {median(rows):,.0f}"
            f" | {sum(outcome.violations for outcome in outcomes)} |"
        )
    lines.append("")
    for case in measured:
        delays = [seconds for outcome in case.outcomes for seconds in outcome.delays or []]
        if delays:
            lines += [
                f"During the bursts {len(delays):,} emails came due and were claimed, half of them"
                f" within {median(delays):.1f} s, the last after {max(delays):.1f} s.",
                "",
            ]
    return "\n".join(lines)


@contextmanager
def _copy(url: str, name: str, template: str) -> Iterator[str]:
    administer(url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(url, f"DROP DATABASE {name} WITH (FORCE)")


def prepare(url: str, method: str) -> None:
    """Fill an empty database and plan it."""
    from sendplan.io.campaigns.demo import fill
    from sendplan.io.database.engine import connect, migrate
    from sendplan.io.planning.nightly import run_plan
    from sendplan.planner.problem.parameters import Parameters
    from sendplan.planner.synthetic import instances as synthetic

    engine = connect(url)
    migrate(engine)
    fill(engine, synthetic.reference(CONTACTS, MAILBOXES, provisional=True))
    run_plan(engine, synthetic.REFERENCE_NOW, Parameters(method=method))
    engine.dispose()


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    from sendplan.planner.synthetic.instances import REFERENCE_NOW

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--method", default="auto", help="method of the nightly plan")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    measured = cases()
    with scratch_server() as url:
        administer(url, "CREATE DATABASE planned TEMPLATE template0")
        base = make_url(url).set(database="planned").render_as_string(hide_password=False)
        say("filling and planning a database")
        prepare(base, options.method)
        administer(url, "CHECKPOINT")
        for case in measured:
            for number in range(options.runs):
                with _copy(url, f"copy_{number}", "planned") as copy:
                    outcome = case.measure(copy, REFERENCE_NOW + AFTER_THE_NIGHT, number)
                case.outcomes.append(outcome)
                say(
                    f"{case.name}, run {number + 1}: {outcome.seconds:.2f} s,"
                    f" {len(outcome.runs)} plans, {outcome.moved:,} moved"
                    f" ({outcome.leaving or '–'}), {outcome.violations} violations;"
                    f" {outcome.runs[-1]['seconds'] if outcome.runs else ''}"
                )
    planned = f"planned by `{options.method}`"
    known = options.output.read_text() if options.output.exists() else ""
    found = section(measured, options.runs, planned)
    options.output.write_text(results.with_section(known, found).rstrip() + "\n")
    say(f"written: {options.output}")


if __name__ == "__main__":
    main()
