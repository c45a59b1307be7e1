"""The capacity that is needed: what is enough, and what is proven not to be."""

import datetime as dt
from dataclasses import dataclass, field

import pandas as pd

from sendplan.planner.changes import Change
from sendplan.planner.plan.plan import Plan
from sendplan.planner.schema.wording import counted
from sendplan.planner.studies.capacity_bounds import Obstacle


@dataclass(frozen=True, eq=False)
class CapacityNeed:
    """Capacity that a target needs; shows as a sentence.

    Parameters
    ----------
    of : str
        ``"mailboxes"``: numbers are new mailboxes; ``"capacity"``: percent of today's capacities.
    finish_by : date
        The day by which every email must have left.
    max_late : int or None
        Most late follow-ups; None if their number does not matter.
    needed : int or None
        A number that is enough, as `plan` shows; None if none was found.
    at_least : int or None
        Lower bound: less is proven not to be enough; None if no number is.
    daily_capacity : int or None
        Emails a day of each new mailbox.
    obstacle : Obstacle or None
        Why no number is enough.
    changes : tuple of Change
        Changes of the problem that `plan` is a plan of.
    plan : Plan or None
        The plan.
    pools : DataFrame or None
        By pool of sequences that share mailboxes: sequences, mailboxes (new ones) and at_least.
    """

    of: str
    finish_by: dt.date
    max_late: int | None
    needed: int | None
    at_least: int | None
    daily_capacity: int | None = None
    obstacle: Obstacle | None = None
    changes: tuple[Change, ...] = ()
    plan: Plan | None = field(default=None, repr=False)
    pools: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def proven(self) -> bool:
        """Whether less than `needed` is proven not to be enough, or no number is."""
        return self.at_least is None or self.needed == self.at_least

    @property
    def verdict(self) -> str:
        """The answer in words."""
        late = ""
        if self.max_late is not None:
            late = f" with at most {counted(self.max_late, 'late follow-up')}"
            if self.max_late == 0:
                late = " with no late follow-up"
        goal = f"to finish by {self.finish_by:%d %b %Y}{late}"
        if self.obstacle is not None:
            what = "number of mailboxes is" if self.of == "mailboxes" else "capacity is"
            return f"No {what} enough {goal}: {self.obstacle.text}."
        if self.needed is None:
            tried = f"No plan was found {goal}"
            if not self.at_least:
                return f"{tried}, and no bound shows that there is none."
            return f"{tried}; {self._too_little(self.at_least)}."
        if self.of == "mailboxes" and self.needed == 0:
            return f"The mailboxes that are there are enough {goal}."
        verb = "is" if self.of == "mailboxes" and self.needed == 1 else "are"
        text = f"{self._size(self.needed)} {verb} enough {goal}; "
        if self.proven:
            return f"{text}less is proven not to be enough."
        if not self.at_least:
            return f"{text}no bound shows whether less is."
        return f"{text}{self._too_little(self.at_least)}."

    def _too_little(self, at_least: int) -> str:
        return f"less than {self._size(at_least)} is proven not to be enough"

    def _size(self, number: int) -> str:
        if self.of == "capacity":
            return f"{number}% of today's capacities"
        return f"{counted(number, 'more mailbox')} of {self.daily_capacity} emails a day"

    def __repr__(self) -> str:
        """Return the answer in words."""
        return self.verdict
