"""Unsubscribe links: which URLs are taken, and that values cannot change them."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendplan.io.errors import DataError
from sendplan.io.messages.templates import FlawedTemplateError
from sendplan.io.messages.unsubscribing import MAX_URL, unsubscribe_url, url_faults

FLAWED = [
    # URL, what, remedy
    ("", "no https: or mailto: URL", "https://mail.example/out/"),
    ("http://x.example/{{ token }}", "no https: or mailto: URL", "https://mail.example/out/"),
    ("https://localhost/{{ token }}", "with a fixed host", "https://"),
    ("https://me:secret@x.example/{{ token }}", "without a password", "https://"),
    ("https://{{ token }}.x.example/", "with a fixed host", "https://"),
    ("https://x.example{{ token }}", "with a fixed host", "https://"),
    ("https://x.example.{{ token }}/", "with a fixed host", "https://"),
    ("https://x.example/out", "without a variable", "add {{ token }}"),
    ("https://x.example/{{ token }} b", "' ' cannot stand in a URL", "%20"),
    ("https://x.example/{{ token }}\r\nBcc: e@x", "'\\r' cannot stand in a URL", "%20"),
    ("https://x.example/{{ token }}>,<b", "'>' cannot stand in a URL", "%20"),
    ('https://x.example/{{ token }}"', "'\"' cannot stand in a URL", "%20"),
    ("https://x.example/ü/{{ token }}", "'ü' cannot stand in a URL", "%20"),
    ("https://x.example/%2/{{ token }}", "'%' cannot stand in a URL", "%20"),
    ("https://x.example/{{ token|upper }}", "more than plain variables", "without anything else"),
    ("https://x.example/{{ 1 + 1 }}", "more than plain variables", "without anything else"),
    ("https://x.example/{% if a %}b{% endif %}", "more than plain variables", "without anything"),
    ("https://x.example/{{ token", "more than plain variables", "without anything else"),
    ("https://x.example/?a=?utf-8?q?{{ token }}", "'=?' in it", "%3F"),
    ("https://x.example/{{ key }}", "unknown variable 'key'", "known: email, name, sender, token"),
    ("https://x.example/{{ nmae }}", "unknown variable 'nmae'", "did you mean 'name'?"),
    ("https://x.example/{{ token }}" + "x" * 900, "929 characters", "900 at most"),
    ("mailto:out", "no @ in the address: 'out'", "name@domain"),
    ("mailto:a@x.example,b@x.example", "more than one address", "a row of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "what", "remedy"), FLAWED, ids=[case[0][:60] for case in FLAWED])
def test_a_url_that_could_not_be_used_is_refused(url: str, what: str, remedy: str) -> None:
    found = url_faults(url, ["name"])
    assert len(found) == 1
    assert what in found[0].rule
    assert remedy in found[0].remedy


SOUND = [
    "https://x.example/{{ token }}",
    "https://x.example:8443?t={{token}}&e={{ email }}",
    "https://x.example/%20/{{ token }}#{{ name }}",
    "mailto:out@x.example",
    "mailto:out+{{ token }}@x.example?subject=out%20{{ token }}",
]


@pytest.mark.parametrize("url", SOUND)
def test_a_url_of_fixed_text_and_variables_is_taken(url: str) -> None:
    assert url_faults(url, ["name"]) == []


def test_attributes_are_not_asked_for_where_they_are_not_known() -> None:
    assert url_faults("https://x.example/{{ key }}") == []


def test_the_token_is_nothing_that_a_contact_must_have() -> None:
    url = unsubscribe_url("https://x.example/{{ token }}/{{ key }}")
    assert url.placeholders.required == url.placeholders.used == {"key"}


def test_values_are_percent_encoded() -> None:
    url = unsubscribe_url("https://x.example/{{ a }}?b={{ b }}")
    values = {"a": "../x y", "b": "ü&c=d"}
    assert url.fill_in(values) == "https://x.example/..%2Fx%20y?b=%C3%BC%26c%3Dd"


def test_https_is_for_one_click_and_mailto_is_not() -> None:
    values = {"token": "t"}
    assert unsubscribe_url("https://x.example/{{ token }}").headers(values) == [
        "List-Unsubscribe: <https://x.example/t>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    ]
    assert unsubscribe_url("mailto:out+{{ token }}@x.example").headers(values) == [
        "List-Unsubscribe: <mailto:out+t@x.example>"
    ]


@pytest.mark.parametrize("values", [{}, {"key": ""}], ids=["none", "empty"])
def test_a_contact_without_a_value_gets_no_link_of_another(values: dict[str, str]) -> None:
    with pytest.raises(DataError, match="the contact has no 'key'") as caught:
        unsubscribe_url("https://x.example/{{ key }}").fill_in(values)
    assert type(caught.value) is DataError


def test_a_url_that_grows_too_long_is_an_error_of_that_contact() -> None:
    # 18 characters before the value: with 882 the limit of 900 is just kept.
    url = unsubscribe_url("https://x.example/{{ key }}")
    assert len(url.fill_in({"key": "x" * 882})) == MAX_URL
    with pytest.raises(DataError, match="grows to 901 characters"):
        url.fill_in({"key": "x" * 883})


def test_a_url_from_the_database_is_checked_like_one_from_a_file() -> None:
    with pytest.raises(FlawedTemplateError, match="unsubscribe URL: 1 problem"):
        unsubscribe_url("javascript:alert(1)")


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_value_comes_back_as_it_was_and_changes_nothing_around_it(value: str) -> None:
    url = unsubscribe_url("https://x.example/out?a={{ a }}&b=1#c").fill_in({"a": value})
    read = urlsplit(url)
    assert (read.netloc, read.path, read.fragment) == ("x.example", "/out", "c")
    assert parse_qs(read.query) == {"a": [value], "b": ["1"]}
