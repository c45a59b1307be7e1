"""Sending over SMTP, against a real server with scripted faults.

The server's own list of what it accepted is what counts: SENT means it is there, UNCERTAIN that it
may be, and everything else that it is not.
"""

import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendplan.io.errors import DataError
from sendplan.io.messages.outcomes import Message, Outcome, Verdict
from sendplan.io.transport.smtp_replies import Phase as Phases
from sendplan.io.transport.smtp_session import MAX_REPLY, Session, wire_form
from sendplan.io.transport.smtp_transport import CHECKED_AFTER, SmtpTransport
from sendplan.io.transport.transport_urls import parse_url
from sendplan.tests.worlds.dispatching import smtp_server
from sendplan.tests.worlds.dispatching.smtp_server import (
    ACCEPT_AND_DROP,
    ACCEPT_AND_HANG,
    DROP,
    HANG,
    Answer,
    Phase,
    SmtpServer,
    make_certificate,
    read_log,
    say,
)

ANN, BEN = "ann@example.com", "ben@example.com"
SOON = 0.5
"""Seconds to wait for a server that is known to say nothing."""
GARBAGE = b"\xff\xfe\x00 what?\r\n"
HUGE = b"x" * 998 + b"\r\n"


def message(recipient: str = ANN, data: bytes = b"Hello\r\n", name: str = "1") -> Message:
    head = f"Message-ID: <{name}@test>\r\nTo: {recipient}\r\n\r\n".encode()
    return Message("me@example.com", recipient, f"<{name}@test>", head + data)


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def transport(server: SmtpServer, *, options: str = "", **parameters: object) -> SmtpTransport:
    chosen = {"hostname": "client.test", "clock": Clock(), **parameters}
    return SmtpTransport(parse_url(server.url(options=options)), **chosen)  # type: ignore[arg-type]


def send(client: SmtpTransport, recipient: str = ANN, name: str = "1") -> Outcome:
    return client.deliver(message(recipient, name=name), lambda: True)


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_emails_go_out_one_after_another_over_one_connection(server: SmtpServer) -> None:
    client = transport(server)
    outcomes = [send(client, recipient, recipient) for recipient in (ANN, BEN, "c@example.com")]
    client.close()
    assert [outcome.verdict for outcome in outcomes] == [Verdict.SENT] * 3
    assert outcomes[0].detail == "end of message: 250 2.0.0 accepted"
    assert [found.recipients for found in server.accepted] == [(ANN,), (BEN,), ("c@example.com",)]
    assert {found.sender for found in server.accepted} == {"me@example.com"}
    # EHLO and QUIT once, and nothing between emails but the emails.
    each = ["MAIL", "RCPT", "DATA", "DOT"]
    assert [word for _, word in server.commands] == ["EHLO", *each * 3, "QUIT"]


@pytest.mark.parametrize(
    ("data", "arrives"),
    [
        (b"a\r\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b".a\r\n..b\r\n...\r\n", b".a\r\n..b\r\n...\r\n"),
        (b".\r\nMAIL FROM:<x@y>\r\n", b".\r\nMAIL FROM:<x@y>\r\n"),
        (b"no end", b"no end\r\n"),
        # A lone line end before a dot ends the message for some servers: the rest would be
        # commands.
        (b"a\n.\nb\r.\rc\n", b"a\r\n.\r\nb\r\n.\r\nc\r\n"),
        (b"a\n.\r\nb\r\n.\nc\r\n", b"a\r\n.\r\nb\r\n.\r\nc\r\n"),
        (b"", b""),
    ],
    ids=["dot", "dots", "commands", "no-end", "lone-ends", "mixed-ends", "nothing"],
)
def test_a_message_arrives_as_it_is_whatever_dots_are_in_it(
    server: SmtpServer, data: bytes, arrives: bytes
) -> None:
    client = transport(server)
    assert client.deliver(message(data=data), lambda: True).verdict is Verdict.SENT
    client.close()
    (found,) = server.accepted
    assert found.data.partition(b"\r\n\r\n")[2] == arrives


def test_a_dot_that_begins_the_message_is_doubled_like_any_other() -> None:
    assert wire_form(b".\r\n.\r\na.\r\n") == b"..\r\n..\r\na.\r\n"


# Each phase, what the server does there, and what follows from it. A line that is dropped and a
# server that hangs come to the same: before the message nothing can have been accepted.
REFUSALS: list[tuple[Phase, Answer, Verdict]] = [
    ("greeting", say("421 4.3.2 shutting down", "drop"), Verdict.UNREACHABLE),
    ("greeting", say("554 5.7.1 not from your address"), Verdict.UNREACHABLE),
    ("greeting", say(GARBAGE), Verdict.UNREACHABLE),
    ("greeting", DROP, Verdict.UNREACHABLE),
    ("greeting", HANG, Verdict.UNREACHABLE),
    ("ehlo", say("450 4.3.0 not now"), Verdict.UNREACHABLE),
    ("ehlo", say("550 5.7.1 no"), Verdict.UNREACHABLE),
    ("ehlo", DROP, Verdict.UNREACHABLE),
    ("ehlo", HANG, Verdict.UNREACHABLE),
    ("mail", say("451 4.3.0 not now"), Verdict.TEMPORARY),
    ("mail", say("421 4.7.0 too many", "drop"), Verdict.TEMPORARY),
    ("mail", say("550 5.7.1 you may not"), Verdict.MAILBOX),
    ("mail", say("550 5.4.5 daily limit"), Verdict.MAILBOX),
    ("mail", say("530 5.7.0 log in"), Verdict.MAILBOX),
    ("mail", say("552 5.3.4 too big"), Verdict.REFUSED),
    ("mail", say(GARBAGE), Verdict.TEMPORARY),
    ("mail", DROP, Verdict.TEMPORARY),
    ("mail", HANG, Verdict.TEMPORARY),
    ("rcpt", say("450 4.2.1 too fast"), Verdict.TEMPORARY),
    ("rcpt", say("550 5.1.1 no such user"), Verdict.RECIPIENT),
    ("rcpt", say("550-5.1.1 no\r\n550 5.1.1 such user"), Verdict.RECIPIENT),
    ("rcpt", say("550 5.4.5 daily limit"), Verdict.MAILBOX),
    ("rcpt", say("552 5.2.2 full"), Verdict.REFUSED),
    ("rcpt", say(GARBAGE), Verdict.TEMPORARY),
    ("rcpt", DROP, Verdict.TEMPORARY),
    ("rcpt", HANG, Verdict.TEMPORARY),
    ("data", say("451 4.3.0 not now"), Verdict.TEMPORARY),
    ("data", say("554 5.7.1 no"), Verdict.REFUSED),
    ("data", say("550 5.1.1 no such user"), Verdict.RECIPIENT),
    ("data", say("250 go on"), Verdict.TEMPORARY),
    ("data", say(GARBAGE), Verdict.TEMPORARY),
    # Answering before the message was sent is no answer to it.
    ("data", say(b"354 go on\r\n250 accepted\r\n"), Verdict.TEMPORARY),
    ("data", DROP, Verdict.TEMPORARY),
    ("data", HANG, Verdict.TEMPORARY),
    ("dot", say("421 4.3.2 shutting down", "drop"), Verdict.TEMPORARY),
    ("dot", say("451 4.3.0 not now"), Verdict.TEMPORARY),
    ("dot", say("554 5.7.1 spam"), Verdict.REFUSED),
    ("dot", say("550 5.1.1 no such user"), Verdict.RECIPIENT),
    ("dot", say("554 5.2.0 quota"), Verdict.MAILBOX),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "answer", "expected"),
    REFUSALS,
    ids=[f"{phase}-{number}" for number, (phase, _, _) in enumerate(REFUSALS)],
)
def test_each_failure_at_each_phase_is_told_apart_and_the_next_email_goes_out(
    server: SmtpServer, phase: Phase, answer: Answer, expected: Verdict
) -> None:
    server.script(phase, answer, times=1)
    client = transport(server, timeout=SOON if answer.then == "hang" else 30.0)
    outcome = send(client)
    assert outcome.verdict is expected
    assert outcome.detail
    assert server.accepted == []
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    assert server.message_ids == ["<2@test>"]


@pytest.mark.slow
@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "not-accepted"])
@pytest.mark.parametrize(
    ("reply", "then"),
    [
        (None, "drop"),
        (None, "hang"),
        (GARBAGE, "go on"),
        (b"250", "drop"),
        ("354 what", "go on"),
        ("150 what", "go on"),
        ("-1 what", "go on"),
        ("250-accepted", "hang"),
        ("250-accepted\r\n550 or not", "go on"),
    ],
    ids=["drop", "hang", "garbage", "half-a-line", "3yz", "1yz", "minus", "half", "two-codes"],
)
def test_an_answer_to_the_dot_that_cannot_be_read_leaves_it_open(
    server: SmtpServer, reply: str | bytes | None, then: str, accept: bool
) -> None:
    server.script("dot", Answer(reply, then, accept), times=1)  # type: ignore[arg-type]
    client = transport(server, answer_timeout=SOON if then == "hang" else 60.0)
    assert send(client).verdict is Verdict.UNCERTAIN
    # Nothing that was said late is taken for an answer to the next email.
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    assert server.message_ids == ["<1@test>"] * accept + ["<2@test>"]
    assert server.connections == 2


@pytest.mark.parametrize("answer", [ACCEPT_AND_DROP, ACCEPT_AND_HANG], ids=["drop", "hang"])
def test_a_message_that_was_accepted_without_a_word_is_uncertain(
    server: SmtpServer, answer: Answer
) -> None:
    server.script("dot", answer, times=1)
    client = transport(server, answer_timeout=SOON)
    outcome = send(client)
    client.close()
    assert outcome.verdict is Verdict.UNCERTAIN
    assert outcome.detail.startswith("end of message: ")
    assert len(server.accepted) == 1


@pytest.mark.parametrize("then", ["drop", "hang"])
def test_a_line_that_fails_in_the_midst_of_the_message_leaves_nothing_open(
    server: SmtpServer, then: str
) -> None:
    # 354, and then the server reads no more; 32 MB are more than the system takes in between.
    server.script("data", Answer("354 go on", then))  # type: ignore[arg-type]
    client = transport(server, timeout=1.0)
    outcome = client.deliver(message(data=HUGE * 32_000), lambda: True)
    client.close()
    assert outcome.verdict is Verdict.TEMPORARY
    assert outcome.detail.startswith("message: ")
    assert server.accepted == []


@pytest.mark.parametrize(
    "answer",
    [say("421 4.3.2 closing", "drop"), DROP, HANG, say(GARBAGE), say("500 what")],
    ids=["421", "drop", "hang", "garbage", "500"],
)
def test_a_quit_that_is_not_answered_as_it_should_changes_nothing(
    server: SmtpServer, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sendplan.io.transport.smtp_transport.FAREWELL", SOON)
    server.script("quit", answer)
    client = transport(server)
    assert send(client).verdict is Verdict.SENT
    client.close()
    server.until(lambda: not server.open)
    assert server.heard("QUIT") == 1
    # And once more, to nobody.
    client.close()


def test_the_message_is_asked_for_when_the_recipient_was_accepted_and_before_data(
    server: SmtpServer,
) -> None:
    heard: list[list[str]] = []

    def begin() -> bool:
        heard.append([word for _, word in server.commands])
        return True

    client = transport(server)
    assert client.deliver(message(), begin).verdict is Verdict.SENT
    assert heard == [["EHLO", "MAIL", "RCPT"]]
    # Not asked for what never gets so far.
    server.script("rcpt", "550 5.1.1 no such user")
    assert client.deliver(message(), begin).verdict is Verdict.RECIPIENT
    assert len(heard) == 1
    client.close()


def test_a_message_that_is_withdrawn_does_not_leave_and_the_next_one_starts_afresh(
    server: SmtpServer,
) -> None:
    client = transport(server)
    assert client.deliver(message(), lambda: False) == Outcome(Verdict.WITHDRAWN)
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    # Ben's alone: RSET has cleared the envelope.
    assert [found.recipients for found in server.accepted] == [(BEN,)]
    words = [word for _, word in server.commands]
    assert words == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "DOT", "QUIT"]


def test_an_error_of_the_caller_passes_and_the_transaction_is_given_up(server: SmtpServer) -> None:
    def begin() -> bool:
        raise RuntimeError("the database")

    client = transport(server)
    with pytest.raises(RuntimeError, match="the database"):
        client.deliver(message(), begin)
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    assert server.message_ids == ["<2@test>"]


def test_a_refused_recipient_leaves_the_connection_in_use(server: SmtpServer) -> None:
    server.script("rcpt", "550 5.1.1 no such user", recipient=ANN)
    client = transport(server)
    assert send(client, ANN).verdict is Verdict.RECIPIENT
    assert send(client, BEN).verdict is Verdict.SENT
    client.close()
    assert server.connections == 1
    assert server.heard("RSET") == 1


@pytest.mark.parametrize(
    "answer", [say("421 4.3.2 no more"), DROP, say("500 what")], ids=["421", "drop", "500"]
)
def test_a_session_that_cannot_be_reset_is_replaced(server: SmtpServer, answer: Answer) -> None:
    server.script("rcpt", "550 5.1.1 no such user", times=1)
    server.script("rset", answer)
    client = transport(server)
    assert send(client, ANN).verdict is Verdict.RECIPIENT
    assert send(client, BEN).verdict is Verdict.SENT
    client.close()
    assert server.connections == 2


def test_a_server_that_says_421_is_not_spoken_to_again(server: SmtpServer) -> None:
    server.script("rcpt", "421 4.3.2 shutting down", times=1)
    client = transport(server)
    assert send(client).verdict is Verdict.TEMPORARY
    assert send(client).verdict is Verdict.SENT
    client.close()
    assert server.connections == 2
    assert server.heard("RSET") == 0


def test_what_a_server_says_unasked_is_no_answer_to_the_next_email(server: SmtpServer) -> None:
    client = transport(server)
    assert send(client).verdict is Verdict.SENT
    server.speak(b"250 by the way\r\n")
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    assert server.message_ids == ["<1@test>", "<2@test>"]
    assert server.connections == 2


def test_a_line_that_fails_at_the_dot_leaves_it_open(
    server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How much of what a failing call was given has left, nobody can tell for every kind of line.
    send_all = Session.send

    def dropping(session: Session, phase: Phases, data: bytes) -> None:
        if data == b".\r\n":
            session.drop()
        send_all(session, phase, data)

    monkeypatch.setattr(Session, "send", dropping)
    client = transport(server)
    assert send(client) == Outcome(Verdict.UNCERTAIN, "end of message: the connection was dropped")
    client.close()


def test_a_connection_that_was_dropped_meanwhile_costs_no_attempt(server: SmtpServer) -> None:
    client = transport(server)
    assert send(client).verdict is Verdict.SENT
    server.hang_up()
    assert send(client, BEN, "2").verdict is Verdict.SENT
    client.close()
    assert server.message_ids == ["<1@test>", "<2@test>"]
    assert server.connections == 2


@pytest.mark.parametrize("answer", [say("421 4.4.2 idle", "drop"), DROP], ids=["421", "drop"])
def test_a_kept_session_that_the_server_has_tired_of_is_replaced_once(
    server: SmtpServer, answer: Answer
) -> None:
    client = transport(server)
    assert send(client).verdict is Verdict.SENT
    server.script("mail", answer, times=1)
    assert send(client, BEN, "2").verdict is Verdict.SENT
    assert server.connections == 2
    # The new session too: now it is the email that waits.
    server.script("mail", answer, times=2)
    assert send(client, BEN, "3").verdict is Verdict.TEMPORARY
    assert server.connections == 3
    client.close()
    assert server.message_ids == ["<1@test>", "<2@test>"]


def test_a_session_that_has_rested_is_asked_whether_it_lives(server: SmtpServer) -> None:
    clock = Clock()
    client = transport(server, clock=clock, timeout=3 * SOON)
    assert send(client).verdict is Verdict.SENT
    clock.now = CHECKED_AFTER
    assert send(client).verdict is Verdict.SENT
    assert server.heard("RSET") == 1
    assert server.connections == 1
    # It hangs now, as behind a router that has forgotten it: that costs a third of the time.
    server.script("rset", HANG, times=1)
    clock.now = 2 * CHECKED_AFTER
    assert send(client).verdict is Verdict.SENT
    assert server.connections == 2
    client.close()


def test_a_session_that_is_not_needed_is_ended_after_its_time(server: SmtpServer) -> None:
    clock = Clock()
    client = transport(server, clock=clock, kept=90.0)
    client.rest()
    assert send(client).verdict is Verdict.SENT
    clock.now = 89.0
    client.rest()
    assert server.heard("QUIT") == 0
    assert send(client).verdict is Verdict.SENT
    # From the last email on.
    clock.now = 178.0
    client.rest()
    assert server.heard("QUIT") == 0
    clock.now = 179.0
    client.rest()
    server.until(lambda: not server.open)
    assert server.heard("QUIT") == 1
    assert send(client).verdict is Verdict.SENT
    assert server.connections == 2
    client.close()


def test_a_server_that_is_away_is_unreachable_until_it_is_back(server: SmtpServer) -> None:
    client = transport(server)
    server.stop()
    outcome = send(client)
    assert outcome == Outcome(Verdict.UNREACHABLE, "connecting: connection refused")
    server.start()
    assert send(client).verdict is Verdict.SENT
    server.stop()
    assert send(client).verdict is Verdict.UNREACHABLE
    client.close()


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    client = SmtpTransport(parse_url("smtp://no-such-host.invalid"), hostname="client.test")
    assert send(client).verdict is Verdict.UNREACHABLE
    client.close()


def test_an_email_takes_no_longer_than_it_says() -> None:
    # Opening and handing over 7 s each, and 60 s for the answer, or the URL's own if longer.
    quick, slow = (parse_url(f"smtp://mail.example.com?timeout={number}") for number in (7, 70))
    assert SmtpTransport(quick, hostname="client.test").longest == 7 + 7 + 60
    assert SmtpTransport(slow, hostname="client.test").longest == 70 + 70 + 70


def test_the_answer_to_the_message_may_take_longer_than_all_before(server: SmtpServer) -> None:
    answered = threading.Event()
    server.script("dot", Answer("250 at last", held=answered))
    client = transport(server, timeout=2 * SOON)
    timer = threading.Timer(3 * SOON, answered.set)
    timer.start()
    assert send(client).verdict is Verdict.SENT
    timer.join()
    client.close()


def test_a_server_that_drips_its_answers_is_not_waited_for_beyond_the_time() -> None:
    # A byte every now and then, for ever: each one comes in time, all together never do.
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        line, _ = listening.accept()
        with line:
            while not ended.wait(SOON / 4):
                try:
                    line.send(b"2")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    url = f"smtp://127.0.0.1:{listening.getsockname()[1]}"
    client = SmtpTransport(parse_url(url), hostname="client.test", timeout=2 * SOON)
    outcome = send(client)
    ended.set()
    thread.join()
    listening.close()
    assert outcome == Outcome(Verdict.UNREACHABLE, "greeting: no answer in time")


@pytest.mark.parametrize(
    "reply",
    [b"250-more\r\n" * 20_000, b"250 " + b"x" * 200_000, b"x" * 200_000 + b"\r\n"],
    ids=["lines", "line", "garbage"],
)
def test_an_answer_that_is_too_long_is_none(server: SmtpServer, reply: bytes) -> None:
    assert len(reply) > MAX_REPLY
    # It is not waited for whether it ends some time.
    server.script("dot", Answer(reply, "hang"), times=1)
    client = transport(server, answer_timeout=10.0)
    assert send(client) == Outcome(Verdict.UNCERTAIN, "end of message: an endless reply")
    assert send(client).verdict is Verdict.SENT
    client.close()


def test_an_answer_in_many_lines_and_any_letters_is_read(server: SmtpServer) -> None:
    server.script("rcpt", say("550-5.1.1 Ünknown\x00\r\n550-5.1.1 \x1b[31m\r\n550 5.1.1 end"))
    client = transport(server)
    assert send(client) == Outcome(Verdict.RECIPIENT, "RCPT TO: 550 5.1.1 Ünknown [31m end")
    client.close()


def test_the_server_in_a_process_of_its_own_writes_down_what_it_has_accepted(
    tmp_path: Path,
) -> None:
    log, script = tmp_path / "accepted.jsonl", tmp_path / "script.json"
    script.write_text(json.dumps([{"phase": "dot", "then": "drop", "accept": True, "after": 1}]))
    command = [sys.executable, smtp_server.__file__, "--log", str(log), "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"smtp://127.0.0.1:{process.stdout.readline().strip()}"
        client = SmtpTransport(parse_url(url), hostname="client.test")
        assert send(client).verdict is Verdict.SENT
        # By the time the line is dropped, the line of the log is written.
        assert send(client, BEN, "2").verdict is Verdict.UNCERTAIN
        found = read_log(log)
        process.terminate()
    client.close()
    assert [(line["message_id"], line["recipients"]) for line in found] == [
        ("<1@test>", [ANN]),
        ("<2@test>", [BEN]),
    ]


BYTES = st.one_of(
    st.binary(max_size=60),
    st.from_regex(rb"[2-5][0-9]{2}[ -][ -~]{0,9}(\r\n|\n|\r|)", fullmatch=True),
)


@pytest.mark.slow
@given(
    phase=st.sampled_from(["greeting", "ehlo", "mail", "rcpt", "data", "dot", "rset"]),
    reply=st.lists(BYTES, max_size=4).map(b"".join),
    accept=st.booleans(),
)
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_bytes_a_server_sends_the_outcome_is_never_wrong(
    server: SmtpServer, phase: Phase, reply: bytes, accept: bool
) -> None:
    server.forget_script()
    server.accepted.clear()
    server.script(phase, Answer(reply, "drop", accept), times=1)
    client = transport(server)
    outcome = send(client)
    again = send(client, BEN, "2")
    client.close()
    assert outcome.detail.isprintable()
    if phase == "dot":
        # SENT and refusals are the server's word, whatever it means by it; all else is open.
        said = {Verdict.SENT: b"2", Verdict.UNCERTAIN: b""}.get(outcome.verdict)
        assert reply[:1] in (b"4", b"5") if said is None else reply.startswith(said)
    elif phase == "rset":
        assert outcome.verdict is Verdict.SENT
    else:
        assert (outcome.verdict is Verdict.SENT) == ("<1@test>" in server.message_ids)
    assert (again.verdict is Verdict.SENT) == ("<2@test>" in server.message_ids)
    assert server.message_ids.count("<2@test>") <= 1


def test_starttls_encrypts_before_anything_is_told(certificate: tuple[Path, Path]) -> None:
    with SmtpServer(
        certificate=certificate, user="me", password="pä:ss", auth_needs_tls=True
    ) as server:
        url = server.url(login="me:p%C3%A4%3Ass", options=f"?starttls=required&ca={certificate[0]}")
        client = SmtpTransport(parse_url(url), hostname="client.test")
        assert send(client).verdict is Verdict.SENT
        assert send(client).verdict is Verdict.SENT
        client.close()
        assert [(found.encrypted, found.username) for found in server.accepted] == [
            (True, "me"),
            (True, "me"),
        ]
        words = [word for _, word in server.commands]
        assert words[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_smtps_is_encrypted_from_the_first_byte(certificate: tuple[Path, Path]) -> None:
    with SmtpServer(certificate=certificate, implicit=True) as server:
        client = transport(server, options=f"?ca={certificate[0]}")
        assert send(client).verdict is Verdict.SENT
        server.hang_up()
        assert send(client).verdict is Verdict.SENT
        client.close()
        assert [found.encrypted for found in server.accepted] == [True, True]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "smtps"])
def test_a_server_with_an_untrusted_certificate_is_not_used(
    certificate: tuple[Path, Path], implicit: bool
) -> None:
    with SmtpServer(certificate=certificate, implicit=implicit) as server:
        client = transport(server, options="" if implicit else "?starttls=offered")
        outcome = send(client)
        client.close()
        assert outcome.verdict is Verdict.UNREACHABLE
        assert "certificate is not trusted: self-signed" in outcome.detail
        assert server.heard("MAIL") == 0


def test_a_certificate_of_another_host_is_not_talked_to(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, host="mail.example.com")
    with SmtpServer(certificate=other) as server:
        url = server.url(host="localhost", options=f"?starttls=required&ca={other[0]}")
        client = SmtpTransport(parse_url(url), hostname="client.test")
        outcome = send(client)
        client.close()
        assert outcome.verdict is Verdict.UNREACHABLE
        assert "mismatch" in outcome.detail
        assert server.heard("MAIL") == 0


def test_a_password_does_not_go_to_a_server_without_starttls_that_must_have_it() -> None:
    with SmtpServer(user="me", password="secret") as server:
        client = transport(server, options="?starttls=required")
        outcome = send(client)
        client.close()
        assert outcome == Outcome(Verdict.UNREACHABLE, "STARTTLS: the server does not offer it")
        assert server.heard("AUTH") == 0


@pytest.mark.parametrize(
    "answer",
    [
        say("454 4.7.0 not now"),
        say("500 what"),
        say("220 go on", "drop"),
        say(b"220 go on\r\n", "hang"),
        DROP,
    ],
    ids=["4yz", "5yz", "drop-in-handshake", "hang-in-handshake", "drop"],
)
def test_a_starttls_that_fails_leaves_the_email_untried(
    certificate: tuple[Path, Path], answer: Answer
) -> None:
    with SmtpServer(certificate=certificate) as server:
        server.script("starttls", answer, times=1)
        options = f"?starttls=required&ca={certificate[0]}"
        client = transport(server, options=options, timeout=SOON if answer.then == "hang" else 30.0)
        assert send(client).verdict is Verdict.UNREACHABLE
        assert server.heard("MAIL") == 0
        client.close()


def test_what_comes_in_the_clear_after_starttls_is_not_listened_to(
    certificate: tuple[Path, Path],
) -> None:
    with SmtpServer(certificate=certificate) as server:
        server.script("starttls", say(b"220 go on\r\n250 says somebody in between\r\n"))
        client = transport(server, options=f"?starttls=required&ca={certificate[0]}")
        outcome = send(client)
        client.close()
    expected = "STARTTLS: cleartext after the reply"
    assert outcome == Outcome(Verdict.UNREACHABLE, expected)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "garbage"])
def test_certificates_that_cannot_be_read_are_told_at_once(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=f"the file {path}: .* – name a file of PEM"):
        SmtpTransport(parse_url(f"smtps://mail.example.com?ca={path}"), hostname="client.test")


def test_a_wrong_password_is_the_mailboxs_own() -> None:
    with SmtpServer(user="me", password="secret") as server:
        client = SmtpTransport(parse_url(server.url(login="me:wrong")), hostname="client.test")
        outcome = send(client)
        client.close()
        assert outcome.verdict is Verdict.MAILBOX
        assert outcome.detail.startswith("AUTH: 535 5.7.8")
        # Asked once: a second failure would bring a lock-out nearer.
        assert server.heard("AUTH") == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (say("454 4.7.0 Temporary authentication failure"), Verdict.UNREACHABLE),
        (say("421 4.7.0 too many"), Verdict.UNREACHABLE),
        (say(GARBAGE), Verdict.UNREACHABLE),
        (DROP, Verdict.UNREACHABLE),
        (say("534 5.7.9 Application-specific password required"), Verdict.MAILBOX),
        (say("535 nope"), Verdict.MAILBOX),
    ],
    ids=["454", "421", "garbage", "drop", "534", "535"],
)
def test_a_login_that_fails_is_told_apart(answer: Answer, expected: Verdict) -> None:
    with SmtpServer(user="me", password="secret") as server:
        server.script("auth", answer, times=1)
        client = transport(server)
        assert send(client).verdict is expected
        assert send(client).verdict is Verdict.SENT
        client.close()


def test_login_goes_in_two_steps_where_the_server_offers_nothing_else() -> None:
    with SmtpServer(user="me", password="secret") as server:
        server.script("ehlo", say("250-oracle.test\r\n250-auth login\r\n250 HELP"))
        client = transport(server)
        assert send(client).verdict is Verdict.SENT
        client.close()
        assert [found.username for found in server.accepted] == ["me"]


@pytest.mark.parametrize("extension", ["250 HELP", "250 AUTH CRAM-MD5 XOAUTH2"])
def test_a_server_that_offers_no_login_that_is_known_is_told(extension: str) -> None:
    with SmtpServer(user="me", password="secret") as server:
        server.script("ehlo", say(f"250-oracle.test\r\n{extension}"))
        client = transport(server)
        outcome = send(client)
        client.close()
        assert outcome.verdict is Verdict.UNREACHABLE
        assert "neither PLAIN nor LOGIN; it may after STARTTLS" in outcome.detail


def _plain(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    "echo",
    [
        lambda: _plain("\0me\0s3cret"),
        lambda: _plain("\0me\0s3cret").upper(),
        lambda: _plain("s3cret"),
        lambda: "s3cret",
    ],
    ids=["login", "upper-case", "encoded", "plain"],
)
def test_a_server_that_repeats_the_password_does_not_bring_it_into_a_detail(
    echo: Callable[[], str],
) -> None:
    with SmtpServer(user="me", password="s3cret") as server:
        server.script("auth", say(f"502 what is AUTH PLAIN {echo()}?"))
        client = transport(server)
        outcome = send(client)
        client.close()
        assert outcome == Outcome(Verdict.MAILBOX, "AUTH: 502 what is AUTH PLAIN …?")
