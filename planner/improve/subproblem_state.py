"""Parts: what is known of each component of a problem while its plan is being improved."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.flow.network import Lanes
from sendplan.planner.improve.tasks import pooled_bound

ROUNDING = 1e-9
"""What is lost at most, relative to the cost, to the arithmetic of real numbers."""

FIRST_LIMIT = 0.3
"""Seconds of work that a box gets at first."""

ABREAST = 10
"""Boxes that are followed in one task."""


@dataclass
class Part:
    """A piece, and the best that is known of it.

    Parameters
    ----------
    lanes : Lanes
        The piece.
    cost : float
        Cost of the best plan known.
    sends : ndarray of int, shape (lanes, days)
        Emails that leave in it.
    bound : float
        What every plan costs at least.
    improved : bool
        Whether that plan was found here.
    rough : ndarray of int, shape (lanes, days), or None
        A plan that would be better, but has two emails of a contact on one day.
    rough_cost : float
        What it costs.
    groups : int
        As how many boxes the relaxation has taken the piece's.
    tried : float
        Seconds of work that it was given to be solved at one go.
    """

    lanes: Lanes
    cost: float
    sends: np.ndarray
    bound: float = -np.inf
    improved: bool = False
    rough: np.ndarray | None = None
    rough_cost: float = np.inf
    groups: int = 0
    tried: float = 0.0

    def take(self, sends: np.ndarray) -> None:
        """Keep a plan if it is better; one in which contacts meet is kept apart, to be mended."""
        value = self.lanes.value(sends)
        if value >= self.cost - ROUNDING * max(abs(value), 1.0):
            return
        if self.lanes.meet(sends):
            if value < self.rough_cost:
                self.rough, self.rough_cost = sends, value
        else:
            self.sends, self.cost, self.improved = sends, value, True

    def bounded(self, bound: float, unit: int | None) -> None:
        """Keep a bound if it is better; costs are whole multiples of the unit's part."""
        if not np.isfinite(bound):
            return
        self.bound = max(self.bound, float(whole_costs(np.array(bound), unit)))

    @property
    def closed(self) -> bool:
        """Return whether nothing can be better."""
        return self.bound >= self.cost - ROUNDING * max(abs(self.cost), 1.0)


def whole_costs(bound: np.ndarray, unit: int | None) -> np.ndarray:
    """Raise bounds to the next cost that there is: all are whole multiples of the unit's part."""
    bound = bound - ROUNDING * np.abs(bound)
    return bound if unit is None else np.ceil(bound * unit - 1e-4) / unit


def bound_quickly(parts: list[Part], unit: int | None) -> None:
    """Give every part the bound that is soonest had."""
    for part in parts:
        part.bounded(pooled_bound(part.lanes), unit)


class Draft:
    """A plan of a part in the making, box by box.

    Every box has a bound, given its chains, and a limit for the work of its next refinement.
    """

    def __init__(self, part: Part, lanes: Lanes) -> None:
        self.part, self.lanes = part, lanes
        boxes = len(lanes.room)
        self.sends = np.zeros_like(lanes.arriving)
        self.entered = np.zeros(boxes, dtype=bool)
        self.ended = np.zeros(boxes, dtype=bool)
        self.bound = np.full(boxes, -np.inf)
        self.slack = np.zeros(boxes)
        self.limit = np.full(boxes, FIRST_LIMIT)

    def chunks(self) -> list[np.ndarray]:
        """Return the boxes, a task's worth at a time."""
        boxes = np.arange(len(self.lanes.room))
        return [boxes[begin : begin + ABREAST] for begin in range(0, len(boxes), ABREAST)]

    def alone(self, box: int) -> tuple[Lanes, np.ndarray]:
        """Return one box's lanes and emails."""
        return self.lanes.at(np.array([box])), self.sends[self.lanes.box == box]

    def enter(self, boxes: np.ndarray, sends: np.ndarray) -> None:
        """Take over what leaves some boxes."""
        self.sends[np.isin(self.lanes.box, boxes)] = sends
        self.entered[boxes] = True
        for box in boxes:
            lane = self.lanes.box == box
            cost = float((self.lanes.cost[lane] * self.sends[lane]).sum())
            self.slack[box] = cost - self.bound[box]
            self.ended[box] |= self.slack[box] <= ROUNDING * max(abs(cost), 1.0)

    @property
    def complete(self) -> bool:
        """Return whether every box has been made whole."""
        return bool(self.entered.all())

    def hand_in(self) -> None:
        """Offer the plan to the part."""
        if self.complete:
            self.part.take(self.sends.copy())
