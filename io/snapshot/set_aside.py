"""Values that cannot be used: found, listed, and what they belong to taken out of a snapshot.

What the database can hold is asked of it in SQL, by the rules that its checks are made of; what
only Python knows (time zones, countries, templates) is looked up here. A value harms what it
belongs to and nothing else: an enrollment, a mailbox, or a sequence.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from sendplan.io.database.conditions import WINDOW
from sendplan.io.database.value_checks import held_checks, rules_of
from sendplan.io.messages.templates import FlawedTemplateError, template
from sendplan.io.snapshot.contact_zones import ZONES
from sendplan.planner.schema.column import Column
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.scalar_dates import is_country, is_zone
from sendplan.planner.schema.vocabulary import MAX_STEPS, EmailStatus

SHOWN_CHARACTERS = 80
"""Of a value, in the list of what was set aside."""

OWNERS = {
    "sequences": "id",
    "steps": "sequence_id",
    "mailboxes": "id",
    "contacts": "id",
    "enrollments": "id",
    "scheduled_emails": "enrollment_id",
}
"""The tables that are looked at, and the column that says what a row's values belong to."""

SMALL = ("sequences", "steps", "mailboxes")
"""Read through each time; of the others only what no check of the database holds."""

REMEDIES = {
    "date": "write a date from 1900 to 9999",
    "instant": "write a time from 1900 to 9999",
    "weekdays": "write ISO weekdays as one list, such as {1,2,3,4,5}",
    "zone": "write an IANA name such as Europe/Berlin",
    "country": "write an ISO code such as US or DE, or null for no holidays",
    "window": "let the window end a second after its start at least",
    "steps": f"keep to {MAX_STEPS} steps, and split the sequence",
}

SEQUENCES = "SELECT id, timezone, holidays FROM sequences ORDER BY id"

MANY_STEPS = f"""
    SELECT sequence_id, count(*) FROM steps
    WHERE position IS NOT NULL AND removed_at IS NULL
    GROUP BY sequence_id HAVING count(*) > {MAX_STEPS} ORDER BY sequence_id
"""

TEXTS = """
    SELECT id, sequence_id, subject, content FROM steps
    WHERE position IS NOT NULL AND removed_at IS NULL ORDER BY id
"""

IN_ZONES = "SELECT id, timezone FROM contacts WHERE timezone = ANY(:zones) ORDER BY id"

OF_CONTACTS = "SELECT id FROM enrollments WHERE contact_id = ANY(:contacts)"


@dataclass(frozen=True)
class UnusableValue:
    """One value that cannot be used.

    Parameters
    ----------
    table : str
    id : int
        Its row.
    column : str
    value : str or None
        As the database writes it, cut.
    remedy : str
        What to write instead.
    """

    table: str
    id: int
    column: str
    value: str | None
    remedy: str


@dataclass(frozen=True)
class SetAside:
    """What is set aside.

    Parameters
    ----------
    values : tuple of UnusableValue
        Why.
    sequences, mailboxes, enrollments : frozenset of int
        What is planned, checked and sent as if it were not there; with a sequence go all its
        enrollments, with a mailbox those that are bound to it.
    emails : frozenset of int
        Rows of ``scheduled_emails`` with such values, which stay exactly as they are.
    """

    values: tuple[UnusableValue, ...] = ()
    sequences: frozenset[int] = field(default=frozenset(), repr=False)
    mailboxes: frozenset[int] = field(default=frozenset(), repr=False)
    enrollments: frozenset[int] = field(default=frozenset(), repr=False)
    emails: frozenset[int] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        """Tell whether anything is."""
        return bool(self.values)


def find_unusable(connection: Connection) -> SetAside:
    """Find what must be set aside.

    Parameters
    ----------
    connection : Connection
        A transaction.

    Returns
    -------
    SetAside
        Empty in a database whose rows keep every rule.

    Raises
    ------
    DatabaseError
        If the tables cannot be read.
    """
    values: list[UnusableValue] = []
    owners: dict[str, set[int]] = {table: set() for table in OWNERS}
    for owner, value in (*_out_of_range(connection), *_unknown(connection)):
        owners[value.table].add(owner)
        values.append(value)
    enrollments = owners["enrollments"] | owners["scheduled_emails"]
    if owners["contacts"]:
        named = {"contacts": sorted(owners["contacts"])}
        enrollments.update(connection.scalars(text(OF_CONTACTS), named))
    return SetAside(
        tuple(values),
        sequences=frozenset(owners["sequences"] | owners["steps"]),
        mailboxes=frozenset(owners["mailboxes"]),
        enrollments=frozenset(enrollments),
        emails=frozenset(value.id for value in values if value.table == "scheduled_emails"),
    )


def _out_of_range(connection: Connection) -> Iterator[tuple[int, UnusableValue]]:
    held = held_checks(connection)
    for table, owner in OWNERS.items():
        broken: dict[str, list[str]] = {}
        for name, check, condition in rules_of(table):
            if table in SMALL or (table, check) not in held:
                broken.setdefault(name, []).append(f"NOT ({condition})")
        if table == "sequences":
            broken["end_time"] = [f"NOT ({WINDOW})"]
        if not broken:
            continue
        any_of = {name: " OR ".join(conditions) for name, conditions in broken.items()}
        listed = ", ".join(
            f"('{name}', left({name}::text, {SHOWN_CHARACTERS}), {condition})"
            for name, condition in any_of.items()
        )
        query = f"""
            SELECT {table}.id, {table}.{owner}, found.name, found.value
            FROM {table}
            CROSS JOIN LATERAL (VALUES {listed}) AS found (name, value, broken)
            WHERE ({" OR ".join(any_of.values())}) AND found.broken
            {f"AND status <> '{EmailStatus.CANCELLED}'" if table == "scheduled_emails" else ""}
            ORDER BY {table}.id, found.name
        """
        # As it stands, as colons are casts.
        for key, of, name, value in connection.exec_driver_sql(query.replace("%", "%%")):
            remedy = _remedy(name, COLUMNS[table][name])
            yield of, UnusableValue(table, key, name, value, remedy)


def _remedy(name: str, column: Column) -> str:
    if name == "end_time":
        return REMEDIES["window"]
    if column.choices is not None:
        return f"write one of {', '.join(column.choices)}"
    if column.kind in REMEDIES:
        return REMEDIES[column.kind]
    most = column.most if column.most is not None else column.plausible
    least = "above 0" if column.positive else f"from {column.least:g}"
    return f"write a number {least}" + ("" if most is None else f" to {most:,}")


def _unknown(connection: Connection) -> Iterator[tuple[int, UnusableValue]]:
    """Yield what only Python can tell: zones, countries, templates; and too many steps."""
    for key, zone, country in connection.execute(text(SEQUENCES)):
        if not is_zone(zone):
            yield key, _value("sequences", key, "timezone", zone, REMEDIES["zone"])
        if country is not None and not is_country(country):
            yield key, _value("sequences", key, "holidays", country, REMEDIES["country"])
    for key, count in connection.execute(text(MANY_STEPS)):
        yield key, _value("sequences", key, "steps", str(count), REMEDIES["steps"])
    for key, sequence_id, *texts in connection.execute(text(TEXTS)):
        for name, source in zip(("subject", "content"), texts, strict=True):
            if source is not None and (flaw := template_flaw(source)):
                remedy = f"mend the template: {flaw}"
                yield sequence_id, _value("steps", key, name, source, remedy)
    zones = [zone for zone in connection.scalars(text(ZONES)) if not is_zone(zone)]
    if zones:
        for key, zone in connection.execute(text(IN_ZONES), {"zones": zones}):
            yield key, _value("contacts", key, "timezone", zone, REMEDIES["zone"])


def template_flaw(source: str) -> str | None:
    """Return what is wrong with a template, whatever the contact; None where it compiles."""
    if "{" not in source:
        return None
    try:
        template(source)
    except FlawedTemplateError as error:
        return str(error)[:200]
    return None


def _value(table: str, key: int, column: str, value: str, remedy: str) -> UnusableValue:
    return UnusableValue(table, key, column, value[:SHOWN_CHARACTERS], remedy)


def to_json(aside: Iterable[UnusableValue]) -> dict[str, object]:
    """Return what JSON tells of values that were set aside."""
    listed = [vars(value) for value in aside]
    return {"set_aside": len(listed), "set_aside_values": listed}
