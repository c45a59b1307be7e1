"""Whether a database holds a demonstration, by the addresses of its mailboxes."""

from sqlalchemy import Engine, text

from sendplan.io.database.engine import translated_errors

OWN_MAILBOXES = "%@outreach-%.example"
"""Addresses of synthetic mailboxes (RFC 2606 reserves the domain, so that they reach nothing)."""

CONTENTS = """
    SELECT EXISTS (SELECT FROM mailboxes WHERE email LIKE :pattern) AS own_mailboxes,
           EXISTS (SELECT FROM mailboxes WHERE email NOT LIKE :pattern) AS foreign_mailboxes,
           EXISTS (SELECT FROM sequences) OR EXISTS (SELECT FROM contacts)
               OR EXISTS (SELECT FROM mailboxes) AS anything
"""


def holds_demonstration(engine: Engine) -> bool | None:
    """Tell whether a database holds a demonstration and nothing else; None if it is empty.

    Raises
    ------
    DatabaseError
        If it cannot be read.
    """
    with translated_errors("looking for a demonstration"), engine.connect() as connection:
        found = connection.execute(text(CONTENTS), {"pattern": OWN_MAILBOXES}).one()
    if not found.anything:
        return None
    return bool(found.own_mailboxes and not found.foreign_mailboxes)
