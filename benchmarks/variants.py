"""The wide or narrow table with all foreign keys and indexes, and without some of them."""

_CONSTRAINTS = {
    "enrollment": "scheduled_emails_enrollment_id_fkey",
    "step": "scheduled_emails_step_id_fkey",
    "mailbox": "scheduled_emails_mailbox_id_fkey",
    "run": "scheduled_emails_plan_run_id_fkey",
}
_UNIQUE = "DROP INDEX scheduled_emails_enrollment_id_step_id_key"
_DUE = "DROP INDEX scheduled_emails_due_idx"
_MAILBOX_DAY = "CREATE INDEX ON scheduled_emails (mailbox_id, send_day)"


def _without(*names: str) -> tuple[str, ...]:
    """Statements that drop foreign keys, in both tables of the narrow design."""
    return tuple(
        f"DO $$ DECLARE t text; c text; BEGIN FOR t, c IN SELECT conrelid::regclass, conname FROM "
        f"pg_constraint WHERE contype = 'f' AND (conname = '{_CONSTRAINTS[n]}' OR "
        f"conname LIKE 'slots\\_{_SLOT_KEYS[n]}%') LOOP "
        f"EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t, c); END LOOP; END $$"
        for n in names
    )


def _checked_by_set(*names: str) -> tuple[str, ...]:
    """Replace foreign keys by one check a statement, which locks each parent once."""
    checks = "".join(
        f"SELECT count(DISTINCT {column}) INTO wanted FROM new_rows;"
        f"PERFORM FROM {parent} WHERE id IN (SELECT {column} FROM new_rows) FOR KEY SHARE;"
        f"GET DIAGNOSTICS found = ROW_COUNT;"
        f"IF found < wanted THEN RAISE foreign_key_violation USING MESSAGE = '{column}'; END IF;"
        for column, parent in (_PARENTS[n] for n in names)
    )
    return (
        *_without(*names),
        "CREATE FUNCTION check_parents() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"DECLARE wanted bigint; found bigint; BEGIN {checks} RETURN NULL; END $$",
        *(
            f"CREATE TRIGGER check_{event} AFTER {event} ON scheduled_emails "
            "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION check_parents()"
            for event in ("INSERT", "UPDATE")
        ),
    )


_PARENTS = {
    "enrollment": ("enrollment_id", "enrollments"),
    "step": ("step_id", "steps"),
    "mailbox": ("mailbox_id", "mailboxes"),
    "run": ("plan_run_id", "plan_runs"),
}
_SLOT_KEYS = {"enrollment": "email", "step": "none", "mailbox": "mailbox", "run": "plan_run"}
VARIANTS: dict[str, tuple[str, ...]] = {
    "all keys and indexes": (),
    "no key to enrollments": _without("enrollment"),
    "no key to steps": _without("step"),
    "no key to mailboxes": _without("mailbox"),
    "no key to plan_runs": _without("run"),
    "no foreign key": _without(*_CONSTRAINTS),
    "key to enrollments, others checked by set": _checked_by_set("step", "mailbox", "run"),
    "all keys checked by set": _checked_by_set(*_CONSTRAINTS),
    "no due index": (_DUE,),
    "no unique index": (_UNIQUE,),
    "primary key only": (*_without(*_CONSTRAINTS), _DUE, _UNIQUE),
    "and an index on mailbox, day": (_MAILBOX_DAY,),
    "fillfactor 70": ("ALTER TABLE scheduled_emails SET (fillfactor = 70)",),
}
ONLY_WIDE = (
    "key to enrollments, others checked by set",
    "all keys checked by set",
    "and an index on mailbox, day",
    "fillfactor 70",
)
MAIN_VARIANTS = ("all keys and indexes", "no foreign key", "no due index", "primary key only")
