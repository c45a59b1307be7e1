"""How the nightly run grows, up to a million contacts on this machine.

For each size a fresh database is filled, with a mailbox for 500 contacts; then the very code that
``sendplan plan --method greedy`` runs plans the first night and an ordinary one, part by part where
there is more than one. Memory is the proportional share of all processes of the run, looked at
several times a second, and apart from them that of the server's. Writes its section of
``benchmarks/RESULTS.md``.
"""

import argparse
import datetime as dt
import math
import sys
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
import psycopg2

from sendplan.benchmarks import machine
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.nightly import DAYS_BETWEEN, RESULTS, administer, database, let_days_pass
from sendplan.benchmarks.results import SCALE, table, with_section
from sendplan.benchmarks.scratch import libpq, scratch_server
from sendplan.io.campaigns.demo import fill
from sendplan.io.database.engine import connect, migrate
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.run import Run
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.synthetic import instances as synthetic
from sendplan.planner.synthetic.instances import REFERENCE_NOW

CONTACTS_PER_MAILBOX = 500
SECONDS_BETWEEN_LOOKS = 0.25


@dataclass(frozen=True)
class Grown:
    """One night at one size; memory in GiB."""

    contacts: int
    night: str
    run: Run
    planner: float
    server: float

    @property
    def seconds(self) -> float:
        """Seconds on the wall."""
        return self.run.seconds["total"]


class MemoryWatch:
    """Looks at the memory of a run's processes and of its server, from a thread of its own.

    Parameters
    ----------
    server : str
        Its URL; it runs on this machine.
    """

    def __init__(self, server: str) -> None:
        self.planner = self.server = 0.0
        self._server = _postmaster(server)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        """Start looking."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        own = psutil.Process()
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            servers = [self._server, *self._server.children(recursive=True)]
            known = {each.pid for each in servers}
            children = own.children(recursive=True)
            planners = [own, *(child for child in children if child.pid not in known)]
            self.planner = max(self.planner, _gibibytes(planners))
            self.server = max(self.server, _gibibytes(servers))


def _postmaster(server: str) -> psutil.Process:
    with closing(psycopg2.connect(libpq(server))) as session:
        found = psutil.Process(session.info.backend_pid).parent()
    if found is None:
        raise RuntimeError("the server does not run on this machine")
    return found


def _gibibytes(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of processes; what several share is counted once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 2**30


def measure(contacts: int, workers: int, name: str, server: str) -> list[Grown]:
    """Fill a database of a size and plan two nights."""
    url = database(server, name)
    engine = connect(url)
    migrate(engine)
    mailboxes = max(contacts // CONTACTS_PER_MAILBOX, 1)
    fill(engine, synthetic.reference(contacts, mailboxes, provisional=True))
    later = REFERENCE_NOW + dt.timedelta(days=DAYS_BETWEEN)
    nights = []
    for night, now in (("first", REFERENCE_NOW), ("ordinary", later)):
        if now == later:
            let_days_pass(engine, later)
        _say(f"{contacts:,} contacts: {night} night")
        with MemoryWatch(url) as memory:
            run = run_plan(
                engine, now, Parameters(method="greedy", workers=workers), done=_progress
            )
        nights.append(Grown(contacts, night, run, memory.planner, memory.server))
        _say(f"{nights[-1].seconds:.1f} s, {memory.planner:.2f} GiB")
    engine.dispose()
    administer(server, f"DROP DATABASE {name}")
    return nights


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _progress(done: int, total: int) -> None:
    _say(f"  {done} of {total} parts")


def report(version: str, nights: list[Grown], workers: int) -> str:
    """Write the measurements down as Markdown."""
    rows = [
        [
            f"{each.contacts:,}",
            each.night,
            f"{each.run.summary.totals['emails']:,}",
            f"{each.seconds:.1f}",
            *(f"{each.run.seconds[phase]:.1f}" for phase in ("load", "solve", "check", "store")),
            f"{each.run.published.rows_changed if each.run.published else 0:,}",
            f"{each.run.summary.totals['cost']:,.0f}",
            f"{each.planner:.2f}",
            f"{each.server:.2f}",
        ]
        for each in nights
    ]
    header = [
        "contacts",
        "night",
        "emails",
        "seconds",
        "load",
        "solve",
        "check",
        "store",
        "rows written",
        "cost",
        "planner GiB",
        "server GiB",
    ]
    parts = [
        SCALE,
        f"{today()}, commit {machine.commit()}; {machine.describe()}; PostgreSQL {version};"
        f" {machine.packages()}. One run each, greedy, {workers} workers; a mailbox for"
        f" {CONTACTS_PER_MAILBOX} contacts. Seconds are the wall clock's; those of the phases add"
        " up over parts that are planned side by side. Made by `make bench-scale`.",
        table(header, rows),
        *(_growth(nights, night) for night in ("first", "ordinary")),
    ]
    return "\n\n".join(parts) + "\n"


def _growth(nights: list[Grown], night: str) -> str:
    sizes = [each for each in nights if each.night == night]
    small, large = sizes[0], sizes[-1]
    if small.contacts == large.contacts:
        return f"The {night} night: one size only."
    power = math.log(large.seconds / small.seconds) / math.log(large.contacts / small.contacts)
    return (
        f"From {small.contacts:,} to {large.contacts:,} contacts, the {night} night's seconds grow"
        f" as the contacts to the power {power:.2f}."
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="50000,200000,1000000", help="contacts, comma-separated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--server", help="URL of a server to use; by default an embedded one")
    given = parser.parse_args(arguments)
    nights = []
    with scratch_server(given.server) as server:
        for size in map(int, given.sizes.split(",")):
            nights += measure(size, given.workers, f"scale_{size}", server)
        version = administer(server, "SHOW server_version")
    section = report(version, nights, given.workers)
    text = given.output.read_text() if given.output.exists() else ""
    given.output.write_text(with_section(text, section))
    print(section)


if __name__ == "__main__":
    main()
