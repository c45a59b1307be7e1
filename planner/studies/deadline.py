"""The deadline: the least shortfall of every plan if all emails are to have left by a day.

The mailboxes of a pool are one, and chains are a flow. A plan falls short by one for each late
follow-up, and by more for each email that leaves after the day. With prices of capacity, every
chain takes its own cheapest path in one pass over stages and days; the cost of these, less the
prices of the capacity there is, is at most the shortfall of any plan (weak duality, see
`sendplan.planner.flow.lagrangian`). It falls by exactly price × emails where capacity is added: so
the prices of one relaxation say how much capacity is needed at the least, whatever solver proposed
them.
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
    """Weights of the shortfall of a plan.

    Parameters
    ----------
    late : float
        Of each late follow-up; 0 where their number does not matter.
    left_out : float
        Of each email that leaves after the day.
    """

    late: float
    left_out: float

    @classmethod
    def of(cls, max_late: int | None) -> "Weights":
        """Return weights by which a plan meets a target if its shortfall is at most `max_late`."""
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
        """Number of days that may be used, from index 0 on."""
        return int(self.room.shape[1])

    def with_more_room(self, room: np.ndarray) -> "Deadline":
        """Return one pool with more capacity, by day."""
        return replace(self, room=np.minimum(self.room + room, UNLIMITED))

    def pool_alone(self, pool: int) -> "Deadline":
        """Return one pool, with the stages that its chains can reach."""
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


def build_deadline(instance: Instance, limits: Limits, last: int) -> Deadline:
    """Aggregate the mailboxes of each pool, up to a day.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    last : int
        The day by which everything must have left.
    """
    pools = instance.fleet.pools
    pool_of = mailbox_components(pools)
    count = int(pool_of.max(initial=-1)) + 1
    room = np.zeros((count, last + 1), dtype=np.int64)
    for pool in range(count):
        members = [pools[place] for place in np.flatnonzero(pool_of == pool)]
        mailboxes = np.unique(np.concatenate(members)).astype(np.int64)
        room[pool] = np.minimum(limits.room[mailboxes, : last + 1].sum(axis=0), UNLIMITED)
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
    """Give the threads that are bound to each mailbox, as a pool of their own.

    Parameters
    ----------
    instance, limits
        As in `build_deadline`.
    whole : Deadline
        What that returned.

    Yields
    ------
    tuple of int, int and Deadline
        The pool, the mailbox, and its threads.
    """
    chains, last = instance.chains, whole.days - 1
    bound = np.flatnonzero(chains.mailbox != NONE)
    bound = bound[np.argsort(chains.mailbox[bound], kind="stable")]
    mailboxes, begins = np.unique(chains.mailbox[bound], return_index=True)
    ends = np.append(begins, len(bound))[1:]
    for mailbox, begin, end in zip(mailboxes.tolist(), begins, ends, strict=True):
        own = bound[begin:end]
        arriving = np.zeros_like(whole.arriving)
        np.add.at(arriving, (chains.stage[own], np.minimum(limits.first_release[own], last + 1)), 1)
        alone = replace(
            whole,
            arriving=arriving,
            pool=np.zeros_like(whole.pool),
            room=limits.room[[mailbox], : last + 1],
            # max_new_per_day is shared with other mailboxes.
            new_room=np.full_like(whole.new_room, UNLIMITED),
        )
        yield int(whole.pool[chains.stage[own[0]]]), mailbox, alone.pool_alone(0)
