"""Counts and their nouns."""

import pytest

from sendplan.planner.schema.wording import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "email", "1 email"),
        (0, "email", "0 emails"),
        (2_000, "late follow-up", "2,000 late follow-ups"),
        (1, "other mailbox", "1 other mailbox"),
        (2, "other mailbox", "2 other mailboxes"),
    ],
)
def test_the_noun_agrees_with_its_count(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
