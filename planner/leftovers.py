"""Leftovers: in a given horizon, no email is left out that has room (hard rule Nothing left out).

Leaving emails out can pay, since a follow-up that is left out behind another slips no day. So the
rule has to be stated: who waits on a day, and is never sent, had no place there that day.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.flow_model import CountModel
from sendplan.planner.flow.network import Lanes
from sendplan.planner.model.step_classes import NONE


@dataclass(frozen=True)
class Clause:
    """``value @ x[column] <= 0``, unless one of the rows is at its upper limit.

    Parameters
    ----------
    column, value : ndarray of int
        Those who wait after a day, less those who leave later.
    excuses : tuple of int
        Rows of the model: the mailbox-day is full, the sequence has started all that it may, the
        contact has its email of the day.
    """

    column: np.ndarray
    value: np.ndarray
    excuses: tuple[int, ...]


def clauses(model: CountModel) -> list[Clause]:
    """Return what keeps emails from being left out that have room.

    Parameters
    ----------
    model : CountModel
        A model whose sink takes what is left out.

    Returns
    -------
    list of Clause
        None for lanes whose sink is a day like others.
    """
    lanes = model.lanes
    if not lanes.strict:
        return []
    contact_of = np.full(len(lanes), NONE)
    for contact, members in enumerate(lanes.contacts):
        contact_of[members] = contact

    def excuses(lane: int, day: int) -> tuple[int, ...]:
        rows = [model.room_row[lanes.box[lane], day]]
        if lanes.first[lane]:
            rows.append(model.new_row[lanes.sequence[lane], day])
        if contact_of[lane] != NONE:
            rows.append(model.contact_row[contact_of[lane], day])
        return tuple(int(row) for row in rows if row != NONE)

    found: list[Clause] = []
    for table, waits, members_of in (
        (model.bound, model.bound_wait, [np.array([lane]) for lane in range(len(lanes))]),
        (
            model.starting,
            model.group_wait,
            [np.flatnonzero(lanes.group == group) for group in range(len(lanes.waiting))],
        ),
    ):
        for row, members in enumerate(members_of):
            for day in np.flatnonzero(waits[row] != NONE).tolist():
                later = table[members, day + 1 : lanes.sink]
                later = later[later != NONE]
                column = np.append(waits[row, day], later)
                value = np.append(1, np.full(len(later), -1))
                found += [
                    Clause(column, value, excuses(lane, day))
                    for lane in members.tolist()
                    if table[lane, day] != NONE
                ]
    return found


def broken(lanes: Lanes, sends: np.ndarray) -> bool:
    """Tell whether emails are left out that have room.

    Parameters
    ----------
    lanes : Lanes
        A flow.
    sends : ndarray of int, shape (lanes, days)
        Emails that leave; those of the sink are left out.
    """
    if not lanes.strict or not sends[:, lanes.sink].any():
        return False
    sink = lanes.sink
    load = np.zeros(lanes.room.shape, dtype=np.int64)
    np.add.at(load, lanes.box, sends)
    started = np.zeros(lanes.new_room.shape, dtype=np.int64)
    np.add.at(started, lanes.sequence[lanes.first], sends[lanes.first])
    excused = (load >= lanes.room)[lanes.box]
    excused[lanes.first] |= (started >= lanes.new_room)[lanes.sequence[lanes.first]]
    for members in lanes.contacts:
        excused[members] |= sends[members].sum(axis=0) > 0
    able = lanes.sends & ~excused
    of_bound = lanes.of_bound(sends)
    came = np.cumsum(lanes.arriving + lanes.inflow(sends), axis=1)
    stuck = came - of_bound[:, :sink].sum(axis=1)[:, None] > 0
    grouped = np.flatnonzero(lanes.group != NONE)
    starting = np.zeros(len(lanes.waiting), dtype=np.int64)
    np.add.at(starting, lanes.group[grouped], (sends - of_bound)[grouped, :sink].sum(axis=1))
    waits = np.cumsum(lanes.waiting, axis=1) - starting[:, None] > 0
    stuck[grouped] |= waits[lanes.group[grouped]]
    return bool((able & stuck)[:, :sink].any())
