"""Day swaps: contacts of one cohort change places, so that none gets two emails on a day.

Counts say how many leave, not to which contacts. Where two emails of a contact meet, the one that
yields takes the place of another chain that stands at the same stage and mailbox, with all the
places that follow, and the other takes its own: no count changes, and neither does the cost.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.contact_conflicts import clashes

REACH = 60
"""How many places before and behind are looked at."""


def swap_days(
    instance: Instance, limits: Limits, placement: Placement, fixed: np.ndarray | None
) -> None:
    """Let emails that may not leave on their day change places with others.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Changed in place; an email without a partner stays where it is.
    fixed : ndarray of bool, shape (emails,), or None
        Emails that keep their place.
    """
    yielding = clashes(instance, limits, placement, fixed)
    if not len(yielding):
        return
    places = _Places(instance, limits, placement, fixed)
    # The further back in its chain the change begins, the more places there are to choose from.
    for back in range(int(instance.stages.remaining.max(initial=1))):
        for mate in (False, True):
            meeting = _mates(instance, limits, placement, yielding) if mate else yielding
            meeting = meeting[instance.emails.order[meeting] >= back] - back
            if places.change(meeting):
                yielding = clashes(instance, limits, placement, fixed)
                if not len(yielding):
                    return


def _mates(
    instance: Instance, limits: Limits, placement: Placement, email: np.ndarray
) -> np.ndarray:
    """Return the other emails of the same contacts and days."""
    shared = limits.shared[instance.emails.chain]
    known = np.flatnonzero((shared != NONE) & (placement.day != NONE))
    key = shared[known] * limits.busy.shape[1] + placement.day[known]
    of_email = shared[email] * limits.busy.shape[1] + placement.day[email]
    return np.setdiff1d(known[np.isin(key, of_email)], email)


class _Places:
    """The places of each queue in order of days, and the emails that hold them."""

    def __init__(
        self, instance: Instance, limits: Limits, placement: Placement, fixed: np.ndarray | None
    ) -> None:
        self.instance, self.limits, self.placement = instance, limits, placement
        emails, chains = instance.emails, instance.chains
        self.length = instance.stages.remaining[emails.stage]
        movable = placement.day != NONE
        if fixed is not None:
            movable &= ~fixed
        # A chain changes all the places that follow, so that none of them may be fixed or missing.
        last = chains.offset[emails.chain + 1]
        upto = np.append(0, np.cumsum(~movable))
        self.movable = upto[last] == upto[np.arange(len(emails))]
        free = (emails.order == 0) & (chains.mailbox[emails.chain] == NONE)
        mailboxes = len(limits.room)
        mailbox = np.where(free, mailboxes, placement.mailbox[emails.chain])
        self.days = limits.room.shape[1]
        self.queue = emails.stage * (mailboxes + 1) + mailbox
        member = np.flatnonzero(self.movable)
        key = self.queue[member] * self.days + placement.day[member]
        order = np.argsort(key, kind="stable")
        self.key, self.holder = key[order], member[order]
        self.place = np.full(len(emails), NONE)
        self.place[self.holder] = np.arange(len(self.holder))
        self.busy = limits.busy.astype(np.int16)
        placed = np.flatnonzero(placement.day != NONE)
        self._count(placed, placement.day[placed], 1)

    def _count(self, email: np.ndarray, day: np.ndarray, number: int) -> None:
        """Add emails to the days of their shared contacts."""
        row = self.limits.shared[self.instance.emails.chain[email]]
        known = row != NONE
        np.add.at(self.busy, (row[known], day[known]), number)

    def change(self, yielding: np.ndarray) -> bool:
        """Change the places of as many as can; tell whether any could."""
        left = yielding[self.movable[yielding]]
        any_changed = False
        for distance in range(REACH):
            for behind in (True, False):
                if not len(left):
                    return any_changed
                changed = self._with_neighbour(left, distance, behind=behind)
                any_changed |= bool(changed.any())
                left = left[~changed]
        return any_changed

    def _with_neighbour(self, email: np.ndarray, distance: int, *, behind: bool) -> np.ndarray:
        """Change with the email `distance` places behind or before; tell which could."""
        queue = self.queue[email]
        key = queue * self.days + self.placement.day[email]
        if behind:
            other = np.searchsorted(self.key, key, side="right") + distance
        else:
            other = np.searchsorted(self.key, key, side="left") - 1 - distance
        there = (other >= 0) & (other < len(self.key))
        other = np.where(there, other, 0)
        there &= self.key[other] // self.days == queue
        partner = self.holder[other]
        able = there & self._takes(email, partner) & self._takes(partner, email)
        changed = np.zeros(len(email), dtype=bool)
        chosen = np.flatnonzero(able)
        chosen = chosen[self._apart(email[chosen], partner[chosen])]
        changed[chosen] = True
        self._swap(email[chosen], partner[chosen])
        return changed

    def _takes(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Tell whether the chain of `one` can take the places of `other` from there on."""
        emails, limits = self.instance.emails, self.limits
        chain = emails.chain[one]
        head = emails.order[one] == 0
        before = self.placement.day[np.maximum(one - 1, 0)]
        first = np.where(
            head, limits.first_release[chain], limits.release[emails.stage[one], before]
        )
        takes = self.placement.day[other] >= first
        gives, gets = self._tail(one), self._tail(other)
        usable = np.pad(self.instance.windows.usable, ((0, 0), (0, 1)), constant_values=True)
        window = self.instance.chains.window[chain]
        row = limits.shared[chain]
        for column in range(gets.shape[1]):
            day = gets[:, column]
            real = day != NONE
            own = (gives == day[:, None]).any(axis=1)
            meets = (row != NONE) & (self.busy[row, day] > own)
            takes &= ~real | (usable[window, day] & ~meets)
        return np.asarray(takes)

    def _tail(self, email: np.ndarray) -> np.ndarray:
        """Return the days of emails and of those that follow, `NONE` past the chain's end."""
        column = np.arange(int(self.length[email].max(initial=1)))
        within = column < self.length[email][:, None]
        at = np.minimum(email[:, None] + column, len(self.placement.day) - 1)
        return np.where(within, self.placement.day[at], NONE)

    def _apart(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Tell which pairs have no contact in common with each other or with a pair before."""
        contact = self.instance.chains.contact[self.instance.emails.chain[np.append(one, other)]]
        _, first, name = np.unique(contact, return_index=True, return_inverse=True)
        pair = np.tile(np.arange(len(one)), 2)
        earliest = np.full(len(first), len(one))
        np.minimum.at(earliest, name, pair)
        mine, theirs = name[: len(one)], name[len(one) :]
        turn = np.arange(len(one))
        return np.asarray((mine != theirs) & (earliest[mine] == turn) & (earliest[theirs] == turn))

    def _swap(self, one: np.ndarray, other: np.ndarray) -> None:
        placement, emails = self.placement, self.instance.emails
        chain, partner = emails.chain[one], emails.chain[other]
        for step in range(int(self.length[one].max(initial=0))):
            within = step < self.length[one]
            mine, theirs = one[within] + step, other[within] + step
            days = placement.day[mine], placement.day[theirs]
            for each, new, old in ((mine, days[1], days[0]), (theirs, days[0], days[1])):
                self._count(each, old, -1)
                self._count(each, new, 1)
                placement.day[each] = new
            place = self.place[mine], self.place[theirs]
            self.place[mine], self.place[theirs] = place[1], place[0]
            self.holder[place[0]], self.holder[place[1]] = theirs, mine
            queue = self.queue[mine], self.queue[theirs]
            self.queue[mine], self.queue[theirs] = queue[1], queue[0]
        mailbox = placement.mailbox[chain], placement.mailbox[partner]
        placement.mailbox[chain], placement.mailbox[partner] = mailbox[1], mailbox[0]
