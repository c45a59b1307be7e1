"""What can go wrong at the boundary, each with the exit code the command line gives it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 5
"""How many problems an error message spells out; the error itself carries all of them."""


class SendplanError(Exception):
    """Base of every error that sendplan raises on purpose.

    Attributes
    ----------
    exit_code : int
        What the command line exits with when the error ends a command.
    """

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with some input.

    Parameters
    ----------
    where : str
        File and line, column, or table and id.
    what : str
        The rule that is broken, with the offending value.
    remedy : str
        What the reader can do about it; may be empty where `what` says it all.
    """

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the problem as one line of a report."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} – {self.remedy}" if self.remedy else text


class DataError(SendplanError):
    """Input that cannot be used, with every offender at once.

    Parameters
    ----------
    problems : iterable of Problem, or str
        All problems found. A bare text is taken as a single problem without a place.
    subject : str
        What was read, for the first line of the message: a file name, a table.

    Attributes
    ----------
    problems : tuple of Problem
    subject : str
    """

    exit_code = 3

    def __init__(self, problems: Iterable[Problem] | str, subject: str = "") -> None:
        found = [Problem("", problems)] if isinstance(problems, str) else problems
        self.problems: Sequence[Problem] = tuple(found)
        self.subject = subject
        super().__init__(self.report(SHOWN_PROBLEMS))

    def report(self, limit: int | None = None) -> str:
        """Return the problems as text, one a line.

        Parameters
        ----------
        limit : int, optional
            The most problems to spell out; the rest are counted.
        """
        shown = self.problems if limit is None else self.problems[:limit]
        lines = [str(problem) for problem in shown]
        hidden = len(self.problems) - len(shown)
        if hidden:
            lines.append(f"… and {hidden:,} more")
        if self.subject:
            count = len(self.problems)
            lines.insert(0, f"{self.subject}: {count:,} problem{'' if count == 1 else 's'}")
        return "\n".join(lines)


class DatabaseError(SendplanError):
    """The database cannot be reached, is too old, lacks the schema, or refused a statement."""

    exit_code = 4
