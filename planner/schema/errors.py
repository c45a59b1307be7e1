"""Errors of the planner: what is wrong with the data, where, and how to mend it."""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 5
"""How many offenders a message names before it only counts them."""


@dataclass(frozen=True)
class Fault:
    """One broken rule in the input, with everything that breaks it.

    Parameters
    ----------
    where : str
        The frame and column, such as ``"steps.wait_days"``.
    rule : str
        What must hold, as a sentence.
    offenders : sequence of str
        The offending rows or values, as a reader would look them up.
    remedy : str
        What to do about it.
    """

    where: str
    rule: str
    offenders: Sequence[str]
    remedy: str

    def __str__(self) -> str:
        """Name the rule, count the offenders, show the first five, say what to do."""
        count = len(self.offenders)
        shown = ", ".join(self.offenders[:SHOWN])
        more = f", and {count - SHOWN} more" if count > SHOWN else ""
        found = f" ({count}: {shown}{more})" if count else ""
        return f"{self.where}: {self.rule}{found}. {self.remedy}"


class ProblemError(ValueError):
    """The frames do not describe a problem that can be planned.

    Parameters
    ----------
    faults : sequence of Fault
        Every broken rule that was found.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class MethodError(ValueError):
    """A planning method or parameter was asked for that does not exist."""
