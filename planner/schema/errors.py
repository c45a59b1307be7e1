"""Errors of the planner: what is wrong with the data, where, and how to mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

SHOWN = 5
"""How many offenders a message names before it only counts them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule in the input, with everything that breaks it.

    Parameters
    ----------
    where : str
        Frame and column, such as ``"steps.wait_days"``, or file, line and column, or table and
        id; empty where it goes without saying.
    rule : str
        What must hold, or what is wrong instead.
    remedy : str
        What to do about it; empty where `rule` says it all.
    offenders : sequence of str
        The offending rows or values, as a reader would look them up.
    """

    where: str
    rule: str
    remedy: str = ""
    offenders: Sequence[str] = ()

    def within(self, place: str) -> "Fault":
        """Return the same fault with a wider place in front of where it is."""
        return replace(self, where=", ".join(filter(None, (place, self.where))))

    def __str__(self) -> str:
        """Name the rule, count the offenders, show the first five, say what to do."""
        count = len(self.offenders)
        shown = ", ".join(self.offenders[:SHOWN])
        more = f", and {count - SHOWN} more" if count > SHOWN else ""
        found = f" ({count}: {shown}{more})" if count else ""
        text = f"{self.where}: {self.rule}{found}" if self.where else f"{self.rule}{found}"
        return f"{text} – {self.remedy}" if self.remedy else text


class ProblemError(ValueError):
    """The frames do not describe a problem that can be planned.

    Parameters
    ----------
    faults : iterable of Fault
        Every broken rule that was found.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class MethodError(ValueError):
    """A planning method or parameter was asked for that does not exist."""
