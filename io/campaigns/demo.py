"""Filling an empty database with a synthetic instance."""

import io
import json
from collections.abc import Callable, Mapping

import pandas as pd
from sqlalchemy import Engine, text

from sendplan.io.campaigns.demonstration import holds_demonstration
from sendplan.io.database.engine import translated_errors
from sendplan.io.errors import DataError

TABLES = (
    "sequences",
    "steps",
    "mailboxes",
    "sequence_mailboxes",
    "contacts",
    "enrollments",
    "scheduled_emails",
)
"""In the order in which references allow them to be filled."""

NOT_STORED = {"enrollments": ("contact_timezone", "last_sent_day")}
"""Columns of frames that tables do not have: they follow from other tables."""


def is_filled(engine: Engine) -> bool:
    """Tell whether a database holds a demonstration already.

    Raises
    ------
    DataError
        If it holds anything else.
    """
    found = holds_demonstration(engine)
    if found is False:
        raise DataError(
            "The database holds campaigns of your own, which the demonstration would plan as well;"
            " give an empty database with --database-url, or a new folder with --data-dir."
        )
    return found is True


def fill(
    engine: Engine,
    frames: Mapping[str, pd.DataFrame],
    report: Callable[[str], None] = lambda table: None,
) -> None:
    """Copy the frames of a synthetic instance into empty tables, all or nothing.

    Parameters
    ----------
    engine : Engine
        A migrated database.
    frames : mapping of DataFrame
        As `sendplan.planner.synthetic.instances.reference` gives them.
    report : callable
        Called with the name of each table before it is filled.
    """
    with translated_errors("filling the database"), engine.begin() as connection:
        cursor = connection.connection.cursor()
        for table in TABLES:
            report(table)
            frame = frames[table].drop(columns=list(NOT_STORED.get(table, ())))
            columns = ", ".join(frame.columns)
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", _csv(frame))
    with translated_errors("filling the database"), engine.connect() as connection:
        autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
        autocommit.execute(text(f"VACUUM (ANALYZE) {', '.join(TABLES)}"))


def _csv(frame: pd.DataFrame) -> io.StringIO:
    encoded = frame.copy()
    for name in frame.columns:
        first = frame[name].dropna().iloc[:1].tolist()
        if first and isinstance(first[0], dict):
            encoded[name] = frame[name].map(json.dumps)
        elif first and isinstance(first[0], list):
            encoded[name] = frame[name].map(lambda days: "{" + ",".join(map(str, days)) + "}")
    buffer = io.StringIO()
    encoded.to_csv(buffer, index=False, header=False)
    buffer.seek(0)
    return buffer
