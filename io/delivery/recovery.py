"""Recovery of the claims of a dispatcher that died or hangs."""

from typing import TYPE_CHECKING

from sendplan.io.database.conditions import among
from sendplan.planner.schema.vocabulary import IN_FLIGHT, EmailStatus

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

# Without its token, a claim no longer holds, should its dispatcher come back.
RECOVER = f"""
    UPDATE scheduled_emails AS email
    SET status = CASE email.status WHEN '{EmailStatus.SENDING}' THEN '{EmailStatus.UNCERTAIN}'
                                   ELSE '{EmailStatus.PENDING}' END,
        last_error = 'the lease of ' || coalesce(email.claimed_by, 'a dispatcher') || ' ran out'
            || CASE email.status WHEN '{EmailStatus.SENDING}' THEN ' while it was sending'
                                 ELSE '' END,
        claim_token = NULL, claimed_by = NULL,
        lease_until = CASE email.status WHEN '{EmailStatus.SENDING}' THEN lease_until END
    FROM (
        SELECT id FROM scheduled_emails
        WHERE {among("status", IN_FLIGHT)}
          AND (lease_until < now() OR lease_until IS NULL)
        ORDER BY id
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS expired
    WHERE email.id = expired.id
    RETURNING email.id, email.status
"""


def recover(cursor: "Cursor") -> dict[int, str]:
    """End claims whose lease has run out, by the database's clock.

    A claimed email is pending again, as it cannot have left. One that was being sent is uncertain,
    as it may have.

    Returns
    -------
    dict of str
        Status by email.
    """
    cursor.execute(RECOVER)
    return dict(cursor.fetchall())
