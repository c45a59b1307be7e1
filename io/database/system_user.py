"""The system account that the embedded server runs under."""

import fcntl
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sendplan.io.errors import DatabaseError

SYSTEM_USER = "sendplan"
"""The account that runs the server for root, since PostgreSQL does not run as root."""

LOCK_FILE = Path("/run/sendplan-account.lock")
"""Locked while the account is made; only root can open it."""


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A system account, other than the user's own, that runs the server."""

    name: str
    uid: int
    gid: int

    @classmethod
    def for_data(cls, pgdata: Path) -> "SystemUser | None":
        """Return the account that must own the data, or None where it is the user's own.

        Raises
        ------
        DatabaseError
            If the data is another user's, or root has no account to run the server under.
        """
        owner = pgdata.stat().st_uid if pgdata.exists() else None
        if os.geteuid() != 0:
            if owner not in (None, os.geteuid()):
                raise DatabaseError(
                    f"The data in {pgdata} belongs to another user (uid {owner}): run sendplan as"
                    " that user, or name a folder of your own with --data-dir."
                )
            return None
        entry = _system_user() if owner in (None, 0) else pwd.getpwuid(owner)
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def barred_from(self, path: Path) -> Path | None:
        """Return the first folder on the way to `path`, itself included, that it cannot enter."""
        for folder in [*reversed(path.parents), path]:
            status = folder.stat()
            right = 0o100 if status.st_uid == self.uid else 0o001
            if status.st_gid == self.gid and status.st_uid != self.uid:
                right = 0o010
            if not status.st_mode & right:
                return folder
        return None


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--user-group", "--no-create-home", SYSTEM_USER]
    refusal = ""
    try:
        # useradd looks for the name before it takes its own lock: of two at once, the second would
        # change the uid of the account of the first, under which a server may run already.
        with locked(LOCK_FILE, 0o600):
            try:
                return pwd.getpwnam(SYSTEM_USER)
            except KeyError:
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                refusal = result.stderr.strip()
    except OSError as error:
        refusal = str(error)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise DatabaseError(
            "PostgreSQL does not run as root, and the system user `sendplan` for it could not be"
            f" made ({refusal}): run sendplan as an ordinary user, or give --database-url."
        ) from None


def lock_file(path: Path, mode: int = 0o644) -> int:
    """Return the descriptor of a file to lock, made if it is missing."""
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, mode)


@contextmanager
def locked(path: Path, mode: int = 0o644) -> Iterator[None]:
    """Let one process at a time run the block."""
    lock = lock_file(path, mode)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
