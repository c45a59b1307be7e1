"""How many emails min_gap_seconds lets leave from a mailbox in a day.

Where all windows of a mailbox are one, that is a division. Where they differ, only a timetable can
tell; there is a bound that no timetable exceeds, and an estimate that a plan should not exceed, for
the mix of windows that the mailbox serves.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Instance
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE
from sendplan.planner.schema.dates import SECOND


@dataclass(frozen=True)
class SpacingCapacity:
    """Emails that min_gap_seconds lets leave; `UNLIMITED` where there is none.

    Parameters
    ----------
    most : ndarray of int, shape (mailboxes, days)
        No day can hold more.
    expected : ndarray of int, shape (mailboxes, days)
        What a day holds if its emails come from the windows in the shares in which they wait.
    """

    most: np.ndarray
    expected: np.ndarray


def gap_room(instance: Instance) -> SpacingCapacity:
    """Work out the room that min_gap_seconds leaves.

    Parameters
    ----------
    instance : Instance
        Mailboxes, windows and the chains that wait.

    Returns
    -------
    SpacingCapacity
        Both are exact where all windows of a mailbox are one.
    """
    fleet, windows, chains = instance.fleet, instance.windows, instance.chains
    most = np.full(fleet.capacity.shape, UNLIMITED, dtype=np.int64)
    expected = most.copy()
    with_gap = np.flatnonzero(fleet.gap > 0)
    if not len(with_gap) or not len(chains):
        return SpacingCapacity(most, expected)
    sequence_of = np.full(len(windows.opens), NONE)
    sequence_of[chains.window] = instance.stages.sequence[chains.stage]
    waiting = np.bincount(chains.window, np.diff(chains.offset), len(sequence_of))
    opens, closes = windows.seconds(instance.problem.now)
    for mailbox in with_gap:
        serves = np.array([mailbox in pool for pool in fleet.pools], dtype=bool)
        rows = np.flatnonzero((sequence_of != NONE) & serves[sequence_of])
        if not len(rows):
            continue
        gap = int(fleet.gap[mailbox])
        most[mailbox], expected[mailbox] = _by_day(opens[rows], closes[rows], waiting[rows], gap)
        taken = fleet.taken[mailbox] // SECOND
        first, final = opens[rows].min(axis=0), closes[rows].max(axis=0)
        for day in np.flatnonzero((first < taken.max(initial=0) + gap) & (final >= first)):
            places = _places(int(first[day]), int(final[day]), gap, taken)
            most[mailbox, day] = min(most[mailbox, day], places)
    return SpacingCapacity(most, np.minimum(most, expected))


def _by_day(
    opens: np.ndarray, closes: np.ndarray, waiting: np.ndarray, gap: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bound and the estimate of one mailbox by day.

    The emails whose windows lie within [a, b] are at most (b − a) / gap + 1. For all of them
    together that is the bound; for those of each [a, b], by their share, it is the estimate.
    """
    begin, end = np.unique(np.stack([opens, closes], axis=1), axis=0).swapaxes(0, 1)
    each = np.where(end >= begin, (end - begin) // gap + 1, 0).sum(axis=0)
    whole = np.maximum((closes.max(axis=0) - opens.min(axis=0)) // gap + 1, 0)
    most = np.minimum(each, whole)
    # Days look alike but for their date, save where clocks change: work out each kind once.
    alike = np.concatenate([opens, closes]) - opens[0]
    kinds, kind = np.unique(alike, axis=1, return_inverse=True)
    openings, closings = np.split(kinds, 2)
    mixes = zip(openings.T, closings.T, strict=True)
    room = np.array([_of_mix(opening, closing, waiting, gap) for opening, closing in mixes])
    return most, np.minimum(most, room[kind])


def _of_mix(opens: np.ndarray, closes: np.ndarray, waiting: np.ndarray, gap: int) -> int:
    """Return how many emails fit on a day that come from the windows in proportion."""
    possible = closes >= opens
    opens, closes, waiting = opens[possible], closes[possible], waiting[possible]
    total = waiting.sum()
    room = UNLIMITED
    for begin in np.unique(opens):
        for end in np.unique(closes):
            inside = waiting[(opens >= begin) & (closes <= end)].sum()
            if inside:
                room = min(room, int(((end - begin) // gap + 1) * total / inside))
    return room if total else 0


def _places(first: int, final: int, gap: int, taken: np.ndarray) -> int:
    """Count the emails that fit into [first, final] around moments already taken."""
    count, at = 0, first
    for moment in [*taken[(taken > first - gap) & (taken < final + gap)].tolist(), None]:
        until = final if moment is None else min(final, moment - gap)
        if until >= at:
            count += (until - at) // gap + 1
        if moment is not None:
            at = max(at, moment + gap)
    return count
