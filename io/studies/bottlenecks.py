"""The bottlenecks of the stored plan."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from sendplan.io.documents.wording import called
from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.snapshot.load import load
from sendplan.planner.plan.stored_slots import stored_plan
from sendplan.planner.studies.bottlenecks import Bottlenecks, bottlenecks


@dataclass(frozen=True)
class StoredBottlenecks:
    """Where capacity is short in the stored plan, with names.

    Parameters
    ----------
    found : Bottlenecks
        The frames.
    sequences, mailboxes : dict of str
        Names by id.
    """

    found: Bottlenecks
    sequences: dict[int, str]
    mailboxes: dict[int, str]

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``bottlenecks --json`` prints."""
        found = self.found
        frames = {"pools": found.pools, "days": found.days, "new_emails": found.new_emails}
        return {
            "cost": found.cost,
            "lower_bound": found.lower_bound,
            "more": found.more,
            **{name: _rows(frame) for name, frame in frames.items()},
        }


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    for name in frame.select_dtypes("datetime"):
        plain[name] = frame[name].dt.date
    return plain.to_dict("records")


def stored_bottlenecks(
    engine: Engine, now: dt.datetime, *, by_mailbox: bool = False
) -> StoredBottlenecks:
    """Find where the stored plan lacks capacity; nothing is written.

    Parameters
    ----------
    engine : Engine
        The database.
    now : aware datetime
        The moment.
    by_mailbox : bool
        Whether each mailbox counts by itself.

    Returns
    -------
    StoredBottlenecks
        Of the slots that still keep every rule.

    Raises
    ------
    DataError
        If the tables cannot be planned.
    DatabaseError
        If the database cannot be read.
    """
    problem = load(engine, now).problem(now)
    parameters = recalc_parameters(engine, now)
    found = bottlenecks(
        problem,
        stored_plan(problem, parameters),
        by_mailbox=by_mailbox,
        horizon_days=parameters.horizon_days,
        slip_weight=parameters.slip_weight,
        one_a_day=parameters.one_a_day,
    )
    return StoredBottlenecks(
        found,
        _names(problem.sequences, "name", "sequence"),
        _names(problem.mailboxes, "email", "mailbox"),
    )


def _names(frame: pd.DataFrame, column: str, noun: str) -> dict[int, str]:
    rows = zip(frame["id"].tolist(), frame[column], strict=True)
    return {key: called(name, noun, key) for key, name in rows}
