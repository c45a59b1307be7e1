"""Tiny instances by chance, few enough emails for their optimum to be enumerated.

Most are planned in bundles: side by side in one problem, sharing nothing, so that some hundred take
little time. `instance(kind, bundle, number)` makes one of them again, alone.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sendplan
from sendplan.tests.worlds.problems.tiny import MONDAY, World, at, day

Parameters = dict[str, Any]

MOST_EMAILS = 12
"""Emails of an instance: enough for chains to be in each other's way, and few to enumerate."""

NOWS = (at(0, "06:00"), at(0, "06:00"), at(2, "12:00"), at(4, "18:00"))
"""Before a week, within a window, and after the last one before a weekend."""


@dataclass(frozen=True)
class Kind:
    """What instances of a kind have besides the features that all may have."""

    bundles: int
    contacts: bool = False  # in several sequences
    horizon: bool = False  # given
    starved: bool = False  # what no horizon has room for


KINDS = {
    "room": Kind(12),
    "contacts": Kind(3, contacts=True),
    "horizon": Kind(12, horizon=True),
    "contacts_horizon": Kind(4, contacts=True, horizon=True),
}
ALONE = {
    "starved": Kind(12, starved=True),
    "room": Kind(8),
    "contacts": Kind(8, contacts=True),
    "horizon": Kind(8, horizon=True),
}


def parameters(kind: Kind, seed: str) -> tuple[datetime, Parameters]:
    """Give what the instances of a bundle share."""
    rng = random.Random(seed)
    return rng.choice(NOWS), {
        "horizon_days": rng.randrange(7) if kind.horizon else None,
        "slip_weight": rng.choice((20.0, 20.0, 20.0, 0.0, 1.0, 2.5)),
        "one_a_day": rng.random() < 0.8,
    }


class Maker:
    """One instance in the making, its ids being of the thousand of its number."""

    def __init__(self, world: World, kind: Kind, seed: str, number: int) -> None:
        self.world, self.kind, self.rng = world, kind, random.Random(seed)
        self.base = 1000 * number
        self.today = (world.now.date() - MONDAY).days
        self.pools: dict[int, list[int]] = {}
        self.lengths: dict[int, int] = {}
        self.sources: dict[int, list[int]] = {}

    def has(self, chance: float) -> bool:
        return self.rng.random() < chance

    def make(self) -> None:
        sequences = [self.base + i for i in range(1, self.rng.choice((1, 1, 2, 2, 3)) + 1)]
        if self.kind.contacts and len(sequences) == 1:
            sequences.append(self.base + 2)
        self.mailboxes(sequences)
        for sequence in sequences:
            self.sequence(sequence)
        self.people(sequences)

    def mailboxes(self, sequences: list[int]) -> None:
        rng, count = self.rng, self.rng.randint(1, 3)
        self.pools = {sequence: [] for sequence in sequences}
        self.sources = {sequence: [] for sequence in sequences}
        for number in range(count):
            key = self.base + number + 1
            # The first one can always send, so that a pool can be given one that does.
            row: dict[str, Any] = {"capacity": rng.choice((1, 1, 1, 2))}
            if (number or self.kind.starved) and self.has(0.3):
                row |= rng.choice(({"capacity": 0}, {"status": "paused"}, {"status": "removed"}))
            if self.has(0.2):
                row |= {"ramp_start": rng.randrange(2), "ramp_increment": 1}
                row["ramp_from"] = day(self.today + rng.randint(-2, 3))
            sends = row["capacity"] > 0 and row.get("status") is None
            for sequence in sequences:
                late = number == count - 1 and not self.sources[sequence]
                if self.has(0.6) or (number == 0 and count == 1):
                    self.pools[sequence].append(key)
                    if sends:
                        self.sources[sequence].append(key)
                elif late and not self.kind.starved:
                    self.pools[sequence].append(self.base + 1)
                    self.sources[sequence].append(self.base + 1)
            self.world.mailbox(key, sequences=(), **row)
            if self.has(0.2):
                self.world.use(key, self.today + rng.randrange(4), rng.randint(1, 2))
        for sequence in sequences:
            if not self.pools[sequence] or not (self.sources[sequence] or self.kind.starved):
                self.pools[sequence].append(self.base + 1)
        self.world.rows["sequence_mailboxes"] += [
            {"sequence_id": sequence, "mailbox_id": mailbox}
            for sequence, pool in self.pools.items()
            for mailbox in dict.fromkeys(pool)
        ]

    def sequence(self, key: int) -> None:
        rng = self.rng
        row: dict[str, Any] = {"wait_unit": "calendar"}
        if self.has(0.3):
            row["send_days"] = sorted(rng.sample(range(1, 8), rng.choice((2, 3, 5, 6, 7))))
        if self.has(0.2):
            row["holidays"] = "BG"  # of which Tuesday 3 March is one
        if self.has(0.4):
            row["wait_unit"] = "sending"
        if self.has(0.4):
            row["priority"] = rng.choice((0.5, 1.5, 2, 3.25))
        if self.has(0.3):
            row["max_new_per_day"] = rng.choice((0, 1) if self.kind.starved else (1, 1, 2))
        waits = [rng.choice((0, 1, 1, 2, 3)) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))]
        self.lengths[key] = len(waits)
        self.world.sequence(key, waits, **row)

    def people(self, sequences: list[int]) -> None:
        rng, left = self.rng, MOST_EMAILS
        many = rng.randint(3, 7)
        contacts = range(1, max(1, many // 2) + 1) if self.kind.contacts else range(1, 8)
        pairs = [(contact, sequence) for contact in contacts for sequence in sequences]
        rng.shuffle(pairs)
        if not self.kind.contacts:
            pairs = [(contact, rng.choice(sequences)) for contact in contacts]
        for number, (contact, sequence) in enumerate(pairs[:many], start=1):
            key, length = self.base + number, self.lengths[sequence]
            received = rng.randint(1, length) if self.has(0.35) else 0
            if length - received > left:
                continue
            left -= length - received
            row: dict[str, Any] = {"contact_id": self.base + contact}
            row["enrolled_at"] = at(self.today - rng.choice((0, 1, 3, 3, 3)), "05:00")
            row["contact_timezone"] = None
            if self.has(0.1):
                row["contact_timezone"] = rng.choice(("Asia/Tokyo", "America/New_York"))
            self.world.enroll(key, sequence=sequence, **row)
            if received:
                self.history(key, sequence, received)

    def history(self, enrollment: int, sequence: int, received: int) -> None:
        rng = self.rng
        senders = self.pools[sequence]
        if not self.kind.starved:  # a thread bound to a mailbox that never sends has no room
            capacity = {row["id"]: row["daily_capacity"] for row in self.world.rows["mailboxes"]}
            senders = [mailbox for mailbox in senders if capacity[mailbox]]
        mailbox = rng.choice(senders)
        on = self.today - rng.choice((0, 1, 2, 3, 5))
        if on == self.today and self.world.now.hour < 10:
            on -= 1
        for place in range(received, 0, -1):
            status, when = "sent", on
            if place == received and self.has(0.2):
                status, when = "claimed", self.today + rng.randrange(2)
            if place == received and self.has(0.05):
                status = rng.choice(("uncertain", "failed"))
            step = 10 * sequence + place
            self.world.email(enrollment, step, status, when, mailbox_id=mailbox)
            on -= rng.randint(1, 3)


def instance(name: str, bundle: int, number: int) -> tuple[World, Parameters]:
    """Make one instance, and how it is planned."""
    return bundled(name, bundle, [number])


def bundled(name: str, bundle: int, numbers: Iterable[int]) -> tuple[World, Parameters]:
    kind = KINDS.get(name) or ALONE[name]
    now, chosen = parameters(kind, f"{name} {bundle}")
    world = World(now)
    for number in numbers:
        Maker(world, kind, f"{name} {bundle} {number}", number).make()
    return world, chosen


def by_number(plan: sendplan.Plan) -> dict[int, float]:
    """Give the cost of each instance of a bundle."""
    costs: dict[int, float] = {}
    for sequence, cost in zip(plan.delays["sequence_id"], plan.delays["cost"], strict=True):
        costs[int(sequence) // 1000] = costs.get(int(sequence) // 1000, 0.0) + float(cost)
    return costs
