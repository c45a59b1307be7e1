"""A database in four parts, and what it takes to see it planned part by part.

Each of sequences 1 to 4 has six contacts and a mailbox of its own, 10 × its number, with room for
two emails a day: too little, so that most of a plan is a choice. It is Monday, 6:00.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psutil
from sqlalchemy import Engine, text

from sendplan.io.planning.check import check
from sendplan.io.planning.executors import Workplace
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(0, "06:00")
SIZE = 6
"""Active enrollments of each part."""

STORED = """
    SELECT enrollment_id, step_id, mailbox_id, send_day, send_at, unplaced_reason, status,
           plan_run_id IS NOT NULL
    FROM scheduled_emails ORDER BY enrollment_id, step_id, status, send_at
"""
"""All that a plan decides; the ids of rows and runs are whatever comes next."""

HOLD = 4_711
"""Key of the advisory lock at which a publishing transaction stands still."""


def world() -> World:
    made = World()
    for key in (1, 2, 3, 4):
        made.sequence(key, waits=(0, 1, 2), name=f"sequence {key}")
        made.mailbox(10 * key, 2, (key,), email=f"box{key}@example.com")
        made.enroll(*(100 * key + number for number in range(SIZE)), sequence=key)
    return made


def fill(engine: Engine, made: World | None = None) -> None:
    """Put a world into the tables, with nothing left of another."""
    with engine.begin() as connection:
        clear_tables(connection)
        connection.execute(text("TRUNCATE change_requests, plan_run_parts"))
        put_frames(connection, (made or world()).frames(), NOW)
        connection.execute(text("DELETE FROM change_requests"))


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def stored(engine: Engine) -> list[Any]:
    return rows(engine, STORED)


def sound(engine: Engine) -> bool:
    return not len(check(engine, NOW).violations)


def parts_published(engine: Engine) -> list[int]:
    return [part for (part,) in rows(engine, "SELECT part FROM plan_run_parts ORDER BY part")]


class Inline(Executor):
    """Does what it is given at once, and before each of it what a test wants to happen first."""

    def __init__(self, before: Mapping[int, Callable[[], object]]) -> None:
        self.before = before
        self.given: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given.append(args[0])
        self.before.get(len(self.given), lambda: None)()
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def here(
    before: Mapping[int, Callable[[], object]] | None = None, *, given: list[Any] | None = None
) -> Workplace:
    """Give a workplace in this process; `before` is called before the n-th part is given out."""

    def opened() -> AbstractContextManager[Executor]:
        executor = Inline(before or {})
        if given is not None:
            executor.given = given
        return nullcontext(executor)

    return Workplace(opened, near=True)


@contextmanager
def held(engine: Engine, sequence: int, *, at_commit: bool) -> Iterator[Callable[[], None]]:
    """Hold publishers of emails of a sequence, until the block ends or lets go.

    Parameters
    ----------
    at_commit : bool
        Within the commit, which goes on once it is let go, whoever is still there; otherwise amid
        the transaction, which ends without its client.
    """
    kind, timing = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("", "")
    make = f"""
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock({HOLD}) FROM enrollments
                WHERE id = NEW.enrollment_id AND sequence_id = {sequence};
            RETURN NULL;
        END $$;
        CREATE {kind} TRIGGER hold AFTER INSERT OR UPDATE ON scheduled_emails {timing}
            FOR EACH ROW EXECUTE FUNCTION hold();
    """
    run_sql(engine, make)
    try:
        with engine.connect() as gate:
            gate.execute(text(f"SELECT pg_advisory_xact_lock({HOLD})"))
            yield gate.rollback
            gate.rollback()
    finally:
        run_sql(engine, "DROP TRIGGER hold ON scheduled_emails; DROP FUNCTION hold()")


def workers_of(pid: int) -> list[psutil.Process]:
    """Give the processes that plan parts for another one."""
    children = psutil.Process(pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
