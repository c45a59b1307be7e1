"""Subproblems: the components of an instance as flow networks, and flows as placements."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import FlowNetwork
from sendplan.planner.flow.single_chains import SingleChains
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.counts import Counts, Pairs
from sendplan.planner.model.disaggregation import assign, demand
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.objective import surcharge
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.readers import NULL


@dataclass(frozen=True)
class Subproblem:
    """One component as a flow network.

    Parameters
    ----------
    component : int
        Its number.
    mailbox : ndarray of int, shape (resources,)
        Mailbox of each resource of `network`.
    stage : ndarray of int, shape (commodities,)
        A stage whose emails the commodity sends; the only one where chains may start.
    number : ndarray of int, shape (stages + 1, mailboxes)
        Commodity of each stage and mailbox, `NONE` outside the subproblem.
    network : FlowNetwork
        What is decided.
    """

    component: int
    mailbox: np.ndarray
    stage: np.ndarray
    number: np.ndarray
    network: FlowNetwork


def build_subproblems(
    singles: SingleChains,
    limits: Limits,
    parameters: Parameters,
    sink: np.ndarray,
    *,
    change_weight: float = 0.0,
) -> list[Subproblem]:
    """Divide an instance of which nothing is placed into its components.

    Parameters
    ----------
    singles : SingleChains
        The instance.
    limits : Limits
        Its limits.
    parameters : Parameters
        Planning parameters.
    sink : ndarray of int, shape (components,)
        The day that stands for all later ones: what leaves then is counted as of that day.
    change_weight : float
        Cost of moving an email of a single chain from its existing slot.

    Returns
    -------
    list of Subproblem
        By number of the component, those that have emails to send.
    """
    builder = _Builder(singles, limits, parameters, sink, change_weight)
    stages = singles.instance.stages
    used = singles.component[stages.sequence[singles.instance.chains.stage]]
    return [builder.subproblem(component) for component in np.unique(used).tolist()]


def _constants(
    instance: Instance, component: np.ndarray, slip_weight: float, sink: np.ndarray
) -> np.ndarray:
    """Return what the cost of each component has besides the days of its emails.

    Lateness runs from the ideal day, and the slip of the next email of a chain from its ready day.
    """
    emails, chains, stages = instance.emails, instance.chains, instance.stages
    of_email = component[stages.sequence[emails.stage]]
    count = len(sink)
    late = np.minimum(emails.ideal, sink[of_email])
    ideal = np.bincount(of_email, emails.priority * late, count)
    priority = instance.problem.sequences["priority"].to_numpy()[stages.sequence[chains.stage]]
    slips = np.where(stages.is_first[chains.stage], 0.0, slip_weight * priority)
    of_chain = component[stages.sequence[chains.stage]]
    ready = np.bincount(of_chain, slips * np.minimum(chains.ready, sink[of_chain]), count)
    return np.asarray(-(ideal + ready))


class _Builder:
    """What all subproblems of an instance have in common."""

    def __init__(
        self,
        singles: SingleChains,
        limits: Limits,
        parameters: Parameters,
        sink: np.ndarray,
        change_weight: float,
    ) -> None:
        instance = self.instance = singles.instance
        self.singles, self.limits, self.parameters = singles, limits, parameters
        self.sink, self.change_weight = sink, change_weight
        self.pairs = Pairs.build(instance.stages, instance.fleet.pools, limits.urgency)
        self.wanted = demand(instance, limits, Placement.empty(instance), self.pairs)
        self.constant = _constants(instance, singles.component, parameters.slip_weight, sink)
        priority = instance.problem.sequences["priority"].to_numpy()
        self.priority = priority[instance.stages.sequence]

    def subproblem(self, component: int) -> Subproblem:
        """Return the subproblem of a component."""
        stages, pairs, wanted = self.instance.stages, self.pairs, self.wanted
        sink = int(self.sink[component])
        days = sink + 1
        mine = (self.singles.component == component)[stages.sequence]
        sends = stages.sends[:, :days].copy()
        sends[:, sink] = True
        ready = np.minimum(stages.ready[:, :days], sink)
        release = np.minimum(self.limits.release[:, :days], sink)
        future, kept = self._futures(np.flatnonzero(mine), sends, ready, release)
        goes_on = stages.following != NONE
        onward = np.full(ready.shape, sink)
        onward[goes_on] = release[stages.following[goes_on]]

        pair = np.flatnonzero(mine[pairs.stage])
        mailbox, resource = np.unique(pairs.mailbox[pair], return_inverse=True)
        resources = len(mailbox)
        key, commodity = np.unique(
            future[pairs.stage[pair]] * resources + resource, return_inverse=True
        )
        stage, resource = kept[key // resources], key % resources
        number = np.full((len(stages.step) + 1, len(self.limits.room)), NONE)
        number[pairs.stage[pair], pairs.mailbox[pair]] = commodity
        # The stage of a commodity may belong to a sequence without this mailbox, as others of the
        # same future have it.
        after_key = future[stages.following[stage]] * resources + resource
        arriving = np.zeros((len(stage), days), dtype=np.int64)
        np.add.at(arriving, commodity, _until(wanted.bound[pair], sink))
        groups = np.flatnonzero(wanted.free.any(axis=1) & mine)
        group_of = np.full(len(stages.step), NONE)
        group_of[groups] = np.arange(len(groups))
        moves = _moves(self.singles, stage, mailbox[resource], days)
        network = FlowNetwork(
            resource=resource,
            following=np.where(
                stages.following[stage] == NONE, NONE, np.searchsorted(key, after_key)
            ),
            remaining=stages.remaining[stage],
            first=stages.is_first[stage],
            sequence=stages.sequence[stage],
            urgency=self.limits.urgency[stage],
            sends=sends[stage],
            cost=self._cost(ready)[stage] + self.change_weight * moves,
            onward=onward[stage],
            arriving=arriving,
            group=group_of[stage],
            waiting=_until(wanted.free[groups], sink),
            contact=self.singles.contact[stage],
            room=self.limits.room[mailbox, :days],
            new_room=self.limits.new_room[:, :days],
            constant=float(self.constant[component]),
        )
        return Subproblem(component, mailbox, stage, number, network)

    def _cost(self, ready: np.ndarray) -> np.ndarray:
        """Return what an email adds to the objective, by stage and day."""
        stages = self.instance.stages
        slip = self.priority * self.parameters.slip_weight
        weight = self.priority + np.where(stages.is_first, 0.0, slip)
        cost = weight[:, None] * np.arange(ready.shape[1])
        goes_on = stages.following != NONE
        after = stages.following[goes_on]
        cost[goes_on] -= slip[after, None] * ready[after]
        # In a given horizon the sink is the day after it.
        cost[:, -1] += surcharge(self.priority, self.parameters)
        return np.asarray(cost)

    def _futures(
        self, mine: np.ndarray, sends: np.ndarray, ready: np.ndarray, release: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the future of each stage, and a stage of each future.

        A stage has a future of its own if chains may start there, if it sends first emails, or if
        it is that of a single chain.
        """
        stages = self.instance.stages
        alone = self.wanted.free.any(axis=1) | stages.is_first | (self.singles.email != NONE)
        labels: dict[tuple[object, ...], int] = {}
        future = np.full(len(stages.step) + 1, NONE)
        kept: list[int] = []
        for stage in mine[np.argsort(stages.remaining[mine], kind="stable")]:
            after = stages.following[stage]
            key = (
                int(future[after]),
                int(stage) if alone[stage] else NONE,
                float(self.priority[stage]),
                sends[stage].tobytes(),
                ready[after].tobytes() if after != NONE else b"",
                release[after].tobytes() if after != NONE else b"",
            )
            if key not in labels:
                labels[key] = len(kept)
                kept.append(int(stage))
            future[stage] = labels[key]
        return future, np.array(kept, dtype=np.int64)


def _moves(singles: SingleChains, stage: np.ndarray, mailbox: np.ndarray, days: int) -> np.ndarray:
    """Tell on which days the email of a single chain leaves its existing slot."""
    emails = singles.instance.emails
    email = singles.email[stage]
    moves = np.zeros((len(stage), days), dtype=bool)
    if not len(emails):
        return moves
    moves[(email != NONE) & (emails.existing_at[email] != NULL)] = True
    stays = (email != NONE) & (emails.existing_mailbox[email] == mailbox)
    day = emails.existing_day[email]
    # An email in the sink leaves on some later day.
    stays &= (day >= 0) & (day < days - 1)
    moves[stays, day[stays]] = False
    return moves


def _until(count: np.ndarray, sink: int) -> np.ndarray:
    """Cut counts by day off at the sink, which takes all later ones."""
    cut = count[:, : sink + 1].copy()
    cut[:, sink] += count[:, sink + 1 :].sum(axis=1)
    return cut


def flow_of(instance: Instance, subproblem: Subproblem, placement: Placement) -> np.ndarray:
    """Return a placement as emails by commodity and day; those without a day leave in the sink.

    Parameters
    ----------
    instance : Instance
        The instance that the subproblem is a component of.
    subproblem : Subproblem
        The subproblem.
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


def placement_of(
    instance: Instance, limits: Limits, flows: list[tuple[Subproblem, np.ndarray]]
) -> Placement:
    """Return emails by commodity and day as a placement, first in, first out.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    flows : list of (Subproblem, ndarray of int, shape (commodities, days))
        Emails that leave, of bound and of starting chains.

    Returns
    -------
    Placement
        Emails in the sink have no day.
    """
    size = instance.problem.horizon.size
    number = np.full((len(instance.stages.step) + 1, instance.fleet.capacity.shape[0]), NONE)
    counts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    stage: list[np.ndarray] = []
    mailbox: list[np.ndarray] = []
    commodities = 0
    for subproblem, sends in flows:
        network = subproblem.network
        within = subproblem.number != NONE
        number[within] = subproblem.number[within] + commodities
        commodities += len(network)
        stage.append(subproblem.stage)
        mailbox.append(subproblem.mailbox[network.resource])
        bound = network.bound_sends(sends)
        for table, emails in zip(counts, (bound, sends - bound), strict=True):
            padded = np.zeros((len(network), size), dtype=np.int64)
            padded[:, : network.sink] = emails[:, : network.sink]
            table.append(padded)
    placement = Placement.empty(instance)
    stages = np.concatenate(stage)
    pairs = Pairs(stages, np.concatenate(mailbox), np.full_like(stages, NONE), number)
    assign(instance, limits, placement, pairs, Counts(*map(np.concatenate, counts)))
    return placement
