"""Keys of rows, ranks within groups, and the next true column."""

from collections.abc import Iterable

import numpy as np


def numbered(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Give rows numbers, equal ones the same.

    Parameters
    ----------
    columns : iterable of ndarray of int, shape (rows,)
        The rows, column by column.

    Returns
    -------
    ndarray of int, shape (rows,)
        From 0, in the order of the rows' values.
    """
    number = np.zeros(0, dtype=np.int64)
    for place, column in enumerate(columns):
        value = np.unique(column, return_inverse=True)[1]
        if not place:
            number = value
            continue
        width = int(value.max(initial=0)) + 1
        number = np.unique(number * width + value, return_inverse=True)[1]
    return number


def rank(key: np.ndarray) -> np.ndarray:
    """Return each entry's number, from 0, among the entries with the same key.

    Parameters
    ----------
    key : ndarray of int, shape (entries,)
        What makes entries belong together.
    """
    order = np.argsort(key, kind="stable")
    ranked = key[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])[: len(key)])
    number = np.empty(len(key), dtype=np.int64)
    lengths = np.diff(np.append(starts, len(key)))
    number[order] = np.arange(len(key)) - np.repeat(starts, lengths)
    return number


def next_true(flags: np.ndarray) -> np.ndarray:
    """Return, by row and column, the first true column from there on.

    Parameters
    ----------
    flags : ndarray of bool, shape (rows, columns)
        Such as the days on which something is open.

    Returns
    -------
    ndarray of int, shape (rows, columns)
        Column indices; the last column where none is true.
    """
    last = flags.shape[1] - 1
    column = np.where(flags, np.arange(last + 1), last)
    return np.asarray(np.minimum.accumulate(column[:, ::-1], axis=1)[:, ::-1])
