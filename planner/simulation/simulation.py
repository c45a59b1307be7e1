"""Simulation: a plan lived through day by day, many times over, under one policy or another."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from enum import StrEnum

import numpy as np
import pandas as pd

from sendplan.planner.changes import Arrivals
from sendplan.planner.model.instance import build_instance
from sendplan.planner.model.limits import limits_of
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema import dates
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.schema.vocabulary import DEFAULT_WORKERS
from sendplan.planner.simulation.dispatch_rules import live_day_by_day
from sendplan.planner.simulation.randomness import ByStep, Rates, check_seed, draw, with_arrivals
from sendplan.planner.simulation.results import SimulatedRun, Simulation, run_of
from sendplan.planner.simulation.rolling_horizon import live_looking_ahead
from sendplan.planner.simulation.rollout import Rollout
from sendplan.planner.studies.study_pool import study_workers

REPLY_RATE = 0.03
BOUNCE_RATE = (0.02, 0.002)
FAILURE_RATE = 0.005
REPLY_DAYS = 2.0
"""What is usual for cold emails to addresses that were checked; take your own where you know it."""


class Policy(StrEnum):
    """How it is decided each day what is sent."""

    LOOK_AHEAD = "look-ahead"
    FOLLOW_UPS_FIRST = "follow-ups first"
    FIRST_COME = "first come"


def simulate(
    problem: Problem,
    runs: int = 20,
    seed: int = 0,
    *,
    policy: str = Policy.LOOK_AHEAD,
    reply_rate: ByStep = REPLY_RATE,
    bounce_rate: ByStep = BOUNCE_RATE,
    failure_rate: ByStep = FAILURE_RATE,
    reply_days: float = REPLY_DAYS,
    arrivals: Arrivals | Iterable[Arrivals] = (),
    parameters: Parameters | None = None,
    workers: int = DEFAULT_WORKERS,
    executor: Executor | None = None,
    progress: Callable[[int, int], object] = lambda done, runs: None,
) -> Simulation:
    """Live a problem through, day by day, in many possible futures.

    Each night it is planned what is sent; then the day's emails go out, and some of them fail,
    bounce or are answered. What becomes of which email is drawn before, so that two policies with
    the same seed meet the same contacts, and their difference is the policies' own.

    Parameters
    ----------
    problem : Problem
        What is known on the first night.
    runs : int
        How many futures.
    seed : int
        Seed of all chance; a future depends on this and its number only.
    policy : str
        ``"look-ahead"``: a plan for the whole horizon, made anew every night on which something
        has happened that it did not foresee. ``"follow-ups first"``: no plan; each day what is
        ready goes out as far as there is room, first emails last. ``"first come"``: the same, who
        has waited longest first.
    reply_rate : float or sequence of float
        How likely an email is answered. A number holds for every step; several are for the steps
        in order, the last one for all behind. Who has replied gets no more of that sequence.
    bounce_rate : float or sequence of float
        How likely an email bounces. The contact gets no more of any sequence.
    failure_rate : float or sequence of float
        How likely an attempt fails for the time being. The email is tried again on another day,
        five times at most; then its chain ends.
    reply_days : float
        Days until a reply on average; 0 is the same day (geometric distribution). Replies and
        bounces are known to the night after.
    arrivals : Arrivals or iterable of Arrivals, optional
        Contacts who come in later; how many each day is drawn around their `per_day` (Poisson).
        Nobody plans for them before, nor for enrollments of a later date in the problem.
    parameters : Parameters, optional
        How to plan; by default with the greedy.
    workers : int
        How many futures are lived through side by side, each in a process of its own.
    executor : Executor, optional
        Who works instead of these.
    progress : callable
        Called with the number of futures done, and of all.

    Returns
    -------
    Simulation
        The same for the same input, whoever works.

    Raises
    ------
    MethodError
        If the policy does not exist, or a number is out of range.

    Notes
    -----
    Emails sent before the simulation begins, or in flight then, are answered by nobody.
    """
    if policy not in list(Policy):
        raise MethodError(f"policy {policy!r} is unknown; use one of {', '.join(Policy)}")
    check_seed(seed, runs)
    Parameters(workers=workers)
    who = (arrivals,) if isinstance(arrivals, Arrivals) else tuple(arrivals)
    rates = Rates(reply_rate, bounce_rate, failure_rate, reply_days, who)
    how = parameters or Parameters(method="greedy")
    room = _room(with_arrivals(problem, who, seed, 0), how)
    jobs = [(0, Policy(policy), rates, how, seed, run) for run in range(runs)]
    done: dict[int, SimulatedRun] = {}
    with study_workers(executor, min(workers, runs), [problem]) as pool:
        for run, lived_through in pool.done(_run, jobs):
            done[run] = lived_through
            progress(len(done), runs)
    return Simulation(str(policy), seed, rates, tuple(done[run] for run in range(runs)), room)


def lived(
    problem: Problem, policy: Policy, rates: Rates, parameters: Parameters, seed: int, run: int
) -> Rollout:
    """Live through one future.

    Parameters
    ----------
    problem, policy, rates, parameters, seed
        As in `simulate`.
    run : int
        Its number.

    Returns
    -------
    Rollout
        At its end; `Rollout.sends` has every email.
    """
    instance = build_instance(with_arrivals(problem, rates.arrivals, seed, run))
    rollout = Rollout(instance, draw(instance, rates, seed, run))
    if policy is Policy.LOOK_AHEAD:
        live_looking_ahead(rollout, parameters)
    else:
        # What is decided day by day knows no horizon.
        endless = replace(parameters, horizon_days=None)
        first = policy is Policy.FOLLOW_UPS_FIRST
        live_day_by_day(rollout, limits_of(instance, endless), follow_ups_first=first)
    return rollout


def _run(
    problem: Problem, policy: Policy, rates: Rates, parameters: Parameters, seed: int, run: int
) -> SimulatedRun:
    return run_of(lived(problem, policy, rates, parameters, seed, run))


def _room(problem: Problem, parameters: Parameters) -> pd.Series:
    """Return what all mailboxes together may send, by day, on days on which they may send."""
    instance = build_instance(problem)
    today, horizon = 1, problem.horizon
    days = slice(today, horizon.last + 1)
    room = limits_of(instance, replace(parameters, horizon_days=None)).room[:, days]
    return pd.Series(
        (room * instance.sends()[:, days]).sum(axis=0),
        index=dates.to_dates(horizon.origin + np.arange(horizon.last + 1)[days]),
        name="capacity",
    )
