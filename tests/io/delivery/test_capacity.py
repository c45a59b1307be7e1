"""Capacity: no mailbox-day above it and no two emails too close, with several claimers at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.io.delivery.capacity import Capacity
from sendplan.tests.worlds.databases.due_emails import Claiming, claim, emails_of, put
from sendplan.tests.worlds.databases.stored_emails import rows, run_sql
from sendplan.tests.worlds.problems.tiny import World, at

NOW = at(1, "09:10")


def due(count: int, **mailbox: Any) -> World:
    """Make emails of mailbox 5 that are due on Tuesday, one second apart from 9:00 on."""
    made = World(NOW).sequence(waits=(0, 1)).mailbox(5, **mailbox)
    for key in range(1, count + 1):
        made.enroll(key, contact_id=key).email(key, 11, "pending", 1, f"09:00:{key:02}", id=key)
    return made


@pytest.fixture
def engine(module_engine: Engine) -> Engine:
    return module_engine


# ---------------------------------------------------------------- capacity


@pytest.mark.parametrize(
    ("limits", "day", "capacity"),
    [
        ((7,), 1, 7),
        # From Monday on: 2, 5, 8 a day, and no more than 7.
        ((7, 2, 3, date(2026, 3, 2)), -1, 0),
        ((7, 2, 3, date(2026, 3, 2)), 0, 2),
        ((7, 2, 3, date(2026, 3, 2)), 1, 5),
        ((7, 2, 3, date(2026, 3, 2)), 2, 7),
        # Without an increment the start stays; without a start or a first day there is no ramp.
        ((7, 2, None, date(2026, 3, 2)), 9, 2),
        ((7, None, 3, date(2026, 3, 2)), -1, 7),
        ((7, 2, 3, None), 0, 7),
    ],
    ids=str,
)
def test_a_ramp_lets_capacity_grow(limits: tuple[Any, ...], day: int, capacity: int) -> None:
    assert Capacity(*limits).on(at(day, "09:00").date()) == capacity


def test_no_more_is_claimed_than_the_day_has_room_for(engine: Engine) -> None:
    put(engine, due(5, capacity=3))
    assert emails_of(claim(engine, NOW, limit=2)) == [1, 2]
    assert emails_of(claim(engine, NOW)) == [3]
    assert claim(engine, NOW) == []


def test_the_ramp_holds_when_claiming(engine: Engine) -> None:
    # A day after its beginning: 1 + 1 × 1.
    ramp = {"ramp_start": 1, "ramp_increment": 1, "ramp_from": date(2026, 3, 2)}
    put(engine, due(5, capacity=9, **ramp))
    assert emails_of(claim(engine, NOW)) == [1, 2]


def test_a_capacity_that_was_lowered_holds_at_once(engine: Engine) -> None:
    put(engine, due(5, capacity=5))
    with Claiming(engine) as claiming:
        assert emails_of(claiming.claim(NOW, limit=2)) == [1, 2]
        run_sql(engine, "UPDATE mailboxes SET daily_capacity = 1")
        assert claiming.claim(NOW) == []


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("sent", 1),
        ("claimed", 1),
        ("sending", 1),
        ("uncertain", 1),
        ("failed", 2),
        ("cancelled", 2),
        ("pending", 2),
    ],
)
def test_what_may_have_left_uses_room_up(engine: Engine, status: str, left: int) -> None:
    # Of another thread, and written by plain SQL with no more than a row needs.
    made = due(4, capacity=2).enroll(9, contact_id=9).email(9, 11, status, 1, "08:00", id=9)
    if status == "pending":
        # Planned for later; it will be refused when it is due.
        made.rows["scheduled_emails"][-1]["send_at"] = at(1, "16:00")
    put(engine, made)
    assert len(claim(engine, NOW)) == left


def test_other_days_and_other_mailboxes_use_none_of_it(engine: Engine) -> None:
    made = due(1, capacity=1).mailbox(6).enroll(8, 9)
    made.email(8, 11, "sent", 0, id=8).email(9, 11, "sent", 1, id=9, mailbox_id=6)
    put(engine, made)
    assert emails_of(claim(engine, NOW)) == [1]


def test_room_is_counted_by_send_day_whatever_the_zone(engine: Engine) -> None:
    # Sent on Monday evening in UTC, on Tuesday in Auckland: one of Tuesday's.
    made = due(2, capacity=1).enroll(9, contact_timezone="Pacific/Auckland")
    made.email(9, 11, "sent", 1, id=9, sent_at=at(0, "21:00"))
    put(engine, made)
    assert claim(engine, NOW) == []


# ---------------------------------------------------------------- side by side


def test_who_comes_second_counts_what_the_first_has_committed(engine: Engine) -> None:
    put(engine, due(5, capacity=3))
    with Claiming(engine) as first, Claiming(engine) as second:
        with first.looking(NOW, limit=2) as claimed:
            assert emails_of(claimed.claims) == [1, 2]
            # Not committed: how much room there is cannot be known, and is not waited for.
            assert second.claim(NOW) == []
        assert emails_of(claim(engine, NOW)) == [3]


def test_what_was_never_committed_uses_no_room_up(engine: Engine) -> None:
    put(engine, due(5, capacity=3))

    class KilledError(Exception):
        pass

    with Claiming(engine) as first, pytest.raises(KilledError), first.looking(NOW) as claimed:
        assert len(claimed.claims) == 3
        raise KilledError
    assert emails_of(claim(engine, NOW)) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_no_interleaving_takes_a_mailbox_day_above_its_capacity(engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    made = due(24, capacity=9).mailbox(6, 9)
    for row in made.rows["scheduled_emails"][::2]:
        row["mailbox_id"] = 6
    put(engine, made)
    workers = 3
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(10):
            capacity = chance.randint(1, 10)
            run_sql(
                engine,
                f"""UPDATE scheduled_emails SET status = 'pending', attempts = 0;
                    UPDATE mailboxes SET daily_capacity = {capacity}""",
            )
            barrier = threading.Barrier(workers)
            limits = [[chance.randint(1, 8) for _ in range(4)] for _ in range(workers)]

            def work(own: list[int], together: threading.Barrier = barrier) -> list[int]:
                with Claiming(engine) as claiming:
                    together.wait()
                    found = []
                    for limit in own:
                        found += emails_of(claiming.claim(NOW, limit))
                    return found

            taken = [key for found in pool.map(work, limits) for key in found]
            # Whoever comes alone takes what is left, and there is nothing to be had after that.
            taken += emails_of(claim(engine, NOW))
            assert len(taken) == len(set(taken)) == 2 * capacity
            counted = rows(
                engine,
                """SELECT mailbox_id, count(*) FROM scheduled_emails WHERE status = 'claimed'
                   GROUP BY mailbox_id ORDER BY mailbox_id""",
            )
            assert counted == [(5, capacity), (6, capacity)]


# ---------------------------------------------------------------- the distance


def test_emails_that_need_a_distance_are_claimed_one_at_a_time(engine: Engine) -> None:
    put(engine, due(3, min_gap_seconds=60))
    with Claiming(engine) as claiming:
        assert emails_of(claiming.claim(NOW)) == [1]
        # In flight: its moment is not known yet.
        assert claiming.claim(NOW + timedelta(minutes=2)) == []
        run_sql(
            engine,
            f"""UPDATE scheduled_emails
                SET status = 'sent', sent_at = '{NOW + timedelta(minutes=2)}' WHERE id = 1""",
        )
        assert claiming.claim(NOW + timedelta(minutes=2, seconds=59)) == []
        assert emails_of(claiming.claim(NOW + timedelta(minutes=3))) == [2]


@pytest.mark.parametrize("status", ["claimed", "sending"])
def test_nothing_leaves_beside_an_email_in_flight(engine: Engine, status: str) -> None:
    made = due(1, min_gap_seconds=1).enroll(9).email(9, 11, status, 1, "09:09", id=9)
    put(engine, made)
    assert claim(engine, NOW) == []
    run_sql(engine, "UPDATE mailboxes SET min_gap_seconds = 0")
    assert emails_of(claim(engine, NOW)) == [1]


@pytest.mark.parametrize(
    ("sent_at", "lease_until", "leaves"),
    [
        # It may have left until its lease ended, a minute ago.
        (None, at(1, "09:09"), at(1, "09:10")),
        (None, at(1, "09:10"), at(1, "09:11")),
        # A known moment counts.
        (at(1, "09:08"), at(1, "09:20"), at(1, "09:09")),
    ],
    ids=["lease over", "lease just over", "known"],
)
def test_an_uncertain_email_may_have_left_as_late_as_its_lease_allowed(
    engine: Engine, sent_at: datetime | None, lease_until: datetime, leaves: datetime
) -> None:
    made = due(1, min_gap_seconds=60).enroll(9).email(9, 11, "uncertain", 1, "09:05", id=9)
    made.rows["scheduled_emails"][-1] |= {"sent_at": sent_at, "lease_until": lease_until}
    put(engine, made)
    assert claim(engine, leaves - timedelta(seconds=1)) == []
    assert emails_of(claim(engine, leaves)) == [1]


def test_the_distance_holds_across_midnight(engine: Engine) -> None:
    # Monday's last email left a minute late, 20 seconds into Tuesday.
    made = World(at(1, "00:01")).sequence(waits=(0, 1)).mailbox(5, min_gap_seconds=60).enroll(1, 2)
    made.rows["sequences"][0]["start_time"] = at(0, "00:00").time()
    made.email(1, 11, "sent", 0, "23:59:20", id=1, sent_at=at(1, "00:00:20"))
    made.email(2, 11, "pending", 1, "00:00:30", id=2)
    put(engine, made)
    assert claim(engine, at(1, "00:01:19")) == []
    assert emails_of(claim(engine, at(1, "00:01:20"))) == [2]


def test_the_distance_is_one_mailboxs_own(engine: Engine) -> None:
    made = due(2, min_gap_seconds=600).mailbox(6, min_gap_seconds=600)
    made.enroll(9, contact_id=9).email(9, 11, "pending", 1, "09:00:30", id=9, mailbox_id=6)
    put(engine, made)
    assert emails_of(claim(engine, NOW)) == [1, 9]
