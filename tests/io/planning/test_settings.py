"""Settings files: what is read, what is refused and in which words, and what goes before them."""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.io.errors import DataError
from sendplan.io.planning import settings
from sendplan.io.planning.settings import read_settings
from sendplan.planner.problem.parameters import Parameters

Write = Callable[[str], Path]

NAMES = [field.name for field in fields(Parameters)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(dedent(content), encoding="utf-8")
        return path

    return written


def faults_of(path: Path) -> list[tuple[str, str, str]]:
    with pytest.raises(DataError) as caught:
        read_settings(path)
    return [(fault.where, fault.rule, fault.remedy) for fault in caught.value.faults]


# ---------------------------------------------------------------- what is read


def test_a_whole_file(write: Write) -> None:
    path = write("""
        [plan]
        method = "cpsat"
        time_limit = 12.5
        horizon_days = 90
        slip_weight = 7
        one_a_day = false
        seed = 3
        gap = 0.25
        workers = 4
        change_weight = 0.5
    """)
    expected = Parameters("cpsat", 12.5, 90, 7, False, 3, 0.25, 4, 0.5)
    assert read_settings(path) == asdict(expected)
    assert Parameters(**read_settings(path)) == expected


@pytest.mark.parametrize("content", ["", "# nothing\n", "[plan]\n"])
def test_a_file_that_states_nothing(write: Write, content: str) -> None:
    assert read_settings(write(content)) == {}


def test_only_what_the_file_states(write: Write) -> None:
    # 0 and false are stated, too.
    path = write("[plan]\ntime_limit = 0\none_a_day = false\nhorizon_days = 0\n")
    assert read_settings(path) == {"time_limit": 0, "one_a_day": False, "horizon_days": 0}


def test_the_example_of_the_module(write: Write) -> None:
    _, example = inspect.cleandoc(settings.__doc__ or "").split("::\n", 1)
    read = read_settings(write(example))
    # It says that it is whole, and states the defaults but for the horizon.
    assert sorted(read) == sorted(NAMES)
    assert read == asdict(Parameters()) | {"horizon_days": 90}


# ---------------------------------------------------------------- what is refused


def test_an_unknown_key_with_the_likely_one(write: Write) -> None:
    [(where, what, remedy)] = faults_of(write('[plan]\nmethod = "auto"\ntime_limt = 3\n'))
    assert where == "line 3, plan.time_limt"
    assert "unknown key" in what
    assert "time_limit" in remedy


def test_an_unknown_key_like_no_other(write: Write) -> None:
    [(where, _, remedy)] = faults_of(write("[plan]\nxyzzy = 3\n"))
    assert where == "line 2, plan.xyzzy"
    for name in NAMES:
        assert name in remedy


def test_an_unknown_table(write: Write) -> None:
    [(where, what, remedy)] = faults_of(write("[plans]\nseed = 3\n"))
    assert where == "line 1, plans"
    assert "unknown key" in what
    assert "plan" in remedy


def test_a_key_outside_of_the_table(write: Write) -> None:
    [(where, _, _)] = faults_of(write("seed = 3\n"))
    assert where == "line 1, seed"


def test_plan_is_no_table(write: Write) -> None:
    [(where, what, remedy)] = faults_of(write("plan = 3\n"))
    assert where == "line 1, plan"
    assert "3" in what
    assert "[plan]" in remedy


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("method = 3", "a word"),
        ('time_limit = "30"', "a number"),
        ("time_limit = true", "a number"),
        ("gap = [0.1]", "a number"),
        ("horizon_days = 1.5", "a whole number"),
        ("seed = true", "a whole number"),
        ("workers = 2.0", "a whole number"),
        ("slip_weight = 2026-01-01", "a number"),
        ("one_a_day = 1", "true or false"),
        # Out of range.
        ('method = "cpsatt"', "greedy"),
        ("time_limit = -1", "0 or more"),
        ("time_limit = inf", "0 or more"),
        ("time_limit = nan", "0 or more"),
        ("slip_weight = -0.5", "0 or more"),
        ("gap = 1", "below 1"),
        ("gap = -0.1", "0 or more"),
        ("horizon_days = -1", "between 0 and 366"),
        ("horizon_days = 367", "between 0 and 366"),
        ("seed = -1", "between 0 and"),
        ("workers = 0", "between 1 and"),
    ],
)
def test_a_value_that_cannot_be_used(write: Write, line: str, wanted: str) -> None:
    [(where, what, _)] = faults_of(write(f"[plan]\n{line}\n"))
    assert where == f"line 2, plan.{line.split(' ')[0]}"
    assert wanted in what


def test_all_problems_at_once(write: Write) -> None:
    path = write("""\
        other = 1
        [plan]
        method = "best"
        gap = 2
        seed = 1
        wrkers = 3
    """)
    found = faults_of(path)
    assert sorted(where for where, _, _ in found) == [
        "line 1, other",
        "line 3, plan.method",
        "line 4, plan.gap",
        "line 6, plan.wrkers",
    ]


def test_no_toml(write: Write) -> None:
    [(where, what, _)] = faults_of(write("[plan\n"))
    assert where.startswith("line 1")
    assert "syntax error" in what


def test_toml_that_is_nested_too_deeply(write: Write) -> None:
    [(_, what, _)] = faults_of(write("a = " + "[" * 10_000 + "]" * 10_000))
    assert "nested too deeply" in what


# ---------------------------------------------------------------- the command


@pytest.fixture
def plan(module_database_url: str) -> Callable[..., Result]:
    """Run ``plan --config`` on an empty database."""

    def invoke(*arguments: str, code: int = 0) -> Result:
        runner = CliRunner(env={"SENDPLAN_DATABASE_URL": module_database_url})
        result = runner.invoke(main, ["plan", "--as-of", "2026-03-02T06:00+00:00", *arguments])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def last_parameters(url: str) -> tuple[int, dict[str, Any]]:
    """Give the number of runs, and the parameters of the last one."""
    engine = connect(url)
    with engine.connect() as connection:
        query = "SELECT parameters FROM plan_runs ORDER BY id"
        runs = list(connection.execute(text(query)).scalars())
    engine.dispose()
    return len(runs), runs[-1] if runs else {}


def test_options_go_before_the_file(
    plan: Callable[..., Result], write: Write, module_database_url: str
) -> None:
    path = write('[plan]\nmethod = "cpsat"\ntime_limit = 5\nslip_weight = 3\ngap = 0.5\n')
    plan("--config", str(path), "--method", "greedy", "--gap", "0", "--seed", "7")
    _, used = last_parameters(module_database_url)
    # gap 0 is an option that was given; time_limit and slip_weight are the file's.
    expected = Parameters("greedy", 5, slip_weight=3, seed=7, gap=0)
    assert used == asdict(expected)


def test_the_file_goes_before_the_defaults(
    plan: Callable[..., Result], write: Write, module_database_url: str
) -> None:
    plan("--config", str(write("[plan]\nworkers = 1\none_a_day = false\n")))
    assert last_parameters(module_database_url)[1] == asdict(Parameters(workers=1, one_a_day=False))


def test_a_bad_file_is_bad_data(
    plan: Callable[..., Result], write: Write, module_database_url: str
) -> None:
    before = last_parameters(module_database_url)
    path = write('[plan]\ngap = 2\nmethod = "best"\n')
    # Not even an option in its place excuses the file.
    result = plan("--config", str(path), "--method", "greedy", "--json", code=3)
    assert result.stdout == ""
    for part in (str(path), "line 2, plan.gap", "line 3, plan.method"):
        assert part in result.stderr
    assert last_parameters(module_database_url) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gap", "1"),
        ("--gap", "little"),
        ("--method", "best"),
        ("--time-limit", "-1"),
        ("--workers", "0"),
        ("--horizon-days", "367"),
        ("--on-interrupt", "maybe"),
        ("--config", "/nonexistent/settings.toml"),
    ],
)
def test_a_bad_option_is_bad_usage(
    plan: Callable[..., Result], module_database_url: str, arguments: tuple[str, str]
) -> None:
    before = last_parameters(module_database_url)
    result = plan(*arguments, "--json", code=2)
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert last_parameters(module_database_url) == before


def test_a_bad_option_beside_a_good_file(plan: Callable[..., Result], write: Write) -> None:
    plan("--config", str(write("[plan]\ngap = 0.5\n")), "--gap", "7", code=2)


def test_the_help_names_every_option(plan: Callable[..., Result]) -> None:
    shown = plan("--help").stdout
    for option in ("--config", "--gap", "--workers", "--seed", "--on-interrupt", "--method"):
        assert option in shown


def test_a_file_plans_as_options_do(plan: Callable[..., Result], write: Write) -> None:
    path = write('[plan]\nmethod = "cpsat"\nhorizon_days = 30\n')
    by_file = json.loads(plan("--config", str(path), "--dry-run", "--json").stdout)
    arguments = ("--method", "cpsat", "--horizon-days", "30", "--dry-run", "--json")
    by_options = json.loads(plan(*arguments).stdout)
    del by_file["seconds"], by_options["seconds"]
    assert by_file == by_options
    # 2 March + 30 days.
    assert by_file["horizon_end"] == "2026-04-01"
