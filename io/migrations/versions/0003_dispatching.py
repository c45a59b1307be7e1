"""Dispatching: used capacity by mailbox and day, leases, retries, the installation's id.

The used capacity of a mailbox-day is counted from the rows with each claim, under a lock on the
mailbox: a counter could drift from them. Its index leaves out pending rows, so that writing a plan
costs nothing more.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE scheduled_emails ADD COLUMN retry_at timestamptz;
ALTER TABLE mailboxes ADD COLUMN paused_reason text;
ALTER TABLE sequences ADD COLUMN paused_reason text;
ALTER TABLE sequences ADD COLUMN unsubscribe_url text;
"""

# The first has a condition on mailbox_id, too, so that queries by status alone do not use it: while
# nothing is sent it is empty, and looks like the fastest way to an enrollment's sent emails.
INDEXES = """
CREATE INDEX scheduled_emails_used_idx ON scheduled_emails (mailbox_id, send_day)
    WHERE mailbox_id IS NOT NULL AND status IN ('sent', 'claimed', 'sending', 'uncertain');
CREATE INDEX scheduled_emails_lease_idx ON scheduled_emails (lease_until)
    WHERE status IN ('claimed', 'sending');
CREATE INDEX scheduled_emails_uncertain_idx ON scheduled_emails (id)
    WHERE status = 'uncertain';
"""

# Two installations number their enrollments alike, and receivers drop emails with a known id.
INSTALLATION = """
CREATE TABLE installation (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    only_one boolean NOT NULL DEFAULT true,
    CONSTRAINT installation_pkey PRIMARY KEY (only_one),
    CONSTRAINT installation_only_one CHECK (only_one)
);
INSERT INTO installation DEFAULT VALUES;
"""

# Resuming, by plain SQL too, settles the reason.
RESUMED = """
CREATE FUNCTION clear_paused_reason() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.paused_reason := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER mailboxes_clear_paused_reason BEFORE UPDATE ON mailboxes
    FOR EACH ROW WHEN (NEW.paused_reason IS NOT NULL AND NEW.status <> 'paused')
    EXECUTE FUNCTION clear_paused_reason();
CREATE TRIGGER sequences_clear_paused_reason BEFORE UPDATE ON sequences
    FOR EACH ROW WHEN (NEW.paused_reason IS NOT NULL AND NEW.status <> 'paused')
    EXECUTE FUNCTION clear_paused_reason();
"""

# History that plain SQL inserts uses capacity of the day on which it was sent.
SENT_DAYS = """
CREATE FUNCTION set_send_day() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    SELECT (NEW.sent_at AT TIME ZONE coalesce(contact.timezone, sequence.timezone))::date
    INTO NEW.send_day
    FROM enrollments AS enrollment
    JOIN contacts AS contact ON contact.id = enrollment.contact_id
    JOIN sequences AS sequence ON sequence.id = enrollment.sequence_id
    WHERE enrollment.id = NEW.enrollment_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER scheduled_emails_set_send_day BEFORE INSERT OR UPDATE ON scheduled_emails
    FOR EACH ROW WHEN (NEW.send_day IS NULL AND NEW.sent_at IS NOT NULL)
    EXECUTE FUNCTION set_send_day();
UPDATE scheduled_emails SET send_day = NULL WHERE send_day IS NULL AND sent_at IS NOT NULL;
"""


def upgrade() -> None:
    """Add the columns, indexes and the installation's id."""
    for script in (COLUMNS, INDEXES, INSTALLATION, RESUMED, SENT_DAYS):
        op.execute(script)


def downgrade() -> None:
    """Drop them again; the triggers go with their function."""
    op.execute("DROP FUNCTION clear_paused_reason(), set_send_day() CASCADE")
    op.execute("DROP TABLE installation")
    op.execute(
        "DROP INDEX scheduled_emails_used_idx, scheduled_emails_lease_idx,"
        " scheduled_emails_uncertain_idx"
    )
    op.execute("ALTER TABLE scheduled_emails DROP COLUMN retry_at")
    op.execute("ALTER TABLE mailboxes DROP COLUMN paused_reason")
    op.execute("ALTER TABLE sequences DROP COLUMN paused_reason, DROP COLUMN unsubscribe_url")
