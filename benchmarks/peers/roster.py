"""Who takes part: each peer's name, what it needs, and how it plans."""

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sendplan.benchmarks.baselines import Order
from sendplan.benchmarks.peers import email_model, known
from sendplan.benchmarks.peers.answers import Answer, Clock, PeerError
from sendplan.benchmarks.peers.instances import PeerInstance

Planner = Callable[[PeerInstance, float], Answer]
"""Plans an instance within a limit of seconds."""


@dataclass(frozen=True)
class Peer:
    """One that plans.

    Parameters
    ----------
    name : str
        What the table calls it.
    plan : Planner
        How it plans.
    package : str or None
        The optional distribution that it needs.
    """

    name: str
    plan: Planner
    package: str | None = None

    @property
    def version(self) -> str | None:
        """Version of the optional package; None without one."""
        if self.package is None:
            return None
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


def _optional(module: str, package: str) -> Planner:
    """Return a planner whose module is imported only when it plans."""

    def plan(instance: PeerInstance, limit: float) -> Answer:
        clock = Clock(limit)
        try:
            home = importlib.import_module(f"sendplan.benchmarks.peers.{module}")
        except ImportError as error:
            raise PeerError(f"not installed: {package} ({error})") from error
        except NotImplementedError as error:
            raise PeerError(f"does not run here: {error}") from error
        result: Answer = home.plan(instance, clock.left("while starting"))
        return result

    return plan


PEERS = {
    "daily-fifo": Peer(
        "day by day, first in, first out", partial(known.daily, order=Order.FIRST_IN_FIRST_OUT)
    ),
    "daily": Peer(
        "day by day, follow-ups first", partial(known.daily, order=Order.FOLLOW_UPS_FIRST)
    ),
    "emails": Peer("CP-SAT, a Boolean per email and day", email_model.plan),
    "pyjobshop": Peer("PyJobShop", _optional("job_shop", "pyjobshop"), "pyjobshop"),
    "timefold": Peer("Timefold", _optional("local_search", "timefold"), "timefold"),
    "highs": Peer("HiGHS on counts", _optional("count_model", "highspy"), "highspy"),
    "greedy": Peer("sendplan, greedy", partial(known.own, method="greedy")),
    "cpsat": Peer("sendplan, cpsat", partial(known.own, method="cpsat")),
    "auto": Peer("sendplan, auto", partial(known.own, method="auto")),
}
"""The peers by the word that the command line knows them by, simple ones first."""
