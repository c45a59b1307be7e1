"""The parameters of a plan, as one validated value."""

from dataclasses import dataclass

from sendplan.planner.errors import MethodError
from sendplan.planner.vocabulary import (
    DEFAULT_SLIP_WEIGHT,
    DEFAULT_TIME_LIMIT,
    MAX_HORIZON_DAYS,
)

METHODS = ("auto", "greedy")


@dataclass(frozen=True)
class Parameters:
    """How to plan.

    Parameters
    ----------
    method : str
        One of `METHODS`; ``auto`` is the greedy until there is a better one.
    time_limit : float
        Seconds that a method may spend on improving its plan; the greedy needs none.
    horizon_days : int or None
        Last day that may be used, in days after today's UTC date; None: as far as needed.
    slip_weight : float
        What a day of slip costs, in days of lateness.
    one_a_day : bool
        Whether a contact gets at most one email a day, over all its enrollments.
    seed : int
        Seed of whatever a method draws; the greedy draws nothing.
    """

    method: str = "auto"
    time_limit: float = DEFAULT_TIME_LIMIT
    horizon_days: int | None = None
    slip_weight: float = DEFAULT_SLIP_WEIGHT
    one_a_day: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no plan can be made with.

        Raises
        ------
        MethodError
            Naming the parameter, its value and what is allowed.
        """
        if self.method == "cpsat":
            raise MethodError(
                "method 'cpsat' does not exist yet; use 'greedy', or 'auto', which is the greedy"
            )
        if self.method not in METHODS:
            raise MethodError(f"method {self.method!r} is unknown; use one of {', '.join(METHODS)}")
        if not 0 <= self.time_limit < float("inf"):
            raise MethodError(f"time_limit is {self.time_limit}; it must be 0 or more seconds")
        if not 0 <= self.slip_weight < float("inf"):
            raise MethodError(f"slip_weight is {self.slip_weight}; it must be 0 or more")
        if self.horizon_days is not None and not 0 <= self.horizon_days <= MAX_HORIZON_DAYS:
            raise MethodError(
                f"horizon_days is {self.horizon_days}; it must lie between 0 and {MAX_HORIZON_DAYS}"
            )
