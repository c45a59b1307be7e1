"""What a method moves on: stages paired with mailboxes, room, and chains as counts."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.stages import NONE, Stages


@dataclass(frozen=True)
class Pairs:
    """Stages and the mailboxes that may send them, sorted by mailbox and then by urgency.

    Parameters
    ----------
    stage, mailbox : ndarray of int, shape (pairs,)
        What is sent from where.
    following : ndarray of int, shape (pairs,)
        The pair of the next stage at the same mailbox, or `NONE`.
    number : ndarray of int, shape (stages, mailboxes)
        The pair of each stage and mailbox, or `NONE`.
    """

    stage: np.ndarray
    mailbox: np.ndarray
    following: np.ndarray
    number: np.ndarray

    @classmethod
    def build(cls, stages: Stages, pools: list[np.ndarray], urgency: np.ndarray) -> "Pairs":
        """Pair every stage with every mailbox of its sequence's pool.

        Parameters
        ----------
        stages : Stages
            The stages.
        pools : list of ndarray of int
            Active mailboxes of each sequence.
        urgency : ndarray of float, shape (stages,)
            What waiting one more day weighs; the heaviest go first.
        """
        pool_of = [pools[place] for place in stages.sequence]
        stage = np.repeat(np.arange(len(pool_of)), [len(pool) for pool in pool_of])
        mailbox = np.concatenate(pool_of) if pool_of else np.zeros(0, dtype=np.int64)
        order = np.lexsort((stage, -urgency[stage], mailbox))
        stage, mailbox = stage[order], mailbox[order].astype(np.int64)
        mailboxes = int(max((int(pool.max(initial=0)) for pool in pools), default=0)) + 1
        number = np.full((len(stages.step) + 1, mailboxes), NONE)
        number[stage, mailbox] = np.arange(len(stage))
        return cls(stage, mailbox, number[stages.following[stage], mailbox], number)


@dataclass(frozen=True)
class Demand:
    """What must be sent, as counts of chains by the first day on which they may go on.

    Parameters
    ----------
    bound : ndarray of int, shape (pairs, days)
        Chains whose mailbox is given.
    free : ndarray of int, shape (stages, days)
        Chains that may still choose a mailbox of the pool.
    """

    bound: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class Counts:
    """The greedy's decision.

    Parameters
    ----------
    bound : ndarray of int, shape (pairs, days)
        Emails that leave, of chains whose mailbox was given before that day.
    free : ndarray of int, shape (pairs, days)
        Emails that leave and bind their chain to the mailbox.
    """

    bound: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class AggregatedInstance:
    """What the greedy moves on; the last index of days is the horizon's `beyond`.

    Parameters
    ----------
    stages, pairs
        The stages, and where they may be sent.
    room : ndarray of int, shape (mailboxes, days)
        Emails that may still leave; unlimited beyond the horizon, where nothing is sent.
    new_room : ndarray of int, shape (sequences, days)
        First emails that may still leave.
    release : ndarray of int, shape (stages, days)
        First day on which a stage's email may leave, by the day of the email before it.
    urgency : ndarray of float, shape (stages,)
        What waiting one more day weighs.
    last : int
        The last day that may be used.
    """

    stages: Stages
    pairs: Pairs
    room: np.ndarray
    new_room: np.ndarray
    release: np.ndarray
    urgency: np.ndarray
    last: int


def trajectories(stages: Stages, release: np.ndarray) -> np.ndarray:
    """Return the days of a chain's emails when each leaves on its first possible day.

    Parameters
    ----------
    stages : Stages
        The stages.
    release : ndarray of int, shape (stages, days)
        See `AggregatedInstance`.

    Returns
    -------
    ndarray of int, shape (stages, days, most remaining)
        By stage and the day on which its email leaves; `beyond` past the chain's end.
    """
    count, width = stages.path.shape
    days = release.shape[1]
    result = np.full((count, days, width), days - 1)
    result[:, :, 0] = np.arange(days)
    for column in range(1, width):
        at = stages.path[:, column]
        alive = at != NONE
        result[alive, :, column] = np.take_along_axis(
            release[at[alive]], result[alive, :, column - 1], axis=1
        )
    return result
