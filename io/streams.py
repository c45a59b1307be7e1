"""Streams: texts never steer the terminal, and a stream that fails ends in one message."""

import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from sendplan.io.errors import SendplanError
from sendplan.io.redaction import CONTROL, printable, redacted


class StreamError(SendplanError):
    """Standard output cannot be written."""


def tell(text: str = "") -> None:
    """Print lines on stdout."""
    sys.stdout.write(printable(text) + "\n")


def complain(text: str) -> None:
    """Print lines on stderr, which may repeat what was typed in the wrong place."""
    with suppress(OSError, ValueError):
        sys.stderr.write(printable(redacted(text)) + "\n")


def write_json(value: Any, default: Callable[[Any], Any], indent: int | None) -> None:
    """Write JSON on stdout at once; what could steer a terminal is escaped, and so nothing is lost.

    Parameters
    ----------
    value : object
    default : callable
        Returns what JSON has no word for as something that it has.
    indent : int or None
        None for a single line.
    """
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, default=default, indent=indent, ensure_ascii=not unicode)
    sys.stdout.write(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


class _Watched:
    """A stream that notes whether it could be written; one for progress then goes on in silence."""

    def __init__(self, stream: TextIO, *, tolerant: bool) -> None:
        self.error: OSError | None = None
        self._stream = stream
        self._tolerant = tolerant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        with self._noting():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        with self._noting():
            self._stream.flush()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            if not self._tolerant:
                raise


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Replace what an encoding lacks, and turn a failing stdout into one `StreamError`.

    Raises
    ------
    StreamError
        If stdout could not be written. It then leads nowhere, so that nothing else fails for it.
    """
    # A program may be started with closed streams.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    before = sys.stdout, sys.stderr
    watched = _Watched(sys.stdout, tolerant=False)
    sys.stdout = cast(TextIO, watched)
    sys.stderr = cast(TextIO, _Watched(sys.stderr, tolerant=True))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if watched.error is None:
            raise
        _lead_nowhere(sys.stdout)
        if error.errno == errno.EPIPE:
            raise StreamError("") from error
        reason = (error.strerror or type(error).__name__).lower()
        raise StreamError(
            f"the output cannot be written ({reason}); what the command has stored is stored"
        ) from error
    finally:
        sys.stdout, sys.stderr = before


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _lead_nowhere(stream: TextIO) -> None:
    # What is still in its buffer would fail again when the interpreter ends.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
