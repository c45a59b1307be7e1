"""The stored plan: the existing slots as a `Plan`, with their present cost."""

import numpy as np

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.limits import limits_of
from sendplan.planner.model.stages import NONE
from sendplan.planner.plan.assembly import assemble
from sendplan.planner.plan.plan import Plan
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.replanning.incumbent import incumbent
from sendplan.planner.schema.dates import SECOND


def stored_plan(problem: Problem, parameters: Parameters) -> Plan:
    """Return the existing slots of a problem as a plan, without planning.

    Parameters
    ----------
    problem : Problem
        With existing slots.
    parameters : Parameters
        Weights of the cost.

    Returns
    -------
    Plan
        Its method is ``"stored"`` and it has no lower bound. Emails that have no slot, or whose
        slot breaks a rule by now, are unplaced.
    """
    instance = build_instance(problem)
    limits = limits_of(instance, parameters)
    found = incumbent(instance, limits)
    placement = Placement.empty(instance) if found is None else found.placement
    return assemble(
        instance,
        limits,
        parameters,
        placement,
        np.where(placement.day == NONE, NONE, instance.emails.existing_at // SECOND),
        method="stored",
        lower_bound=None,
        stopped=None,
        untenable=0 if found is None else found.untenable,
    )
