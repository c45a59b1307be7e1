"""Parts of a run, which several processes publish in parallel."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PUBLISHING = "ALTER TABLE plan_runs ADD COLUMN publishing boolean NOT NULL DEFAULT false"

# By the key only one of two processes publishes a part. No foreign key, so that the tables of the
# contract can be emptied without this one.
PARTS = """
CREATE TABLE plan_run_parts (
    run_id bigint NOT NULL,
    part integer NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    figures jsonb,
    CONSTRAINT plan_run_parts_pkey PRIMARY KEY (run_id, part)
)
"""


def upgrade() -> None:
    """Add the table and the column."""
    op.execute(PUBLISHING)
    op.execute(PARTS)


def downgrade() -> None:
    """Drop them again."""
    op.execute("DROP TABLE plan_run_parts")
    op.execute("ALTER TABLE plan_runs DROP COLUMN publishing")
