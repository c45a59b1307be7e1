"""Waiting for changes: real notices, real disconnects, and an end when told to.

What happens meanwhile happens when the waiting asks whether to stop, so that nothing depends on
how fast anything is.
"""

import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from sendplan.io.database import reconnection
from sendplan.io.database.engine import connect, migrate
from sendplan.io.embedded_server.server import EmbeddedServer
from sendplan.io.planning import watching
from sendplan.io.planning.watching import notices

HOUR = 3600.0
LISTENING = "FROM pg_stat_activity WHERE datname = :name AND query LIKE 'LISTEN %'"


class Script:
    """Says to go on so many times, and does something in between."""

    def __init__(self, *actions: Callable[[], object], then: int = 20) -> None:
        self.actions = list(actions)
        self.left = then

    def __call__(self) -> bool:
        if self.actions:
            self.actions.pop(0)()
        else:
            self.left -= 1
        return self.left < 0

    def do(self, *actions: Callable[[], object], then: int) -> None:
        self.actions, self.left = list(actions), then


def nothing() -> None:
    pass


@pytest.fixture
def change(engine: Engine) -> Callable[[], None]:
    """Commit a change, from another session."""
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO mailboxes (id, email, daily_capacity) VALUES (1, 'a@example.com', 1)")
        )

    def commit() -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE mailboxes SET daily_capacity = daily_capacity + 1"))

    return commit


@pytest.fixture
def sessions(engine: Engine, administration: Engine) -> Callable[[], int]:
    """Count the sessions that listen."""

    def count() -> int:
        with administration.connect() as connection:
            query = text(f"SELECT count(*) {LISTENING}")
            return int(connection.scalar(query, {"name": engine.url.database}) or 0)

    return count


@pytest.fixture
def disconnect(engine: Engine, administration: Engine) -> Callable[[], None]:
    """End the session that listens, from the server's side."""

    def end() -> None:
        with administration.connect() as connection:
            query = text(f"SELECT pg_terminate_backend(pid, 5000) {LISTENING}")
            assert connection.scalars(query, {"name": engine.url.database}).all() == [True]

    return end


def test_there_may_be_requests_already(engine: Engine) -> None:
    assert list(itertools.islice(notices(engine, lambda: False), 1)) == [None]


def test_a_change_made_elsewhere_is_reported(engine: Engine, change: Callable[[], None]) -> None:
    script = Script(then=20)
    stream = notices(engine, script, settle=0.1, every=HOUR)
    next(stream)
    script.do(nothing, change, then=20)
    next(stream)
    # Made while the caller is at work, and reported when it comes back.
    change()
    next(stream)
    script.do(then=2)
    assert list(stream) == []


def test_what_is_rolled_back_or_no_change_is_not_reported(engine: Engine) -> None:
    script = Script(then=20)
    stream = notices(engine, script, settle=0.1, every=HOUR)
    next(stream)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO change_requests (kind) VALUES ('overdue')"))
        connection.rollback()
        connection.execute(text("UPDATE mailboxes SET daily_capacity = 1"))
        connection.commit()
    script.do(then=2)
    assert list(stream) == []


def test_a_burst_is_reported_once(engine: Engine, change: Callable[[], None]) -> None:
    """Each of its changes comes while the one before is being heard."""
    script = Script(then=20)
    stream = notices(engine, script, settle=0.5, longest=HOUR, every=HOUR)
    next(stream)
    script.do(change, change, change, change, then=20)
    next(stream)
    assert not script.actions
    script.do(then=2)
    assert list(stream) == []


def test_a_burst_without_end_is_reported_all_the_same(
    engine: Engine, change: Callable[[], None]
) -> None:
    script = Script(then=20)
    stream = notices(engine, script, settle=HOUR, longest=0.2, every=HOUR)
    next(stream)
    script.do(*itertools.repeat(change, 1_000), then=0)
    next(stream)
    assert script.actions


def test_silence_is_reported_too(engine: Engine) -> None:
    stream = notices(engine, Script(then=20), every=0.05)
    assert list(itertools.islice(stream, 3)) == [None, None, None]


def test_told_to_stop_it_ends_and_leaves_no_session(
    engine: Engine, sessions: Callable[[], int]
) -> None:
    stop = threading.Event()
    listening = threading.Event()

    def watch() -> None:
        for _ in notices(engine, stop.is_set, every=HOUR):
            listening.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert listening.wait(30)
    assert sessions() == 1
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    until_none_are_left(sessions)


def test_a_caller_that_leaves_ends_the_session(engine: Engine, sessions: Callable[[], int]) -> None:
    stream = notices(engine, lambda: False)
    next(stream)
    assert sessions() == 1
    # It is none of the pool's, which must not hand it to others.
    assert engine.pool.status().endswith("Current Checked out connections: 0")  # type: ignore[attr-defined]
    stream.close()  # type: ignore[attr-defined]
    until_none_are_left(sessions)


def until_none_are_left(sessions: Callable[[], int]) -> None:
    """The server notices some moments later that a client has gone."""
    while sessions():
        time.sleep(0.01)


def test_told_to_stop_beforehand_it_does_not_begin(engine: Engine) -> None:
    assert list(notices(engine, lambda: True)) == []


def test_a_disconnect_is_survived_and_reported(
    engine: Engine,
    change: Callable[[], None],
    disconnect: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, watching.__name__)
    script = Script(then=20)
    stream = notices(engine, script, settle=0.1, every=HOUR)
    next(stream)
    # The change is missed, as nobody listens.
    script.do(nothing, lambda: (disconnect(), change()), then=20)
    next(stream)
    listening, lost, again = (record.getMessage() for record in caplog.records)
    assert listening == again == "Listening for changes"
    assert lost.startswith("The connection to the database was lost: ")
    # Heard by the new session.
    script.do(nothing, change, then=20)
    next(stream)
    script.do(then=2)
    assert list(stream) == []


def test_a_disconnect_within_a_burst_is_survived(
    engine: Engine, change: Callable[[], None], disconnect: Callable[[], None]
) -> None:
    script = Script(then=20)
    stream = notices(engine, script, settle=5, longest=HOUR, every=HOUR)
    next(stream)
    script.do(change, nothing, disconnect, then=20)
    next(stream)
    assert not script.actions


@pytest.fixture
def closed(engine: Engine, administration: Engine) -> Iterator[Callable[[bool], None]]:
    """Close the database to new sessions, and open it again."""

    def close(shut: bool) -> None:
        with administration.connect() as connection:
            allowed = "false" if shut else "true"
            connection.execute(
                text(f"ALTER DATABASE {engine.url.database} ALLOW_CONNECTIONS {allowed}")
            )

    yield close
    close(False)


def test_a_database_that_does_not_answer_is_waited_for(
    engine: Engine,
    disconnect: Callable[[], None],
    closed: Callable[[bool], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnection, "SHORTEST_WAIT", 0.01)
    # No session is left that could be used again.
    engine.dispose()
    script = Script(then=100)
    stream = notices(engine, script, every=HOUR)
    next(stream)

    def close() -> None:
        closed(True)
        disconnect()

    def failures() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "does not answer" in record.msg]

    def reopen() -> None:
        if len(failures()) < 3:
            script.actions.append(reopen)
        else:
            closed(False)

    script.do(nothing, close, reopen, then=100)
    next(stream)
    told = [vars(record) for record in failures()]
    assert "not currently accepting connections" in told[0]["reason"]
    assert [each["again_in"] for each in told[:3]] == [0.01, 0.02, 0.04]


def test_told_to_stop_it_waits_for_no_database(
    engine: Engine, disconnect: Callable[[], None], closed: Callable[[bool], None]
) -> None:
    engine.dispose()
    script = Script(then=20)
    stream = notices(engine, script, every=HOUR)
    next(stream)
    closed(True)
    disconnect()
    script.do(then=4)
    assert list(stream) == []


@pytest.mark.slow
def test_a_restart_of_the_server_is_survived(open_folder: Path) -> None:
    folder = open_folder / "restarted"
    pid_file = folder / "postgres" / "postmaster.pid"

    def shut_down() -> None:
        os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGINT)
        while pid_file.exists():
            time.sleep(0.01)

    with ExitStack() as servers:
        engine = connect(servers.enter_context(EmbeddedServer(folder)).url)
        migrate(engine)

        def change() -> None:
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO change_requests (kind) VALUES ('overdue')"))

        def start() -> None:
            servers.enter_context(EmbeddedServer(folder))

        script = Script(then=100)
        stream = notices(engine, script, settle=0.1, every=HOUR)
        next(stream)
        # Between the two it is looked for in vain.
        script.do(nothing, shut_down, nothing, nothing, start, then=100)
        next(stream)
        assert not script.actions
        script.do(nothing, change, then=100)
        next(stream)
        script.do(then=0)
        assert list(stream) == []
        engine.dispose()
