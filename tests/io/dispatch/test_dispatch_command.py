"""`sendplan dispatch` as it is run: whole threads, faults beside others, and its options."""

import email
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sendplan.io.planning.nightly import run_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.stored_emails import recalculated
from sendplan.tests.worlds.dispatching.smtp_server import HANG, Answer
from sendplan.tests.worlds.dispatching.world import DispatchWorld, assert_accounted_for

DAY = timedelta(days=1)


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as made:
        yield made


def as_of(moment: datetime) -> tuple[str, str]:
    return "--as-of", moment.isoformat()


# ---------------------------------------------------------------- a thread


@pytest.mark.slow
def test_a_thread_of_three_is_sent_to_its_end(world: DispatchWorld) -> None:
    """Today, tomorrow, and two days after that; the third has no row before the second is sent.

    That row is provisional, so it leaves only once a plan has given it a slot.
    """
    server = world.server()
    world.sequence(1, (0, 1, 2)).mailbox(1, server).enroll(7)
    world.email(7, 1)
    world.email(7, 2, ago=-86_400)
    world.dispatched()
    assert world.value("enrollments", 7, "current_step_id") == 11
    assert world.value("enrollments", 7, "mailbox_id") == 1
    tomorrow = world.now + DAY + timedelta(seconds=30)
    world.dispatched(*as_of(tomorrow))
    made = world.row(7, 3)
    assert (made["status"], made["plan_run_id"], made["mailbox_id"]) == ("pending", None, 1)
    assert made["send_day"] == world.local(tomorrow).date() + 2 * DAY
    world.dispatched(*as_of(made["send_at"] + timedelta(seconds=1)))
    assert world.state(7, 3) == ("pending", 0)
    run_plan(world.engine, tomorrow + timedelta(hours=1), Parameters(method="greedy"))
    slot = world.row(7, 3)["send_at"]
    world.dispatched(*as_of(slot + timedelta(seconds=5)))

    assert [world.state(7, position) for position in (1, 2, 3)] == [("sent", 1)] * 3
    assert world.value("enrollments", 7, "status") == "completed"
    assert world.value("enrollments", 7, "completed_at") == slot + timedelta(seconds=5)
    messages = [email.message_from_bytes(message.data) for message in server.accepted]
    ids = [message["Message-ID"] for message in messages]
    assert ids == [world.row(7, position)["message_id"] for position in (1, 2, 3)]
    assert [message["In-Reply-To"] for message in messages] == [None, ids[0], ids[1]]
    assert [str(message["References"]).split() for message in messages[1:]] == [ids[:1], ids[:2]]
    assert [message["Subject"] for message in messages] == ["Hello Ada"] + ["Re: Hello Ada"] * 2
    assert_accounted_for(world)


@pytest.mark.slow
def test_one_that_was_not_accepted_is_tried_again_after_half_an_hour(world: DispatchWorld) -> None:
    server = world.server()
    server.script("rcpt", "450 4.2.0 greylisted", times=1)
    world.sequence().mailbox(1, server).emails([1])
    world.dispatched()
    world.dispatched(*as_of(world.row(1)["send_at"] - timedelta(seconds=1)))
    assert world.state(1) == ("pending", 1)
    world.dispatched(*as_of(world.row(1)["send_at"]))
    assert world.state(1) == ("sent", 2)
    assert world.row(1)["last_error"] is None
    assert_accounted_for(world)


@pytest.mark.slow
def test_an_uncertain_email_that_did_not_leave_is_sent_once_an_operator_says_so(
    world: DispatchWorld,
) -> None:
    server = world.server()
    server.script("dot", Answer(then="drop"), times=1)
    world.sequence().mailbox(1, server).emails([1])
    world.dispatched()
    before = world.row(1)
    world.dispatched()
    assert (world.state(1), server.heard("DATA")) == (("uncertain", 1), 1)
    world.called("uncertain", "--not-sent", str(before["id"]))
    recalculated(world.engine, datetime.now(UTC))
    slot = world.row(1)["send_at"]
    world.dispatched(*as_of(slot + timedelta(seconds=1)))
    assert world.state(1)[0] == "sent"
    assert server.message_ids == [before["message_id"]]
    assert_accounted_for(world)


# ---------------------------------------------------------------- beside others


def test_what_is_wrong_with_one_holds_up_no_other(world: DispatchWorld) -> None:
    """A flawed template, a contact without a name, a mailbox without its secret, a silent server.

    Behind the first two, on the same mailbox, an email waits that is sent; so is that of another
    mailbox, while the silent server is still being waited for.
    """
    sound, silent = world.server(), world.server()
    silent.script("rcpt", HANG)
    world.sequence(1).sequence(2, content="Dear {{ name")
    world.mailbox(1, sound, sequences=(1, 2)).mailbox(2, silent).mailbox(3, "env:SMTP_NOWHERE")
    world.mailbox(4, sound)
    world.emails([1], sequence=2).emails([2])
    world.run("UPDATE contacts SET attributes = '{}' WHERE id = 2")
    world.emails([3]).emails([4], mailbox=2).emails([5], mailbox=3).emails([6], mailbox=4)
    with world.dispatch() as process:
        silent.until(lambda: silent.heard("RCPT") == 1)
        process.until_logged("The sequence was paused")
        process.until_logged("Refused")
        process.until_logged("No session with the server")
        process.until_logged("Sent", 2)
        assert world.state(4) == ("claimed", 1)
    states = [world.state(key) for key in (1, 2, 3, 5, 6)]
    assert states == [("pending", 0), ("failed", 1), ("sent", 1), ("pending", 0), ("sent", 1)]
    assert world.value("sequences", 2, "status") == "paused"
    assert "SMTP_NOWHERE" in world.row(5)["last_error"]
    # One contact's fault concerns no other; and a secret may come.
    assert world.value("sequences", 1, "status") == "active"
    assert world.value("mailboxes", 3, "status") == "active"


def test_emails_of_a_mailbox_share_a_connection(world: DispatchWorld) -> None:
    server = world.server()
    world.sequence().mailbox(1, server).emails(range(1, 6))
    world.dispatched()
    assert (len(server.accepted), server.connections, server.heard("QUIT")) == (5, 1, 1)
    # In the order of their slots.
    sent = [message.recipients[0] for message in server.accepted]
    assert sent == [f"c{key}@receiver.test" for key in range(1, 6)]
    assert_accounted_for(world)


# ---------------------------------------------------------------- overdue


@pytest.mark.slow
def test_what_missed_its_slot_by_more_than_the_grace_is_planned_again_and_not_sent_in_a_burst(
    world: DispatchWorld,
) -> None:
    """Three of either sequence are 16 minutes late, one is 14 minutes late and so still goes."""
    server = world.server()
    world.sequence(1).sequence(2).mailbox(1, server, sequences=(1, 2))
    for key in range(1, 7):
        world.enroll(key, sequence=1 + key % 2)
        world.email(key, sequence=1 + key % 2, ago=16 * 60)
    world.enroll(8).email(8, ago=14 * 60)
    world.run("DELETE FROM change_requests")
    for _ in range(2):
        world.dispatched()
        asked = world.run("SELECT kind, sequence_id FROM change_requests ORDER BY sequence_id")
        assert asked == [("overdue", 1), ("overdue", 2)]
    assert world.states() == {"pending": 6, "sent": 1}
    before = datetime.now(UTC)
    assert world.called("recalc")["rows_changed"] == 6
    query = "SELECT send_at FROM scheduled_emails WHERE status = 'pending' ORDER BY send_at"
    slots = [send_at for (send_at,) in world.run(query)]
    assert slots[0] >= before.replace(microsecond=0)
    # Spread over the rest of the day, eleven hours at least: the mailbox's i-th after i sevenths.
    assert all(b - a > timedelta(hours=1) for a, b in pairwise(slots))
    assert world.run("SELECT FROM change_requests") == []
    assert_accounted_for(world)


def test_the_grace_can_be_chosen(world: DispatchWorld) -> None:
    server = world.server()
    world.sequence().mailbox(1, server).enroll(1).email(1, ago=60)
    world.dispatched("--grace", "30")
    assert world.state(1) == ("pending", 0)
    world.dispatched("--grace", "120")
    assert world.state(1) == ("sent", 1)


# ---------------------------------------------------------------- options and their ends


@pytest.mark.slow
def test_until_a_time_it_goes_on_and_ends_by_itself(world: DispatchWorld) -> None:
    """Whether anything is due or not, and without sending what is due only at that time."""
    world.sequence().mailbox(1, world.server()).emails([1])
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with world.dispatch("--until", past) as process:
        assert process.wait() == 0
    assert (process.printed, world.state(1)) == ("Nothing was due.\n", ("pending", 0))
    end = datetime.now(UTC) + timedelta(seconds=2)
    with world.dispatch("--until", end.isoformat()) as process:
        assert process.wait() == 0
    assert datetime.now(UTC) >= end


def test_with_nothing_due_it_says_so(world: DispatchWorld) -> None:
    world.sequence().mailbox(1, world.server()).enroll(1).email(1, ago=-60)
    assert world.dispatched().printed == "Nothing was due.\n"


def test_json_counts_all_that_became_of_emails(world: DispatchWorld) -> None:
    server = world.server()
    server.script("rcpt", "550 5.1.1 no such user", recipient="c2@receiver.test")
    world.sequence().mailbox(1, server).emails([1, 2])
    printed = json.loads(world.dispatched("--json").printed)
    assert {word: count for word, count in printed["outcomes"].items() if count} == {
        "sent": 1,
        "recipient": 1,
    }
    assert printed["recovered"] == {}


@pytest.mark.slow
def test_each_line_of_the_log_has_its_figures_in_both_forms(world: DispatchWorld) -> None:
    server = world.server()
    world.sequence().mailbox(1, server).emails([1])
    (sent,) = world.dispatched().logged("Sent")
    figures = {"enrollment_id": 1, "mailbox_id": 1, "attempt": 1, "level": "INFO"}
    assert {name: sent[name] for name in figures} == figures
    assert sent["message_id"] == world.row(1)["message_id"]
    world.emails([2])
    with world.dispatch("--once", log="text") as process:
        assert process.wait() == 0
    (line,) = [line for line in process.raw if " info Sent " in line]
    assert f"message_id={world.row(2)['message_id']}" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--as-of", "2026-03-02T12:00:00+00:00"), "--as-of stops the clock; it needs --once"),
        (("--once", "--as-of", "2026-03-02T12:00:00"), "time zone"),
        (("--workers", "0"), "--workers"),
        (("--lease", "0"), "--lease"),
    ],
    ids=["a clock that stands still", "a time without a zone", "no workers", "no lease"],
)
def test_what_makes_no_sense_is_refused(
    world: DispatchWorld, arguments: tuple[str, ...], said: str
) -> None:
    done = world.command("dispatch", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_an_outbox_that_cannot_be_made_is_an_error_that_names_it(
    world: DispatchWorld, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "outbox"
    done = world.command("dispatch", "--once", "--transport", "outbox", "--outbox", str(folder))
    assert done.returncode == 3
    assert str(folder) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_demonstration_goes_to_the_outbox_unless_told_otherwise(
    world: DispatchWorld, tmp_path: Path
) -> None:
    """Its mailboxes have addresses of no server, so that it never meets one by mistake."""
    server = world.server()
    world.sequence().mailbox(1, server).emails([1])
    world.run("UPDATE mailboxes SET email = 'ada@outreach-1.example'")
    printed = world.dispatched("--outbox", str(tmp_path)).printed
    assert printed == f"1 written to {tmp_path}/\n"
    (file,) = tmp_path.glob("*.eml")
    message = email.message_from_bytes(file.read_bytes())
    assert (message["Message-ID"], message["To"]) == (
        world.row(1)["message_id"],
        "c1@receiver.test",
    )
    assert (world.state(1), server.connections) == (("sent", 1), 0)
    world.emails([2])
    world.dispatched("--transport", "smtp")
    assert len(server.accepted) == 1


@pytest.mark.slow
def test_a_second_signal_is_not_needed_when_a_server_is_silent(world: DispatchWorld) -> None:
    """SIGTERM while connecting: the email in hand has not begun, so its end is its time-out."""
    server = world.server()
    silent = threading.Event()
    server.script("greeting", Answer("220 oracle.test", held=silent))
    world.sequence().mailbox(1, server).emails([1])
    with world.dispatch("--lease", "6") as process:
        server.until(lambda: server.connections == 1)
        assert process.end() == 0
    assert world.state(1) == ("pending", 0)
