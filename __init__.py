"""sendplan: plan multi-step email sequences over the whole horizon.

Names load on first use, so that a process that only sends starts without pandas or a solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sendplan.planner import changes
    from sendplan.planner.parameters import Parameters
    from sendplan.planner.plan import Plan
    from sendplan.planner.problem import Problem
    from sendplan.planner.solver import solve
    from sendplan.planner.verify import violations

__version__ = "0.1.0"

_HOMES = {
    "changes": "sendplan.planner.changes",
    "Parameters": "sendplan.planner.parameters",
    "Plan": "sendplan.planner.plan",
    "Problem": "sendplan.planner.problem",
    "solve": "sendplan.planner.solver",
    "violations": "sendplan.planner.verify",
}

__all__ = ["Parameters", "Plan", "Problem", "__version__", "changes", "solve", "violations"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sendplan' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if home.__name__.endswith(f".{name}") else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
