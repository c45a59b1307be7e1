"""Indexes for reading one component after the other.

Before, the enrollments of a sequence and their contacts were found by scanning both tables. With
the status in the index, enrollments that have ended cost nothing; and few contacts have a time zone
or are suppressed.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEXES = """
CREATE INDEX enrollments_sequence_id_status_idx ON enrollments (sequence_id, status);
CREATE INDEX contacts_timezone_idx ON contacts (timezone) WHERE timezone IS NOT NULL;
CREATE INDEX contacts_known_idx ON contacts (id) INCLUDE (timezone, suppressed_at)
    WHERE timezone IS NOT NULL OR suppressed_at IS NOT NULL;
"""

NO_INDEXES = """
DROP INDEX contacts_known_idx, contacts_timezone_idx, enrollments_sequence_id_status_idx;
"""


def upgrade() -> None:
    """Create the indexes."""
    op.execute(INDEXES)


def downgrade() -> None:
    """Drop the indexes."""
    op.execute(NO_INDEXES)
