"""The existing plan carried on: the slots that still keep every rule."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement, first_days
from sendplan.planner.model.instance import Workload
from sendplan.planner.model.limits import Rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.placing.contact_conflicts import clashes
from sendplan.planner.schema.readers import NULL


@dataclass(frozen=True)
class Standing:
    """The existing slots, as far as they can stay.

    Parameters
    ----------
    placement : Placement
        Each chain's emails up to the first that has no slot or whose slot breaks a rule.
    untenable : int
        Emails that have a slot which breaks a rule by itself, or is one too many of its day; those
        that only follow such an email are not counted.
    """

    placement: Placement
    untenable: int


def standing(work: Workload, rules: Rules) -> Standing | None:
    """Return the existing slots as a placement, as far as they can stay.

    Parameters
    ----------
    work, rules
        The work and what may be used.

    Returns
    -------
    Standing or None
        None if no email has an existing slot.
    """
    emails, stages, chains = work.emails, work.stages, work.chains
    if not (emails.existing_at != NULL).any():
        return None
    placement = Placement(emails.existing_day.copy(), chains.mailbox.copy())
    head = chains.offset[:-1]
    unbound = placement.mailbox == NONE
    placement.mailbox[unbound] = emails.existing_mailbox[head[unbound]]
    pooled = np.zeros((len(work.fleet.pools), len(work.fleet.gap) + 1), dtype=bool)
    for sequence, pool in enumerate(work.fleet.pools):
        pooled[sequence, pool] = True
    sequence = stages.sequence[chains.stage]
    elsewhere = ~pooled[sequence, placement.mailbox]
    placement.mailbox[elsewhere] = chains.mailbox[elsewhere]

    day = placement.day
    earliest = first_days(work, rules, Placement.empty(work))[emails.chain]
    behind = emails.order > 0
    previous = np.roll(day, 1)
    # Behind an email without a slot nothing stays, though its own slot may be sound.
    follows = behind & (previous != NONE)
    earliest[behind] = 0
    earliest[follows] = rules.release[emails.stage[follows], previous[follows]]
    wrong = (
        (day == NONE)
        | (day < earliest)
        | (day > rules.last)
        | (emails.existing_mailbox != placement.mailbox[emails.chain])
        | elsewhere[emails.chain]
        | ~stages.sends[emails.stage, day]
    )
    untenable = int((wrong & (emails.existing_at != NULL)).sum())
    placement.cut(work, np.flatnonzero(wrong))
    meeting = clashes(work, rules, placement)
    untenable += len(meeting)
    placement.cut(work, meeting)
    size = work.problem.horizon.size
    first = stages.is_first[emails.stage]
    for counted, key, room in (
        (first, stages.sequence[emails.stage] * size + day, rules.new_room.ravel()),
        (
            np.ones(len(emails), dtype=bool),
            placement.mailbox[emails.chain] * size + day,
            rules.room.ravel(),
        ),
    ):
        email = np.flatnonzero(counted & (placement.day != NONE))
        # The least urgent give way where room has shrunk.
        order = np.lexsort((email, -rules.urgency[emails.stage[email]], key[email]))
        email = email[order]
        sorted_key = key[email]
        rank = np.arange(len(email)) - np.searchsorted(sorted_key, sorted_key)
        excess = email[rank >= room[sorted_key]]
        untenable += len(excess)
        placement.cut(work, excess)
    return Standing(placement, untenable)
