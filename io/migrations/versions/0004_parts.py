"""Parts of a run, which several processes publish side by side."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PUBLISHING = "ALTER TABLE plan_runs ADD COLUMN publishing boolean NOT NULL DEFAULT false"

# The key lets one of two processes publish a part that both believe to be theirs. No foreign key:
# who empties the tables of the contract need not know of this one.
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
    """Add what tells of parts."""
    op.execute(PUBLISHING)
    op.execute(PARTS)


def downgrade() -> None:
    """Forget it."""
    op.execute("DROP TABLE plan_run_parts")
    op.execute("ALTER TABLE plan_runs DROP COLUMN publishing")
