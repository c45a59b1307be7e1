"""Checks of mail headers: nothing that could end one and begin another."""

import email.header
import re

from sendplan.io.documents.texts import CONTROL, character, shown
from sendplan.planner.schema.errors import Fault

MAX_SUBJECT = 998
"""Most characters of a line of a message (RFC 5322, section 2.1.1)."""

ENCODED = "=?"
"""The beginning of an encoded word; some readers decode it without its end, too."""

_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[^?\s]*\?[^?]*\?=")


def encoded_word(text: str) -> Fault | None:
    """Find an RFC 2047 encoded word, which a receiver would decode.

    ``=?utf-8?q?Hi=0D=0ABcc:_evil@x?=`` becomes a line break and a header of its own. All encoded
    words are refused: sendplan encodes by itself where needed.
    """
    found = _ENCODED_WORD.search(text)
    if found is None:
        return None
    try:
        decoded = str(email.header.make_header(email.header.decode_header(found[0])))
    except (LookupError, ValueError, email.errors.MessageError):
        decoded = ""
    hidden = CONTROL.search(decoded)
    hides = f" that hides {character(hidden[0])}" if hidden else ""
    rule = f"an encoded word{hides}: {shown(found[0])}"
    return Fault("", rule, "write the characters themselves")


def control_character(text: str) -> Fault | None:
    """Find a character that could end a header line or steer a terminal."""
    found = CONTROL.search(text)
    if found is None:
        return None
    around = shown(text[max(0, found.start() - 20) : found.end() + 20])
    rule = f"{character(found[0])} at character {found.start() + 1}: {around}"
    return Fault("", rule, "remove it")


def subject_line_faults(text: str) -> list[Fault]:
    """Return everything that keeps a text from being a subject."""
    if not text.strip():
        return [Fault("", "the subject is empty", "write a subject")]
    faults = [fault for fault in (control_character(text), encoded_word(text)) if fault]
    if len(text) > MAX_SUBJECT:
        rule = f"{len(text):,} characters: {shown(text)}"
        faults.append(Fault("", rule, f"keep to {MAX_SUBJECT} at most"))
    return faults
