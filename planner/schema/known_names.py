"""Unknown names of time zones and countries, with the one that was perhaps meant."""

import difflib
import zoneinfo
from collections.abc import Iterator

import pandas as pd

from sendplan.planner.schema import scalar_dates
from sendplan.planner.schema.errors import Fault


def zone_faults(where: str, names: pd.Series) -> Iterator[Fault]:
    """Yield what is wrong with a column of time zones, null where there is none."""
    unknown = [zone for zone in pd.unique(names.dropna()) if not scalar_dates.is_zone(zone)]
    if unknown:
        near = difflib.get_close_matches(unknown[0], zoneinfo.available_timezones(), 1)
        hint = f"; for {unknown[0]!r} perhaps {near[0]!r}" if near else ""
        yield Fault(
            where,
            "holds unknown time zones",
            f"use IANA names such as Europe/Berlin{hint}",
            [repr(zone) for zone in unknown],
        )


def country_faults(where: str, codes: pd.Series) -> Iterator[Fault]:
    """Yield what is wrong with a column of country codes, null where there are no holidays."""
    unknown = [code for code in pd.unique(codes.dropna()) if not scalar_dates.is_country(code)]
    if unknown:
        yield Fault(
            where,
            "holds unknown country codes",
            "use an ISO code such as US or DE, or null for no holidays",
            [repr(code) for code in unknown],
        )
