"""The context of explanations: a problem and the slots of a plan as arrays."""

import datetime as dt
from functools import cached_property

import holidays
import numpy as np
import pandas as pd

from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.reading import email_numbers, read_plan
from sendplan.planner.problem.enrollment_state import EnrollmentState, enrollment_state
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.replanning.chain_insertion import ChainInsertion
from sendplan.planner.schema import dates
from sendplan.planner.schema.readers import microseconds
from sendplan.planner.schema.vocabulary import GRACE_SECONDS


class ExplanationContext:
    """A problem, and the slots of a plan of it.

    Parameters
    ----------
    problem : Problem
        The problem.
    sends : DataFrame
        Slots, as in ``Plan.sends``. Those of emails that are not planned are ignored, and so are
        overdue ones, which no dispatcher takes.
    parameters : Parameters
        Planning parameters.

    Attributes
    ----------
    instance, limits, state
        The problem as methods see it.
    day : ndarray of int, shape (emails,)
        Day of each email, `NONE` where it has no slot.
    mailbox : ndarray of int, shape (chains,)
        Mailbox of each chain, `NONE` where it has none.
    second : ndarray of int64, shape (emails,)
        Second at which each email leaves.
    overdue : ndarray of bool, shape (emails,)
        Whether its slot has passed so long ago.
    """

    def __init__(self, problem: Problem, sends: pd.DataFrame, parameters: Parameters) -> None:
        self.problem, self.parameters = problem, parameters
        self.instance: Instance = build_instance(problem)
        self.limits: Limits = limits_of(self.instance, parameters)
        email = email_numbers(self.instance, sends["enrollment_id"], sends["step_id"])
        known = email != NONE
        grace = GRACE_SECONDS * dates.SECOND
        passed = known & (microseconds(sends["send_at"]) < problem.now - grace)
        self.overdue = np.zeros(len(self.instance.emails), dtype=bool)
        self.overdue[email[passed]] = True
        found = read_plan(self.instance, sends[known & ~passed])
        self.placement, self.second = found.placement, found.at
        self.day, self.mailbox = found.placement.day, found.placement.mailbox

    @cached_property
    def state(self) -> EnrollmentState:
        """State of each enrollment."""
        return enrollment_state(self.problem)

    @cached_property
    def insertion(self) -> ChainInsertion:
        """Insertion of single chains into the plan; users must restore its state."""
        return ChainInsertion(self.instance, self.limits, self.parameters, self.placement)

    @cached_property
    def planned(self) -> np.ndarray:
        """Slots by mailbox and day."""
        return self.placement.load(self.instance)

    @cached_property
    def positions(self) -> np.ndarray:
        """Position of each live step."""
        return np.asarray(self.problem.live_steps["position"].to_numpy())

    @cached_property
    def _names(self) -> list[str]:
        rows = zip(self.problem.sequences["id"], self.problem.sequences["name"], strict=True)
        return [name if isinstance(name, str) else f"sequence {key}" for key, name in rows]

    def date(self, day: int) -> dt.date:
        """Return the date of a day index."""
        return dates.to_date(int(day) + self.problem.horizon.origin)

    def index(self, date: dt.date) -> int:
        """Return the day index of a date."""
        return dates.to_day(date) - self.problem.horizon.origin

    def moment(self, microseconds: int) -> dt.datetime:
        """Return a point in time, aware, in UTC."""
        return dt.datetime.fromtimestamp(int(microseconds) // dates.SECOND, dt.UTC)

    def step(self, email: int) -> tuple[int, int]:
        """Return the id and the position of an email's step."""
        place = int(self.instance.stages.step[self.instance.emails.stage[email]])
        return int(self.problem.live_steps["id"].iloc[place]), int(self.positions[place])

    def enrollment_id(self, email: int) -> int:
        """Return the id of an email's enrollment."""
        place = self.instance.chains.enrollment[self.instance.emails.chain[email]]
        return int(self.problem.enrollments["id"].iloc[int(place)])

    def sequence(self, email: int) -> int:
        """Return the place of an email's sequence."""
        return int(self.instance.stages.sequence[self.instance.emails.stage[email]])

    def sequence_name(self, sequence: int) -> str:
        """Return the name of a sequence."""
        return self._names[sequence]

    def mailbox_name(self, mailbox: int) -> str:
        """Return the name of a mailbox."""
        row = self.problem.mailboxes.iloc[mailbox]
        return str(row["email"]) if isinstance(row["email"], str) else f"mailbox {row['id']}"

    def why_closed(self, sequence: int, date: dt.date) -> str | None:
        """Return why a date is no sending day of a sequence; None if it is one."""
        row = self.problem.sequences.iloc[sequence]
        if date.isoweekday() not in row["send_days"]:
            return f"{date:%A}"
        country = row["holidays"]
        if isinstance(country, str):
            free = holidays.country_holidays(country, years=date.year, language="en_US")
            if date in free:
                return str(free[date])
        if dates.to_day(date) in self.problem.days_off_of(int(row["id"])):
            return "day off"
        return None
