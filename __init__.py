"""sendplan: plan multi-step email sequences over the whole horizon.

Names load on first use, so that a process that only sends starts without pandas or a solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sendplan.planner import changes
    from sendplan.planner.explain.explanations import explain
    from sendplan.planner.plan.checker import violations
    from sendplan.planner.plan.plan import Plan
    from sendplan.planner.problem.parameters import Parameters
    from sendplan.planner.problem.problem import Problem
    from sendplan.planner.simulation.simulation import simulate
    from sendplan.planner.solver import solve
    from sendplan.planner.studies.bottlenecks import bottlenecks
    from sendplan.planner.studies.capacity_search import fewest_mailboxes, smallest_capacity
    from sendplan.planner.studies.comparison import compare

__version__ = "0.1.0"

_HOMES = {
    "bottlenecks": "sendplan.planner.studies.bottlenecks",
    "changes": "sendplan.planner.changes",
    "compare": "sendplan.planner.studies.comparison",
    "explain": "sendplan.planner.explain.explanations",
    "fewest_mailboxes": "sendplan.planner.studies.capacity_search",
    "Parameters": "sendplan.planner.problem.parameters",
    "Plan": "sendplan.planner.plan.plan",
    "Problem": "sendplan.planner.problem.problem",
    "simulate": "sendplan.planner.simulation.simulation",
    "smallest_capacity": "sendplan.planner.studies.capacity_search",
    "solve": "sendplan.planner.solver",
    "violations": "sendplan.planner.plan.checker",
}

__all__ = [
    "Parameters",
    "Plan",
    "Problem",
    "__version__",
    "bottlenecks",
    "changes",
    "compare",
    "explain",
    "fewest_mailboxes",
    "simulate",
    "smallest_capacity",
    "solve",
    "violations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sendplan' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return getattr(home, name, home)


def __dir__() -> list[str]:
    return sorted(__all__)
