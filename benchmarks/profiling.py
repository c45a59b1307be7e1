"""Where the time of the first night goes: a flame graph of the planner, and the server's share.

The process that plans the reference instance is sampled by py-spy, which draws
``benchmarks/nightly.svg``. What the planner waits for is the server: its INSERT is then repeated
under EXPLAIN ANALYZE, which tells what writing rows and indexes takes, and each foreign key. Writes
its section of ``benchmarks/RESULTS.md``.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from sendplan.benchmarks import machine
from sendplan.benchmarks.copying import today
from sendplan.benchmarks.nightly import RESULTS, administer, database, mailboxes_of
from sendplan.benchmarks.results import PHASES, PROFILE, table, with_section
from sendplan.benchmarks.scratch import libpq, scratch_server
from sendplan.io.campaigns.demo import fill
from sendplan.io.database.engine import connect, migrate
from sendplan.io.planning.nightly import run_plan
from sendplan.io.publish.store import BY_KEY
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.synthetic import instances as synthetic

CONTACTS = 50_000
SAMPLES = 100
"""Looks at the process a second."""

TITLE = re.compile(r'(<text id="title"[^>]*>)[^<]*(</text>)')

FLAMES = Path(__file__).with_name("nightly.svg")

# The rows that the night has inserted, taken out and put in again.
PUT_ASIDE = """
    CREATE TEMPORARY TABLE inserted AS
    SELECT enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id
    FROM scheduled_emails
    WHERE status = 'pending' AND id NOT IN (
        SELECT min(id) FROM scheduled_emails WHERE status = 'pending' GROUP BY enrollment_id
    )
"""
TAKE_OUT = """
    DELETE FROM scheduled_emails WHERE (enrollment_id, step_id) IN (
        SELECT enrollment_id, step_id FROM inserted
    ) AND status = 'pending'
"""
PUT_IN = """
    EXPLAIN (ANALYZE, FORMAT JSON)
    INSERT INTO scheduled_emails
        (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
    SELECT * FROM inserted
"""


def plan(url: str) -> dict[str, float]:
    """Plan a prepared database; return the seconds by phase."""
    engine = connect(url)
    run = run_plan(engine, synthetic.REFERENCE_NOW, Parameters(method="greedy"))
    engine.dispose()
    return run.seconds


def inserting(url: str) -> dict[str, float]:
    """Insert the rows of a planned database again; return what takes how many seconds."""
    with closing(psycopg2.connect(libpq(url))) as session, session.cursor() as cursor:
        cursor.execute(PUT_ASIDE)
        cursor.execute(TAKE_OUT)
        session.commit()
        session.autocommit = True
        cursor.execute("VACUUM (FULL, ANALYZE) scheduled_emails")
        cursor.execute("CHECKPOINT")
        session.autocommit = False
        cursor.execute(BY_KEY)
        cursor.execute(PUT_IN)
        (found,) = cursor.fetchone()[0]
    seconds = {"rows and indexes": _seconds(found["Plan"]["Actual Total Time"])}
    for trigger in found["Triggers"]:
        name = trigger.get("Constraint Name") or trigger["Trigger Name"]
        key = re.fullmatch(r"scheduled_emails_(.+)_fkey", name)
        if key:
            seconds[f"foreign key {key[1]}"] = _seconds(trigger["Time"])
    return seconds


def _seconds(milliseconds: Any) -> float:
    return float(milliseconds) / 1000


def sampled(url: str, output: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Plan a prepared database in a process that is sampled; return the seconds by phase."""
    spy = Path(sys.executable).with_name("py-spy")
    command = [spy, "record", "--function", "--rate", str(SAMPLES), "--output", output, "--"]
    own = [sys.executable, "-m", "sendplan.benchmarks.profiling", "--plan", url]
    done = subprocess.run([*command, *own], check=True, capture_output=True, text=True)
    say(done.stderr)
    # The sampler writes its whole command line over the picture.
    picture = TITLE.sub(rf"\g<1>The first night of {CONTACTS:,} contacts\g<2>", output.read_text())
    output.write_text(picture)
    # The sampler talks on the same stream.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    seconds: dict[str, float] = json.loads(line)
    return seconds


def report(version: str, phases: dict[str, float], server: dict[str, float]) -> str:
    """Write the measurements down as Markdown."""
    text = (
        f"{today()}, commit {machine.commit()}; {machine.describe()}; PostgreSQL {version};"
        f" {machine.packages()}. The first night of {CONTACTS:,} contacts, greedy, one run while it"
        f" was sampled; [the flame graph]({FLAMES.name}) shows the planner's process. Below, what"
        " the server does meanwhile with the rows that are inserted. Made by `make profile`."
    )
    rows = [[phase, f"{phases[phase]:.2f}"] for phase in PHASES]
    inner = [[name, f"{seconds:.2f}"] for name, seconds in server.items()]
    return (
        "\n\n".join(
            [
                PROFILE,
                text,
                table(["phase", "seconds"], rows),
                table(["inserting, within store", "seconds"], inner),
            ]
        )
        + "\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Sample, measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", metavar="URL", help="only plan this database")
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--flames", type=Path, default=FLAMES)
    given = parser.parse_args(arguments)
    if given.plan:
        print(json.dumps(plan(given.plan)))
        return

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    with scratch_server() as server:
        url = database(server, "profiled")
        engine = connect(url)
        migrate(engine)
        mailboxes = mailboxes_of(given.contacts)
        fill(engine, synthetic.reference(given.contacts, mailboxes, provisional=True))
        engine.dispose()
        phases = sampled(url, given.flames, say)
        section = report(administer(server, "SHOW server_version"), phases, inserting(url))
    text = given.output.read_text() if given.output.exists() else ""
    given.output.write_text(with_section(text, section))
    say(section)


if __name__ == "__main__":
    main()
