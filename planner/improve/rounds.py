"""The improvement: relax, share out, make whole, refine, prove, until the gap is closed.

1. A piece's relaxation, boxes that are loaded alike taken as one, bounds what every plan costs,
   and says how many chains each box should start.
2. With those shared out, boxes are apart. Each one's own relaxation is followed day by day in
   whole emails, and then refined by CP-SAT.
3. A piece that is small enough is solved at one go, boxes and all.

The steps are tasks for a crew, gathered in order. How much they may do is counted in work, not in
time, and decided between rounds of tasks; so the result is the same whoever works, and however
many do.
"""

import numpy as np

from sendplan.planner.improve.subproblem_state import Draft, Part, whole_costs
from sendplan.planner.improve.task_pool import Crew, Progress
from sendplan.planner.improve.tasks import (
    AT_ONE_GO,
    followed,
    following_work,
    proof_work,
    proven,
    refined,
    relaxation_work,
    relaxed,
    size,
)
from sendplan.planner.plan.optimality_gap import relative_gap
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import Stop

FOR_RELAXATIONS = 0.25
"""Part of what work is left that relaxations may take."""

FINER = 4
"""By how much the number of groups grows from round to round."""

LONGER = 4.0
"""How many times as much work a box gets the next time."""

LONGEST = 20.0
"""Seconds of work after which a box is left as it is."""


def improve(
    parts: list[Part],
    unit: int | None,
    parameters: Parameters,
    crew: Crew,
    rival: float = np.inf,
) -> Stop:
    """Improve the parts' plans and bounds, in place.

    Parameters
    ----------
    parts : list of Part
        With the cost of a known plan, and a bound.
    unit : int or None
        See `sendplan.planner.flow.cpsat_solver.unit_of`.
    parameters : Parameters
        Limits.
    crew : Crew
        Who works.
    rival : float
        Cost of another plan of all parts: the search may end where that is good enough, but takes
        no other notice of it.

    Returns
    -------
    Stop
        Why it ended.
    """
    try:
        return _Search(parts, unit, parameters, crew, rival).run()
    except KeyboardInterrupt:
        return Stop.INTERRUPTED


class _Search:
    """Rounds of tasks, and the work that is left for them."""

    def __init__(
        self,
        parts: list[Part],
        unit: int | None,
        parameters: Parameters,
        crew: Crew,
        rival: float,
    ) -> None:
        self.rival = rival
        self.parts, self.unit, self.crew = parts, unit, crew
        self.parameters = parameters
        self.work = 0.0
        self.short = False
        self.late = False

    def run(self) -> Stop:
        self._report("greedy")
        while (stop := self._why_stop()) is None:
            if not (self._round() or self._prove() or self._round(finer=True)):
                return Stop.TIME_LIMIT if self.short else Stop.EXHAUSTED
        return stop

    @property
    def left(self) -> float:
        return self.parameters.time_limit - self.work

    def _why_stop(self) -> Stop | None:
        if self.crew.stopped is not None:
            return self.crew.stopped
        if all(part.closed for part in self.parts) or self.bound >= self.cost:
            return Stop.OPTIMAL
        if self.late:
            return Stop.WALL_CLOCK
        if self._close_enough() and not any(
            # What can be proven at one go soon is proven, close as it may be.
            not part.tried and not part.closed and size(part.lanes) <= AT_ONE_GO
            for part in self.parts
        ):
            return Stop.GAP
        return Stop.TIME_LIMIT if self.left <= 0 else None

    def _close_enough(self) -> bool:
        """Tell whether the gap is as small as wanted; asked for by name, CP-SAT has none."""
        wanted = self.parameters.gap if self.parameters.method == "auto" else 0.0
        return relative_gap(self.cost, self.bound) <= wanted

    @property
    def cost(self) -> float:
        """Return the cost of the best plan known."""
        return min(sum(part.cost for part in self.parts), self.rival)

    @property
    def bound(self) -> float:
        """Return what every plan costs at least."""
        return sum(part.bound for part in self.parts)

    def _report(self, phase: str) -> None:
        progress = Progress(self.cost, min(self.bound, self.cost), phase, self.work)
        self.crew.watch.report(progress)

    def _round(self, *, finer: bool = False) -> bool:
        """Relax parts, follow what comes out, and refine it; tell whether any could be afforded."""
        chosen = self._affordable([part for part in self.parts if (part.groups > 0) == finer])
        if not chosen:
            return False
        results = self.crew.run(relaxed, [(part.lanes, groups) for part, groups in chosen])
        drafts: list[Draft] = []
        for (part, groups), result in zip(chosen, results, strict=True):
            if result is None:
                continue
            self.work += result.work
            part.groups = groups
            part.bounded(result.bound, self.unit)
            if result.lanes is not None:
                drafts.append(Draft(part, result.lanes))
        self._report("relaxed")
        self._follow(drafts)
        if sum(proof_work(part.lanes) for part in self.parts if not part.closed) > self.left:
            self._refine(drafts)
        return True

    def _affordable(self, waiting: list[Part]) -> list[tuple[Part, int]]:
        """Choose parts to relax, and how finely, those first whose gaps are widest."""
        waiting = [
            part for part in waiting if not part.closed and part.groups < len(part.lanes.room)
        ]
        waiting.sort(key=lambda part: part.bound - part.cost)
        total = sum(size(part.lanes) for part in waiting)
        chosen: list[tuple[Part, int]] = []
        spent = 0.0
        for part in waiting:
            boxes = len(part.lanes.room)
            fair = FOR_RELAXATIONS * self.left * size(part.lanes) / total
            groups = min(max(1, FINER * part.groups), boxes)
            while groups < boxes and relaxation_work(part.lanes, min(2 * groups, boxes)) <= fair:
                groups = min(2 * groups, boxes)
            needs = relaxation_work(part.lanes, groups) + following_work(part.lanes)
            if spent + needs > self.left:
                self.short = True
                continue
            chosen.append((part, groups))
            spent += needs
        return chosen

    def _follow(self, drafts: list[Draft]) -> None:
        tasks = [(draft, boxes) for draft in drafts for boxes in draft.chunks()]
        results = self.crew.run(followed, [(draft.lanes.at(boxes),) for draft, boxes in tasks])
        for (draft, boxes), result in zip(tasks, results, strict=True):
            if result is not None:
                self.work += result.work
                draft.bound[boxes] = whole_costs(result.bound, self.unit)
                draft.enter(boxes, result.sends)
        for draft in drafts:
            draft.hand_in()
        self._report("made whole")

    def _refine(self, drafts: list[Draft]) -> None:
        """Refine boxes, those that may gain most first, each time by more work."""
        drafts = [draft for draft in drafts if draft.complete]
        while self.left > 0 and self.crew.stopped is None and not self._close_enough():
            boxes = self._worthwhile(drafts)
            if not boxes:
                return
            results = self.crew.run(
                refined,
                [
                    (*draft.alone(box), self.unit, limit, self.parameters.seed)
                    for draft, box, limit in boxes
                ],
            )
            for (draft, box, limit), result in zip(boxes, results, strict=True):
                if result is None:
                    continue
                self.work += result.work
                draft.limit[box] = limit * LONGER
                draft.ended[box] = result.ended
                draft.enter(np.array([box]), result.sends)
            for draft in drafts:
                draft.hand_in()
            self._report("refined")

    def _worthwhile(self, drafts: list[Draft]) -> list[tuple[Draft, int, float]]:
        """Choose boxes to refine within what work is left, and how much each may take."""
        found = [
            (draft.limit[box], -draft.slack[box], place, box)
            for place, draft in enumerate(drafts)
            if not draft.part.closed
            for box in np.flatnonzero(~draft.ended & (draft.limit <= LONGEST))
        ]
        chosen: list[tuple[Draft, int, float]] = []
        left = self.left
        for limit, _, place, box in sorted(found):
            # One that is given less may find that too little to begin with, again and again.
            if limit > left:
                self.short = True
                break
            chosen.append((drafts[place], int(box), float(limit)))
            left -= limit
        return chosen

    def _prove(self) -> bool:
        """Solve parts at one go, as far as that can be afforded; tell whether any could."""
        waiting = [part for part in self.parts if not part.closed]
        # Again only with much more work than the last time.
        each = self.left / max(len(waiting), 1)
        waiting = [part for part in waiting if LONGER * part.tried <= each]
        waiting.sort(key=lambda part: part.bound - part.cost)
        chosen: list[Part] = []
        spent = 0.0
        for part in waiting:
            needs = proof_work(part.lanes)
            if spent + needs <= self.left:
                chosen.append(part)
                spent += needs
            elif np.isfinite(needs):
                self.short = True
        if not chosen:
            return False
        limit = self.left / len(chosen)
        results = self.crew.run(
            proven,
            [(part.lanes, part.sends, self.unit, limit, self.parameters.seed) for part in chosen],
        )
        for part, result in zip(chosen, results, strict=True):
            part.tried = limit if size(part.lanes) <= AT_ONE_GO else np.inf
            if result is None:
                continue
            self.work += result.work
            self.late |= not result.on_time
            part.take(result.sends)
            part.bounded(result.bound, self.unit)
        self._report("proved")
        return True
