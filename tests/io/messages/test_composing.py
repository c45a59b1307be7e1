"""Messages: what is in them, and that nothing gets into them that does not belong there."""

import datetime as dt
import email
import email.policy
import re
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from sendplan.io.documents.addresses import AddressError, address
from sendplan.io.errors import DataError
from sendplan.io.messages import composing as messages
from sendplan.io.messages.composing import SenderError, Texts, compose
from sendplan.io.messages.message_ids import message_id, token
from sendplan.io.messages.outcomes import Message
from sendplan.io.messages.templates import FlawedTemplateError
from sendplan.tests.worlds.problems.methods import examples

HERE = UUID("6f1c1a52-0a3e-4d1c-9d0e-5a5b5c5d5e5f")
NOW = dt.datetime(2026, 11, 2, 9, 16, tzinfo=dt.timezone(dt.timedelta(hours=1)))

ALWAYS = [
    "From", "To", "Subject", "Date", "Message-ID",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
]  # fmt: skip


def texts(**changed: Any) -> Texts:
    values: dict[str, Any] = {
        "enrollment_id": 17,
        "step_id": 3,
        "sender": "ann@mail.example",
        "recipient": "ben@client.example",
        "subject": "A question, {{ name }}",
        "content": "Hello {{ name }},\nyours, {{ sender }}\n",
        "first_subject": None,
        "attributes": {"name": "Ben"},
    }
    return Texts(**(values | changed))


def composed(**changed: Any) -> EmailMessage:
    return parsed(compose(texts(**changed), HERE, NOW))


def parsed(message: Message) -> EmailMessage:
    read = email.message_from_bytes(message.data, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def body_of(read: EmailMessage) -> str:
    return str(read.get_content()).replace("\r\n", "\n")


def test_a_first_email_has_these_headers_and_this_text() -> None:
    message = compose(texts(), HERE, NOW)
    read = parsed(message)
    assert dict(read.items()) == {
        "From": "ann@mail.example",
        "To": "ben@client.example",
        "Subject": "A question, Ben",
        "Date": "Mon, 02 Nov 2026 08:16:00 +0000",
        "Message-ID": message_id(HERE, 17, 3),
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
    }
    assert body_of(read) == "Hello Ben,\nyours, ann@mail.example\n"
    assert (message.sender, message.recipient) == ("ann@mail.example", "ben@client.example")
    assert message.message_id == message_id(HERE, 17, 3)


def test_the_same_email_composed_again_differs_in_nothing_but_its_date() -> None:
    one, other = (compose(texts(), HERE, now).data for now in (NOW, NOW + dt.timedelta(minutes=30)))
    assert one != other
    assert one == other.replace(b"08:46:00", b"08:16:00")


def test_a_follow_up_refers_to_the_whole_thread_and_replies_to_its_newest() -> None:
    read = composed(earlier=("<a@x>", "<b@x>", "<c@x>"))
    assert read["In-Reply-To"] == "<c@x>"
    assert read["References"] == "<a@x> <b@x> <c@x>"


def test_references_of_a_very_long_thread_are_its_first_and_its_newest_twenty() -> None:
    # 1 + 20 of 62: the second to the 42nd are left out.
    thread = [f"<{number}@x>" for number in range(1, 63)]
    read = composed(earlier=tuple(thread))
    assert read["References"].split() == [thread[0], *thread[42:]]
    assert read["In-Reply-To"] == "<62@x>"


def test_a_thread_just_short_enough_is_referred_to_in_full() -> None:
    thread = [f"<{number}@x>" for number in range(21)]
    assert composed(earlier=tuple(thread))["References"].split() == thread


def test_a_stored_id_that_is_none_is_left_out_of_the_thread() -> None:
    read = composed(earlier=("<a@x>", "<b@x>\r\nBcc: evil@x.example"))
    assert read["In-Reply-To"] == read["References"] == "<a@x>"
    assert "Bcc" not in read
    assert composed(earlier=("imported",)).keys() == ALWAYS


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("A question, {{ name }}", "Re: A question, Ben"),
        ("Re: a question", "Re: a question"),
        ("RE: a question", "RE: a question"),
        ("Reading list", "Re: Reading list"),
    ],
)
def test_a_follow_up_without_subject_replies_to_the_first(first: str, expected: str) -> None:
    assert composed(subject=None, first_subject=first)["Subject"] == expected


def test_the_subject_of_a_follow_up_stands_as_it_is() -> None:
    assert composed(subject="Last word", first_subject="A question")["Subject"] == "Last word"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "[text]"),
        ("", "[]"),
        (7, "[7]"),
        (2.5, "[2.5]"),
        (True, "[true]"),
        # As a condition it is false, like the value itself.
        (False, "[]"),
    ],
)
def test_values_of_simple_types_are_printed(value: object, text: str) -> None:
    assert (
        body_of(composed(content="[{{ x }}]", attributes={"x": value, "name": ""})) == f"{text}\n"
    )


def test_a_false_value_is_false_in_a_condition() -> None:
    content = "{% if vip %}Dear friend{% else %}Hello{% endif %}"
    assert body_of(composed(content=content, attributes={"vip": False, "name": ""})) == "Hello\n"
    assert body_of(composed(content=content, attributes={"vip": True, "name": ""})) == (
        "Dear friend\n"
    )


def test_null_is_as_if_there_were_no_value() -> None:
    changed = {"attributes": {"name": None}}
    assert body_of(composed(subject="x", content="{{ name|default('you') }}", **changed)) == "you\n"
    with pytest.raises(DataError, match="subject: 'name' is undefined"):
        composed(**changed)


@pytest.mark.parametrize(
    "value",
    [["x"], {"x": 1}, float("inf"), "a\0b", "\x1b[2J", "\ud800"],
    ids=["list", "object", "infinite", "NUL", "escape", "surrogate"],
)  # fmt: skip
def test_a_value_that_is_no_text_or_number_is_an_error_that_names_it(value: object) -> None:
    with pytest.raises(DataError, match=r"^attributes: .*'name'") as caught:
        composed(subject="x", attributes={"name": value})
    assert not isinstance(caught.value, FlawedTemplateError)
    # A value that no text prints does no harm.
    composed(attributes={"name": "Ben", "unused": value})


def test_attributes_that_are_no_object_are_an_error() -> None:
    with pytest.raises(DataError, match="they are no JSON object"):
        composed(attributes=["Ben"])


def test_an_attribute_cannot_pass_itself_off_as_an_address() -> None:
    hostile = {"email": "evil@x.example", "sender": "evil@x.example"}
    read = composed(subject="{{ email }} {{ sender }}", content=".", attributes=hostile)
    assert read["Subject"] == "ben@client.example ann@mail.example"


FLAWED = [
    # what is changed, the message
    ({"subject": None}, "subject: the first email of a thread has none"),
    ({"content": None}, "content: the step has none"),
    ({"content": " \n"}, "content: the content is empty"),
    ({"content": "a\n\0"}, r"content, template line 2: .*\(U\+0000\)"),
    ({"content": "a\n{{ name"}, "content, template line 2: syntax error"),
    ({"content": "{# nothing #}"}, "content: nothing is left of it"),
    ({"subject": "{{ sender and '' }}"}, "subject: the subject is empty"),
    ({"subject": "{% for x in y %}{% endfor %}"}, "subject, template line 1: loops"),
    ({"subject": "a\r\nBcc: evil@x.example"}, "subject: a carriage return"),
    ({"subject": "{{ '' }}"}, "subject: the subject is empty"),
    ({"subject": None, "first_subject": "{{"}, "subject of the thread's first email, template"),
    ({"unsubscribe_url": "http://x.example/{{ token }}"}, "no https: or mailto: URL"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "what"), FLAWED, ids=[case[1] for case in FLAWED])
def test_what_is_wrong_for_every_contact_is_told_apart(changed: dict[str, Any], what: str) -> None:
    with pytest.raises(FlawedTemplateError, match=what):
        composed(**changed)


FOR_ONE_CONTACT = [
    ({"attributes": {}}, "subject: 'name' is undefined – give the contact that attribute"),
    ({"attributes": {"name": "x" * 10_001}}, "subject: the value of 'name' is no text of at most"),
    ({"subject": "{{ name }}", "attributes": {"name": " "}}, "subject: the subject is empty"),
    ({"subject": "x", "content": "{{ name }}", "attributes": {"name": " "}}, "nothing is left"),
    ({"attributes": {"name": "a\nb"}}, "subject: a line feed"),
    ({"attributes": {"name": "=?utf-8?q?Hi=0D=0ABcc:_evil@x?="}}, "subject: an encoded word that"),
    (
        # Two harmless values make an encoded word together.
        {"subject": "{{ a }}{{ b }}", "attributes": {"a": "=?utf-8?q?Hi=0D=0ABcc:_x", "b": "?="}},
        "subject: an encoded word that hides a carriage return",
    ),
    ({"recipient": "ben"}, "contact: no @ in the address: 'ben'"),
    ({"recipient": "a@x.example, b@x.example"}, "contact: more than one address"),
    ({"recipient": "a@x.example\r\nBcc: b@x.example"}, "contact: a carriage return"),
    ({"recipient": "=?utf-8?q?a=0D=0ABcc?=@x.example"}, r"contact: '=\?' in the address"),
    ({"unsubscribe_url": "https://x.example/{{ key }}"}, "the contact has no 'key'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "what"), FOR_ONE_CONTACT, ids=[case[1] for case in FOR_ONE_CONTACT]
)
def test_what_is_wrong_with_one_contact_speaks_against_nothing_else(
    changed: dict[str, Any], what: str
) -> None:
    with pytest.raises(DataError, match=what) as caught:
        composed(**changed)
    assert type(caught.value) is DataError


def test_a_mailbox_without_a_proper_address_speaks_against_itself_only() -> None:
    with pytest.raises(SenderError, match="mailbox: no @ in the address: 'ann'"):
        composed(sender="ann")


def test_an_unsubscribe_url_gives_the_headers_of_one_click() -> None:
    read = composed(unsubscribe_url="https://x.example/{{ token }}?n={{ name }}")
    assert read["List-Unsubscribe"] == f"<https://x.example/{token(HERE, 17, 3)}?n=Ben>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_an_attribute_called_token_is_the_contacts_own_but_in_the_url() -> None:
    read = composed(
        subject="{{ token }}",
        attributes={"token": "mine", "name": "Ben"},
        unsubscribe_url="https://x.example/{{ token }}",
    )
    assert read["Subject"] == "mine"
    assert read["List-Unsubscribe"] == f"<https://x.example/{token(HERE, 17, 3)}>"


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("x" * 78, "7bit"),
        ("x" * 79, "quoted-printable"),
        ("Grüße aus Köln, und alles Gute dabei", "quoted-printable"),
        ("Привет", "base64"),
        (".\n..\nFrom here", "7bit"),
        ("x " * 100 + "\n.\n", "quoted-printable"),
    ],
    ids=["short", "long", "some accents", "another script", "dots", "dots and long"],
)
def test_a_body_is_written_in_the_plainest_encoding_that_holds_it(
    content: str, encoding: str
) -> None:
    message = compose(texts(content=content), HERE, NOW)
    assert parsed(message)["Content-Transfer-Encoding"] == encoding
    assert body_of(parsed(message)).rstrip("\n") == content.rstrip("\n")
    assert longest_line(message.data) <= messages.LINE


def test_all_line_ends_are_the_same_wherever_they_come_from() -> None:
    message = compose(
        texts(content="a\r\n{{ name }}", subject="x", attributes={"name": "b\rc\nd"}), HERE, NOW
    )
    assert message.data.endswith(b"\r\n\r\na\r\nb\r\nc\r\nd\r\n")


def longest_line(data: bytes) -> int:
    return max(map(len, data.split(b"\r\n")))


@pytest.mark.parametrize(
    "subject",
    ["word " * 60 + "end", "x" * 900, "Grüße " * 60 + "Ende", "a" + " " * 90 + "b", "x =? y",
     "日" * 300, "x" * 75, "x" * 75 + " end", "x" * 69 + "  " + "y" * 77],
    ids=["words", "no space", "accents", "spaces", "half a word", "another script",
         "as long as a line", "long at first", "spaces at the fold"],
)  # fmt: skip
def test_a_long_subject_is_folded_and_comes_back_whole(subject: str) -> None:
    message = compose(texts(subject=subject), HERE, NOW)
    assert parsed(message)["Subject"] == subject
    assert longest_line(message.data) <= messages.LINE
    assert all(line.strip() for line in message.data.partition(b"\r\n\r\n")[0].split(b"\r\n"))


# The pieces that hostile texts are made of: what ends lines, what is decoded, what is folded.
PIECES = st.one_of(
    st.sampled_from(["\r\n", "\n", "\r", "\0", "\x1b", "\x0b", "\x85", "\u2028", "\ud800"]),
    st.sampled_from(["\t", " ", "  ", ".", "=", "?", ": ", "<", ">", ",", "word", "x" * 80]),
    st.sampled_from(["=?utf-8?q?Hi=0D=0ABcc:_evil@x.example?=", "=?utf-8?q?", "?=", "=0D=0A"]),
    st.sampled_from(["\r\nBcc: evil@x.example", "\r\n\r\n<html>", "\r\n.\r\n", "=?a b?q?x?="]),
    st.sampled_from(["Grüße", "日本語", "\U0001f600", "e\u0301", "\u00a0"]),
    st.text(st.characters(exclude_characters="{"), max_size=12),
)
HOSTILE = st.lists(PIECES, max_size=6).map("".join)
VALUES = st.one_of(
    HOSTILE, HOSTILE, HOSTILE, st.integers(), st.booleans(), st.none(), st.floats(), st.just([])
)
# Names of variables stand in braces; no other text has any.
SOURCES = st.lists(st.one_of(PIECES, st.sampled_from(["{{ a }}", "{{ b }}"])), max_size=6).map(
    "".join
)
ADDRESSES = st.one_of(
    st.sampled_from(
        ["ann@mail.example", "ben@client.example", "=?utf-8?q?a=0D=0A@x.example",
         "x" * 64 + "@" + "y." * 90 + "example", "a@münchen.example", '"a b"@x.example']
    ),
    st.builds("{}@{}".format, HOSTILE, st.just("x.example")),
    st.builds("ben@client.example{}".format, HOSTILE),
)  # fmt: skip
URLS = st.sampled_from(
    [None, "https://x.example/{{ token }}", "https://x.example/?a={{ a }}&b={{ b }}",
     "mailto:out+{{ token }}@x.example", "https://x.example/?=?utf-8?q?{{ a }}"]
)  # fmt: skip


@st.composite
def hostile_texts(draw: st.DrawFn) -> Texts:
    # Each part is harmless in most examples, so that many a message is written after all.
    def either(harmless: Any, hostile: st.SearchStrategy[Any]) -> Any:
        return draw(hostile) if draw(st.integers(0, 4)) == 4 else harmless

    return texts(
        sender=either("ann@mail.example", ADDRESSES),
        recipient=either("ben@client.example", ADDRESSES),
        subject=either("A question, {{ a }}", st.one_of(st.none(), SOURCES)),
        first_subject=either(None, SOURCES),
        content=either("Hello {{ b }},\n", SOURCES),
        attributes={name: either("Grüße", VALUES) for name in ("a", "b")},
        earlier=tuple(either([], st.lists(st.one_of(st.just("<a@x>"), HOSTILE), max_size=4))),
        unsubscribe_url=either(None, URLS),
    )


def filled_in(source: str, attributes: dict[str, Any]) -> str:
    """Render a template of `SOURCES` by other means than the product's."""

    def value(found: re.Match[str]) -> str:
        given = attributes[found[1]]
        if isinstance(given, bool):
            return "true" if given else ""
        return str(given)

    return re.sub(r"\{\{ (\w) \}\}", value, source)


def expected_subject(given: Texts) -> str:
    source = given.subject if given.subject is not None else given.first_subject
    assert source is not None
    text = filled_in(source, dict(given.attributes)).strip()
    return text if given.subject is not None or text[:3].lower() == "re:" else f"Re: {text}"


@examples(300)
@given(given=hostile_texts())
@example(given=texts(subject="{{ a }}", content=".", attributes={"a": "x" * 900}))
@example(given=texts(subject="{{ a }}", content=".", attributes={"a": "a =?utf 8?q?x?= b"}))
def test_whatever_the_texts_hold_nothing_gets_into_the_headers(given: Texts) -> None:
    try:
        message = compose(given, HERE, NOW)
    except DataError as error:
        event(type(error).__name__)
        return
    event("written")
    assert message.data.isascii()
    lines = message.data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    read = parsed(message)
    assert not read.defects
    ids = [known for known in given.earlier if known == "<a@x>"]
    link = given.unsubscribe_url
    wanted = [
        *ALWAYS[:5],
        *(["In-Reply-To", "References"] if ids else []),
        *(["List-Unsubscribe"] if link else []),
        *(["List-Unsubscribe-Post"] if link and link.startswith("https:") else []),
        *ALWAYS[5:],
    ]
    assert read.keys() == wanted
    assert read["Subject"] == expected_subject(given)
    body = filled_in(given.content or "", dict(given.attributes))
    body = body.replace("\r\n", "\n").replace("\r", "\n")
    assert body_of(read) == (body if body.endswith("\n") else f"{body}\n")
    for name, stored, written in (
        ("From", given.sender, message.sender),
        ("To", given.recipient, message.recipient),
    ):
        assert [each.addr_spec for each in read[name].addresses] == [written]
        assert address(stored) == written
    if ids:
        assert read["References"].split() == ids
        assert read["In-Reply-To"] == ids[-1]
    if link:
        assert re.fullmatch("<[!-;=?-~]+>", read["List-Unsubscribe"])


@examples(200)
@given(recipient=ADDRESSES)
def test_an_address_is_refused_or_stands_alone_in_its_header(recipient: str) -> None:
    try:
        read = composed(recipient=recipient)
    except DataError:
        return
    assert [each.addr_spec for each in read["To"].addresses] == [address(recipient)]
    with pytest.raises(AddressError):
        address(f"{recipient},{recipient}")
