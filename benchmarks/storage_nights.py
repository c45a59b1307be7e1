"""Three nights of storing plans, one after the other, in a database of their own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import numpy as np
import psycopg2
from psycopg2.extensions import connection as Session

from sendplan.benchmarks import machine
from sendplan.benchmarks.baselines import Order, day_by_day
from sendplan.benchmarks.claimers import Claimers, Claims
from sendplan.benchmarks.copying import (
    Stopwatch,
    clone_with_keys,
    copy_in,
    copy_out,
    read,
    today,
    vacuum,
)
from sendplan.benchmarks.designs import DESIGNS, KEYS, SEEN, SLOT, Design, Rows, find
from sendplan.benchmarks.variants import VARIANTS
from sendplan.io.campaigns import demo
from sendplan.io.database import engine as database
from sendplan.planner.synthetic import instances as synthetic

NIGHTS = ("first night", "ordinary night", "unchanged night")
BACKLOG = 50_000
"""Due rows of other campaigns, so that dispatchers have work from the first night on."""
NEW_CONTACTS = 0.01
CHANGED_SLOTS = 0.03


class Measured(NamedTuple):
    """One night."""

    seconds: float
    worked: float
    """Seconds of processor time, the server's included."""
    rows: int
    claims: Claims | None


class Bench:
    """A server with prepared databases to measure in.

    Parameters
    ----------
    url
        libpq connection string of a database that may be used for administration.
    contacts, mailboxes
        Size of the reference instance.
    """

    def __init__(self, url: str, contacts: int, mailboxes: int) -> None:
        self.url = url
        self.now = synthetic.REFERENCE_NOW
        self.frames = synthetic.reference(contacts, mailboxes, provisional=True)
        outcome = day_by_day(self.frames, self.now, Order.FOLLOW_UPS_FIRST)
        sends = outcome.sends.sort_values(["mailbox_id", "send_day", "position", "enrollment_id"])
        # Spread over eight hours from nine, as the plan would.
        group = sends.groupby(["mailbox_id", "send_day"])["step_id"]
        second = group.cumcount() * (8 * 3600 // group.transform("size")) + 9 * 3600
        sends["send_at"] = sends["send_day"] + second.astype("timedelta64[s]")
        sends = sends.sort_values(["enrollment_id", "step_id"])
        self.plan = {
            "enrollment_id": sends["enrollment_id"].to_numpy(),
            "step_id": sends["step_id"].to_numpy(),
            "mailbox_id": sends["mailbox_id"].to_numpy(),
            "send_day": sends["send_day"].to_numpy().astype("datetime64[D]"),
            "send_at": sends["send_at"].to_numpy().astype("datetime64[us]"),
        }
        self.second_day = np.unique(self.plan["send_day"])[1] + 1
        for exist in (False, True):
            self._prepare(exist)

    @contextmanager
    def session(self, name: str) -> Iterator[Session]:
        """Connect to a database of the server."""
        with closing(psycopg2.connect(self.url, dbname=name)) as session:
            yield session

    def admin(self, statement: str) -> None:
        """Run a statement outside of any transaction."""
        with closing(psycopg2.connect(self.url)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(statement)

    def _prepare(self, rows_exist: bool) -> None:
        """Fill the database that designs with or without existing rows are measured in."""
        name = f"base_{rows_exist}".lower()
        self.admin(f"CREATE DATABASE {name}")
        with self.session(name) as session:
            info = session.info
            engine = database.connect(
                f"postgresql://{info.user}@/{name}?host={info.host}&port={info.port}"
            )
            database.migrate(engine)
            demo.fill(engine, self.frames)
            engine.dispose()
            with session.cursor() as cursor:
                cursor.execute("INSERT INTO plan_runs DEFAULT VALUES")
                cursor.execute(_BACKLOG, {"now": self.now, "count": BACKLOG})
                if rows_exist:
                    cursor.execute(_ALL_STEPS)
            vacuum(session, "scheduled_emails")

    def run(self, design: Design, variant: str, claiming: bool) -> dict[str, Measured]:
        """Measure the three nights of one design in a fresh database."""
        base = f"base_{design.rows_exist}".lower()
        self.admin("DROP DATABASE IF EXISTS night")
        self.admin(f"CREATE DATABASE night TEMPLATE {base} STRATEGY file_copy")
        with self.session("night") as session:
            design.lay_out(session)
            with session.cursor() as cursor:
                for statement in VARIANTS[variant]:
                    cursor.execute(statement)
            self._rest(session, design)
            result = {}
            for night in NIGHTS:
                plan, seen = self._tonight(session, design, night)
                result[night] = self._measure(session, design, plan, seen, claiming)
                self._rest(session, design)
        return result

    def _rest(self, session: Session, design: Design) -> None:
        """Give dispatchers their work back, and leave no trace of the night before."""
        with session.cursor() as cursor:
            cursor.execute(
                "UPDATE scheduled_emails SET status = 'pending', sent_at = NULL "
                "WHERE plan_run_id = 1 AND status <> 'pending'"
            )
        session.commit()
        narrow = design is DESIGNS["narrow"]
        vacuum(session, *(("emails", "slots") if narrow else ("scheduled_emails",)), "plan_runs")

    def _tonight(self, session: Session, design: Design, night: str) -> tuple[Rows, Rows]:
        """Let the day pass and decide what is to be stored tonight."""
        if night == "first night":
            seen = design.seen(session)
            return self._merged(seen, self.plan), seen
        if night == "unchanged night":
            seen = design.seen(session)
            return seen, seen
        design.send(session, str(self.second_day))
        fresh = self._enrol(session, design)
        seen = design.seen(session)
        rng = np.random.default_rng(1)
        late = (rng.random(len(seen["id"])) < CHANGED_SLOTS) & (seen["plan_run_id"] > 1)
        moved = {
            **{name: seen[name][late] for name in (*KEYS, "mailbox_id")},
            "send_day": seen["send_day"][late] + 1,
            "send_at": seen["send_at"][late] + np.timedelta64(1, "D"),
        }
        return self._merged(seen, _joined([fresh, moved])), seen

    def _merged(self, seen: Rows, plan: Rows) -> Rows:
        """The whole plan: what is decided anew, and all that stays as it was seen."""
        stays = find(seen, plan) < 0
        stays &= seen["plan_run_id"] > 0
        return _joined([plan, {name: seen[name][stays] for name in (*KEYS, *SLOT)}])

    def _enrol(self, session: Session, design: Design) -> Rows:
        """Enrol new contacts, and decide on all of their emails."""
        count = round(len(self.frames["contacts"]) * NEW_CONTACTS)
        with session.cursor() as cursor:
            cursor.execute(_NEW_CONTACTS, {"count": count})
            cursor.execute(_NEW_ENROLLMENTS, {"now": self.now, "count": count})
            cursor.execute(_NEW_ROWS if not design.rows_exist else _ALL_STEPS)
        session.commit()
        keys = read(session, _NEW_EMAILS.format(count=count), {**KEYS, "mailbox_id": "int64"})
        day = self.second_day + 3 * np.arange(len(keys["step_id"])) % 30
        at = day.astype("datetime64[us]") + np.timedelta64(10, "h")
        return {**keys, "send_day": day, "send_at": at}

    def _measure(
        self, session: Session, design: Design, plan: Rows, seen: Rows, claiming: bool
    ) -> Measured:
        with session.cursor() as cursor:
            cursor.execute("INSERT INTO plan_runs DEFAULT VALUES RETURNING id")
            ((run,),) = cursor.fetchall()
        session.commit()
        if not claiming:
            with Stopwatch(session) as watch:
                rows = design.store(session, plan, seen, run)
            return Measured(watch.seconds, watch.worked, rows, None)
        dsn = psycopg2.extensions.make_dsn(self.url, dbname="night")
        crowd = Claimers(dsn, self.now, design.claim, design.finish)
        with crowd, Stopwatch(session) as watch:
            rows = design.store(session, plan, seen, run)
        return Measured(watch.seconds, watch.worked, rows, crowd.around(watch.began, watch.ended))

    def close(self) -> None:
        """Drop all databases."""
        for name in ("night", "base_false", "base_true"):
            self.admin(f"DROP DATABASE IF EXISTS {name}")

    def heading(self) -> str:
        """Say what was measured where."""
        with self.session("postgres") as session, session.cursor() as cursor:
            cursor.execute("SHOW server_version")
            ((version,),) = cursor.fetchall()
        return (
            f"{today()}, commit {machine.commit()}; {machine.describe()}; PostgreSQL {version}; "
            f"{len(self.plan['step_id']):,} emails planned."
        )

    def limits(self) -> dict[str, Stopwatch]:
        """Seconds of COPY for the rows of the whole plan."""
        self.admin("DROP DATABASE IF EXISTS night")
        self.admin("CREATE DATABASE night TEMPLATE base_false STRATEGY file_copy")
        rows = {**self.plan, "plan_run_id": np.ones(len(self.plan["step_id"]), dtype=np.int64)}
        seconds = {}
        with self.session("night") as session, session.cursor() as cursor:
            clone_with_keys(session)
            cursor.execute(
                "CREATE TABLE bare (LIKE scheduled_emails INCLUDING IDENTITY INCLUDING DEFAULTS)"
            )
            vacuum(session, "clone", "bare")
            for table in ("bare", "clone"):
                with Stopwatch(session) as watch:
                    copy_in(session, table, rows)
                    session.commit()
                seconds[f"COPY in, {table}"] = watch
            vacuum(session, "clone")
            query = f"SELECT {', '.join(SEEN)} FROM clone"
            with Stopwatch(session) as watch:
                copy_out(session, query)
            seconds["COPY out"] = watch
        return seconds


def _joined(parts: list[Rows]) -> Rows:
    """All rows of the parts, by enrollment and step."""
    whole = {
        name: np.concatenate([part[name].astype(SEEN[name]) for part in parts])
        for name in (*KEYS, *SLOT)
    }
    order = np.lexsort((whole["step_id"], whole["enrollment_id"]))
    return {name: column[order] for name, column in whole.items()}


# Emails of steps of other sequences stand for the due emails of campaigns planned before.
_BACKLOG = """
INSERT INTO scheduled_emails
    (enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id)
SELECT e.id, s.id, m.mailbox_id, '2026-11-20',
    %(now)s - (e.id %% 3600 + 1) * interval '1 second', (SELECT max(id) FROM plan_runs)
FROM enrollments e
JOIN LATERAL (SELECT min(id) AS id FROM steps WHERE sequence_id <> e.sequence_id) s ON true
JOIN LATERAL (
    SELECT min(mailbox_id) AS mailbox_id FROM sequence_mailboxes WHERE sequence_id = e.sequence_id
) m ON true
LIMIT %(count)s
"""
_ALL_STEPS = """
INSERT INTO scheduled_emails (enrollment_id, step_id)
SELECT e.id, s.id FROM enrollments e JOIN steps s USING (sequence_id)
WHERE NOT EXISTS (
    SELECT FROM scheduled_emails x WHERE x.enrollment_id = e.id AND x.step_id = s.id
)
"""
_NEW_CONTACTS = """
INSERT INTO contacts (email) SELECT 'new.' || n || '@later.example'
FROM generate_series(1, %(count)s) n
"""
_NEW_ENROLLMENTS = """
INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
SELECT id, 1 + id %% (SELECT count(*) FROM sequences), %(now)s
FROM contacts ORDER BY id DESC LIMIT %(count)s
"""
_NEW_ROWS = """
INSERT INTO scheduled_emails (enrollment_id, step_id, mailbox_id, send_day, send_at)
SELECT e.id, s.id, m.mailbox_id, '2026-11-25', '2026-11-25 09:00Z'
FROM enrollments e JOIN contacts c ON c.id = e.contact_id AND c.email LIKE '%@later.example'
JOIN steps s ON s.sequence_id = e.sequence_id AND s.position = 1
JOIN LATERAL (
    SELECT min(mailbox_id) AS mailbox_id FROM sequence_mailboxes WHERE sequence_id = e.sequence_id
) m ON true
"""
_NEW_EMAILS = """
SELECT e.id, s.id, m.mailbox_id
FROM (SELECT * FROM enrollments ORDER BY id DESC LIMIT {count}) e
JOIN steps s USING (sequence_id)
JOIN LATERAL (
    SELECT max(mailbox_id) AS mailbox_id FROM sequence_mailboxes WHERE sequence_id = e.sequence_id
) m ON true
"""
