"""Subproblems: parts of the instance that share no mailbox, as flow networks, and the way back."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.single_chains import SingleChains
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.counts import Counts, Demand, Pairs
from sendplan.planner.model.disaggregation import assign, demand
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.objective import surcharge
from sendplan.planner.model.stages import NONE, Stages
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.readers import NULL


@dataclass(frozen=True)
class Subproblem:
    """One part.

    Parameters
    ----------
    part : int
        The number of its component.
    mailbox : ndarray of int, shape (resources,)
        Its mailboxes; each is a resource of `commodities`.
    stage : ndarray of int, shape (commodities,)
        A stage whose emails the commodity sends; the only one where chains may start.
    number : ndarray of int, shape (stages + 1, mailboxes)
        The commodity of each stage and mailbox, `NONE` outside the subproblem.
    commodities : Commodities
        What there is to decide.
    """

    part: int
    mailbox: np.ndarray
    stage: np.ndarray
    number: np.ndarray
    network: FlowNetwork


def subproblems(
    singles: SingleChains,
    limits: Limits,
    parameters: Parameters,
    sink: np.ndarray,
    *,
    change_weight: float = 0.0,
) -> list[Subproblem]:
    """Cut the work, nothing of it being placed, into its components.

    Parameters
    ----------
    singles : SingleChains
        The work.
    limits : Limits
        What it may use.
    parameters : Parameters
        How is planned.
    sink : ndarray of int, shape (sequences,)
        By the number of a component, the day that stands for all later ones; what leaves then is
        counted as of that day.
    change_weight : float
        What it costs to move an email that is told apart from its existing slot.

    Returns
    -------
    list of Piece
        In order of their numbers, those in which there is anything to send.
    """
    instance = singles.instance
    pairs = Pairs.build(instance.stages, instance.fleet.pools, limits.urgency)
    wanted = demand(instance, limits, Placement.empty(instance), pairs)
    component = singles.component
    constant = _constants(instance, component, parameters.slip_weight, sink)
    return [
        _piece(
            singles,
            limits,
            parameters,
            int(sink[part]),
            pairs,
            wanted,
            int(part),
            float(constant[part]),
            change_weight=change_weight,
        )
        for part in np.unique(component[instance.stages.sequence[instance.chains.stage]])
    ]


def _constants(
    instance: Instance, component: np.ndarray, slip_weight: float, sink: np.ndarray
) -> np.ndarray:
    """Return what each component's cost has besides the days of its emails.

    Lateness runs from the ideal day, and the slip of a chain's next email from its ready day.
    """
    emails, chains, stages = instance.emails, instance.chains, instance.stages
    of_email = component[stages.sequence[emails.stage]]
    parts = len(sink)
    late = np.minimum(emails.ideal, sink[of_email])
    ideal = np.bincount(of_email, emails.priority * late, parts)
    priority = instance.problem.sequences["priority"].to_numpy()[stages.sequence[chains.stage]]
    slips = np.where(stages.is_first[chains.stage], 0.0, slip_weight * priority)
    of_chain = component[stages.sequence[chains.stage]]
    ready = np.bincount(of_chain, slips * np.minimum(chains.ready, sink[of_chain]), parts)
    return np.asarray(-(ideal + ready))


def _piece(
    singles: SingleChains,
    limits: Limits,
    parameters: Parameters,
    sink: int,
    pairs: Pairs,
    wanted: Demand,
    part: int,
    constant: float,
    *,
    change_weight: float,
) -> Subproblem:
    instance, of_piece = singles.instance, singles.component == part
    stages, days = instance.stages, sink + 1
    mine = np.flatnonzero(of_piece[stages.sequence])
    priority = instance.problem.sequences["priority"].to_numpy()[stages.sequence]
    slip = priority * parameters.slip_weight
    ready = np.minimum(stages.ready[:, :days], sink)
    release = np.minimum(limits.release[:, :days], sink)
    sends = stages.sends[:, :days].copy()
    sends[:, sink] = True
    starts = wanted.free.any(axis=1) | stages.is_first | (singles.email != NONE)
    future, kept = _futures(stages, mine, starts, priority, sends, ready, release)

    cost = (priority + np.where(stages.is_first, 0.0, slip))[:, None] * np.arange(days)
    goes_on = stages.following != NONE
    after = stages.following[goes_on]
    cost[goes_on] -= slip[after, None] * ready[after]
    # In a given horizon the sink is the day after it.
    cost[:, sink] += surcharge(priority, parameters)
    onward = np.full(cost.shape, sink)
    onward[goes_on] = release[after]

    pair = np.flatnonzero(of_piece[stages.sequence[pairs.stage]])
    mailbox = np.unique(pairs.mailbox[pair])
    resources = len(mailbox)
    resource = np.searchsorted(mailbox, pairs.mailbox[pair])
    key, commodity = np.unique(
        future[pairs.stage[pair]] * resources + resource, return_inverse=True
    )
    stage, lane_box = kept[key // resources], key % resources
    number = np.full((len(stages.step) + 1, len(limits.room)), NONE)
    number[pairs.stage[pair], pairs.mailbox[pair]] = commodity
    # The commodity's own stage may not be of a sequence that has this mailbox, but others of the
    # same future are.
    after_key = future[stages.following[stage]] * resources + lane_box
    following = np.where(stages.following[stage] == NONE, NONE, np.searchsorted(key, after_key))

    arriving = np.zeros((len(stage), days), dtype=np.int64)
    np.add.at(arriving, commodity, _until(wanted.bound[pair], sink))
    groups = np.flatnonzero(wanted.free.any(axis=1) & of_piece[stages.sequence])
    group_of = np.full(len(stages.step), NONE)
    group_of[groups] = np.arange(len(groups))
    network = FlowNetwork(
        resource=lane_box,
        following=following,
        remaining=stages.remaining[stage],
        first=stages.is_first[stage],
        sequence=stages.sequence[stage],
        urgency=limits.urgency[stage],
        sends=sends[stage],
        cost=cost[stage] + change_weight * _moves(singles, stage, mailbox[lane_box], days),
        onward=onward[stage],
        arriving=arriving,
        group=group_of[stage],
        waiting=_until(wanted.free[groups], sink),
        contact=singles.contact[stage],
        room=limits.room[mailbox, :days],
        new_room=limits.new_room[:, :days],
        constant=constant,
    )
    return Subproblem(part, mailbox, stage, number, network)


def _moves(singles: SingleChains, stage: np.ndarray, mailbox: np.ndarray, days: int) -> np.ndarray:
    """Tell on which days an email that is told apart leaves its existing slot."""
    emails = singles.instance.emails
    email = singles.email[stage]
    moves = np.zeros((len(stage), days), dtype=bool)
    if not len(emails):
        return moves
    moves[(email != NONE) & (emails.existing_at[email] != NULL)] = True
    stays = (email != NONE) & (emails.existing_mailbox[email] == mailbox)
    day = emails.existing_day[email]
    # What the sink takes leaves on a later day, whichever.
    stays &= (day >= 0) & (day < days - 1)
    moves[stays, day[stays]] = False
    return moves


def _until(count: np.ndarray, sink: int) -> np.ndarray:
    """Cut counts by day off at the sink, which takes all later ones."""
    cut = count[:, : sink + 1].copy()
    cut[:, sink] += count[:, sink + 1 :].sum(axis=1)
    return cut


def _futures(
    stages: Stages,
    mine: np.ndarray,
    starts: np.ndarray,
    priority: np.ndarray,
    sends: np.ndarray,
    ready: np.ndarray,
    release: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Tell the futures of stages apart, and return a stage of each.

    A stage at which chains may start, that sends first emails, or that is one chain's alone, is one
    of its own.
    """
    labels: dict[tuple[object, ...], int] = {}
    future = np.full(len(stages.step) + 1, NONE)
    kept: list[int] = []
    for stage in mine[np.argsort(stages.remaining[mine], kind="stable")]:
        after = stages.following[stage]
        key = (
            int(future[after]),
            int(stage) if starts[stage] else NONE,
            float(priority[stage]),
            sends[stage].tobytes(),
            ready[after].tobytes() if after != NONE else b"",
            release[after].tobytes() if after != NONE else b"",
        )
        if key not in labels:
            labels[key] = len(kept)
            kept.append(int(stage))
        future[stage] = labels[key]
    return future, np.array(kept, dtype=np.int64)


def counted(instance: Instance, subproblem: Subproblem, placement: Placement) -> np.ndarray:
    """Count a placement's emails by commodity and day; what has no day leaves in the sink.

    Parameters
    ----------
    instance : Instance
        The work that the subproblem was cut from.
    subproblem : Subproblem
        A part of it.
    placement : Placement
        Days and mailboxes.

    Returns
    -------
    ndarray of int, shape (commodities, days)
        Emails of chains without a mailbox are counted at the first of their commodities.
    """
    emails, sink = instance.emails, subproblem.network.sink
    mailbox = placement.mailbox[emails.chain]
    any_mailbox = np.where(subproblem.number != NONE, 1, 0).argmax(axis=1)
    mailbox = np.where(mailbox == NONE, any_mailbox[emails.stage], mailbox)
    commodity = subproblem.number[emails.stage, mailbox]
    day = np.where(placement.day == NONE, sink, np.minimum(placement.day, sink))
    result = np.zeros((len(subproblem.network), sink + 1), dtype=np.int64)
    mine = commodity != NONE
    np.add.at(result, (commodity[mine], day[mine]), 1)
    return result


def place(
    instance: Instance, limits: Limits, parts: list[tuple[Subproblem, np.ndarray]]
) -> Placement:
    """Turn the emails of each commodity and day into a placement, first in, first out.

    Parameters
    ----------
    instance, limits
        The work and what may be used.
    parts : list of (Subproblem, ndarray of int, shape (commodities, days))
        Emails that leave, bound chains and starting ones together; the sink's are left out.

    Returns
    -------
    Placement
        What found no day up to the sink has none.
    """
    size = instance.problem.horizon.size
    number = np.full((len(instance.stages.step) + 1, instance.fleet.capacity.shape[0]), NONE)
    bound: list[np.ndarray] = [np.zeros((0, size), dtype=np.int64)]
    free: list[np.ndarray] = [np.zeros((0, size), dtype=np.int64)]
    stage: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    mailbox: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    lanes_before = 0
    for subproblem, sends in parts:
        network = subproblem.network
        within = subproblem.number != NONE
        number[within] = subproblem.number[within] + lanes_before
        lanes_before += len(network)
        stage.append(subproblem.stage)
        mailbox.append(subproblem.mailbox[network.resource])
        of_bound = network.of_bound(sends)
        for table, counts in ((bound, of_bound), (free, sends - of_bound)):
            padded = np.zeros((len(network), size), dtype=np.int64)
            padded[:, : network.sink] = counts[:, : network.sink]
            table.append(padded)
    placement = Placement.empty(instance)
    lane_stage = np.concatenate(stage)
    pairs = Pairs(lane_stage, np.concatenate(mailbox), np.full_like(lane_stage, NONE), number)
    assign(instance, limits, placement, pairs, Counts(np.concatenate(bound), np.concatenate(free)))
    return placement
