"""Whether a database holds a demonstration: told by its mailboxes, whose addresses reach nobody."""

from dataclasses import dataclass

from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors

OWN_MAILBOXES = "%@outreach-%.example"
"""What the addresses of synthetic mailboxes look like (RFC 2606 keeps the domain free)."""

CONTENTS = """
    SELECT EXISTS (SELECT FROM mailboxes WHERE email LIKE :pattern) AS own_mailboxes,
           EXISTS (SELECT FROM mailboxes WHERE email NOT LIKE :pattern) AS foreign_mailboxes,
           EXISTS (SELECT FROM sequences) OR EXISTS (SELECT FROM contacts)
               OR EXISTS (SELECT FROM mailboxes) AS anything
"""


@dataclass(frozen=True)
class Contents:
    """What a database holds.

    Parameters
    ----------
    demonstration : bool
        A demonstration, and nothing else.
    anything : bool
        Anything at all.
    """

    demonstration: bool
    anything: bool


def contents(engine: Engine) -> Contents:
    """Look whether a database holds a demonstration.

    Raises
    ------
    DatabaseError
        If it cannot be read.
    """
    with translated_errors("looking for a demonstration"), engine.connect() as connection:
        found = connection.execute(text(CONTENTS), {"pattern": OWN_MAILBOXES}).one()
    return Contents(found.own_mailboxes and not found.foreign_mailboxes, found.anything)
