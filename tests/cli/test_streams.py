"""Terminals and streams: hostile texts, encodings, full disks, closed pipes, wrong numbers."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sendplan.io.database.engine import connect
from sendplan.tests.worlds.databases.due_emails import put
from sendplan.tests.worlds.databases.frames import clear_tables
from sendplan.tests.worlds.dispatching.process import SENDPLAN
from sendplan.tests.worlds.problems.tiny import World

HOSTILE = "\x1b[2J\x07\x9b\u202eJörg \U0001f600[/b]"
AS_OF = ("--as-of", "2026-11-09T02:00:00+00:00")

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
    made = World().sequence(waits=(0, 1), name=HOSTILE).mailbox(5, 2).enroll(1, 2, 3)
    put(engine, made)
    with engine.begin() as connection:
        connection.execute(text("UPDATE sequences SET paused_reason = :bad"), {"bad": HOSTILE})
        connection.execute(text("UPDATE mailboxes SET email = :bad"), {"bad": f"{HOSTILE}@x.test"})
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine: Engine, module_database_url: str) -> Run:
    """Run the real command; `environment` is added to what it inherits."""

    def called(
        *arguments: str, environment: dict[str, str] | None = None, **how: Any
    ) -> subprocess.CompletedProcess[bytes]:
        own = {name: word for name, word in os.environ.items() if not name.startswith("SENDPLAN_")}
        own |= {"SENDPLAN_DATABASE_URL": module_database_url, "PYTHONSAFEPATH": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.run(
            [str(SENDPLAN), *arguments],
            env=own | (environment or {}),
            check=False,
            **pipes | {"timeout": 120} | how,
        )

    return called


@pytest.mark.slow
@pytest.mark.parametrize("command", [("status",), ("plan", *AS_OF)])
def test_names_from_the_database_never_steer_the_terminal(
    run: Run, command: tuple[str, ...]
) -> None:
    ended = run(*command)
    assert ended.returncode == 0, ended.stderr
    for printed in (ended.stdout.decode(), ended.stderr.decode()):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)
    assert "Jörg" in ended.stdout.decode()


def test_json_escapes_what_would_steer_a_terminal_and_loses_nothing(run: Run) -> None:
    printed = run("status", "--json").stdout.decode()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed)
    assert json.loads(printed)["sequences"][0]["name"] == HOSTILE


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PGCLIENTENCODING": "LATIN1"},
        {"PGCLIENTENCODING": "SQL_ASCII"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_any_encoding_prints_with_replacements_and_stores_the_plan(
    run: Run, engine: Engine, environment: dict[str, str]
) -> None:
    ended = run("plan", *AS_OF, environment=environment)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False), ended.stderr
    printed = run("status", "--json", environment=environment).stdout.decode("ascii", "replace")
    if "PGCLIENTENCODING" not in environment:
        assert json.loads(printed)["sequences"][0]["name"] == HOSTILE
    with engine.connect() as connection:
        planned = connection.scalar(
            text("SELECT count(*) FROM scheduled_emails WHERE plan_run_id IS NOT NULL")
        )
    # Three contacts and two steps.
    assert planned == 6


@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_one_message_and_the_plan_is_stored(
    run: Run, engine: Engine
) -> None:
    for arguments in (("plan", *AS_OF), ("status", "--json"), ("--help",), ("plan", "--help")):
        with Path("/dev/full").open("wb") as full:
            ended = run(*arguments, stdout=full)
        assert ended.returncode == 1
        assert b"cannot be written (no space left on device)" in ended.stderr
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr
    with engine.connect() as connection:
        planned = "SELECT count(*) FROM scheduled_emails WHERE plan_run_id IS NOT NULL"
        assert connection.scalar(text(planned)) == 6


@pytest.mark.slow
def test_progress_that_cannot_be_shown_ends_no_work(run: Run) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = run("plan", *AS_OF, "--json", stderr=full)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["emails"] == 6


def test_a_closed_pipe_ends_quietly(run: Run) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run("status", stdout=writing)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_closed_streams_do_no_harm(run: Run, module_database_url: str) -> None:
    ended = subprocess.run(
        ["sh", "-c", f"exec '{SENDPLAN}' status >&- 2>&-"],
        env=os.environ | {"SENDPLAN_DATABASE_URL": module_database_url, "PYTHONSAFEPATH": "1"},
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0


WRONG = [
    ("plan", "--time-limit", "nan"),
    ("plan", "--time-limit", "inf"),
    ("plan", "--slip-weight", "nan"),
    ("plan", "--slip-weight", "1e308"),
    ("plan", "--gap-target", "-inf"),
    ("plan", "--workers", "9" * 30),
    ("plan", "--as-of", "0001-01-01T00:00:00+00:00"),
    ("plan", "--as-of", "9999-12-31T23:59:59+00:00"),
    ("plan", "--as-of", "9999-12-31T23:59:59-23:59"),
    ("status", "--as-of", "0001-01-01T00:00:00+23:59"),
    ("dispatch", "--once", "--lease", "nan"),
    ("dispatch", "--once", "--lease", "1e300"),
    ("dispatch", "--once", "--grace", "inf"),
    ("recalc", "--grace", "1e300"),
    ("recalc", "--pause", "nan"),
    ("health", "--max-late", "nan"),
    ("health", "--max-plan-age", "1e300"),
    ("capacity", "--finish-by", "9999-12-31"),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_absurd_numbers_and_years_are_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (2, False), ended.stderr


@pytest.mark.slow
def test_pipes_and_hostile_toml_files_end_in_a_message_within_seconds(
    run: Run, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    deep, dotted, huge = (tmp_path / name for name in ("deep", "dotted", "huge"))
    deep.write_text("a = " + "[" * 100_000)
    dotted.write_text("a" + ".a" * 100_000 + " = 1")
    huge.write_text("a = 1\n" * 10_000_000)
    for file in (pipe, deep, dotted, huge):
        # Far above what it takes.
        ended = run("load", str(file), timeout=60)
        assert (ended.returncode, b"Traceback" in ended.stderr) == (3, False), ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("postgresql://ada:sesame@db/x",),
        ("plan", "--workers", "postgresql://ada:sesame@db/x"),
        ("plan", "--as-of", "smtp://ada:sesame@mail"),
        ("enroll", "nowhere.csv", "--sequence", "smtp://ada:sesame@mail"),
        ("mailbox", "pause", "smtp://ada:sesame@" + "long" * 20),
        ("status", "--database-url", "postgresql://ada:p@sesame@127.0.0.1/x"),
    ],
    ids=" ".join,
)
def test_a_secret_in_the_wrong_place_is_not_repeated(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.returncode in (2, 3, 4)
    assert b"sesame" not in ended.stdout + ended.stderr
