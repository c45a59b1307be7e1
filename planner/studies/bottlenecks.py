"""Bottlenecks: where capacity binds, and what more of it would be worth.

A price is a dual value of the relaxation (`sendplan.planner.studies.shadow_prices`), in days of
lateness at priority 1, the unit of the cost. What it means, exactly: the proven bound falls by
price × emails when room is added there and nothing else changes. So one more email of capacity
there saves the best possible plan at most its price and what the bound lacks to that plan's cost;
where the bound is tight, at most its price. Prices of several days, and of more than a few emails,
do not simply add up: the more there is, the less the next is worth. What 10 % more saves is
therefore worked out anew.
"""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.changes import ScaleCapacities
from sendplan.planner.flow.lagrangian import lagrangian
from sendplan.planner.improve.task_pool import SilentCallback, TaskPool
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.components import sequence_components
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, horizon_end, limits_of
from sendplan.planner.model.mailbox_capacity import fleet_of
from sendplan.planner.model.objective import delays
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.reading import planned
from sendplan.planner.problem.enrollment_state import enrollment_state
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.solver import plan_with
from sendplan.planner.studies.shadow_prices import PricedSubproblem, priced, room_prices

MATTERS = 0.01
"""Price from which room counts as short; below, it is the solver's noise."""

MORE = 0.1
"""By which part capacity is raised to see what that saves."""

ROUNDS = 3
"""Pools of a component, the dearest first, for which a plan with more capacity is made."""

POOLS = (
    "pool",
    "sequence_ids",
    "mailbox_ids",
    "first_day",
    "last_day",
    "days",
    "price",
    "highest_price",
    "dearest_day",
    "one_more_a_day",
    "saving",
    "saving_at_least",
    "saving_at_most",
)
DAYS = ("pool", "send_day", "room", "planned", "price")
NEW_EMAILS = ("sequence_id", "first_day", "last_day", "days", "price", "one_more_a_day")


@dataclass(frozen=True, eq=False)
class Bottlenecks:
    """What is short, the dearest first.

    Parameters
    ----------
    pools : DataFrame
        One row for each pool (mailboxes that serve the same sequences) that has less room than it
        could use, ranked by `saving`:

        - pool: its number; sequence_ids, mailbox_ids: tuples of ids;
        - first_day, last_day, days: from when to when room binds, and on how many days;
        - price: what one more email of room saves at most, on average of the days that bind;
        - highest_price, dearest_day: the same on the day on which it is highest;
        - one_more_a_day: the prices of all days together, which is what one more email on every
          day saves at most: a mailbox's daily_capacity raised by 1;
        - saving: by how much the bound falls if the daily_capacity of every mailbox of the pool is
          raised by the part `more`, ramps as they are;
        - saving_at_least: a plan with that capacity was made that costs so much less than this one;
          NaN where none was made (`ROUNDS`);
        - saving_at_most: no plan with that capacity costs less than this one by more.
    days : DataFrame
        The pools' days that bind: pool, send_day, room (what may still be planned), planned (what
        is), price.
    new_emails : DataFrame
        Sequences whose max_new_per_day binds, ranked by one_more_a_day, with columns as in `pools`.
    cost : float
        Cost of the plan that was looked at.
    lower_bound : float
        What every plan costs at least, proven by these prices.
    more : float
        The part by which capacity was raised.
    """

    pools: pd.DataFrame
    days: pd.DataFrame
    new_emails: pd.DataFrame
    cost: float
    lower_bound: float
    more: float = MORE


def bottlenecks(
    problem: Problem,
    plan: Plan | None = None,
    *,
    by_mailbox: bool = False,
    horizon_days: int | None = None,
    slip_weight: float = Parameters.slip_weight,
    one_a_day: bool = True,
    workers: int = Parameters.workers,
    executor: Executor | None = None,
) -> Bottlenecks:
    """Find where capacity binds, and what more of it would be worth.

    Parameters
    ----------
    problem : Problem
        What is to be planned.
    plan : Plan, optional
        A plan of it; by default the greedy's.
    by_mailbox : bool
        Whether every mailbox is a pool of its own: tells mailboxes apart, and takes far longer.
    horizon_days, slip_weight, one_a_day
        How it was planned, see `sendplan.solve`.
    workers : int
        How many parts of the problem are worked on side by side, in threads.
    executor : Executor, optional
        Who works instead of such threads, for instance a process pool.

    Returns
    -------
    Bottlenecks
        The same for the same input.

    Raises
    ------
    MethodError
        If a parameter is out of range.
    ValueError
        If the plan is of another problem.
    """
    parameters = Parameters(
        "greedy",
        horizon_days=horizon_days,
        slip_weight=slip_weight,
        one_a_day=one_a_day,
        workers=workers,
    )
    if plan is None:
        plan = plan_with(problem, parameters)
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    placement = planned(instance, plan.sends).placement
    pool_of = _pools(instance, by_mailbox=by_mailbox)
    with TaskPool.called(executor, workers, SilentCallback()) as task_pool:
        found = room_prices(instance, limits, parameters, placement, pool_of, task_pool)
        study = _Study(instance, limits, parameters, placement, found)
        return Bottlenecks(
            study.pools(task_pool),
            study.days(),
            study.new_emails(),
            cost=float(study.cost.sum()),
            lower_bound=float(sum(subproblem.bound for subproblem in found)),
        )


def _pools(instance: Instance, *, by_mailbox: bool) -> np.ndarray:
    """Return the pool of each mailbox: equal where they serve the same sequences."""
    count = len(instance.problem.mailboxes)
    if by_mailbox:
        return np.arange(count)
    serves = np.zeros((count, len(instance.fleet.pools)), dtype=bool)
    for sequence, members in enumerate(instance.fleet.pools):
        serves[members, sequence] = True
    _, first, number = np.unique(serves, axis=0, return_index=True, return_inverse=True)
    # Numbered in the order of the mailboxes.
    return np.asarray(np.argsort(np.argsort(first))[number.ravel()])


class _Study:
    """Frames from prices."""

    def __init__(
        self,
        instance: Instance,
        limits: Limits,
        parameters: Parameters,
        placement: Placement,
        found: list[PricedSubproblem],
    ) -> None:
        self.instance, self.limits, self.parameters = instance, limits, parameters
        self.found = found
        self.component = sequence_components(instance)
        self.components = int(self.component.max(initial=0)) + 1
        emails = instance.emails
        end = horizon_end(limits, parameters, placement.day)
        cost = delays(instance, placement, end, parameters).cost
        self.cost = np.bincount(
            self.component[instance.stages.sequence[emails.stage]], cost, self.components
        )
        self.load = placement.load(instance)

    def _component(self, subproblem: PricedSubproblem) -> int:
        """Return the component that a subproblem, or several that share contacts, make up."""
        return int(self.component[subproblem.sequence[0]])

    def pools(self, task_pool: TaskPool) -> pd.DataFrame:
        """Return the frame of pools, each raised by itself."""
        short = [
            (subproblem, resource)
            for subproblem in self.found
            for resource in range(len(subproblem.pool))
            if (subproblem.prices.room[resource, :-1] > MATTERS).any()
        ]
        bound = np.zeros(self.components)
        for subproblem in self.found:
            bound[self._component(subproblem)] += subproblem.bound
        room = self._more_room()
        wide = [subproblem.widened(resource, room) for subproblem, resource in short]
        solved = task_pool.run(priced, [(network,) for network in wide])
        rows = []
        for (subproblem, resource), network, again in zip(short, wide, solved, strict=True):
            # The prices of before prove something of more room, too.
            less = lagrangian(network, subproblem.prices)
            less = max(less, again[1]) if again else less
            saving = max(subproblem.bound - less, 0.0)
            place = self._component(subproblem)
            at_most = self.cost[place] - bound[place] + subproblem.bound - less
            rows.append(
                (*self._pool(subproblem, resource), saving, np.nan, max(float(at_most), 0.0))
            )
        frame = pd.DataFrame(rows, columns=list(POOLS))
        order = ["saving", "one_more_a_day"]
        frame = frame.sort_values(order, ascending=False, kind="stable", ignore_index=True)
        self._plan_with_more(frame)
        return frame

    def _plan_with_more(self, frame: pd.DataFrame) -> None:
        """Fill in what is saved at least, by plans in which one pool of each component has more."""
        problem = self.instance.problem
        place = pd.Index(problem.sequences["id"]).get_indexer(
            [ids[0] for ids in frame["sequence_ids"]]
        )
        component = self.component[place]
        turn = frame.groupby(component).cumcount().to_numpy()
        for number in range(ROUNDS):
            rows = np.flatnonzero(turn == number)
            if not len(rows):
                return
            raised = [key for row in rows for key in frame["mailbox_ids"].iloc[row]]
            other = plan_with(problem.with_(ScaleCapacities(1 + MORE, raised)), self.parameters)
            of_row = pd.Index(problem.sequences["id"]).get_indexer(other.delays["sequence_id"])
            cost = np.bincount(self.component[of_row], other.delays["cost"], self.components)
            saved = np.maximum(self.cost - cost, 0.0)[component[rows]]
            frame.loc[rows, "saving_at_least"] = saved

    def _more_room(self) -> np.ndarray:
        """Return the room of mailboxes with raised daily_capacity."""
        problem = self.instance.problem
        larger = problem.with_(ScaleCapacities(1 + MORE))
        fleet = fleet_of(larger, enrollment_state(larger))
        tight = self.limits.room[:, :-1]
        added = np.maximum(fleet.capacity, 0) - self.instance.fleet.capacity
        # min_gap_seconds, where it is what binds, lets no more leave.
        capped = tight < np.maximum(self.instance.fleet.capacity - self.instance.fleet.used, 0)
        return np.where(capped, tight, tight + added)

    def _pool(self, subproblem: PricedSubproblem, resource: int) -> tuple[object, ...]:
        problem = self.instance.problem
        price = subproblem.prices.room[resource, :-1]
        members = subproblem.mailbox[resource]
        served = [len(np.intersect1d(pool, members)) > 0 for pool in self.instance.fleet.pools]
        return (
            int(subproblem.pool[resource]),
            tuple(problem.sequences["id"].to_numpy()[served].tolist()),
            tuple(problem.mailboxes["id"].to_numpy()[members].tolist()),
            *self._span(price),
            float(price[price > MATTERS].mean()),
            float(price.max()),
            self._date(int(price.argmax())),
            float(price.sum()),
        )

    def _span(self, price: np.ndarray) -> tuple[object, ...]:
        binds = np.flatnonzero(price > MATTERS)
        return self._date(int(binds[0])), self._date(int(binds[-1])), len(binds)

    def _date(self, day: int) -> pd.Timestamp:
        return pd.Timestamp(dates.to_date(day + self.instance.problem.horizon.origin))

    def days(self) -> pd.DataFrame:
        """Return the frame of days that bind."""
        rows: list[tuple[object, ...]] = []
        for subproblem in self.found:
            resource, day = np.nonzero(subproblem.prices.room[:, :-1] > MATTERS)
            for place, at in zip(resource.tolist(), day.tolist(), strict=True):
                rows.append(
                    (
                        int(subproblem.pool[place]),
                        self._date(at),
                        int(subproblem.network.room[place, at]),
                        int(self.load[subproblem.mailbox[place], at].sum()),
                        float(subproblem.prices.room[place, at]),
                    )
                )
        frame = pd.DataFrame(rows, columns=list(DAYS))
        return frame.sort_values(["pool", "send_day"], ignore_index=True)

    def new_emails(self) -> pd.DataFrame:
        """Return the frame of sequences that may start too few contacts a day."""
        ids = self.instance.problem.sequences["id"].to_numpy()
        rows = []
        for subproblem in self.found:
            for sequence in np.flatnonzero((subproblem.prices.new[:, :-1] > MATTERS).any(axis=1)):
                price = subproblem.prices.new[sequence, :-1]
                mean = float(price[price > MATTERS].mean())
                rows.append((int(ids[sequence]), *self._span(price), mean, float(price.sum())))
        frame = pd.DataFrame(rows, columns=list(NEW_EMAILS))
        order = ["one_more_a_day", "sequence_id"]
        return frame.sort_values(order, ascending=[False, True], ignore_index=True)
