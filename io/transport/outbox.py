"""The outbox: messages written into a folder as .eml files, instead of being sent."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sendplan.io.errors import DataError
from sendplan.io.messages.message_ids import token_in
from sendplan.io.messages.outcomes import Message, Outcome, Verdict
from sendplan.planner.schema.errors import Fault

LEFT_BEHIND = 3600.0
"""Age in seconds from which an unfinished file counts as left by a dead process."""


class Outbox:
    """A folder that accepts messages like a server; all mailboxes and threads may share one.

    A message becomes visible whole, under its token, or not at all. One whose file exists was
    accepted before, and is not written again. What counts as sent is flushed to the disk, so that
    it outlasts a power cut.

    Parameters
    ----------
    folder : Path
        Made if it is missing.

    Raises
    ------
    DataError
        If the folder can neither be found nor made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
        except OSError as error:
            what = f"cannot be used as outbox: {_reason(error)}"
            raise DataError([Fault("", what, "name another folder")], str(folder)) from error
        self._folder = folder

    def deliver(self, message: Message, begin: Callable[[], bool]) -> Outcome:
        """Write a message; see `Transport.deliver`."""
        name = f"{token_in(message.message_id)}.eml"
        try:
            unfinished = _write(self._folder, message.data)
        except OSError as error:
            return Outcome(Verdict.UNREACHABLE, f"outbox: cannot write: {_reason(error)}")
        try:
            if not begin():
                return Outcome(Verdict.WITHDRAWN)
            try:
                # Unlike a rename, a link never takes the place of a file.
                os.link(unfinished, self._folder / name)
            except FileExistsError:
                return Outcome(Verdict.SENT, f"outbox: {name} was there already")
            except OSError as error:
                return Outcome(Verdict.UNREACHABLE, f"outbox: cannot finish: {_reason(error)}")
            return self._settled(name)
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()

    def _settled(self, name: str) -> Outcome:
        try:
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            detail = f"outbox: {name} may not outlast a power cut: {_reason(error)}"
            return Outcome(Verdict.UNCERTAIN, detail)
        return Outcome(Verdict.SENT, f"outbox: {name}")

    def rest(self) -> None:
        """Do nothing: no file is kept open."""

    def close(self) -> None:
        """Do nothing: no file is kept open."""


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _write(folder: Path, data: bytes) -> Path:
    descriptor, path = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            Path(path).unlink()
        raise
    return Path(path)


def _sweep(folder: Path) -> None:
    """Remove unfinished files of dead processes."""
    oldest = time.time() - LEFT_BEHIND
    for path in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()
