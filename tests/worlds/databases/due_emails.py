"""Due emails in a database, and dispatchers that claim them, without what sends them."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import psycopg2.extensions
from sqlalchemy import Engine, text

from sendplan.io.delivery import claimer as claims
from sendplan.io.delivery.claim import Claim, Claimed
from sendplan.io.delivery.claimer import Claimer
from sendplan.io.delivery.transactions import Transactions
from sendplan.io.delivery.transitions import BEGIN, SUCCEED
from sendplan.tests.worlds.databases.frames import TABLES, put_frames
from sendplan.tests.worlds.databases.stored_emails import rows
from sendplan.tests.worlds.problems.tiny import World

LEASE, GRACE = timedelta(minutes=3), timedelta(minutes=15)
INSTALLATION = UUID("5f0c1c1e-6f2b-4a52-9d6f-0a6b4a3f9f10")


def put(engine: Engine, world: World) -> None:
    """Fill the tables with a world, without queued requests."""
    for row in world.rows["mailboxes"]:
        row.setdefault("email", f"box{row['id']}@example.com")
    for number, row in enumerate(world.rows["scheduled_emails"], start=1):
        row.setdefault("id", 900 + number)
    with engine.begin() as connection:
        # A few rows are gone sooner than the files of their tables.
        for table in reversed(TABLES):
            connection.execute(text(f"DELETE FROM {table}"))
        put_frames(connection, world.frames(), world.now)
        connection.execute(text("DELETE FROM change_requests"))


class Claiming:
    """One dispatcher's session, and what it remembers between two looks."""

    def __init__(self, engine: Engine) -> None:
        self.transactions = Transactions(engine, [*claims.PREPARED, BEGIN, SUCCEED])
        self.claimer = Claimer(INSTALLATION, "here/1", lease=LEASE, grace=GRACE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transactions.close()

    @contextmanager
    def looking(
        self,
        now: datetime,
        limit: int = 50,
        room: Callable[[int], int] = lambda mailbox_id: 50,
        busy: Collection[int] = (),
    ) -> Iterator[Claimed]:
        """Claim, and commit at the end of the block; nothing that is locked is waited for."""
        with self.transactions.begin() as cursor:
            cursor.execute("SET LOCAL lock_timeout = 5000")
            yield self.claimer.claim(cursor.connection, now, limit, room, busy)

    def claim(self, now: datetime, limit: int = 50, **how: Any) -> list[Claim]:
        with self.looking(now, limit, **how) as claimed:
            return claimed.claims

    @contextmanager
    def writing(self) -> Iterator[psycopg2.extensions.cursor]:
        """Give a cursor for transitions, and commit at the end of the block."""
        with self.transactions.begin() as cursor:
            yield cursor


def claim(engine: Engine, now: datetime, limit: int = 50, **how: Any) -> list[Claim]:
    """Claim as a dispatcher does that has just begun."""
    with Claiming(engine) as claiming:
        return claiming.claim(now, limit, **how)


def email(engine: Engine, columns: str, key: int = 1) -> tuple[Any, ...]:
    """Give some columns of an email."""
    (found,) = rows(engine, f"SELECT {columns} FROM scheduled_emails WHERE id = {key}")
    return tuple(found)


def emails_of(found: Collection[Claim]) -> list[int]:
    return [claim.email_id for claim in found]
