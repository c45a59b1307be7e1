"""The system account of root's server: made once, however many commands start at the same time."""

import pwd
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from sendplan.io.embedded_server import system_user as account
from sendplan.io.embedded_server.system_user import SystemUser
from sendplan.io.errors import DatabaseError

COMMANDS = 4


class FakeSystem:
    """The list of accounts, and a useradd that looks at it before it changes it."""

    def __init__(self) -> None:
        self.uids: dict[str, int] = {}
        self.looked_up = 0
        self.runs = 0
        self.refusal: str | None = None
        self.all_at_once = Barrier(COMMANDS)

    def getpwnam(self, name: str) -> pwd.struct_passwd:
        if name not in self.uids:
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", self.uids[name], 990, "", "/", "/bin/sh"))

    def first_look(self, name: str) -> pwd.struct_passwd:
        """Let no command go on before each has seen that the account is missing."""
        self.looked_up += 1
        if self.looked_up <= COMMANDS:
            self.all_at_once.wait(10)
            raise KeyError(name)
        return self.getpwnam(name)

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.runs += 1
        if self.refusal is not None:
            return subprocess.CompletedProcess(command, 1, "", self.refusal)
        exists = command[-1] in self.uids
        time.sleep(0.05)  # waits for its lock
        if not exists:  # as it saw: the entry of a useradd that was quicker is overwritten
            self.uids[command[-1]] = 999 - self.runs
        return subprocess.CompletedProcess(command, 9 if exists else 0, "", "")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSystem:
    system = FakeSystem()
    monkeypatch.setattr(account.os, "geteuid", lambda: 0)
    monkeypatch.setattr(account.pwd, "getpwnam", system.getpwnam)
    monkeypatch.setattr(account.subprocess, "run", system.run)
    monkeypatch.setattr(account, "LOCKS", tmp_path / "locks")
    return system


def test_commands_that_start_at_once_get_the_same_account(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Without a lock each would call useradd, and the last would give the account its own uid.
    monkeypatch.setattr(account.pwd, "getpwnam", system.first_look)
    with ThreadPoolExecutor(COMMANDS) as pool:
        found = list(pool.map(SystemUser.for_data, [tmp_path / "missing"] * COMMANDS))
    assert found == [SystemUser("sendplan", 998, 990)] * COMMANDS
    assert system.runs == 1


def test_an_account_that_exists_is_taken(system: FakeSystem, tmp_path: Path) -> None:
    system.uids["sendplan"] = 123
    assert SystemUser.for_data(tmp_path / "missing") == SystemUser("sendplan", 123, 990)
    assert system.runs == 0


def test_a_refusal_to_make_the_account_is_told(system: FakeSystem, tmp_path: Path) -> None:
    system.refusal = "useradd: read-only file system"
    with pytest.raises(DatabaseError, match="read-only file system"):
        SystemUser.for_data(tmp_path / "missing")


def test_without_a_folder_for_the_lock_the_reason_is_told(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As on a system that has no /run, and no useradd either.
    monkeypatch.setattr(account, "LOCKS", tmp_path / "run" / "locks")
    with pytest.raises(DatabaseError, match="No such file"):
        SystemUser.for_data(tmp_path / "missing")
