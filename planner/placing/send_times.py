"""Send times: when on its day each email leaves.

Mailbox-days with one window are spread evenly, all at once; those whose windows differ are spread
as widely as possible (`sendplan.planner.placing.even_spacing`). Where min_gap_seconds is broken
that way, the mailbox is gone through day by day, around what has left already; an email for which
there is no room then is handed back.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.even_spacing import Jobs, spread
from sendplan.planner.schema.dates import SECOND, ceil_seconds


@dataclass(frozen=True)
class Timetable:
    """The minutes of a placement.

    Parameters
    ----------
    at : ndarray of int64, shape (emails,)
        Planned seconds since 1970-01-01 UTC; `NONE` for emails without a day.
    crowded : ndarray of int
        Emails for which min_gap_seconds left no room on their day; they have no time.
    """

    at: np.ndarray
    crowded: np.ndarray


def timetable(instance: Instance, placement: Placement) -> Timetable:
    """Give every placed email its minute.

    Parameters
    ----------
    instance, placement
        The instance, and the days and mailboxes of its emails.

    Returns
    -------
    Timetable
        Times that keep every window and gap.
    """
    return _Schedule(instance, placement).timetable()


def evenly_spread(
    opens: np.ndarray, closes: np.ndarray, number: np.ndarray, count: np.ndarray | int
) -> np.ndarray:
    """Spread the emails of mailbox-days with one window evenly over it (minutes).

    Parameters
    ----------
    opens, closes : ndarray of int64, shape (emails,)
        The window, in microseconds.
    number : ndarray of int, shape (emails,)
        Each email's number among those of its mailbox-day, from 0.
    count : int or ndarray of int, shape (emails,)
        How many these are.

    Returns
    -------
    ndarray of int64, shape (emails,)
        Whole seconds, rounded down, and never before the window.
    """
    share = (closes - opens) * number // count
    return np.asarray(np.maximum((opens + share) // SECOND, ceil_seconds(opens)))


class _Schedule:
    """Emails in the order in which each mailbox-day sends them."""

    def __init__(self, instance: Instance, placement: Placement) -> None:
        self.instance = instance
        emails = instance.emails
        email = np.flatnonzero(placement.day != NONE)
        chain = emails.chain[email]
        mailbox, day = placement.mailbox[chain], placement.day[email]
        later = ~instance.stages.is_first[emails.stage[email]]
        # Chains are sorted by enrolment, so that emails are too.
        order = np.lexsort((~later, day, mailbox))
        self.email, self.chain = email[order], chain[order]
        self.mailbox, self.day = mailbox[order], day[order]
        self.now = instance.problem.now
        window = instance.chains.window[self.chain]
        self.opens = np.maximum(instance.windows.opens[window, self.day], self.now)
        self.opens = np.maximum(self.opens, instance.chains.not_before[self.chain])
        self.closes = instance.windows.closes[window, self.day]
        key = self.mailbox * instance.problem.horizon.size + self.day
        self.begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
        self.lengths = np.diff(np.append(self.begins, len(key)))
        self.group = np.repeat(np.arange(len(self.begins)), self.lengths)
        self.time = np.full(len(email), NONE, dtype=np.int64)

    def timetable(self) -> Timetable:
        uniform = self._uniform()[self.group]
        self._spread_evenly(np.flatnonzero(uniform))
        if not uniform.all():
            opens, closes, counts, order = self._by_window(np.flatnonzero(~uniform))
            self.time[order] = spread(opens, closes, counts)[2]
        self._keep_today()
        self._keep_gaps()
        self._keep_step_order()
        at = np.full(len(self.instance.emails), NONE, dtype=np.int64)
        at[self.email] = self.time
        return Timetable(at, self.email[self.time == NONE])

    def _uniform(self) -> np.ndarray:
        """Tell which mailbox-days have one window only."""
        uniform = np.ones(len(self.begins), dtype=bool)
        for moment in (self.opens, self.closes):
            differs = moment != moment[self.begins][self.group]
            uniform[self.group[differs]] = False
        return uniform

    def _spread_evenly(self, row: np.ndarray) -> None:
        number = row - self.begins[self.group[row]]
        lengths = self.lengths[self.group[row]]
        self.time[row] = evenly_spread(self.opens[row], self.closes[row], number, lengths)

    def _by_window(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return windows and counts by mailbox-day, and the rows sorted by day and window."""
        first, last = ceil_seconds(self.opens[row]), ceil_seconds(self.closes[row]) - 1
        order = np.lexsort((row, last, first, self.group[row]))
        group, first, last = self.group[row][order], first[order], last[order]
        new_group = np.append(True, group[1:] != group[:-1])
        new = new_group | np.append(True, (first[1:] != first[:-1]) | (last[1:] != last[:-1]))
        line = np.cumsum(new_group) - 1
        window = np.cumsum(new) - 1
        column = window - np.maximum.accumulate(np.where(new_group, window, 0))
        shape = (int(line[-1]) + 1, int(column.max()) + 1)
        opens, closes = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        counts = np.zeros(shape, dtype=np.int64)
        opens[line, column], closes[line, column] = first, last
        np.add.at(counts, (line, column), 1)
        return opens, closes, counts, row[order]

    def _keep_gaps(self) -> None:
        gap = self.instance.fleet.gap
        rows = np.flatnonzero(gap[self.mailbox] > 0)
        for mailbox in np.unique(self.mailbox[rows]):
            own = rows[self.mailbox[rows] == mailbox]
            taken = self.instance.fleet.taken[mailbox]
            # A sent email may have left within a second: keep the gap from its end.
            taken = np.concatenate([taken // SECOND, ceil_seconds(taken)])
            moments = np.concatenate([self.time[own], taken])
            ours = np.arange(len(moments)) < len(own)
            order = np.argsort(moments, kind="stable")
            close = np.diff(moments[order]) < gap[mailbox]
            # Emails that have left already do not move.
            if (close & (ours[order][1:] | ours[order][:-1])).any():
                self._keep_gap(own, int(gap[mailbox]), taken)

    def _keep_gap(self, own: np.ndarray, gap: int, taken: np.ndarray) -> None:
        """Go through one mailbox day by day, keeping away from what stands already."""
        fixed = taken
        for group in np.unique(self.group[own]):
            rows = own[self.group[own] == group]
            low = int((self.opens[rows] // SECOND).min()) - gap
            high = int((self.closes[rows] // SECOND).max()) + gap
            near = fixed[(fixed > low) & (fixed < high)]
            if _breaks_gap(self.time[rows], near, gap):
                self._place_apart(rows, near, gap)
            fixed = np.concatenate([fixed, self.time[rows][self.time[rows] != NONE]])

    def _place_apart(self, rows: np.ndarray, near: np.ndarray, gap: int) -> None:
        forbidden = [(int(moment) - gap, int(moment) + gap) for moment in near]
        while len(rows):
            opens, closes, counts, order = self._by_window(rows)
            jobs = Jobs(opens[0].tolist(), closes[0].tolist(), counts[0].tolist(), forbidden)
            found = jobs.widest_gap(gap)
            if found is not None:
                self.time[order] = [moment for times in found[1] for moment in times]
                return
            # The second email of a chain on one day can only be in the way of its first.
            twice = rows[pd.Series(self.chain[rows]).duplicated(keep=False).to_numpy()]
            out = twice[[self.email[twice].argmax()]] if len(twice) else _too_many(jobs, order, gap)
            if not len(out):
                out = np.array([_least_missed(jobs, order, gap)])
            self.time[out] = NONE
            rows = rows[~np.isin(rows, out)]

    def _keep_step_order(self) -> None:
        """Where a chain sends twice on a day, let the earlier step have the earlier time."""
        size = self.instance.problem.horizon.size
        key = self.chain * size + self.day
        placed = np.flatnonzero(self.time != NONE)
        placed = placed[pd.Series(key[placed]).duplicated(keep=False).to_numpy()]
        by_step = placed[np.lexsort((self.email[placed], key[placed]))]
        by_time = by_step[np.lexsort((self.time[by_step], key[by_step]))]
        self.time[by_step] = self.time[by_time]

    def _keep_today(self) -> None:
        """Leave the times of a day that has begun, if its emails are those planned for it.

        Their spread began earlier than now, so that spreading them anew would move every one.
        """
        emails, chains = self.instance.emails, self.instance.chains
        window = chains.window[self.chain]
        begun = self.instance.windows.opens[window, self.day] < self.now
        existing_at = emails.existing_at[self.email] // SECOND
        stays = (
            (emails.existing_mailbox[self.email] == self.mailbox)
            & (emails.existing_day[self.email] == self.day)
            & (existing_at * SECOND >= self.opens)
            & (existing_at * SECOND < self.closes)
        )
        keep = np.zeros(len(self.begins), dtype=bool)
        for group in np.unique(self.group[begun]):
            rows = slice(self.begins[group], self.begins[group] + self.lengths[group])
            mailbox, day = self.mailbox[rows][0], self.day[rows][0]
            planned = self.instance.fleet.planned[mailbox, day]
            keep[group] = stays[rows].all() and planned == self.lengths[group]
            gap, taken = self.instance.fleet.gap[mailbox], self.instance.fleet.taken[mailbox]
            if keep[group] and gap > 0:
                moments = existing_at[rows] * SECOND
                keep[group] = not _breaks_gap(moments, taken, gap * SECOND)
        stay = keep[self.group]
        self.time[stay] = existing_at[stay]


def _breaks_gap(moments: np.ndarray, taken: np.ndarray, gap: int) -> bool:
    """Tell whether two moments, or a moment and one already taken, are closer than `gap`."""
    within = (np.diff(np.sort(moments)) < gap).any()
    return bool(within or (np.abs(moments[:, None] - taken) < gap).any())


def _too_many(jobs: Jobs, order: np.ndarray, gap: int) -> np.ndarray:
    """Return the last emails of a span of windows that holds more than can ever fit into it."""
    window = np.repeat(np.arange(len(jobs.counts)), jobs.counts)
    opens, closes = np.array(jobs.opens)[window], np.array(jobs.closes)[window]
    for begin in sorted(set(jobs.opens)):
        for end in sorted(set(jobs.closes)):
            inside = order[(opens >= begin) & (closes <= end)]
            excess = len(inside) - max((end - begin) // gap + 1, 0)
            if excess > 0:
                return np.sort(inside)[-excess:]
    return order[:0]


def _least_missed(jobs: Jobs, order: np.ndarray, gap: int) -> int:
    """Choose the email to give up: the last one that makes room for all others, else the last."""
    last_of_window = order[np.cumsum(jobs.counts) - 1]
    for out, window in sorted(zip(last_of_window, range(len(jobs.counts)), strict=True))[::-1]:
        counts = [count - (place == window) for place, count in enumerate(jobs.counts)]
        kept = [place for place, count in enumerate(counts) if count]
        opens, closes, counts = (
            [column[place] for place in kept] for column in (jobs.opens, jobs.closes, counts)
        )
        if not kept or Jobs(opens, closes, counts, jobs.forbidden).times(gap) is not None:
            return int(out)
    return int(last_of_window.max())
