"""The bottlenecks of the stored plan."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from sendplan.io.planning.last_plan import recalc_parameters
from sendplan.io.snapshot.load import load
from sendplan.planner.plan.stored_slots import stored_plan
from sendplan.planner.studies.bottlenecks import Bottlenecks, bottlenecks


@dataclass(frozen=True)
class StoredBottlenecks:
    """What is short in the stored plan, with the names of things.

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
        rows = {name: _rows(frame) for name, frame in frames.items()}
        return {
            "cost": found.cost,
            "lower_bound": found.lower_bound,
            "more": found.more,
            **rows,
        }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.date()
    return None if isinstance(value, float) and value != value else value


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
        Whether mailboxes are told apart.

    Returns
    -------
    StoredBottlenecks
        Of the slots that still keep every rule.

    Raises
    ------
    DataError
        If the tables hold what cannot be planned.
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
    sequences, mailboxes = problem.sequences, problem.mailboxes
    return StoredBottlenecks(
        found,
        _names(sequences["id"], sequences["name"], "sequence"),
        _names(mailboxes["id"], mailboxes["email"], "mailbox"),
    )


def _names(ids: pd.Series, names: pd.Series, noun: str) -> dict[int, str]:
    pairs = zip(ids, names, strict=True)
    return {int(key): name if isinstance(name, str) else f"{noun} {key}" for key, name in pairs}
