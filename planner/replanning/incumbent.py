"""The existing plan carried on: the slots that still keep every rule."""

from dataclasses import dataclass

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.grouping import rank
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE
from sendplan.planner.placing.contact_conflicts import clashes
from sendplan.planner.schema.readers import NULL


@dataclass(frozen=True)
class Incumbent:
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


def incumbent(instance: Instance, limits: Limits) -> Incumbent | None:
    """Return the existing slots as a placement, as far as they can stay.

    Parameters
    ----------
    instance, limits
        The instance and its limits.

    Returns
    -------
    Incumbent or None
        None if no email has an existing slot.
    """
    emails, stages, chains = instance.emails, instance.stages, instance.chains
    if not (emails.existing_at != NULL).any():
        return None
    placement = Placement(emails.existing_day.copy(), chains.mailbox.copy())
    head = chains.offset[:-1]
    unbound = placement.mailbox == NONE
    placement.mailbox[unbound] = emails.existing_mailbox[head[unbound]]
    pooled = np.zeros((len(instance.fleet.pools), len(instance.fleet.gap) + 1), dtype=bool)
    for sequence, pool in enumerate(instance.fleet.pools):
        pooled[sequence, pool] = True
    sequence = stages.sequence[chains.stage]
    elsewhere = ~pooled[sequence, placement.mailbox]
    placement.mailbox[elsewhere] = chains.mailbox[elsewhere]

    day = placement.day
    earliest = limits.first_release[emails.chain]
    behind = emails.order > 0
    previous = np.roll(day, 1)
    # Behind an email without a slot nothing stays, though its own slot may be sound.
    follows = behind & (previous != NONE)
    earliest[behind] = 0
    earliest[follows] = limits.release[emails.stage[follows], previous[follows]]
    wrong = (
        (day == NONE)
        | (day < earliest)
        | (day > limits.last)
        | (emails.existing_mailbox != placement.mailbox[emails.chain])
        | elsewhere[emails.chain]
        | ~stages.sends[emails.stage, day]
    )
    untenable = int((wrong & (emails.existing_at != NULL)).sum())
    placement.cut(instance, np.flatnonzero(wrong))
    meeting = clashes(instance, limits, placement)
    untenable += len(meeting)
    placement.cut(instance, meeting)
    size = instance.problem.horizon.size
    first = stages.is_first[emails.stage]
    for counted, key, room in (
        (first, stages.sequence[emails.stage] * size + day, limits.new_room.ravel()),
        (
            np.ones(len(emails), dtype=bool),
            placement.mailbox[emails.chain] * size + day,
            limits.room.ravel(),
        ),
    ):
        email = np.flatnonzero(counted & (placement.day != NONE))
        # The least urgent give way where room has shrunk.
        email = email[np.lexsort((email, -limits.urgency[emails.stage[email]]))]
        excess = email[rank(key[email]) >= room[key[email]]]
        untenable += len(excess)
        placement.cut(instance, excess)
    return Incumbent(placement, untenable)
