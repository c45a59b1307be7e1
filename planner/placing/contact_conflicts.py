"""One email a day per contact: where a placement breaks it.

Counts know no contacts. Where two emails of one contact meet on a day, the more urgent one keeps
it; the other is taken out, with what follows it in its chain, and inserted anew.
"""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.grouping import rank
from sendplan.planner.model.instance import Instance
from sendplan.planner.model.limits import Limits
from sendplan.planner.model.stages import NONE


def clashes(
    instance: Instance, limits: Limits, placement: Placement, fixed: np.ndarray | None = None
) -> np.ndarray:
    """Return the emails that may not leave on their day.

    Parameters
    ----------
    instance, limits
        The instance and its limits.
    placement : Placement
        Days and mailboxes.
    fixed : ndarray of bool, shape (emails,), optional
        Emails that keep their day before any other.

    Returns
    -------
    ndarray of int
        Emails on a day that their contact has used otherwise, the most urgent email of the day
        keeping it, and emails on a date whose window does not exist.
    """
    email = np.flatnonzero(placement.day != NONE)
    chain, day = instance.emails.chain[email], placement.day[email]
    unusable = email[~instance.windows.usable[instance.chains.window[chain], day]]
    contact = limits.shared[chain]
    known = contact != NONE
    email, contact, day = email[known], contact[known], day[known]
    history = limits.busy[contact, day]
    key = contact * limits.busy.shape[1] + day
    yields = np.zeros(len(email), dtype=bool) if fixed is None else ~fixed[email]
    order = np.lexsort((email, -limits.urgency[instance.emails.stage[email]], yields))
    repeated = np.zeros(len(email), dtype=bool)
    repeated[order] = rank(key[order]) > 0
    return np.union1d(unusable, email[history | repeated])
