"""Subjects and contents of steps: whether they can be sent, to the contacts that are there."""

import re
from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Connection, text

from sendplan.io.errors import DataError, Problem
from sendplan.io.headers import subject_faults
from sendplan.io.templates import BUILT_INS, flaws, placeholders, problems
from sendplan.io.texts import character
from sendplan.planner.vocabulary import EnrollmentStatus

_NO_TEXT = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no content may hold: controls but line ends and tabs, lone surrogates."""

# Contacts who have completed count: a step may be added to reopen them.
_CONTACTS = f"""
FROM enrollments JOIN contacts ON contacts.id = contact_id
WHERE sequence_id = :sequence AND suppressed_at IS NULL
  AND status IN ('{EnrollmentStatus.ACTIVE}', '{EnrollmentStatus.COMPLETED}')"""

_ATTRIBUTES = f"SELECT DISTINCT jsonb_object_keys(attributes) {_CONTACTS}"

_ANYBODY = f"SELECT EXISTS (SELECT {_CONTACTS})"

_LACKING = f"""
SELECT count(*) AS contacts, min(contacts.email) AS email {_CONTACTS}
  AND NOT attributes ? :name"""


def subject_problems(subject: str, known: Collection[str]) -> list[Problem]:
    """Return everything wrong with the template of a subject.

    Parameters
    ----------
    subject : str
        The template.
    known : collection of str
        The attributes that it may use, besides the built-in variables.
    """
    found = [Problem("", what, remedy) for what, remedy in subject_faults(subject)]
    return found + problems("", flaws(subject, known))


def content_problems(content: str, known: Collection[str]) -> list[Problem]:
    """Return everything wrong with the template of a content; parameters as for a subject."""
    found = []
    if not content.strip():
        found.append(Problem("", "the content is empty", "write the email's text"))
    control = _NO_TEXT.search(content)
    if control:
        line = content.count("\n", 0, control.start()) + 1
        found.append(Problem(f"template line {line}", character(control[0]), "remove it"))
    return found + problems("", flaws(content, known))


def check_texts(connection: Connection, sequence_id: int, texts: Mapping[str, str]) -> None:
    """See that new texts of a sequence can be sent to its contacts.

    The attributes that a campaign declares are not stored; what its contacts have tells instead.
    A sequence without contacts may use any, as enrolling looks at its texts again.

    Parameters
    ----------
    connection : Connection
        The database.
    sequence_id : int
        The sequence.
    texts : mapping
        Templates under ``subject`` or ``content``.

    Raises
    ------
    DataError
        With everything that is wrong with the texts.
    """
    values = {"sequence": sequence_id}
    anybody = bool(texts) and connection.scalar(text(_ANYBODY), values)
    known = list(connection.scalars(text(_ATTRIBUTES), values)) if anybody else None
    found: list[Problem] = []
    for part, source in texts.items():
        check = subject_problems if part == "subject" else content_problems
        flawed = check(source, known if known is not None else _variables(source))
        found += [
            Problem(", ".join(filter(None, (part, flaw.where))), flaw.what, flaw.remedy)
            for flaw in flawed
        ]
        if anybody and not flawed:
            found += _lacking(connection, sequence_id, part, source)
    if found:
        raise DataError(found, f"texts of sequence {sequence_id}")


def _variables(source: str) -> Collection[str]:
    try:
        return placeholders([source]).used
    except DataError:
        return ()


def _lacking(connection: Connection, sequence_id: int, part: str, source: str) -> Iterator[Problem]:
    """Find contacts without a value that a text prints."""
    for name in sorted(placeholders([source]).required - {*BUILT_INS}):
        row = connection.execute(text(_LACKING), {"sequence": sequence_id, "name": name}).one()
        if row.contacts:
            what = f"{row.contacts:,} contacts have no '{name}' (one is {row.email})"
            yield Problem(part, what, f"write {{{{ {name}|default('…') }}}}, or give it to them")
