"""Recalculation on a real database: every change, for contacts at every point of their chain."""

from collections.abc import Callable, Iterator

import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import Connection, Engine, text

from sendplan.io.changes.apply import apply
from sendplan.io.database.engine import connect
from sendplan.io.planning.nightly import run_plan
from sendplan.io.planning.preview import preview
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.busy import GRACE, LEAD, NOW
from sendplan.tests.worlds.databases.change_cases import BY_NAME, CASES, SHORT, Case, make
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.databases.stored_emails import (
    Row,
    assert_others_untouched,
    assert_sound,
    emails,
    enrollments,
    of,
    parameters,
    recalculated,
    rows,
    run_sql,
    slots,
    violations,
    whole,
)
from sendplan.tests.worlds.problems.methods import FACTOR
from sendplan.tests.worlds.problems.tiny import World

# ---------------------------------------------------------------- the database


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


# ---------------------------------------------------------------- every change


WAYS = [
    (case, command)
    for case in SHORT
    for command in (False, True)
    # In the suite by command where there is one; that SQL does the same is another test.
    if (case.change is not None if command else FACTOR > 1 or case.change is None)
]
WAY_NAMES = [f"{case.name}-{'command' if command else 'sql'}" for case, command in WAYS]


def prepare(engine: Engine, case: Case) -> None:
    if case.before:
        run_sql(engine, case.before)
        recalculated(engine)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "command"), WAYS, ids=WAY_NAMES)
def test_a_change_moves_what_it_reaches_and_nothing_else(
    engine: Engine, case: Case, command: bool
) -> None:
    prepare(engine, case)
    make(engine, case, command=command)
    before, people = emails(engine), enrollments(engine)
    done = recalculated(engine)
    assert done.requests
    after = emails(engine)
    assert_others_untouched(before, after, case.reach)
    for enrollment in (GRACE, LEAD):
        [due] = [row for row in before.values() if of(row) == (enrollment, 11)]
        kept = after[due["id"]]["whole"] == due["whole"]
        assert kept == (enrollment not in case.not_held), enrollment
    for key, person in enrollments(engine).items():
        assert person == people[key] or person[0] == "completed"
    assert_sound(engine, case.reach)
    runs = "SELECT kind, finished_at IS NOT NULL FROM plan_runs ORDER BY id DESC LIMIT 1"
    assert rows(engine, runs) == [("recalc", True)]


def test_without_a_change_nothing_is_written(engine: Engine) -> None:
    """Not even the record of a run, once the first recalculation has cleared the requests."""
    run_sql(engine, BY_NAME["mailbox removed"].sql)
    recalculated(engine)
    stored = whole(engine)
    assert recalculated(engine).run.published is None
    assert whole(engine) == stored


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES if FACTOR > 1 else CASES[::15], ids=lambda case: case.name)
def test_the_next_night_goes_on_from_there(engine: Engine, case: Case) -> None:
    prepare(engine, case)
    make(engine, case)
    recalculated(engine)
    before = emails(engine)
    run_plan(engine, NOW, Parameters(method="greedy"))
    assert_others_untouched(before, emails(engine), (1, 2, 3))
    assert violations(engine) == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.change is not None], ids=lambda case: case.name
)
def test_a_command_changes_what_plain_sql_changes(engine: Engine, case: Case) -> None:
    """So that what holds after the one holds after the other."""
    left = []
    for command in (False, True):
        with engine.connect() as connection:
            if command:
                assert case.change is not None
                apply(connection, case.change, NOW)
            else:
                connection.execute(text(case.sql))
            left.append(settings(connection))
            connection.rollback()
    assert left[0] == left[1]


def settings(connection: Connection) -> dict[str, list[Row]]:
    """Give the rows of all tables without ids that the tables give, and requests once each."""
    found: dict[str, list[Row]] = {}
    for table in busy.TABLES:
        query = text(f"SELECT to_jsonb(t) - 'id' - 'requested_at' FROM {table} AS t")
        listed = (
            row | {"mailbox_id": 0} if row.get("mailbox_id") in (19, 5_001) else row
            for row in connection.scalars(query)
        )
        table_rows = {str(row): row for row in listed}
        found[table] = sorted(
            table_rows.values(), key=lambda row: str(sorted(row.items(), key=str))
        )
    return found


# ---------------------------------------------------------------- somebody else meanwhile


def once(moment: str, engine: Engine, statement: str) -> Callable[[str], None]:
    """Make a change in another session when a phase begins for the first time."""
    waiting = [statement]

    def report(phase: str) -> None:
        if phase == moment and waiting:
            run_sql(engine, waiting.pop())

    return report


CLAIM = """
UPDATE scheduled_emails SET status = 'claimed', claim_token = gen_random_uuid()
WHERE enrollment_id = {} AND step_id = {}
"""


def put(engine: Engine, world: World) -> None:
    with engine.begin() as connection:
        clear_tables(connection)
        put_frames(connection, world.frames(), world.now)
        busy.count_from(connection, 5_000)
        connection.execute(text("DELETE FROM change_requests"))


def test_a_thread_that_was_overtaken_is_planned_all_the_same(engine: Engine) -> None:
    """Its first email is claimed while it is planned to leave mailbox 5, which is removed.

    Nothing stands in the way of anything: it is the only thread there.
    """
    world = World().sequence(1, (0, 1)).mailbox(5, email="ann@example.com").enroll(1)
    put(engine, world.email(1, 11, "pending", 0, id=1).email(1, 12, "pending", 1, id=2))
    run_sql(
        engine,
        "INSERT INTO mailboxes (id, email, daily_capacity) VALUES (6, 'ben@example.com', 9);"
        "INSERT INTO sequence_mailboxes VALUES (1, 6);"
        "UPDATE mailboxes SET status = 'removed' WHERE id = 5",
    )
    recalculated(engine, world.now, report=once("store", engine, CLAIM.format(1, 11)))
    # At once, or with the requests that are still queued.
    recalculated(engine, world.now)
    assert slots(engine) == [(1, 11, 5, "claimed"), (1, 12, 6, "pending")]
    assert violations(engine) == []


@pytest.mark.slow
def test_a_contact_that_started_all_the_same_counts_as_new(engine: Engine) -> None:
    """One new contact a day. Ada starts today from mailbox 5, Bob tomorrow from mailbox 6.

    With mailbox 5 unlinked, and one email a day from mailbox 6, Bob goes first today and tomorrow,
    Ada on Wednesday and Thursday: kept apart, her second email would slip. Meanwhile Ada's first
    is claimed, so that Bob cannot start today.
    """
    world = World().sequence(1, (0, 1), max_new_per_day=1)
    world.mailbox(5, 1, email="ann@example.com").mailbox(6, 1, email="ben@example.com").enroll(1, 2)
    for key, box, number in ((1, 5, 0), (2, 6, 1)):
        for step in (11, 12):
            ahead = number + step - 11
            world.email(key, step, "pending", ahead, id=100 * key + step, mailbox_id=box)
    put(engine, world)
    run_sql(engine, "DELETE FROM sequence_mailboxes WHERE mailbox_id = 5")
    claim = once("store", engine, CLAIM.format(1, 11))
    seen = []

    def report(phase: str) -> None:
        claim(phase)
        seen.extend(row["rule"] for row in violations(engine))

    recalculated(engine, world.now, report=report)
    recalculated(engine, world.now)
    assert violations(engine) == []
    # Until then Ada's emails are still where mailbox 5 was; nothing else is wrong at any moment.
    assert set(seen) <= {"pool"}


# ---------------------------------------------------------------- preview


PREVIEWED = [case for case in CASES if case.change is not None and not case.before]
LOSING = ("capacity cut to nothing", "no new contacts")
"""After which some emails have no slot any more."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    PREVIEWED if FACTOR > 1 else PREVIEWED[::12] + [c for c in PREVIEWED if c.name in LOSING],
    ids=lambda case: case.name,
)
def test_a_preview_shows_what_a_recalculation_does(engine: Engine, case: Case) -> None:
    assert case.change is not None
    stored = whole(engine)
    found = preview(engine, [case.change], NOW, parameters(engine))
    assert whole(engine) == stored
    run_sql(engine, case.sql)
    plan = recalculated(engine).run.plan
    # A step or mailbox that is new gets its id from the tables.
    sends = plan.sends.drop(columns=["step_id", "mailbox_id"])
    assert_frame_equal(found.after.sends.drop(columns=["step_id", "mailbox_id"]), sends)
    assert found.after.unplaced["reason"].tolist() == plan.unplaced["reason"].tolist()
    counts = found.counts()
    assert (counts["moved"], counts["unavoidable"]) == (plan.moved, plan.unavoidable)
