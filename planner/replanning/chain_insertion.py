"""Chain insertion: single chains are removed from a placement and inserted at least cost.

Counts decide for all contacts at once and ignore their existing slots. A change concerns few
chains, and no others should move. So these are removed one by one and inserted on their cheapest
path: start, mailbox and the days of all follow-ups are chosen together, by one pass over the days
from the last email to the first (a shortest path), in which a day other than the existing slot's
costs `change_weight` more.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement, ResidualCapacity
from sendplan.planner.model.grouping import numbered
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.objective import NEVER, DayWeights
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.readers import NULL

SPARE_DAYS = 30
"""Days looked at beyond the last one that is in use."""


@dataclass(frozen=True)
class ChainPath:
    """A mailbox and a day for every email of a chain.

    Parameters
    ----------
    value : float
        What the chain costs on it, moves included.
    mailbox : int
        Place of the mailbox.
    days : ndarray of int, shape (emails of the chain,)
        Day indices.
    """

    value: float
    mailbox: int
    days: np.ndarray


class ChainInsertion:
    """A placement that chains are taken from and put back on.

    Parameters
    ----------
    instance, limits, parameters
        The instance, its limits and the planning parameters.
    placement : Placement
        Changed in place.

    Attributes
    ----------
    length : ndarray of int, shape (chains,)
        Emails of each chain.
    first : ndarray of bool, shape (chains,)
        Whether a chain's next email is the first that its enrollment gets.
    email : ndarray of int, shape (chains, most emails)
        Each chain's emails; past its end, of no meaning.
    within : ndarray of bool, shape (chains, most emails)
        Where `email` has a meaning.
    """

    def __init__(
        self, instance: Instance, limits: Limits, parameters: Parameters, placement: Placement
    ) -> None:
        self.instance, self.limits, self.placement = instance, limits, placement
        self.change_weight = parameters.change_weight
        self.room = ResidualCapacity.beside(instance, limits, placement)
        stages, chains, emails = instance.stages, instance.chains, instance.emails
        used = int(max(placement.day.max(initial=1), emails.existing_day.max(initial=1)))
        self.days = min(limits.last + 1, used + SPARE_DAYS)
        self.length = np.diff(chains.offset)
        self.first = stages.is_first[chains.stage]
        column = np.arange(int(self.length.max(initial=1)))
        self.within = column < self.length[:, None]
        self.email = np.minimum(chains.offset[:-1, None] + column, len(emails) - 1)
        self.had_day = np.where(self.within, emails.existing_day[self.email], NONE)
        self.had_mailbox = np.where(self.within, emails.existing_mailbox[self.email], NONE)
        self.had = self.within & (emails.existing_at[self.email] != NULL)
        weights = DayWeights.of(instance, parameters.slip_weight)
        self._cost = weights.by_day(stages.sends[:, : self.days])
        self._credit = weights.slip[:, None] * stages.ready[:, : self.days]
        # An email released beyond the days looked at finds none of them.
        self._release = np.minimum(limits.release[:, : self.days], self.days)
        late = np.where(self.within, emails.priority[self.email] * emails.ideal[self.email], 0.0)
        self._base = late.sum(axis=1) + weights.slip[chains.stage] * chains.ready

    def complete(self) -> np.ndarray:
        """Return which chains have a day for every email; shape (chains,)."""
        return np.asarray(self.placement.placed(self.instance) == self.length)

    def days_of(self, chain: np.ndarray) -> np.ndarray:
        """Return the days of chains' emails, `NONE` where there is none or past the end."""
        return np.where(self.within[chain], self.placement.day[self.email[chain]], NONE)

    def value(self, chain: np.ndarray) -> np.ndarray:
        """Return what complete chains cost where they stand, moves included; `NEVER` for others.

        Parameters
        ----------
        chain : ndarray of int
            The chains.
        """
        day, within, stages = self.days_of(chain), self.within[chain], self.instance.stages
        path = stages.path[self.instance.chains.stage[chain]]
        at = np.minimum(np.maximum(day, 0), self.days - 1)
        total = np.zeros(len(chain))
        for column in range(day.shape[1]):
            stage = path[:, column]
            cost = self._cost[stage, at[:, column]]
            if column:
                cost = cost - self._credit[stage, at[:, column - 1]]
            total += np.where(within[:, column], cost, 0.0)
        moves = self.had[chain] & (
            (day != self.had_day[chain])
            | (self.placement.mailbox[chain][:, None] != self.had_mailbox[chain])
        )
        total += self.change_weight * moves.sum(axis=1) - self._base[chain]
        missing = (within & (day == NONE)).any(axis=1)
        return np.where(missing, NEVER, total)

    def lift(self, chain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Remove chains from the placement, from their first email on.

        Parameters
        ----------
        chain : ndarray of int
            The chains.

        Returns
        -------
        mailbox, days : ndarray of int
            Where they were, as `put` takes it.
        """
        mailbox, days = self.placement.mailbox[chain], self.days_of(chain)
        self._use(chain, -1)
        self.placement.day[self.email[chain][self.within[chain]]] = NONE
        self.placement.mailbox[chain] = self.instance.chains.mailbox[chain]
        return mailbox, days

    def put(self, chain: np.ndarray, mailbox: np.ndarray | int, days: np.ndarray) -> None:
        """Insert chains that are removed.

        Parameters
        ----------
        chain : ndarray of int
            The chains.
        mailbox : int or ndarray of int, shape (chains,)
            Their mailboxes.
        days : ndarray of int, shape (chains, emails) or (emails,)
            Their days; `NONE` where an email has none.
        """
        within = self.within[chain]
        wide = np.full(within.shape, NONE)
        wide[:, : days.shape[-1]] = days
        self.placement.day[self.email[chain][within]] = wide[within]
        self.placement.mailbox[chain] = mailbox
        self._use(chain, 1)

    def _use(self, chain: np.ndarray, sign: int) -> None:
        day, stages = self.days_of(chain), self.instance.stages
        row, column = np.nonzero(day != NONE)
        on = day[row, column]
        np.subtract.at(self.room.mailbox, (self.placement.mailbox[chain[row]], on), sign)
        starts = (column == 0) & self.first[chain[row]]
        sequence = stages.sequence[self.instance.chains.stage[chain[row[starts]]]]
        np.subtract.at(self.room.new, (sequence, on[starts]), sign)
        contact = self.limits.shared[chain[row]]
        known = contact != NONE
        self.room.busy[contact[known], on[known]] = sign > 0

    def pool(self, chain: int) -> np.ndarray:
        """Return the mailboxes that a chain may leave from."""
        bound = self.instance.chains.mailbox[chain]
        if bound != NONE:
            return np.array([bound])
        sequence = self.instance.stages.sequence[self.instance.chains.stage[chain]]
        return np.asarray(self.instance.fleet.pools[sequence])

    def cheapest(self, chain: int) -> ChainPath | None:
        """Return the cheapest path of a removed chain; None if there is none."""
        mailboxes = self.pool(chain)
        if not len(mailboxes):
            return None
        steps = self.steps(chain, mailboxes, self.room.mailbox[mailboxes, : self.days] > 0)
        row = int(steps[0].min(axis=1).argmin())
        value = float(steps[0][row].min())
        if value >= NEVER / 2:
            return None
        path = self.instance.stages.path[self.instance.chains.stage[chain]]
        days: list[int] = []
        begin = 0
        for column, step in enumerate(steps):
            if column:
                begin = int(self._release[path[column], days[-1]])
            days.append(begin + int(step[row, begin:].argmin()))
        return ChainPath(value - float(self._base[chain]), int(mailboxes[row]), np.array(days))

    def steps(self, chain: int, mailboxes: np.ndarray, is_open: np.ndarray) -> list[np.ndarray]:
        """Return what each email and all that follow it cost, by the day on which it leaves.

        Parameters
        ----------
        chain : int
            A removed chain.
        mailboxes : ndarray of int, shape (paths,)
            The mailboxes that it might leave from.
        is_open : ndarray of bool, shape (paths, days)
            Days on which that mailbox has room.

        Returns
        -------
        list of ndarray of float, shape (paths, days)
            One for each email; `NEVER` or more where there is no path. `value` is the least of the
            first, less a constant of the chain (`constant`).
        """
        days = self.days
        stage = self.instance.stages.path[self.instance.chains.stage[chain]][: self.length[chain]]
        shut = np.where(is_open, 0.0, NEVER)
        window = self.instance.chains.window[chain]
        usable = self.instance.windows.usable[window, :days]
        contact = self.limits.shared[chain]
        if contact != NONE:
            usable = usable & ~self.room.busy[contact, :days]
        if not usable.all():
            shut[:, ~usable] = NEVER
        onward = np.full((len(mailboxes), days + 1), NEVER)
        result: list[np.ndarray] = []
        for column in range(len(stage) - 1, -1, -1):
            cost = self._cost[stage[column]] + shut
            if self.change_weight and self.had[chain, column]:
                cost += self.change_weight
                at = self.had_day[chain, column]
                if 0 <= at < days:
                    cost[mailboxes == self.had_mailbox[chain, column], at] -= self.change_weight
            if column + 1 < len(stage):
                after = stage[column + 1]
                cost += onward[:, self._release[after]] - self._credit[after]
            if column == 0:
                cost[:, : self.limits.first_release[chain]] = 2 * NEVER
                if self.first[chain]:
                    sequence = self.instance.stages.sequence[stage[0]]
                    cost[:, self.room.new[sequence, :days] <= 0] = 2 * NEVER
            onward[:, :days] = np.minimum.accumulate(cost[:, ::-1], axis=1)[:, ::-1]
            result.insert(0, cost)
        return result

    def constant(self, chain: int) -> float:
        """Return what `steps` has more than `value`."""
        return float(self._base[chain])

    def settle(self, alike: np.ndarray) -> np.ndarray:
        """Insert removed chains of a kind on their cheapest paths, one after another.

        Parameters
        ----------
        alike : ndarray of int
            Chains that differ in nothing, see `alike`.

        Returns
        -------
        ndarray of int
            Those for which there is no path.
        """
        left = alike
        while len(left):
            path = self.cheapest(int(left[0]))
            if path is None:
                break
            fitting = int(self.room.mailbox[path.mailbox, path.days].min())
            if (np.diff(path.days) <= 0).any():
                days, times = np.unique(path.days, return_counts=True)
                fitting = int((self.room.mailbox[path.mailbox, days] // times).min())
            if self.first[left[0]]:
                sequence = self.instance.stages.sequence[self.instance.chains.stage[left[0]]]
                fitting = min(fitting, int(self.room.new[sequence, path.days[0]]))
            if self.limits.shared[left[0]] != NONE or fitting < 1:
                # Two emails of a chain on one day may need more room than the day has.
                fitting = min(fitting, 1)
            if fitting < 1:
                break
            self.put(left[:fitting], path.mailbox, path.days)
            left = left[fitting:]
        return left

    def alike(self, chain: np.ndarray) -> list[np.ndarray]:
        """Return chains in groups whose members differ in nothing that matters.

        Parameters
        ----------
        chain : ndarray of int
            The chains.

        Returns
        -------
        list of ndarray of int
            Of one stage, first day, mailbox, window and existing slots each, and at one place.
        """
        if not len(chain):
            return []
        chains = self.instance.chains
        number = numbered(
            [
                chains.stage[chain],
                self.limits.first_release[chain],
                chains.mailbox[chain],
                chains.window[chain],
                self.limits.shared[chain],
                self.placement.mailbox[chain],
                *self.days_of(chain).T,
                *self.had_mailbox[chain].T,
                *self.had_day[chain].T,
            ]
        )
        order = np.argsort(number, kind="stable")
        return np.split(chain[order], np.flatnonzero(np.diff(number[order])) + 1)
