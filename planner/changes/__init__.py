"""Changes of mailboxes, steps, sequences and contacts, as values; a face of the planner.

A change says in one line what becomes different, as in ``RemoveMailbox(5)``. Its values are
checked when it is made, and what they meet when it is applied: ``problem.with_(change)`` gives
the problem that would be left, and `sendplan.io.changes.apply.apply` makes the same change in the
tables.
"""

from sendplan.planner.changes.change import UNCHANGED, Change
from sendplan.planner.changes.contacts import StopContacts, SuppressContact
from sendplan.planner.changes.mailboxes import (
    AddMailbox,
    LinkMailbox,
    RemoveMailbox,
    SetMailbox,
    UnlinkMailbox,
)
from sendplan.planner.changes.sequences import SetSequence
from sendplan.planner.changes.steps import AddStep, MoveStep, RemoveStep, SetStep
from sendplan.planner.changes.studies import AddMailboxes, Arrivals, DaysOff, ScaleCapacities

__all__ = [
    "UNCHANGED",
    "AddMailbox",
    "AddMailboxes",
    "AddStep",
    "Arrivals",
    "Change",
    "DaysOff",
    "LinkMailbox",
    "MoveStep",
    "RemoveMailbox",
    "RemoveStep",
    "ScaleCapacities",
    "SetMailbox",
    "SetSequence",
    "SetStep",
    "StopContacts",
    "SuppressContact",
    "UnlinkMailbox",
]
