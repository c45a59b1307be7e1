"""Physical designs of ``scheduled_emails``: how each of them writes a plan.

A design lays the table out and stores a plan against the pending rows that were seen when the
night began. `storage_designs` measures them; ``benchmarks/STORAGE.md`` keeps the figures.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from psycopg2.extensions import connection as Session

from sendplan.benchmarks import claimers
from sendplan.benchmarks.copying import copy_in, read

Rows = Mapping[str, npt.NDArray[Any]]

KEYS: dict[str, str] = {"enrollment_id": "int64", "step_id": "int64"}
SLOT: dict[str, str] = {
    "mailbox_id": "int64",
    "send_day": "datetime64[D]",
    "send_at": "datetime64[us]",
}
SEEN: dict[str, str] = {"id": "int64", **KEYS, **SLOT, "plan_run_id": "int64"}

_SEEN = """
SELECT e.id, enrollment_id, step_id, coalesce({s}.mailbox_id, 0),
    coalesce({s}.send_day, '1970-01-01'), coalesce({s}.send_at, '1970-01-01 00:00Z'),
    coalesce({s}.plan_run_id, 0)
FROM {tables} WHERE e.status = 'pending' ORDER BY enrollment_id, step_id
"""
_STAGED = """
CREATE TEMPORARY TABLE staged (
    id bigint, mailbox_id bigint, send_day date, send_at timestamptz
) ON COMMIT DROP
"""


class Design:
    """One wide table; the parent of all designs, with what most of them share."""

    name: ClassVar[str]
    rows_exist: ClassVar[bool] = False
    """Whether enrolling writes rows for all steps, not only for the first."""
    claim: ClassVar[str] = claimers.WIDE_CLAIM
    finish: ClassVar[str] = claimers.WIDE_FINISH
    pending: ClassVar[str] = _SEEN.format(s="e", tables="scheduled_emails e")

    def lay_out(self, session: Session) -> None:
        """Turn the wide table, filled with the past, into this design."""

    def send(self, session: Session, until: str) -> None:
        """Mark rows planned up to a time as sent, as dispatching does; run 1 is the backlog."""
        with session.cursor() as cursor:
            cursor.execute(
                "UPDATE scheduled_emails SET status = 'sent', sent_at = send_at "
                "WHERE status = 'pending' AND plan_run_id > 1 AND send_at <= %s",
                (until,),
            )
        session.commit()

    def seen(self, session: Session) -> Rows:
        """Read the pending rows, by enrollment and step; nulls are 0 and 1970."""
        rows = read(session, self.pending, SEEN)
        session.commit()
        return rows

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        """Write a plan, sorted by enrollment and step; returns how many rows were written."""
        raise NotImplementedError


class CopyAndDifference(Design):
    """New rows by COPY straight into the table, changed ones by UPDATE from a staging table."""

    name = "wide: COPY new, UPDATE changed"

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        changed = differing(plan, seen, place)
        update_staged(session, "scheduled_emails", "id", plan, seen["id"][place], changed, run)
        insert(session, "scheduled_emails", plan, place < 0, run)
        session.commit()
        return int(changed.sum() + (place < 0).sum())


class StageAll(Design):
    """As `CopyAndDifference`, but new rows are staged too, and inserted from there."""

    name = "wide: INSERT new from staging, UPDATE changed"

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        changed = differing(plan, seen, place)
        new = place < 0
        with session.cursor() as cursor:
            if new.any():
                cursor.execute(
                    "CREATE TEMPORARY TABLE staged_new (enrollment_id bigint, step_id bigint, "
                    "mailbox_id bigint, send_day date, send_at timestamptz, plan_run_id bigint) "
                    "ON COMMIT DROP"
                )
                insert(session, "staged_new", plan, new, run)
                columns = ", ".join((*KEYS, *SLOT, "plan_run_id"))
                cursor.execute(
                    f"INSERT INTO scheduled_emails ({columns}) SELECT {columns} FROM staged_new"
                )
        update_staged(session, "scheduled_emails", "id", plan, seen["id"][place], changed, run)
        session.commit()
        return int(changed.sum() + new.sum())


class CopyAndReplace(Design):
    """New rows by COPY, changed ones deleted and copied anew under another id."""

    name = "wide: COPY new, DELETE + COPY changed"

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        changed = differing(plan, seen, place)
        if changed.any():
            with session.cursor() as cursor:
                cursor.execute("CREATE TEMPORARY TABLE staged (id bigint) ON COMMIT DROP")
                copy_in(session, "staged", {"id": seen["id"][place[changed]]})
                cursor.execute("ANALYZE staged")
                cursor.execute(
                    "DELETE FROM scheduled_emails e USING staged s "
                    "WHERE e.id = s.id AND e.status = 'pending'"
                )
        insert(session, "scheduled_emails", plan, changed | (place < 0), run)
        session.commit()
        return int(changed.sum() + (place < 0).sum())


class UpdateAll(Design):
    """All rows exist from the enrolment on; the whole plan is staged and compared by SQL."""

    name = "wide: UPDATE all from staging"
    rows_exist = True

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        with session.cursor() as cursor:
            cursor.execute(_STAGED)
            slots = {name: plan[name] for name in SLOT}
            copy_in(session, "staged", {"id": seen["id"][place], **slots})
            cursor.execute("ANALYZE staged")
            cursor.execute(
                "UPDATE scheduled_emails e SET mailbox_id = s.mailbox_id, send_day = s.send_day, "
                "send_at = s.send_at, plan_run_id = %s FROM staged s "
                "WHERE e.id = s.id AND e.status = 'pending' AND (e.plan_run_id IS NULL OR "
                "(e.mailbox_id, e.send_day, e.send_at) "
                "IS DISTINCT FROM (s.mailbox_id, s.send_day, s.send_at))",
                (run,),
            )
            written = cursor.rowcount
        session.commit()
        return int(written)


class DeleteAndCopy(Design):
    """All pending rows are deleted, and the whole plan is copied in."""

    name = "wide: DELETE pending + COPY all"

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        stays = (place >= 0) & ~differing(plan, seen, place)
        with session.cursor() as cursor:
            cursor.execute("DELETE FROM scheduled_emails WHERE status = 'pending'")
            # What dispatchers took meanwhile is not to come back.
            cursor.execute(
                "SELECT id FROM scheduled_emails "
                "WHERE status <> 'pending' AND plan_run_id IS NOT NULL"
            )
            taken = np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)
        alive = (place < 0) | ~np.isin(seen["id"][place], taken)
        # A slot that stays as it was is still the work of the run that gave it.
        runs = np.where(stays, seen["plan_run_id"][place], run)
        insert(session, "scheduled_emails", plan, alive, runs)
        session.commit()
        return int(alive.sum())


class NarrowSlots(Design):
    """Slots of pending emails in a narrow side table; ``scheduled_emails`` is a view of both."""

    name = "narrow: slots beside, view"
    claim = """
    WITH taken AS (
        DELETE FROM slots WHERE email_id IN (
            SELECT email_id FROM slots WHERE plan_run_id IS NOT NULL AND send_at <= %(now)s
            ORDER BY send_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
        )
        RETURNING *
    )
    UPDATE emails e SET status = 'claimed', mailbox_id = taken.mailbox_id,
        send_day = taken.send_day, send_at = taken.send_at, plan_run_id = taken.plan_run_id
    FROM taken WHERE e.id = taken.email_id
    RETURNING e.id
    """
    finish = "UPDATE emails SET status = 'sent', sent_at = send_at WHERE id = %s"
    pending = _SEEN.format(s="s", tables="emails e LEFT JOIN slots s ON s.email_id = e.id")

    def lay_out(self, session: Session) -> None:
        with session.cursor() as cursor:
            cursor.execute(_NARROW)
        session.commit()

    def send(self, session: Session, until: str) -> None:
        with session.cursor() as cursor:
            cursor.execute(
                "WITH gone AS ("
                "DELETE FROM slots WHERE plan_run_id > 1 AND send_at <= %s RETURNING *) "
                "UPDATE emails e SET status = 'sent', sent_at = gone.send_at, "
                "mailbox_id = gone.mailbox_id, send_day = gone.send_day, send_at = gone.send_at, "
                "plan_run_id = gone.plan_run_id FROM gone WHERE e.id = gone.email_id",
                (until,),
            )
        session.commit()

    def store(self, session: Session, plan: Rows, seen: Rows, run: int) -> int:
        place = find(plan, seen)
        new = place < 0
        changed = differing(plan, seen, place)
        update_staged(session, "slots", "email_id", plan, seen["id"][place], changed, run)
        count = int(new.sum())
        if count:
            sequence = "pg_get_serial_sequence('emails', 'id')"
            ids = read(
                session,
                f"SELECT nextval({sequence}) FROM generate_series(1, {count})",
                {"id": "i8"},
            )["id"]
            keys = {name: plan[name][new] for name in KEYS}
            slots = {name: plan[name][new] for name in SLOT}
            copy_in(session, "emails", {"id": ids, **keys})
            copy_in(
                session, "slots", {"email_id": ids, **slots, "plan_run_id": np.full(count, run)}
            )
        session.commit()
        return count + int(changed.sum())


_NARROW = """
DROP INDEX scheduled_emails_due_idx;
ALTER TABLE scheduled_emails RENAME TO emails;
CREATE TABLE slots (
    email_id bigint PRIMARY KEY REFERENCES emails (id) ON DELETE CASCADE,
    mailbox_id bigint NOT NULL REFERENCES mailboxes (id),
    send_day date NOT NULL,
    send_at timestamptz NOT NULL,
    plan_run_id bigint REFERENCES plan_runs (id)
);
INSERT INTO slots SELECT id, mailbox_id, send_day, send_at, plan_run_id FROM emails
    WHERE status = 'pending' AND send_at IS NOT NULL;
UPDATE emails SET mailbox_id = NULL, send_day = NULL, send_at = NULL, plan_run_id = NULL
    WHERE status = 'pending';
CREATE INDEX scheduled_emails_due_idx ON slots (send_at) WHERE plan_run_id IS NOT NULL;
CREATE VIEW scheduled_emails AS
    SELECT e.id, e.enrollment_id, e.step_id,
        coalesce(s.mailbox_id, e.mailbox_id) AS mailbox_id,
        coalesce(s.send_day, e.send_day) AS send_day,
        coalesce(s.send_at, e.send_at) AS send_at, e.sent_at,
        coalesce(s.plan_run_id, e.plan_run_id) AS plan_run_id, e.unplaced_reason, e.status,
        e.attempts, e.last_error, e.message_id
    FROM emails e LEFT JOIN slots s ON s.email_id = e.id;
CREATE FUNCTION write_scheduled_email() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM emails WHERE id = OLD.id;
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO emails (enrollment_id, step_id, sent_at, status, message_id)
        VALUES (NEW.enrollment_id, NEW.step_id, NEW.sent_at, coalesce(NEW.status, 'pending'),
                NEW.message_id)
        RETURNING id INTO NEW.id;
    END IF;
    DELETE FROM slots WHERE email_id = NEW.id;
    IF coalesce(NEW.status, 'pending') = 'pending' THEN
        IF NEW.send_at IS NOT NULL THEN
            INSERT INTO slots
            VALUES (NEW.id, NEW.mailbox_id, NEW.send_day, NEW.send_at, NEW.plan_run_id);
        END IF;
        UPDATE emails SET status = 'pending', unplaced_reason = NEW.unplaced_reason
        WHERE id = NEW.id;
    ELSE
        UPDATE emails SET mailbox_id = NEW.mailbox_id, send_day = NEW.send_day,
            send_at = NEW.send_at, plan_run_id = NEW.plan_run_id, sent_at = NEW.sent_at,
            status = NEW.status, message_id = NEW.message_id
        WHERE id = NEW.id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER scheduled_emails_write INSTEAD OF INSERT OR UPDATE OR DELETE ON scheduled_emails
    FOR EACH ROW EXECUTE FUNCTION write_scheduled_email();
"""

DESIGNS: dict[str, Design] = {
    "copy": CopyAndDifference(),
    "stage": StageAll(),
    "replace": CopyAndReplace(),
    "update": UpdateAll(),
    "narrow": NarrowSlots(),
    "delete": DeleteAndCopy(),
}


def find(plan: Rows, seen: Rows) -> npt.NDArray[np.int64]:
    """Where each row of the plan stands among the rows seen, or -1; both sorted by their keys."""
    width = 1 + max(int(rows["step_id"].max(initial=0)) for rows in (plan, seen))
    wanted = plan["enrollment_id"] * width + plan["step_id"]
    there = seen["enrollment_id"] * width + seen["step_id"]
    place = np.searchsorted(there, wanted)
    found = np.append(there, -1)[place] == wanted
    return np.where(found, place, -1)


def differing(plan: Rows, seen: Rows, place: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows of the plan stand there already, but otherwise or provisionally."""
    other = seen["plan_run_id"][place] == 0
    for name in SLOT:
        other |= plan[name] != seen[name][place]
    return np.asarray(other & (place >= 0))


def insert(
    session: Session,
    table: str,
    plan: Rows,
    chosen: npt.NDArray[np.bool_],
    run: int | npt.NDArray[np.int64],
) -> None:
    """Copy rows of the plan into the table, as the work of one run or of one run a row."""
    count = int(chosen.sum())
    if count:
        columns = {name: plan[name][chosen] for name in (*KEYS, *SLOT)}
        runs = np.broadcast_to(run, len(chosen))[chosen]
        copy_in(session, table, {**columns, "plan_run_id": runs})


def update_staged(
    session: Session,
    table: str,
    key: str,
    plan: Rows,
    ids: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    run: int,
) -> None:
    """Give rows of the table new slots, through a temporary table that COPY has filled."""
    if not chosen.any():
        return
    still_pending = "AND e.status = 'pending'" if table == "scheduled_emails" else ""
    with session.cursor() as cursor:
        cursor.execute(_STAGED)
        slots = {name: plan[name][chosen] for name in SLOT}
        copy_in(session, "staged", {"id": ids[chosen], **slots})
        cursor.execute("ANALYZE staged")
        cursor.execute(
            f"UPDATE {table} e SET mailbox_id = s.mailbox_id, send_day = s.send_day, "
            f"send_at = s.send_at, plan_run_id = %s FROM staged s "
            f"WHERE e.{key} = s.id {still_pending}",
            (run,),
        )
