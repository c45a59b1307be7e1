"""Writing a report to a file."""

import datetime as dt
import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sendplan.io.errors import SendplanError

DRAWS = ("altair", "vl_convert")
"""What the extra `report` installs."""


@dataclass(frozen=True)
class Written:
    """A report that has been written.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Its bytes.
    headline : dict
        The figures at its head, see `sendplan.io.report.figures.Figures`.
    """

    path: Path
    size: int
    headline: dict[str, Any]

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"Wrote {self.path} ({self.size / 1000:,.0f} kB); open it in a browser."

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``report --json`` prints."""
        return {"file": str(self.path), "bytes": self.size, **self.headline}


def require_drawing() -> None:
    """Refuse a report if charts cannot be drawn.

    Raises
    ------
    SendplanError
        With the package to install.
    """
    missing = [name for name in DRAWS if importlib.util.find_spec(name) is None]
    if missing:
        raise SendplanError(
            f"The report needs {' and '.join(missing)}, which the extra `report` installs:"
            ' pip install "sendplan[report]"'
        )


def write_report(engine: Engine, path: Path, now: dt.datetime) -> Written:
    """Write the stored plan as one HTML page; nothing in the database changes.

    Parameters
    ----------
    engine : Engine
        The database.
    path : Path
        The file to write; an existing one is replaced when the new one is complete.
    now : aware datetime
        The moment of the report.

    Returns
    -------
    Written
        The file, and its headline.

    Raises
    ------
    SendplanError
        If the file cannot be written.
    DatabaseError
        If the database cannot be read.
    DataError
        If the tables cannot be planned.
    """
    from sendplan.io.report.data import read_data
    from sendplan.io.report.figures import figures
    from sendplan.io.report.page import page

    if not path.parent.is_dir():
        raise SendplanError(f"{path}: there is no folder {path.parent}; create it first")
    found = figures(read_data(engine, now))
    content = page(found).encode()
    try:
        _replace(path, content)
    except OSError as error:
        raise SendplanError(
            f"{path}: cannot be written ({error.strerror}); name another file with --out"
        ) from error
    return Written(path, len(content), found.headline)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    if path.exists() and not path.is_file():
        # A device or a pipe, such as /dev/stdout, is written to and not replaced.
        path.write_bytes(content)
        return
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        unfinished.chmod(0o666 & ~mask)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
