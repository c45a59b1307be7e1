"""Effort: how much work something is, in seconds of one core, without looking at a clock.

Limits of time are limits of this work, so that a plan does not depend on how fast or how busy the
machine is. The rates were measured on one core of a small server (benchmarks/RESULTS.md); on
another machine a second of work takes longer or shorter than a second.
"""

import numpy as np

SECONDS_PER_DETERMINISTIC = 2.6
"""One unit of CP-SAT's deterministic time."""

SECONDS_PER_VARIABLE = 2.5e-5
"""Writing a model down for CP-SAT and reading its answer, by variable."""


def interior(variables: int) -> float:
    """Return the work of an interior point method on a count model."""
    return float(4.5e-6 * max(variables, 1) ** 1.25)


def corner(variables: int) -> float:
    """Return the work of the simplex method on a count model of one resource."""
    return float(0.005 + 2.2e-5 * variables)


def whole(deterministic: float, variables: int) -> float:
    """Return the work of a solve by CP-SAT that took so much deterministic time."""
    return SECONDS_PER_DETERMINISTIC * deterministic + SECONDS_PER_VARIABLE * variables


def branching(variables: int) -> float:
    """Return the work that branch and bound over a count model is likely to take."""
    return float(8e-4 * variables)


def branched(variables: int, iterations: int, nodes: int) -> float:
    """Return the work of a branch and bound that took so many simplex iterations and nodes."""
    return float(3e-8 * variables * iterations + 0.3 * nodes)


def deterministic(seconds: float) -> float:
    """Return the deterministic time that CP-SAT may spend within so much work."""
    return float(np.maximum(seconds, 0.0) / SECONDS_PER_DETERMINISTIC)
