"""Simulation: a problem run day by day, many times over, under one policy or another."""

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
from sendplan.planner.simulation.dispatch_rules import run_dispatch_rule
from sendplan.planner.simulation.randomness import ByStep, Rates, check_seed, sample, with_arrivals
from sendplan.planner.simulation.results import SimulatedRun, Simulation, figures_of
from sendplan.planner.simulation.rolling_horizon import run_rolling_horizon
from sendplan.planner.simulation.rollout import Rollout
from sendplan.planner.studies.study_pool import study_workers

REPLY_RATE = 0.03
BOUNCE_RATE = (0.02, 0.002)
FAILURE_RATE = 0.005
REPLY_DAYS = 2.0
"""Usual rates of cold emails to verified addresses."""


class Policy(StrEnum):
    """How the emails of each day are chosen."""

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
    """Simulate many futures of a problem, day by day.

    Each night the policy chooses the emails of the day; they are sent, and some of them fail,
    bounce or are answered. These outcomes are sampled beforehand, so that two policies with the
    same seed meet the same contacts, and differ only in what they choose.

    Parameters
    ----------
    problem : Problem
        The problem on the first night.
    runs : int
        Number of futures.
    seed : int
        Seed of all random numbers; a future depends on this and its number only.
    policy : str
        ``"look-ahead"``: a plan for the whole horizon, made anew every night after events that it
        did not foresee. ``"follow-ups first"``: no plan; each day the emails that are ready are
        sent as far as capacity allows, first emails last. ``"first come"``: the same, the longest
        wait first.
    reply_rate : float or sequence of float
        Probability that an email is answered. A number holds for every step; several hold for the
        steps in order, the last one for the rest. A reply ends the chain.
    bounce_rate : float or sequence of float
        Probability that an email bounces. The contact gets no more of any sequence.
    failure_rate : float or sequence of float
        Probability that an attempt fails for the time being. The email is tried again on another
        day, five times at most; then its chain ends.
    reply_days : float
        Mean of the days until a reply; 0 is the same day (geometric distribution). Replies and
        bounces are known in the night after.
    arrivals : Arrivals or iterable of Arrivals, optional
        Contacts who arrive later, `per_day` on average (Poisson distribution). Plans do not know of
        them before, nor of enrollments of a later date in the problem.
    parameters : Parameters, optional
        Planning parameters; by default those of method greedy.
    workers : int
        Number of processes that simulate futures side by side.
    executor : Executor, optional
        Runs the futures instead of these.
    progress : callable
        Called with the number of futures done, and of all of them.

    Returns
    -------
    Simulation
        The same for the same input, whatever runs the futures.

    Raises
    ------
    MethodError
        If the policy does not exist, or a number is out of range.

    Notes
    -----
    Emails sent before the simulation begins, or in flight then, get no replies and bounces.
    """
    if policy not in list(Policy):
        raise MethodError(f"policy {policy!r} is unknown; use one of {', '.join(Policy)}")
    check_seed(seed, runs)
    Parameters(workers=workers)
    coming = (arrivals,) if isinstance(arrivals, Arrivals) else tuple(arrivals)
    rates = Rates(reply_rate, bounce_rate, failure_rate, reply_days, coming)
    given = parameters or Parameters(method="greedy")
    room = _room(with_arrivals(problem, coming, seed, 0), given)
    jobs = [(0, Policy(policy), rates, given, seed, run) for run in range(runs)]
    done: dict[int, SimulatedRun] = {}
    with study_workers(executor, min(workers, runs), [problem]) as pool:
        for run, figures in pool.as_completed(_run, jobs):
            done[run] = figures
            progress(len(done), runs)
    return Simulation(str(policy), seed, rates, tuple(done[run] for run in range(runs)), room)


def simulate_run(
    problem: Problem, policy: Policy, rates: Rates, parameters: Parameters, seed: int, run: int
) -> Rollout:
    """Simulate one future.

    Parameters
    ----------
    problem, policy, rates, parameters, seed
        As in `simulate`.
    run : int
        Number of the future.

    Returns
    -------
    Rollout
        At its end; `Rollout.sends` returns every email.
    """
    instance = build_instance(with_arrivals(problem, rates.arrivals, seed, run))
    rollout = Rollout(instance, sample(instance, rates, seed, run))
    if policy is Policy.LOOK_AHEAD:
        run_rolling_horizon(rollout, parameters)
    else:
        # Dispatch rules have no horizon.
        endless = replace(parameters, horizon_days=None)
        first = policy is Policy.FOLLOW_UPS_FIRST
        run_dispatch_rule(rollout, limits_of(instance, endless), follow_ups_first=first)
    return rollout


def _run(
    problem: Problem, policy: Policy, rates: Rates, parameters: Parameters, seed: int, run: int
) -> SimulatedRun:
    return figures_of(simulate_run(problem, policy, rates, parameters, seed, run))


def _room(problem: Problem, parameters: Parameters) -> pd.Series:
    """Return the emails that all mailboxes together may send, by day."""
    instance = build_instance(problem)
    today, horizon = 1, problem.horizon
    days = slice(today, horizon.last + 1)
    room = limits_of(instance, replace(parameters, horizon_days=None)).room[:, days]
    return pd.Series(
        (room * instance.sends()[:, days]).sum(axis=0),
        index=dates.to_dates(horizon.origin + np.arange(horizon.last + 1)[days]),
        name="capacity",
    )
