"""What the database can hold about single values, and triggers for every session and role.

A check that stored rows break would refuse every later change of those rows, and with it whatever
else the statement does: it is left out, and `sendplan init` adds it once they are mended
(`sendplan.io.database.value_checks`).
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FIRST, LAST = "1900-01-01", "9999-12-31"
DATE = f"BETWEEN DATE '{FIRST}' AND DATE '{LAST}'"
INSTANT = f"BETWEEN TIMESTAMPTZ '{FIRST} 00:00:00+00' AND TIMESTAMPTZ '{LAST} 00:00:00+00'"
# An unknown zone is an error of its own, whatever is compared.
KNOWN_ZONE = f"TIMESTAMPTZ '{FIRST} 00:00:00+00' AT TIME ZONE timezone > '-infinity'"

CHECKS = (
    ("sequences", "timezone_known", KNOWN_ZONE),
    ("sequences", "send_days_one_dimension", "array_ndims(send_days) = 1"),
    ("sequences", "priority_sensible", "priority BETWEEN 0.000001 AND 1000000"),
    ("sequences", "max_new_per_day_in_range", "max_new_per_day <= 1000000"),
    (
        "sequences",
        "window_of_seconds",
        "extract(epoch FROM end_time)::integer > extract(epoch FROM start_time)::integer",
    ),
    ("steps", "wait_days_in_range", "wait_days <= 3650"),
    ("steps", "removed_at_in_range", f"removed_at {INSTANT}"),
    ("contacts", "timezone_known", KNOWN_ZONE),
    ("contacts", "suppressed_at_in_range", f"suppressed_at {INSTANT}"),
    ("mailboxes", "daily_capacity_in_range", "daily_capacity <= 100000"),
    ("mailboxes", "min_gap_seconds_in_range", "min_gap_seconds <= 86400"),
    ("mailboxes", "ramp_start_in_range", "ramp_start <= 100000"),
    ("mailboxes", "ramp_increment_in_range", "ramp_increment <= 100000"),
    ("mailboxes", "ramp_from_in_range", f"ramp_from {DATE}"),
    ("enrollments", "enrolled_at_in_range", f"enrolled_at {INSTANT}"),
    ("enrollments", "completed_at_in_range", f"completed_at {INSTANT}"),
    ("plan_runs", "started_at_in_range", f"started_at {INSTANT}"),
    ("plan_runs", "finished_at_in_range", f"finished_at {INSTANT}"),
    ("plan_runs", "as_of_in_range", f"as_of {INSTANT}"),
    ("plan_runs", "horizon_end_in_range", f"horizon_end {DATE}"),
    ("plan_runs", "finish_day_in_range", f"finish_day {DATE}"),
    ("plan_run_parts", "published_at_in_range", f"published_at {INSTANT}"),
    ("change_requests", "requested_at_in_range", f"requested_at {INSTANT}"),
    ("scheduled_emails", "send_day_in_range", f"send_day {DATE}"),
    ("scheduled_emails", "send_at_in_range", f"send_at {INSTANT}"),
    ("scheduled_emails", "sent_at_in_range", f"sent_at {INSTANT}"),
    ("scheduled_emails", "lease_until_in_range", f"lease_until {INSTANT}"),
    ("scheduled_emails", "retry_at_in_range", f"retry_at {INSTANT}"),
    ("scheduled_emails", "attempts_in_range", "attempts <= 1000000"),
)

# One scan of a table for all its checks; where rows break one, each for itself.
ADD = """
DO $do$
DECLARE
    checks text[] := ARRAY[{checks}];
    each_check text;
BEGIN
    EXECUTE 'ALTER TABLE {table} ' || array_to_string(checks, ', ');
EXCEPTION WHEN check_violation OR invalid_parameter_value THEN
    FOREACH each_check IN ARRAY checks LOOP
        BEGIN
            EXECUTE 'ALTER TABLE {table} ' || each_check;
        EXCEPTION WHEN check_violation OR invalid_parameter_value THEN
            RAISE WARNING 'rows of {table} break a check, which is left out: %', SQLERRM;
        END;
    END LOOP;
END
$do$;
"""

# What a trigger touches is its own business, not that of whoever makes the change: a role may have
# rights on some tables only, none on the sequences behind their ids, and any search path.
TRIGGERS = (
    "follow_given_ids",
    "steps_clear_position",
    "steps_close_gaps",
    "sequence_mailboxes_one_user",
    "mailboxes_one_user",
    "change_requests_notify",
    "mailboxes_request",
    "sequences_request",
    "steps_request",
    "sequence_mailboxes_request",
    "sequence_mailboxes_request_whole",
    "request_their_sequences",
    "enrollments_request",
    "contacts_request",
    "scheduled_emails_request",
    "clear_paused_reason",
    "set_send_day",
)
# Temporary tables come last, so that no session can slip in one of its own.
DEFINED = """
DO $do$
BEGIN
    EXECUTE format(
        'ALTER FUNCTION {function}() SECURITY DEFINER SET search_path = %I, pg_temp',
        current_schema()
    );
END
$do$;
"""


def upgrade() -> None:
    """Add the checks, and give the triggers their path and their rights."""
    for table in dict.fromkeys(table for table, _, _ in CHECKS):
        added = ", ".join(
            f"$check$ADD CONSTRAINT {table}_{name} CHECK ({rule})$check$"
            for of, name, rule in CHECKS
            if of == table
        )
        op.execute(ADD.format(table=table, checks=added))
    for function in TRIGGERS:
        op.execute(DEFINED.format(function=function))


def downgrade() -> None:
    """Drop the checks, and let the triggers act as whoever makes a change."""
    for table, name, _ in CHECKS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_{name}")
    for function in TRIGGERS:
        op.execute(f"ALTER FUNCTION {function}() SECURITY INVOKER RESET search_path")
