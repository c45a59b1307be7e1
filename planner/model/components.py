"""Components: parts of the work that share nothing."""

import numpy as np

from sendplan.planner.model.instance import Instance


def mailbox_components(pools: list[np.ndarray]) -> np.ndarray:
    """Find the groups of sequences that share mailboxes.

    Parameters
    ----------
    pools : list of ndarray of int
        The mailboxes of each sequence.

    Returns
    -------
    ndarray of int, shape (sequences,)
        Number of each sequence's component, from 0.
    """
    mailbox = np.concatenate([*pools, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    sequence = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    return connected(len(pools), [(sequence, mailbox)])


def components(instance: Instance) -> np.ndarray:
    """Tell apart the parts of the work that share no mailbox and no contact.

    Parameters
    ----------
    instance : Instance
        The work.

    Returns
    -------
    ndarray of int, shape (chains,)
        Number of each chain's component.
    """
    sequence = (
        instance.stages.sequence[instance.chains.stage]
        if len(instance.chains)
        else instance.chains.stage
    )
    return np.asarray(sequence_components(instance)[sequence])


def sequence_components(instance: Instance) -> np.ndarray:
    """Find the groups of sequences that share mailboxes or contacts.

    Parameters
    ----------
    instance : Instance
        The work.

    Returns
    -------
    ndarray of int, shape (sequences,)
        Number of each sequence's component, from 0.
    """
    sequence = (
        instance.stages.sequence[instance.chains.stage]
        if len(instance.chains)
        else instance.chains.stage
    )
    pools = instance.fleet.pools
    mailbox = np.concatenate([*pools, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    linked = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    return connected(len(pools), [(linked, mailbox), (sequence, instance.chains.contact)])


def connected(count: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Find the connected parts of nodes that share hubs.

    Parameters
    ----------
    count : int
        Number of nodes.
    edges : list of (ndarray of int, ndarray of int)
        Nodes and hubs, pair by pair.

    Returns
    -------
    ndarray of int, shape (count,)
        Number of each node's part, from 0.
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
