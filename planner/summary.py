"""A plan in figures that a person understands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from sendplan.planner.plan import Plan


@dataclass(frozen=True)
class Summary:
    """What a plan amounts to.

    Parameters
    ----------
    totals : dict
        Headline figures under the keys of SPEC §7.
    verdict : str
        What the gap means, in words.
    sequences : DataFrame
        By sequence: name, contacts, emails, finish_day, late_follow_ups, cost.
    mailboxes : DataFrame
        By mailbox: email, planned, days in use, capacity and use over the plan's days.
    unplaced : DataFrame
        Emails without a slot, by reason.
    """

    totals: dict[str, Any]
    verdict: str
    sequences: pd.DataFrame
    mailboxes: pd.DataFrame
    unplaced: pd.DataFrame

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


def summarise(plan: "Plan") -> Summary:
    """Work out a plan's figures.

    Parameters
    ----------
    plan : Plan
        The plan.

    Returns
    -------
    Summary
        Totals and tables.
    """
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
    mailboxes = plan.capacity.assign(
        days=plan.capacity["mailbox_id"].map(days).fillna(0).astype("int64"),
        use=(plan.capacity["planned"] / plan.capacity["capacity"]).where(
            plan.capacity["capacity"] > 0, 0.0
        ),
    )
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
    return Summary(totals, plan.verdict, sequences.reset_index(), mailboxes, unplaced)
