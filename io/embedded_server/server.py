"""The PostgreSQL server that sendplan starts by itself without a database URL."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy import URL

from sendplan.io.database.engine import translated_errors
from sendplan.io.embedded_server.file_locks import lock, private_file, try_lock
from sendplan.io.embedded_server.postmaster import (
    PORT,
    ROOT_DIR,
    SUPERUSER,
    Postmaster,
    make_folder,
)
from sendplan.io.errors import DatabaseError

DATABASE = "sendplan"

LOCKS = "locks"
"""The folder of the lock files, below the data folder."""


def default_data_dir() -> Path:
    """Return the default data folder of the user.

    Root's is outside of its private home, as another account runs the server.
    """
    if os.geteuid() == 0:
        return ROOT_DIR
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path("~/.local/share")).expanduser() / "sendplan"


class EmbeddedServer:
    """A PostgreSQL server on a folder, running while commands use it.

    Any number of commands may use one folder at once. The first starts the server and the last
    stops it. Each holds a shared lock on a file, which the system releases however the command
    ends; a killed one leaves the server running until the next one has ended.

    Parameters
    ----------
    data_dir : Path, optional
        The folder; made when missing. By default `default_data_dir`.

    Attributes
    ----------
    url : str
        The database's URL, inside the ``with`` block.

    Raises
    ------
    DatabaseError
        On entry, if the folder cannot be used or the server does not start.
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = (data_dir or default_data_dir()).expanduser().absolute()
        self.url = ""
        self._postmaster: Postmaster | None = None
        self._files: list[int] = []

    def __enter__(self) -> Self:
        """Start the server, unless it runs."""
        try:
            make_folder(self.data_dir)
            # Resolved like the folders of processes.
            self.data_dir = self.data_dir.resolve()
            for name in ("start.lock", "in-use.lock"):
                self._files.append(private_file(self.data_dir / LOCKS, name))
            gate, use = self._files
            with self._locked(gate):
                fcntl.flock(use, fcntl.LOCK_SH)
                self.url = self._start()
        except BaseException as error:
            # Without a word about what cannot be stopped, either: the first error says more.
            with suppress(DatabaseError, OSError):
                self._leave()
            if isinstance(error, OSError):
                raise DatabaseError(
                    f"The folder {self.data_dir} cannot hold the embedded PostgreSQL ({error}):"
                    " name another one with --data-dir, or give --database-url."
                ) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, unless another command uses it."""
        self._leave()

    def _leave(self) -> None:
        """Stop the server, unless another command uses it, and let go of it."""
        try:
            if self._postmaster is not None:
                gate, use = self._files
                # No command can come in before the gate opens again.
                with self._locked(gate):
                    if try_lock(use):
                        self._postmaster.stop()
        finally:
            for file in self._files:
                os.close(file)
            self._files, self._postmaster, self.url = [], None, ""

    @contextmanager
    def _locked(self, gate: int) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        lock(gate, f"another command has started or stopped the server in {self.data_dir}")
        try:
            yield
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)

    def _start(self) -> str:
        self._postmaster = Postmaster(self.data_dir / "postgres")
        self._postmaster.initialise()
        socket_dir = str(self._postmaster.start())
        with (
            translated_errors("creating the embedded database"),
            closing(
                psycopg2.connect(host=socket_dir, port=PORT, user=SUPERUSER, dbname="postgres")
            ) as session,
        ):
            session.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with session.cursor() as cursor:
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.rowcount == 0:
                    cursor.execute(f'CREATE DATABASE "{DATABASE}"')
        url = URL.create(
            "postgresql",
            username=SUPERUSER,
            port=PORT,
            database=DATABASE,
            query={"host": socket_dir},
        )
        return url.render_as_string(hide_password=False)
