"""Texts from outside, read with checks and shown in a printable form."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault

SHOWN_WIDTH = 40
"""Most characters of a foreign value in a message."""

CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Forbidden in a single line: controls but the tab, line separators, lone surrogates."""

CONTROL_IN_LINES = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Forbidden in several lines: controls but line ends and the tab, lone surrogates."""

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SAVE_AS_UTF8 = "save the file as UTF-8 (in a spreadsheet: “CSV UTF-8”)"


def shown(value: object, width: int = SHOWN_WIDTH) -> str:
    """Return a foreign value quoted, printable and short."""
    text = value if isinstance(value, str) else str(value)
    cut = text if len(text) <= width else text[: width - 1] + "…"
    if cut.isprintable():
        return f"'{cut}'"
    safe = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in cut
    )
    return f"'{safe}'"


def character(letter: str) -> str:
    """Return a readable name of a character that cannot be printed."""
    names = {"\n": "a line feed", "\r": "a carriage return", "\0": "a NUL", "\x1b": "an escape"}
    name = names.get(letter) or unicodedata.name(letter, "a control character").lower()
    return f"{name} (U+{ord(letter):04X})"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was most likely meant to be, or None."""
    by_fold = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def suggestion(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return “did you mean …?” where a known word is near, else `otherwise`."""
    found = nearest(word, known)
    return f"did you mean '{found}'?" if found else otherwise


def _encoding_faults(data: bytes) -> Iterator[Fault]:
    offset = 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield Fault(
                f"line {number}",
                f"not UTF-8: byte 0x{line[error.start]:02x} at byte {offset + error.start} of the"
                f" file, after {shown(line[: error.start].decode('utf-8', 'replace')[-20:])}",
                _SAVE_AS_UTF8,
            )
        offset += len(line) + 1


def _nul_faults(text: str) -> Iterator[Fault]:
    for number, line in enumerate(text.split("\n"), start=1):
        place = line.find("\0")
        if place >= 0:
            yield Fault(
                f"line {number}, character {place + 1}",
                f"a NUL character, after {shown(line[:place][-20:])}",
                "remove it; the file may be damaged or no text file",
            )


def read_text(path: Path, limit: int) -> str:
    """Read a text file from outside; line ends are kept as they are.

    Parameters
    ----------
    path : Path
        The file, in UTF-8 with or without byte order mark.
    limit : int
        The most bytes it may hold.

    Raises
    ------
    DataError
        If it is missing, unreadable, too large, not UTF-8 or holds a NUL; every offending line
        is named.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        fault = Fault("", f"cannot be read: {reason}", "check the path and its permissions")
        raise DataError([fault], str(path)) from error
    if len(data) > limit:
        size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit / 2**10:g} KiB"
        fault = Fault("", f"larger than {size}", "split the file")
        raise DataError([fault], str(path))
    if data.startswith(_UTF16_MARKS):
        raise DataError([Fault("line 1", "UTF-16, not UTF-8", _SAVE_AS_UTF8)], str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_encoding_faults(data), str(path)) from error
    if "\0" in text:
        raise DataError(_nul_faults(text), str(path))
    return text
