"""The deadline: how far every plan must fall short if all emails are to have left by a day.

The mailboxes of a pool are taken as one, and contacts as a flow. A plan falls short by one for each
follow-up that is late, and by more for each email that leaves after the day. With prices on the
room, every chain can be sent its own cheapest way in one pass over stages and days; what that comes
to, less the prices of the room there is, is at most the shortfall of any plan (weak duality, see
`sendplan.planner.flow.lagrangian`). It falls by exactly price × emails where room is added: so the
prices of one relaxation say how much room is needed at the least, whatever solver proposed them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sendplan.planner.model.components import mailbox_components
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.mailbox_capacity import UNLIMITED
from sendplan.planner.model.stages import NONE, Stages


@dataclass(frozen=True)
class Weights:
    """What a plan falls short by.

    Parameters
    ----------
    late : float
        For each late follow-up; 0 where it does not matter how many there are.
    left_out : float
        For each email that leaves after the day.
    """

    late: float
    left_out: float

    @classmethod
    def of(cls, max_late: int | None) -> "Weights":
        """Weigh so that a plan does what is asked if it falls short by `max_late` at most."""
        return cls(0.0, 1.0) if max_late is None else cls(1.0, max_late + 1.0)


@dataclass(frozen=True)
class Deadline:
    """Chains as a flow that must have run out by the last day, pool by pool.

    Parameters
    ----------
    stages : Stages
        The stages.
    onward : ndarray of int, shape (stages, days)
        First day on which a stage's email may leave, by the day of the email before it; the number
        of days stands for every day after the last.
    arriving : ndarray of int, shape (stages, days + 1)
        Chains by the first day on which they may go on.
    pool : ndarray of int, shape (stages,)
        Pool of each stage.
    room : ndarray of int, shape (pools, days)
        Emails that may leave.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may leave.
    """

    stages: Stages
    onward: np.ndarray
    arriving: np.ndarray
    pool: np.ndarray
    room: np.ndarray
    new_room: np.ndarray

    @property
    def days(self) -> int:
        """Return the number of days that may be used, from index 0 on."""
        return int(self.room.shape[1])

    def widened(self, room: np.ndarray) -> "Deadline":
        """Return one pool with more room, by day."""
        return replace(self, room=np.minimum(self.room + room, UNLIMITED))

    def at(self, pool: int) -> "Deadline":
        """Return one pool alone, with the stages that chains of it can come to."""
        chosen = (self.pool == pool)[self.stages.path[:, 0]]
        reached = np.zeros(len(chosen) + 1, dtype=bool)
        reached[self.stages.path[chosen & self.arriving.any(axis=1)]] = True
        kept = np.flatnonzero(reached[:-1])
        number = np.full(len(chosen) + 1, NONE)
        number[kept] = np.arange(len(kept))
        stages = replace(
            self.stages,
            **{
                name: getattr(self.stages, name)[kept]
                for name in ("sequence", "step", "remaining", "is_first", "ready", "sends")
            },
            following=number[self.stages.following[kept]],
            path=number[self.stages.path[kept]],
        )
        return replace(
            self,
            stages=stages,
            onward=self.onward[kept],
            arriving=self.arriving[kept],
            pool=np.zeros(len(kept), dtype=np.int64),
            room=self.room[[pool]],
        )


def deadline(instance: Instance, limits: Limits, last: int) -> Deadline:
    """Take the mailboxes of each pool as one, up to a day.

    Parameters
    ----------
    instance, limits
        The work, and what may be used.
    last : int
        The day by which everything must have left.
    """
    pools = instance.fleet.pools
    pool_of = mailbox_components(pools)
    count = int(pool_of.max(initial=-1)) + 1
    room = np.zeros((count, last + 1), dtype=np.int64)
    for pool in range(count):
        members = [pools[place] for place in np.flatnonzero(pool_of == pool)]
        boxes = np.unique(np.concatenate(members)).astype(np.int64)
        room[pool] = np.minimum(limits.room[boxes, : last + 1].sum(axis=0), UNLIMITED)
    arriving = np.zeros((len(instance.stages.step), last + 2), dtype=np.int64)
    first = np.minimum(limits.first_release, last + 1)
    np.add.at(arriving, (instance.chains.stage, first), 1)
    return Deadline(
        instance.stages,
        np.minimum(limits.release[:, : last + 1], last + 1),
        arriving,
        pool_of[instance.stages.sequence],
        room,
        np.minimum(limits.new_room[:, : last + 1], UNLIMITED),
    )


def bound_threads(
    instance: Instance, limits: Limits, whole: Deadline
) -> Iterator[tuple[int, int, Deadline]]:
    """Give the threads of each mailbox alone, which no other mailbox can help with.

    Parameters
    ----------
    instance, limits
        As in `deadline`.
    whole : Deadline
        What that returned.

    Yields
    ------
    tuple of int, int and Deadline
        The pool, the mailbox, and its threads as a pool of their own.
    """
    chains, last = instance.chains, whole.days - 1
    bound = np.flatnonzero(chains.mailbox != NONE)
    bound = bound[np.argsort(chains.mailbox[bound], kind="stable")]
    boxes, begins = np.unique(chains.mailbox[bound], return_index=True)
    ends = np.append(begins, len(bound))[1:]
    for box, begin, end in zip(boxes.tolist(), begins, ends, strict=True):
        own = bound[begin:end]
        arriving = np.zeros_like(whole.arriving)
        np.add.at(arriving, (chains.stage[own], np.minimum(limits.first_release[own], last + 1)), 1)
        alone = replace(
            whole,
            arriving=arriving,
            pool=np.zeros_like(whole.pool),
            room=limits.room[[box], : last + 1],
            # How many first emails may leave is not this mailbox's alone.
            new_room=np.full_like(whole.new_room, UNLIMITED),
        )
        yield int(whole.pool[chains.stage[own[0]]]), box, alone.at(0)
