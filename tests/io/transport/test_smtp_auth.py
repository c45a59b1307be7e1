"""Ways to log in to an SMTP server."""

import pytest

from sendplan.io.transport.smtp_auth import mechanism_among, secrets_of
from sendplan.io.transport.transport_urls import Server

SERVER = Server("smtp.acme.example", 587, username="dana", password="s3cret")


@pytest.mark.parametrize(
    ("offered", "lines"),
    [
        # PLAIN goes first: base64 of \0dana\0s3cret. LOGIN: of dana, then of s3cret.
        (["LOGIN", "PLAIN"], ["AUTH PLAIN AGRhbmEAczNjcmV0"]),
        (["XOAUTH2", "LOGIN"], ["AUTH LOGIN", "ZGFuYQ==", "czNjcmV0"]),
    ],
)
def test_a_mechanism_says_its_lines_in_turn(offered: list[str], lines: list[str]) -> None:
    said = []
    mechanism = mechanism_among(offered)
    assert mechanism is not None
    mechanism.log_in(SERVER, lambda _phase, line, hoped: said.append((line, hoped)))
    # Every line but the last is answered with a challenge, 3yz.
    hoped = [3] * (len(lines) - 1) + [2]
    assert said == list(zip(lines, hoped, strict=True))


def test_there_is_no_mechanism_where_none_is_known() -> None:
    assert mechanism_among(["XOAUTH2", "CRAM-MD5"]) is None


def test_the_password_is_found_in_every_form_in_which_it_is_sent() -> None:
    secrets = secrets_of(SERVER)
    assert secrets is not None
    for text in ("AGRhbmEAczNjcmV0", "czNjcmV0", "S3CRET"):
        assert secrets.sub("…", f"5.7.0 {text}?") == "5.7.0 …?"
    assert secrets_of(Server("smtp.acme.example", 587)) is None
