"""Scenarios side by side: what the plan of a problem becomes under changes."""

import datetime as dt
import html
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from sendplan.planner.changes import Change
from sendplan.planner.problem.parameters import Parameters, named_parameters
from sendplan.planner.schema.errors import MethodError, ProblemError
from sendplan.planner.solver import plan_with
from sendplan.planner.studies.study_pool import study_workers

if TYPE_CHECKING:
    from sendplan.planner.plan.plan import Plan
    from sendplan.planner.problem.problem import Problem

AS_IT_IS = "as it is"
"""Name of the unchanged problem, which comes first."""

Changes = Change | Iterable[Change]
Clock = Callable[[], float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Plans of one problem under several scenarios; shows as a table.

    Parameters
    ----------
    plans : dict of str to Plan
        By scenario, the unchanged problem first.
    changes : dict of str to tuple of Change
        What each scenario changes.
    seconds : dict of str to float or None
        Duration of each by the clock, if one was given.
    """

    plans: dict[str, "Plan"]
    changes: dict[str, tuple[Change, ...]]
    seconds: dict[str, float | None]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The figures, one row a scenario.

        Returns
        -------
        DataFrame
            Indexed by scenario: finish_day, days_saved (calendar days by which it ends sooner than
            the unchanged problem), emails (slots), unplaced (blocked included), late_follow_ups,
            slip_days, late_days (lateness over all emails), cost, lower_bound, gap, use (share of
            the room of the mailboxes that is used until the plan's last day), moved (emails that
            leave the slot they had), and seconds where a clock was given.
        """
        rows = {name: _figures(plan) for name, plan in self.plans.items()}
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("scenario")
        first = self.plans[AS_IT_IS].finish_day
        saved = [_days_between(plan.finish_day, first) for plan in self.plans.values()]
        frame.insert(1, "days_saved", pd.Series(saved, index=frame.index, dtype="Int64"))
        for name in ("lower_bound", "gap"):
            frame[name] = frame[name].astype(float)
        if any(each is not None for each in self.seconds.values()):
            frame["seconds"] = pd.Series(self.seconds, dtype=float)
        return frame

    @property
    def best(self) -> str:
        """The scenario that costs least, the first of those that cost the same."""
        return min(self.plans, key=lambda name: self.plans[name].cost)

    def difference(self, scenario: str) -> pd.DataFrame:
        """Return every slot of a scenario that differs from the unchanged plan's; `Plan.diff`."""
        return self.plans[AS_IT_IS].diff(self.plans[scenario])

    def __getitem__(self, scenario: str) -> "Plan":
        """Return the plan of a scenario."""
        return self.plans[scenario]

    def __repr__(self) -> str:
        """Return the figures as plain text."""
        return _in_words(self.frame).to_string()

    def _repr_html_(self) -> str:
        """Return the figures as a notebook shows them, with what was changed as a hint."""
        shown = _in_words(self.frame)
        header = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *shown.columns))
        lines = []
        for name, row in shown.iterrows():
            hint = html.escape("; ".join(map(repr, self.changes[str(name)])), quote=True)
            cells = "".join(f"<td>{html.escape(str(value))}</td>" for value in row)
            lines.append(f'<tr><th title="{hint}">{html.escape(str(name))}</th>{cells}</tr>')
        return f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def compare(
    problem: "Problem",
    scenarios: Mapping[str, Changes],
    *,
    workers: int = Parameters.workers,
    executor: Executor | None = None,
    clock: Clock | None = None,
    progress: Callable[[str], None] = lambda name: None,
    **parameters: Any,
) -> Comparison:
    """Plan a problem as it is and under several scenarios, side by side.

    Parameters
    ----------
    problem : Problem
        The problem.
    scenarios : mapping of str to Change, or to an iterable of changes
        Changes by the name of the scenario.
    workers : int
        Number of processes that plan scenarios side by side; the plans do not depend on it. With 1
        everything runs in this process.
    executor : Executor, optional
        Runs the plans instead of such processes. It gets the problem once for each scenario.
    clock : callable, optional
        Returns seconds, such as ``time.perf_counter``; with it the result has durations.
    progress : callable, optional
        Called with the name of each scenario once it has been planned.
    **parameters
        Those of `Parameters`, the same for all scenarios.

    Returns
    -------
    Comparison
        Its `plans` and its `frame`, the unchanged problem first.

    Raises
    ------
    ProblemError
        If a change does not fit; the message names the scenario.
    MethodError
        If a parameter does not exist or is out of range, or a scenario has no name of its own.

    Examples
    --------
    >>> sendplan.compare(
    ...     problem,
    ...     {
    ...         "ten more mailboxes": changes.AddMailboxes(10),
    ...         "shorter waits": [changes.SetStep(12, wait_days=2), changes.RemoveStep(14)],
    ...     },
    ...     method="greedy",
    ... )
    """
    given = _changes_by_name(scenarios)
    # Scenarios run side by side; within one, nothing does.
    how = named_parameters({**parameters, "workers": 1})
    # Before any planning, so that a mistake is reported at once.
    problems = {name: _changed(problem, name, changes) for name, changes in given.items()}
    names = list(problems)
    found: dict[str, tuple[Plan, float | None]] = {}
    with study_workers(executor, min(workers, len(names)), list(problems.values())) as pool:
        jobs = [(number, how, clock) for number in range(len(names))]
        for place, result in pool.as_completed(_plan_scenario, jobs):
            found[names[place]] = result
            progress(names[place])
    return Comparison(
        {name: found[name][0] for name in names},
        given,
        {name: found[name][1] for name in names},
    )


def _changes_by_name(scenarios: Mapping[str, Changes]) -> dict[str, tuple[Change, ...]]:
    given: dict[str, tuple[Change, ...]] = {AS_IT_IS: ()}
    for name, changes in scenarios.items():
        if not isinstance(name, str) or not name.strip() or name == AS_IT_IS:
            raise MethodError(f"a scenario is called {name!r}; give it a name of its own")
        given[name] = (changes,) if isinstance(changes, Change) else tuple(changes)
    return given


def _changed(problem: "Problem", name: str, changes: tuple[Change, ...]) -> "Problem":
    try:
        return problem.with_(*changes)
    except ProblemError as error:
        where = f"scenario {name!r}"
        raise ProblemError(fault.within(where) for fault in error.faults) from error


def _plan_scenario(
    problem: "Problem", parameters: Parameters, clock: Clock | None
) -> tuple["Plan", float | None]:
    begin = None if clock is None else clock()
    plan = plan_with(problem, parameters)
    return plan, None if clock is None or begin is None else clock() - begin


def _figures(plan: "Plan") -> dict[str, Any]:
    room = int(plan.capacity["capacity"].sum())
    return {
        "finish_day": plan.finish_day,
        "emails": len(plan.sends),
        "unplaced": len(plan.unplaced),
        "late_follow_ups": plan.late_follow_ups,
        "slip_days": plan.slip_days,
        "late_days": int(plan.delays["lateness"].sum()),
        "cost": plan.cost,
        "lower_bound": plan.lower_bound,
        "gap": plan.gap,
        "use": int(plan.capacity["planned"].sum()) / room if room else 0.0,
        "moved": plan.moved,
    }


def _days_between(end: dt.date | None, first: dt.date | None) -> int | None:
    return None if end is None or first is None else (first - end).days


def _in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of figures as text."""
    shown = pd.DataFrame(index=frame.index)
    for name in frame.columns:
        write = _FORMS.get(name, "{:,.0f}".format)
        shown[name.replace("_", " ")] = [
            "–" if pd.isna(value) else write(value) for value in frame[name]
        ]
    return shown


_FORMS: dict[str, Callable[[Any], str]] = {
    "finish_day": "{:%d %b %Y}".format,
    "gap": "{:.1%}".format,
    "use": "{:.0%}".format,
    "seconds": "{:.1f}".format,
}
