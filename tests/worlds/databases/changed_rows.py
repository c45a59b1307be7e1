"""Changes of rows, as users' own SQL and dispatchers make them between two plans."""

import random
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd

from sendplan.tests.worlds.oracle.facts import records
from sendplan.tests.worlds.problems.nasty import DEFAULTS, Frames, framed
from sendplan.tests.worlds.problems.tiny import Row

Rows = dict[str, list[Row]]
Change = Callable[["Changer"], None]

KEYS = {
    "sequences": "id",
    "steps": "sequence_id",
    "mailboxes": "id",
    "sequence_mailboxes": "sequence_id",
    "enrollments": "id",
    "scheduled_emails": "enrollment_id",
    "used": "mailbox_id",
}


class Changer:
    """What chooses and makes changes.

    Parameters
    ----------
    rows : dict of lists of rows
        The tables; changed in place.
    now : datetime
        When the change is made.
    rng : Random
        What chooses.
    ids : range
        Sequences, mailboxes and enrollments that may be chosen: those of one of many instances that
        stand side by side.
    most_emails : int
        Pending emails that a change may leave.
    starved : bool
        Whether a change may leave emails for which there is no room ever.
    """

    def __init__(
        self,
        rows: Rows,
        now: datetime,
        rng: random.Random,
        *,
        ids: range = range(10**9),
        most_emails: int = 10**9,
        starved: bool = True,
    ) -> None:
        self.rows, self.now, self.rng, self.ids = rows, now, rng, ids
        self.most_emails, self.starved = most_emails, starved

    def own(self, table: str, **values: Any) -> list[Row]:
        """Give the rows that may be chosen and have these values."""
        return [
            row
            for row in self.rows.get(table, [])
            if row[KEYS[table]] in self.ids
            and all(row.get(name) == value for name, value in values.items())
        ]

    def any(self, table: str, **values: Any) -> Row | None:
        rows = self.own(table, **values)
        return self.rng.choice(rows) if rows else None

    def new_id(self, table: str) -> int:
        return int(max((row["id"] for row in self.own(table)), default=self.ids.start)) + 1

    def emails_left(self) -> int:
        return len(self.own("scheduled_emails", status="pending"))

    def steps(self, sequence: int) -> list[Row]:
        """Give the steps of a sequence that have not been removed."""
        own = self.own("steps", sequence_id=sequence)
        return [row for row in own if row.get("position") is not None]

    def spare_mailbox(self) -> Row | None:
        """Give a mailbox without which every sequence has another one that sends."""
        chosen = self.any("mailboxes")
        if chosen is None or self.starved:
            return chosen
        sends = {row["id"] for row in self.own("mailboxes") if is_active(row)}
        sends -= {row["id"] for row in self.own("mailboxes", daily_capacity=0)}
        for sequence in self.own("sequences"):
            links = self.own("sequence_mailboxes", sequence_id=sequence["id"])
            pool = {link["mailbox_id"] for link in links}
            if chosen["id"] in pool and not (pool - {chosen["id"]}) & sends:
                return None
        return chosen


def is_active(row: Row) -> bool:
    return bool(row.get("status", "active") == "active")


def nothing(_: Changer) -> None:
    """Change nothing."""


def remove_mailbox(changer: Changer) -> None:
    if (mailbox := changer.spare_mailbox()) is not None:
        mailbox["status"] = "removed"


def unlink_mailbox(changer: Changer) -> None:
    if (mailbox := changer.spare_mailbox()) is not None:
        for link in changer.own("sequence_mailboxes", mailbox_id=mailbox["id"]):
            changer.rows["sequence_mailboxes"].remove(link)


def pause_mailbox(changer: Changer) -> None:
    if (mailbox := changer.spare_mailbox()) is not None:
        mailbox["status"] = "paused"


def resume_mailbox(changer: Changer) -> None:
    if (mailbox := changer.any("mailboxes", status="paused")) is not None:
        mailbox["status"] = "active"


def add_mailbox(changer: Changer) -> None:
    sequences = [row["id"] for row in changer.own("sequences")]
    key = changer.new_id("mailboxes")
    changer.rows["mailboxes"].append(changer.rows["mailboxes"][0] | new_mailbox(key))
    for sequence in changer.rng.sample(sequences, changer.rng.randint(1, len(sequences))):
        changer.rows["sequence_mailboxes"].append({"sequence_id": sequence, "mailbox_id": key})


def new_mailbox(key: int) -> Row:
    row: Row = {"id": key, "email": f"m{key}@example.org", "daily_capacity": 1}
    return row | {"status": "active", "min_gap_seconds": 0, "ramp_start": None, "ramp_from": None}


def raise_capacity(changer: Changer) -> None:
    if (mailbox := changer.any("mailboxes")) is not None:
        mailbox["daily_capacity"] += 1


def cut_capacity(changer: Changer) -> None:
    mailbox = changer.any("mailboxes")
    if mailbox is not None and mailbox["daily_capacity"] > (not changer.starved):
        mailbox["daily_capacity"] -= 1


def set_wait(changer: Changer) -> None:
    if (step := changer.any("steps")) is not None:
        step["wait_days"] = changer.rng.choice((0, 1, 2, 3))


def remove_step(changer: Changer) -> None:
    step = changer.any("steps")
    if step is None or step.get("position") is None:
        return
    for other in changer.steps(step["sequence_id"]):
        other["position"] -= other["position"] > step["position"]
    step |= {"position": None, "removed_at": changer.now}
    for row in changer.own("scheduled_emails", step_id=step["id"], status="pending"):
        row["status"] = "cancelled"


def add_step(changer: Changer) -> None:
    sequence = changer.any("sequences")
    assert sequence is not None
    people = changer.own("enrollments", sequence_id=sequence["id"])
    if changer.emails_left() + len(people) > changer.most_emails:
        return
    steps = changer.steps(sequence["id"])
    row: Row = {"id": changer.new_id("steps"), "sequence_id": sequence["id"], "removed_at": None}
    row |= {"position": changer.rng.randint(1, len(steps) + 1)}
    row |= {"wait_days": changer.rng.choice((0, 1, 2))}
    for step in steps:
        step["position"] += step["position"] >= row["position"]
    changer.rows["steps"].append(row)


def move_step(changer: Changer) -> None:
    sequence = changer.any("sequences")
    assert sequence is not None
    steps = changer.steps(sequence["id"])
    positions = [step["position"] for step in steps]
    changer.rng.shuffle(positions)
    for step, position in zip(steps, positions, strict=True):
        step["position"] = position


def set_send_days(changer: Changer) -> None:
    if (sequence := changer.any("sequences")) is not None:
        sequence["send_days"] = sorted(changer.rng.sample(range(1, 8), changer.rng.randint(2, 7)))


def set_window(changer: Changer) -> None:
    if (sequence := changer.any("sequences")) is not None:
        sequence |= {"start_time": time(9), "end_time": time(changer.rng.choice((11, 13, 16, 19)))}


def set_priority(changer: Changer) -> None:
    if (sequence := changer.any("sequences")) is not None:
        sequence["priority"] = changer.rng.choice((0.5, 1, 2, 4))


def set_max_new(changer: Changer) -> None:
    if (sequence := changer.any("sequences")) is not None:
        sequence["max_new_per_day"] = changer.rng.choice((None, 1, 2))


def stop_an_enrollment(changer: Changer) -> None:
    if (enrollment := changer.any("enrollments")) is not None:
        enrollment["status"] = "stopped"


def enroll_a_contact(changer: Changer) -> None:
    other = changer.any("enrollments")
    if other is None:
        return
    steps = changer.steps(other["sequence_id"])
    if changer.emails_left() + len(steps) > changer.most_emails:
        return
    key = changer.new_id("enrollments")
    row: Row = {"id": key, "sequence_id": other["sequence_id"], "enrolled_at": changer.now}
    if "contact_id" in other:
        row["contact_id"] = max(row.get("contact_id", 0) for row in changer.own("enrollments")) + 1
    changer.rows["enrollments"].append(row | {"status": "active"})


def lose_a_slot(changer: Changer) -> None:
    if (email := changer.any("scheduled_emails", status="pending")) is not None:
        changer.rows["scheduled_emails"].remove(email)


def shift_a_slot(changer: Changer) -> None:
    email = changer.any("scheduled_emails", status="pending")
    if email is not None and email.get("send_at") is not None:
        ahead = timedelta(days=changer.rng.choice((-2, -1, 1, 2)))
        email |= {"send_day": email["send_day"] + ahead, "send_at": email["send_at"] + ahead}


CHANGES: tuple[Change, ...] = (
    nothing,
    remove_mailbox,
    remove_mailbox,
    unlink_mailbox,
    pause_mailbox,
    resume_mailbox,
    add_mailbox,
    raise_capacity,
    cut_capacity,
    set_wait,
    remove_step,
    add_step,
    move_step,
    set_send_days,
    set_window,
    set_priority,
    set_max_new,
    stop_an_enrollment,
    enroll_a_contact,
    lose_a_slot,
    shift_a_slot,
)


def dispatched(rows: Rows, later: datetime, rng: random.Random) -> None:
    """Let time pass: what was due has left, is in flight, or was missed, and waits overdue.

    Parameters
    ----------
    rows : dict of lists of rows
        The tables; changed in place.
    later : datetime
        Until when.
    rng : Random
        What chooses.
    """
    held: set[int] = set()
    due = [
        row
        for row in rows["scheduled_emails"]
        if row["status"] == "pending" and row.get("send_at") and row["send_at"] <= later
    ]
    for row in sorted(due, key=lambda row: (row["send_at"], row["enrollment_id"], row["step_id"])):
        if row["enrollment_id"] in held:
            continue
        fate = rng.choice(("sent", "sent", "sent", "sent", "claimed", "missed"))
        if fate == "sent":
            row |= {"status": "sent", "sent_at": row["send_at"]}
            continue
        held.add(row["enrollment_id"])
        if fate == "claimed":
            row["status"] = "claimed"


def rows_of(frames: Mapping[str, pd.DataFrame]) -> Rows:
    """Give the rows of frames, without their null cells and with what a table has by default."""
    usual: dict[str, Row] = {}
    for (name, column), value in DEFAULTS.items():
        usual.setdefault(name, {})[column] = value
    return {
        name: [usual.get(name, {}) | row for row in records(frame)]
        for name, frame in frames.items()
    }


def frames_of(rows: Rows, before: Frames) -> Frames:
    """Give rows as frames again; a table without rows keeps its columns."""
    return {name: framed(table) if table else before[name].iloc[:0] for name, table in rows.items()}


def slots_of(rows: Rows) -> dict[tuple[int, int], tuple[int, date, datetime]]:
    """Give the mailbox, day and time of every slot that a plan gave, by enrollment and step."""
    return {
        (int(row["enrollment_id"]), int(row["step_id"])): (
            int(row["mailbox_id"]),
            pd.Timestamp(row["send_day"]).date(),
            row["send_at"],
        )
        for row in rows.get("scheduled_emails", [])
        if row.get("status") == "pending"
        and all(row.get(name) is not None for name in ("plan_run_id", "mailbox_id", "send_at"))
    }


__all__ = ["CHANGES", "Changer", "Rows", "dispatched", "frames_of", "rows_of", "slots_of"]
