"""How long a dispatcher takes that finds nothing to do: its start, its looks, and its end."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from sendplan.benchmarks.due_emails import PLANNED, database, fill, plan, run
from sendplan.benchmarks.results import table

MAILBOXES = 200
NO_PORT = 9
"""A port without a server; nothing is sent."""

# Two of three contacts have one email, as the layout has it, one has two.
LATER = f"""
{PLANNED} SELECT id, step_id, 1 + id %% %(mailboxes)s, %(day)s::date + 1 + id::integer %% 30,
    now() + interval '1 day' * (1 + id %% 30), 1
FROM (
    SELECT id, sequence_id AS step_id FROM enrollments
    UNION ALL SELECT id, 3 FROM enrollments WHERE sequence_id = 2
    LIMIT %(rows)s
) AS email
"""


@dataclass(frozen=True)
class Starts:
    """Seconds of some runs."""

    what: str
    seconds: list[float]


def measure(
    server: str, sizes: Sequence[int], times: int, say: Callable[[str], None]
) -> list[Starts]:
    """Run `sendplan dispatch --once` on tables of each size, with no row due.

    Parameters
    ----------
    server
        Where databases may be made.
    sizes
        Rows of ``scheduled_emails``.
    times
        Runs of each size.
    say
        Told of the progress.
    """
    found = [Starts("Python alone", [_seconds(_bare_python) for _ in range(times)])]
    for size in sizes:
        say(f"start: {size:,} rows")
        with database(server, "starting") as url:
            fill(url, max(1, -(-2 * size // 3)), MAILBOXES)
            plan(url, LATER, rows=size, mailboxes=MAILBOXES)
            found.append(Starts(f"{size:,} rows", [_seconds(_start(url)) for _ in range(times)]))
    return found


def _start(url: str) -> Callable[[], None]:
    return lambda: run(url, NO_PORT, "--once")


def _bare_python() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def _seconds(task: Callable[[], None]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def report(measured: Sequence[Starts]) -> list[str]:
    """Write the measurements down as paragraphs of Markdown."""
    times = len(measured[0].seconds)
    lines = [
        [
            starts.what,
            *(f"{pick(starts.seconds):.2f}" for pick in (median, min, max)),
        ]
        for starts in measured
    ]
    return [
        f"Seconds of the whole process `sendplan dispatch --once` with nothing due, {times} runs"
        " each.",
        table(["", "median", "least", "worst"], lines),
    ]
