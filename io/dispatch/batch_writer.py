"""A batch writer: a thread that writes what has gathered since its last write, all at once."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

MOST_AT_ONCE = 500
"""Entries written at once."""

logger = logging.getLogger(__name__)

Entry = TypeVar("Entry")


class BatchWriter(Generic[Entry]):
    """Writes entries in the order in which they come.

    Parameters
    ----------
    name : str
        Of its thread.
    write : callable
        Writes some entries; called in the batch writer's thread only.

    Attributes
    ----------
    error : Exception or None
        The unexpected error that has ended the thread; nothing is written any more.
    """

    def __init__(self, name: str, write: Callable[[list[Entry]], None]) -> None:
        self.error: Exception | None = None
        self._write = write
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Hand an entry over; returns at once."""
        self._entries.put(entry)

    def finish(self) -> None:
        """Say that no more entries come."""
        self._entries.put(None)

    def join(self, patience: float | None = None) -> None:
        """Wait until all is written, for some seconds at most."""
        self._thread.join(patience)

    @property
    def is_at_work(self) -> bool:
        """Whether there is, or may be, something to write."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while entries := self._gathered():
                self._write(entries)
        except Exception as error:
            self.error = error
            logger.exception("A batch writer has failed")

    def _gathered(self) -> list[Entry]:
        """Wait for entries; none when no more come."""
        entries: list[Entry] = []
        entry = self._entries.get()
        while entry is not None:
            entries.append(entry)
            if len(entries) == MOST_AT_ONCE:
                return entries
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                return entries
        if entries:
            # For the next time, when it is all that is left.
            self._entries.put(None)
        return entries
