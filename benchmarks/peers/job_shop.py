# mypy: disable-error-code="import-not-found, import-untyped"
"""PyJobShop: emails as tasks of one day, mailboxes as renewable resources.

What it can express, exactly: a mailbox's daily capacity (a renewable resource; days off are its
breaks), waits in calendar days moved on to the next sending day (delays between tasks, and the
breaks), one email a day per chain, one mailbox per chain (modes that depend on the first email's),
and lateness (every email is a job of its own, due on its ideal day).

What it cannot:

- Slip. It is the difference of two tasks' days, and the objective knows due dates only. Were ready
  days never moved to the next sending day, a slip would be the lateness of an email less that of
  the one before, and a chain's slips would add up to the lateness of its last email less that of
  its first if that is no follow-up itself. So the last email weighs ``1 + slip_weight`` and a first
  one ``1 - slip_weight``; the latter is negative, and so is paid as *earliness* against a date
  behind all days. What weekends add or swallow it cannot see. On small instances this beat plain
  due dates and maximal delays between the emails of a chain, or found plans where they did not.
- So its own objective is another one, and its lower bound is none on the cost: none is reported.
- Room that differs from day to day (ramps), waits in sending days, sequences with other days off at
  one mailbox, a limit on new contacts: refused here where an instance has it; the reference
  instances in their plain form have none of it.

The decoded plan keeps all rules. Emails placed behind the days looked at are placed anew, on the
first day with capacity; see `answers.mend`.
"""

from itertools import pairwise

import numpy as np
from pyjobshop import Model

from sendplan.benchmarks.peers.answers import Answer, Clock, PeerError, answer
from sendplan.benchmarks.peers.instances import PeerInstance, Terms
from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.vocabulary import WaitUnit

THREADS = 2


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
        Without a bound, see above.

    Raises
    ------
    PeerError
        If no plan was found in time, or the instance cannot be expressed.
    """
    clock = Clock(limit)
    terms = Terms.of(instance.problem)
    model = _model(terms, clock)
    left = clock.left("while building the model")
    result = model.solve(time_limit=left, num_workers=THREADS, display=False)
    if not result.best.tasks:
        raise PeerError(f"no plan in time ({result.status.value})")
    placement = Placement.empty(terms.work)
    chain = terms.work.emails.chain
    for email, task in enumerate(result.best.tasks):
        if task.start <= terms.last:
            placement.day[email] = task.start
            placement.mailbox[chain[email]] = task.resources[0]
    return answer(terms, placement, None, f"{result.status.value.lower()}, for an objective near")


def _model(terms: Terms, clock: Clock) -> Model:
    work = terms.work
    stages, chains, emails = work.stages, work.chains, work.emails
    waits = work.problem.live_steps["wait_days"].to_numpy()[stages.step]
    weights, due = _weights(terms)
    earliest = np.where(emails.order == 0, terms.first_release[emails.chain], 0)
    model = Model()
    mailboxes = _mailboxes(model, terms)
    for chain in range(len(chains)):
        clock.left("while building the model")
        own = chains.mailbox[chain]
        pool = [own] if own != NONE else work.fleet.pools[stages.sequence[chains.stage[chain]]]
        tasks, modes = [], []
        for email in range(chains.offset[chain], chains.offset[chain + 1]):
            job = model.add_job(weight=int(weights[email]), due_date=int(due[email]))
            task = model.add_task(
                job, earliest_start=int(earliest[email]), latest_end=terms.sink + 1
            )
            modes.append([model.add_mode(task, mailboxes[m], duration=1, demands=1) for m in pool])
            tasks.append(task)
        for number, (before, task) in enumerate(pairwise(tasks), start=1):
            wait = int(waits[emails.stage[chains.offset[chain] + number]])
            # One email a day: the next may not start before this one's day is over.
            model.add_end_before_start(before, task, delay=max(wait, 1) - 1)
            if len(pool) > 1:
                for first, same in zip(modes[0], modes[number], strict=True):
                    model.add_mode_dependency(first, [same])
    model.set_objective(weight_total_tardiness=1, weight_total_earliness=1)
    return model


def _mailboxes(model: Model, terms: Terms) -> list[object]:
    """Add the mailboxes, closed on the days off."""
    work = terms.work
    sends = work.stages.sends[:, : terms.sink + 1]
    closed = ~sends[0]
    if (work.problem.sequences["wait_unit"] != WaitUnit.CALENDAR).any():
        raise PeerError("cannot be expressed: waits in sending days")
    if (sends != sends[0]).any():
        raise PeerError("cannot be expressed: sequences with different days off")
    if work.problem.sequences["max_new_per_day"].gt(0).any():
        raise PeerError("cannot be expressed: a limit on new contacts")
    room = terms.limits.room[:, : terms.sink + 1][:, sends[0] & (np.arange(terms.sink + 1) > 0)]
    if (room != room[:, :1]).any():
        raise PeerError("cannot be expressed: capacity that differs from day to day")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]])))
    breaks = [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
    return [model.add_renewable(int(most), breaks) for most in room[:, 0]]


def _weights(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """Return what a day of each email's job costs, and when its task has to end."""
    emails, stages, chains = terms.work.emails, terms.work.stages, terms.work.chains
    slip = int(Parameters.slip_weight)
    if slip < 1 or (emails.priority != 1).any():
        raise PeerError("cannot be expressed: weights that are no whole numbers of lateness")
    last = emails.order == stages.remaining[chains.stage][emails.chain] - 1
    first = stages.is_first[emails.stage]
    weights = np.where(last & ~first, 1 + slip, 1)
    early = first & ~last
    weights[early] = slip - 1
    # A task of day d ends at d + 1; a job that may end too soon is due behind all days.
    return weights, np.where(early, terms.sink + 2, emails.ideal + 1)
