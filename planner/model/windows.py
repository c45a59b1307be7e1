"""Windows: the real intervals in which a sequence may send, by time zone and day."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.problem.enrollment_state import EnrollmentState
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.dates import SECOND, ceil_seconds


@dataclass(frozen=True)
class Windows:
    """Daily windows of the sequences, each read in one time zone.

    Parameters
    ----------
    opens, closes : ndarray of int64, shape (windows, days)
        The real interval [opens, closes), in microseconds; no `beyond` column.
    usable : ndarray of bool, shape (windows, days)
        Whether a whole second of it is still ahead.
    first_day : ndarray of int, shape (windows,)
        The first usable day (the calendar).
    """

    opens: np.ndarray
    closes: np.ndarray
    usable: np.ndarray
    first_day: np.ndarray

    def seconds(self, now: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and last whole second of each window from `now` (microseconds) on."""
        return ceil_seconds(np.maximum(self.opens, now)), ceil_seconds(self.closes) - 1


def windows_of(
    problem: Problem, state: EnrollmentState, sequence: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, Windows]:
    """Work out the windows of the enrollments to plan.

    Parameters
    ----------
    problem : Problem
        Daily windows, and the moment of planning.
    state : EnrollmentState
        Time zones.
    sequence : ndarray of int, shape (enrollments,)
        Place of each enrollment's sequence.
    order : ndarray of int
        Places of the enrollments to plan.

    Returns
    -------
    ndarray of int
        The row of each enrollment in `order`.
    Windows
        One row for each sequence and time zone that occur together.
    """
    horizon = problem.horizon
    days = horizon.origin + np.arange(horizon.last + 1)
    zone_code, zones = pd.factorize(state.zones[order])
    key = sequence[order] * max(len(zones), 1) + zone_code
    keys, window_of = np.unique(key, return_inverse=True)
    instants: dict[tuple[str, int], np.ndarray] = {}

    def at(zone: str, seconds: int) -> np.ndarray:
        if (zone, seconds) not in instants:
            instants[zone, seconds] = dates.instants_at(days, seconds, zone)
        return instants[zone, seconds]

    starts = problem.sequences["start_time"].to_numpy()
    ends = problem.sequences["end_time"].to_numpy()
    opens = np.empty((len(keys), len(days)), dtype=np.int64)
    closes = np.empty_like(opens)
    first_day = np.empty(len(keys), dtype=np.int64)
    for row, pair in enumerate(keys):
        place, zone = pair // len(zones), zones[pair % len(zones)]
        opens[row] = at(zone, int(starts[place]))
        closes[row] = at(zone, int(ends[place]))
        today = int(dates.local_days(np.array([problem.now]), zone)[0]) - horizon.origin
        first_day[row] = today + (problem.now >= closes[row, today])
    earliest = ceil_seconds(np.maximum(opens, problem.now)) * SECOND
    return window_of, Windows(opens, closes, earliest < closes, first_day)
