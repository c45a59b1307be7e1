"""Every change that a plan depends on, as SQL and as a command, for tests of recalculation."""

from dataclasses import dataclass

from sqlalchemy import Engine

from sendplan.io.changes.apply import apply
from sendplan.planner.changes import (
    AddMailbox,
    AddStep,
    Change,
    LinkMailbox,
    MoveStep,
    RemoveMailbox,
    RemoveStep,
    SetMailbox,
    SetSequence,
    SetStep,
    SuppressContact,
    UnlinkMailbox,
)
from sendplan.tests.worlds.databases import busy
from sendplan.tests.worlds.databases.busy import NOW, STATES
from sendplan.tests.worlds.databases.stored_emails import run_sql
from sendplan.tests.worlds.problems.methods import FACTOR
from sendplan.tests.worlds.problems.tiny import at


@dataclass(frozen=True)
class Case:
    """One change.

    Parameters
    ----------
    name : str
    sql : str
        As a user makes it.
    change : Change, optional
        The same as a command makes it.
    not_held : tuple of int
        Whose email of this minute is allowed no longer, and so not left to the dispatcher.
    reach : tuple of int
        The sequences whose emails may move.
    before : str
        What was so, and planned, before.
    """

    name: str
    sql: str
    change: Change | None = None
    not_held: tuple[int, ...] = ()
    reach: tuple[int, ...] = (1, 2)
    before: str = ""


GRACE, LEAD = busy.GRACE, busy.LEAD
NEW_STEP = "INSERT INTO steps (id, sequence_id, position, wait_days) VALUES (19, 1, {}, 1)"
SHIFT = "UPDATE steps SET position = position + 1 WHERE sequence_id = 1 AND position >= {}; "
REOPEN = """; UPDATE enrollments SET status = 'active', completed_at = NULL
    WHERE sequence_id = 1 AND status = 'completed'"""


def removed(step: int) -> str:
    return f"UPDATE steps SET removed_at = '{NOW}' WHERE id = {step}"


def box(key: int, sets: str) -> str:
    return f"UPDATE mailboxes SET {sets} WHERE id = {key}"


def seq(sets: str, key: int = 1) -> str:
    return f"UPDATE sequences SET {sets} WHERE id = {key}"


# Both emails of this minute, GRACE's and LEAD's, leave from mailbox 6 and are of sequence 1.
CASES = [
    # mailboxes
    Case("mailbox removed", box(5, "status = 'removed'"), RemoveMailbox(5)),
    Case("shared mailbox removed", box(6, "status = 'removed'"), RemoveMailbox(6), (GRACE, LEAD)),
    Case("paused mailbox removed", box(9, "status = 'removed'"), RemoveMailbox(9)),
    Case(
        "link deleted",
        "DELETE FROM sequence_mailboxes WHERE sequence_id = 1 AND mailbox_id = 5",
        UnlinkMailbox(1, 5),
    ),
    Case(
        "link that made the component deleted",
        "DELETE FROM sequence_mailboxes WHERE sequence_id = 1 AND mailbox_id = 6",
        UnlinkMailbox(1, 6),
        (GRACE, LEAD),
    ),
    Case("mailbox paused", box(5, "status = 'paused'"), SetMailbox(5, status="paused")),
    Case(
        "shared mailbox paused",
        box(6, "status = 'paused'"),
        SetMailbox(6, status="paused"),
        (GRACE, LEAD),
    ),
    Case("mailbox resumed", box(9, "status = 'active'"), SetMailbox(9, status="active")),
    # Four of mailbox 5 and one of mailbox 6 are sent or in flight today.
    Case("capacity cut", box(5, "daily_capacity = 5"), SetMailbox(5, daily_capacity=5)),
    Case(
        "capacity cut below what is sent today",
        box(5, "daily_capacity = 2"),
        SetMailbox(5, daily_capacity=2),
    ),
    Case(
        "capacity cut to what is in flight",
        box(6, "daily_capacity = 1"),
        SetMailbox(6, daily_capacity=1),
        (GRACE, LEAD),
    ),
    Case("capacity cut to nothing", box(5, "daily_capacity = 0"), SetMailbox(5, daily_capacity=0)),
    Case("capacity raised", box(6, "daily_capacity = 60"), SetMailbox(6, daily_capacity=60)),
    # LEAD's is 160 seconds behind the one that is being sent, GRACE's 480 before it.
    Case(
        "gap widened",
        box(6, "min_gap_seconds = 300"),
        SetMailbox(6, min_gap_seconds=300),
        (LEAD,),
    ),
    Case(
        "gap widened elsewhere",
        box(5, "min_gap_seconds = 3600"),
        SetMailbox(5, min_gap_seconds=3600),
    ),
    Case(
        "ramp begun",
        box(5, "ramp_start = 1, ramp_increment = 1, ramp_from = '2026-03-04'"),
        SetMailbox(5, ramp_start=1, ramp_increment=1, ramp_from=at(2, "00:00").date()),
    ),
    Case("link added", "INSERT INTO sequence_mailboxes VALUES (1, 7)", LinkMailbox(1, 7)),
    Case(
        "mailbox added",
        "INSERT INTO mailboxes (id, email, daily_capacity) VALUES (19, 'fay@example.com', 4);"
        "INSERT INTO sequence_mailboxes VALUES (1, 19)",
        AddMailbox(4, (1,), "fay@example.com"),
    ),
    Case(
        "components brought together",
        "INSERT INTO sequence_mailboxes VALUES (1, 8)",
        LinkMailbox(1, 8),
        reach=(1, 2, 3),
    ),
    # steps
    Case("first step removed", removed(11), RemoveStep(11), (GRACE, LEAD)),
    Case("middle step removed", removed(12), RemoveStep(12)),
    Case("last step removed", removed(13), RemoveStep(13)),
    Case("only step removed", removed(21), RemoveStep(21)),
    Case(
        "all steps removed",
        removed(11) + ";" + removed(12) + ";" + removed(13),
        None,
        (GRACE, LEAD),
    ),
    Case("step appended", NEW_STEP.format(4), AddStep(1, 1)),
    Case("step appended for all", NEW_STEP.format(4) + REOPEN, AddStep(1, 1, reopen=True)),
    Case(
        "step inserted at the front",
        SHIFT.format(1) + NEW_STEP.format(1),
        AddStep(1, 1, position=1),
        (GRACE, LEAD),
    ),
    Case(
        "step inserted in the middle",
        SHIFT.format(2) + NEW_STEP.format(2),
        AddStep(1, 1, position=2),
    ),
    Case(
        "step inserted before the last",
        SHIFT.format(3) + NEW_STEP.format(3),
        AddStep(1, 1, position=3),
    ),
    Case(
        "last step moved to the front",
        "UPDATE steps SET position = position % 3 + 1 WHERE sequence_id = 1",
        MoveStep(13, 1),
        (GRACE, LEAD),
    ),
    Case(
        "first step moved to the end",
        "UPDATE steps SET position = (position + 1) % 3 + 1 WHERE sequence_id = 1",
        MoveStep(11, 3),
        (GRACE, LEAD),
    ),
    Case(
        "steps exchanged",
        "UPDATE steps SET position = 5 - position WHERE id IN (12, 13)",
        MoveStep(13, 2),
    ),
    Case(
        "wait prolonged", "UPDATE steps SET wait_days = 5 WHERE id = 12", SetStep(12, wait_days=5)
    ),
    Case(
        "wait shortened", "UPDATE steps SET wait_days = 0 WHERE id = 12", SetStep(12, wait_days=0)
    ),
    Case(
        "last wait prolonged",
        "UPDATE steps SET wait_days = 9 WHERE id = 13",
        SetStep(13, wait_days=9),
    ),
    # sequences
    Case(
        "sequence paused", seq("status = 'paused'"), SetSequence(1, status="paused"), (GRACE, LEAD)
    ),
    Case(
        "sequence resumed",
        seq("status = 'active'"),
        SetSequence(1, status="active"),
        (GRACE, LEAD),  # they have lost their slots
        before=seq("status = 'paused'"),
    ),
    Case("neighbour paused", seq("status = 'paused'", 2), SetSequence(2, status="paused")),
    Case(
        "window opens later",
        seq("start_time = '13:00'"),
        SetSequence(1, start_time="13:00"),
        (GRACE, LEAD),
    ),
    Case(
        "window is over", seq("end_time = '10:00'"), SetSequence(1, end_time="10:00"), (GRACE, LEAD)
    ),
    Case("window ends early", seq("end_time = '12:00'"), SetSequence(1, end_time="12:00")),
    Case(
        "today no sending day",
        seq("send_days = '{1,2,4,5}'"),
        SetSequence(1, send_days=(1, 2, 4, 5)),
        (GRACE, LEAD),
    ),
    Case(
        "weekends too", seq("send_days = '{1,2,3,4,5,6,7}'"), SetSequence(1, send_days=range(1, 8))
    ),
    # 11:00 UTC is 6:00 there.
    Case(
        "zone moved west",
        seq("timezone = 'America/New_York'"),
        SetSequence(1, timezone="America/New_York"),
        (GRACE, LEAD),
    ),
    Case(
        "waits in sending days", seq("wait_unit = 'sending'"), SetSequence(1, wait_unit="sending")
    ),
    Case("holidays", seq("holidays = 'DE'"), SetSequence(1, holidays="DE")),
    Case("priority raised", seq("priority = 9"), SetSequence(1, priority=9)),
    Case("priority lowered", seq("priority = 0.1"), SetSequence(1, priority=0.1)),
    # The first email of FIRST_CLAIMED is today's one new contact.
    Case(
        "few new contacts",
        seq("max_new_per_day = 1"),
        SetSequence(1, max_new_per_day=1),
        (GRACE, LEAD),
    ),
    Case(
        "no new contacts",
        seq("max_new_per_day = 0"),
        SetSequence(1, max_new_per_day=0),
        (GRACE, LEAD),
    ),
    # people
    Case(
        "contacts in every state suppressed",
        f"UPDATE contacts SET suppressed_at = '{NOW}' WHERE id IN {tuple(STATES.values())}",
        None,
        (GRACE, LEAD),
    ),
    Case(
        "one due suppressed",
        f"UPDATE contacts SET suppressed_at = '{NOW}' WHERE id = {GRACE}",
        SuppressContact(GRACE),
        (GRACE,),
    ),
    Case(
        "contact of both components suppressed",
        f"UPDATE contacts SET suppressed_at = '{NOW}' WHERE id = {busy.IN_BOTH[0]}",
        SuppressContact(busy.IN_BOTH[0]),
        reach=(1, 2, 3),
    ),
    Case(
        "suppression taken back",
        f"UPDATE contacts SET suppressed_at = NULL WHERE id = {busy.SUPPRESSED}",
    ),
    Case(
        "contact moved",
        f"UPDATE contacts SET timezone = 'Asia/Tokyo' WHERE id = {LEAD}",
        None,
        (LEAD,),
    ),
    Case(
        "threads in every state stopped",
        "UPDATE enrollments SET status = 'stopped' WHERE status = 'active'"
        f" AND id IN {tuple(STATES.values())}",
        None,
        (GRACE, LEAD),
    ),
    Case(
        "one due stopped",
        f"UPDATE enrollments SET status = 'stopped' WHERE id = {LEAD}",
        None,
        (LEAD,),
    ),
    Case("stopped goes on", f"UPDATE enrollments SET status = 'active' WHERE id = {busy.STOPPED}"),
    Case(
        "completed goes on", f"UPDATE enrollments SET status = 'active' WHERE id = {busy.COMPLETED}"
    ),
    Case(
        "uncertain was sent",
        "UPDATE scheduled_emails SET status = 'sent', sent_at = '2026-03-04 10:01+00'"
        f" WHERE enrollment_id = {busy.UNCERTAIN} AND status = 'uncertain'",
    ),
]

BY_NAME = {case.name: case for case in CASES}

SIMILAR = (
    "link that made the component deleted",
    "shared mailbox paused",
    "capacity cut below what is sent today",
    "capacity cut to nothing",
    "gap widened elsewhere",
    "last step removed",
    "step inserted before the last",
    "steps exchanged",
    "first step moved to the end",
    "last wait prolonged",
    "neighbour paused",
    "window opens later",
    "weekends too",
    "priority lowered",
    "no new contacts",
    "one due suppressed",
    "one due stopped",
    "all steps removed",
    "paused mailbox removed",
)
"""Cases like another one but for where they fall, which only long runs go through."""

SHORT = CASES if FACTOR > 1 else [case for case in CASES if case.name not in SIMILAR]


def make(engine: Engine, case: Case, *, command: bool = False) -> None:
    if command:
        assert case.change is not None
        with engine.begin() as connection:
            apply(connection, case.change, NOW)
    else:
        run_sql(engine, case.sql)
