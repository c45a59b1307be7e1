"""Recalculations written in batches: what is stored in between, killed anywhere, and disturbed.

Four sequences have two mailboxes each, 11 and 12, 21 and 22 and so on, and share none; one contact
is in sequences 3 and 4. With one mailbox of each removed, there are three batches of one row or
more: sequence 1, sequence 2, and the other two together, ever more rows of them.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.io.database.engine import connect
from sendplan.io.database.planner_lock_key import PLANNER_LOCK
from sendplan.io.planning.nightly import run_plan
from sendplan.io.publish.store import Pace
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.busy import NIGHT, NOW
from sendplan.tests.worlds.databases.frames import put_frames
from sendplan.tests.worlds.databases.stored_emails import (
    Row,
    assert_others_untouched,
    assert_sound,
    emails,
    recalculated,
    rows,
    run_sql,
    violations,
)
from sendplan.tests.worlds.problems.methods import FACTOR
from sendplan.tests.worlds.problems.tiny import World

SMALL = Pace(batch_size=1)
REMOVED = "UPDATE mailboxes SET status = 'removed' WHERE id IN (11, 21, 31, 41)"
BATCHES = [{1}, {2}, {3, 4}]
"""The sequences of each batch."""

EVERY = (1, 2, 3, 4)
IN_BOTH = (301, 401)
REQUESTS = "SELECT id FROM change_requests ORDER BY id"


class KilledError(Exception):
    """Out of the callback of a batch, so that no more are written."""


def world() -> World:
    made = World(NIGHT)
    for key in EVERY:
        made.sequence(key, (0, 1))
        for box in (10 * key + 1, 10 * key + 2):
            made.mailbox(box, 2, sequences=(key,), email=f"box{box}@example.com")
        for person in range(100 * key + 1, 100 * key + 4 + key):
            contact = IN_BOTH[0] if person in IN_BOTH else person
            made.enroll(person, sequence=key, contact_id=contact)
    return made


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        put_frames(connection, world().frames(), NIGHT)
        busy.count_from(connection, 1_000)
    run_plan(engine, NIGHT, Parameters(method="greedy"))
    run_sql(engine, "DELETE FROM change_requests")
    busy.save(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(filled: Engine) -> Engine:
    busy.restore(filled)
    return filled


def broken(engine: Engine) -> set[tuple[Any, ...]]:
    """Give the rules that are broken, each with the slot that breaks it."""
    names = ("rule", "enrollment_id", "step_id", "mailbox_id", "send_at")
    return {tuple(row[name] for name in names) for row in violations(engine)}


def written_since(engine: Engine, before: dict[int, Row]) -> set[int]:
    """Give the sequences with an email that is not as it was."""
    return {row["sequence_id"] for key, row in emails(engine).items() if before.get(key) != row}


def killed_after(number: int) -> Callable[[int, int], None]:
    def written(done: int, total: int) -> None:
        if done == number < total:
            raise KilledError

    return written


# ---------------------------------------------------------------- in between, and after a kill


def test_a_batch_is_a_component_with_those_that_share_its_contacts(engine: Engine) -> None:
    run_sql(engine, REMOVED)
    before, bad = [emails(engine)], [broken(engine)]
    found = []

    def written(done: int, total: int) -> None:
        assert (done, total) == (len(before), len(BATCHES))
        found.append(written_since(engine, before[-1]))
        before.append(emails(engine))
        bad.append(broken(engine))
        # Batch by batch fewer emails are with removed mailboxes, and nothing else is wrong.
        assert bad[-1] < bad[-2]

    recalculated(engine, pace=SMALL, written=written)
    assert found == BATCHES
    assert_sound(engine, EVERY)


def test_small_components_are_one_batch(engine: Engine) -> None:
    run_sql(engine, REMOVED)
    counts: list[int] = []
    before = [emails(engine)]

    def written(done: int, total: int) -> None:
        after = emails(engine)
        counts.append(sum(before[-1].get(key) != row for key, row in after.items()))
        before.append(after)

    recalculated(engine, pace=SMALL, written=written)
    first, second, third = counts
    assert first < second < third
    for size, expected in (
        (first + second - 1, [first, second, third]),
        (first + second, [first + second, third]),
        (first + second + third, [first + second + third]),
    ):
        busy.restore(engine)
        run_sql(engine, REMOVED)
        counts.clear()
        before[:] = [emails(engine)]
        recalculated(engine, pace=Pace(batch_size=size), written=written)
        assert counts == expected


def test_a_mailbox_that_changes_pools_is_filled_with_the_batch_that_empties_it(
    engine: Engine,
) -> None:
    """Mailbox 21 goes over to sequence 1, whose emails leave sooner from there."""
    run_sql(engine, "UPDATE mailboxes SET daily_capacity = 1 WHERE id IN (11, 12, 21)")
    run_plan(engine, NIGHT, Parameters(method="greedy"))
    run_sql(engine, "UPDATE sequence_mailboxes SET sequence_id = 1 WHERE mailbox_id = 21")
    before, bad = emails(engine), broken(engine)
    found = []

    def written(done: int, total: int) -> None:
        found.append(written_since(engine, before))
        assert broken(engine) < bad

    recalculated(engine, pace=SMALL, written=written)
    taken = [row for row in emails(engine).values() if row["mailbox_id"] == 21]
    assert {row["sequence_id"] for row in taken} == {1}
    assert found == [{1, 2}]
    assert violations(engine) == []


@pytest.mark.parametrize("number", [1, 2])
def test_killed_after_any_batch_the_next_one_finishes(engine: Engine, number: int) -> None:
    run_sql(engine, REMOVED)
    before, requests = emails(engine), rows(engine, REQUESTS)
    with pytest.raises(KilledError):
        recalculated(engine, pace=SMALL, written=killed_after(number))
    assert rows(engine, REQUESTS) == requests
    done = set().union(*BATCHES[:number])
    between = emails(engine)
    assert written_since(engine, before) == done
    recalculated(engine, pace=SMALL)
    # What has been written stays as it is.
    assert written_since(engine, between) == set(EVERY) - done
    assert rows(engine, REQUESTS) == []
    assert_sound(engine, EVERY)


KILLED = f"recalc --as-of {NOW.isoformat()} --batch-size 1 --pause 600"


@pytest.mark.slow
def test_kill_9_between_two_batches(engine: Engine, module_database_url: str) -> None:
    """The pause is so long that the kill falls into it, however slow the machine is."""
    run_sql(engine, REMOVED)
    before, bad = emails(engine), broken(engine)
    process = subprocess.Popen(
        [sys.executable, "-m", "sendplan", *KILLED.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(module_database_url),
    )
    try:
        unfinished = "SELECT FROM plan_runs WHERE finished_at IS NULL AND kind = 'recalc'"
        until(lambda: bool(rows(engine, unfinished)) or process.poll() is not None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert written_since(engine, before) == BATCHES[0]
    assert broken(engine) < bad
    assert rows(engine, REQUESTS)
    # The server notices some moments later that the planner has gone.
    lock = f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {PLANNER_LOCK}"
    until(lambda: not rows(engine, lock))
    recalculated(engine)
    assert_sound(engine, EVERY)


def environment(url: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENDPLAN_")}
    return own | {"PYTHONSAFEPATH": "1", "SENDPLAN_DATABASE_URL": url}


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


# ---------------------------------------------------------------- somebody else meanwhile


ABOUT_TO_MOVE = """
    SELECT min(email.id) FROM scheduled_emails AS email
    JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
    JOIN steps AS step ON step.id = step_id
    WHERE email.status = 'pending' AND position = 1
      AND enrollment.sequence_id = {0} AND email.mailbox_id = 10 * {0} + 1
"""
"""A first email that leaves the removed mailbox of a sequence."""

MEANWHILE = {
    "claimed": "UPDATE scheduled_emails SET status = 'claimed', claim_token = gen_random_uuid()"
    " WHERE id = {}",
    "sent": "UPDATE scheduled_emails SET status = 'sent', sent_at = '2026-03-04 11:00+00',"
    " send_day = '2026-03-04', send_at = '2026-03-04 11:00+00' WHERE id = {}",
    "failed": "UPDATE scheduled_emails SET status = 'failed' WHERE id = {}",
    "stopped": "UPDATE enrollments SET status = 'stopped' WHERE id ="
    " (SELECT enrollment_id FROM scheduled_emails WHERE id = {})",
    "suppressed": "UPDATE contacts SET suppressed_at = now() WHERE id ="
    " (SELECT contact_id FROM enrollments JOIN scheduled_emails AS email"
    "  ON enrollment_id = enrollments.id WHERE email.id = {})",
    "capacity cut": "UPDATE mailboxes SET daily_capacity = 1 WHERE id IN (12, 32)",
    "last mailbox removed": "UPDATE mailboxes SET status = 'removed' WHERE id IN (12, 32)",
}
"""What somebody does to the email that is about to move, or to what it is planned for."""

OF_EMAILS = ("claimed", "sent", "failed")
OF_PEOPLE = ("stopped", "suppressed")
SIMILAR = ("failed", "suppressed")
"""To others, as far as a recalculation can see; only long runs try them."""

WHEN = ("store", 1, 2)
"""Before anything is written, and after the first and the second batch."""

CROSSINGS = [
    (name, when)
    for number, name in enumerate(MEANWHILE)
    for when in (WHEN if FACTOR > 1 else (WHEN[number % len(WHEN)],))
    if FACTOR > 1 or name not in SIMILAR
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "when"), CROSSINGS)
def test_what_others_do_meanwhile_stands(engine: Engine, name: str, when: str | int) -> None:
    run_sql(engine, REMOVED)
    before = emails(engine)
    theirs: dict[int, Row] = {}
    bad: list[set[tuple[Any, ...]]] = []

    def act() -> None:
        # Of the last batch.
        [(key,)] = rows(engine, ABOUT_TO_MOVE.format(3))
        run_sql(engine, MEANWHILE[name].format(key))
        theirs[key] = emails(engine)[key]
        bad.append(broken(engine))

    def written(done: int, total: int) -> None:
        # The next batch knows of it already.
        if bad:
            assert broken(engine) <= bad.pop()
        elif done == when and not theirs:
            act()

    recalculated(
        engine,
        pace=SMALL,
        report=lambda phase: act() if phase == when and not theirs else None,
        written=written,
    )
    assert not bad
    # What came too late for it is queued.
    recalculated(engine, pace=SMALL)
    [(key, row)] = theirs.items()
    after = emails(engine)
    if name in OF_EMAILS:
        assert after.pop(key)["whole"] == row["whole"]
        before.pop(key)
    if name in OF_PEOPLE:
        # It got no other slot before it was cancelled.
        assert after[key]["status"] == "cancelled"
        assert (after[key]["mailbox_id"], after[key]["send_at"]) == (31, row["send_at"])
    assert_others_untouched(before, after, EVERY)
    assert_sound(engine, EVERY)


def test_a_row_left_alone_in_one_batch_does_not_keep_the_others(engine: Engine) -> None:
    """It is queued again with its batch, and the batches after it count on nothing of it."""
    run_sql(engine, REMOVED)
    [(key,)] = rows(engine, ABOUT_TO_MOVE.format(1))
    acted = []
    written: list[tuple[int, int]] = []

    def report(phase: str) -> None:
        if phase == "store" and not acted:
            acted.append(phase)
            run_sql(engine, MEANWHILE["claimed"].format(key))

    def one_more(done: int, total: int) -> None:
        written.append((done, total))
        if done == 1:
            again = "SELECT FROM change_requests WHERE kind = 'enrollment' AND sequence_id = 1"
            assert bool(rows(engine, again)) == (len(written) == 1)

    recalculated(engine, pace=SMALL, report=report, written=one_more)
    assert written[:3] == [(1, 3), (2, 3), (3, 3)]
    assert_sound(engine, EVERY)
