"""The plan: the slot of every email, emails without one and why, and the cost."""

import datetime as dt
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from sendplan.planner.plan.optimality_gap import relative_gap, verdict
from sendplan.planner.plan.summary import Summary, add_use
from sendplan.planner.schema.vocabulary import BLOCKED

SENDS = ("enrollment_id", "step_id", "position", "mailbox_id", "send_day", "send_at")
UNPLACED = ("enrollment_id", "step_id", "reason")
_EMAIL = ["enrollment_id", "step_id"]


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan for the whole horizon.

    Parameters
    ----------
    sends : DataFrame
        One row a slot: enrollment_id, step_id, position, mailbox_id (int64), send_day
        (datetime64, the local date) and send_at (aware datetime64 in UTC); sorted by enrollment
        and then in order of sending.
    unplaced : DataFrame
        Emails without a slot: enrollment_id, step_id and the reason, a word of `Reason`.
    delays : DataFrame
        For every email that is not blocked: enrollment_id, step_id, sequence_id, lateness and
        slip in days, late and cost.
    method : str
        The method of the plan.
    status : str
        ``"optimal"``, ``"feasible"`` or ``"empty"``.
    lower_bound : float or None
        Proven bound on the cost of any plan; None when none was computed.
    stopped : str or None
        Why the search ended, a word of `Termination`; None for method greedy.
    horizon_end : date
        The last day of the horizon.
    as_of : Timestamp
        The moment of planning.
    moved : int
        Emails with another day or mailbox than in their existing slot.
    unavoidable : int
        Of these, emails whose existing slot breaks a rule; no plan could keep it.
    capacity : DataFrame
        Capacity of the mailboxes over the days of the plan: mailbox_id, email, planned, capacity.
    names : Series
        Name of each sequence, by id.
    """

    sends: pd.DataFrame
    unplaced: pd.DataFrame
    delays: pd.DataFrame
    method: str
    status: str
    lower_bound: float | None
    stopped: str | None
    horizon_end: dt.date
    as_of: pd.Timestamp
    moved: int
    unavoidable: int
    capacity: pd.DataFrame = field(repr=False)
    names: pd.Series = field(repr=False)

    @cached_property
    def cost(self) -> float:
        """The objective: priority × (lateness + slip_weight × slip), over all emails."""
        return float(self.delays["cost"].sum())

    @property
    def gap(self) -> float | None:
        """Relative gap between cost and lower bound; None without a bound."""
        return None if self.lower_bound is None else relative_gap(self.cost, self.lower_bound)

    @property
    def verdict(self) -> str:
        """What the gap means, in words."""
        return verdict(self.cost, self.lower_bound, self.stopped)

    @property
    def finish_day(self) -> dt.date | None:
        """Day of the last slot."""
        return self.sends["send_day"].max().date() if len(self.sends) else None

    @property
    def blocked(self) -> int:
        """Emails that no plan can place."""
        return int(self.unplaced["reason"].isin(BLOCKED).sum())

    @property
    def late_follow_ups(self) -> int:
        """Follow-ups that slip or are left out."""
        return int(self.delays["late"].sum())

    @property
    def slip_days(self) -> int:
        """Days of slip, over all follow-ups."""
        return int(self.delays["slip"].sum())

    def summary(self) -> Summary:
        """Return totals and tables; print the summary, or take its frames."""
        return self._summary

    @cached_property
    def _summary(self) -> Summary:
        return _summary_of(self)

    def diff(self, other: "Plan") -> pd.DataFrame:
        """Compare with another plan of the same emails.

        Parameters
        ----------
        other : Plan
            The plan to compare with.

        Returns
        -------
        DataFrame
            One row for each email whose slot differs: enrollment_id, step_id, change (``added``,
            ``removed``, ``moved`` to another day or mailbox, ``retimed`` within its day), the
            mailbox, day and time ``_before`` (here) and ``_after`` (there), and days_later.
        """
        columns = [*_EMAIL, "mailbox_id", "send_day", "send_at"]
        both = self.sends[columns].merge(
            other.sends[columns],
            on=_EMAIL,
            how="outer",
            suffixes=("_before", "_after"),
            indicator=True,
        )
        moved = (both["mailbox_id_before"] != both["mailbox_id_after"]) | (
            both["send_day_before"] != both["send_day_after"]
        )
        retimed = both["send_at_before"] != both["send_at_after"]
        both["change"] = np.select(
            [both["_merge"] == "right_only", both["_merge"] == "left_only", moved, retimed],
            ["added", "removed", "moved", "retimed"],
            "",
        )
        both["days_later"] = (both["send_day_after"] - both["send_day_before"]).dt.days
        changed = both[both["change"] != ""].drop(columns="_merge")
        ids = dict.fromkeys(("mailbox_id_before", "mailbox_id_after"), "Int64")
        order = [*_EMAIL, "change", "days_later"]
        rest = [name for name in changed.columns if name not in order]
        return changed.astype(ids)[order + rest].reset_index(drop=True)


def _summary_of(plan: Plan) -> Summary:
    delays = plan.delays
    sends = plan.sends.merge(
        delays[["enrollment_id", "step_id", "sequence_id"]], on=["enrollment_id", "step_id"]
    )
    by_sequence = sends.groupby("sequence_id")
    sequences = pd.DataFrame(
        {
            "contacts": by_sequence["enrollment_id"].nunique(),
            "emails": by_sequence.size(),
            "finish_day": by_sequence["send_day"].max(),
            "late_follow_ups": delays.groupby("sequence_id")["late"].sum(),
            "cost": delays.groupby("sequence_id")["cost"].sum(),
        }
    )
    sequences = sequences.fillna({"contacts": 0, "emails": 0}).astype(
        {"contacts": "int64", "emails": "int64", "late_follow_ups": "int64"}
    )
    sequences.insert(0, "name", plan.names.reindex(sequences.index))
    days = plan.sends.groupby("mailbox_id")["send_day"].nunique()
    in_use = plan.capacity["mailbox_id"].map(days).fillna(0).astype("int64")
    mailboxes = add_use(plan.capacity.assign(days=in_use))
    unplaced = plan.unplaced.groupby("reason").size().rename("emails").reset_index()
    totals = {
        "method": plan.method,
        "status": plan.status,
        "horizon_end": plan.horizon_end,
        "emails": len(plan.sends),
        "unplaced": len(plan.unplaced),
        "blocked": plan.blocked,
        "cost": plan.cost,
        "lower_bound": plan.lower_bound,
        "gap": plan.gap,
        "late_follow_ups": plan.late_follow_ups,
        "slip_days": plan.slip_days,
        "finish_day": plan.finish_day,
        "moved": plan.moved,
        "unavoidable": plan.unavoidable,
    }
    return Summary(totals, plan.as_of, plan.stopped, sequences.reset_index(), mailboxes, unplaced)
