"""What is stored of a plan, read by plain SQL, and what the rules say of it, said once more."""

from collections.abc import Collection, Hashable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from sendplan.io.planning.check import check
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.planning.recalc import Recalculation, recalc
from sendplan.planner.problem.parameters import Parameters
from sendplan.tests.worlds.databases.busy import NOW, TABLES
from sendplan.tests.worlds.databases.frames import dump, read_frames
from sendplan.tests.worlds.oracle.judge import judge

HARD = (
    "format", "emails", "prefix", "order", "window", "past", "seconds", "pool", "sender",
    "capacity", "gap", "contact", "new", "blocked", "reason", "room",
)  # fmt: skip
"""What the oracle says of a stored plan; cost and minutes are judged where plans are made."""

Row = dict[str, Any]


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def parameters(engine: Engine, now: datetime = NOW) -> Parameters:
    """Search no longer for another plan than a test can wait."""
    return recalc_parameters(engine, now, {"time_limit": 0.3})


def recalculated(engine: Engine, now: datetime = NOW, **how: Any) -> Recalculation:
    return recalc(engine, now, parameters(engine, now), **how)


EMAILS = """
    SELECT id, enrollment_id, step_id, mailbox_id, send_day, send_at, status, plan_run_id,
           unplaced_reason, sequence_id,
           concat(email.xmin, ' ', email) AS whole
    FROM scheduled_emails AS email
    JOIN (SELECT id AS enrollment_id, sequence_id FROM enrollments) AS own USING (enrollment_id)
    ORDER BY enrollment_id, step_id, id
"""


def emails(engine: Engine) -> dict[int, Row]:
    with engine.connect() as connection:
        rows = connection.execute(text(EMAILS)).mappings()
        return {row["id"]: dict(row) for row in rows}


def violations(engine: Engine) -> list[dict[Hashable, Any]]:
    return check(engine, NOW).violations.to_dict("records")


# ---------------------------------------------------------------- what is due, said once more


def still_to_get(connection: Connection) -> dict[int, list[int]]:
    """Give what each active enrollment still has to get (life cycle, steps in flight)."""
    steps: dict[int, list[int]] = {}
    for sequence, step in connection.execute(
        text("SELECT sequence_id, id FROM steps WHERE removed_at IS NULL ORDER BY position")
    ):
        steps.setdefault(sequence, []).append(step)
    had: dict[int, list[int]] = {}
    failed = set()
    for enrollment, step, status in connection.execute(
        text("""SELECT enrollment_id, step_id, status FROM scheduled_emails
                WHERE status NOT IN ('pending', 'cancelled')
                ORDER BY coalesce(sent_at, send_at), step_id""")
    ):
        if status == "failed":
            failed.add(enrollment)
        else:
            had.setdefault(enrollment, []).append(step)
    left = {}
    for key, sequence, current in connection.execute(
        text("""SELECT enrollment.id, sequence_id, current_step_id
                FROM enrollments AS enrollment JOIN contacts ON contacts.id = contact_id
                WHERE status = 'active' AND suppressed_at IS NULL""")
    ):
        order, received = steps.get(sequence, []), had.get(key, [])
        if current is not None and current not in received:
            received = [current, *received]
        reached = [order.index(step) for step in received if step in order]
        behind = order[reached[-1] + 1 :] if reached else order
        left[key] = [] if key in failed else [step for step in behind if step not in received]
    return left


def assert_as_specified(engine: Engine, reach: Collection[int]) -> None:
    """Every email still due has one pending row, and all others have none."""
    with engine.connect() as connection:
        left = still_to_get(connection)
        sequence_of: dict[int, tuple[int, str]] = {
            key: (sequence, status)
            for key, sequence, status in connection.execute(
                text("""SELECT enrollment.id, sequence_id, sequence.status
                        FROM enrollments AS enrollment
                        JOIN sequences AS sequence ON sequence.id = sequence_id""")
            )
        }
    pending: dict[int, dict[int, Row]] = {}
    open_rows = set()
    for row in emails(engine).values():
        if row["status"] == "pending":
            pending.setdefault(row["enrollment_id"], {})[row["step_id"]] = row
        elif row["status"] in ("claimed", "sending", "uncertain", "failed"):
            open_rows.add(row["enrollment_id"])
    for key, (sequence, status) in sequence_of.items():
        if sequence not in reach:
            continue
        found, due = pending.pop(key, {}), left.get(key, [])
        if status == "paused":
            # Those that have rows keep them, without slots.
            assert set(found) <= set(due), key
            assert all(row["send_at"] is None for row in found.values()), key
            continue
        assert sorted(found) == sorted(due), key
        for row in found.values():
            planned = row["plan_run_id"] is not None
            assert planned == (row["unplaced_reason"] is None), row
            slot = (row["mailbox_id"], row["send_day"], row["send_at"])
            assert planned == (None not in slot), row
        # Nothing remains and nothing is open: it has completed.
        assert key not in left or due or key in open_rows, f"{key} should have completed"


def judged(engine: Engine, now: datetime = NOW) -> list[str]:
    """Let the oracle look at the whole stored plan, what is due at this minute taken as claimed."""
    with engine.connect() as connection:
        frames = read_frames(connection)
    rows = frames["scheduled_emails"]
    due = (rows["status"] == "pending") & (
        rows["send_at"].between(now - timedelta(minutes=15), now + timedelta(minutes=1))
        & rows["plan_run_id"].notna()
    )
    frames["scheduled_emails"] = rows = rows.assign(status=rows["status"].mask(due, "claimed"))
    sends = rows[(rows["status"] == "pending") & rows["plan_run_id"].notna()]
    sends = sends.merge(frames["steps"][["id", "position"]], left_on="step_id", right_on="id")
    unplaced = rows[(rows["status"] == "pending") & rows["unplaced_reason"].notna()]
    return [
        complaint
        for complaint in judge(
            frames,
            now,
            sends[["enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at"]],
            unplaced[["enrollment_id", "step_id"]].assign(reason=unplaced["unplaced_reason"]),
            0.0,
            None,
        )
        if complaint.split(":")[0] in HARD
    ]


# ---------------------------------------------------------------- what the tests look at


def of(row: Row) -> tuple[int, int]:
    return row["enrollment_id"], row["step_id"]


def assert_others_untouched(
    before: dict[int, Row], after: dict[int, Row], reach: Collection[int]
) -> None:
    """Nothing but pending emails within reach has been written, not even as it was."""
    for key, row in before.items():
        if row["status"] != "pending" or row["sequence_id"] not in reach:
            assert after[key]["whole"] == row["whole"]
    for key, row in after.items():
        if row != before.get(key):
            assert row["sequence_id"] in reach
            assert row["status"] in ("pending", "cancelled")


def assert_sound(engine: Engine, reach: Collection[int]) -> None:
    assert_as_specified(engine, reach)
    assert violations(engine) == []
    assert judged(engine) == []
    assert rows(engine, "SELECT kind FROM change_requests") == []


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def slots(engine: Engine) -> list[Any]:
    query = "SELECT enrollment_id, step_id, mailbox_id, status FROM scheduled_emails ORDER BY 1, 2"
    return rows(engine, query)


def whole(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return dump(connection, *TABLES)


def enrollments(engine: Engine) -> dict[int, tuple[str, str]]:
    found = rows(engine, "SELECT id, status, concat(xmin, ' ', e) FROM enrollments AS e")
    return {key: (status, row) for key, status, row in found}
