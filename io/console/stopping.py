"""Ending a command that keeps running."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def until_stopped() -> Iterator[Callable[[], bool]]:
    """Tell whether SIGTERM or Ctrl-C has come, so that work in hand is finished first."""
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
