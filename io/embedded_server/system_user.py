"""The system account that the embedded server runs under."""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sendplan.io.embedded_server.file_locks import lock, private_file
from sendplan.io.errors import DatabaseError

SYSTEM_USER = "sendplan"
"""The account that runs the server for root, since PostgreSQL does not run as root."""

LOCKS = Path("/run/sendplan")
"""The folder of the lock that is held while the account is made."""


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
        with _locked():
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


@contextmanager
def _locked() -> Iterator[None]:
    """Let one process at a time make the account."""
    file = private_file(LOCKS, "account.lock")
    try:
        lock(file, f"another command has made the system user {SYSTEM_USER}")
        yield
    finally:
        os.close(file)
