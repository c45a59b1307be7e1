"""Work estimates: deterministic work in seconds of one core, without a clock.

Time limits are limits of this work, so that a plan does not depend on the speed or the load of the
machine. The rates were measured on one core of a small server (benchmarks/RESULTS.md); elsewhere a
second of work takes more or less than a second.
"""

import numpy as np

SECONDS_PER_DETERMINISTIC = 2.6
"""Work of one unit of the deterministic time of CP-SAT."""

SECONDS_PER_VARIABLE = 2.5e-5
"""Work of passing a model to CP-SAT and its answer back, by variable."""


def interior_point(variables: int) -> float:
    """Return the work of an interior point method on a count model."""
    return float(4.5e-6 * max(variables, 1) ** 1.25)


def simplex(variables: int) -> float:
    """Return the work of the simplex method on a count model of one resource."""
    return float(0.005 + 2.2e-5 * variables)


def cpsat(deterministic: float, variables: int) -> float:
    """Return the work of a solve by CP-SAT, given its deterministic time."""
    return SECONDS_PER_DETERMINISTIC * deterministic + SECONDS_PER_VARIABLE * variables


def expected_mip(variables: int) -> float:
    """Return the expected work of branch and bound over a count model."""
    return float(8e-4 * variables)


def mip(variables: int, iterations: int, nodes: int) -> float:
    """Return the work of a branch and bound, given its simplex iterations and nodes."""
    return float(3e-8 * variables * iterations + 0.3 * nodes)


def deterministic_time(seconds: float) -> float:
    """Return the deterministic time of CP-SAT that some seconds of work allow."""
    return float(np.maximum(seconds, 0.0) / SECONDS_PER_DETERMINISTIC)
