"""Unsubscribe links: the URL of a sequence, filled in for each email (RFC 2369 and RFC 8058).

A URL is fixed text and plain variables, such as ``https://mail.example/out/{{ token }}``. Values
are percent-encoded, so that none can change the URL around it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.documents.headers import ENCODED
from sendplan.io.documents.texts import shown, suggestion
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import BUILT_INS, FlawedTemplateError, Placeholders
from sendplan.planner.schema.errors import Fault

TOKEN = "token"
"""The variable that stands for one email: the token of its Message-ID."""

MAX_URL = 900
"""Most characters of a URL, whose header cannot be folded."""

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_FIXED = re.compile(r"(?:[A-Za-z0-9._~:/?#@!$&()*+,;=-]|%[0-9A-Fa-f]{2})*")
# No user and password before the host, and no variable in it.
_HTTPS = re.compile(r"https://(?:[A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*(?::[0-9]{1,5})?(?:[/?]|\Z)")


@dataclass(frozen=True, slots=True)
class UnsubscribeUrl:
    """A checked URL, ready to be filled in.

    Parameters
    ----------
    parts : tuple of str
        Fixed texts and names of variables in turn, fixed texts first and last.
    """

    parts: tuple[str, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Its variables in order, repeated ones too."""
        return self.parts[1::2]

    @property
    def placeholders(self) -> Placeholders:
        """Its variables but `TOKEN`; all are required."""
        names = frozenset(self.variables) - {TOKEN}
        return Placeholders(names, names)

    def fill_in(self, values: Mapping[str, str]) -> str:
        """Return the URL for one email.

        Parameters
        ----------
        values : mapping
            Values by variable, `TOKEN` included.

        Raises
        ------
        DataError
            If the contact has no value for one, or the URL gets too long.
        """
        filled = list(self.parts)
        for place, name in enumerate(self.variables):
            if not values.get(name):
                what = f"the contact has no '{name}', which the unsubscribe URL holds"
                raise DataError([Fault("", what, "give it one, or use {{ token }}")])
            filled[2 * place + 1] = quote(values[name], safe="")
        url = "".join(filled)
        if len(url) > MAX_URL:
            what = f"the unsubscribe URL grows to {len(url):,} characters"
            raise DataError([Fault("", what, f"keep to {MAX_URL} at most; use {{{{ token }}}}")])
        return url

    def headers(self, values: Mapping[str, str]) -> list[str]:
        """Return the header lines for one email; parameters and errors as in `fill_in`."""
        lines = [f"List-Unsubscribe: <{self.fill_in(values)}>"]
        if self.parts[0].startswith("https:"):
            lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
        return lines


def url_faults(source: str, known: Collection[str] | None = None) -> list[Fault]:
    """Return everything wrong with an unsubscribe URL.

    Parameters
    ----------
    source : str
        The URL with its variables.
    known : collection of str, optional
        The attributes that it may use, besides the built-in variables and `TOKEN`; by default any.
    """
    parts = _VARIABLE.split(source)
    fixed, variables = parts[::2], parts[1::2]
    for text in fixed:
        if "{" in text or "}" in text:
            what = f"more than plain variables: {shown(text)}"
            return [Fault("", what, "write variables as {{ token }}, without anything else")]
        if rest := _FIXED.sub("", text, count=1):
            what = f"{shown(rest[0])} cannot stand in a URL"
            return [Fault("", what, "take it out, or write it as %20 for a space")]
    found = [*_scheme_faults(fixed, variables)]
    if any(ENCODED in text for text in fixed):
        what = f"{shown(ENCODED)} in it, which some readers decode"
        found.append(Fault("", what, "write the question mark as %3F"))
    if len(source) > MAX_URL:
        what = f"{len(source):,} characters"
        found.append(Fault("", what, f"keep to {MAX_URL} at most"))
    if known is not None:
        names = sorted({*known, *BUILT_INS, TOKEN})
        for name in dict.fromkeys(variables):
            if name not in names:
                remedy = suggestion(name, names, "add it to the sequence's attributes")
                what = f"unknown variable {shown(name)}"
                found.append(Fault("", what, f"{remedy} (known: {', '.join(names)})"))
    return found


def _scheme_faults(fixed: list[str], variables: list[str]) -> list[Fault]:
    if fixed[0].startswith("mailto:"):
        target = "x".join(fixed).removeprefix("mailto:").partition("?")[0]
        try:
            address(target)
        except AddressError as error:
            return [error.fault]
        return []
    remedy = "write it as https://mail.example/out/{{ token }}, or mailto:out@mail.example"
    if _HTTPS.match(fixed[0]) is None or (len(fixed) > 1 and not re.search("[/?]", fixed[0][8:])):
        what = "no https: or mailto: URL with a fixed host and without a password"
        return [Fault("", what, remedy)]
    if not variables:
        return [Fault("", "without a variable it is the same for all contacts", "add {{ token }}")]
    return []


@lru_cache(maxsize=256)
def unsubscribe_url(source: str) -> UnsubscribeUrl:
    """Return a checked URL; the newest 256 are kept.

    Raises
    ------
    FlawedTemplateError
        With everything that is wrong with it for all contacts.
    """
    found = url_faults(source)
    if found:
        raise FlawedTemplateError(found, "unsubscribe URL")
    return UnsubscribeUrl(tuple(_VARIABLE.split(source)))
