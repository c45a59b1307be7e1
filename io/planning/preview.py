"""The preview of a change: the plan that it would lead to."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors
from sendplan.io.planning.recalc import fixed_when_due
from sendplan.io.snapshot.load import load_around
from sendplan.planner.changes import AddStep, Change
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.stored_slots import stored_plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.solver import plan_with

_OF_CONTACTS = "SELECT DISTINCT sequence_id FROM enrollments WHERE contact_id = ANY(:ids)"
SEQUENCES_OF = {
    "mailbox_id": "SELECT sequence_id FROM sequence_mailboxes WHERE mailbox_id = ANY(:ids)",
    "step_id": "SELECT sequence_id FROM steps WHERE id = ANY(:ids)",
    "contact_id": _OF_CONTACTS,
    "contact_ids": _OF_CONTACTS,
}
"""Queries for the sequences that a change reaches, by the field that holds their rows' ids."""

FIGURES = (
    "emails",
    "unplaced",
    "blocked",
    "finish_day",
    "late_follow_ups",
    "slip_days",
    "cost",
)


@dataclass(frozen=True)
class Preview:
    """The plan of the components that a change reaches, before and after.

    Parameters
    ----------
    changes : tuple of Change
        The changes.
    before : Plan
        The stored slots.
    after : Plan
        The slots after a recalculation.
    """

    changes: tuple[Change, ...]
    before: Plan
    after: Plan

    @cached_property
    def difference(self) -> pd.DataFrame:
        """Every slot that differs, see `Plan.diff`."""
        return self.before.diff(self.after)

    @property
    def moved(self) -> pd.DataFrame:
        """The emails that get another day or mailbox."""
        return self.difference[self.difference["change"] == "moved"]

    def counts(self) -> dict[str, int]:
        """Return how many emails differ, and how; those that lose their slot are moved, too."""
        kinds = self.difference["change"].value_counts()
        moved = self.moved
        later = moved["days_later"] > 0
        earlier = moved["days_later"] < 0
        return {
            "moved": self.after.moved,
            "unavoidable": self.after.unavoidable,
            "later": int(later.sum()),
            "days_later": int(moved.loc[later, "days_later"].sum()),
            "earlier": int(earlier.sum()),
            "days_earlier": -int(moved.loc[earlier, "days_later"].sum()),
            "mailbox_changes": int((moved["mailbox_id_before"] != moved["mailbox_id_after"]).sum()),
            "retimed": int(kinds.get("retimed", 0)),
            "added": int(kinds.get("added", 0)),
            "removed": int(kinds.get("removed", 0)),
        }

    def sequences(self) -> pd.DataFrame:
        """Return by sequence what moves, and its figures before and after."""
        before, after = self.before.summary().sequences, self.after.summary().sequences
        columns = ["sequence_id", "name", "emails", "finish_day", "late_follow_ups", "cost"]
        both = before[columns].merge(
            after[columns], on="sequence_id", how="outer", suffixes=("_before", "_after")
        )
        both["name"] = both.pop("name_after").fillna(both.pop("name_before"))
        names = self.before.delays[["enrollment_id", "sequence_id"]].drop_duplicates()
        moved = self.moved.merge(names, on="enrollment_id")["sequence_id"].value_counts()
        both["moved"] = both["sequence_id"].map(moved).fillna(0).astype("int64")
        return both

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--preview --json`` prints."""
        return {
            "preview": True,
            "changes": [repr(change) for change in self.changes],
            "as_of": self.after.as_of.isoformat(),
            **self.counts(),
            "before": _figures(self.before),
            "after": _figures(self.after),
            "sequences": [
                {key: None if pd.isna(value) else value for key, value in row.items()}
                for row in self.sequences().to_dict("records")
            ],
        }


def _figures(plan: Plan) -> dict[str, Any]:
    reasons = plan.unplaced["reason"].value_counts().to_dict()
    return {name: plan.summary().totals[name] for name in FIGURES} | {"unplaced_by_reason": reasons}


def preview(
    engine: Engine, changes: Sequence[Change], now: dt.datetime, parameters: Parameters
) -> Preview:
    """Plan the components that changes reach as if they had been made; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    changes : sequence of Change
        The changes, in order.
    now : aware datetime
        The moment of planning.
    parameters : Parameters
        See `sendplan.io.planning.last_plan.recalc_parameters`.

    Returns
    -------
    Preview
        Limited to the components that the changes reach.

    Raises
    ------
    ProblemError
        If a change does not fit.
    DataError
        If the tables cannot be planned.
    DatabaseError
        If the database cannot be read.
    """
    reopened = {
        change.sequence_id for change in changes if isinstance(change, AddStep) and change.reopen
    }
    snapshot = load_around(engine, now, _reached(engine, changes), reopened)
    unchanged = snapshot.problem(now)
    changed = fixed_when_due(unchanged.with_(*changes), parameters.one_a_day)
    # The same rows are left to the dispatchers in both plans, so that they do not differ.
    unchanged = replace(unchanged, scheduled_emails=changed.scheduled_emails)
    return Preview(
        tuple(changes),
        stored_plan(unchanged, parameters),
        plan_with(changed, parameters),
    )


def _reached(engine: Engine, changes: Sequence[Change]) -> set[int]:
    """Return the sequences that changes reach."""
    found = {*_named(changes, "sequence_id"), *_named(changes, "sequence_ids")}
    with translated_errors("finding what the change reaches"), engine.connect() as connection:
        for field, query in SEQUENCES_OF.items():
            found.update(connection.scalars(text(query), {"ids": _named(changes, field)}))
    return found


def _named(changes: Sequence[Change], field: str) -> list[int]:
    """Return the ids in a field of the changes that have it."""
    keys = [getattr(change, field, None) for change in changes]
    return [*chain.from_iterable([key] if isinstance(key, int) else key or () for key in keys)]
