"""What servers answer, at each phase, and what becomes of email, thread, contact and mailbox."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.tests.worlds.databases.busy import TABLES
from sendplan.tests.worlds.databases.frames import dump
from sendplan.tests.worlds.dispatching.smtp_server import (
    ACCEPT_AND_DROP,
    ACCEPT_AND_HANG,
    DROP,
    HANG,
    Answer,
    Phase,
    make_certificate,
)
from sendplan.tests.worlds.dispatching.world import DispatchWorld, assert_accounted_for

GARBAGE = b"\x00\xfe2 50 garbage\r\n"
USER, PASSWORD = "ann", "sesame-4711"


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as made:
        yield made


@dataclass(frozen=True)
class Consequences:
    """What a contact's two threads look like after the first email of the first was tried.

    Its status and attempts, whether it is to be tried later, the status of its second email; the
    enrollment's status; whether the contact is suppressed; status of the other enrollment and its
    email; the mailbox's status; and whether the server has accepted it.
    """

    email: tuple[str, int]
    later: bool = False
    next_email: str = "pending"
    enrollment: str = "active"
    suppressed: str | None = None
    other: tuple[str, str] = ("active", "pending")
    mailbox: str = "active"
    accepted: bool = False


SENT = Consequences(("sent", 1), accepted=True)
# No session: the email was not tried, so the attempt does not count.
UNTRIED = Consequences(("pending", 0))
LATER = Consequences(("pending", 1), later=True)
REFUSED = Consequences(("failed", 1), next_email="cancelled", enrollment="failed")
BOUNCED = Consequences(
    ("failed", 1),
    next_email="cancelled",
    enrollment="failed",
    suppressed="bounced",
    other=("stopped", "cancelled"),
)
PAUSED = Consequences(("pending", 0), mailbox="paused")
# Behind an uncertain email nothing is cancelled: an operator's word decides.
DOUBT = Consequences(("uncertain", 1))
DOUBT_ACCEPTED = Consequences(("uncertain", 1), accepted=True)

Case = tuple[Phase, Answer | str | bytes, Consequences]

# From the notes on telling replies apart: a phase before MAIL says nothing of the email; 4yz comes
# later; 5yz is the mailbox's fault where it names login, sender, limit or quota, the recipient's at
# RCPT or with 5.1.1, and else the message's; silence is harmless before the dot, and open after it.
REPLIES: list[Case] = [
    ("greeting", "421 4.3.2 busy", UNTRIED),
    ("greeting", "554 5.3.2 no", UNTRIED),
    ("greeting", DROP, UNTRIED),
    ("greeting", GARBAGE, UNTRIED),
    ("ehlo", "451 4.3.0 not now", UNTRIED),
    ("ehlo", "550 5.7.1 never", UNTRIED),
    ("ehlo", DROP, UNTRIED),
    ("ehlo", GARBAGE, UNTRIED),
    ("mail", "421 4.3.2 closing", LATER),
    ("mail", "451 4.3.0 not now", LATER),
    ("mail", "550 5.4.5 Daily user sending limit exceeded", PAUSED),
    ("mail", "553 5.1.8 sender unknown", PAUSED),
    ("mail", "552 5.3.4 too big", REFUSED),
    ("mail", DROP, LATER),
    ("mail", GARBAGE, LATER),
    ("rcpt", "450 4.2.1 not now", LATER),
    ("rcpt", "550 5.1.1 no such user", BOUNCED),
    ("rcpt", "550 5.4.5 Daily user sending limit exceeded", PAUSED),
    ("rcpt", "550 5.7.1 policy", REFUSED),
    ("rcpt", "503 5.5.1 out of step", LATER),
    ("rcpt", DROP, LATER),
    ("rcpt", GARBAGE, LATER),
    ("data", "451 4.3.0 not now", LATER),
    ("data", "554 5.6.0 never", REFUSED),
    ("data", "554 5.2.0 quota", PAUSED),
    ("data", "250 2.0.0 out of step", LATER),
    ("data", DROP, LATER),
    ("data", GARBAGE, LATER),
    ("dot", "421 4.3.2 closing", LATER),
    ("dot", "451 4.3.0 not now", LATER),
    ("dot", "554 5.7.1 spam", REFUSED),
    ("dot", "550 5.1.1 no such user", BOUNCED),
    ("dot", "554 5.2.0 quota", PAUSED),
    ("dot", DROP, DOUBT),
    ("dot", ACCEPT_AND_DROP, DOUBT_ACCEPTED),
    ("dot", Answer(GARBAGE, accept=True), DOUBT_ACCEPTED),
    ("dot", Answer("354 go on", accept=True), DOUBT_ACCEPTED),
    # It was accepted, however the server takes leave.
    ("quit", "421 4.3.2 closing", SENT),
    ("quit", DROP, SENT),
    ("quit", GARBAGE, SENT),
]

SILENCES: list[Case] = [
    ("greeting", HANG, UNTRIED),
    ("ehlo", HANG, UNTRIED),
    ("mail", HANG, LATER),
    ("rcpt", HANG, LATER),
    ("data", HANG, LATER),
    ("dot", HANG, DOUBT),
    ("dot", ACCEPT_AND_HANG, DOUBT_ACCEPTED),
    ("quit", HANG, SENT),
]


def fill(world: DispatchWorld, cases: list[Case]) -> None:
    """For each case, a server, a mailbox and a contact with threads in both sequences."""
    world.sequence(1, (0, 3)).sequence(2)
    for key, (phase, answer, _) in enumerate(cases, start=1):
        server = world.server()
        server.script(phase, answer)
        world.mailbox(key, server, sequences=(1, 2))
        world.enroll(key).enroll(1000 + key, sequence=2, contact=key)
        world.email(key, 1, mailbox=key)
        world.email(key, 2, mailbox=key, ago=-3 * 86_400)
        world.email(1000 + key, 1, sequence=2, mailbox=key, ago=-86_400)


def found(world: DispatchWorld, key: int, since: datetime) -> Consequences:
    row = world.row(key)
    # Half an hour from the answer on, and then its slot is there.
    later = row["retry_at"] is not None
    if later:
        assert row["retry_at"] >= since + timedelta(minutes=30)
        assert row["send_at"] >= row["retry_at"]
    return Consequences(
        email=(row["status"], row["attempts"]),
        later=later,
        next_email=world.state(key, 2)[0],
        enrollment=world.value("enrollments", key, "status"),
        suppressed=world.value("contacts", key, "suppressed_reason"),
        other=(world.value("enrollments", 1000 + key, "status"), world.state(1000 + key)[0]),
        mailbox=world.value("mailboxes", key, "status"),
        accepted=bool(world.servers[key - 1].accepted),
    )


def compare(world: DispatchWorld, cases: list[Case], *arguments: str) -> None:
    fill(world, cases)
    before = datetime.now(UTC)
    world.dispatched(*arguments)
    after = [found(world, key, before) for key in range(1, len(cases) + 1)]
    named: list[Any] = [(phase, getattr(answer, "then", answer)) for phase, answer, _ in cases]
    assert list(zip(named, after, strict=True)) == [
        (name, expected) for name, (*_, expected) in zip(named, cases, strict=True)
    ]
    # What went wrong is kept with the row, and the reason with the mailbox.
    told = "SELECT FROM scheduled_emails WHERE status <> 'sent' AND attempts > 0"
    assert world.run(f"{told} AND last_error IS NULL") == []
    paused = "SELECT FROM mailboxes WHERE (status = 'paused') <> (paused_reason IS NOT NULL)"
    assert world.run(paused) == []
    assert_accounted_for(world)


@pytest.mark.slow
def test_each_answer_at_each_phase_has_its_consequences(world: DispatchWorld) -> None:
    compare(world, REPLIES)


@pytest.mark.slow
def test_each_silence_ends_with_the_time_allowed_and_has_its_consequences(
    world: DispatchWorld,
) -> None:
    """A sixth of the lease for what comes before the answer, a third for the answer itself."""
    compare(world, SILENCES, "--lease", "4")


def test_a_session_that_died_between_two_emails_costs_neither_of_them(
    world: DispatchWorld,
) -> None:
    """The second MAIL on a session is answered 421; both emails are sent, the second on another."""
    server = world.server()
    server.script("mail", Answer("421 4.3.2 closing", "drop"), after=1, times=1)
    world.sequence().mailbox(1, server).emails([1, 2])
    world.dispatched()
    assert (world.state(1), world.state(2)) == (("sent", 1), ("sent", 1))
    assert [message.connection for message in server.accepted] == [1, 2]
    assert_accounted_for(world)


# ---------------------------------------------------------------- logging in


def test_a_wrong_login_pauses_the_mailbox_and_a_busy_server_does_not(
    world: DispatchWorld, tmp_path: Path
) -> None:
    """And what speaks no TLS where it must is left alone, with nothing said in the clear."""
    certificate = make_certificate(tmp_path)
    tls = f"?starttls=required&ca={certificate[0]}"
    login = {"user": USER, "password": PASSWORD}
    cases: list[tuple[Phase | None, Answer | str, dict[str, Any], str, Consequences]] = [
        (None, "", login, "", SENT),
        (None, "", login | {"certificate": certificate}, tls, SENT),
        ("auth", "535 5.7.8 wrong", login, "", PAUSED),
        ("auth", "454 4.7.0 not now", login, "", UNTRIED),
        ("auth", DROP, login, "", UNTRIED),
        ("starttls", "454 4.7.0 not now", login | {"certificate": certificate}, tls, UNTRIED),
        ("starttls", Answer("220 go", "drop"), login | {"certificate": certificate}, tls, UNTRIED),
        (None, "", login, tls, UNTRIED),
    ]
    world.sequence(1, (0, 3)).sequence(2)
    for key, (phase, answer, how, options, _) in enumerate(cases, start=1):
        server = world.server(**how)
        if phase is not None:
            server.script(phase, answer)
        world.mailbox(key, server, sequences=(1, 2), options=options)
        world.enroll(key).email(key, 1, mailbox=key)
        world.email(key, 2, mailbox=key, ago=-3 * 86_400)
        world.enroll(1000 + key, sequence=2, contact=key)
        world.email(1000 + key, sequence=2, mailbox=key, ago=-86_400)
    before = datetime.now(UTC)
    world.dispatched()
    assert [found(world, key, before) for key in range(1, 9)] == [case[-1] for case in cases]
    assert [server.heard("AUTH") for server in world.servers] == [1] * 5 + [0] * 3
    assert [message.encrypted for server in world.servers[:2] for message in server.accepted] == [
        False,
        True,
    ]
    assert_accounted_for(world)


def test_no_secret_is_told_to_the_log_the_tables_or_the_process_list(
    world: DispatchWorld, tmp_path: Path
) -> None:
    """The servers repeat what they were given, a URL is broken, and one comes from a file."""
    server = world.server(user=USER, password=PASSWORD)
    server.script("auth", f"535 5.7.8 wrong: {PASSWORD}")
    file = tmp_path / "url"
    file.write_text(server.url())
    file.chmod(0o600)
    world.environment["SMTP_3"] = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{PASSWORD}"
    world.sequence()
    world.mailbox(1, server).mailbox(2, f"file:{file}").mailbox(3, "env:SMTP_3")
    for key in (1, 2, 3):
        world.emails([key], mailbox=key)
    with world.dispatch() as process:
        process.until_logged("The mailbox was paused", 2)
        process.until_logged("No session with the server")
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert process.end() == 0
    with world.engine.connect() as connection:
        stored = str(dump(connection, *TABLES))
    for place in (process.told(), stored, words.decode()):
        assert PASSWORD not in place
        # In base64 as in AUTH PLAIN: \0ann\0sesame-4711, without the last, padded letters.
        assert "AGFubgBzZXNhbWUtNDcx" not in place
    assert server.heard("AUTH") == 2
