"""The summary: a plan in figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sendplan.planner.plan.optimality_gap import relative_gap, verdict
from sendplan.planner.schema.vocabulary import PlanStatus, Termination

SUMMED = (
    "emails",
    "unplaced",
    "blocked",
    "cost",
    "late_follow_ups",
    "slip_days",
    "moved",
    "unavoidable",
)
"""Totals that add up over several plans."""

STOPS = (
    Termination.INTERRUPTED,
    Termination.WALL_CLOCK,
    Termination.TIME_LIMIT,
    Termination.EXHAUSTED,
    Termination.GAP,
    Termination.OPTIMAL,
)
"""Reasons why a search ended; of several plans the first of these counts."""


@dataclass(frozen=True)
class Summary:
    """Figures of a plan.

    Parameters
    ----------
    totals : dict
        Totals under the keys of ``plan --json``.
    as_of : Timestamp
        The moment of planning.
    stopped : str or None
        Why the search ended, a word of `Termination`; None for method greedy.
    sequences : DataFrame
        By sequence: name, contacts, emails, finish_day, late_follow_ups, cost.
    mailboxes : DataFrame
        By mailbox: email, planned, days in use, capacity and use over the plan's days.
    unplaced : DataFrame
        Emails without a slot, by reason.
    """

    totals: dict[str, Any]
    as_of: pd.Timestamp
    stopped: str | None
    sequences: pd.DataFrame
    mailboxes: pd.DataFrame
    unplaced: pd.DataFrame

    @property
    def verdict(self) -> str:
        """What the gap means, in words."""
        return verdict(self.totals["cost"], self.totals["lower_bound"], self.stopped)

    def __str__(self) -> str:
        """Return the summary as plain text."""
        lines = [f"{key.replace('_', ' ')}: {value}" for key, value in self.totals.items()]
        lines.append(self.verdict)
        tables = {"Sequences": self.sequences, "Mailboxes": self.mailboxes}
        if len(self.unplaced):
            tables["Without a slot"] = self.unplaced
        parts = ["\n".join(lines)]
        parts += [f"{name}\n{table.to_string(index=False)}" for name, table in tables.items()]
        return "\n\n".join(parts)


def merge_summaries(summaries: Sequence[Summary]) -> Summary:
    """Merge the summaries of plans that share no sequence, mailbox or contact.

    Parameters
    ----------
    summaries : sequence of Summary
        At least one, all made as of the same moment.

    Returns
    -------
    Summary
        Of all as one plan, except the capacity of mailboxes: it covers the horizon of each plan,
        which by default differ.
    """
    parts = [summary.totals for summary in summaries]
    totals = dict(parts[0])
    for name in SUMMED:
        totals[name] = sum(part[name] for part in parts)
    # An empty plan has no bound.
    bounds = [part["lower_bound"] for part in parts if part["status"] != PlanStatus.EMPTY]
    bound = sum(bounds) if bounds and None not in bounds else None
    finishes = [part["finish_day"] for part in parts if part["finish_day"] is not None]
    totals |= {
        "method": next((part["method"] for part in parts if part["method"] == "cpsat"), "greedy"),
        "status": _status({part["status"] for part in parts}),
        "horizon_end": max(part["horizon_end"] for part in parts),
        "lower_bound": bound,
        "gap": None if bound is None else relative_gap(totals["cost"], bound),
        "finish_day": max(finishes, default=None),
    }
    reasons = [summary.stopped for summary in summaries]
    unplaced = _stacked([summary.unplaced for summary in summaries])
    return Summary(
        totals=totals,
        as_of=summaries[0].as_of,
        stopped=next((reason for reason in STOPS if reason in reasons), None),
        sequences=_stacked([summary.sequences for summary in summaries])
        .sort_values("sequence_id", kind="stable")
        .reset_index(drop=True),
        mailboxes=_mailboxes(_stacked([summary.mailboxes for summary in summaries])),
        unplaced=unplaced.groupby("reason")["emails"].sum().reset_index(),
    )


def _stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    # Frames without rows may have other types than those with some.
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1])


def _status(statuses: set[str]) -> str:
    if statuses == {PlanStatus.EMPTY}:
        return PlanStatus.EMPTY
    sound = statuses <= {PlanStatus.EMPTY, PlanStatus.OPTIMAL}
    return PlanStatus.OPTIMAL if sound else PlanStatus.FEASIBLE


def _mailboxes(rows: pd.DataFrame) -> pd.DataFrame:
    """Merge the rows of each mailbox; without a sequence it has no capacity."""
    by_mailbox = rows.groupby("mailbox_id", sort=True)
    found = by_mailbox[["planned", "capacity", "days"]].sum()
    found.insert(0, "email", by_mailbox["email"].first())
    return add_use(found.reset_index())


def add_use(mailboxes: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of mailboxes the share of their capacity that is planned.

    Parameters
    ----------
    mailboxes : DataFrame
        With int columns planned and capacity.

    Returns
    -------
    DataFrame
        The same with ``use``, from 0 to 1; 0 where there is no capacity.
    """
    use = mailboxes["planned"] / mailboxes["capacity"]
    return mailboxes.assign(use=use.where(mailboxes["capacity"] > 0, 0.0))
