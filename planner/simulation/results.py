"""Results of simulated futures: figures and loads, over all of them and side by side."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sendplan.planner.model.assignment import Placement
from sendplan.planner.model.objective import delays
from sendplan.planner.model.stages import NONE
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema import dates
from sendplan.planner.schema.errors import MethodError
from sendplan.planner.simulation.randomness import Rates
from sendplan.planner.simulation.rollout import Rollout

QUANTILES = (0.1, 0.5, 0.9)
FIGURES = (
    "emails", "replies", "bounces", "failures", "given_up", "late_follow_ups", "slip_days",
    "lateness_days", "spared", "unsent", "nights_planned",
)  # fmt: skip


@dataclass(frozen=True)
class SimulatedRun:
    """Figures of one simulated future.

    Parameters
    ----------
    finish : int or None
        Day on which the last email left, in days since 1970-01-01; None if none did.
    emails, replies, bounces : int
        Emails sent, and those of them that were answered or bounced.
    failures, given_up : int
        Attempts that failed for the time being, and emails given up.
    late_follow_ups, slip_days, lateness_days : int
        As in a plan, of the emails sent, with the delays by failures.
    spared : int
        Emails not sent because of a reply, a bounce, or an email given up.
    unsent : int
        Emails for which 366 days did not suffice.
    nights_planned : int
        Nights with planning.
    day, position, count : ndarray of int
        Number of emails by day (since 1970-01-01) and position of the step.
    """

    finish: int | None
    emails: int
    replies: int
    bounces: int
    failures: int
    given_up: int
    late_follow_ups: int
    slip_days: int
    lateness_days: int
    spared: int
    unsent: int
    nights_planned: int
    day: np.ndarray
    position: np.ndarray
    count: np.ndarray


def figures_of(rollout: Rollout) -> SimulatedRun:
    """Return the figures of a future.

    Parameters
    ----------
    rollout : Rollout
        At its end.

    Returns
    -------
    SimulatedRun
        Slip counts from the days on which emails left.
    """
    instance, day = rollout.instance, rollout.day
    emails, stages, origin = instance.emails, instance.stages, instance.problem.horizon.origin
    sent = np.flatnonzero(day != NONE)
    delay = delays(
        instance, Placement(day, rollout.mailbox), instance.problem.horizon.last, Parameters()
    )
    positions = instance.problem.live_steps["position"].to_numpy()
    position = positions[stages.step[emails.stage[sent]]] if len(sent) else sent
    pairs, count = np.unique(np.stack([day[sent] + origin, position]), axis=1, return_counts=True)
    open_ones = rollout.unfinished
    left = rollout.length - rollout.done
    return SimulatedRun(
        finish=int(day[sent].max()) + origin if len(sent) else None,
        emails=len(sent),
        replies=rollout.replies,
        bounces=rollout.bounces,
        failures=rollout.failures,
        given_up=rollout.given_up,
        late_follow_ups=int(delay.late[sent].sum()),
        slip_days=int(delay.slip[sent].sum()),
        lateness_days=int(delay.lateness[sent].sum()),
        spared=int(left[~open_ones].sum()),
        unsent=int(left[open_ones].sum()),
        nights_planned=rollout.nights_planned,
        day=pairs[0],
        position=pairs[1],
        count=count,
    )


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated futures of one problem under one policy.

    Print it, or look at `frame`, `load`, `days` and `quantiles`; `compare` puts several side by
    side.

    Parameters
    ----------
    policy : str
        The policy.
    seed : int
        Seed of all random numbers.
    rates : Rates
        Probabilities of replies, bounces and failures, and the arrivals.
    runs : tuple of SimulatedRun
        The futures.
    room : Series
        Emails that all mailboxes together may send, by day.
    """

    policy: str
    seed: int
    rates: Rates
    runs: tuple[SimulatedRun, ...]
    room: pd.Series

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a future: run, finish_day, and the figures of `SimulatedRun`."""
        rows = [[getattr(run, name) for name in FIGURES] for run in self.runs]
        frame = pd.DataFrame(rows, columns=list(FIGURES))
        finish = [
            np.datetime64("NaT") if run.finish is None else np.datetime64(run.finish, "D")
            for run in self.runs
        ]
        frame.insert(0, "finish_day", np.array(finish, dtype="datetime64[s]"))
        frame.insert(0, "run", np.arange(len(self.runs)))
        return frame

    @cached_property
    def load(self) -> pd.DataFrame:
        """Emails by run, send_day and position of the step; no rows without any."""
        sizes = [len(run.day) for run in self.runs]
        return pd.DataFrame(
            {
                "run": np.repeat(np.arange(len(self.runs)), sizes),
                "send_day": dates.to_dates(np.concatenate([run.day for run in self.runs])),
                "position": np.concatenate([run.position for run in self.runs]),
                "emails": np.concatenate([run.count for run in self.runs]),
            }
        )

    def days(self, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
        """Return the load of each day over all futures.

        Parameters
        ----------
        quantiles : sequence of float
            Levels between 0 and 1.

        Returns
        -------
        DataFrame
            One row a day up to the last with emails: send_day, capacity (emails that the mailboxes
            may send), mean, and the quantiles as ``p10``, ``p50`` …
        """
        last = max((run.finish for run in self.runs if run.finish is not None), default=None)
        days = self.room.index.to_numpy()
        days = days[:0] if last is None else days[days <= np.datetime64(last, "D")]
        sent = self.load.pivot_table(
            index="send_day", columns="run", values="emails", aggfunc="sum", fill_value=0
        ).reindex(index=pd.DatetimeIndex(days), columns=np.arange(len(self.runs)), fill_value=0)
        result = pd.DataFrame(
            {
                "send_day": days,
                "capacity": self.room.reindex(days).to_numpy(),
                "mean": sent.mean(axis=1).to_numpy(),
            }
        )
        for share in quantiles:
            result[_name(share)] = _quantile(sent.to_numpy(), share)
        return result

    def quantiles(self, quantiles: Sequence[float] = QUANTILES) -> pd.DataFrame:
        """Return the distribution of every figure.

        Parameters
        ----------
        quantiles : sequence of float
            Levels between 0 and 1.

        Returns
        -------
        DataFrame
            One row a figure: the quantiles as ``p10``, ``p50`` …, each the value of some future.
        """
        figures = self.frame.drop(columns="run")
        finish = figures["finish_day"].dropna().to_numpy().astype("datetime64[D]").astype(np.int64)
        rows: dict[str, list[object]] = {
            "finish_day": [
                dates.to_date(int(_quantile(finish[None], share)[0])) if len(finish) else None
                for share in quantiles
            ]
        }
        for name in FIGURES:
            values = figures[name].to_numpy()[None]
            rows[name] = [int(_quantile(values, share)[0]) for share in quantiles]
        columns = [_name(share) for share in quantiles]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=object)

    def finished_by(self, day: dt.date | str) -> float:
        """Return the share of the futures in which everything was sent by the end of a day.

        Parameters
        ----------
        day : date or str
            Such as ``"2027-01-15"``.
        """
        until = dates.to_day(pd.Timestamp(day).date())
        over = [not run.unsent and (run.finish is None or run.finish <= until) for run in self.runs]
        return sum(over) / len(over)

    def compare(self, *others: "Simulation", labels: Sequence[str] | None = None) -> pd.DataFrame:
        """Put simulations side by side.

        Parameters
        ----------
        *others : Simulation
            Of the same seed and number of runs, so that they met the same contacts.
        labels : sequence of str, optional
            Names, this one's first; by default the policies.

        Returns
        -------
        DataFrame
            One row each: median (p50) and 90 % quantile (p90) of finish_day, the means of the
            figures, and finishes_later, the mean of the days after the finish of this one.

        Raises
        ------
        MethodError
            If the futures are not the same, or the number of labels is another.
        """
        every = (self, *others)
        for other in others:
            if (other.seed, len(other.runs)) != (self.seed, len(self.runs)):
                raise MethodError(
                    f"seed {self.seed} with {len(self.runs)} runs and seed {other.seed} with "
                    f"{len(other.runs)} runs are different futures; simulate both with the same"
                )
        names = [each.policy for each in every] if labels is None else list(labels)
        if len(names) != len(every):
            raise MethodError(f"{len(names)} labels for {len(every)} simulations; give one each")
        rows = []
        for each in every:
            finish = each.quantiles((0.5, 0.9)).loc["finish_day"]
            means = each.frame[list(FIGURES)].mean()
            later = (each.frame["finish_day"] - self.frame["finish_day"]).dt.days.mean()
            rows.append(
                {
                    "finish_day_p50": finish["p50"],
                    "finish_day_p90": finish["p90"],
                    "finishes_later": later,
                    **means.to_dict(),
                }
            )
        return pd.DataFrame(rows, index=pd.Index(names, name="policy"))

    def __repr__(self) -> str:
        """Return the distribution as plain text."""
        return f"{self._title}\n{self.quantiles().to_string()}"

    def _repr_html_(self) -> str:
        """Return the distribution as a notebook shows it."""
        return f"<p>{self._title}</p>{self.quantiles().to_html()}"

    @property
    def _title(self) -> str:
        return f"{self.policy}: {len(self.runs)} simulated futures, seed {self.seed}"


def _name(share: float) -> str:
    return f"p{100 * share:g}"


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """Return a quantile of each row that is one of its values."""
    return np.asarray(np.quantile(values, share, axis=1, method="inverted_cdf"))
