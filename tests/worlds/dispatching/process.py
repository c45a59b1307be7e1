"""A dispatcher in a process of its own, whose log is read while it runs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sendplan.tests.worlds.dispatching.smtp_server import PATIENCE

SENDPLAN = Path(sys.executable).with_name("sendplan")
"""The command as it is installed."""


class DispatchProcess:
    """The command, with a log in JSON; a context that kills it, should it still run."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self.log: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.printed = ""
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [str(SENDPLAN), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=reader, daemon=True)
            for reader in (self._read_log, self._read_output)
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, happened: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until the log is as wanted."""
        with self._changed:
            self._changed.wait_for(lambda: happened(self.log) or self._over(), PATIENCE)
            assert happened(self.log), f"it was not logged:\n{self.told()}"

    def until_logged(self, message: str, times: int = 1) -> None:
        self.until(lambda log: sum(message in line["message"] for line in log) >= times)

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.log if message in line["message"]]

    def stop(self) -> None:
        """SIGSTOP; returns once it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self._process.terminate()

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        self.terminate()
        return self.wait()

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end, and until its log was read to the end."""
        code = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def told(self) -> str:
        return "\n".join([*self.raw, self.printed])

    def _over(self) -> bool:
        return not self._readers[0].is_alive()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                with self._changed:
                    self.raw.append(line.rstrip("\n"))
                    with contextlib.suppress(ValueError):
                        self.log.append(json.loads(line))
                    self._changed.notify_all()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            self.printed = stream.read()
        with self._changed:
            self._changed.notify_all()
