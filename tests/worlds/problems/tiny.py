"""Tiny problems built row by row, and plans in a form that a test can write down.

Days are numbers from Monday 2 March 2026, clock times are UTC: what leaves on day 4 leaves on
Friday. A sequence sends from 9:00 to 17:00 on weekdays; its steps have the ids 10 × sequence +
position. People have been enrolled since the Friday before, and now is Monday, 6:00.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self

import pandas as pd

import sendplan
from sendplan.tests.worlds.oracle.judge import judge

Row = dict[str, Any]
Slot = tuple[int, int, int, int, str]

MONDAY = date(2026, 3, 2)
LEFT_OUT = 366 * (1 + 20)
"""What an email left out costs besides its delay, at priority 1 and the default slip_weight."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "sequences": ("id", "start_time", "end_time"),
    "steps": ("id", "sequence_id", "position"),
    "mailboxes": ("id", "daily_capacity"),
    "sequence_mailboxes": ("sequence_id", "mailbox_id"),
    "enrollments": ("id", "sequence_id", "enrolled_at"),
    "scheduled_emails": ("enrollment_id", "step_id"),
    "used": ("mailbox_id", "send_day", "used"),
}


def day(number: int) -> date:
    return MONDAY + timedelta(days=number)


def at(number: int, clock: str) -> datetime:
    return datetime.combine(day(number), time.fromisoformat(clock), tzinfo=UTC)


class World:
    """One problem in the making."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or at(0, "06:00")
        self.rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}

    def sequence(self, key: int = 1, waits: Sequence[int] = (0, 1), **more: Any) -> Self:
        row: Row = {"id": key, "start_time": time(9), "end_time": time(17), "timezone": "UTC"}
        row |= {"send_days": [1, 2, 3, 4, 5], "priority": 1, "status": "active"}
        self.rows["sequences"].append(row | more)
        for position, wait in enumerate(waits, start=1):
            self.step(10 * key + position, position, wait, sequence=key)
        return self

    def step(self, key: int, position: int | None, wait: int = 1, *, sequence: int = 1) -> Self:
        row: Row = {"id": key, "sequence_id": sequence, "position": position, "wait_days": wait}
        self.rows["steps"].append(row)
        return self

    def mailbox(
        self, key: int = 5, capacity: int = 10, sequences: Sequence[int] = (1,), **more: Any
    ) -> Self:
        row: Row = {"id": key, "daily_capacity": capacity, "min_gap_seconds": 0}
        self.rows["mailboxes"].append(row | {"status": "active"} | more)
        self.rows["sequence_mailboxes"] += [
            {"sequence_id": sequence, "mailbox_id": key} for sequence in sequences
        ]
        return self

    def enroll(self, *keys: int, sequence: int = 1, **more: Any) -> Self:
        for key in keys:
            row: Row = {"id": key, "sequence_id": sequence, "enrolled_at": at(-3, "10:00")}
            self.rows["enrollments"].append(row | {"status": "active"} | more)
        return self

    def email(
        self,
        enrollment: int,
        step: int,
        status: str,
        number: int,
        clock: str = "09:00",
        **more: Any,
    ) -> Self:
        """Add a row of scheduled_emails, from mailbox 5 and given its slot by a plan."""
        moment = at(number, clock)
        row: Row = {"enrollment_id": enrollment, "step_id": step, "status": status}
        row |= {"mailbox_id": 5, "send_day": day(number), "send_at": moment, "plan_run_id": 1}
        row["sent_at"] = moment if status == "sent" else None
        self.rows["scheduled_emails"].append(row | more)
        return self

    def use(self, mailbox: int, number: int, used: int) -> Self:
        row: Row = {"mailbox_id": mailbox, "send_day": day(number), "used": used}
        self.rows["used"].append(row)
        return self

    def stored(self, plan: sendplan.Plan) -> Self:
        """Add a plan's slots as pending rows."""
        for row in plan.sends.itertuples(index=False):
            self.rows["scheduled_emails"].append(
                {
                    "enrollment_id": row.enrollment_id,
                    "step_id": row.step_id,
                    "status": "pending",
                    "mailbox_id": row.mailbox_id,
                    "send_day": row.send_day.date(),
                    "send_at": row.send_at,
                    "plan_run_id": 1,
                }
            )
        return self

    def frames(self) -> dict[str, pd.DataFrame]:
        return {
            name: pd.DataFrame(rows) if rows else pd.DataFrame({c: [] for c in COLUMNS[name]})
            for name, rows in self.rows.items()
        }

    def problem(self) -> sendplan.Problem:
        return sendplan.Problem.from_frames(**self.frames(), now=self.now)

    def plan(self, method: str = "greedy", **parameters: Any) -> sendplan.Plan:
        """Solve, and see that the oracle has nothing to say."""
        frames = self.frames()
        problem = sendplan.Problem.from_frames(**frames, now=self.now)
        plan = sendplan.solve(problem, method, **parameters)
        complaints = judge(
            frames,
            self.now,
            plan.sends,
            plan.unplaced,
            plan.cost,
            plan.horizon_end,
            slip_weight=parameters.get("slip_weight", 20.0),
            horizon_given="horizon_days" in parameters,
            one_a_day=parameters.get("one_a_day", True),
        )
        assert complaints == []
        return plan


def slots(plan: sendplan.Plan) -> list[Slot]:
    """Give (enrollment, step, mailbox, day, time) of every slot, in order of enrollment."""
    return [
        (
            row.enrollment_id,
            row.step_id,
            row.mailbox_id,
            (row.send_day.date() - MONDAY).days,
            f"{row.send_at:%H:%M:%S}",
        )
        for row in plan.sends.itertuples(index=False)
    ]


def days_of(plan: sendplan.Plan) -> dict[int, list[int]]:
    """Give the days of each enrollment's emails."""
    days: dict[int, list[int]] = {}
    for enrollment, _, _, number, _ in slots(plan):
        days.setdefault(enrollment, []).append(number)
    return days


def a_day(plan: sendplan.Plan) -> dict[int, int]:
    """Give the emails of each day."""
    numbers = [number for _, _, _, number, _ in slots(plan)]
    return {number: numbers.count(number) for number in sorted(set(numbers))}


def times_of(plan: sendplan.Plan, number: int = 0) -> list[str]:
    """Give the times of a day's emails, ascending."""
    return sorted(clock for _, _, _, on, clock in slots(plan) if on == number)


def without_slot(plan: sendplan.Plan) -> list[tuple[int, int, str]]:
    rows = plan.unplaced.itertuples(index=False)
    return sorted((row.enrollment_id, row.step_id, row.reason) for row in rows)


def sends_of(rows: Iterable[Slot]) -> pd.DataFrame:
    """Write slots as the frame that ``violations`` reads."""
    columns = ["enrollment_id", "step_id", "mailbox_id", "send_day", "send_at"]
    listed = [(e, s, m, pd.Timestamp(day(d)), at(d, clock)) for e, s, m, d, clock in rows]
    return pd.DataFrame(listed, columns=columns)
