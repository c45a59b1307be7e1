"""CP-SAT on single emails: the textbook model, one Boolean for each email and day.

An email of a chain that has still to choose its mailbox has one Boolean for each mailbox and day,
tied to the chain's choice. The solver gets no hint. Two choices were measured on small instances
and serve it best: steps are kept in order by clauses (an email leaves by day t only if the one
before it left early enough), not by comparing days, and slips are variables of their own, which
keeps all terms of the objective from falling below zero.
"""

from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from sendplan.benchmarks.peers.answers import Answer, Clock, PeerError, answer
from sendplan.benchmarks.peers.instances import PeerInstance, Terms
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters

THREADS = 2

_Choices = dict[int, list[cp_model.IntVar]]
"""The variables of one email, by day."""


@dataclass
class _Model:
    """The model, and which variable means what.

    `choices` lists (email, mailbox, day, variable); `loads` the emails of a mailbox and day;
    `delays` the terms of the objective, as (days, price).
    """

    terms: Terms
    cp: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    choices: list[tuple[int, int, int, cp_model.IntVar]] = field(default_factory=list)
    loads: dict[tuple[int, int], list[cp_model.IntVar]] = field(default_factory=dict)
    delays: list[tuple[cp_model.LinearExprT, float]] = field(default_factory=list)

    def add_chains(self, clock: Clock) -> None:
        """Add the emails of all chains."""
        earliest = self.terms.earliest()
        for chain in range(len(self.terms.work.chains)):
            clock.left("while building the model")
            self._add_chain(chain, earliest)

    def _add_chain(self, chain: int, earliest: np.ndarray) -> None:
        terms, chains = self.terms, self.terms.work.chains
        bound = int(chains.mailbox[chain])
        sequence = terms.work.stages.sequence[chains.stage[chain]]
        pool = [bound] if bound != NONE else terms.work.fleet.pools[sequence].tolist()
        chosen = [self.cp.new_bool_var("") for _ in pool] if bound == NONE else []
        if chosen:
            self.cp.add_exactly_one(chosen)
        before: _Choices = {}
        for email in range(chains.offset[chain], chains.offset[chain + 1]):
            stage = terms.work.emails.stage[email]
            days = np.flatnonzero(terms.open_days[stage]).tolist()
            on_day: _Choices = {
                day: [self._add_choice(email, mailbox, day) for mailbox in pool]
                for day in days
                if day >= earliest[email]
            }
            self.cp.add_exactly_one(x for on in on_day.values() for x in on)
            for place, choice in enumerate(chosen):
                self.cp.add(sum(on[place] for on in on_day.values()) == choice)
            self._add_order(before, on_day, terms.release[stage])
            self._add_delays(email, before, on_day)
            before = on_day

    def _add_choice(self, email: int, mailbox: int, day: int) -> cp_model.IntVar:
        x = self.cp.new_bool_var("")
        self.choices.append((email, mailbox, day, x))
        if day <= self.terms.last:
            self.loads.setdefault((mailbox, day), []).append(x)
        return x

    def _add_order(self, before: _Choices, on_day: _Choices, release: np.ndarray) -> None:
        """Forbid an email by a day if the email before it lets it leave only later."""
        if not before:
            return
        for day in on_day:
            too_late = [x for d, on in before.items() if release[d] > day for x in on]
            if too_late:
                by_then = [x for d, on in on_day.items() if d <= day for x in on]
                self.cp.add_at_most_one(too_late + by_then)

    def _add_delays(self, email: int, before: _Choices, on_day: _Choices) -> None:
        """Add the lateness of an email, and its slip if it is a follow-up."""
        terms, work = self.terms, self.terms.work
        stage, chain = work.emails.stage[email], work.emails.chain[email]
        priority = float(work.emails.priority[email])
        day = _value(on_day, np.arange(terms.sink + 1))
        self.delays.append((day - int(min(work.emails.ideal[email], terms.sink)), priority))
        if work.stages.is_first[stage]:
            return
        given = int(min(work.chains.ready[chain], terms.sink))
        slip = self.cp.new_int_var(0, terms.sink, "")
        self.cp.add(slip == day - (_value(before, terms.ready[stage]) if before else given))
        self.delays.append((slip, priority * Parameters.slip_weight))

    def add_capacity(self) -> None:
        """Limit the emails of each mailbox and day."""
        for (mailbox, day), load in self.loads.items():
            room = int(self.terms.limits.room[mailbox, day])
            if room < len(load):
                self.cp.add(sum(load) <= room)

    def set_objective(self) -> None:
        """Minimise the cost."""
        days, prices = zip(*self.delays, strict=True)
        self.cp.minimize(cp_model.LinearExpr.weighted_sum(days, prices))


def plan(instance: PeerInstance, limit: float) -> Answer:
    """Plan an instance.

    Parameters
    ----------
    instance : PeerInstance
        What to plan.
    limit : float
        Seconds for building and solving the model.

    Returns
    -------
    Answer
        With a bound that holds for every plan.

    Raises
    ------
    PeerError
        If no plan was found in time.
    """
    clock = Clock(limit)
    terms = Terms.of(instance.problem)
    model = _Model(terms)
    model.add_chains(clock)
    model.add_capacity()
    model.set_objective()
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = THREADS
    solver.parameters.random_seed = 0
    solver.parameters.max_time_in_seconds = clock.left("while building the model")
    status = solver.solve(model.cp)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise PeerError(f"no plan in time ({solver.status_name(status)})")
    placement = Placement.empty(terms.work)
    for email, mailbox, day, x in model.choices:
        if day <= terms.last and solver.boolean_value(x):
            placement.day[email] = day
            placement.mailbox[terms.work.emails.chain[email]] = mailbox
    return answer(terms, placement, solver.best_objective_bound, solver.status_name(status).lower())


def _value(on_day: _Choices, value: np.ndarray) -> cp_model.LinearExpr:
    """Return the value, by day, of the day that is chosen."""
    variables = [x for on in on_day.values() for x in on]
    values = [int(value[day]) for day, on in on_day.items() for _ in on]
    return cp_model.LinearExpr.weighted_sum(variables, values)
