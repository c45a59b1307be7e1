"""Redaction: what no message, log or terminal may show, whatever text it comes in."""

import re

HIDDEN = "***"
"""What stands for a secret."""

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What may steer a terminal: controls but the tab and the line feed, changes of the direction of
writing, lone surrogates."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""What a terminal shows for each of them: one column wide, as tables are measured by."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"]*@")
_ASSIGNED = re.compile(r"((?:pass(?:word|wd)?|secret|token)\s*=\s*)[^\s'\"&]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text without the users and passwords of URLs, and without ``password=…``.

    A secret is often typed, or stored, where something else belongs, and messages repeat that.
    """
    if "://" in text:
        text = _URL.sub(rf"\1{HIDDEN}@", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def printable(text: str) -> str:
    """Return a text that cannot steer the terminal it is printed on."""
    return text if text.isascii() and text.isprintable() else CONTROL.sub(REPLACEMENT, text)
