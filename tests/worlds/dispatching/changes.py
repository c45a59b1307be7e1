"""What people change while emails are sent, by plain SQL as the CLI or anybody else does it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol


class Days(Protocol):
    """What a change may ask for."""

    @property
    def now(self) -> datetime: ...

    def pick(self, query: str, which: int) -> Any: ...


Change = Callable[[Days, int], str]
"""Gives statements; the number chooses whom they are about."""


def of_mailbox(sets: str) -> Change:
    return lambda days, chosen: (
        f"UPDATE mailboxes SET {sets} WHERE status <> 'removed'"
        f" AND id = {days.pick('SELECT id FROM mailboxes', chosen)}"
    )


def just_enough(days: Days, mailbox_id: int, spare: int) -> str:
    """Leave a mailbox as much as it has used today, and so many more."""
    return f"""
        UPDATE mailboxes SET daily_capacity = {spare} + (
            SELECT count(*) FROM scheduled_emails AS email
            WHERE email.mailbox_id = {mailbox_id} AND send_day = '{days.now:%Y-%m-%d}'
              AND email.status IN ('claimed', 'sending', 'sent', 'uncertain'))
        WHERE id = {mailbox_id} AND status <> 'removed'"""


def of_sequence(sets: str) -> Change:
    return lambda days, chosen: (
        f"UPDATE sequences SET {sets} WHERE id = {days.pick('SELECT id FROM sequences', chosen)}"
    )


def of_step(sets: str) -> Change:
    present = "SELECT id FROM steps WHERE removed_at IS NULL"
    return lambda days, chosen: f"UPDATE steps SET {sets} WHERE id = {days.pick(present, chosen)}"


def insert_step(days: Days, chosen: int) -> str:
    sequence = chosen % 2 + 1
    last = days.pick(
        f"SELECT coalesce(max(position), 0) FROM steps WHERE sequence_id = {sequence}", 0
    )
    position = chosen % (last + 1) + 1
    return f"""
        UPDATE steps SET position = position + 1
        WHERE sequence_id = {sequence} AND position >= {position};
        INSERT INTO steps (sequence_id, position, wait_days) VALUES ({sequence}, {position}, 1)"""


def suppress(days: Days, chosen: int) -> str:
    contact = days.pick("SELECT id FROM contacts", chosen)
    return f"""
        UPDATE contacts SET suppressed_at =
            CASE WHEN suppressed_at IS NULL THEN TIMESTAMPTZ '{days.now}' END
        WHERE id = {contact}"""


def enroll(days: Days, chosen: int) -> str:
    return f"""
        WITH new AS (INSERT INTO contacts (email)
                     VALUES (gen_random_uuid() || '@example.com') RETURNING id)
        INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
        SELECT id, {chosen % 2 + 1}, '{days.now}' FROM new"""


CHANGES: tuple[Change, ...] = (
    of_mailbox("status = 'removed'"),
    of_mailbox("status = 'paused'"),
    of_mailbox("status = 'active'"),
    of_mailbox("daily_capacity = greatest(daily_capacity - 1, 0)"),
    of_mailbox("daily_capacity = least(daily_capacity + 1, 4)"),
    of_mailbox("min_gap_seconds = 1200 - min_gap_seconds"),
    of_step("removed_at = now()"),
    of_step("wait_days = (wait_days + 1) % 3"),
    insert_step,
    of_sequence("status = 'paused'"),
    of_sequence("status = 'active'"),
    of_sequence("end_time = CASE end_time WHEN '17:00' THEN TIME '09:40' ELSE '17:00' END"),
    lambda days, chosen: (
        f"DELETE FROM sequence_mailboxes WHERE sequence_id = {chosen % 2 + 1}"
        f" AND mailbox_id = {days.pick('SELECT id FROM mailboxes', chosen)}"
    ),
    lambda days, chosen: (
        f"INSERT INTO sequence_mailboxes VALUES ({chosen % 2 + 1},"
        f" {days.pick('SELECT id FROM mailboxes', chosen)}) ON CONFLICT DO NOTHING"
    ),
    suppress,
    enroll,
    enroll,
)  # fmt: skip
