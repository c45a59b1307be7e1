"""Columns, each declared once: what frames, tables, campaign files, options and changes read.

A new column is a declaration here, a migration, and the code that computes with it.

Nothing heavy is loaded here, since the tables, and with them every dispatcher, start by reading it.
"""

from collections.abc import Mapping

from sendplan.planner.schema import vocabulary as words
from sendplan.planner.schema.column import NOW, Column, FileKey, Form, Settable

MAX_CAPACITY = 100_000
"""Emails a day of one mailbox at most: far beyond any provider, yet below any slip of the pen."""


def _id() -> Column:
    return Column("key", "Its id.", required=True)


def _reference(table: str, about: str) -> Column:
    return Column("key", about, required=True, references=table)


def _ramp(about: str, setting: Settable, file: FileKey) -> Column:
    return Column(
        "integer",
        about,
        unit="emails a day",
        nullable=True,
        least=0,
        plausible=MAX_CAPACITY,
        file=file,
        setting=setting,
    )


_WRITTEN_STATUSES = (words.MailboxStatus.ACTIVE, words.MailboxStatus.PAUSED)
_PAUSED = Column("text", "Why it is paused.", nullable=True, frame=False)

COLUMNS: dict[str, dict[str, Column]] = {
    "sequences": {
        "id": _id(),
        "name": Column(
            "text", "Its name.", nullable=True, file=FileKey('"Autumn webinar"', required=True),
        ),
        "start_time": Column(
            "time", "Start of its daily window.", unit="local time", required=True, least=0,
            most=words.DAY_SECONDS - 1, file=FileKey('"09:00"'),
            setting=Settable("HH:MM", "--start"),
        ),
        "end_time": Column(
            "time", "End of its daily window.", unit="local time", required=True, least=1,
            most=words.DAY_SECONDS, file=FileKey('"17:00"'), setting=Settable("HH:MM", "--end"),
        ),
        "timezone": Column(
            "text", "Time zone of its window, such as Europe/Berlin.", form="zone",
            default=words.DEFAULT_TIMEZONE, file=FileKey('"Europe/Berlin"'),
            setting=Settable("NAME"),
        ),
        "send_days": Column(
            "weekdays", "Weekdays on which it sends, such as mon,tue or 1,2.",
            default=words.DEFAULT_SEND_DAYS, file=FileKey('["mon", "tue", 3]'),
            setting=Settable("DAYS"),
        ),
        "holidays": Column(
            "text", "Country on whose holidays it does not send, such as DE.", form="country",
            nullable=True, file=FileKey('"DE"'), setting=Settable("CODE", none=True),
        ),
        "wait_unit": Column(
            "text", "What its waits count: calendar or sending days.",
            default=words.WaitUnit.CALENDAR, choices=words.WaitUnit, file=FileKey('"sending"'),
            setting=Settable("WORD"),
        ),
        "priority": Column(
            "number", "Weight of its delays, above 0.", default=words.DEFAULT_PRIORITY,
            positive=True, plausible=1_000_000, file=FileKey("1"), setting=Settable("X"),
        ),
        "max_new_per_day": Column(
            "integer", "First emails a day at most.", unit="emails a day", nullable=True, least=0,
            plausible=1_000_000, file=FileKey("200", least=1), setting=Settable("N", none=True),
        ),
        "status": Column(
            "text", "Whether it sends.", default=words.SequenceStatus.ACTIVE,
            choices=words.SequenceStatus, file=FileKey('"paused"', optional=True),
        ),
        "paused_reason": _PAUSED,
        "unsubscribe_url": Column(
            "text", "Where recipients opt out: a template of an https: or mailto: URL.", form="url",
            nullable=True, frame=False, file=FileKey('"https://mail.example/out/{{ token }}"'),
            setting=Settable("URL", none=True),
        ),
    },
    "steps": {
        "id": _id(),
        "sequence_id": _reference("sequences", "Its sequence."),
        "position": Column(
            "integer", "Its place in the sequence, from 1; null once it is removed.", required=True,
            nullable=True, least=1,
        ),
        "wait_days": Column(
            "integer", "Days after the step before it.", unit="days", default=0, least=0,
            most=words.MAX_WAIT_DAYS, file=FileKey("3", most=words.MAX_HORIZON_DAYS),
            setting=Settable("N", "--wait", required=True),
        ),
        "subject": Column(
            "text", "Template of its subject.", form="subject", nullable=True, frame=False,
            file=FileKey('"…"', required=True), setting=Settable("TEXT", or_file=True),
        ),
        "content": Column(
            "text", "Template of its content.", form="template", nullable=True, frame=False,
            file=FileKey('"…"', required=True, or_file=True),
            setting=Settable("TEXT", or_file=True),
        ),
        "removed_at": Column("instant", "When it was removed.", nullable=True),
    },
    "contacts": {
        "id": Column("key", "Its id.", frame=False),
        "email": Column("text", "Its address.", form="address", frame=False),
        "timezone": Column("text", "Its time zone.", form="zone", nullable=True, frame=False),
        "attributes": Column("json", "What templates may use.", default="{}", frame=False),
        "suppressed_at": Column(
            "instant", "Since when it gets nothing more.", nullable=True, frame=False,
        ),
        "suppressed_reason": Column("text", "Why.", nullable=True, frame=False),
    },
    "mailboxes": {
        "id": _id(),
        "user_id": Column(
            "key", "The user that it belongs to.", nullable=True, frame=False,
            file=FileKey("7", least=0), setting=Settable("ID", "--user", only_new=True),
        ),
        "email": Column(
            "text", "Its address.", form="address", nullable=True, mandatory=True,
            file=FileKey('"ann@mail.example"', required=True),
        ),
        "daily_capacity": Column(
            "integer", "Emails a day at most.", unit="emails a day", required=True, least=0,
            plausible=MAX_CAPACITY, file=FileKey("60"),
            setting=Settable("N", "--capacity", required=True),
        ),
        "min_gap_seconds": Column(
            "integer", "Seconds between two emails at least.", unit="seconds", default=0, least=0,
            plausible=words.DAY_SECONDS, file=FileKey("90"), setting=Settable("S", "--min-gap"),
        ),
        "ramp_start": _ramp(
            "Warm-up: emails on its first day.", Settable("N", none=True),
            FileKey("10", "ramp.start"),
        ),
        "ramp_increment": _ramp(
            "Warm-up: emails more each day.", Settable("N", none=True),
            FileKey("5", "ramp.increment"),
        ),
        "ramp_from": Column(
            "date", "Warm-up: its first day, as 2026-11-02.", nullable=True,
            file=FileKey("2026-01-31", "ramp.from"), setting=Settable("DAY", none=True),
        ),
        "transport": Column(
            "text", "env:NAME or file:PATH that holds its SMTP URL.", form="secret", nullable=True,
            frame=False, file=FileKey('"env:NAME"'), setting=Settable("REF"),
        ),
        "status": Column(
            "text", "Whether it may send.", default=words.MailboxStatus.ACTIVE,
            choices=words.MailboxStatus,
            file=FileKey('"paused"', choices=_WRITTEN_STATUSES, optional=True),
        ),
        "paused_reason": _PAUSED,
    },
    "sequence_mailboxes": {
        "sequence_id": _reference("sequences", "A sequence."),
        "mailbox_id": _reference("mailboxes", "A mailbox that sends for it."),
    },
    "enrollments": {
        "id": _id(),
        "contact_id": Column(
            "key", "Its contact.", nullable=True, mandatory=True, references="contacts",
        ),
        "sequence_id": _reference("sequences", "Its sequence."),
        "enrolled_at": Column("instant", "When it began.", required=True, default=NOW),
        "current_step_id": Column("key", "The last step that was sent.", nullable=True),
        "completed_at": Column("instant", "When its last step was sent.", nullable=True),
        "mailbox_id": Column(
            "key", "The mailbox that sends all its emails.", nullable=True, references="mailboxes",
        ),
        "status": Column(
            "text", "Where it stands.", default=words.EnrollmentStatus.ACTIVE,
            choices=words.EnrollmentStatus,
        ),
        "stop_reason": Column("text", "Why it was stopped.", nullable=True, frame=False),
        "contact_timezone": Column(
            "text", "Time zone of its contact.", form="zone", nullable=True, stored=False,
        ),
        "last_sent_day": Column(
            "date", "The day of its last sent email.", nullable=True, stored=False,
        ),
        "suppressed_at": Column(
            "instant", "Since when its contact gets nothing more.", nullable=True, stored=False,
        ),
    },
    "scheduled_emails": {
        "id": Column("key", "Its id.", nullable=True, mandatory=True),
        "enrollment_id": _reference("enrollments", "Its enrollment."),
        "step_id": _reference("steps", "Its step."),
        "mailbox_id": Column(
            "key", "The mailbox that sends it.", nullable=True, references="mailboxes",
        ),
        "send_day": Column("date", "The local day of its slot.", nullable=True),
        "send_at": Column("instant", "Its slot.", nullable=True),
        "sent_at": Column("instant", "When it was sent.", nullable=True),
        "plan_run_id": Column(
            "key", "The run that planned it.", nullable=True, references="plan_runs",
        ),
        "unplaced_reason": Column("text", "Why it has no slot.", nullable=True),
        "status": Column(
            "text", "Where it stands.", default=words.EmailStatus.PENDING,
            choices=words.EmailStatus,
        ),
        "attempts": Column(
            "integer", "How often it was tried.", default=0, least=0, plausible=1_000_000,
            frame=False,
        ),
        "last_error": Column("text", "What went wrong last.", nullable=True, frame=False),
        "message_id": Column("text", "Its Message-ID.", nullable=True, frame=False),
        "claim_token": Column("uuid", "The claim that holds it.", nullable=True, frame=False),
        "claimed_by": Column("text", "The dispatcher that holds it.", nullable=True, frame=False),
        "lease_until": Column("instant", "Until when it is held.", nullable=True, frame=False),
        "retry_at": Column(
            "instant", "Not to be claimed before, whatever its slot.", nullable=True,
        ),
    },
    "used": {
        "mailbox_id": Column("key", "A mailbox.", required=True, stored=False),
        "send_day": Column("date", "A day.", required=True, stored=False),
        "used": Column(
            "integer", "What is used up of its capacity.", unit="emails", required=True, least=0,
            stored=False,
        ),
    },
    "contact_days": {
        "contact_id": Column("key", "A contact.", required=True, stored=False),
        "send_day": Column(
            "date", "A day on which it gets an email elsewhere.", required=True, stored=False,
        ),
    },
    "days_off": {
        "sequence_id": Column("key", "A sequence.", required=True, stored=False),
        "day": Column("date", "A day on which it does not send.", required=True, stored=False),
    },
}  # fmt: skip
"""All columns by table and name, in the order of the tables; frames without a table come last."""


def in_frame(table: str) -> dict[str, Column]:
    """Return the columns that the planner's frame of a table carries."""
    return {name: column for name, column in COLUMNS[table].items() if column.frame}


def settable(table: str) -> dict[str, Settable]:
    """Return the columns that commands and changes may set, and how.

    A status and a position are set by commands of their own.
    """
    return {name: column.setting for name, column in COLUMNS[table].items() if column.setting}


def texts_or_files(table: str) -> list[str]:
    """Return the columns that commands set by a text or by a file that holds it."""
    return [name for name, setting in settable(table).items() if setting.or_file]


def with_form(*forms: Form) -> frozenset[str]:
    """Return the names of all columns whose texts have one of some forms."""
    columns: list[Mapping[str, Column]] = list(COLUMNS.values())
    return frozenset(name for table in columns for name in table if table[name].form in forms)
