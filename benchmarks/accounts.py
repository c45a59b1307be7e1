"""The log of a sink compared with the tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

KNOWN_TO_HAVE_LEFT = ("sent", "uncertain")
OCCUPYING = ("claimed", "sending", "sent", "uncertain")
UNFINISHED = ("claimed", "sending")


class Row(NamedTuple):
    """An email as the tables have it; all are of one day."""

    message_id: str | None
    status: str
    enrollment_id: int
    position: int
    mailbox_id: int
    planned: bool


class Enrollment(NamedTuple):
    """An enrollment: the number of steps of its sequence, and its progress."""

    id: int
    steps: int
    position: int
    """Of its current step; 0 before the first."""
    status: str


@dataclass(frozen=True)
class Incumbent:
    """Where emails stand, all seen at the same moment.

    Parameters
    ----------
    above, full
        Mailbox-days above their capacity, and just at it.
    in_hand
        Claimed or being sent.
    no_room, behind
        Pending because their mailbox-day is full, or because an earlier one was not sent.
    free
        Pending, and free to leave.
    """

    above: int
    full: int
    in_hand: int
    no_room: int
    behind: int
    free: int

    @property
    def left(self) -> int:
        """Return how many could still leave."""
        return self.in_hand + self.free


@dataclass(frozen=True)
class Account:
    """How log and tables compare.

    Parameters
    ----------
    statuses
        Planned rows by status.
    accepted
        Messages that the sink has accepted.
    uncertain_accepted, uncertain_not_accepted
        Uncertain emails that were accepted, and those that were not.
    standing
        Where they stand.
    provisional
        Rows of next steps that were made for the next plan.
    faults
        Counts by kind of fault.
    """

    statuses: Mapping[str, int]
    accepted: int
    uncertain_accepted: int
    uncertain_not_accepted: int
    standing: Incumbent
    provisional: int
    faults: Mapping[str, int]

    @property
    def sound(self) -> bool:
        """Tell whether everything is accounted for."""
        return not any(self.faults.values())


def standing(rows: Sequence[Row], capacities: Mapping[int, int]) -> Incumbent:
    """Tell where emails stand."""
    used = Counter(row.mailbox_id for row in rows if row.status in OCCUPYING)
    sent = {(row.enrollment_id, row.position) for row in rows if row.status == "sent"}
    pending = [row for row in rows if row.planned and row.status == "pending"]
    first = [
        row for row in pending if row.position == 1 or (row.enrollment_id, row.position - 1) in sent
    ]
    free = sum(used[row.mailbox_id] < capacities[row.mailbox_id] for row in first)
    return Incumbent(
        above=sum(used[key] > capacity for key, capacity in capacities.items()),
        full=sum(used[key] == capacity for key, capacity in capacities.items()),
        in_hand=sum(row.status in UNFINISHED for row in rows),
        no_room=len(first) - free,
        behind=len(pending) - len(first),
        free=free,
    )


def account(
    accepted: Sequence[str],
    rows: Sequence[Row],
    capacities: Mapping[int, int],
    enrollments: Sequence[Enrollment],
) -> Account:
    """Compare a log with the tables.

    Parameters
    ----------
    accepted
        Message-IDs in the order in which they were accepted.
    rows
        All emails but cancelled ones.
    capacities
        Of the mailboxes, on the day.
    enrollments
        All that have emails.
    """
    stand = standing(rows, capacities)
    planned = [row for row in rows if row.planned]
    times = Counter(accepted)
    by_id = {row.message_id: row for row in rows if row.message_id is not None}
    taken = Counter(by_id[key].mailbox_id for key in accepted if key in by_id)
    uncertain = [row for row in planned if row.status == "uncertain"]
    was_accepted = sum(row.message_id in times for row in uncertain)
    faults = {
        "accepted more than once": len(accepted) - len(times),
        "accepted, but unknown to the tables": sum(key not in by_id for key in times),
        "accepted, but neither sent nor uncertain": sum(
            by_id[key].status not in KNOWN_TO_HAVE_LEFT for key in times if key in by_id
        ),
        "sent, but never accepted": sum(
            row.status == "sent" and row.message_id not in times for row in rows
        ),
        "still in hand": stand.in_hand,
        "pending, though it could have left": stand.free,
        "failed": sum(row.status == "failed" for row in rows),
        "provisional, but no longer pending": sum(
            not row.planned and row.status != "pending" for row in rows
        ),
        "follow-ups accepted before the step before": _out_of_order(accepted, by_id),
        "mailbox-days above capacity, by the tables": stand.above,
        "mailbox-days above capacity, by the log": sum(
            taken[key] > capacity for key, capacity in capacities.items()
        ),
        "enrollments that do not stand where they should": _astray(rows, enrollments),
    }
    return Account(
        statuses=dict(sorted(Counter(row.status for row in planned).items())),
        accepted=len(accepted),
        uncertain_accepted=was_accepted,
        uncertain_not_accepted=len(uncertain) - was_accepted,
        standing=stand,
        provisional=len(rows) - len(planned),
        faults=faults,
    )


def _out_of_order(accepted: Sequence[str], by_id: Mapping[str, Row]) -> int:
    seen: set[tuple[int, int]] = set()
    early = 0
    for key in accepted:
        row = by_id.get(key)
        if row is not None:
            seen.add((row.enrollment_id, row.position))
            early += row.position > 1 and (row.enrollment_id, row.position - 1) not in seen
    return early


def _astray(rows: Sequence[Row], enrollments: Sequence[Enrollment]) -> int:
    """Count those that do not stand at their last sent email, or do not go on from there."""
    reached: dict[int, int] = {}
    for row in rows:
        if row.status == "sent":
            reached[row.enrollment_id] = max(row.position, reached.get(row.enrollment_id, 0))
    have = {(row.enrollment_id, row.position) for row in rows}
    astray = 0
    for enrollment in enrollments:
        position = reached.get(enrollment.id, 0)
        over = position == enrollment.steps
        right = (position, "completed" if over else "active")
        goes_on = over or (enrollment.id, position + 1) in have
        astray += (enrollment.position, enrollment.status) != right or not goes_on
    return astray
