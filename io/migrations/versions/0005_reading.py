"""What reading one component after the other needs.

Until now the enrollments of a sequence were found by reading all enrollments through, and what is
known of their contacts by reading all contacts. With the status in the index, enrollments that
ended long ago cost nothing; and of most contacts nothing is known.
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
