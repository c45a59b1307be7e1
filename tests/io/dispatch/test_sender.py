"""Unexpected errors while sending: harmless, or uncertain."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sendplan.io.dispatch.dispatcher import Settings, dispatch
from sendplan.io.messages.outcomes import Message, Outcome
from sendplan.io.transport.outbox import Outbox
from sendplan.tests.worlds.dispatching.world import DispatchWorld


@pytest.fixture
def world(engine: Engine, database_url: str) -> Iterator[DispatchWorld]:
    with DispatchWorld(engine, database_url) as world:
        yield world


Deliver = Callable[[Outbox, Message, Callable[[], bool]], Outcome]
deliver: Deliver = Outbox.deliver


def fails_after_the_message(outbox: Outbox, message: Message, begin: Callable[[], bool]) -> Outcome:
    deliver(outbox, message, begin)
    raise RuntimeError("an unexpected error")


def fails_before_it_may_leave(
    outbox: Outbox, message: Message, begin: Callable[[], bool]
) -> Outcome:
    raise RuntimeError("an unexpected error")


@pytest.mark.parametrize(
    ("failing", "state", "files"),
    [
        # It may have left, and has, so it must never be tried again.
        pytest.param(fails_after_the_message, ("uncertain", 1), 1, id="after it"),
        # It cannot have left, so it is tried again later.
        pytest.param(fails_before_it_may_leave, ("pending", 1), 0, id="before it"),
    ],
)
def test_a_fault_of_our_own_sends_nothing_twice(
    world: DispatchWorld,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    failing: Deliver,
    state: tuple[str, int],
    files: int,
) -> None:
    world.sequence().mailbox(1).emails([1])
    settings = Settings(outbox=tmp_path, once=True)
    monkeypatch.setattr(Outbox, "deliver", failing)
    dispatch(world.engine, settings, lambda: datetime.now(UTC))
    assert world.state(1) == state
    monkeypatch.undo()
    dispatch(world.engine, settings, lambda: datetime.now(UTC))
    assert world.state(1) == state
    assert len(list(tmp_path.glob("*.eml"))) == files
