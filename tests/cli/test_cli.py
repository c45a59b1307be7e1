"""The command line: what it prints where, what it exits with, and how it starts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, make_url, text

from sendplan.cli import main
from sendplan.io.database.engine import SCHEMA_VERSION, connect
from sendplan.io.operations.health import Limits
from sendplan.io.planning.recalc import DEFAULT_PACE
from sendplan.io.publish.planner_lock import planner_lock
from sendplan.io.snapshot.partition import PART_SIZE
from sendplan.tests.worlds.databases.frames import clear_tables, dump

DATA = Path(__file__).parents[1] / "data"
CAMPAIGN, CONTACTS = str(DATA / "campaign.toml"), str(DATA / "contacts.csv")
SEQUENCE = "Autumn webinar"
AS_OF = "2026-11-09T02:00:00+00:00"
"""A Monday night, when the ramp of the third mailbox is at 45 emails a day."""

Run = Callable[..., Result]


@pytest.fixture
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine: Engine, module_database_url: str) -> Run:
    """Run a command on an empty database."""

    def invoke(*arguments: str, code: int = 0) -> Result:
        result = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url}).invoke(
            main, list(arguments)
        )
        assert result.exit_code == code, result.stderr
        # A failure is told in words.
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


@pytest.fixture
def enrolled(run: Run) -> Run:
    run("load", CAMPAIGN)
    run("enroll", "--sequence", SEQUENCE, CONTACTS, "--as-of", AS_OF)
    return run


def whole(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        return dump(connection)


def run_sql(engine: Engine, statements: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statements))


def process(
    *arguments: str, environment: Mapping[str, str] | None = None, program: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Run ``sendplan`` as a user does, in a process and an environment of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SENDPLAN_")}
    return subprocess.run(
        [*(program or (sys.executable, "-m", "sendplan")), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=own | {"PYTHONSAFEPATH": "1"} | dict(environment or {}),
        check=False,
    )


# ---------------------------------------------------------------- from end to end


def test_from_a_file_to_a_checked_plan(run: Run) -> None:
    assert "2 sequences" in run("load", CAMPAIGN).stdout
    assert "6" in run("enroll", "--sequence", SEQUENCE, CONTACTS, "--as-of", AS_OF).stdout
    planned = run("plan", "--as-of", AS_OF)
    # Six contacts get three emails each.
    assert "18" in planned.stdout
    assert SEQUENCE in planned.stdout
    assert "Every hard rule holds in 18 slots" in run("check").stdout
    assert "18 pending" in run("status", "--as-of", AS_OF).stdout


def test_from_end_to_end_in_json(run: Run) -> None:
    loaded = json.loads(run("load", CAMPAIGN, "--json").stdout)
    assert (loaded["sequences"], loaded["steps"], loaded["mailboxes"]) == (2, 4, 3)
    enrolled = json.loads(
        run("enroll", "--sequence", SEQUENCE, CONTACTS, "--as-of", AS_OF, "--json").stdout
    )
    assert (enrolled["contacts"], enrolled["enrolled"]) == (6, 6)
    planned = json.loads(run("plan", "--as-of", AS_OF, "--json").stdout)
    assert (planned["emails"], planned["unplaced"], planned["rows_changed"]) == (18, 0, 18)
    checked = json.loads(run("check", "--json").stdout)
    assert (checked["emails"], checked["count"], checked["violations"]) == (18, 0, {})
    status = json.loads(run("status", "--as-of", AS_OF, "--json").stdout)
    assert status["emails"] == {"pending": 18}
    assert status["last_run"]["id"] == planned["run_id"]
    again = json.loads(run("plan", "--as-of", AS_OF, "--json").stdout)
    assert (again["rows_changed"], again["moved"]) == (0, 0)
    assert again["run_id"] > planned["run_id"]


KEYS: dict[str, Any] = {
    "run_id": int,
    "method": str,
    "status": str,
    "as_of": str,
    "horizon_end": str,
    "emails": int,
    "unplaced": int,
    "blocked": int,
    "cost": float,
    "lower_bound": float | None,
    "gap": float | None,
    "late_follow_ups": int,
    "slip_days": int,
    "finish_day": str | None,
    "moved": int,
    "rows_changed": int,
    "seconds": dict,
}
"""The keys that ``plan --json`` promises (io/README.md)."""


def test_the_plan_is_printed_under_the_promised_keys(enrolled: Run) -> None:
    printed = json.loads(enrolled("plan", "--as-of", AS_OF, "--json").stdout)
    for key, kind in KEYS.items():
        assert isinstance(printed[key], kind), key
    assert printed["method"] == "greedy"
    assert printed["status"] == "optimal"
    assert datetime.fromisoformat(printed["as_of"]) == datetime.fromisoformat(AS_OF)
    # The wait of three days from Monday to Thursday, and five more to Tuesday.
    assert date.fromisoformat(printed["finish_day"]) == date(2026, 11, 17)
    assert printed["horizon_end"] == printed["finish_day"]
    assert (printed["cost"], printed["lower_bound"], printed["gap"]) == (0.0, 0.0, 0.0)
    assert {"load", "solve", "store", "total"} <= set(printed["seconds"])
    assert all(isinstance(seconds, float) for seconds in printed["seconds"].values())


def test_an_empty_plan_has_the_same_keys(run: Run) -> None:
    printed = json.loads(run("plan", "--as-of", AS_OF, "--json").stdout)
    for key, kind in KEYS.items():
        assert isinstance(printed[key], kind), key
    assert (printed["status"], printed["finish_day"], printed["cost"]) == ("empty", None, 0)


def test_a_dry_run_prints_the_plan_and_stores_nothing(enrolled: Run, engine: Engine) -> None:
    before = whole(engine)
    printed = json.loads(enrolled("plan", "--as-of", AS_OF, "--dry-run", "--json").stdout)
    assert (printed["emails"], printed["run_id"], printed["rows_changed"]) == (18, None, 0)
    assert "nothing was stored" in enrolled("plan", "--as-of", AS_OF, "--dry-run").stdout
    assert whole(engine) == before


def test_a_horizon_leaves_out_what_lies_behind_it(enrolled: Run) -> None:
    printed = json.loads(enrolled("plan", "--as-of", AS_OF, "--horizon-days", "3", "--json").stdout)
    # Monday's first emails and Thursday's second ones fit, the six third ones do not.
    assert (printed["emails"], printed["unplaced"], printed["blocked"]) == (12, 6, 0)
    assert printed["horizon_end"] == "2026-11-12"
    shown = enrolled("plan", "--as-of", AS_OF, "--horizon-days", "3").stdout
    assert "no capacity left within the horizon" in shown


def test_the_status_of_nothing(run: Run) -> None:
    assert "Nothing has been planned yet" in run("status").stdout
    printed = json.loads(run("status", "--json").stdout)
    assert (printed["last_run"], printed["emails"], printed["due"]) == (None, {}, 0)


def test_the_status_tells_what_is_due(enrolled: Run) -> None:
    """At the end of Monday its six emails are due; the next leave on Thursday at nine in Berlin."""
    enrolled("plan", "--as-of", AS_OF)
    printed = json.loads(enrolled("status", "--json", "--as-of", "2026-11-09T23:59:00Z").stdout)
    assert printed["due"] == 6
    assert printed["next_at"] == "2026-11-12T08:00:00+00:00"
    webinar = next(row for row in printed["sequences"] if row["name"] == SEQUENCE)
    assert (webinar["contacts"], webinar["planned"], webinar["without_slot"]) == (6, 18, 0)
    assert sum(row["planned"] for row in printed["mailboxes"]) == 18


def test_a_reason_is_told_in_words(enrolled: Run, engine: Engine) -> None:
    run_sql(engine, "UPDATE mailboxes SET status = 'paused'")
    shown = enrolled("plan", "--as-of", AS_OF).stdout
    assert "no active mailbox in the sequence's pool" in shown
    assert "no active mailbox in the sequence's pool" in enrolled("status").stdout
    assert json.loads(enrolled("status", "--json").stdout)["unplaced"] == [
        {"reason": "no_active_mailbox", "emails": 18}
    ]


def test_progress_goes_to_stderr_and_json_alone_to_stdout(enrolled: Run) -> None:
    result = enrolled("plan", "--as-of", AS_OF, "--json")
    json.loads(result.stdout)
    assert "Planning" in result.stderr
    assert "Planning" not in enrolled("plan", "--as-of", AS_OF).stdout.replace("Planned", "")
    result = enrolled("enroll", "--sequence", SEQUENCE, CONTACTS, "--json", "--as-of", AS_OF)
    assert json.loads(result.stdout)["already_enrolled"] == 6


# ---------------------------------------------------------------- usage: 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["plan", "--as-of", "2026-11-09T02:00:00"], "no time zone"),
        (["status", "--as-of", "2026-11-09"], "no time zone"),
        (["plan", "--as-of", "tomorrow"], "no time"),
        (["plan", "--gap", "1"], "gap is 1.0; it must be 0 or more, and below 1"),
        (["plan", "--workers", "0"], "workers is 0"),
        (["plan", "--method", "magic"], "'magic' is unknown"),
        (["plan", "--horizon-days", "-1"], "horizon_days is -1"),
        (["plan", "--horizon-days", "367"], "horizon_days is 367"),
        (["plan", "--horizon-days", "soon"], "soon"),
        (["plan", "--time-limit", "nan"], "nan is not a number"),
        (["plan", "--time-limit", "-1"], "time_limit is -1"),
        (["demo", "--contacts", "0"], "contacts"),
        (["enroll", CONTACTS], "--sequence"),
        (["load"], "FILE"),
        (["plan", "everything"], "everything"),
        (["fly"], "fly"),
    ],
)
def test_wrong_usage_exits_with_2(
    run: Run, engine: Engine, arguments: list[str], told: str
) -> None:
    result = run(*arguments, code=2)
    assert told in result.stderr
    assert result.stdout == ""
    with engine.connect() as connection:
        assert not any(dump(connection).values())


def test_wrong_usage_needs_no_database() -> None:
    """What is wrong by itself is told without starting or reaching a server."""
    for arguments in (["plan", "--gap", "-1"], ["plan", "--as-of", "2026-11-09"]):
        result = CliRunner(env={"SENDPLAN_DATABASE_URL": "postgresql://localhost:1/none"}).invoke(
            main, arguments
        )
        assert result.exit_code == 2


# ---------------------------------------------------------------- bad data: 3


def test_a_bad_campaign_exits_with_3(run: Run, engine: Engine, tmp_path: Path) -> None:
    bad = Path(CAMPAIGN).read_text().replace('timezone = "Europe/Berlin"', 'timezone = "Berlin"', 1)
    (tmp_path / "webinar.txt").write_text((DATA / "webinar.txt").read_text())
    (tmp_path / "bad.toml").write_text(bad)
    result = run("load", str(tmp_path / "bad.toml"), code=3)
    assert "Berlin" in result.stderr
    assert (result.stdout, run("load", str(tmp_path / "bad.toml"), "--json", code=3).stdout) == (
        "",
        "",
    )
    with engine.connect() as connection:
        assert not any(dump(connection).values())


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_bad_data(run: Run, tmp_path: Path, name: str) -> None:
    assert name in run("load", str(tmp_path / name), code=3).stderr or name == "."


def test_bad_contacts_exit_with_3_and_change_nothing(
    run: Run, engine: Engine, tmp_path: Path
) -> None:
    run("load", CAMPAIGN)
    before = whole(engine)
    (tmp_path / "bad.csv").write_text("email,first_name\nada@example.com,Ada\nnobody,Bob\n")
    result = run("enroll", "--sequence", SEQUENCE, str(tmp_path / "bad.csv"), code=3)
    assert "nobody" in result.stderr
    assert "3" in result.stderr  # the line
    assert whole(engine) == before


def test_an_unknown_sequence_is_bad_data(run: Run) -> None:
    run("load", CAMPAIGN)
    result = run("enroll", "--sequence", "Autum webinar", CONTACTS, code=3)
    assert SEQUENCE in result.stderr


# ---------------------------------------------------------------- failed: 1


def test_a_broken_rule_makes_check_fail(enrolled: Run, engine: Engine) -> None:
    enrolled("plan", "--as-of", AS_OF)
    run_sql(engine, "UPDATE mailboxes SET daily_capacity = 0")
    result = enrolled("check", "--json", code=1)
    printed = json.loads(result.stdout)
    assert set(printed["violations"]) == {"capacity"}
    assert printed["count"] == 18


# ---------------------------------------------------------------- the database: 4


@pytest.mark.parametrize("command", [["init"], ["plan"], ["check"], ["status"], ["demo"]])
def test_a_server_out_of_reach_exits_with_4(command: list[str]) -> None:
    url = "postgresql://someone:secret@localhost:1/none"
    result = CliRunner().invoke(main, [*command, "--database-url", url])
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "localhost" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("command", [["plan"], ["check"], ["status"], ["load", CAMPAIGN]])
def test_a_database_without_the_schema_exits_with_4(
    empty_database_url: str, command: list[str]
) -> None:
    result = CliRunner().invoke(main, [*command, "--database-url", empty_database_url])
    assert result.exit_code == 4
    assert "sendplan init" in result.stderr


def test_init_creates_the_schema_and_is_safe_to_run_again(empty_database_url: str) -> None:
    for _ in range(2):
        result = CliRunner().invoke(main, ["init", "--database-url", empty_database_url])
        assert (result.exit_code, result.stderr) == (0, "")
        assert SCHEMA_VERSION in result.stdout
    assert CliRunner().invoke(main, ["plan", "--database-url", empty_database_url]).exit_code == 0


# ---------------------------------------------------------------- another planner: 0


def test_a_second_planner_exits_with_0_and_says_so(enrolled: Run, engine: Engine) -> None:
    before = whole(engine)
    with planner_lock(engine):
        result = enrolled("plan", "--as-of", AS_OF)
    assert "nother planner" in result.stderr
    assert whole(engine) == before


# ---------------------------------------------------------------- naming the database


def test_the_database_is_named_before_or_after_the_command_or_around_it(
    engine: Engine, module_database_url: str
) -> None:
    nowhere = "postgresql://localhost:1/none"
    url = ["--database-url", module_database_url]
    for arguments, environment in (
        ([*url, "status"], {}),
        (["status", *url], {}),
        (["status"], {"SENDPLAN_DATABASE_URL": module_database_url}),
        # What is said last, and what is said rather than found, counts.
        (["--database-url", nowhere, "status", *url], {}),
        (["status", *url], {"SENDPLAN_DATABASE_URL": nowhere}),
        ([*url, "status"], {"SENDPLAN_DATABASE_URL": nowhere}),
    ):
        result = CliRunner(env=environment).invoke(main, arguments)
        assert result.exit_code == 0, (arguments, environment, result.stderr)


@pytest.mark.slow
def test_a_folder_named_by_the_environment_holds_the_embedded_database(open_folder: Path) -> None:
    """Two commands in processes of their own: what the first one stores the second one finds."""
    environment = {"SENDPLAN_DATA_DIR": str(open_folder / "of-the-environment")}
    planned = process(
        "demo", "--contacts", "200", "--mailboxes", "4", "--json", "--as-of", AS_OF,
        environment=environment,
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    status = process("status", "--json", environment=environment)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["last_run"]["id"] == json.loads(planned.stdout)["run_id"]


# ---------------------------------------------------------------- demonstration


DEMO = ("demo", "--contacts", "200", "--mailboxes", "4", "--as-of", AS_OF)


def test_the_demonstration_plans_and_plans_again(run: Run, engine: Engine) -> None:
    first = json.loads(run(*DEMO, "--json").stdout)
    assert first["emails"] > 200
    assert first["rows_changed"] >= first["emails"]
    with engine.connect() as connection:
        count = "SELECT count(*) FROM {}"
        assert connection.scalar(text(count.format("mailboxes"))) == 4
        assert connection.scalar(text(count.format("contacts"))) == 200
    assert json.loads(run("check", "--json").stdout)["count"] == 0
    again = run(*DEMO, "--json")
    assert "already" in again.stderr
    assert json.loads(again.stdout)["rows_changed"] == 0


def test_the_demonstration_ends_in_a_summary(run: Run) -> None:
    shown = run(*DEMO).stdout
    for words in (
        "Last email",
        "Late",
        "Mailboxes, the busiest first",
        "Stored as run",
    ):
        assert words in shown
    assert "NaT" not in shown
    assert "nan" not in shown


def test_the_demonstration_keeps_away_from_campaigns_of_ones_own(
    enrolled: Run, engine: Engine
) -> None:
    # A domain that is not the demonstration's.
    run_sql(engine, "UPDATE mailboxes SET email = replace(email, '.example', '.com')")
    before = whole(engine)
    result = enrolled(*DEMO, code=3)
    assert "campaigns of your own" in result.stderr
    assert whole(engine) == before


# ---------------------------------------------------------------- processes


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [(sys.executable, "-m", "sendplan"), (str(Path(sys.executable).parent / "sendplan"),)],
    ids=["python -m sendplan", "sendplan"],
)
def test_the_command_runs_as_a_program(
    engine: Engine, module_database_url: str, program: tuple[str, ...]
) -> None:
    environment = {"SENDPLAN_DATABASE_URL": module_database_url}
    result = process("plan", "--json", "--as-of", AS_OF, environment=environment, program=program)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "empty"
    assert "Traceback" not in result.stderr


def test_every_command_explains_itself() -> None:
    assert set(main.commands) >= {"init", "load", "enroll", "plan", "check", "status", "demo"}
    for name in main.commands:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert "--database-url" in result.stdout
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0


def test_the_list_of_commands_has_sections() -> None:
    told = CliRunner().invoke(main, ["-h"]).stdout.partition("\nStart:")[2].split("\n\n")
    listed = [[line.split()[0] for line in part.split("\n") if line[:2] == "  "] for part in told]
    assert [part.strip().split(":")[0] for part in told[1:]] == [
        "Every night", "Change", "Ask", "Look after",
    ]  # fmt: skip
    assert listed == [
        ["init", "load", "enroll", "demo"],
        ["plan", "dispatch", "recalc"],
        ["mailbox", "step", "sequence", "contact"],
        ["status", "explain", "report", "what-if", "capacity", "bottlenecks"],
        ["check", "health", "uncertain"],
    ]


def test_defaults_told_in_the_help_are_those_of_the_code() -> None:
    """Those that are left to modules which the help must not wait for."""
    limits = Limits()
    for command, option, default in (
        ("plan", "part_size", f"{PART_SIZE:,}"),
        ("recalc", "batch_size", f"{DEFAULT_PACE.batch_size:,}"),
        ("recalc", "pause", f"{DEFAULT_PACE.pause}"),
        ("health", "max_late", f"{limits.late.total_seconds():g}"),
        ("health", "max_plan_age", f"{limits.plan_age.total_seconds() / 3600:g}"),
    ):
        (found,) = (each for each in main.commands[command].params if each.name == option)
        assert isinstance(found, click.Option)
        assert (found.help or "").endswith(f"by default {default}.")


@pytest.mark.parametrize(
    "module",
    ["sendplan", "sendplan.cli", "sendplan.io.database.tables", "sendplan.io.database.engine"],
)
def test_starting_loads_neither_pandas_nor_a_solver(module: str) -> None:
    program = f"import sys, {module}; print(*{{'pandas', 'numpy', 'ortools'}} & set(sys.modules))"
    result = process(program=(sys.executable, "-c", program))
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.slow
def test_no_secret_of_the_url_is_printed(engine: Engine, module_database_url: str) -> None:
    """The server asks nobody here for a password, so that any will do."""
    url = make_url(module_database_url).set(password="hunter2")
    run_sql(engine, "ALTER TABLE plan_runs RENAME TO elsewhere")
    try:
        result = process(
            "plan", "--database-url", url.render_as_string(hide_password=False), "--as-of", AS_OF
        )
    finally:
        run_sql(engine, "ALTER TABLE elsewhere RENAME TO plan_runs")
    assert result.returncode == 4
    assert "plan_runs" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
