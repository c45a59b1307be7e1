"""Moves: rows whose slots change, beside the slots that are stored."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sendplan.planner.model.step_classes import NONE
from sendplan.planner.problem.problem import Problem
from sendplan.planner.problem.slots import has_slot
from sendplan.planner.schema.readers import NULL

EMAIL = ["enrollment_id", "step_id"]
SLOT = ["mailbox_id", "send_day", "send_at"]
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Slots:
    """Slots, one entry each.

    Parameters
    ----------
    mailbox_id, day, time : ndarray of int64
        The slot: days since 1970-01-01, microseconds since then in UTC. `NULL` where there is none.
    enrollment, step : ndarray of int
        Places in ``problem.enrollments`` and ``problem.live_steps``, or `NONE`; a step that is
        not one of the enrollment's sequence has none.
    """

    mailbox_id: np.ndarray
    day: np.ndarray
    time: np.ndarray
    enrollment: np.ndarray
    step: np.ndarray


@dataclass(frozen=True)
class Moves:
    """Changed rows, and behind them the stored slots that are parked with their chain.

    A chain is all that moves of one enrollment. Chains are numbered in the order in which they
    take precedence: those that only lose slots, then by the day of the first changed slot, then by
    enrollment id.

    Parameters
    ----------
    rows : DataFrame
        As handed in.
    changed : ndarray of bool, shape (rows,)
        Whether the row changes; the others only give way.
    chain : ndarray of int, shape (rows,)
        The row's chain.
    old, new : Slots of shape (rows,)
        What is stored, and what is to be.
    standing : Slots of shape (slots,)
        All that is stored, moving or not.
    slot : ndarray of int, shape (rows,)
        Where in `standing` the row's slot is, or `NONE`.
    """

    rows: pd.DataFrame
    changed: np.ndarray
    chain: np.ndarray
    old: Slots
    new: Slots
    standing: Slots
    slot: np.ndarray

    @cached_property
    def stands(self) -> np.ndarray:
        """Whether a slot is stored for each row."""
        return np.asarray(self.slot != NONE)

    @cached_property
    def arrives(self) -> np.ndarray:
        """Whether each row is to have a slot."""
        return np.asarray(self.new.mailbox_id != NULL)

    @cached_property
    def comes_back(self) -> np.ndarray:
        """Whether each row is yet to be written when its chain has been parked.

        What loses its slot for good is done with then.
        """
        return np.asarray(self.arrives | ~self.stands)

    @cached_property
    def chains(self) -> int:
        """How many chains there are."""
        return int(self.chain.max(initial=-1)) + 1


def moves_of(problem: Problem, changes: pd.DataFrame, unchanged: pd.DataFrame) -> Moves:
    """Lay changed rows beside the slots that are stored.

    Parameters
    ----------
    problem : Problem
        With the stored rows.
    changes, unchanged : DataFrame
        See `sendplan.planner.passage.passage`.

    Returns
    -------
    Moves
        Changed rows in the order of `changes`, then what is parked with them.

    Raises
    ------
    ValueError
        If `unchanged` lacks a slot that stands behind a changed one.
    """
    stored = problem.scheduled_emails[has_slot(problem)]
    standing = _slots(problem, stored)
    slot_number, change_number, unchanged_number = _numbered(stored, changes, unchanged)
    slot_of_change = pd.Index(slot_number.email).get_indexer(change_number.email)

    step = _slots(problem, changes).step
    first_changed = np.full(change_number.enrollments, _NEVER)
    live = step != NONE
    np.minimum.at(first_changed, change_number.enrollment[live], step[live])
    parked_too = (standing.step != NONE) & (standing.step > first_changed[slot_number.enrollment])
    parked_too[slot_of_change[slot_of_change != NONE]] = False
    behind = np.flatnonzero(parked_too)
    row_behind = pd.Index(unchanged_number.email).get_indexer(slot_number.email[behind])
    if (lacking := row_behind == NONE).any():
        example = stored.iloc[behind[lacking][0]]
        raise ValueError(
            f"unchanged lacks {lacking.sum()} slots that stand behind changed ones, such as"
            f" step {example['step_id']} of enrollment {example['enrollment_id']};"
            " pass every pending row that the plan leaves as it is"
        )

    rows = pd.concat([changes, unchanged.iloc[row_behind]], ignore_index=True)
    slot = np.append(slot_of_change, behind)
    chain = _by_precedence(changes, change_number)
    return Moves(
        rows=rows,
        changed=np.arange(len(rows)) < len(changes),
        chain=chain[np.append(change_number.enrollment, slot_number.enrollment[behind])],
        old=_taken(standing, slot),
        new=_slots(problem, rows),
        standing=standing,
        slot=slot,
    )


def _slots(problem: Problem, rows: pd.DataFrame) -> Slots:
    steps, people = problem.live_steps, problem.enrollments
    enrollment = pd.Index(people["id"]).get_indexer(rows["enrollment_id"])
    step = pd.Index(steps["id"]).get_indexer(rows["step_id"])
    known = (enrollment != NONE) & (step != NONE)
    sequence_id = people["sequence_id"].to_numpy()[enrollment[known]]
    own = known.copy()
    own[known] = sequence_id == steps["sequence_id"].to_numpy()[step[known]]
    mailbox_id, day, time = (rows[name].to_numpy() for name in SLOT)
    return Slots(mailbox_id, day, time, enrollment, np.where(own, step, NONE))


def _taken(slots: Slots, place: np.ndarray) -> Slots:
    """Return the slots at places, and nothing where the place is `NONE`."""
    return Slots(
        *(np.append(values, NULL)[place] for values in (slots.mailbox_id, slots.day, slots.time)),
        *(np.append(values, NONE)[place] for values in (slots.enrollment, slots.step)),
    )


@dataclass(frozen=True)
class _Numbers:
    """Numbers that mean the same in several frames."""

    enrollment: np.ndarray
    email: np.ndarray
    enrollments: int


def _numbered(*frames: pd.DataFrame) -> list[_Numbers]:
    every = pd.concat([frame[EMAIL] for frame in frames], ignore_index=True)
    enrollment, enrollments = pd.factorize(every["enrollment_id"])
    step, steps = pd.factorize(every["step_id"])
    email = enrollment * len(steps) + step
    ends = np.cumsum([len(frame) for frame in frames])[:-1]
    return [
        _Numbers(of_enrollment, of_email, len(enrollments))
        for of_enrollment, of_email in zip(
            np.split(enrollment, ends), np.split(email, ends), strict=True
        )
    ]


def _by_precedence(changes: pd.DataFrame, numbers: _Numbers) -> np.ndarray:
    """Return the chain of each enrollment, `NONE` where nothing changes."""
    arrives = (changes["mailbox_id"] != NULL).to_numpy()
    first = np.full(numbers.enrollments, _NEVER)
    day = changes["send_day"].to_numpy()
    np.minimum.at(first, numbers.enrollment[arrives], day[arrives])
    first[first == _NEVER] = NULL
    enrollment_id = np.zeros(numbers.enrollments, dtype=np.int64)
    enrollment_id[numbers.enrollment] = changes["enrollment_id"]
    changing = np.unique(numbers.enrollment)
    order = changing[np.lexsort((enrollment_id[changing], first[changing]))]
    chain = np.full(numbers.enrollments, NONE)
    chain[order] = np.arange(len(order))
    return chain
