"""The optimality gap: how far from the best a plan may be, and what that means in words."""

from sendplan.planner.schema.vocabulary import Termination


def relative_gap(cost: float, lower_bound: float) -> float:
    """Return ``(cost - lower_bound) / cost``, 0 for a plan that costs nothing."""
    return (cost - lower_bound) / cost if cost > 0 else 0.0


def verdict(cost: float, lower_bound: float | None, stopped: str | None) -> str:
    """Say in words what a plan's gap means.

    Parameters
    ----------
    cost : float
        Cost of the plan.
    lower_bound : float or None
        Lower bound on the cost of every plan.
    stopped : str or None
        Why the search ended, a word of `Termination`.

    Returns
    -------
    str
        A sentence, or two.
    """
    if lower_bound is None:
        return "No lower bound was computed."
    if lower_bound >= cost:
        return "Proven to be the best possible: no plan costs less."
    gap = relative_gap(cost, lower_bound)
    percent = f"{gap:.1%}" if gap >= 0.001 else f"{gap:.2%}" if gap >= 0.0001 else "0.01%"
    text = f"Within {percent} of the best possible: no plan can cost less than {lower_bound:,.0f}."
    return f"{text} {_WHY[stopped]}" if stopped in _WHY else text


_WHY: dict[str | None, str] = {
    None: "Method greedy does not search for a better one; method auto does.",
    Termination.GAP: "That is within the gap asked for.",
    Termination.EXHAUSTED: "The search has tried everything.",
    Termination.TIME_LIMIT: "The time limit is spent; with a longer one it may come closer.",
    Termination.WALL_CLOCK: "A safety stop by the wall clock ended it, so another run may differ;"
    " the machine was too busy for its time limit.",
    Termination.INTERRUPTED: "It was interrupted.",
}
