"""Randomness: what contacts and servers do with the emails of one simulated future.

Every outcome belongs to an email, one step of one enrollment, and is sampled before anything is
sent, so that all policies meet the same contacts: a contact who would reply to step 2 does so under
each, sooner or later. The seed and the number of the run determine everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from numbers import Real

import numpy as np

from sendplan.planner.changes import Arrivals
from sendplan.planner.model.instance import Instance
from sendplan.planner.problem.parameters import MAX_SEED
from sendplan.planner.problem.problem import Problem
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.schema.vocabulary import MAX_HORIZON_DAYS

MOST_ATTEMPTS = 5
"""Failed attempts after which an email is given up, and its chain with it."""

ByStep = float | Sequence[float]
"""One rate for all steps, or one for each step in order; the last one holds for the rest."""


class _Stream(IntEnum):
    """Streams of random numbers, one for each outcome, so that one rate changes nothing else."""

    FAILURE = 0
    BOUNCE = 1
    REPLY = 2
    REPLY_DELAY = 3
    ARRIVAL = 4


@dataclass(frozen=True)
class Rates:
    """Probabilities of what no plan can know.

    Parameters
    ----------
    reply, bounce, failure : float or sequence of float
        Of each email that is tried or received, by step; see `sendplan.simulate`.
    reply_days : float
        Mean of the days until a reply.
    arrivals : tuple of Arrivals
        New contacts.
    """

    reply: ByStep
    bounce: ByStep
    failure: ByStep
    reply_days: float
    arrivals: tuple[Arrivals, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that are no rates.

        Raises
        ------
        MethodError
            Naming the rate, its value and what is allowed.
        """
        for name in ("reply", "bounce", "failure"):
            given = getattr(self, name)
            several = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
            rates = list(given) if several else [given]
            if not rates:
                raise MethodError(f"{name}_rate is empty; give a number, or one for each step")
            for rate in rates:
                _within(f"{name}_rate", rate, 1)
            # Lists and tuples of the same rates are the same rates.
            object.__setattr__(self, name, tuple(float(rate) for rate in rates))
        _within("reply_days", self.reply_days, MAX_HORIZON_DAYS)
        for change in self.arrivals:
            if not isinstance(change, Arrivals):
                raise MethodError(f"arrivals has {change!r}; give changes.Arrivals")

    def at(self, name: str, ordinal: np.ndarray) -> np.ndarray:
        """Return a rate by the step's number within its sequence, from 0."""
        rates = np.array(getattr(self, name))
        return np.asarray(rates[np.minimum(ordinal, len(rates) - 1)])


def _within(name: str, value: object, most: float) -> None:
    sound = isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= most
    if not sound:
        raise MethodError(f"{name} is {value!r}; it must lie between 0 and {most}")


@dataclass(frozen=True)
class Samples:
    """Outcome of each email of an instance, if it is sent.

    Parameters
    ----------
    failures : ndarray of int, shape (emails,)
        Failed attempts before one succeeds; with `MOST_ATTEMPTS` none does.
    bounced, replied : ndarray of bool, shape (emails,)
        Whether it bounces, and whether it is answered; never both.
    reply_delay : ndarray of int, shape (emails,)
        Whole days until the answer.
    """

    failures: np.ndarray
    bounced: np.ndarray
    replied: np.ndarray
    reply_delay: np.ndarray


def sample(instance: Instance, rates: Rates, seed: int, run: int) -> Samples:
    """Sample the outcome of the emails.

    Parameters
    ----------
    instance : Instance
        The emails.
    rates : Rates
        Probabilities.
    seed, run : int
        Two runs of a seed are independent; a run has the same random numbers whatever the rates:
        with a higher rate the same contacts reply, and more.

    Returns
    -------
    Samples
        Aligned with ``instance.emails``.
    """
    enrollment = instance.chains.enrollment[instance.emails.chain]
    ordinal = instance.problem.live_steps.groupby("sequence_id").cumcount().to_numpy()
    ordinal = (
        ordinal[instance.stages.step[instance.emails.stage]] if len(enrollment) else enrollment
    )
    people = len(instance.problem.enrollments)

    def uniform(stream: _Stream) -> np.ndarray:
        """Return one number an email, which further steps do not change."""
        result = np.zeros(len(enrollment))
        for step in np.unique(ordinal):
            here = ordinal == step
            numbers = _generator(seed, run, stream, int(step)).random(people)
            result[here] = numbers[enrollment[here]]
        return result

    failing, failure = uniform(_Stream.FAILURE), rates.at("failure", ordinal)
    # The n-th failure in a row is as likely as the n-th power of one.
    failures = np.sum([failing < failure**n for n in range(1, MOST_ATTEMPTS + 1)], axis=0)
    bounced = uniform(_Stream.BOUNCE) < rates.at("bounce", ordinal)
    replied = (uniform(_Stream.REPLY) < rates.at("reply", ordinal)) & ~bounced
    return Samples(
        failures, bounced, replied, _delay(uniform(_Stream.REPLY_DELAY), rates.reply_days)
    )


def _delay(uniform: np.ndarray, mean: float) -> np.ndarray:
    """Return days of a geometric distribution that starts at 0."""
    if not mean:
        return np.zeros(len(uniform), dtype=np.int64)
    days = np.floor(np.log1p(-uniform) / np.log(mean / (1 + mean)))
    return np.asarray(np.minimum(days, MAX_HORIZON_DAYS).astype(np.int64))


def _generator(seed: int, run: int, stream: _Stream, step: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, run, int(stream), step])


def with_arrivals(problem: Problem, arrivals: Sequence[Arrivals], seed: int, run: int) -> Problem:
    """Add the arrivals, in numbers sampled for each day.

    Parameters
    ----------
    problem : Problem
        The problem at the beginning.
    arrivals : sequence of Arrivals
        Their `per_day` is the mean of a Poisson distribution.
    seed, run : int
        As in `sample`.

    Returns
    -------
    Problem
        With the new enrollments last; no policy may know of them before they arrive.

    Raises
    ------
    ProblemError
        If contacts arrive for a sequence that does not exist.
    """
    for number, change in enumerate(arrivals):
        counts = _generator(seed, run, _Stream.ARRIVAL, number).poisson(change.per_day, change.days)
        most = int(counts.max())
        more = problem.with_(replace(change, per_day=most))
        comes = np.arange(most) < counts[:, None]
        kept = np.append(np.ones(len(problem.enrollments), dtype=bool), comes)
        problem = replace(more, enrollments=more.enrollments[kept].reset_index(drop=True))
    return problem


def check_seed(seed: int, runs: int) -> None:
    """Refuse a seed or a number of runs that is out of range.

    Raises
    ------
    MethodError
        Naming the value and what is allowed.
    """
    for name, value, least in (("seed", seed, 0), ("runs", runs, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SEED:
            raise MethodError(f"{name} is {value!r}; give a whole number, {least} or more")
