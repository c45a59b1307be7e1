"""A PostgreSQL server that lives as long as a benchmark."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from psycopg2.extensions import make_dsn
from sqlalchemy import make_url

from sendplan.io.embedded_server.server import EmbeddedServer


@contextmanager
def scratch_server(url: str | None = None) -> Iterator[str]:
    """Run the embedded server on a folder that is deleted afterwards.

    Parameters
    ----------
    url
        A server to use instead, on which databases may be created.

    Yields
    ------
    str
        URL of a database.
    """
    if url is not None:
        yield url
        return
    with _terminable(), tempfile.TemporaryDirectory(prefix="sendplan-bench-") as folder:
        # Root's server runs under another account, which must be able to enter.
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            yield server.url


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as an exception does: a server must not outlive its benchmark."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def libpq(url: str) -> str:
    """Return the libpq connection string of a database URL."""
    parsed = make_url(url)
    return make_dsn(
        host=parsed.query.get("host", parsed.host),
        port=parsed.query.get("port", parsed.port),
        user=parsed.username,
        password=parsed.password,
        dbname=parsed.database,
    )
