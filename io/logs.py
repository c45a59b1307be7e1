"""Logs: events with their figures, as text or JSON."""

import datetime as dt
import logging
from typing import TextIO

FORMATS = ("text", "json")

KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """One line a record: time, level, message, and figures as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        figures = [
            f"{name}={_quoted(value)}" for name, value in vars(record).items() if name not in KNOWN
        ]
        words = [f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z", record.levelname.lower()]
        line = " ".join([*words, record.getMessage(), *figures])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def show_logs(stream: TextIO, form: str, level: int = logging.INFO) -> None:
    """Write what sendplan logs to a stream.

    Parameters
    ----------
    stream : text stream
    form : str
        One of `FORMATS`.
    level : int
        The least level that is written.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_json() if form == "json" else LineFormatter())
    logger = logging.getLogger("sendplan")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _json() -> logging.Formatter:
    # Imported here, since text logs do without it.
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or " " in text or not text.isprintable() else text
