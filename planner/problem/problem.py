"""The problem: validated frames and the moment of planning."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from sendplan.planner.schema import dates
from sendplan.planner.schema.contracts import CONTRACTS, Columns, rows_named, validate
from sendplan.planner.schema.errors import Fault, ProblemError
from sendplan.planner.schema.known_names import country_faults, zone_faults
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import MAX_STEPS, EmailStatus

OPTIONAL = ("scheduled_emails", "used", "contact_days", "days_off")
SORTED_BY = {
    "sequences": ["id"],
    "steps": ["id"],
    "mailboxes": ["id"],
    "sequence_mailboxes": ["sequence_id", "mailbox_id"],
    "enrollments": ["id"],
    "scheduled_emails": ["enrollment_id", "step_id", "id"],
    "used": ["mailbox_id", "send_day"],
    "contact_days": ["contact_id", "send_day"],
    "days_off": ["sequence_id", "day"],
}

Frames = dict[str, Any]
"""DataFrames by the name that a problem has for them."""


@runtime_checkable
class Revision(Protocol):
    """What `Problem.with_` asks of a change."""

    def revise(self, problem: "Problem") -> Frames:
        """Return the frames that the change makes anew."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The frames to plan and the moment of planning; build one with `from_frames`.

    Parameters
    ----------
    sequences, steps, mailboxes, sequence_mailboxes, enrollments : DataFrame
        Canonical frames, see `sendplan.planner.schema.contracts`.
    scheduled_emails, used, contact_days, days_off : DataFrame
        Canonical as well; empty where nothing was handed in.
    now : int
        Microseconds since 1970-01-01 UTC.
    """

    sequences: pd.DataFrame
    steps: pd.DataFrame
    mailboxes: pd.DataFrame
    sequence_mailboxes: pd.DataFrame
    enrollments: pd.DataFrame
    scheduled_emails: pd.DataFrame
    used: pd.DataFrame
    contact_days: pd.DataFrame
    days_off: pd.DataFrame
    now: int

    @classmethod
    def from_frames(
        cls,
        *,
        sequences: pd.DataFrame,
        steps: pd.DataFrame,
        mailboxes: pd.DataFrame,
        sequence_mailboxes: pd.DataFrame,
        enrollments: pd.DataFrame,
        now: dt.datetime | pd.Timestamp | str,
        scheduled_emails: pd.DataFrame | None = None,
        used: pd.DataFrame | None = None,
        contact_days: pd.DataFrame | None = None,
        days_off: pd.DataFrame | None = None,
    ) -> "Problem":
        """Check frames with the columns of the tables and make a problem of them.

        Parameters
        ----------
        sequences, steps, mailboxes, sequence_mailboxes : DataFrame
            The tables (io/README.md); a column left out takes the table's default.
        enrollments : DataFrame
            The table, with contact_timezone (or null), last_sent_day, and optionally contact_id
            and suppressed_at. Rows that are not active or have no step left are ignored.
        now : aware datetime
            The moment of planning; naive values are refused.
        scheduled_emails : DataFrame, optional
            History, rows in flight, existing slots and days already used.
        used : DataFrame, optional
            Further use of mailbox-days: mailbox_id, send_day, used.
        contact_days : DataFrame, optional
            Days on which contacts get emails that are not in this problem: contact_id, send_day.
        days_off : DataFrame, optional
            Dates on which a sequence does not send, besides holidays: sequence_id, day.

        Returns
        -------
        Problem
            Checked once; everything behind it trusts it.

        Raises
        ------
        ProblemError
            Naming every broken rule, its offenders and the remedy.
        ValueError
            If `now` carries no time zone.
        """
        tables = {
            "sequences": sequences,
            "steps": steps,
            "mailboxes": mailboxes,
            "sequence_mailboxes": sequence_mailboxes,
            "enrollments": enrollments,
            "scheduled_emails": scheduled_emails,
            "used": used,
            "contact_days": contact_days,
            "days_off": days_off,
        }
        return cls.from_tables(tables, now)

    @classmethod
    def from_tables(
        cls,
        tables: Mapping[str, pd.DataFrame | Columns | None],
        now: dt.datetime | pd.Timestamp | str,
    ) -> "Problem":
        """Make a problem of frames, and of columns that are canonical already.

        Parameters
        ----------
        tables : mapping
            What `from_frames` takes, by name: frames such as users have, or `Columns`, which are
            taken over without a copy.
        now : aware datetime
            The moment of planning.

        Returns
        -------
        Problem
            The one that `from_frames` makes of the same rows.

        Raises
        ------
        ProblemError
            Naming every broken rule, its offenders and the remedy.
        TypeError
            If what is handed in as `Columns` is not canonical.
        ValueError
            If `now` carries no time zone.
        """
        frames: dict[str, pd.DataFrame] = {}
        faults: list[Fault] = []
        for name in SORTED_BY:
            table: Any = tables.get(name)
            if table is None and name in OPTIONAL:
                table = pd.DataFrame({column: [] for column in CONTRACTS[name]}, dtype=object)
            try:
                frames[name] = _in_order(name, validate(name, table))
            except ProblemError as error:
                faults.extend(error.faults)
        if faults:
            raise ProblemError(faults)
        problem = cls(now=dates.to_microseconds(now), **frames)
        if faults := list(_contradictions(problem)):
            raise ProblemError(faults)
        return problem

    def with_(self, *changes: Revision) -> "Problem":
        """Return the problem as it is after some changes, one after the other.

        Parameters
        ----------
        *changes : Change
            Values of `sendplan.changes`, such as ``RemoveMailbox(5)``, in their order: a later one
            may name what an earlier one has added.

        Returns
        -------
        Problem
            This one stays as it is; frames that no change touches are shared with it.

        Raises
        ------
        ProblemError
            If a change names what does not exist, or does not fit what is there.
        TypeError
            If something is no change.
        """
        problem = self
        for change in changes:
            if not isinstance(change, Revision):
                raise TypeError(f"{change!r} is no change; use one such as RemoveMailbox(5)")
            problem = replace(problem, **change.revise(problem))
        return problem

    @property
    def now_at(self) -> pd.Timestamp:
        """The moment of planning, as an aware timestamp in UTC."""
        return pd.Timestamp(self.now, unit="us", tz="UTC")

    @cached_property
    def horizon(self) -> dates.Horizon:
        """The days that a plan may use."""
        return dates.Horizon.at(self.now)

    def days_off_of(self, sequence_id: int) -> tuple[int, ...]:
        """Return a sequence's days off, in days since 1970-01-01, ascending."""
        own = self.days_off["day"][(self.days_off["sequence_id"] == sequence_id).to_numpy()]
        return tuple(int(day) for day in own)

    @cached_property
    def live_steps(self) -> pd.DataFrame:
        """Steps that still exist, in order of sequence and position."""
        live = (self.steps["position"] != NULL) & (self.steps["removed_at"] == NULL)
        return self.steps[live].sort_values(["sequence_id", "position"], ignore_index=True)


def _in_order(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a frame, so that the order in which rows were handed in means nothing."""
    columns = SORTED_BY[name]
    level = np.ones(max(len(frame) - 1, 0), dtype=bool)
    for column in columns:
        values = frame[column].to_numpy()
        if (level & (values[1:] < values[:-1])).any():
            return frame.sort_values(columns, ignore_index=True)
        level &= values[1:] == values[:-1]
    return frame


def _contradictions(problem: Problem) -> Iterator[Fault]:
    """Yield what is wrong between columns and between frames."""
    for name in ("sequences", "steps", "mailboxes", "enrollments"):
        frame: pd.DataFrame = getattr(problem, name)
        yield from _broken(
            frame, frame.duplicated("id"), f"{name}.id", "must be unique", "drop one"
        )
    yield from _unknown_references(problem)
    yield from _sequence_faults(problem)
    steps = problem.live_steps
    yield from _broken(
        steps,
        steps.duplicated(["sequence_id", "position"]),
        "steps.position",
        "must be unique within a sequence",
        "number the steps 1, 2, 3 …; a removed step has no position",
    )
    enrollments = problem.enrollments
    known = enrollments["contact_id"] != NULL
    yield from _broken(
        enrollments,
        known & enrollments.duplicated(["contact_id", "sequence_id"]),
        "enrollments",
        "a contact is enrolled in a sequence once",
        "keep one enrollment of each pair",
    )
    emails = problem.scheduled_emails
    live = emails[(emails["status"] != EmailStatus.CANCELLED).to_numpy()]
    yield from _broken(
        live,
        live.duplicated(["enrollment_id", "step_id"]),
        "scheduled_emails",
        "an enrollment has one row a step that is not cancelled",
        "cancel the others",
    )


def _broken(
    frame: pd.DataFrame, bad: pd.Series, where: str, rule: str, remedy: str
) -> Iterator[Fault]:
    """Yield the fault of the rows that break a rule, if there are any."""
    if bad.any():
        yield Fault(where, rule, remedy, rows_named(frame, bad.to_numpy()))


REFERENCES = (
    ("steps", "sequence_id", "sequences"),
    ("sequence_mailboxes", "sequence_id", "sequences"),
    ("sequence_mailboxes", "mailbox_id", "mailboxes"),
    ("enrollments", "sequence_id", "sequences"),
    ("days_off", "sequence_id", "sequences"),
    ("enrollments", "mailbox_id", "mailboxes"),
    ("enrollments", "current_step_id", "steps"),
)


def _unknown_references(problem: Problem) -> Iterator[Fault]:
    for name, column, target in REFERENCES:
        frame: pd.DataFrame = getattr(problem, name)
        known = getattr(problem, target)["id"].to_numpy()
        values = frame[column].to_numpy()
        lost = (values != NULL) & ~np.isin(values, known)
        if lost.any():
            yield Fault(
                f"{name}.{column}",
                f"names rows that {target} does not have",
                f"add them to {target} or correct {column}",
                [f"{value}" for value in pd.unique(values[lost])],
            )


def _sequence_faults(problem: Problem) -> Iterator[Fault]:
    sequences = problem.sequences
    yield from _broken(
        sequences,
        sequences["end_time"] <= sequences["start_time"],
        "sequences.end_time",
        "must be after start_time",
        "a window lies within one day; swap or correct the two",
    )
    for name, column in (("sequences", "timezone"), ("enrollments", "contact_timezone")):
        yield from zone_faults(f"{name}.{column}", getattr(problem, name)[column])
    yield from country_faults("sequences.holidays", sequences["holidays"])
    counts = problem.live_steps.groupby("sequence_id").size()
    if (many := counts[counts > MAX_STEPS]).size:
        yield Fault(
            "steps",
            f"a sequence has at most {MAX_STEPS} steps",
            "split the sequence",
            [f"sequence {key}" for key in many.index],
        )
