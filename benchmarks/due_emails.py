"""Databases full of planned emails, and dispatchers that send them to a sink."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Session
from sqlalchemy import make_url

from sendplan.benchmarks.copying import vacuum
from sendplan.benchmarks.scratch import libpq

TRANSPORT = "SENDPLAN_BENCHMARK_SINK"
NO_LIMIT = 100_000
LATE_ENOUGH = 86_400
"""A grace in seconds in which no email becomes overdue while a benchmark runs."""

SUBJECT = "For {{ name }}"
CONTENT = "Hello {{ name }},\n\n" + "What we have to say fills some lines like this one.\n" * 12

# Half of the contacts are in the sequence of two steps; its follow-ups leave on the same day.
_LAYOUT = """
INSERT INTO sequences (id, name, start_time, end_time, send_days, timezone)
SELECT id, 'sequence ' || id, '00:00', '24:00', '{1,2,3,4,5,6,7}', %(zone)s
FROM generate_series(1, 2) AS id;
INSERT INTO steps (id, sequence_id, position, wait_days, subject, content) VALUES
    (1, 1, 1, 0, %(subject)s, %(content)s),
    (2, 2, 1, 0, %(subject)s, %(content)s),
    (3, 2, 2, 0, 'Once more', %(content)s);
INSERT INTO mailboxes (id, email, daily_capacity, transport)
SELECT id, 'box' || id || '@sender.example', %(no_limit)s, %(transport)s
FROM generate_series(1, %(mailboxes)s) AS id;
INSERT INTO sequence_mailboxes (sequence_id, mailbox_id)
SELECT sequences.id, mailboxes.id FROM sequences, mailboxes;
INSERT INTO contacts (id, email, attributes)
SELECT id, 'contact' || id || '@receiver.example', jsonb_build_object('name', 'Contact ' || id)
FROM generate_series(1, %(contacts)s) AS id;
INSERT INTO enrollments (id, contact_id, sequence_id)
SELECT id, id, 1 + id %% 2 FROM contacts;
INSERT INTO plan_runs (id, as_of) VALUES (1, now());
"""

PLANNED = """
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
"""

# As a plan has them: the follow-ups of all that leave today stand there already.
FOLLOW_UPS = f"""
{PLANNED} SELECT enrollment_id, 3, mailbox_id, send_day + 3, send_at + interval '3 days', 1
FROM scheduled_emails WHERE step_id = 2
"""


@contextmanager
def database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    """Make a database on a server, give its URL, and drop it again."""
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def administer(server: str, statement: str) -> str | None:
    """Run a statement outside of a transaction; give the first value, if there is one."""
    with closing(psycopg2.connect(libpq(server))) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    return str(row[0]) if row else None


def fill(url: str, contacts: int, mailboxes: int) -> None:
    """Migrate an empty database and fill it with all but emails."""
    from sendplan.io.database.engine import connect, migrate

    engine = connect(url)
    migrate(engine)
    engine.dispose()
    values = {
        "zone": _zone_where_it_is_noon(dt.datetime.now(dt.UTC)),
        "subject": SUBJECT,
        "content": CONTENT,
        "no_limit": NO_LIMIT,
        "transport": f"env:{TRANSPORT}",
        "contacts": contacts,
        "mailboxes": mailboxes,
    }
    with closing(psycopg2.connect(libpq(url))) as session, session, session.cursor() as cursor:
        cursor.execute(_LAYOUT, values)


def plan(url: str, *statements: str, **values: Any) -> None:
    """Plan emails by statements, which can use the values and the local ``day``."""
    with closing(psycopg2.connect(libpq(url))) as session:
        with session.cursor() as cursor:
            cursor.execute("SELECT (now() AT TIME ZONE timezone)::date FROM sequences LIMIT 1")
            ((day,),) = cursor.fetchall()
            for statement in statements:
                cursor.execute(statement, {"day": day, **values})
            # Recalculations are not measured here.
            cursor.execute("DELETE FROM change_requests")
        vacuum(session, "scheduled_emails", "enrollments", "contacts", "mailboxes")


def _zone_where_it_is_noon(now: dt.datetime) -> str:
    """Return a zone in which the day does not end while a benchmark runs."""
    hours = 12 - now.hour
    # The names count hours west of Greenwich.
    return f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT"


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    """Fetch all rows as they are committed now."""
    with session, session.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def command(*options: str) -> list[str]:
    """Return the command of a dispatcher."""
    return [sys.executable, "-m", "sendplan", "dispatch", *options]


def environment(url: str, port: int) -> Mapping[str, str]:
    """Return what a dispatcher must find in its environment: the database, and the sink."""
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "SENDPLAN_DATABASE_URL": url,
        TRANSPORT: f"smtp://127.0.0.1:{port}",
    }


def run(url: str, port: int, *options: str) -> None:
    """Run a dispatcher to its end.

    Raises
    ------
    RuntimeError
        If it fails, with the end of what it has said.
    """
    done = subprocess.run(
        command("--transport", "smtp", *options),
        env=environment(url, port),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the dispatcher ended with {done.returncode}: {done.stderr[-2000:]}")
