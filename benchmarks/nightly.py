"""Time the nightly run, phase by phase, beside the limits of COPY and the original design.

For each size a fresh database is filled from the reference instance; then the very code that
``sendplan plan`` runs plans it three times: the first night (only provisional rows stand there),
again with nothing changed, and on an ordinary night two days later (what was due has been sent,
1 % of contacts are new). What is planned part by part is measured by ``benchmarks/scale.py``. Every
measurement has a process of its own, so that its peak memory is known. Writes
``benchmarks/RESULTS.md``.
"""

import argparse
import datetime as dt
import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
from sqlalchemy import Engine, make_url, text

from sendplan.benchmarks.copying import Stopwatch, clone_with_keys, copy_out
from sendplan.benchmarks.results import Baseline, Measurement, Night, Size, others, report
from sendplan.benchmarks.scratch import libpq, scratch_server

CONTACTS_PER_MAILBOX = 250
RESULTS = Path(__file__).with_name("RESULTS.md")
NEW_CONTACTS = 0.01
DAYS_BETWEEN = 2
"""Days between the nights; about 8 % of the emails of a reference instance are sent in them."""


def prepare(url: str, contacts: int) -> dict[str, Baseline]:
    """Fill an empty database with the instance of a size, and plan it as the daily job would."""
    from sendplan.benchmarks.baselines import Order, day_by_day
    from sendplan.io.campaigns.demo import fill
    from sendplan.io.database.engine import connect, migrate
    from sendplan.planner.synthetic import instances as synthetic

    frames = synthetic.reference(contacts, mailboxes_of(contacts), provisional=True)
    engine = connect(url)
    migrate(engine)
    fill(engine, frames)
    engine.dispose()
    outcomes = {order: day_by_day(frames, synthetic.REFERENCE_NOW, order) for order in Order}
    return {
        order.value: Baseline(o.cost, o.late_follow_ups, str(o.finish_day))
        for order, o in outcomes.items()
    }


def mailboxes_of(contacts: int) -> int:
    """Return how many mailboxes an instance of the reference kind has."""
    return max(1, contacts // CONTACTS_PER_MAILBOX)


def measure(url: str) -> Measurement:
    """Plan a prepared database three times; for a process of its own."""
    from sendplan.io.database.engine import connect
    from sendplan.planner.synthetic.instances import REFERENCE_NOW

    out = copy_out_limit(url)
    engine = connect(url)
    later = REFERENCE_NOW + dt.timedelta(days=DAYS_BETWEEN)
    nights = {"first": _plan(engine, REFERENCE_NOW), "unchanged": _plan(engine, REFERENCE_NOW)}
    peak = _peak_mebibytes()
    into = copy_in_limit(url)
    let_days_pass(engine, later)
    nights["ordinary"] = _plan(engine, later)
    engine.dispose()
    return Measurement(nights, out, into, peak)


def _plan(engine: Engine, now: dt.datetime) -> Night:
    from sendplan.io.planning.nightly import run_plan
    from sendplan.planner.problem.parameters import Parameters

    run = run_plan(engine, now, Parameters(method="greedy"))
    totals, published = run.summary.totals, run.published
    return Night(
        run.seconds,
        totals["emails"],
        totals["cost"],
        totals["late_follow_ups"],
        str(totals["finish_day"]),
        published.rows_changed if published else 0,
    )


def let_days_pass(engine: Engine, until: dt.datetime) -> None:
    """Send all that is due by a moment, exactly on time, and enrol new contacts."""
    with engine.begin() as connection:
        for statement in _DAYS_PASS:
            connection.execute(text(statement), {"until": until, "share": NEW_CONTACTS})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) scheduled_emails, enrollments"))
        connection.execute(text("CHECKPOINT"))


_DAYS_PASS = (
    """
    CREATE TEMPORARY TABLE gone ON COMMIT DROP AS
    SELECT id, enrollment_id, step_id, mailbox_id FROM scheduled_emails
    WHERE status = 'pending' AND plan_run_id IS NOT NULL AND send_at < :until
    """,
    """
    UPDATE scheduled_emails SET status = 'sent', sent_at = send_at, attempts = 1
    WHERE id IN (SELECT id FROM gone)
    """,
    """
    UPDATE enrollments e SET current_step_id = g.step_id, mailbox_id = g.mailbox_id
    FROM (
        SELECT DISTINCT ON (enrollment_id) * FROM gone JOIN steps s ON s.id = step_id
        ORDER BY enrollment_id, position DESC
    ) g WHERE e.id = g.enrollment_id
    """,
    """
    UPDATE enrollments e SET status = 'completed', completed_at = :until
    WHERE id IN (SELECT enrollment_id FROM gone) AND NOT EXISTS (
        SELECT FROM scheduled_emails x WHERE x.enrollment_id = e.id AND x.status = 'pending'
    )
    """,
    """
    INSERT INTO contacts (email)
    SELECT 'new.' || n || '@later.example'
    FROM generate_series(1, (SELECT (count(*) * :share)::integer FROM contacts)) n
    """,
    """
    INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
    SELECT id, 1 + id % (SELECT count(*) FROM sequences), :until
    FROM contacts WHERE email LIKE '%@later.example'
    """,
    """
    INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at)
    SELECT e.id, s.id, m.mailbox_id, CAST(:until AS date), :until
    FROM enrollments e
    JOIN contacts c ON c.id = e.contact_id AND c.email LIKE '%@later.example'
    JOIN steps s ON s.sequence_id = e.sequence_id AND s.position = 1
    JOIN LATERAL (
        SELECT min(mailbox_id) AS mailbox_id FROM sequence_mailboxes
        WHERE sequence_id = e.sequence_id
    ) m ON true
    """,
)

# Every column of the large tables that load reads, as stored. Rows are filtered as load filters
# them, except by conditions that need a join.
_LOADED = (
    "SELECT id, contact_id, sequence_id, enrolled_at, current_step_id, mailbox_id, status "
    "FROM enrollments WHERE status = 'active'",
    "SELECT timezone, suppressed_at FROM contacts",
    "SELECT id, enrollment_id, step_id, mailbox_id, send_day, send_at, sent_at, plan_run_id, "
    "unplaced_reason, status FROM scheduled_emails WHERE status <> 'cancelled'",
)
_STORED = "enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id"


def copy_out_limit(url: str) -> float:
    """Return the seconds of COPY out of the rows that load reads."""
    with closing(psycopg2.connect(libpq(url))) as session, Stopwatch() as watch:
        for query in _LOADED:
            copy_out(session, query)
    return watch.seconds


def copy_in_limit(url: str) -> float:
    """Return the seconds of COPY in of what was planned, indexes and foreign keys included."""
    with closing(psycopg2.connect(libpq(url))) as session:
        clone_with_keys(session)
        pending = f"SELECT {_STORED} FROM scheduled_emails WHERE status = 'pending'"
        rows = copy_out(session, pending)
        with Stopwatch() as watch, session.cursor() as cursor:
            copy = f"COPY clone ({_STORED}) FROM STDIN (FORMAT binary)"
            cursor.copy_expert(copy, rows)
            session.commit()
    return watch.seconds


def _peak_mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure_sizes(
    sizes: list[int], runs: int, say: Callable[[str], None], server: str | None = None
) -> tuple[str, list[Size]]:
    """Measure all sizes on one server, by default a scratch one.

    Returns
    -------
    tuple of str and list of Size
        The server's version, and the measurements.
    """
    measured = []
    with (
        scratch_server(server) as url,
        ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as pool,
    ):
        for contacts in sizes:
            say(f"{contacts:,} contacts: filling a database")
            base = database(url, f"base_{contacts}")
            baselines = pool.submit(prepare, base, contacts).result()
            measurements = []
            for number in range(1, runs + 1):
                say(f"{contacts:,} contacts: run {number} of {runs}")
                name = f"run_{contacts}_{number}"
                fresh = database(url, name, template=f"base_{contacts}")
                measurements.append(pool.submit(measure, fresh).result())
                administer(url, f"DROP DATABASE {name}")
            administer(url, f"DROP DATABASE base_{contacts}")
            measured.append(Size(contacts, baselines, measurements))
        version = administer(url, "SHOW server_version")
    return version, measured


def database(url: str, name: str, template: str = "template0") -> str:
    """Make a database on a server; return its URL."""
    administer(url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    administer(url, "CHECKPOINT")
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def administer(url: str, statement: str) -> str:
    """Run a statement on a server, outside of any transaction; return the first value it gives."""
    with closing(psycopg2.connect(libpq(url))) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(statement)
            return str(cursor.fetchall()[0][0]) if cursor.description else ""


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="5000,20000,50000", help="contacts, comma-separated")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--server", help="URL of a server to use; by default an embedded one")
    options = parser.parse_args(arguments)
    sizes = [int(size) for size in options.sizes.split(",")]

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    version, measured = measure_sizes(sizes, options.runs, say, options.server)
    kept = others(options.output.read_text()) if options.output.exists() else ""
    options.output.write_text(report(version, measured, options.runs) + kept)
    say(f"written: {options.output}")


if __name__ == "__main__":
    main()
