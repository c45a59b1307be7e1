"""Components: groups of sequences that share no mailbox, or no contact either."""

import numpy as np

from sendplan.planner.model.instance import Instance


def mailbox_components(
    pools: list[np.ndarray], *shared: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Find the groups of sequences that share mailboxes.

    Parameters
    ----------
    pools : list of ndarray of int
        The mailboxes of each sequence.
    *shared : (ndarray of int, ndarray of int)
        Sequences and anything else that ties them together, pair by pair.

    Returns
    -------
    ndarray of int, shape (sequences,)
        Number of each sequence's component, from 0.
    """
    mailbox = np.concatenate([*pools, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    sequence = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    return connected(len(pools), [(sequence, mailbox), *shared])


def sequence_components(instance: Instance) -> np.ndarray:
    """Find the groups of sequences that share mailboxes or contacts; shape (sequences,)."""
    sequence = instance.stages.sequence[instance.chains.stage]
    return mailbox_components(instance.fleet.pools, (sequence, instance.chains.contact))


def components(instance: Instance) -> np.ndarray:
    """Return each chain's component (`sequence_components`); shape (chains,)."""
    sequence = instance.stages.sequence[instance.chains.stage]
    return np.asarray(sequence_components(instance)[sequence])


def connected(count: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Find the connected components of nodes that share hubs.

    Parameters
    ----------
    count : int
        Number of nodes.
    edges : list of (ndarray of int, ndarray of int)
        Nodes and hubs, pair by pair.

    Returns
    -------
    ndarray of int, shape (count,)
        Number of each node's component, from 0.
    """
    label = np.arange(count)
    while True:
        before = label.copy()
        for node, hub in edges:
            lowest = np.full(int(hub.max(initial=0)) + 1, count)
            np.minimum.at(lowest, hub, label[node])
            np.minimum.at(label, node, lowest[hub])
        if (label == before).all():
            return np.unique(label, return_inverse=True)[1]
