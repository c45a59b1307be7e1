"""What a method may use: room, first days and weights under the parameters of one plan."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.instance import Instance
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.spacing_capacity import gap_room
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.dates import SECOND


@dataclass(frozen=True)
class Limits:
    """The hard rules as tables over days; the last index is the horizon's `beyond`.

    Parameters
    ----------
    last : int
        The last day that may be used.
    room : ndarray of int, shape (mailboxes, days)
        Emails that may still leave: capacity less what is used, and what min_gap_seconds allows.
    expected_room : ndarray of int, shape (mailboxes, days)
        As many as min_gap_seconds is likely to let leave, given whose windows wait.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may still leave.
    release : ndarray of int, shape (stages, days)
        First day on which a stage's email may leave, by the day of the email before it.
    urgency : ndarray of float, shape (stages,)
        What waiting one more day weighs: the heaviest go first where room is short.
    first_release : ndarray of int, shape (chains,)
        First day on which each chain's next email may leave.
    busy : ndarray of bool, shape (shared contacts, days)
        Days already used by contacts that more than one chain, or history, concerns.
    shared : ndarray of int, shape (chains,)
        Row of `busy`, or `NONE` where a contact's only emails are this chain's.
    """

    last: int
    room: np.ndarray
    expected_room: np.ndarray
    new_room: np.ndarray
    release: np.ndarray
    urgency: np.ndarray
    first_release: np.ndarray
    busy: np.ndarray
    shared: np.ndarray


def limits_of(instance: Instance, parameters: Parameters) -> Limits:
    """Work out the limits of plans with these parameters.

    Parameters
    ----------
    instance : Instance
        The instance.
    parameters : Parameters
        Planning parameters.

    Returns
    -------
    Limits
        Tables for any method.
    """
    horizon, stages, chains = instance.problem.horizon, instance.stages, instance.chains
    # Index 1 is today's UTC date.
    last = horizon.last if parameters.horizon_days is None else parameters.horizon_days + 1
    room = np.zeros((instance.fleet.capacity.shape[0], horizon.size), dtype=np.int64)
    room[:, :-1] = np.maximum(instance.fleet.capacity - instance.fleet.used, 0)
    gaps = gap_room(instance)
    expected_room = room.copy()
    expected_room[:, :-1] = np.minimum(room[:, :-1], gaps.expected)
    room[:, :-1] = np.minimum(room[:, :-1], gaps.most)
    for table in (room, expected_room):
        table[:, last + 1 :] = UNLIMITED
    new_room = np.full((len(instance.new_limit), horizon.size), UNLIMITED, dtype=np.int64)
    new_room[:, :-1] = np.maximum(instance.new_limit[:, None] - instance.new_used, 0)

    next_day = stages.next_sending_day()
    release = stages.ready
    if parameters.one_a_day:
        tomorrow = np.minimum(np.arange(horizon.size) + 1, horizon.beyond)
        release = np.maximum(release, next_day[:, tomorrow])
    # A follow-up that waits costs a day of slip, whichever it is; of two, the one whose chain ends
    # sooner goes first, since it leaves the queue for good.
    waiting = parameters.slip_weight * (1 + 1 / stages.remaining)
    urgency = instance.priority * np.where(stages.is_first, stages.remaining, waiting)

    busy, shared = _shared_contacts(instance, parameters)
    first = chains.ready.copy()
    while len(first):
        taken = (shared != NONE) & busy[shared, first]
        taken |= ~_open_beyond(instance.windows.usable)[chains.window, first]
        closes = _open_beyond(instance.windows.closes)[chains.window, first]
        taken |= (closes <= chains.not_before + SECOND) & (first <= horizon.last)
        if not taken.any():
            break
        after = np.minimum(first[taken] + 1, horizon.beyond)
        first[taken] = next_day[chains.stage[taken], after]
    return Limits(last, room, expected_room, new_room, release, urgency, first, busy, shared)


def _open_beyond(table: np.ndarray) -> np.ndarray:
    """Add the column of `beyond`, in which everything is possible, to a table of windows."""
    return np.pad(table, ((0, 0), (0, 1)), constant_values=1)


def _shared_contacts(instance: Instance, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    contact = instance.chains.contact
    size = instance.problem.horizon.size
    if not parameters.one_a_day or not len(contact):
        return np.zeros((1, size), dtype=bool), np.full(len(contact), NONE)
    chains_of = np.bincount(contact)
    used = instance.contact_days
    used = used[(used["contact"] < len(chains_of)).to_numpy()]
    concerns = chains_of > 1
    concerns[used["contact"].to_numpy()] = True
    row = np.where(concerns, np.cumsum(concerns) - 1, NONE)
    busy = np.zeros((int(concerns.sum()) + 1, size), dtype=bool)
    busy[row[used["contact"].to_numpy()], used["day"].to_numpy()] = True
    return busy, row[contact]


def horizon_end(limits: Limits, parameters: Parameters, day: np.ndarray) -> int:
    """Return the horizon's last day: the given one, or the last one needed.

    Parameters
    ----------
    limits, parameters
        Limits and planning parameters.
    day : ndarray of int, shape (emails,)
        Days of the emails, `NONE` where there is none.
    """
    if parameters.horizon_days is not None:
        return limits.last
    today = 1
    return int(day.max()) if (day != NONE).any() else today
