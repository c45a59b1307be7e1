"""Dispatchers that are killed, stopped or ended, as real processes.

Servers listen in the test's own process, and so outlive every dispatcher. Leases are short, and
each wait is for what the server has heard, the log has said or the table shows.
"""

import json
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import Engine, text

from sendplan.tests.worlds.dispatching.smtp_server import (
    ACCEPT_AND_HANG,
    HANG,
    Answer,
    Phase,
    SmtpServer,
)
from sendplan.tests.worlds.dispatching.world import DispatchWorld, assert_accounted_for, until

SHORT = ("--lease", "2")


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as made:
        yield made


def one_email(world: DispatchWorld) -> SmtpServer:
    """One email that is due, enrollment 1's; its thread goes on, and so stays active."""
    server = world.server()
    world.sequence(1, (0, 3)).mailbox(1, server).emails([1])
    return server


# ---------------------------------------------------------------- killed


@pytest.mark.slow
def test_killed_after_the_claim_it_is_sent_once_by_the_next_after_the_lease(
    world: DispatchWorld,
) -> None:
    server = one_email(world)
    server.script("rcpt", HANG, times=1)
    with world.dispatch(*SHORT) as first:
        server.until(lambda: server.heard("RCPT") == 1)
        first.kill()
    assert world.state(1) == ("claimed", 1)
    message_id = world.row(1)["message_id"]
    with world.dispatch(*SHORT) as second:
        second.until_logged("Sent")
        assert second.end() == 0
    # The claim that died counts as an attempt: an email that kills its dispatcher does so 20 times.
    assert world.state(1) == ("sent", 2)
    assert [line["now"] for line in second.logged("A lease ran out")] == ["pending"]
    assert server.message_ids == [message_id]
    assert_accounted_for(world)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "answer", "accepted"),
    [("data", HANG, 0), ("dot", HANG, 0), ("dot", ACCEPT_AND_HANG, 1)],
    ids=["before the message", "before it is accepted", "before the answer"],
)
def test_killed_from_data_on_it_is_uncertain_and_never_sent_again_by_itself(
    world: DispatchWorld, phase: Phase, answer: Answer, accepted: int
) -> None:
    server = one_email(world)
    server.script(phase, answer, times=1)
    with world.dispatch() as first:
        server.until(lambda: server.heard(phase.upper()) == 1 and len(server.accepted) == accepted)
        first.kill()
    assert world.state(1) == ("sending", 1)
    world.let_leases_run_out()
    for key in (2, 3) if accepted else (2,):
        # Others leave, the one right after it was taken back and the next one later.
        world.emails([key]).dispatched()
        assert world.state(key) == ("sent", 1)
        assert world.state(1) == ("uncertain", 1)
        assert len(server.accepted) == accepted + key - 1
    assert "ran out while it was sending" in world.row(1)["last_error"]
    listed = world.called("uncertain")["uncertain"]
    assert [one["message_id"] for one in listed] == [world.row(1)["message_id"]]
    assert_accounted_for(world)


@pytest.mark.slow
def test_killed_between_the_answer_and_the_commit_it_is_uncertain(world: DispatchWorld) -> None:
    """The test holds the enrollment's row, so that the email is accepted but cannot be recorded."""
    server = one_email(world)
    with world.engine.connect() as holder, world.dispatch() as first:
        holder.execute(text("SELECT FROM enrollments WHERE id = 1 FOR UPDATE"))
        waiting = """SELECT pid FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        until(lambda: bool(world.run(waiting)))
        session = world.run(waiting)[0].pid
        assert len(server.accepted) == 1
        first.kill()
        holder.rollback()
    # Once it has its lock, the killed one's session has no client.
    until(lambda: not world.run("SELECT FROM pg_stat_activity WHERE pid = :pid", pid=session))
    world.let_leases_run_out()
    assert json.loads(world.dispatched("--json").printed)["recovered"] == {"uncertain": 1}
    assert world.state(1) == ("uncertain", 1)
    assert len(server.accepted) == 1
    assert_accounted_for(world)


@pytest.mark.slow
def test_two_dispatchers_killed_again_and_again_lose_and_double_nothing(
    world: DispatchWorld,
) -> None:
    """40 emails, from 4 mailboxes of 8 a day: 32 leave or are uncertain, and 8 wait for room.

    A dispatcher is killed after every tenth message, wherever in the next ones it is by then.
    """
    world.sequence()
    for key in range(1, 5):
        world.mailbox(key, world.server(), capacity=8)
        world.emails(range(10 * key, 10 * key + 10), mailbox=key)
    running = [world.dispatch(*SHORT), world.dispatch(*SHORT)]
    try:
        for number in (1, 2):
            until(lambda least=10 * number: len(world.accepted()) >= least)  # type: ignore[misc]
            running.pop(0).kill()
            running.append(world.dispatch(*SHORT))
        until(lambda: world.states()["sent"] + world.states()["uncertain"] == 32)
        for process in running:
            process.until_logged("Dispatching")
        assert [process.end() for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    assert world.states()["pending"] == 8
    assert_accounted_for(world)


# ---------------------------------------------------------------- stopped for longer than its lease


def sleep_through_the_lease(world: DispatchWorld, phase: Phase, accepted: int) -> SmtpServer:
    """Let a dispatcher sleep at a phase while another one works, and then change nothing."""
    server = one_email(world)
    answered = threading.Event()
    server.script(phase, Answer("250 ok", held=answered), times=1)
    with world.dispatch() as sleeper:
        server.until(lambda: server.heard(phase.upper()) == 1 and len(server.accepted) == accepted)
        sleeper.stop()
        world.let_leases_run_out()
        world.dispatched()
        before = world.row(1)
        sleeper.go_on()
        answered.set()
        sleeper.until_logged("The claim was lost before it could be recorded")
        assert sleeper.end() == 0
    assert world.row(1) == before
    assert_accounted_for(world)
    return server


@pytest.mark.slow
def test_one_that_slept_past_its_lease_finds_its_claim_lost(world: DispatchWorld) -> None:
    """It was stopped before the message, so nothing can have left, and another one sends."""
    server = sleep_through_the_lease(world, "ehlo", 0)
    assert world.state(1) == ("sent", 2)
    # It checked again at the last moment, and gave the email back.
    assert (server.heard("RCPT"), server.heard("DATA")) == (2, 1)


@pytest.mark.slow
def test_one_that_slept_while_sending_cannot_settle_what_became_uncertain(
    world: DispatchWorld,
) -> None:
    """The message was accepted; the others could not know, and an operator is to look."""
    sleep_through_the_lease(world, "dot", 1)
    assert world.state(1) == ("uncertain", 1)


# ---------------------------------------------------------------- ended


@pytest.mark.slow
def test_told_to_end_it_finishes_the_email_in_hand_and_gives_the_others_back(
    world: DispatchWorld,
) -> None:
    server = world.server()
    world.sequence().mailbox(1, server).emails([1, 2, 3, 4])
    answered = threading.Event()
    server.script("dot", Answer("250 2.0.0 ok", held=answered), times=1)
    with world.dispatch("--json") as process:
        server.until(lambda: server.heard("DOT") == 1)
        assert world.states() == {"sending": 1, "claimed": 3}
        process.terminate()
        process.until_logged("Given back", 3)
        answered.set()
        assert process.wait() == 0, process.told()
    assert [world.state(key) for key in (1, 2, 3, 4)] == [("sent", 1)] + [("pending", 0)] * 3
    assert server.heard("QUIT") == 1
    rest = world.run("SELECT FROM scheduled_emails WHERE lease_until IS NOT NULL")
    assert rest == []
    assert_accounted_for(world)


# ---------------------------------------------------------------- beside each other


@pytest.mark.slow
def test_two_dispatchers_share_the_last_room_of_a_mailbox_day(world: DispatchWorld) -> None:
    """Two of three places are taken by what was sent and what is uncertain; four emails are due."""
    server = world.server()
    world.sequence().mailbox(1, server, capacity=3)
    for key, status in ((1, "sent"), (2, "uncertain")):
        world.enroll(key).email(key, ago=60, status=status)
    world.emails([3, 4, 5, 6])
    with world.dispatch("--once") as first, world.dispatch("--once") as second:
        assert (first.wait(), second.wait()) == (0, 0)
    assert world.states() == {"sent": 2, "uncertain": 1, "pending": 3}
    assert len(server.accepted) == 1
    assert_accounted_for(world)


@pytest.mark.slow
def test_the_distance_between_emails_holds_on_the_wire(world: DispatchWorld) -> None:
    server = world.server()
    world.sequence().mailbox(1, server, gap=1).emails([1, 2, 3])
    with world.dispatch() as first, world.dispatch() as second:
        server.until(lambda: len(server.accepted) == 3)
        until(lambda: world.states()["sent"] == 3)
        assert (first.end(), second.end()) == (0, 0)
    times = [message.time for message in server.accepted]
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))
    assert_accounted_for(world)


STOPS = {
    1: "UPDATE mailboxes SET status = 'removed' WHERE id = 1",
    2: "UPDATE mailboxes SET status = 'paused' WHERE id = 2",
    3: "UPDATE sequences SET status = 'paused' WHERE id = 3",
    4: "UPDATE contacts SET suppressed_at = now(), suppressed_reason = 'asked' WHERE id = 4",
    5: "UPDATE enrollments SET status = 'stopped', stop_reason = 'replied' WHERE id = 5",
}


@pytest.mark.slow
def test_what_is_stopped_while_it_is_claimed_does_not_leave(world: DispatchWorld) -> None:
    """All six are in hand when five of them are stopped, each by plain SQL."""
    answered = threading.Event()
    for key in (*STOPS, 6):
        server = world.server()
        server.script("ehlo", Answer("250 oracle.test", held=answered))
        world.sequence(key).mailbox(key, server, sequences=[key])
        world.emails([key], mailbox=key, sequence=key)
    with world.dispatch() as process:
        for server in world.servers:
            server.until(lambda server=server: server.heard("EHLO") == 1)  # type: ignore[misc]
        for statement in STOPS.values():
            world.run(statement)
        answered.set()
        process.until_logged("Given back", 5)
        process.until_logged("Sent")
        assert process.end() == 0
    # A thread that was stopped gets nothing more; what only waits may go on some day.
    states = [world.state(key) for key in STOPS]
    assert states == [("pending", 0)] * 4 + [("cancelled", 0)]
    assert world.state(6) == ("sent", 1)
    assert [server.heard("DATA") for server in world.servers] == [0] * 5 + [1]
    assert_accounted_for(world)
