"""A small world to dispatch in: due emails in the tables, real servers, and real processes.

Its sequences send all day, every day, in a zone where it is about noon now: no test depends on the
hour at which it runs.
"""

import contextlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.tests.worlds.dispatching.process import SENDPLAN, DispatchProcess
from sendplan.tests.worlds.dispatching.smtp_server import PATIENCE, SmtpServer

OCCUPYING = ("claimed", "sending", "sent", "uncertain")

EMAIL = """
    INSERT INTO scheduled_emails (
        enrollment_id, step_id, mailbox_id, send_day, send_at, plan_run_id, status, sent_at,
        message_id
    ) VALUES (
        :enrollment, :step, :mailbox, :day, :at, 1, CAST(:status AS text),
        CASE WHEN :status = 'sent' THEN CAST(:at AS timestamptz) END, :message_id
    ) RETURNING id
"""

USED = """
    SELECT mailbox.id, send_day, count(*), daily_capacity
    FROM scheduled_emails JOIN mailboxes AS mailbox ON mailbox.id = mailbox_id
    WHERE scheduled_emails.status = ANY (:occupying) GROUP BY mailbox.id, send_day
"""

Row = dict[str, Any]


def until(happened: Callable[[], bool]) -> None:
    """Poll for a condition, such as a state of the tables."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.02)


def noon_zone(now: datetime) -> str:
    """The name of a zone in which it is between twelve and one o'clock."""
    # What lies east has a minus in these names.
    ahead = 12 - now.astimezone(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


class DispatchWorld:
    """The tables, and the servers of its mailboxes; a context at whose end these stop.

    Step p of sequence s has the id 10 s + p. An enrollment's contact bears its number, unless
    another one is named.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url
        self.environment: dict[str, str] = {}
        self.servers: list[SmtpServer] = []
        self.now = datetime.now(UTC)
        self.zone = noon_zone(self.now)
        self._ending = contextlib.ExitStack()
        self.run("INSERT INTO plan_runs (id, method, finished_at) VALUES (1, 'greedy', now())")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.close()

    # ------------------------------------------------------------ making it

    def server(self, **how: Any) -> SmtpServer:
        """Start a server, whose log counts in `assert_accounted_for`."""
        server = self._ending.enter_context(SmtpServer(**how))
        self.servers.append(server)
        return server

    def sequence(
        self,
        key: int = 1,
        waits: Iterable[int] = (0,),
        *,
        subject: str = "Hello {{ name }}",
        content: str = "Dear {{ name }}!",
    ) -> Self:
        """Add a sequence with one step for each wait; the later ones go on with the subject."""
        self.run(
            """INSERT INTO sequences (id, name, start_time, end_time, timezone, send_days)
               VALUES (:key, :name, '00:00', '23:59:59', :zone, '{1,2,3,4,5,6,7}')""",
            key=key,
            name=f"sequence {key}",
            zone=self.zone,
        )
        for position, wait in enumerate(waits, start=1):
            self.run(
                """INSERT INTO steps (id, sequence_id, position, wait_days, subject, content)
                   VALUES (:id, :key, :position, :wait, :subject, :content)""",
                id=10 * key + position,
                key=key,
                position=position,
                wait=wait,
                subject=subject if position == 1 else None,
                content=content,
            )
        return self

    def mailbox(
        self,
        key: int = 1,
        server: SmtpServer | str | None = None,
        *,
        sequences: Iterable[int] = (1,),
        capacity: int = 100,
        gap: int = 0,
        options: str = "",
    ) -> Self:
        """Add a mailbox; its server is named by the environment, unless it is a reference."""
        transport = f"env:SMTP_{key}" if server is None else server
        if isinstance(transport, SmtpServer):
            self.environment[f"SMTP_{key}"] = transport.url(options=options)
            transport = f"env:SMTP_{key}"
        self.run(
            """INSERT INTO mailboxes (id, email, daily_capacity, min_gap_seconds, transport)
               VALUES (:key, :email, :capacity, :gap, :transport)""",
            key=key,
            email=f"m{key}@sender.test",
            capacity=capacity,
            gap=gap,
            transport=transport,
        )
        for sequence in sequences:
            self.run(
                "INSERT INTO sequence_mailboxes VALUES (:sequence, :key)",
                sequence=sequence,
                key=key,
            )
        return self

    def enroll(self, key: int, *, sequence: int = 1, contact: int | None = None) -> Self:
        contact = key if contact is None else contact
        self.run(
            """INSERT INTO contacts (id, email, attributes)
               VALUES (:id, :email, '{"name": "Ada"}') ON CONFLICT DO NOTHING""",
            id=contact,
            email=f"c{contact}@receiver.test",
        )
        self.run(
            "INSERT INTO enrollments (id, contact_id, sequence_id) VALUES (:key, :contact, :of)",
            key=key,
            contact=contact,
            of=sequence,
        )
        return self

    def email(
        self,
        enrollment: int,
        position: int = 1,
        *,
        mailbox: int = 1,
        sequence: int = 1,
        ago: float = 1.0,
        status: str = "pending",
    ) -> int:
        """Add a planned email, by default one that is due since a second; returns its id."""
        at = datetime.now(UTC) - timedelta(seconds=ago)
        day = self.local(at).date()
        found: int = self.run(
            EMAIL,
            enrollment=enrollment,
            step=10 * sequence + position,
            mailbox=mailbox,
            day=day,
            at=at,
            status=status,
            message_id=None,
        )[0][0]
        return found

    def emails(self, enrollments: Iterable[int], *, mailbox: int = 1, sequence: int = 1) -> Self:
        """Enroll some, the first email of each being due."""
        for key in enrollments:
            self.enroll(key, sequence=sequence)
            self.email(key, mailbox=mailbox, sequence=sequence)
        return self

    def local(self, moment: datetime) -> datetime:
        return moment + timedelta(hours=12 - self.now.hour)

    def let_leases_run_out(self) -> None:
        """Let the database's clock say that all claims have lasted long enough."""
        self.run("UPDATE scheduled_emails SET lease_until = now() WHERE lease_until IS NOT NULL")

    # ------------------------------------------------------------ looking at it

    def run(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def row(self, enrollment: int, position: int = 1) -> Row:
        """The row of an email."""
        with self.engine.connect() as connection:
            found = connection.execute(
                text(
                    """SELECT email.* FROM scheduled_emails AS email
                       WHERE enrollment_id = :key AND step_id % 10 = :position"""
                ),
                {"key": enrollment, "position": position},
            )
            return dict(found.mappings().one())

    def state(self, enrollment: int, position: int = 1) -> tuple[str, int]:
        """Status of an email, and how often it was tried."""
        row = self.row(enrollment, position)
        return row["status"], row["attempts"]

    def states(self) -> Counter[str]:
        counted = self.run("SELECT status, count(*) AS emails FROM scheduled_emails GROUP BY 1")
        return Counter({row.status: row.emails for row in counted})

    def value(self, table: str, key: int, column: str) -> Any:
        return self.run(f"SELECT {column} FROM {table} WHERE id = :key", key=key)[0][0]

    def accepted(self) -> list[str]:
        """The Message-IDs that any server has accepted."""
        return [key for server in self.servers for key in server.message_ids]

    # ------------------------------------------------------------ processes

    def dispatch(self, *arguments: str, log: str = "json") -> DispatchProcess:
        """Start a dispatcher; a context that kills it, should it still run."""
        return DispatchProcess(self.process_environment(), "dispatch", "--log", log, *arguments)

    def dispatched(self, *arguments: str) -> DispatchProcess:
        """Dispatch what is due, and wait for the end."""
        with self.dispatch("--once", *arguments) as process:
            assert process.wait() == 0, process.told()
        return process

    def called(self, *arguments: str) -> Any:
        """Run another command, in this process; returns the JSON that it prints."""
        runner = CliRunner(env={"SENDPLAN_DATABASE_URL": self.url})
        result = runner.invoke(main, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SENDPLAN), *arguments],
            env=self.process_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )

    def process_environment(self) -> dict[str, str]:
        own = {name: word for name, word in os.environ.items() if not name.startswith("SENDPLAN_")}
        return own | self.environment | {"SENDPLAN_DATABASE_URL": self.url, "PYTHONSAFEPATH": "1"}


# ---------------------------------------------------------------- the oracle's word


def assert_accounted_for(world: DispatchWorld) -> None:
    """Compare what servers have accepted with what the tables say, once no dispatcher runs.

    Nothing was accepted twice; what was accepted is sent or uncertain, and went to its contact from
    its mailbox; what is sent was accepted; nothing stays in flight; no mailbox-day is overdrawn.
    """
    rows = world.run(
        """SELECT message_id, email.status, contact.email AS recipient, mailbox.email AS sender
           FROM scheduled_emails AS email
           JOIN enrollments ON enrollments.id = enrollment_id
           JOIN contacts AS contact ON contact.id = contact_id
           LEFT JOIN mailboxes AS mailbox ON mailbox.id = email.mailbox_id
           WHERE message_id IS NOT NULL"""
    )
    known = {row.message_id: row for row in rows}
    assert len(known) == len(rows), "one Message-ID stands for two emails"
    accepted = [message for server in world.servers for message in server.accepted]
    twice = [key for key, times in Counter(one.message_id for one in accepted).items() if times > 1]
    assert not twice, "accepted more than once"
    for message in accepted:
        row = known[message.message_id]
        assert row.status in ("sent", "uncertain"), row
        assert (message.sender, message.recipients) == (row.sender, (row.recipient,))
    sent = {key for key, row in known.items() if row.status == "sent"}
    assert sent <= {message.message_id for message in accepted}, "sent, but never accepted"
    assert not {"claimed", "sending"} & world.states().keys()
    for mailbox, day, used, capacity in world.run(USED, occupying=list(OCCUPYING)):
        assert used <= capacity, f"mailbox {mailbox} on {day}"
