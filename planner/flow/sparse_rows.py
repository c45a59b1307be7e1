"""Sparse rows: the matrix of a model, written entry by entry, and numbers for its entries."""

from collections.abc import Sequence

import numpy as np

from sendplan.planner.model.stages import NONE


class SparseRows:
    """A matrix that is being written."""

    def __init__(self) -> None:
        self._entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, row: np.ndarray, column: np.ndarray, value: float) -> None:
        """Add entries of one value where both the row and the column exist.

        Parameters
        ----------
        row, column : ndarray of int
            Of shapes that broadcast; `NONE` where there is no such row or column.
        value : float
            What is added at each place.
        """
        row, column = np.broadcast_arrays(row, column)
        there = (row != NONE) & (column != NONE)
        self._entries.append((row[there], column[there], np.full(int(there.sum()), value)))

    def merged(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row, column and value of each entry, by row and column, each place once.

        Entries of one place are added up, and zeros are left out.
        """
        row, column, value = (np.concatenate(each) for each in zip(*self._entries, strict=True))
        width = int(column.max(initial=0)) + 1
        places, entry = np.unique(row * width + column, return_inverse=True)
        total = np.zeros(len(places), dtype=value.dtype)
        np.add.at(total, entry, value)
        used = total != 0
        return places[used] // width, places[used] % width, total[used]


def number_entries(masks: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Return numbers for the true entries of some tables, one table after the other.

    Parameters
    ----------
    masks : sequence of ndarray of bool
        The tables.

    Returns
    -------
    tuple of list of ndarray of int, and int
        Of each table the numbers, `NONE` where it is false; and how many there are.
    """
    numbers, count = [], 0
    for mask in masks:
        number = np.full(mask.shape, NONE)
        size = int(mask.sum())
        number[mask] = np.arange(count, count + size)
        numbers.append(number)
        count += size
    return numbers, count
