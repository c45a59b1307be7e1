"""First fit: emails that have no day yet, each on the first one that every rule allows.

It repairs what counts cannot see (rules on single contacts) and fills a horizon that is too short
for all.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement, ResidualCapacity, unfinished
from sendplan.planner.model.grouping import next_true, rank
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE


def insert(
    instance: Instance, limits: Limits, placement: Placement, room: ResidualCapacity
) -> None:
    """Place what is not placed yet, each email on the first day that has room for it.

    Works in rounds over all chains at once: every chain names the first day that suits its next
    email, the most urgent get what room there is, the others name again. Afterwards no email is
    left out that has room within the horizon.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place.
    room : ResidualCapacity
        The room beside `placement`; changed in place.
    """
    chain, email, day = unfinished(instance, limits, placement)
    while len(chain):
        day = _first_open_day(instance, limits, placement, room, chain, email, day)
        fits = day <= limits.last
        chain, email, day = chain[fits], email[fits], day[fits]
        if not len(chain):
            return
        order = np.lexsort((chain, day, -limits.urgency[instance.emails.stage[email]]))
        won, mailbox = winners(
            instance, limits, placement, room, chain[order], email[order], day[order]
        )
        placed = order[won]
        placement.mailbox[chain[placed]] = mailbox
        placement.day[email[placed]] = day[placed]
        room.take(instance, limits, placement, email[placed])
        more = email[placed] + 1 < instance.chains.offset[chain[placed] + 1]
        going = placed[more]
        day[going] = limits.release[instance.emails.stage[email[going] + 1], day[going]]
        email[going] += 1
        keep = np.ones(len(chain), dtype=bool)
        keep[placed[~more]] = False
        chain, email, day = chain[keep], email[keep], day[keep]


def _first_open_day(
    instance: Instance,
    limits: Limits,
    placement: Placement,
    room: ResidualCapacity,
    chain: np.ndarray,
    email: np.ndarray,
    day: np.ndarray,
) -> np.ndarray:
    """Move each chain on to the first day from `day` on that suits its next email."""
    stages = instance.stages
    stage = instance.emails.stage[email]
    sequence = stages.sequence[stage]
    window = instance.chains.window[chain]
    has_room, source = _open_days(instance, room, placement.mailbox[chain], sequence, window)
    next_room = next_true(has_room)
    next_day = stages.next_sending_day()
    day = day.copy()
    moving = np.arange(len(chain))
    while len(moving):
        at = next_room[source[moving], day[moving]]
        at = next_day[stage[moving], at]
        within = at <= limits.last
        day[moving] = at
        moving, at = moving[within], at[within]
        suits = has_room[source[moving], at] & instance.windows.usable[window[moving], at]
        first = stages.is_first[stage[moving]]
        suits &= ~first | (room.new[sequence[moving], at] > 0)
        contact = limits.shared[chain[moving]]
        suits &= (contact == NONE) | ~room.busy[contact, at]
        moving = moving[~suits]
        day[moving] += 1
    return day


def _open_days(
    instance: Instance,
    room: ResidualCapacity,
    mailbox: np.ndarray,
    sequence: np.ndarray,
    window: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return, by kind of chain, the days on which there is room, and each chain's kind.

    Chains are of one kind that share the mailbox, or the pool as long as they have none, and,
    where days are closed by window, the window.
    """
    mailboxes = len(room.mailbox)
    place = np.where(mailbox == NONE, mailboxes + sequence, mailbox)
    windows = 1 if room.closed is None else room.closed.shape[1]
    key = place * windows + (0 if room.closed is None else window)
    keys, kind = np.unique(key, return_inverse=True)
    has_room = np.zeros((len(keys), room.mailbox.shape[1]), dtype=bool)
    for row, (source, shape) in enumerate(zip(keys // windows, keys % windows, strict=True)):
        pool = instance.fleet.pools[source - mailboxes] if source >= mailboxes else [source]
        has_room[row] = (_open_room(room, pool, shape) > 0).any(axis=0)
    return has_room, kind


def _open_room(room: ResidualCapacity, pool: np.ndarray | list[int], window: int) -> np.ndarray:
    """Return the room of some mailboxes by day, nothing where it is closed to a window."""
    if room.closed is None:
        return room.mailbox[pool]
    return np.where(room.closed[pool, window], 0, room.mailbox[pool])


def winners(
    instance: Instance,
    limits: Limits,
    placement: Placement,
    room: ResidualCapacity,
    chain: np.ndarray,
    email: np.ndarray,
    day: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the candidates that get the room there is; they come in order of precedence.

    Every filter ranks by that same order, so the first candidate always wins something.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Mailboxes of the chains that have one.
    room : ResidualCapacity
        The room there is.
    chain, email, day : ndarray of int, shape (candidates,)
        The candidates; each would have room if it were alone.

    Returns
    -------
    won, mailbox : ndarray of int
        Indices of the winners among the candidates, and their mailboxes.
    """
    size = room.mailbox.shape[1]
    stage = instance.emails.stage[email]
    sequence = instance.stages.sequence[stage]
    alive = np.arange(len(chain))

    contact = limits.shared[chain]
    key = np.where(contact == NONE, -1 - alive, contact * size + day)
    alive = alive[rank(key) == 0]
    key = np.where(
        instance.stages.is_first[stage[alive]], sequence[alive] * size + day[alive], NONE
    )
    alive = alive[(key == NONE) | (rank(key) < room.new[sequence[alive], day[alive]])]

    mailbox = placement.mailbox[chain[alive]]
    free = mailbox == NONE
    window = (
        instance.chains.window[chain[alive]] if room.closed is not None else np.zeros_like(alive)
    )
    key = (window * len(instance.fleet.pools) + sequence[alive]) * size + day[alive]
    for group in np.unique(key[free]):
        here = np.flatnonzero(free & (key == group))
        pool = instance.fleet.pools[sequence[alive[here[0]]]]
        open_room = _open_room(room, pool, window[here[0]])[:, day[alive[here[0]]]]
        mailbox[here] = _deal(pool, open_room, len(here))
    alive, mailbox = alive[mailbox != NONE], mailbox[mailbox != NONE]
    fits = rank(mailbox * size + day[alive]) < room.mailbox[mailbox, day[alive]]
    return alive[fits], mailbox[fits]


def _deal(pool: np.ndarray, room: np.ndarray, wanted: int) -> np.ndarray:
    """Give each of `wanted` chains a mailbox, emptiest first in turns, `NONE` past the room."""
    dealt = np.full(wanted, NONE)
    turn = np.concatenate([np.arange(count) - count for count in room] or [room])
    order = np.lexsort((np.repeat(pool, room), turn))
    chosen = np.repeat(pool, room)[order][:wanted]
    dealt[: len(chosen)] = chosen
    return dealt
