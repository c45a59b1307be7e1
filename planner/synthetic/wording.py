"""The words that synthetic campaigns are written with: names, subjects, contents, places.

All addresses end in ``.example``, a domain
that is reserved and never delivers. ``$theme``, ``$industry`` and ``$hook`` are filled in when a
campaign is generated, ``{{ first_name }}`` and ``{{ company }}`` when an email is sent.
"""

from typing import NamedTuple


class Market(NamedTuple):
    """A country as a campaign sees it."""

    code: str
    """ISO country code, as in ``sequences.holidays``."""
    timezone: str
    """IANA name of the zone of its largest business city."""


MARKETS = (
    Market("DE", "Europe/Berlin"), Market("US", "America/New_York"), Market("GB", "Europe/London"),
    Market("FR", "Europe/Paris"), Market("NL", "Europe/Amsterdam"), Market("CA", "America/Toronto"),
    Market("AU", "Australia/Sydney"), Market("ES", "Europe/Madrid"),
    Market("CL", "America/Santiago"), Market("IN", "Asia/Kolkata"),
)  # fmt: skip

INDUSTRIES = (
    "Logistics", "Machinery", "SaaS", "Retail", "Hospitals", "Insurance", "Hotels", "Energy",
    "Construction", "Food", "Chemicals", "Staffing", "Real estate",
)  # fmt: skip

THEMES = ("intro", "case study", "webinar invitation", "free audit")

SENDERS = (
    "anna.berger", "ben.carter", "chloe.martin", "david.kim", "elena.rossi", "felix.wagner",
    "grace.hall", "hugo.silva", "ines.lopez", "jonas.meyer", "kate.brooks", "liam.murphy",
    "mara.jansen", "nils.holm", "olivia.reed", "paul.novak", "quinn.ellis", "rosa.ferri",
    "sven.larsen", "tara.patel",
)  # fmt: skip

FIRST_NAMES = (
    "Amelia", "Bruno", "Carla", "Daniel", "Emma", "Farid", "Greta", "Hannah", "Ivan", "Julia",
    "Karim", "Lena", "Marco", "Nora", "Oscar", "Priya", "Rafael", "Sofia", "Thomas", "Yara",
)  # fmt: skip

LAST_NAMES = (
    "Adler", "Baker", "Costa", "Dubois", "Evans", "Fischer", "Garcia", "Hoffman", "Ito", "Jensen",
    "Keller", "Lindberg", "Moreau", "Nguyen", "Okafor", "Petrov", "Ruiz", "Schmidt", "Torres",
    "Weber",
)  # fmt: skip

COMPANIES = (
    "Alpina", "Brightway", "Cargolux", "Delmont", "Eastfield", "Fairmont", "Greenhaus", "Harbour",
    "Inova", "Juniper", "Kestrel", "Lumen", "Meridian", "Northgate", "Orbis", "Pinewood",
)  # fmt: skip

COMPANY_FORMS = ("Group", "Partners", "Solutions", "Works", "Systems")

HOOKS = {
    "intro": "we help $industry teams to win new customers without hiring",
    "case study": "a $industry company much like {{ company }} doubled its meetings",
    "webinar invitation": "we are hosting a short webinar for $industry teams",
    "free audit": "we would like to look at your outreach for free",
}

SUBJECTS = (
    "$theme for {{ company }}",
    "Re: $theme for {{ company }}",
    "{{ first_name }}, one more thought",
    "How others in $industry do it",
    "Worth a quarter of an hour, {{ first_name }}?",
    "Should I close your file?",
)

CONTENTS = (
    "Hello {{ first_name }},\n\n$hook. Would {{ company }} be open to a short call "
    "this week?\n\nBest regards",
    "Hello {{ first_name }},\n\ndid my last note reach you? In short: $hook.\n\nBest regards",
    "Hello {{ first_name }},\n\nI was thinking about {{ company }} again: $hook. "
    "Shall I send you the figures?\n\nBest regards",
    "Hello {{ first_name }},\n\nhere are three things that $industry teams changed first. "
    "Which one matters most at {{ company }}?\n\nBest regards",
    "Hello {{ first_name }},\n\na quarter of an hour is all it takes. Does Tuesday or "
    "Thursday suit you better?\n\nBest regards",
    "Hello {{ first_name }},\n\nI have not heard from you and don't want to fill your inbox. "
    "If {{ company }} comes back to this, just reply.\n\nBest regards",
)
