"""Recalculations written in batches: what is stored in between, killed anywhere, and disturbed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from sendplan.io.database.engine import connect
from sendplan.io.publish.planner_lock import PLANNER_LOCK
from sendplan.io.publish.store import Pace
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.busy import FRESH, NOW
from sendplan.tests.worlds.databases.change_cases import BY_NAME, CASES, Case, make
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

SMALL = Pace(batch_size=4)
NAMES = ("mailbox removed", "step inserted in the middle")
"""Which write some dozen rows; the second one new rows, too."""

MANY = [case for case in CASES if not case.before] if FACTOR > 1 else [BY_NAME[n] for n in NAMES]


class KilledError(Exception):
    """Out of the callback of a batch, so that no more are written."""


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    busy.fill(engine)
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


ROOM = """
    SELECT mailbox.id, send_day, daily_capacity, count(*)
    FROM mailboxes AS mailbox JOIN scheduled_emails AS email ON email.mailbox_id = mailbox.id
    WHERE email.status NOT IN ('cancelled', 'failed')
      AND (email.status <> 'pending' OR plan_run_id IS NOT NULL)
    GROUP BY mailbox.id, send_day
"""


def overfull(engine: Engine) -> Counter[tuple[int, Any]]:
    """Give by how much mailbox-days are above capacity, provisional rows aside."""
    found = rows(engine, ROOM)
    return +Counter({(box, on): count - capacity for box, on, capacity, count in found})


def killed_after(number: int) -> Callable[[int, int], None]:
    def written(done: int, total: int) -> None:
        if done == number < total:
            raise KilledError

    return written


# ---------------------------------------------------------------- in between, and after a kill


@pytest.mark.parametrize("case", MANY, ids=lambda case: case.name)
def test_no_batch_breaks_a_rule(engine: Engine, case: Case) -> None:
    make(engine, case)
    before, bad, over = emails(engine), broken(engine), overfull(engine)
    batches = []

    def written(done: int, total: int) -> None:
        batches.append((done, total))
        assert broken(engine) <= bad
        assert overfull(engine) <= over

    recalculated(engine, pace=SMALL, written=written)
    assert batches == [(number, len(batches)) for number in range(1, len(batches) + 1)]
    assert len(batches) > 3 or case.name not in NAMES
    assert_others_untouched(before, emails(engine), case.reach)
    assert_sound(engine, case.reach)


@pytest.mark.parametrize("case", MANY if FACTOR > 1 else MANY[1:], ids=lambda case: case.name)
def test_killed_after_the_first_batch_of_each_attempt_it_ends_all_the_same(
    engine: Engine, case: Case
) -> None:
    """Each attempt goes on from what the one before has left, until one batch is enough."""
    make(engine, case)
    before, bad, requests = emails(engine), broken(engine), rows(engine, REQUESTS)
    kills = 0
    while True:
        try:
            recalculated(engine, pace=Pace(batch_size=12), written=killed_after(1))
            break
        except KilledError:
            kills += 1
        assert kills < 30
        assert rows(engine, REQUESTS) == requests
        assert broken(engine) <= bad
    assert kills or case.name not in NAMES
    assert_others_untouched(before, emails(engine), case.reach)
    assert_sound(engine, case.reach)


REQUESTS = "SELECT id FROM change_requests ORDER BY id"


@pytest.mark.parametrize("case", MANY if FACTOR > 1 else MANY[:1], ids=lambda case: case.name)
def test_killed_after_any_batch_the_next_one_finishes(engine: Engine, case: Case) -> None:
    totals: list[int] = []
    make(engine, case)
    recalculated(engine, pace=SMALL, written=lambda done, total: totals.append(total))
    # In the suite late in the passage; the first batch has a test of its own.
    numbers = range(1, totals[-1]) if FACTOR > 1 else (totals[-1] - 2,)
    for number in numbers:
        busy.restore(engine)
        make(engine, case)
        before, requests = emails(engine), rows(engine, REQUESTS)
        with pytest.raises(KilledError):
            recalculated(engine, pace=SMALL, written=killed_after(number))
        assert rows(engine, REQUESTS) == requests
        recalculated(engine, pace=SMALL)
        assert_others_untouched(before, emails(engine), case.reach)
        assert_sound(engine, case.reach)


KILLED = f"recalc --as-of {NOW.isoformat()} --batch-size 5 --pause 600"


def test_kill_9_between_two_batches(engine: Engine, module_database_url: str) -> None:
    """The pause is so long that the kill falls into it, however slow the machine is."""
    make(engine, BY_NAME["mailbox removed"])
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
    between = emails(engine)
    assert any(between[key] != row for key, row in before.items())
    assert broken(engine) < bad
    assert rows(engine, REQUESTS)
    # The server notices some moments later that the planner has gone.
    lock = f"SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {PLANNER_LOCK}"
    until(lambda: not rows(engine, lock))
    recalculated(engine)
    assert_others_untouched(before, emails(engine), (1, 2))
    assert_sound(engine, (1, 2))


def environment(url: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENDPLAN_")}
    return own | {"PYTHONSAFEPATH": "1", "SENDPLAN_DATABASE_URL": url}


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)


# ---------------------------------------------------------------- somebody else meanwhile


ABOUT_TO_MOVE = f"""
    SELECT id FROM scheduled_emails
    WHERE enrollment_id = {FRESH[3]} AND step_id = 11 AND status = 'pending' AND mailbox_id = 5
"""
"""The first email of somebody who leaves mailbox 5 late in the passage."""

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
    "capacity cut": "UPDATE mailboxes SET daily_capacity = 3 WHERE id = 6",
    "last mailbox removed": "UPDATE mailboxes SET status = 'removed' WHERE id = 6",
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


@pytest.mark.parametrize(("name", "when"), CROSSINGS)
def test_what_others_do_meanwhile_stands(engine: Engine, name: str, when: str | int) -> None:
    make(engine, BY_NAME["mailbox removed"])
    before = emails(engine)
    theirs: dict[int, Row] = {}
    bad: list[set[tuple[Any, ...]]] = []

    def act() -> None:
        [(key,)] = rows(engine, ABOUT_TO_MOVE)
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
        assert (after[key]["mailbox_id"], after[key]["send_at"]) == (5, row["send_at"])
    assert_others_untouched(before, after, (1, 2))
    assert_sound(engine, (1, 2))
    assert not overfull(engine)
