"""PostgreSQL stopped in the midst of dispatching, as by a power cut, and started again."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sendplan.io.database.engine import connect, migrate
from sendplan.io.embedded_server.postmaster import Postmaster
from sendplan.io.embedded_server.server import EmbeddedServer
from sendplan.tests.worlds.databases.frames import clear_tables
from sendplan.tests.worlds.dispatching.smtp_server import Answer
from sendplan.tests.worlds.dispatching.world import DispatchWorld, assert_accounted_for


class Crashing(Postmaster):
    """A server that can be stopped without a word to its sessions, and no checkpoint."""

    def crash(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", pgdata=self.pgdata)


@pytest.fixture
def world(open_folder: Path) -> Iterator[DispatchWorld]:
    """A world on a server of its own, whose data is safe from crashes as by default."""
    with EmbeddedServer(open_folder / "crashing") as server:
        engine = connect(server.url)
        migrate(engine)
        with engine.begin() as connection:
            clear_tables(connection)
        with DispatchWorld(engine, server.url) as made:
            yield made
        engine.dispose()


@pytest.fixture
def postmaster(world: DispatchWorld, open_folder: Path) -> Crashing:
    return Crashing((open_folder / "crashing" / "postgres").resolve())


@pytest.mark.slow
def test_a_database_that_crashes_and_comes_back_costs_no_email_and_doubles_none(
    world: DispatchWorld, postmaster: Crashing
) -> None:
    """When it crashes, 1 is accepted and unanswered, 2 is not yet begun, and 3 waits behind 1.

    1 is recorded as sent once the database is back. 2 cannot begin meanwhile: it is given back, and
    sent later. New emails of then are sent by the same process.
    """
    answered = threading.Event()
    first, second = world.server(), world.server()
    first.script("dot", Answer("250 2.0.0 ok", held=answered), times=1)
    second.script("ehlo", Answer("250 oracle.test", held=answered), times=1)
    world.sequence().mailbox(1, first).mailbox(2, second)
    world.emails([1]).emails([2], mailbox=2)
    with world.dispatch() as process:
        first.until(lambda: len(first.accepted) == 1)
        second.until(lambda: second.heard("EHLO") == 1)
        world.emails([3])
        postmaster.crash()
        answered.set()
        process.until_logged("The database does not answer")
        process.until_logged("Outcomes could not be recorded")
        assert second.heard("DATA") == 0
        postmaster.start()
        world.engine.dispose()
        process.until_logged("Sent", 3)
        world.emails([4, 5], mailbox=2)
        process.until_logged("Sent", 5)
        assert process.end() == 0
    assert [world.state(key)[0] for key in (1, 2, 3, 4, 5)] == ["sent"] * 5
    # A try that the database has stopped is none.
    assert [world.state(key)[1] for key in (1, 3, 4, 5)] == [1] * 4
    assert_accounted_for(world)


@pytest.mark.slow
def test_a_dispatcher_that_ends_without_its_database_leaves_what_it_sent_as_sending(
    world: DispatchWorld, postmaster: Crashing
) -> None:
    """It tries for half a minute to record what was accepted; killed meanwhile, it is uncertain."""
    answered = threading.Event()
    server = world.server()
    server.script("dot", Answer("250 2.0.0 ok", held=answered), times=1)
    world.sequence().mailbox(1, server).emails([1])
    with world.dispatch() as process:
        server.until(lambda: len(server.accepted) == 1)
        postmaster.crash()
        answered.set()
        process.until_logged("Outcomes could not be recorded")
        process.kill()
    postmaster.start()
    world.engine.dispose()
    assert world.state(1) == ("sending", 1)
    world.let_leases_run_out()
    world.dispatched()
    assert world.state(1) == ("uncertain", 1)
    assert_accounted_for(world)


def test_a_database_that_is_away_at_the_start_is_an_error_of_the_database(
    world: DispatchWorld, postmaster: Crashing
) -> None:
    postmaster.crash()
    try:
        done = world.command("dispatch", "--once")
    finally:
        postmaster.start()
        world.engine.dispose()
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
