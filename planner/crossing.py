"""The crossing: in which batch each chain moves, and which are parked to let others pass.

Chains go in rounds, all at once that find room, so that any part of a round could be written
without the rest. When nobody can go, slots are taken away from those whose new days are furthest
off; they are parked only if they find no room again before their batch is full, since within one
batch all happens at once.
"""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.claims import FREE, Claims, spans
from sendplan.planner.model.step_classes import NONE

SHARE = 8
"""The part of a batch, as a divisor, that is cleared at one go at least when nobody can go."""


@dataclass(frozen=True)
class Crossing:
    """Who goes when.

    Parameters
    ----------
    moved_in : ndarray of int, shape (chains,)
        The batch in which each chain gets its new slots, from 0.
    parked_in : ndarray of int, shape (chains,)
        The earlier batch in which it loses its slots for the time being, or `NONE`.
    """

    moved_in: np.ndarray
    parked_in: np.ndarray


@dataclass(frozen=True)
class Rows:
    """How many rows are written for each chain.

    Parameters
    ----------
    moved, parked, back : ndarray of int, shape (chains,)
        When it moves at once; when it is parked, and when it comes back.
    """

    moved: np.ndarray
    parked: np.ndarray
    back: np.ndarray


def cross(claims: Claims, rows: Rows, size: int) -> Crossing:
    """Let all chains pass.

    Parameters
    ----------
    claims : Claims
        What they need and give; chains are numbered by precedence.
    rows : Rows
        How many rows they are.
    size : int
        Rows after which a batch is full.

    Returns
    -------
    Crossing
        Batches without gaps.
    """
    return _Ford(claims, rows, size).crossing()


class _Ford:
    """Who has passed, who waits for which cell, and how full the batch is."""

    def __init__(self, claims: Claims, rows: Rows, size: int) -> None:
        self.entries, self.room, self.size = claims.entries, claims.room.copy(), size
        self.rows = rows
        # What is taken out may end as either.
        self.rows_out = np.maximum(rows.moved, rows.parked)
        chains = np.arange(claims.chains + 1)
        self.of_chain = np.searchsorted(self.entries.chain, chains)
        self.by_cell = np.argsort(self.entries.cell, kind="stable")
        cells = np.arange(len(self.room) + 1)
        self.of_cell = np.searchsorted(self.entries.cell[self.by_cell], cells)
        self.moved_in = np.full(claims.chains, NONE)
        self.parked_in = np.full(claims.chains, NONE)
        self.waits_for = np.full(claims.chains, NONE)
        self.first = 0
        self.batch = 0
        self.filled = 0
        self.out = 0  # chains that the batch has taken out

    def crossing(self) -> Crossing:
        ready = np.arange(len(self.moved_in))
        while len(ready):
            while len(ready):
                ready = self._round(ready)
            ready = self._make_way()
        return Crossing(self.moved_in, self.parked_in)

    # ------------------------------------------------------------ rounds

    def _round(self, ready: np.ndarray) -> np.ndarray:
        """Let those go who find room; return who may be able to go next."""
        entry, of, need = self._needs(ready)
        cell = self.entries.cell[entry]
        short = need > self.room[cell]
        self.waits_for[ready] = NONE
        self.waits_for[ready[of[short]]] = cell[short]
        able = self.waits_for[ready] == NONE
        mine = able[of]
        of, need, cell = of[mine], need[mine], cell[mine]
        order, before = _before(cell, np.maximum(need, 0))
        goes = able
        goes[of[order][before + need[order] > self.room[cell[order]]]] = False
        later = ready[(self.waits_for[ready] == NONE) & ~goes]
        going, later_still = self._fitting(ready[goes])
        woken = self._woken(self._go(going))
        return np.sort(np.concatenate((later, later_still, woken)))

    def _fitting(self, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Divide those who can go into those who do, and those who must wait for the next batch.

        While the batch has chains taken out, it is not to be left behind: these may come back in
        it, at no cost even when it is full.
        """
        if not self.out:
            return going, going[:0]
        back = self.parked_in[going] == self.batch
        if self._full and not back.any():
            self._close()
            return going, going[:0]
        others = going[~back]
        fits = 0 if self._full else self._fill_up(self._rows(others))
        return np.sort(np.append(going[back], others[:fits])), others[fits:]

    def _needs(self, chains: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the entries in which chains need room: entry, place of the chain, amount."""
        entry, of = spans(self.of_chain[chains], self.of_chain[chains + 1])
        out = self.parked_in[chains] != NONE
        need = np.where(out[of], self.entries.need_parked[entry], self.entries.need[entry])
        needy = need != FREE
        return entry[needy], of[needy], need[needy]

    def _go(self, chains: np.ndarray) -> np.ndarray:
        """Move chains, and return the cells that have gained room."""
        entry, _, need = self._needs(chains)
        np.subtract.at(self.room, self.entries.cell[entry], np.maximum(need, 0))
        out = self.parked_in[chains] != NONE
        back = out & (self.parked_in[chains] == self.batch)
        self.out -= int(back.sum())
        self.moved_in[chains[back]] = self.batch
        self.parked_in[chains[back]] = NONE
        self._write(chains[~back])
        standing = chains[~out]
        entry, _ = spans(self.of_chain[standing], self.of_chain[standing + 1])
        return self._free(entry, self.entries.give[entry])

    def _free(self, entry: np.ndarray, amount: np.ndarray) -> np.ndarray:
        gives = amount > 0
        cell = self.entries.cell[entry[gives]]
        np.add.at(self.room, cell, amount[gives])
        return np.unique(cell)

    def _woken(self, cells: np.ndarray) -> np.ndarray:
        """Return who has been waiting for cells."""
        place, of = spans(self.of_cell[cells], self.of_cell[cells + 1])
        chain = self.entries.chain[self.by_cell[place]]
        woken = np.asarray(chain[self.waits_for[chain] == cells[of]])
        self.waits_for[woken] = NONE
        return woken

    def _write(self, chains: np.ndarray) -> None:
        """Put chains into the batch, and into new ones as they become full."""
        rows = np.cumsum(self._rows(chains))
        begin = written = 0
        while begin < len(chains):
            end = int(np.searchsorted(rows, written + self.size - self.filled)) + 1
            self.moved_in[chains[begin:end]] = self.batch
            begin, before = end, written
            written = int(rows[:end][-1])
            self._fill(written - before)
        self._fill(0)

    def _rows(self, chains: np.ndarray) -> np.ndarray:
        out = self.parked_in[chains] != NONE
        return np.asarray(np.where(out, self.rows.back[chains], self.rows.moved[chains]))

    def _fill_up(self, rows: np.ndarray) -> int:
        """Return how many chains it takes until the batch is full, the last one included."""
        return int(np.searchsorted(np.cumsum(rows), self.size - self.filled)) + 1

    def _fill(self, rows: int) -> None:
        self.filled += rows
        if self._full and not self.out:
            self._close()

    @property
    def _full(self) -> bool:
        return self.filled >= self.size

    def _close(self) -> None:
        self.batch, self.filled, self.out = self.batch + 1, 0, 0

    # ------------------------------------------------------------ when nobody can go

    def _make_way(self) -> np.ndarray:
        """Take out whom the most urgent wait for; return who may be able to go then."""
        if self._full:
            self._close()
        urgent = self._unfinished(max((self.size - self.filled) // 2, self.size // SHARE, 1))
        if not len(urgent):
            return urgent
        holder, by = self._holders(urgent)
        if not len(holder):
            raise AssertionError("chains wait for nobody; the new plan must have room for all")
        cost = np.cumsum(
            self.rows.moved[urgent] + np.bincount(by, self.rows_out[holder], minlength=len(urgent))
        )
        if cost[0] > self.size - self.filled and 2 * self.filled >= self.size:
            self._close()
        left = self.size - self.filled
        served = max(np.searchsorted(cost, max(left // 2, self.size // SHARE), "right"), 1)
        holder = holder[by < served]
        return self._take_out(holder[: self._fill_up(self.rows_out[holder])])

    def _unfinished(self, count: int) -> np.ndarray:
        """Return the most urgent chains that have not moved."""
        width = count
        while True:
            window = self.moved_in[self.first : self.first + width]
            waiting = self.first + np.flatnonzero(window == NONE)
            if len(waiting) >= count or self.first + width >= len(self.moved_in):
                self.first = int(waiting[0]) if len(waiting) else len(self.moved_in)
                return waiting[:count]
            width *= 4

    def _holders(self, urgent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return who must give way to urgent chains, and to which of them, in this order.

        Of those who are to leave a cell anyway, the ones whose new days are furthest off.
        """
        entry, of, need = self._needs(urgent)
        cell = self.entries.cell[entry]
        order, before = _before(cell, np.maximum(need, 0))
        lack = before + need[order] - self.room[cell[order]]
        short = lack > 0
        cell, of, lack = cell[order][short], of[order][short], lack[short]
        cells, place = np.unique(cell, return_inverse=True)
        scale = int(lack.max(initial=0)) + 1
        # What has been freed for one is gone for the next.
        lack = np.maximum.accumulate(place * scale + lack)
        most = np.zeros(len(cells), dtype=np.int64)
        np.maximum.at(most, place, lack)

        at, where = spans(self.of_cell[cells], self.of_cell[cells + 1])
        held = self.by_cell[at]
        chain = self.entries.chain[held]
        gives = (self.entries.give[held] > 0) & (self.moved_in[chain] == NONE)
        gives &= self.parked_in[chain] == NONE
        held, chain, where = held[gives], chain[gives], where[gives]
        last_first = np.lexsort((-chain, where))
        held, chain, where = held[last_first], chain[last_first], where[last_first]
        _, before = _before(where, self.entries.give_parked[held])
        wanted = where * scale + before < most[where]
        chain, freed = chain[wanted], (where * scale + before)[wanted]
        # The first urgent chain of the cell for which what the others give is too little.
        by = of[np.searchsorted(lack, freed, "right")]
        holder, number = np.unique(chain, return_inverse=True)
        earliest = np.full(len(holder), len(urgent))
        np.minimum.at(earliest, number, by)
        order = np.lexsort((-holder, earliest))
        return holder[order], earliest[order]

    def _take_out(self, chains: np.ndarray) -> np.ndarray:
        """Take slots away, and return who may be able to go then, those chains included."""
        self.parked_in[chains] = self.batch
        self.waits_for[chains] = NONE
        self.out += len(chains)
        self._fill(int(self.rows_out[chains].sum()))
        entry, _ = spans(self.of_chain[chains], self.of_chain[chains + 1])
        freed = self._free(entry, self.entries.give_parked[entry])
        return np.sort(np.append(chains, self._woken(freed)))


def _before(group: np.ndarray, amount: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an order by group, and in it what comes before each amount within its group."""
    order = np.argsort(group, kind="stable")
    group, amount = group[order], amount[order]
    before = np.cumsum(amount) - amount
    begins = np.flatnonzero(np.append(True, group[1:] != group[:-1])[: len(group)])
    lengths = np.diff(np.append(begins, len(group)))
    return order, before - np.repeat(before[begins], lengths)
