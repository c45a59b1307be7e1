"""Checks of a sequence's texts against its contacts."""

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection, text

from sendplan.io.documents.headers import subject_line_faults
from sendplan.io.documents.texts import CONTROL_IN_LINES, character
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import BUILT_INS, Placeholders, placeholders, template_faults
from sendplan.io.messages.unsubscribing import unsubscribe_url, url_faults
from sendplan.planner.schema.errors import Fault
from sendplan.planner.schema.vocabulary import EnrollmentStatus

# Completed enrollments count, as a step may be added to reopen them.
_CONTACTS = f"""
FROM enrollments JOIN contacts ON contacts.id = contact_id
WHERE sequence_id = :sequence AND suppressed_at IS NULL
  AND status IN ('{EnrollmentStatus.ACTIVE}', '{EnrollmentStatus.COMPLETED}')"""

_ATTRIBUTES = f"SELECT DISTINCT jsonb_object_keys(attributes) {_CONTACTS}"

_ANY = f"SELECT EXISTS (SELECT {_CONTACTS})"

_LACKING = f"""
SELECT count(*) AS contacts, min(contacts.email) AS email {_CONTACTS}
  AND NOT attributes ? :name"""


def subject_faults(subject: str, known: Collection[str]) -> list[Fault]:
    """Return everything wrong with the template of a subject.

    Parameters
    ----------
    subject : str
        The template.
    known : collection of str
        The attributes that it may use, besides the built-in variables.
    """
    return subject_line_faults(subject) + template_faults(subject, known)


def content_faults(content: str, known: Collection[str]) -> list[Fault]:
    """Return everything wrong with the template of a content; parameters as for a subject."""
    found = []
    if not content.strip():
        found.append(Fault("", "the content is empty", "write the email's text"))
    control = CONTROL_IN_LINES.search(content)
    if control:
        line = content.count("\n", 0, control.start()) + 1
        found.append(Fault(f"template line {line}", character(control[0]), "remove it"))
    return found + template_faults(content, known)


def check_texts(connection: Connection, sequence_id: int, texts: Mapping[str, str]) -> None:
    """Check that new texts of a sequence can be rendered for its contacts.

    The attributes that a campaign declares are not stored; those of its contacts count instead.
    A sequence without contacts may use any, as enrolling checks its texts again.

    Parameters
    ----------
    connection : Connection
    sequence_id : int
    texts : mapping
        Templates under ``subject`` or ``content``.

    Raises
    ------
    DataError
        With everything that is wrong with the texts.
    """
    known = _known(connection, sequence_id) if texts else None
    found: list[Fault] = []
    for part, source in texts.items():
        check = subject_faults if part == "subject" else content_faults
        flawed = check(source, known if known is not None else _variables(source))
        found += [fault.within(part) for fault in flawed]
        if known is not None and not flawed:
            remedy = "write {{{{ {name}|default('…') }}}}, or give it to them"
            needed = placeholders([source])
            found += _lacking(connection, sequence_id, part, needed, remedy)
    if found:
        raise DataError(found, f"texts of sequence {sequence_id}")


def check_unsubscribe_url(connection: Connection, sequence_id: int, url: str) -> None:
    """Check that a new unsubscribe URL of a sequence can be filled in for its contacts.

    Parameters
    ----------
    connection : Connection
    sequence_id : int
    url : str
        With its variables; see `sendplan.io.messages.unsubscribing`.

    Raises
    ------
    DataError
        With everything that is wrong with it.
    """
    known = _known(connection, sequence_id)
    part = "unsubscribe_url"
    found = [fault.within(part) for fault in url_faults(url, known)]
    if known is not None and not found:
        remedy = "write {{{{ token }}}} instead, or give it to them"
        needed = unsubscribe_url(url).placeholders
        found += _lacking(connection, sequence_id, part, needed, remedy)
    if found:
        raise DataError(found, f"sequence {sequence_id}")


def _known(connection: Connection, sequence_id: int) -> list[str] | None:
    """Return the attributes that contacts of a sequence have, or None if it has no contacts."""
    values = {"sequence": sequence_id}
    if not connection.scalar(text(_ANY), values):
        return None
    return list(connection.scalars(text(_ATTRIBUTES), values))


def _variables(source: str) -> Collection[str]:
    try:
        return placeholders([source]).used
    except DataError:
        return ()


def _lacking(
    connection: Connection, sequence_id: int, part: str, needed: Placeholders, remedy: str
) -> Iterator[Fault]:
    """Find contacts without a value that a text needs."""
    for name in sorted(needed.required - {*BUILT_INS}):
        row = connection.execute(text(_LACKING), {"sequence": sequence_id, "name": name}).one()
        if row.contacts:
            lack = f"1 contact has no '{name}' ({row.email})"
            if row.contacts > 1:
                lack = f"{row.contacts:,} contacts have no '{name}' (one is {row.email})"
            yield Fault(part, lack, remedy.format(name=name))
