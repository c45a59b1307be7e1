"""Queries of the large tables.

Without a reach the tables are scanned. Within a reach the queries must use indexes, whatever the
estimates of PostgreSQL, so that reading a component costs by its own size. So keys that were read
before are passed as an array from a subquery, of which PostgreSQL estimates neither length nor
members.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sendplan.io.database.conditions import LAST_DAY, among
from sendplan.io.snapshot.contact_zones import NUMBERED_ZONES
from sendplan.planner.schema.columns import COLUMNS, in_frame
from sendplan.planner.schema.readers import NULL
from sendplan.planner.schema.vocabulary import (
    IN_FLIGHT,
    OCCUPYING,
    EmailStatus,
    EnrollmentStatus,
    Reason,
)

STATUSES = [str(status) for status in EmailStatus]
ENROLLMENT_STATUSES = [str(status) for status in EnrollmentStatus]
ACTIVE_NUMBER = ENROLLMENT_STATUSES.index(EnrollmentStatus.ACTIVE) + 1
REASONS = [str(reason) for reason in Reason]
OTHER_REASON = len(REASONS) + 1
"""The number of a reason outside of the vocabulary."""

_TYPES = {"key": "bigint", "text": "smallint", "date": "date", "instant": "timestamptz"}
"""The COPY type of a kind; words are read as numbers."""


def _kinds(table: str, *unread: str) -> dict[str, str]:
    return {
        name: _TYPES[column.kind]
        for name, column in in_frame(table).items()
        if column.stored and name not in unread
    }


ENROLLMENT_KINDS = _kinds("enrollments", "completed_at")
CONTACT_KINDS = {"id": "bigint", "contact_timezone": "smallint", "suppressed_at": "timestamptz"}
EMAIL_KINDS = _kinds("scheduled_emails")
CONTACT_DAY_KINDS = {"contact_id": "bigint", "send_day": "date"}


def _listed(keys: Iterable[int]) -> str:
    return ", ".join(str(int(key)) for key in sorted(keys)) or "NULL"


def _members(keys: Iterable[int]) -> str:
    return f"SELECT unnest('{{{','.join(map(str, keys))}}}'::bigint[])"


def _number(column: str, words: Iterable[str]) -> str:
    cases = " ".join(f"WHEN '{word}' THEN {number}" for number, word in enumerate(words, 1))
    return f"(CASE {column} {cases} ELSE 0 END)::smallint"


def _read(table: str, row: str, kinds: Mapping[str, str], words: Mapping[str, str]) -> str:
    """Return the selected columns of a table; `words` gives the expressions of numbered texts."""
    null = {"bigint": str(NULL), "date": "'-infinity'", "timestamptz": "'-infinity'"}
    cells = {**{name: f"{row}.{name}" for name in kinds}, **words}
    return ", ".join(
        f"coalesce({cells[name]}, {null[kind]})"
        if COLUMNS[table][name].stored_null and kind in null
        else cells[name]
        for name, kind in kinds.items()
    )


@dataclass(frozen=True)
class Scope:
    """The rows to read.

    Parameters
    ----------
    recent : str
        The first day, in ISO 8601, of which a sent email may still count for today.
    reach : frozenset of int or None
        The sequences; None: all.
    reopened : frozenset of int
        Sequences whose completed enrollments are read, too.
    """

    recent: str
    reach: frozenset[int] | None = None
    reopened: frozenset[int] = frozenset()

    def of_reach(self, column: str) -> str:
        """Return the condition that a sequence is within reach."""
        return "true" if self.reach is None else f"{column} IN ({_listed(self.reach)})"

    @property
    def linked(self) -> str:
        """The mailboxes of the sequences within reach, as an array."""
        linked = f"SELECT mailbox_id FROM sequence_mailboxes WHERE {self.of_reach('sequence_id')}"
        return f"ARRAY({linked})"

    @property
    def recently_used(self) -> str:
        """The condition that an email uses capacity of a day that may be today."""
        return (
            f"{among('email.status', OCCUPYING)} AND (email.send_day >= DATE '{self.recent}'"
            f" OR email.send_day IS NULL AND email.sent_at::date >= DATE '{self.recent}')"
        )

    def wanted(self, kept: Iterable[int]) -> str:
        """Return the condition that an enrollment is read, `kept` being those that have ended."""
        reopened = self.reopened if self.reach is None else self.reopened & self.reach
        # A hashed set for a scan, keys to look up by index within a reach.
        listed = "IN ({})" if self.reach is None else "= ANY(ARRAY({}))"
        return (
            f"(enrollment.status = '{_ACTIVE}' AND {self.of_reach('enrollment.sequence_id')}"
            f" OR enrollment.id {listed.format(_members(kept))}"
            f" OR enrollment.status = '{EnrollmentStatus.COMPLETED}'"
            f" AND enrollment.sequence_id IN ({_listed(reopened)}))"
        )


_ACTIVE = EnrollmentStatus.ACTIVE
_PENDING = EmailStatus.PENDING
_OPEN = among("email.status", (EmailStatus.PENDING, *IN_FLIGHT, EmailStatus.UNCERTAIN))
_OVER = among("email.status", (EmailStatus.SENT, EmailStatus.FAILED))
_ENDED = among("ended.status", [status for status in EnrollmentStatus if status != _ACTIVE])


def enrollments(scope: Scope, kept: Iterable[int]) -> str:
    """Return the query of the enrollments, `kept` being those that have ended and still matter."""
    words = {"status": _number("enrollment.status", ENROLLMENT_STATUSES)}
    return f"""
        SELECT {_read("enrollments", "enrollment", ENROLLMENT_KINDS, words)}
        FROM enrollments AS enrollment WHERE {scope.wanted(kept)}
    """


def contacts(contact_ids: Iterable[int] | None) -> str:
    """Return the query of some contacts, or of all, that have a time zone or are suppressed."""
    chosen = "true" if contact_ids is None else f"id = ANY(ARRAY({_members(contact_ids)}))"
    return f"""
        {NUMBERED_ZONES}
        SELECT id, coalesce(zones.code, 0::smallint), coalesce(suppressed_at, '-infinity')
        FROM contacts LEFT JOIN zones ON zones.name = contacts.timezone
        WHERE (timezone IS NOT NULL OR suppressed_at IS NOT NULL) AND {chosen}
    """


def _email_columns(status: str, emails: str = "scheduled_emails") -> str:
    reason = _number("email.unplaced_reason", REASONS)
    words = {
        "unplaced_reason": "CASE WHEN email.unplaced_reason IS NULL THEN 0::smallint"
        f" ELSE coalesce(nullif({reason}, 0::smallint), {OTHER_REASON}::smallint) END",
        "status": status,
    }
    return f"SELECT {_read('scheduled_emails', 'email', EMAIL_KINDS, words)} FROM {emails} AS email"


EMAIL_PAGES = """
    SELECT pg_relation_size('scheduled_emails') / current_setting('block_size')::bigint
"""


def all_emails(scope: Scope, kept: Iterable[int], pages: str = "true") -> str:
    """Return the query of the emails of all enrollments in scope.

    Parameters
    ----------
    scope : Scope
        Without a reach.
    kept : iterable of int
        The enrollments that have ended and still matter.
    pages : str
        A condition of `pages`, to read some of them only.
    """
    columns = _email_columns(_number("email.status", STATUSES))
    # Emails that are not over are nearly all in scope, and others do no harm: that saves a join.
    return f"""
        {columns} WHERE {_OPEN} AND {pages}
        UNION ALL
        {columns} JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
        WHERE {_OVER} AND {scope.wanted(kept)} AND {pages}
    """


def pages(side: str, page: int) -> str:
    """Return the condition that an email is stored before (``<``) or from (``>=``) a page."""
    return f"email.ctid {side} '({page},0)'"


def emails_of(enrollment_ids: Iterable[int]) -> str:
    """Return the query of the emails of some enrollments."""
    return f"""
        {_email_columns(_number("email.status", STATUSES))}
        WHERE email.status <> '{EmailStatus.CANCELLED}'
            AND enrollment_id = ANY(ARRAY({_members(enrollment_ids)}))
    """


def emails_beside(scope: Scope, strays: Iterable[int]) -> str:
    """Return the query of emails of other sequences that use the mailboxes within reach.

    Planned emails count as claimed, since a plan within reach cannot move them. Provisional ones
    do not count.
    """
    others = f"""
        JOIN enrollments AS other
            ON other.id = enrollment_id AND NOT {scope.of_reach("other.sequence_id")}
        WHERE email.mailbox_id = ANY({scope.linked})
    """
    used = f"""
        {_email_columns(_number("email.status", STATUSES))} {others} AND {scope.recently_used}
    """
    strays = list(strays)
    if not strays:
        return used
    # By enrollment first: after a night of writing, PostgreSQL takes the index of due emails for
    # empty, and would scan it.
    planned = f"""(
        SELECT * FROM scheduled_emails
        WHERE enrollment_id = ANY(ARRAY({_members(strays)})) AND status <> '{EmailStatus.CANCELLED}'
        OFFSET 0
    )"""
    return f"""
        {used}
        UNION ALL
        {_email_columns(f"{STATUSES.index(EmailStatus.CLAIMED) + 1}::smallint", planned)} {others}
            AND email.status = '{_PENDING}' AND plan_run_id IS NOT NULL
    """


def contact_days(scope: Scope, contact_ids: Iterable[int]) -> str:
    """Return the query of the days on which contacts get emails of sequences beyond reach."""
    beyond = f"NOT {scope.of_reach('sequence_id')}"
    day = "coalesce(email.send_day, (email.sent_at AT TIME ZONE 'UTC')::date)"
    return f"""
        WITH shared AS MATERIALIZED (
            SELECT DISTINCT contact_id FROM enrollments
            WHERE contact_id = ANY(ARRAY({_members(contact_ids)})) AND {beyond}
        )
        SELECT DISTINCT other.contact_id, {day}
        FROM shared
        JOIN enrollments AS other ON other.contact_id = shared.contact_id AND {beyond}
        JOIN scheduled_emails AS email ON email.enrollment_id = other.id
        WHERE ({among("email.status", OCCUPYING)}
               OR email.status = '{_PENDING}' AND email.plan_run_id IS NOT NULL)
          AND {day} BETWEEN DATE '{scope.recent}' AND DATE '{LAST_DAY}'
    """


def kept(scope: Scope, strays: Iterable[int] = ()) -> str:
    """Return the query of the enrollments that have ended and still matter.

    They have pending rows to cancel, or a recently sent email. Within a reach the former are among
    `strays`; the latter are found by their mailboxes, or are bound to one that is no longer linked.
    """
    if scope.reach is None:
        return f"""
            SELECT DISTINCT email.enrollment_id
            FROM scheduled_emails AS email JOIN enrollments AS ended ON ended.id = enrollment_id
            WHERE {_ENDED}
              AND (email.status = '{_PENDING}' OR {scope.recently_used})
        """
    ended = f"{_ENDED} AND {scope.of_reach('ended.sequence_id')}"
    joined = "enrollments AS ended JOIN scheduled_emails AS email ON enrollment_id = ended.id"
    return f"""
        SELECT id FROM enrollments AS ended
        WHERE {ended} AND id = ANY(ARRAY({_members(strays)}))
        UNION
        SELECT ended.id FROM {joined}
        WHERE {ended} AND email.mailbox_id = ANY({scope.linked}) AND {scope.recently_used}
        UNION
        SELECT ended.id FROM {joined}
        WHERE {ended} AND {scope.recently_used}
          AND (ended.mailbox_id IS NULL OR ended.mailbox_id <> ALL({scope.linked}))
    """


def strays(reach: frozenset[int] | None) -> str:
    """Return the query of the enrollments with pending rows that no plan would leave.

    These enrollments have ended, or have slots of a mailbox that is not linked to their sequence.
    Within a reach: those that have ended, and those of other sequences with slots of its mailboxes.
    """
    if reach is None:
        return f"""
            SELECT DISTINCT enrollment_id
            FROM scheduled_emails AS email
            JOIN enrollments AS enrollment ON enrollment.id = enrollment_id
            LEFT JOIN sequence_mailboxes AS link
                ON link.sequence_id = enrollment.sequence_id AND link.mailbox_id = email.mailbox_id
            WHERE email.status = '{_PENDING}'
              AND (enrollment.status <> '{_ACTIVE}'
                   OR plan_run_id IS NOT NULL AND link.mailbox_id IS NULL)
        """
    within = f"IN ({_listed(reach)})"
    return f"""
        SELECT ended.id
        FROM enrollments AS ended JOIN scheduled_emails AS email ON enrollment_id = ended.id
        WHERE {_ENDED} AND ended.sequence_id {within}
          AND email.status = '{_PENDING}'
        UNION
        SELECT enrollment_id
        FROM scheduled_emails AS email
        JOIN enrollments AS other ON other.id = enrollment_id AND NOT other.sequence_id {within}
        WHERE email.status = '{_PENDING}' AND plan_run_id IS NOT NULL AND email.mailbox_id IN (
            SELECT mailbox_id FROM sequence_mailboxes WHERE sequence_id {within}
        )
    """
