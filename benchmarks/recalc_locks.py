"""A recalculation's locks: how long it holds them, and what goes on meanwhile.

    make bench-locks

One user owns everything, so that the instance is one component, and a recalculation of it one
transaction, however many rows it writes. The waits of all second steps are raised by a day. While
the recalculation publishes, a dispatcher's claimer claims due emails that stay where they are, and
another session asks for the lock that a change of a mailbox takes.
"""

import argparse
import datetime as dt
import multiprocessing as mp
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Engine, event, text

from sendplan.benchmarks import machine, results
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.due_emails import database
from sendplan.benchmarks.nightly import let_days_pass
from sendplan.benchmarks.scratch import scratch_server
from sendplan.io.database.engine import connect, migrate
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference

RESULTS = Path(__file__).parent / "RESULTS.md"
CONTACTS, MAILBOXES = 23_000, 94
"""So many that some 50,000 emails move."""

NOON = REFERENCE_NOW.replace(hour=15)
GRACE = dt.timedelta(hours=3)
"""Emails due for no longer than this stay where they are, and are there to be claimed."""

CLAIMED_AT_ONCE = 4
BETWEEN = 0.02
"""Seconds between two looks of a session."""

CHANGE = "UPDATE steps SET wait_days = wait_days + 1 WHERE position = 2"
CHANGE_A_MAILBOX = "LOCK TABLE mailboxes IN ROW EXCLUSIVE MODE"

Look = tuple[float, float, int]
"""When a session asked and was answered, on the monotonic clock, and the emails that it got."""


@dataclass(frozen=True)
class Locks:
    """One recalculation.

    Parameters
    ----------
    moved, rows : int
        Emails that moved, and rows written.
    begun, ended : float
        When it asked for its first lock and had committed, on the monotonic clock.
    claims, changes : list of Look
        Claims of due emails, and locks that a change of a mailbox takes.
    """

    moved: int
    rows: int
    begun: float
    ended: float
    claims: list[Look]
    changes: list[Look]

    @property
    def seconds(self) -> float:
        """Return how long it held locks."""
        return self.ended - self.begun

    def waits(self, looks: Sequence[Look], *, meanwhile: bool = True) -> list[float]:
        """Return the seconds of the looks that met the transaction, or of those before it."""
        return [
            answered - asked
            for asked, answered, _ in looks
            if (
                answered > self.begun and asked < self.ended
                if meanwhile
                else answered <= self.begun
            )
        ]

    def claimed(self) -> int:
        """Return the emails that were claimed while it held locks."""
        return sum(count for _, at, count in self.claims if self.begun < at < self.ended)


def measure(server: str, number: int) -> Locks:
    """Change a copy of the planned database, and recalculate it.

    Parameters
    ----------
    server : str
        URL of a database on the server, which holds the database ``planned``.
    number : int
        Of the run.
    """
    from sendplan.io.planning.last_plan import recalc_parameters
    from sendplan.io.planning.recalc import recalc

    with database(server, f"locks_{number}", "planned") as url:
        engine = connect(url)
        with engine.begin() as connection:
            connection.execute(text(CHANGE))
        parameters = recalc_parameters(engine, NOON)
        moments: list[float] = []
        with _beside(url, _claims) as claims, _beside(url, _changes) as changes:

            def report(phase: str) -> None:
                if phase == "store":
                    claims.start()
                    changes.start()

            with _told_of_locks(engine, moments):
                done = recalc(
                    engine,
                    NOON,
                    parameters,
                    grace=GRACE.total_seconds(),
                    report=report,
                    written=lambda done, total: moments.append(time.monotonic()),
                )
        engine.dispose()
    begun, ended = moments
    published = done.run.published
    rows = published.rows_changed if published else 0
    return Locks(done.run.plan.moved, rows, begun, ended, claims.looks, changes.looks)


@contextmanager
def _told_of_locks(engine: Engine, moments: list[float]) -> Iterator[None]:
    from sendplan.io.publish.store import LOCK_ROWS

    def before(*arguments: Any) -> None:
        if arguments[2] == LOCK_ROWS:
            moments.append(time.monotonic())

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", before)


class _Session:
    """A process that looks again and again, from its start to the end of the block."""

    def __init__(self, url: str, look: Callable[[Engine], Callable[[], int]]) -> None:
        context = mp.get_context("spawn")
        self._ready, self._go, self._stop = (context.Event() for _ in range(3))
        self._results = context.Queue()
        self._process = context.Process(
            target=_run,
            args=(url, look, self._ready, self._go, self._stop, self._results),
            daemon=True,
        )
        self._process.start()
        if not self._ready.wait(timeout=60):
            raise TimeoutError("a session did not start")
        self.looks: list[Look] = []

    def start(self) -> None:
        self._go.set()

    def end(self) -> None:
        self._go.set()
        self._stop.set()
        self.looks = self._results.get(timeout=60)
        self._process.join(timeout=60)


@contextmanager
def _beside(url: str, look: Callable[[Engine], Callable[[], int]]) -> Iterator[_Session]:
    session = _Session(url, look)
    try:
        yield session
    finally:
        session.end()


def _run(
    url: str,
    look: Callable[[Engine], Callable[[], int]],
    ready: Event,
    go: Event,
    stop: Event,
    found: Any,
) -> None:
    engine = connect(url)
    once = look(engine)
    looks: list[Look] = []
    ready.set()
    go.wait()
    while not stop.is_set():
        asked = time.monotonic()
        count = once()
        looks.append((asked, time.monotonic(), count))
        time.sleep(BETWEEN)
    found.put(looks)


def _claims(engine: Engine) -> Callable[[], int]:
    from sendplan.io.delivery.claimer import PREPARED, Claimer
    from sendplan.io.delivery.transactions import Transactions

    transactions = Transactions(engine, PREPARED)
    claimer = Claimer(uuid.uuid4(), "benchmark", lease=GRACE, grace=GRACE)
    with transactions.begin():
        pass

    def once() -> int:
        with transactions.begin() as cursor:
            found = claimer.claim(
                cursor.connection, NOON, CLAIMED_AT_ONCE, lambda mailbox_id: CLAIMED_AT_ONCE
            )
        return len(found.claims)

    return once


def _changes(engine: Engine) -> Callable[[], int]:
    connection = engine.connect()

    def once() -> int:
        with connection.begin():
            connection.execute(text(CHANGE_A_MAILBOX))
        return 0

    return once


def section(runs: Sequence[Locks], contacts: int, mailboxes: int) -> str:
    """Write the results down as a section of Markdown."""
    rows = [
        [
            f"{run.moved:,}",
            f"{run.rows:,}",
            f"{run.seconds:.1f}",
            f"{run.claimed():,}",
            *(
                f"{1000 * of(run.waits(run.claims, meanwhile=meanwhile), default=0):.0f}"
                for meanwhile in (False, True)
                for of in (_median, max)
            ),
            f"{max(run.waits(run.changes), default=0):.1f}",
        ]
        for run in runs
    ]
    header = ["moved", "rows", "locked, s", "claimed meanwhile", "claim before, ms", "worst"]
    header += ["claim meanwhile, ms", "worst", "change of a mailbox waits, s"]
    return "\n\n".join(
        [
            results.LOCKS,
            f"{today()}, commit {machine.commit()}; {machine.describe()}; {machine.packages()}. "
            f"Reference instance of {contacts:,} contacts and {mailboxes} mailboxes of one owner, "
            "so that all is one component; the waits of all second steps are raised by a day. "
            "Locked: from the first row's lock until the commit of the one transaction. Meanwhile "
            f"a dispatcher's claimer takes {CLAIMED_AT_ONCE} due emails at a time from the same "
            "mailboxes: medians and the worst of whole transactions, before the locks and while "
            "they are held. Another session asks for the lock that a change of a mailbox takes. "
            "Made by `make bench-locks`.",
            results.table(header, rows),
        ]
    )


def _median(values: Sequence[float], *, default: float) -> float:
    return median(values) if values else default


def prepare(url: str, contacts: int, mailboxes: int) -> None:
    """Fill an empty database, plan it, and let the morning pass."""
    from sendplan.io.campaigns.demo import fill
    from sendplan.io.planning.nightly import run_plan
    from sendplan.planner.problem.parameters import Parameters

    engine = connect(url)
    migrate(engine)
    fill(engine, reference(contacts, mailboxes, shared=True, provisional=True))
    run_plan(engine, REFERENCE_NOW, Parameters(method="greedy"))
    let_days_pass(engine, NOON - GRACE)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM change_requests"))
    engine.dispose()


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--mailboxes", type=int, default=MAILBOXES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server", help="a PostgreSQL to use instead of an embedded one")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    runs = []
    with scratch_server(options.server) as server, database(server, "planned") as url:
        say("filling and planning a database")
        prepare(url, options.contacts, options.mailboxes)
        for number in range(options.runs):
            runs.append(measure(server, number))
            say(f"run {number + 1}: {runs[-1].rows:,} rows locked {runs[-1].seconds:.2f} s")
    known = options.output.read_text() if options.output.exists() else ""
    found = section(runs, options.contacts, options.mailboxes)
    options.output.write_text(results.with_section(known, found).rstrip() + "\n")
    say(f"written: {options.output}")


if __name__ == "__main__":
    main()
