"""The methods that tests of plans run over, each added here only, and how often chance is tried."""

import os

from hypothesis import HealthCheck, Phase, settings

METHODS = ("greedy", "auto", "cpsat")

# auto makes no plan of its own, so that the long runs need not repeat another method's.
MAKERS = tuple(method for method in METHODS if method != "auto")

FACTOR = int(os.environ.get("SENDPLAN_TEST_FACTOR", "1"))
"""How many times as long a long run lets chance try, with other examples each time."""


def tries(count: int) -> int:
    """Give how often to try; only a fifth as often where every run draws the same examples."""
    return count * FACTOR if FACTOR > 1 else -(-count // 5)


def examples(count: int) -> settings:
    """Give the settings of a property test."""
    return settings(
        max_examples=tries(count),
        derandomize=FACTOR == 1,
        deadline=None,
        # Explaining a failure takes as long again as shrinking it.
        phases=tuple(phase for phase in Phase if phase is not Phase.explain),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
