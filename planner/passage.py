"""The passage: from the slots that are stored to those of a new plan, in batches.

A difference too long for one transaction is written in several, while dispatchers work in between
and a kill may come after any of them. So what is stored after each batch keeps every hard rule of
SPEC §5 that it kept before. `sendplan.planner.claims` says what of the slots can be in each
other's way, `sendplan.planner.crossing` who goes when.
"""

import numpy as np
import pandas as pd

from sendplan.planner.claims import claims_of
from sendplan.planner.crossing import Crossing, Rows, cross
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.moves import SLOT, Moves, moves_of
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.readers import NULL


def passage(
    problem: Problem,
    changes: pd.DataFrame,
    size: int,
    *,
    unchanged: pd.DataFrame,
    one_a_day: bool = True,
) -> list[pd.DataFrame]:
    """Divide the changes of a plan into batches that can be written one by one.

    The changed rows of an enrollment are written together; where several want the same place, who
    leaves soonest goes first. Where all wait for each other, some chains are *parked*: their slots
    are taken away for the time being, so that others can pass. No row is written more than twice.
    What the new plan itself breaks may be broken on the way, too; nothing else is.

    Parameters
    ----------
    problem : Problem
        What was planned, with the stored rows as its ``scheduled_emails``.
    changes : DataFrame
        The rows to insert or change, one an email. int64 columns, `NULL` where there is none:
        enrollment_id, step_id; old_mailbox_id, old_send_day, old_send_at, as stored;
        mailbox_id, send_day, send_at, as planned (days since 1970-01-01, microseconds UTC).
        Further columns are carried along.
    size : int
        Rows of a batch. The chain with which a batch is full may take it beyond.
    unchanged : DataFrame
        The stored pending rows that the plan leaves as they are, with the columns of `changes`:
        a chain is parked with the slots behind its changed ones, and they come back as they were.
    one_a_day : bool
        Whether a contact may get one email a day at most.

    Returns
    -------
    list of DataFrame
        The batches in order, with the columns of `changes` and bool ``parked``. Every row of
        `changes` comes once unparked. A parked row has no new slot and comes again in a later
        batch, its int64 columns named ``old_…`` being `NULL` then, as neither slot nor run is
        stored for it. A batch ends early, though not before it is half full, where going on would
        only park chains. Changes that fit into one batch are one, as they are.

    Raises
    ------
    ValueError
        If `size` is not positive, or `unchanged` lacks a row that may have to be parked.
    """
    if size < 1:
        raise ValueError(f"size is {size}; a batch holds at least one row")
    if len(changes) <= size:
        return [changes.assign(parked=False).reset_index(drop=True)]
    moves = moves_of(problem, changes, unchanged)
    claims = claims_of(problem, moves, one_a_day=one_a_day)
    rows = (_counted(moves, here) for here in (moves.changed, moves.stands, moves.comes_back))
    return _batches(moves, cross(claims, Rows(*rows), size))


def _counted(moves: Moves, here: np.ndarray) -> np.ndarray:
    return np.bincount(moves.chain[here], minlength=moves.chains)


def _batches(moves: Moves, crossing: Crossing) -> list[pd.DataFrame]:
    parked_in = crossing.parked_in[moves.chain]
    parks = parked_in != NONE
    leaves = np.flatnonzero(parks & moves.stands)
    arrives = np.flatnonzero(np.where(parks, moves.comes_back, moves.changed))
    row = np.append(leaves, arrives)
    batch = np.append(parked_in[leaves], crossing.moved_in[moves.chain[arrives]])
    order = np.lexsort((row, batch))
    row, batch, leaving = row[order], batch[order], order < len(leaves)
    parked = leaving & moves.arrives[row]
    again = ~leaving & parks[row] & moves.stands[row]
    written = moves.rows.iloc[row]
    old = [name for name in written.columns if str(name).startswith("old_")]
    written = written.assign(
        **{name: np.where(parked, NULL, written[name]) for name in SLOT},
        **{name: np.where(again, NULL, written[name]) for name in old},
        parked=parked,
    )
    ends = np.flatnonzero(np.append(batch[1:] != batch[:-1], True)) + 1
    return [
        written.iloc[begin:end].reset_index(drop=True)
        for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True)
    ]
