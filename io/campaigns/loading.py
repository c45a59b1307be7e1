"""Loading a checked campaign into the database, all of it or nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, text

from sendplan.io.campaigns.campaign_file import Campaign, Mailbox, Sequence
from sendplan.io.database.tables import mailboxes, sequence_mailboxes, sequences, steps
from sendplan.io.documents.texts import shown
from sendplan.io.errors import DataError
from sendplan.planner.schema.columns import COLUMNS, with_form
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import MailboxStatus, SequenceStatus

_SECRETS = with_form("secret")
_ONE_LOAD_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('sendplan load'))")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading a campaign changed.

    Parameters
    ----------
    sequences, steps, mailboxes, links : int
        Rows created.
    unchanged_sequences, known_mailboxes : int
        Rows that existed already, with equal settings.
    warnings : tuple of Fault
        The campaign's.
    """

    sequences: int
    steps: int
    mailboxes: int
    links: int
    unchanged_sequences: int
    known_mailboxes: int
    warnings: tuple[Fault, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``load --json`` prints."""
        return asdict(self) | {"warnings": [str(warning) for warning in self.warnings]}


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run a block all or nothing, inside the caller's transaction where there is one."""
    begun = connection.begin_nested if connection.in_transaction() else connection.begin
    with begun():
        yield


def load(connection: Connection, campaign: Campaign) -> LoadReport:
    """Create the rows of a campaign; rows that exist already must be equal, and stay.

    Loading the same file again changes nothing. A status is compared only where the file states
    one, so that a sequence or mailbox paused since then is no difference.

    Parameters
    ----------
    connection : Connection
        A connection to the migrated database.
    campaign : Campaign
        From `sendplan.io.campaigns.campaign_file`.

    Raises
    ------
    DataError
        If a mailbox or sequence of that name exists with other settings; nothing is changed then.
    """
    with transaction(connection):
        connection.execute(_ONE_LOAD_AT_A_TIME)
        faults: list[Fault] = []
        known = _known_mailboxes(connection, campaign)
        for mailbox in campaign.mailboxes:
            faults += _mailbox_differences(mailbox, known.get(mailbox["email"].lower()))
        fresh = []
        for sequence in campaign.sequences:
            stored = _stored_sequences(connection, sequence.name)
            faults += _sequence_differences(connection, sequence, stored)
            if not stored:
                faults += _pool_faults(sequence, known)
                fresh.append(sequence)
        if faults:
            raise DataError(faults, campaign.name)
        created = [new for new in campaign.mailboxes if new["email"].lower() not in known]
        ids = {email: row.id for email, row in known.items()}
        ids |= _insert_mailboxes(connection, created)
        for sequence in fresh:
            _insert_sequence(connection, sequence, ids)
    return LoadReport(
        sequences=len(fresh),
        steps=sum(len(sequence.steps) for sequence in fresh),
        mailboxes=len(created),
        links=sum(len(sequence.mailboxes) for sequence in fresh),
        unchanged_sequences=len(campaign.sequences) - len(fresh),
        known_mailboxes=len(known),
        warnings=campaign.warnings,
    )


def _known_mailboxes(connection: Connection, campaign: Campaign) -> dict[str, Row[Any]]:
    key = func.lower(mailboxes.c.email)
    wanted = [mailbox["email"].lower() for mailbox in campaign.mailboxes]
    rows = connection.execute(select(mailboxes).where(key.in_(wanted)).order_by(mailboxes.c.id))
    return {row.email.lower(): row for row in rows}


def _differences(wanted: Mapping[str, Any], stored: Row[Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each differing setting, and both values in words."""
    for name, value in wanted.items():
        other = getattr(stored, name)
        if isinstance(other, list):
            other = sorted(set(other))
        if value != other:
            here, there = ("nothing" if item is None else str(item) for item in (value, other))
            # A reference written by plain SQL may hold a secret.
            if name in _SECRETS:
                yield name, "another reference than the database"
            else:
                yield name, f"{here} here, {there} in the database"


def _mailbox_differences(mailbox: Mailbox, stored: Row[Any] | None) -> Iterator[Fault]:
    if stored is None:
        return
    where = f"mailbox {shown(mailbox['email'])}"
    remedy = "write the stored value into the file, or run `sendplan mailbox set`"
    wanted = {name: value for name, value in mailbox.items() if name != "email"}
    for name, values in _differences(wanted, stored):
        yield Fault(where, f"{name} is {values}", remedy)


def _stored_sequences(connection: Connection, name: str) -> list[Row[Any]]:
    named = select(sequences).where(sequences.c.name == name).order_by(sequences.c.id)
    return list(connection.execute(named))


def _sequence_differences(
    connection: Connection, sequence: Sequence, stored: list[Row[Any]]
) -> Iterator[Fault]:
    where = f"sequence {shown(sequence.name)}"
    if len(stored) > 1:
        ids = ", ".join(str(row.id) for row in stored)
        remedy = "give the new one another name"
        yield Fault(where, f"several sequences of that name exist (ids {ids})", remedy)
    if len(stored) != 1:
        return
    remedy = "give it another name, or run `sendplan sequence set` or `sendplan step set`"
    for name, values in _differences(sequence.columns, stored[0]):
        yield Fault(where, f"exists already, and {name} is {values}", remedy)
    if _stored_steps(connection, stored[0].id) != list(sequence.steps):
        yield Fault(where, "exists already, with other steps", remedy)
    if _stored_pool(connection, stored[0].id) != set(sequence.mailboxes):
        yield Fault(where, "exists already, with other mailboxes", remedy)


def _stored_steps(connection: Connection, sequence_id: int) -> list[dict[str, Any]]:
    columns = (steps.c[name] for name, column in COLUMNS["steps"].items() if column.file)
    present = (steps.c.sequence_id == sequence_id) & steps.c.position.is_not(None)
    rows = connection.execute(select(*columns).where(present).order_by(steps.c.position))
    return [dict(row) for row in rows.mappings()]


def _stored_pool(connection: Connection, sequence_id: int) -> set[str]:
    linked = sequence_mailboxes.c.mailbox_id == mailboxes.c.id
    query = select(mailboxes.c.email).where(
        linked & (sequence_mailboxes.c.sequence_id == sequence_id)
    )
    return {email.lower() for email in connection.scalars(query)}


def _pool_faults(sequence: Sequence, known: Mapping[str, Row[Any]]) -> Iterator[Fault]:
    """Find a new sequence whose mailboxes are all paused or removed."""
    states = {email: known[email].status for email in sequence.mailboxes if email in known}
    if len(states) < len(sequence.mailboxes) or MailboxStatus.ACTIVE in states.values():
        return
    listed = ", ".join(f"{email} is {status}" for email, status in states.items())
    remedy = "add an active mailbox, or run `sendplan mailbox resume`"
    where = f"sequence {shown(sequence.name)}"
    yield Fault(where, f"none of its mailboxes is active ({shown(listed, 200)})", remedy)


def _insert_mailboxes(connection: Connection, created: list[Mailbox]) -> dict[str, int]:
    if not created:
        return {}
    rows = [{"status": str(MailboxStatus.ACTIVE), **mailbox} for mailbox in created]
    statement = insert(mailboxes).returning(mailboxes.c.id, mailboxes.c.email)
    return {row.email.lower(): row.id for row in connection.execute(statement, rows)}


def _insert_sequence(connection: Connection, sequence: Sequence, ids: Mapping[str, int]) -> None:
    values = {"status": str(SequenceStatus.ACTIVE), **sequence.columns}
    statement = insert(sequences).values(values).returning(sequences.c.id)
    sequence_id = connection.scalars(statement).one()
    rows = [
        {"sequence_id": sequence_id, "position": position, **step}
        for position, step in enumerate(sequence.steps, start=1)
    ]
    connection.execute(insert(steps), rows)
    links = [{"sequence_id": sequence_id, "mailbox_id": ids[email]} for email in sequence.mailboxes]
    connection.execute(insert(sequence_mailboxes), links)
