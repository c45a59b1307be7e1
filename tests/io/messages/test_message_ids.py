"""Message-IDs: stable, apart from each other, and silent about where they come from."""

import re
from uuid import UUID

import pytest

from sendplan.io.messages.message_ids import is_sound, message_id, token, token_in

HERE = UUID("6f1c1a52-0a3e-4d1c-9d0e-5a5b5c5d5e5f")
THERE = UUID("6f1c1a52-0a3e-4d1c-9d0e-5a5b5c5d5e60")


def test_the_id_of_an_email_never_changes_between_releases() -> None:
    # Were it to change, an email tried again after an update would arrive twice. The value is
    # uuid5(HERE, "17/3"), and the first 16 digits of uuid5(HERE, "domain").
    assert message_id(HERE, 17, 3) == (
        "<de7dc279-4fff-5ec4-a467-020ca521bd4a@967e547ae6345c5d.sendplan>"
    )


def test_each_email_of_each_installation_has_an_id_of_its_own() -> None:
    # 1/11 and 11/1 would be the same with the numbers written next to each other.
    emails = [(1, 11), (11, 1), (1, 1), (11, 11), (111, 1)]
    ids = {message_id(where, *email) for where in (HERE, THERE) for email in emails}
    assert len(ids) == 2 * len(emails)


def test_the_id_is_one_plain_address_in_angle_brackets() -> None:
    # RFC 5322: dot-atoms on both sides, and so nothing that would need quotes or folding.
    assert re.fullmatch(r"<[a-z0-9-]+@[a-z0-9]+(\.[a-z0-9]+)+>", message_id(HERE, 2**62, 2**62))
    assert is_sound(message_id(HERE, 2**62, 2**62))


def test_the_installations_id_cannot_be_read_from_a_message() -> None:
    # With it, the tokens of all other emails could be computed, and their contacts unsubscribed.
    for written in (message_id(HERE, 17, 3), str(token(HERE, 17, 3))):
        assert HERE.hex not in written.replace("-", "")


def test_the_token_is_read_back_from_the_id() -> None:
    assert token_in(message_id(HERE, 17, 3)) == token(HERE, 17, 3)


@pytest.mark.parametrize("foreign", ["", "<../../etc/passwd@x.sendplan>", "<a@b>"])
def test_no_token_is_read_from_a_foreign_id(foreign: str) -> None:
    with pytest.raises(ValueError, match="no Message-ID of sendplan"):
        token_in(foreign)


@pytest.mark.parametrize(
    ("stored", "sound"),
    [
        ("<CAF=x+1_2-3@mail.gmail.com>", True),
        ("<a.b!#$%&'*+/=^_`{|}~@[192.0.2.1]>", True),
        ("", False),
        ("a@b", False),
        ("<a@b>\r\nBcc: evil@x.example", False),
        ("<a@b>\n", False),
        ("<a@b> <c@d>", False),
        ("<a b@c>", False),
        ("<=?utf-8?q?=0D=0A?=@b>", False),
        ("<grüße@b>", False),
        ("<" + "x" * 151 + "@b>", False),
    ],
)
def test_only_a_stored_id_that_cannot_end_its_header_is_sound(stored: str, sound: bool) -> None:
    assert is_sound(stored) is sound
