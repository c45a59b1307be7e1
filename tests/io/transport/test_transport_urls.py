"""References and URLs of mail servers: what is read, and what is never repeated."""

import logging
import traceback
from pathlib import Path

import pytest

from sendplan.io.errors import DataError
from sendplan.io.transport.transport_urls import Server, StartTls, parse_url, read_reference

SECRET = "hunter2"


def complaint(url: str) -> str:
    with pytest.raises(DataError) as caught:
        parse_url(url)
    # Whatever is printed of the error, its causes included, holds neither password nor user.
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    chained = caught.value.__context__
    while chained is not None:
        whole += repr(chained) + repr(getattr(chained, "object", ""))
        chained = chained.__context__
    printed = "\n".join(line for line in whole.splitlines() if "parse_url(" not in line)
    assert SECRET not in printed
    assert "somebody" not in printed
    return str(caught.value)


def test_a_url_names_server_port_and_login() -> None:
    assert parse_url("smtp://ann:pass@mail.example.com") == Server(
        "mail.example.com", 587, False, StartTls.REQUIRED, "ann", "pass"
    )
    assert parse_url("smtps://ann:pass@mail.example.com/") == Server(
        "mail.example.com", 465, True, StartTls.REQUIRED, "ann", "pass"
    )
    assert parse_url("SMTP://Mail.Example.COM:25").host == "mail.example.com"
    assert parse_url("smtp://[::1]:2525") == Server("::1", 2525, starttls=StartTls.NEVER)


def test_user_and_password_are_percent_encoded_and_an_at_sign_in_them_may_stay() -> None:
    found = parse_url("smtp://ann@example.com:p%40ss%3A%2F%C3%A9@mail.example.com")
    assert (found.username, found.password) == ("ann@example.com", "p@ss:/é")


def test_a_password_needs_encryption_unless_it_stays_on_this_machine() -> None:
    assert parse_url("smtp://a:b@example.com").starttls is StartTls.REQUIRED
    assert parse_url("smtp://example.com").starttls is StartTls.OFFERED
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "[::1]"):
        assert parse_url(f"smtp://a:b@{host}").starttls is StartTls.NEVER
        assert parse_url(f"smtp://{host}").starttls is StartTls.NEVER
    assert parse_url("smtp://a:b@localhost?starttls=required").starttls is StartTls.REQUIRED
    assert parse_url("smtp://a:b@example.com?starttls=never").starttls is StartTls.NEVER


def test_options_follow_the_host() -> None:
    found = parse_url("smtp://example.com?ca=/etc/our%20ca.pem&timeout=2.5&starttls=offered")
    assert found.ca == Path("/etc/our ca.pem")
    assert found.timeout == 2.5
    assert found.starttls is StartTls.OFFERED


def test_a_server_does_not_show_its_login() -> None:
    shown = repr(parse_url(f"smtp://somebody:{SECRET}@mail.example.com"))
    assert SECRET not in shown
    assert "somebody" not in shown


LOGIN = f"somebody:{SECRET}"


UNUSABLE = [
    (f"{LOGIN}@mail.example.com", "no scheme"),
    (f"http://{LOGIN}@mail.example.com", "its scheme is neither smtp nor smtps"),
    (f"smtp://{LOGIN}@", "no host"),
    (f"smtp://{LOGIN}@:587", "no host"),
    ("smtp://", "no host"),
    (f"smtp://{LOGIN}@host:0", "its port is no number"),
    (f"smtp://{LOGIN}@host:65536", "its port is no number"),
    (f"smtp://{LOGIN}@host:smtp", "its port is no number"),
    (f"smtp://{LOGIN}@host:" + "9" * 5000, "its port is no number"),
    (f"smtp://{LOGIN}@ho%73t", "no host's name"),
    (f"smtp://{LOGIN}@-host", "no host's name"),
    (f"smtp://{LOGIN}@höst", "no host's name"),
    ("smtp://somebody@host", "no password"),
    (f"smtp://:{SECRET}@host", "no user"),
    # A password whose special characters were not encoded, which cuts the URL in pieces.
    (f"smtp://somebody:/{SECRET}@host", "something after the host"),
    (f"smtp://somebody:#{SECRET}@host", "something after the host"),
    (f"smtp://somebody:?{SECRET}@host", "no host's name|no password|unknown option"),
    (f"smtp://somebody:a?{SECRET}@host", "its port is no number|unknown option"),
    (f"smtp://somebody:[{SECRET}@host", "cannot be taken apart"),
    (f"smtp://somebody:{SECRET}\u2100@host", "cannot be taken apart"),
    (f"smtp://somebody:{SECRET} @host", "white space"),
    (f"smtp://somebody:{SECRET}\n@host", "control character"),
    (f"smtp://somebody:{SECRET}%00@host", "a control character in its password"),
    (f"smtp://somebody:{SECRET}%FF@host", "its password is not UTF-8"),
    (f"smtp://{LOGIN}@host?startls=x", "did you mean 'starttls'"),
    (f"smtp://{LOGIN}@host?ca=", "the option ca is empty"),
    (f"smtp://{LOGIN}@host?timeout=1&timeout=2", "the option timeout twice"),
    (f"smtp://{LOGIN}@host?timeout=0", "give seconds"),
    (f"smtp://{LOGIN}@host?timeout=121", "give seconds"),
    (f"smtp://{LOGIN}@host?timeout=nan", "give seconds"),
    (f"smtp://{LOGIN}@host?starttls=maybe", "use required, offered, never"),
    (f"smtps://{LOGIN}@host?starttls=never", "encrypted already"),
]


@pytest.mark.parametrize(("url", "what"), UNUSABLE, ids=[what for _, what in UNUSABLE])
def test_a_url_that_cannot_be_used_is_refused_without_being_repeated(url: str, what: str) -> None:
    text = complaint(url)
    assert any(part in text for part in what.split("|")), text
    # Where, what and how to mend it.
    assert text.startswith("the server's URL: ")
    assert " – " in text


def test_a_reference_stands_for_a_variable_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("smtp://example.com\r\n")
    path.chmod(0o600)
    assert read_reference("env:URL_A", {"URL_A": "smtp://example.com"}) == "smtp://example.com"
    assert read_reference(f"file:{path}", {}) == "smtp://example.com"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:URL_A", "the environment variable 'URL_A': not set – put the server's URL there"),
        ("env:EMPTY", "the environment variable 'EMPTY': empty – put"),
        ("file:/no/such/file", "the file '/no/such/file': cannot be read: no such file"),
        ("file:/tmp\0x", "cannot be read: no path"),
        (f"smtp://somebody:{SECRET}@host", "no reference – set it to env:NAME or file:PATH"),
        ("env:", "no reference"),
        ("", "no reference"),
    ],
    ids=["unset", "empty", "missing", "nul", "url", "no-name", "nothing"],
)
def test_a_reference_without_a_url_behind_it_says_what_to_set(reference: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_reference(reference, {"EMPTY": " \n"})
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"\n", "empty"), (b"x" * 5000, "more than 4,096 bytes"), (b"smtp://\xff@h", "not UTF-8")],
    ids=["empty", "large", "not-utf-8"],
)
def test_a_file_that_holds_no_url_is_told(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "url"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_reference(f"file:{path}", {})


def test_a_file_that_everybody_can_read_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "url"
    path.write_text(f"smtp://somebody:{SECRET}@host")
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        read_reference(f"file:{path}", {})
        read_reference(f"file:{path}", {})
    assert [record.getMessage() for record in caplog.records] == [
        f"All users of this machine can read the file '{path}': chmod 600 it"
    ]
    path.chmod(0o600)
