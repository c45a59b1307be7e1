"""The parameters of a plan, as one validated value."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sendplan.planner.schema.errors import MethodError
from sendplan.planner.schema.vocabulary import (
    DEFAULT_GAP,
    DEFAULT_SLIP_WEIGHT,
    DEFAULT_TIME_LIMIT,
    DEFAULT_WORKERS,
    MAX_HORIZON_DAYS,
)

MAX_SEED = 2**31 - 1
MAX_WORKERS = 1_024
METHODS = ("auto", "greedy", "cpsat")

THREADS = "sendplan-worker"
"""Prefix of the names of threads that work for a plan."""


@dataclass(frozen=True)
class Parameters:
    """How to plan.

    Parameters
    ----------
    method : str
        One of `METHODS`: ``greedy`` looks ahead but never back; ``auto`` and ``cpsat`` improve its
        plan by relaxation and CP-SAT, ``auto`` until the gap is reached, ``cpsat`` as far as it
        goes.
    time_limit : float
        Seconds of work, on one core, that a method may spend on improving its plan; the greedy
        spends none. Work is counted, not timed, so that the plan is the same on every machine.
    horizon_days : int or None
        Last day that may be used, in days after today's UTC date; None: as far as needed.
    slip_weight : float
        What a day of slip costs, in days of lateness.
    one_a_day : bool
        Whether a contact gets at most one email a day, over all its enrollments.
    seed : int
        Seed of whatever a method draws; the greedy draws nothing.
    gap : float
        Part of its cost by which a plan may be above the lower bound when ``auto`` stops.
    workers : int
        How many tasks run side by side; the plan does not depend on it.
    change_weight : float
        What it costs to move an email to another day or mailbox than its existing slot's, in days
        of lateness; with 0 emails move wherever that makes the plan cheaper.
    """

    method: str = "auto"
    time_limit: float = DEFAULT_TIME_LIMIT
    horizon_days: int | None = None
    slip_weight: float = DEFAULT_SLIP_WEIGHT
    one_a_day: bool = True
    seed: int = 0
    gap: float = DEFAULT_GAP
    workers: int = DEFAULT_WORKERS
    change_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no plan can be made with.

        Raises
        ------
        MethodError
            Naming the parameter, its value and what is allowed.
        """
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise MethodError(f"{name} is {value!r}; it must be {_NAMES[kinds[0]]}")
        if self.method not in METHODS:
            raise MethodError(f"method {self.method!r} is unknown; use one of {', '.join(METHODS)}")
        if not 0 <= self.time_limit < float("inf"):
            raise MethodError(f"time_limit is {self.time_limit}; it must be 0 or more seconds")
        for name in ("slip_weight", "change_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise MethodError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.gap < 1:
            raise MethodError(f"gap is {self.gap}; it must be 0 or more, and below 1")
        for name, least, most in (
            ("horizon_days", 0, MAX_HORIZON_DAYS),
            ("seed", 0, MAX_SEED),
            ("workers", 1, MAX_WORKERS),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise MethodError(f"{name} is {value}; it must lie between {least} and {most}")


def named_parameters(given: Mapping[str, Any]) -> Parameters:
    """Return parameters from their names.

    Raises
    ------
    MethodError
        If one does not exist or is out of range.
    """
    known = sorted(field.name for field in fields(Parameters))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise MethodError(
            f"{', '.join(unknown)} is no parameter of a plan; use any of {', '.join(known)}"
        )
    return Parameters(**given)


_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "time_limit": (float, int),
    "horizon_days": (int, type(None)),
    "slip_weight": (float, int),
    "one_a_day": (bool,),
    "seed": (int,),
    "gap": (float, int),
    "workers": (int,),
    "change_weight": (float, int),
}
_NAMES = {str: "a word", float: "a number", int: "a whole number", bool: "true or false"}
