"""The PostgreSQL server that sendplan starts by itself without a database URL."""

import fcntl
import os
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Self

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy import URL

from sendplan.io.database.engine import translated_errors
from sendplan.io.database.postmaster import PORT, ROOT_DIR, SUPERUSER, Postmaster, make_folder
from sendplan.io.database.system_user import lock_file, locked
from sendplan.io.errors import DatabaseError

DATABASE = "sendplan"


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
        self._use: int | None = None

    def __enter__(self) -> Self:
        """Start the server, unless it runs."""
        try:
            make_folder(self.data_dir)
            # Resolved like the folders of processes.
            self.data_dir = self.data_dir.resolve()
            with self._starting():
                use = lock_file(self.data_dir / "in-use.lock")
                try:
                    fcntl.flock(use, fcntl.LOCK_SH)
                    self.url = self._start()
                except BaseException:
                    os.close(use)
                    raise
                self._use = use
        except OSError as error:
            raise DatabaseError(
                f"The folder {self.data_dir} cannot hold the embedded PostgreSQL ({error}): name"
                " another one with --data-dir, or give --database-url."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, unless another command uses it."""
        if self._use is None or self._postmaster is None:
            return
        with self._starting():
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._postmaster.stop()
            except BlockingIOError:
                pass
            finally:
                os.close(self._use)
                self._use = None
                self.url = ""

    def _starting(self) -> AbstractContextManager[None]:
        """Let one process at a time start or stop the server."""
        return locked(self.data_dir / "start.lock")

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
