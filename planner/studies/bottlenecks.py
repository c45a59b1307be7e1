"""Bottlenecks: where capacity binds, and what more of it would save.

A price is a dual value of the relaxation (`sendplan.planner.studies.shadow_prices`), in days of
lateness at priority 1, the unit of the cost. Where capacity is added and nothing else changes, the
proven bound falls by exactly price × emails. So one more email of capacity there saves the best
possible plan at most its price plus the gap between the bound and that plan. Prices of several
days, or of more than a few emails, do not add up: the more there is, the less the next is worth.
The saving of 10 % more is therefore computed anew.
"""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.changes import ScaleCapacities
from sendplan.planner.flow.lagrangian import lagrangian_bound
from sendplan.planner.improve.task_pool import SilentCallback, TaskPool
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.components import sequence_components
from sendplan.planner.model.instance import Instance, build_instance
from sendplan.planner.model.limits import Limits, horizon_end, limits_of
from sendplan.planner.model.mailbox_capacity import fleet_of
from sendplan.planner.model.objective import delays
from sendplan.planner.plan.plan import Plan
from sendplan.planner.plan.reading import read_plan
from sendplan.planner.problem.enrollment_state import enrollment_state
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.solver import plan_with
from sendplan.planner.studies.shadow_prices import PricedSubproblem, capacity_prices, price_capacity

MATTERS = 0.01
"""Price from which capacity counts as short; lower ones are noise of the solver."""

MORE = 0.1
"""Relative raise of capacity whose saving is computed."""

ROUNDS = 3
"""Pools of a component, by decreasing saving, for which a plan with more capacity is made."""

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
    """Capacity that is short, by decreasing saving.

    Parameters
    ----------
    pools : DataFrame
        One row for each pool (mailboxes that serve the same sequences) whose capacity binds, ranked
        by `saving`:

        - pool: its number; sequence_ids, mailbox_ids: tuples of ids;
        - first_day, last_day, days: the first and last day that binds, and their number;
        - price: most that one more email saves, on average of the days that bind;
        - highest_price, dearest_day: the same on the day on which it is highest;
        - one_more_a_day: sum of the prices of all days, the most that one more email on every day
          saves: the daily_capacity of a mailbox raised by 1;
        - saving: fall of the bound if the daily_capacity of every mailbox of the pool is raised by
          the share `more`, with the same ramps;
        - saving_at_least: saving of a plan made with that capacity; NaN without one (`ROUNDS`);
        - saving_at_most: no plan with that capacity saves more.
    days : DataFrame
        Days that bind: pool, send_day, room (emails that may be planned), planned (emails that
        are), price.
    new_emails : DataFrame
        Sequences whose max_new_per_day binds, ranked by one_more_a_day, with columns as in `pools`.
    cost : float
        Cost of the plan.
    lower_bound : float
        Lower bound on the cost of every plan, proven by these prices.
    more : float
        Relative raise of capacity.
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
    """Find where capacity binds, and what more of it would save.

    Parameters
    ----------
    problem : Problem
        The problem.
    plan : Plan, optional
        A plan of it; by default that of method greedy.
    by_mailbox : bool
        Whether every mailbox is a pool of its own; takes far longer.
    horizon_days, slip_weight, one_a_day
        Parameters of the plan, see `sendplan.solve`.
    workers : int
        Number of threads that price components side by side.
    executor : Executor, optional
        Runs the tasks instead of such threads, for instance a process pool.

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
    placement = read_plan(instance, plan.sends).placement
    pool_of = _pools(instance, by_mailbox=by_mailbox)
    with TaskPool.open(executor, workers, SilentCallback()) as task_pool:
        found = capacity_prices(instance, limits, parameters, placement, pool_of, task_pool)
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
    """The frames of `Bottlenecks`, from prices."""

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
        """Return the component of a subproblem, which others that share contacts belong to, too."""
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
        wide = [subproblem.with_room(resource, room) for subproblem, resource in short]
        solved = task_pool.run(price_capacity, [(network,) for network in wide])
        rows = []
        for (subproblem, resource), network, again in zip(short, wide, solved, strict=True):
            # The prices of today's capacity give a bound, too.
            less = lagrangian_bound(network, subproblem.prices)
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
        """Fill in saving_at_least by plans with more capacity in one pool of each component."""
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
        """Return the capacity of mailboxes with raised daily_capacity; shape (mailboxes, days)."""
        problem = self.instance.problem
        larger = problem.with_(ScaleCapacities(1 + MORE))
        fleet = fleet_of(larger, enrollment_state(larger))
        tight = self.limits.room[:, :-1]
        added = np.maximum(fleet.capacity, 0) - self.instance.fleet.capacity
        # Where min_gap_seconds binds, a raise changes nothing.
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
        rows = [
            (
                int(subproblem.pool[resource]),
                self._date(day),
                int(subproblem.network.room[resource, day]),
                int(self.load[subproblem.mailbox[resource], day].sum()),
                float(subproblem.prices.room[resource, day]),
            )
            for subproblem in self.found
            for resource, day in np.argwhere(subproblem.prices.room[:, :-1] > MATTERS).tolist()
        ]
        frame = pd.DataFrame(rows, columns=list(DAYS))
        return frame.sort_values(["pool", "send_day"], ignore_index=True)

    def new_emails(self) -> pd.DataFrame:
        """Return the frame of sequences whose max_new_per_day binds."""
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
