"""Planners that are part of this repository: the day-by-day job, and sendplan's own methods."""

from sendplan.benchmarks.baselines import Order, day_by_day
from sendplan.benchmarks.peers.answers import Answer, PeerError
from sendplan.benchmarks.peers.instances import PeerInstance
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.solver import solve
from sendplan.planner.synthetic import instances as synthetic


def daily(instance: PeerInstance, limit: float, order: Order) -> Answer:
    """Decide day by day, in one of the orders; needs no limit."""
    outcome = day_by_day(instance.frames, synthetic.REFERENCE_NOW, order)
    return Answer(outcome.sends, None, "rule of thumb")


def own(instance: PeerInstance, limit: float, method: str) -> Answer:
    """Plan with one of sendplan's methods.

    Raises
    ------
    PeerError
        If there is no such method.
    """
    try:
        plan = solve(instance.problem, method=method, time_limit=limit)
    except MethodError as error:
        raise PeerError(f"refused: {error}") from error
    return Answer(plan.sends, plan.lower_bound, plan.status)
