"""Messages: an email's texts rendered for its contact, and written by RFC 5322.

All values of the database are taken for hostile: none gets into a header unchecked for what could
end it. Headers are written by hand, since the standard library's header registry takes some 1 ms a
message; a property test compares them with its parser.
"""

import base64
import binascii
import datetime as dt
import email.utils
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.header import Header
from functools import lru_cache
from uuid import UUID

from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.documents.headers import ENCODED, subject_line_faults
from sendplan.io.documents.texts import CONTROL_IN_LINES, character, shown
from sendplan.io.errors import DataError
from sendplan.io.messages.message_ids import is_sound, message_id, token
from sendplan.io.messages.outcomes import Message
from sendplan.io.messages.step_texts import content_faults, subject_faults
from sendplan.io.messages.templates import BUILT_INS, FlawedTemplateError, Template, template
from sendplan.io.messages.unsubscribing import TOKEN, unsubscribe_url
from sendplan.planner.schema.errors import Fault

LINE = 78
"""Most characters of a line (RFC 5322, section 2.1.1)."""

NEWEST_REFERENCES = 20
"""References of a very long thread: its first email and this many of the newest."""


class SenderError(DataError):
    """A mailbox whose own address cannot be used."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The parts of an email, as read from the database and not yet trusted.

    Parameters
    ----------
    enrollment_id, step_id : int
    sender, recipient : str
        Addresses of mailbox and contact.
    subject, content : str or None
        The step's templates.
    first_subject : str or None
        The template of the thread's first subject; None for its first email.
    attributes : mapping
        The contact's, of any JSON type.
    earlier : tuple of str
        Message-IDs of the thread's sent emails, oldest first.
    unsubscribe_url : str or None
        The sequence's.
    """

    enrollment_id: int
    step_id: int
    sender: str
    recipient: str
    subject: str | None
    content: str | None
    first_subject: str | None
    attributes: Mapping[str, object]
    earlier: tuple[str, ...] = ()
    unsubscribe_url: str | None = None


def compose(texts: Texts, installation: UUID, now: dt.datetime) -> Message:
    """Write an email.

    Parameters
    ----------
    texts : Texts
    installation : UUID
        The id in the table ``installation``.
    now : aware datetime
        Its date.

    Raises
    ------
    FlawedTemplateError
        If the step's texts or the sequence's unsubscribe URL are wrong for every contact.
    SenderError
        If the mailbox's address cannot be used.
    DataError
        If the email cannot be written for this contact.
    """
    sender = _plain_address("mailbox", texts.sender, SenderError)
    recipient = _plain_address("contact", texts.recipient, DataError)
    own_id = message_id(installation, texts.enrollment_id, texts.step_id)
    built_in = {"email": recipient, "sender": sender}
    lines = [
        f"From: {sender}",
        f"To: {recipient}",
        _subject_line(_subject(texts, built_in)),
        f"Date: {email.utils.format_datetime(now.astimezone(dt.UTC))}",
        f"Message-ID: {own_id}",
        *_thread(texts.earlier),
    ]
    if texts.unsubscribe_url is not None:
        url = unsubscribe_url(texts.unsubscribe_url)
        own_token = token(installation, texts.enrollment_id, texts.step_id)
        known = {**built_in, TOKEN: str(own_token)}
        lines += url.headers(_values(texts.attributes, known, url.variables))
    encoding, body = _encoded_body(_content(texts, built_in))
    lines += [
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        f"Content-Transfer-Encoding: {encoding}",
        "\r\n",
    ]
    return Message(sender, recipient, own_id, "\r\n".join(lines).encode("ascii") + body)


def _plain_address(whose: str, text: str, failure: type[DataError]) -> str:
    try:
        plain = address(text)
    except AddressError as error:
        raise failure([error.fault.within(whose)]) from error
    # Legal in an address, yet some readers decode what follows, into a line break for example.
    if ENCODED in plain:
        rule = f"'{ENCODED}' in the address: {shown(text)}"
        raise failure([Fault(whose, rule, "use another address")])
    return plain


def _subject(texts: Texts, built_in: Mapping[str, str]) -> str:
    if texts.subject is not None:
        return _rendered_subject("subject", texts.subject, texts, built_in)
    if texts.first_subject is None:
        fault = Fault("subject", "the first email of a thread has none", "give the step one")
        raise FlawedTemplateError([fault])
    place = "subject of the thread's first email"
    first = _rendered_subject(place, texts.first_subject, texts, built_in)
    return first if first[:3].lower() == "re:" else f"Re: {first}"


def _rendered_subject(place: str, source: str, texts: Texts, built_in: Mapping[str, str]) -> str:
    text = _rendered(place, source, texts, built_in).strip()
    # Two harmless values may form an encoded word together.
    faults = subject_line_faults(text)
    if faults:
        raise _failure(source, [fault.within(place) for fault in faults])
    return text


def _content(texts: Texts, built_in: Mapping[str, str]) -> str:
    if texts.content is None:
        raise FlawedTemplateError([Fault("content", "the step has none", "give it one")])
    text = _rendered("content", texts.content, texts, built_in)
    if not text.strip():
        fault = Fault("content", "nothing is left of it for this contact", "correct the template")
        raise _failure(texts.content, [fault])
    return text


def _rendered(place: str, source: str, texts: Texts, built_in: Mapping[str, str]) -> str:
    checked = _checked(place, source)
    values = _values(texts.attributes, built_in, checked.placeholders.used)
    try:
        return checked.render(values)
    except DataError as error:
        raise _failure(source, [fault.within(place) for fault in error.faults]) from error


def _failure(source: str, faults: list[Fault]) -> DataError:
    """Return the error for a text that could not be rendered."""
    # A template without values of the contact fails for every contact.
    if template(source).placeholders.used.issubset(BUILT_INS):
        return FlawedTemplateError(faults)
    return DataError(faults)


@lru_cache(maxsize=1024)
def _checked(place: str, source: str) -> Template:
    """Check a template as when it is stored by a command, since plain SQL may have stored it."""
    check = content_faults if place == "content" else subject_faults
    try:
        compiled = template(source)
        found = check(source, compiled.placeholders.used)
    except FlawedTemplateError as error:
        found = list(error.faults)
    if found:
        raise FlawedTemplateError(fault.within(place) for fault in found)
    return compiled


def _values(
    attributes: Mapping[str, object], built_in: Mapping[str, str], names: Collection[str]
) -> dict[str, str]:
    """Return the values that the contact has for some variables, as texts."""
    if not isinstance(attributes, Mapping):
        raise _attributes_error("they are no JSON object")
    values = {}
    for name in names:
        if name in built_in:
            values[name] = built_in[name]
        elif attributes.get(name) is not None:
            values[name] = _as_text(name, attributes[name])
    return values


def _as_text(name: str, value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        # Empty, so that {% if … %} takes it for false.
        text = "true" if value else ""
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        text = str(value)
    else:
        raise _attributes_error(f"'{name}' is no text or number but {shown(value)}")
    control = CONTROL_IN_LINES.search(text)
    if control:
        raise _attributes_error(f"{character(control[0])} in '{name}': {shown(text)}")
    return text


def _attributes_error(what: str) -> DataError:
    return DataError([Fault("attributes", what, "correct those of the contact")])


def _subject_line(text: str) -> str:
    """Write a subject, folded; encoded where it is not plain ASCII, or looks like encoded words."""
    if text.isascii() and text.isprintable() and ENCODED not in text:
        folded = _folded("Subject", text)
        if folded is not None:
            return folded
    encoded = Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")
    return f"Subject: {encoded}"


def _folded(name: str, text: str) -> str | None:
    """Split a header before spaces, or return None if a part of it is too long for a line."""
    first, *words = text.split(" ")
    parts = [f"{name}: {first}"]
    for word in words:
        # No part begins with an empty word, since one of spaces only would be no header line.
        if not word or len(parts[-1]) + 1 + len(word) <= LINE:
            parts[-1] += f" {word}"
        else:
            parts.append(f" {word}")
    return "\r\n".join(parts) if max(map(len, parts)) <= LINE else None


def _thread(earlier: tuple[str, ...]) -> list[str]:
    """Return the headers that put an email into its thread (RFC 5322, section 3.6.4)."""
    sound = [stored for stored in earlier if is_sound(stored)]
    if not sound:
        return []
    if len(sound) > NEWEST_REFERENCES:
        sound = [sound[0], *sound[-NEWEST_REFERENCES:]]
    return [f"In-Reply-To: {sound[-1]}", "References: " + "\r\n ".join(sound)]


def _encoded_body(text: str) -> tuple[str, bytes]:
    """Return the transfer encoding of a body, and the body in it with CRLF line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if not lines.endswith("\n"):
        lines += "\n"
    data = lines.encode()
    if len(data) == len(lines) and max(map(len, lines.split("\n"))) <= LINE:
        return "7bit", data.replace(b"\n", b"\r\n")
    # Quoted-printable stays readable, but triples what is not ASCII.
    beyond_ascii = len(data) - len(data.decode("ascii", "ignore"))
    if beyond_ascii * 6 > len(data):
        crlf = data.replace(b"\n", b"\r\n")
        return "base64", base64.encodebytes(crlf).replace(b"\n", b"\r\n")
    quoted = binascii.b2a_qp(data, istext=True)
    return "quoted-printable", quoted.replace(b"\n", b"\r\n")
