"""Changes of the settings of sequences."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sendplan.planner.changes.change import UNCHANGED, Row, Setting, Unchanged
from sendplan.planner.schema.errors import ProblemError
from sendplan.planner.schema.known_names import country_faults, zone_faults


@dataclass(frozen=True, repr=False)
class SetSequence(Setting):
    """New settings of a sequence; with a status it is paused or resumed.

    Parameters
    ----------
    sequence_id : int
    start_time, end_time : time or str, optional
    timezone : str, optional
    send_days : iterable of int, optional
        ISO weekdays.
    holidays : str or None, optional
        A country code; None for no holidays.
    wait_unit : str, optional
        A word of `WaitUnit`.
    priority : float, optional
    max_new_per_day : int or None, optional
        None for no limit.
    status : str, optional
        A word of `SequenceStatus`.
    unsubscribe_url : str or None, optional
        For the tables only; None for no link.
    """

    WHERE = "sequence {sequence_id}"
    TABLE, NOUN = "sequences", "sequence"

    sequence_id: int
    start_time: Any = UNCHANGED
    end_time: Any = UNCHANGED
    timezone: str | Unchanged = UNCHANGED
    send_days: Iterable[int] | Unchanged = UNCHANGED
    holidays: str | Unchanged | None = UNCHANGED
    wait_unit: str | Unchanged = UNCHANGED
    priority: float | Unchanged = UNCHANGED
    max_new_per_day: int | Unchanged | None = UNCHANGED
    status: str | Unchanged = UNCHANGED
    unsubscribe_url: str | Unchanged | None = UNCHANGED

    def _refuse(self) -> None:
        super()._refuse()
        zone, country = (
            pd.Series([self.columns.get(name)], dtype=object) for name in ("timezone", "holidays")
        )
        faults = [*zone_faults(f"{self.where}, timezone", zone)]
        faults += country_faults(f"{self.where}, holidays", country)
        if faults:
            raise ProblemError(faults)
        if {"start_time", "end_time"} <= set(self.columns):
            self.refuse_for({})

    def refuse_for(self, row: Row) -> None:
        """Refuse what does not fit the sequence as it is."""
        window = {**row, **self.columns}
        if window["end_time"] <= window["start_time"]:
            remedy = "a window lies within one day; change start_time and end_time together"
            raise self.refused("must be after start_time", remedy, "end_time")
