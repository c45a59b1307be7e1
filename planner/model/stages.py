"""Stages: the points in a sequence at which chains can stand.

A stage is a tail of steps that are still to be sent. Chains at one stage are interchangeable but
for their ready day and mailbox; with those they form a cohort. Days are indices of the `Horizon`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.model.grouping import next_true
from sendplan.planner.problem.enrollment_state import EnrollmentState
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.dates import DAY, SendingDays
from sendplan.planner.schema.readers import NULL

NONE = -1
"""No mailbox, no day, no stage."""


@dataclass(frozen=True)
class Stages:
    """Tails of sequences; the last index of day tables is the horizon's `beyond`.

    Parameters
    ----------
    sequence, step : ndarray of int, shape (stages,)
        Place of the sequence, and of the next step to be sent among the live steps.
    following : ndarray of int, shape (stages,)
        The stage after that step has been sent, or `NONE`.
    remaining : ndarray of int, shape (stages,)
        Emails still to be sent, this one included.
    is_first : ndarray of bool, shape (stages,)
        Whether the email is the first that its enrollment gets.
    path : ndarray of int, shape (stages, most remaining)
        The stages that a chain runs through, `NONE` past its end.
    ready : ndarray of int, shape (stages, days)
        Ready day of this stage's email, by the day of the email before it.
    sends : ndarray of bool, shape (stages, days)
        Whether the day is a sending day of the sequence.
    """

    sequence: np.ndarray
    step: np.ndarray
    following: np.ndarray
    remaining: np.ndarray
    is_first: np.ndarray
    path: np.ndarray
    ready: np.ndarray
    sends: np.ndarray

    def next_sending_day(self) -> np.ndarray:
        """Return, by stage and day, the first sending day on or after it; shape like `sends`."""
        return next_true(self.sends)

    def ready_by(self, stage: np.ndarray, ready: np.ndarray, last: int) -> np.ndarray:
        """Count the emails that are ready by a day, were each to leave on its ready day.

        Parameters
        ----------
        stage, ready : ndarray of int, shape (chains,)
            Where chains stand, and when their next email is ready.
        last : int
            The day.

        Returns
        -------
        ndarray of int, shape (chains,)
            Emails of each chain, from its next one on.
        """
        count = (ready <= last).astype(np.int64)
        for column in range(1, self.path.shape[1]):
            following = self.path[stage, column]
            ready = self.ready[following, ready]
            count += (following != NONE) & (ready <= last)
        return count


def first_steps(remaining: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Keep the first steps of tails.

    Parameters
    ----------
    remaining : ndarray of int64, shape (chains,)
        Steps still to be sent, as bits.
    count : ndarray of int, shape (chains,)
        How many of them to keep.

    Returns
    -------
    ndarray of int64, shape (chains,)
        Those steps, as bits.
    """
    rest = remaining
    for taken in range(int(count.max(initial=0))):
        rest = np.where(taken < count, rest & (rest - 1), rest)
    return np.asarray(remaining & ~rest)


def calendars_of(problem: Problem, state: EnrollmentState, order: np.ndarray) -> list[SendingDays]:
    """Return the sending days of each sequence, from the oldest day that a wait runs from."""
    horizon = problem.horizon
    previous = state.previous_day[order]
    enrolled = problem.enrollments["enrolled_at"].to_numpy()[order] // DAY - 1
    # Where the day of the step before is unknown, the wait runs from the enrolment.
    begun = np.where(state.received_any[order], enrolled, horizon.origin)
    oldest = np.where(previous != NULL, previous, begun)
    first = int(min(oldest.min(initial=horizon.origin), horizon.origin))
    distinct: dict[tuple[tuple[int, ...], str | None, tuple[int, ...]], SendingDays] = {}
    calendars = []
    last = horizon.origin + horizon.last
    for sequence_id, weekdays, country in zip(
        *(problem.sequences[name] for name in ("id", "send_days", "holidays")), strict=True
    ):
        key = (weekdays, country, problem.days_off_of(sequence_id))
        if key not in distinct:
            distinct[key] = SendingDays(weekdays, country, first, last, key[2])
        calendars.append(distinct[key])
    return calendars


def stages_of(
    problem: Problem,
    state: EnrollmentState,
    sequence: np.ndarray,
    order: np.ndarray,
    calendars: list[SendingDays],
) -> tuple[np.ndarray, Stages]:
    """Find the stages at which chains stand, and those that they will come to.

    Parameters
    ----------
    problem : Problem
        Steps and waits.
    state : EnrollmentState
        What each enrollment has still to get.
    sequence : ndarray of int, shape (enrollments,)
        Place of each enrollment's sequence.
    order : ndarray of int
        Places of the enrollments to plan.
    calendars : list of SendingDays
        By sequence.

    Returns
    -------
    ndarray of int
        The stage of each enrollment in `order`.
    Stages
        All of them.
    """
    horizon = problem.horizon
    steps = problem.live_steps
    begins = np.searchsorted(steps["sequence_id"].to_numpy(), problem.sequences["id"].to_numpy())
    keys = pd.DataFrame(
        {
            "sequence": sequence[order],
            "later": state.received_any[order],
            "remaining": state.remaining[order],
        }
    )
    codes, distinct = pd.factorize(pd.MultiIndex.from_frame(keys), sort=True)
    tails = [(int(place), bool(later), int(mask)) for place, later, mask in distinct]
    number = {tail: stage for stage, tail in enumerate(tails)}
    following: list[int] = []
    for place, _later, mask in tails:  # grows while it is walked: each tail adds the next one
        rest = (place, True, mask & (mask - 1))
        if rest[2] and rest not in number:
            number[rest] = len(tails)
            tails.append(rest)
        following.append(number[rest] if rest[2] else NONE)

    count = len(tails)
    lowest = [begins[place] + (mask & -mask).bit_length() - 1 for place, _, mask in tails]
    step = np.array(lowest, dtype=np.int64)
    remaining = np.array([mask.bit_count() for _, _, mask in tails], dtype=np.int64)
    path = np.full((count, int(remaining.max(initial=1))), NONE)
    path[:, 0] = np.arange(count)
    next_of = np.append(np.array(following, dtype=np.int64), NONE)
    for column in range(1, path.shape[1]):
        path[:, column] = next_of[path[:, column - 1]]

    days = horizon.origin + np.arange(horizon.size)
    waits = steps["wait_days"].to_numpy()
    units = problem.sequences["wait_unit"].to_numpy()
    ready = np.empty((count, horizon.size), dtype=np.int64)
    sends = np.zeros((count, horizon.size), dtype=bool)
    for index, (place, _later, _mask) in enumerate(tails):
        calendar = calendars[place]
        ready[index] = calendar.after_wait(days, waits[step[index]], units[place])
        sends[index, :-1] = calendar.sends[horizon.origin - calendar.first :]
    return codes, Stages(
        sequence=np.array([place for place, _, _ in tails], dtype=np.int64),
        step=step,
        following=next_of[:-1],
        remaining=remaining,
        is_first=np.array([not later for _, later, _ in tails], dtype=bool),
        path=path,
        ready=ready - horizon.origin,
        sends=sends,
    )
