"""The stored plan: the existing slots as a `Plan`, with what they cost by now."""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import workload
from sendplan.planner.model.limits import rules
from sendplan.planner.model.step_classes import NONE
from sendplan.planner.plan.assembly import outcome
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.replanning.incumbent import standing
from sendplan.planner.schema.dates import SECOND


def stored_plan(problem: Problem, parameters: Parameters) -> Plan:
    """Read the plan that a problem's existing slots are, without planning anything.

    Parameters
    ----------
    problem : Problem
        With existing slots.
    parameters : Parameters
        How costs are counted.

    Returns
    -------
    Plan
        Its method is ``"stored"`` and it has no lower bound. Emails that have no slot, or whose
        slot breaks a rule by now, are unplaced.
    """
    work = workload(problem)
    allowed = rules(work, parameters)
    found = standing(work, allowed)
    placement = Placement.empty(work) if found is None else found.placement
    return outcome(
        work,
        allowed,
        parameters,
        placement,
        np.where(placement.day == NONE, NONE, work.emails.existing_at // SECOND),
        method="stored",
        lower_bound=None,
        stopped=None,
        untenable=0 if found is None else found.untenable,
    )
