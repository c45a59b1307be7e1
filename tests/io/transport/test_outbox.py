"""The outbox: messages become visible whole and once, or not at all."""

import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from sendplan.io.errors import DataError
from sendplan.io.messages.message_ids import message_id, token
from sendplan.io.messages.outcomes import Message, Outcome, Verdict
from sendplan.io.transport.outbox import LEFT_BEHIND, Outbox

HERE = UUID("6f1c1a52-0a3e-4d1c-9d0e-5a5b5c5d5e5f")
NAME = f"{token(HERE, 17, 3)}.eml"


def message(data: bytes = b"Subject: x\r\n\r\nHello\r\n") -> Message:
    return Message("ann@mail.example", "ben@client.example", message_id(HERE, 17, 3), data)


def yes() -> bool:
    return True


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_message_is_put_under_its_token_byte_by_byte(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    assert Outbox(folder).deliver(message(), yes) == Outcome(Verdict.SENT, f"outbox: {NAME}")
    assert names(folder) == [NAME]
    assert (folder / NAME).read_bytes() == message().data


def test_nothing_is_visible_before_the_dispatcher_has_agreed(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def begin() -> bool:
        seen.append(sorted(path.name for path in tmp_path.glob("*.eml")))
        return True

    Outbox(tmp_path).deliver(message(), begin)
    assert seen == [[]]


def test_a_withdrawn_message_leaves_nothing_behind(tmp_path: Path) -> None:
    assert Outbox(tmp_path).deliver(message(), lambda: False).verdict is Verdict.WITHDRAWN
    assert names(tmp_path) == []


def test_a_dispatcher_that_cannot_agree_leaves_nothing_behind(tmp_path: Path) -> None:
    def begin() -> bool:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        Outbox(tmp_path).deliver(message(), begin)
    assert names(tmp_path) == []


def test_a_message_accepted_before_is_sent_and_not_written_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.deliver(message(), yes)
    again = outbox.deliver(message(b"another date"), yes)
    assert again == Outcome(Verdict.SENT, f"outbox: {NAME} was there already")
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == message().data


def test_of_many_threads_with_one_message_a_single_one_puts_it_there(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda _: outbox.deliver(message(), yes), range(40)))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.SENT}
    assert sum(outcome.detail == f"outbox: {NAME}" for outcome in outcomes) == 1
    assert names(tmp_path) == [NAME]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let the system refuse every file beyond a size, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_no_fault_of_the_email(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    asked: list[None] = []
    with room_for(4096):
        # The first 4,096 bytes do get written.
        outcome = outbox.deliver(message(b"x" * 100_000), lambda: asked.append(None) is None)
    assert outcome == Outcome(Verdict.UNREACHABLE, "outbox: cannot write: file too large")
    assert asked == []
    assert names(tmp_path) == []
    assert outbox.deliver(message(), yes).verdict is Verdict.SENT


def test_a_folder_that_has_gone_is_no_fault_of_the_email(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    outbox = Outbox(folder)
    folder.rmdir()
    outcome = outbox.deliver(message(), yes)
    assert outcome.verdict is Verdict.UNREACHABLE
    assert outcome.detail == "outbox: cannot write: no such file or directory"


def test_a_folder_that_goes_at_the_last_moment_gives_no_wrong_answer(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    outbox = Outbox(folder)

    def begin() -> bool:
        folder.rename(tmp_path / "elsewhere")
        return True

    assert outbox.deliver(message(), begin).verdict is Verdict.UNREACHABLE


def test_what_is_no_folder_cannot_be_an_outbox(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be used as outbox: .* – name another folder"):
        Outbox(tmp_path / "file")


def test_what_a_killed_process_left_is_swept_away_and_no_other_file(tmp_path: Path) -> None:
    for name in (".old.part", "old.eml", ".new.part"):
        (tmp_path / name).write_text("")
        if "old" in name:
            then = time.time() - LEFT_BEHIND - 60
            os.utime(tmp_path / name, (then, then))
    Outbox(tmp_path)
    assert names(tmp_path) == [".new.part", "old.eml"]
