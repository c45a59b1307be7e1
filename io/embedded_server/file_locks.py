"""Locks between processes, by files that no other user of the machine can open.

The system releases a lock however its process ends.
"""

import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from sendplan.io.errors import DatabaseError

TOLD_AFTER = 3.0
"""Seconds of waiting after which it is said what is waited for."""

ASKED_EVERY = 0.05

logger = logging.getLogger(__name__)


def private_file(folder: Path, name: str) -> int:
    """Open a file for locking, and make what is missing: the folder for its owner only.

    Parameters
    ----------
    folder : Path
        Its parent must exist. What root makes belongs to the owner of the parent.
    name : str
        The file in it.

    Returns
    -------
    int
        The descriptor.

    Raises
    ------
    DatabaseError
        If the folder is another user's, or no folder.
    OSError
        If it cannot be made.
    """
    owner = folder.parent.stat()
    as_root = os.geteuid() == 0
    try:
        folder.mkdir(mode=0o700)
        if as_root:
            os.chown(folder, owner.st_uid, owner.st_gid)
    except FileExistsError:
        pass
    # Not through a link, which may lead to what is another user's.
    found = folder.lstat()
    known = (0, owner.st_uid) if as_root else (os.geteuid(),)
    if found.st_uid not in known:
        raise DatabaseError(
            f"The folder {folder} belongs to another user (uid {found.st_uid}): run sendplan as"
            " that user, or name a folder of your own with --data-dir."
        )
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is in the way of a folder for locks")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(folder / name, flags, 0o600)
    os.fchmod(file, 0o600)
    if as_root:
        os.fchown(file, found.st_uid, found.st_gid)
    return file


def lock(file: int, until: str) -> None:
    """Lock a file for this process alone, once those are through who have it.

    Parameters
    ----------
    file : int
        The descriptor.
    until : str
        What is waited for, to be said after `TOLD_AFTER` seconds.
    """
    begun, told = time.monotonic(), False
    while not try_lock(file):
        if not told and time.monotonic() - begun >= TOLD_AFTER:
            logger.warning("Waiting until %s", until)
            told = True
        time.sleep(ASKED_EVERY)


def try_lock(file: int) -> bool:
    """Lock a file for this process alone, unless another one has it; tell whether."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
