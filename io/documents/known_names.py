"""Checks of names of time zones and countries, with a similar name as the remedy."""

from functools import lru_cache
from zoneinfo import available_timezones

from sendplan.io.documents.texts import nearest, shown
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.scalar_dates import is_country, is_zone

_MACHINE_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Zones that mean something else on each machine, or nothing."""


@lru_cache(maxsize=4096)
def zone_fault(name: str) -> Fault | None:
    """Return what is wrong with the name of a time zone, or None if it is sound."""
    if name not in _MACHINE_ZONES and is_zone(name):
        return None
    zones = available_timezones() - _MACHINE_ZONES
    place = name.strip().replace(" ", "_").casefold()
    same_city = sorted(zone for zone in zones if zone.rpartition("/")[2].casefold() == place)
    found = min(same_city, key=len) if same_city else nearest(place, zones)
    remedy = f"did you mean '{found}'?" if found else "use an IANA name such as 'Europe/Berlin'"
    return Fault("", f"unknown time zone {shown(name)}", remedy)


def country_fault(code: str) -> Fault | None:
    """Return what is wrong with a country code, or None if its holidays are known."""
    if is_country(code):
        return None
    from holidays.registry import COUNTRIES

    codes = {name: entry[1] for name, entry in COUNTRIES.items()}
    meant = code.strip().upper() if is_country(code.strip().upper()) else None
    if meant is None and (name := nearest(code.strip().replace(" ", "_"), codes)):
        meant = codes[name]
    remedy = f"did you mean '{meant}'?" if meant else "use a country code such as 'US' or 'DE'"
    return Fault("", f"no holidays are known for the country {shown(code)}", remedy)
