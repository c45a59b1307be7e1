"""Errors of commands, each with its exit code."""

from collections.abc import Iterable, Sequence

from sendplan.planner.schema.errors import SHOWN, Fault
from sendplan.planner.schema.wording import counted


class SendplanError(Exception):
    """Base of every error that sendplan raises on purpose.

    Attributes
    ----------
    exit_code : int
        The command line's exit code when the error ends a command.
    """

    exit_code = 1


class DataError(SendplanError):
    """Input that cannot be used, with every offender at once.

    Parameters
    ----------
    faults : iterable of Fault, or str
        All that were found. A text is a single fault without a place.
    subject : str
        The file or table, for the first line of the message.

    Attributes
    ----------
    faults : tuple of Fault
    subject : str
    """

    exit_code = 3

    def __init__(self, faults: Iterable[Fault] | str, subject: str = "") -> None:
        found = [Fault("", faults)] if isinstance(faults, str) else faults
        self.faults: Sequence[Fault] = tuple(found)
        self.subject = subject
        super().__init__(self.report(SHOWN))

    def report(self, limit: int | None = None) -> str:
        """Return the faults as text, one a line.

        Parameters
        ----------
        limit : int, optional
            The most faults to spell out; the rest are counted.
        """
        shown = self.faults if limit is None else self.faults[:limit]
        lines = [str(fault) for fault in shown]
        hidden = len(self.faults) - len(shown)
        if hidden:
            lines.append(f"… and {hidden:,} more")
        if self.subject:
            lines.insert(0, f"{self.subject}: {counted(len(self.faults), 'problem')}")
        return "\n".join(lines)


class DatabaseError(SendplanError):
    """The database cannot be reached, is too old, lacks the schema, or refused a statement."""

    exit_code = 4
