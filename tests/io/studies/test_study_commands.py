"""Studies on the live database: what they print, what they refuse, and that they write nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from sendplan.cli import main
from sendplan.io.database.engine import connect
from sendplan.tests.worlds.databases.frames import clear_tables, dump

AS_OF = "2026-03-02T06:00:00+00:00"
"""A Monday, before the window opens."""

Run = Callable[..., Result]

WORLD = """
    INSERT INTO sequences (id, name, start_time, end_time, send_days) VALUES
        (1, 'Dentists', '09:00', '17:00', '{1,2,3,4,5,6,7}'),
        (2, 'Vets = animals', '09:00', '17:00', '{1,2,3,4,5,6,7}');
    INSERT INTO steps (id, sequence_id, position, wait_days, subject, content) VALUES
        (11, 1, 1, 0, 'a', 'a'), (12, 1, 2, 1, 'b', 'b'), (21, 2, 1, 0, 'c', 'c');
    INSERT INTO mailboxes (id, user_id, email, daily_capacity) VALUES
        (5, 1, 'ann@example.com', 2), (6, 1, 'ben@example.com', 2);
    INSERT INTO sequence_mailboxes (sequence_id, mailbox_id) VALUES (1, 5), (2, 6);
    INSERT INTO contacts (id, email)
        SELECT n, 'c' || n || '@example.com' FROM generate_series(1, 12) AS n;
    INSERT INTO enrollments (contact_id, sequence_id, enrolled_at)
        SELECT n, CASE WHEN n > 8 THEN 2 ELSE 1 END, '2026-03-01T10:00Z'
        FROM generate_series(1, 12) AS n;
"""


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    """Eight dentists, four vets, and a mailbox of two emails a day for each."""
    engine = connect(module_database_url)
    with engine.begin() as connection:
        clear_tables(connection)
        connection.execute(text(WORLD))
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine: Engine, module_database_url: str) -> Run:
    """Run a study, and see that it has written nothing."""

    def invoke(*arguments: str, code: int = 0) -> Result:
        with engine.connect() as connection:
            before = dump(connection)
        environment = {"SENDPLAN_DATABASE_URL": module_database_url}
        result = CliRunner(env=environment).invoke(main, [*arguments, "--as-of", AS_OF])
        assert result.exit_code == code, result.stderr
        assert result.exception is None or isinstance(result.exception, SystemExit)
        with engine.connect() as connection:
            assert dump(connection) == before
        return result

    return invoke


def study(run: Run, *arguments: str) -> dict[str, Any]:
    """Give what the one scenario that the options make comes to."""
    found = json.loads(run("what-if", "--workers", "1", "--json", *arguments).stdout)
    assert found["scenarios"][0]["scenario"] == "as it is"
    last: dict[str, Any] = found["scenarios"][-1]
    return last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "changes", "finish_day"),
    [
        # 16 emails to dentists, 2 a day, from the 2nd on: the 9th. Vets end on the 3rd.
        (["--scale-capacity", "1"], ["ScaleCapacities(factor=1.0)"], "2026-03-09"),
        (["--scale-capacity", "0.5"], ["ScaleCapacities(factor=0.5)"], "2026-03-17"),
        (
            ["--add-mailboxes", "1"],
            ["AddMailboxes(count=1)"],
            "2026-03-05",
        ),
        (
            ["--add-mailboxes", "1", "--capacity", "30", "--sequence", "Vets = animals"],
            ["AddMailboxes(count=1, daily_capacity=30, sequence_ids=(2,))"],
            "2026-03-09",
        ),
        # The 8 first emails alone, 2 a day.
        (["--drop-step", "Dentists:2"], ["RemoveStep(step_id=12)"], "2026-03-05"),
        (["--drop-step", "12"], ["RemoveStep(step_id=12)"], "2026-03-05"),
        (
            ["--days-off", "2026-03-02..2026-03-03"],
            ["DaysOff(days=('2026-03-02', '2026-03-03'))"],
            "2026-03-11",
        ),
        (
            ["--days-off", "Vets = animals=2026-03-02"],
            ["DaysOff(days=('2026-03-02',), sequence_ids=(2,))"],
            "2026-03-09",
        ),
        (
            ["--arrivals", "Vets = animals=2×3@2026-03-10"],
            ["Arrivals(sequence_id=2, per_day=2, first_day='2026-03-10', days=3)"],
            "2026-03-12",
        ),
        (
            ["--arrivals", "Vets = animals=1x9"],
            ["Arrivals(sequence_id=2, per_day=1, first_day='2026-03-03', days=9)"],
            "2026-03-11",
        ),
        (
            ["--window", "Dentists=8:00-12:00", "--priority", "Dentists=2.5"],
            [
                "SetSequence(sequence_id=1, start_time='08:00', end_time='12:00')",
                "SetSequence(sequence_id=1, priority=2.5)",
            ],
            "2026-03-09",
        ),
        (
            ["--window", "08:00–12:00"],
            [
                "SetSequence(sequence_id=1, start_time='08:00', end_time='12:00')",
                "SetSequence(sequence_id=2, start_time='08:00', end_time='12:00')",
            ],
            "2026-03-09",
        ),
        (["--remove-mailbox", "ben@example.com"], ["RemoveMailbox(mailbox_id=6)"], "2026-03-09"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_options_become_changes(
    run: Run, arguments: list[str], changes: list[str], finish_day: str
) -> None:
    found = study(run, *arguments)
    assert (found["scenario"], found["changes"]) == ("changed", changes)
    assert found["finish_day"] == finish_day


def test_another_wait(run: Run) -> None:
    # The last two start on the 8th at the latest, and have three days to go.
    found = study(run, "--wait", "Dentists:2=3")
    assert found["changes"] == ["SetStep(step_id=12, wait_days=3)"]
    assert found["finish_day"] > "2026-03-09"


def test_before_and_after_stand_side_by_side(run: Run) -> None:
    printed = run("what-if", "--add-mailboxes", "1", "--workers", "1").stdout
    assert printed.splitlines()[0] == "A study; nothing has been changed."
    last_day = next(line for line in printed.splitlines() if line.startswith("Last day"))
    assert last_day.split()[2:] == ["9", "Mar", "2026", "5", "Mar", "2026"]


def test_a_file_names_several_scenarios(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(
        '[scenarios."one more"]\nadd_mailboxes = 1\nsequence = "Dentists"\ncapacity = 2\n'
        "[scenarios.longer]\ndays_off = ['2026-03-02', '2026-03-03']\n"
        "[scenarios.half]\nscale_capacity = 0.5\n"
    )
    arguments = ("what-if", "--scenarios", str(file), "--scale-capacity", "2", "--workers", "2")
    found = json.loads(run(*arguments, "--json").stdout)
    names = [each["scenario"] for each in found["scenarios"]]
    assert names == ["as it is", "changed", "one more", "longer", "half"]
    days = [each["finish_day"][-2:] for each in found["scenarios"]]
    assert days == ["09", "05", "05", "11", "17"]
    printed = run(*arguments).stdout
    assert [line.split("  ")[0] for line in printed.splitlines() if " Mar 2026" in line] == names


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file holds no scenario"),
        ("scenarios = 3", "a table is needed"),
        ("[scenarios.a]\nadd_mailbox = 3", "unknown key 'add_mailbox'"),
        ("[scenarios.a]\nadd_mailboxes = -3", "-3 is out of range"),
        ("[scenarios.a]\nwait = 3", "a list of texts is needed, not the number"),
        ("[scenarios.a]\nscale_capacity = 'x'", "a number is needed"),
        ("[scenarios.a", "syntax error"),
    ],
)
def test_files_that_cannot_be_read(run: Run, tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "some.toml"
    file.write_text(content)
    result = run("what-if", "--scenarios", str(file), code=3)
    assert told in result.stderr
    assert "some.toml" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "No scenario given"),
        (["--wait", "12"], 3, "wait: '12' cannot be read – write it as STEP=DAYS"),
        (["--wait", "Dentists:3=1"], 3, "has no step at position '3'"),
        (["--drop-step", "99"], 3, "there is no step '99'"),
        (["--window", "8-12"], 3, "window: '8-12' cannot be read"),
        (["--window", "17:00-09:00"], 3, "end_time: must be after start_time"),
        (["--days-off", "2026-03-09..2026-03-02"], 3, "ends before it begins"),
        (["--days-off", "tomorrow"], 3, "days_off: 'tomorrow' cannot be read"),
        (["--arrivals", "Dentists=5"], 3, "arrivals: 'Dentists=5' cannot be read"),
        (["--priority", "Dentists=high"], 3, "priority: 'Dentists=high' cannot be read"),
        (["--priority", "Dentists=0"], 3, "priority: must be finite and above 0"),
        (["--remove-mailbox", "an@example.com"], 3, "did you mean 'ann@example.com'?"),
        (["--capacity", "60"], 3, "capacity: only for new mailboxes, and none is added"),
        (["--add-mailboxes", "1", "--method", "best"], 2, "method 'best' is unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_cannot_be_studied(run: Run, arguments: list[str], code: int, told: str) -> None:
    assert told in run("what-if", *arguments, code=code).stderr


def test_the_capacity_that_a_day_needs(run: Run) -> None:
    arguments = ("capacity", "--finish-by", "2026-03-05", "--workers", "1")
    found = json.loads(run(*arguments, "--json").stdout)
    # 16 emails in 4 days are 4 a day, and a mailbox of 2 more than the dentists have.
    assert (found["needed"], found["at_least"], found["proven"]) == (1, 1, True)
    assert found["pools"] == [
        {"sequences": [1], "mailboxes": 1, "at_least": 1},
        {"sequences": [2], "mailboxes": 0, "at_least": 0},
    ]
    assert found["plan"]["finish_day"] == "2026-03-05"
    assert found["changes"] == ["AddMailboxes(count=1, daily_capacity=2, sequence_ids=(1,))"]
    printed = run(*arguments).stdout
    assert "1 more mailbox of 2 emails a day is enough to finish by 05 Mar 2026" in printed
    assert "less is proven not to be enough" in printed
    assert "Dentists" in printed


def test_the_share_of_capacity_that_a_day_needs(run: Run) -> None:
    arguments = ("capacity", "--finish-by", "2026-03-05", "--of", "capacity", "--workers", "1")
    found = json.loads(run(*arguments, "--json").stdout)
    # 4 a day instead of 2; 175 % would be 3.5, which is rounded to 4.
    assert (found["of"], found["needed"], found["at_least"]) == ("capacity", 175, 175)


def test_waits_that_take_longer_are_named(run: Run) -> None:
    found = json.loads(run("capacity", "--finish-by", "2026-03-02", "--json").stdout)
    assert (found["needed"], found["at_least"]) == (None, None)
    assert found["obstacle"]["kind"] == "waits"
    assert "of Dentists has 2 emails to get, and ends on 2026-03-03" in found["verdict"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--finish-by", "2026-03-01"], "finish_by is 2026-03-01; it must lie between 2026-03-02"),
        (["--finish-by", "soon"], "'soon' is no date"),
        (["--finish-by", "2026-03-05", "--of", "capacity", "--capacity", "3"], "--of mailboxes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_what_capacity_cannot_be_asked(run: Run, arguments: list[str], told: str) -> None:
    assert told in run("capacity", *arguments, code=2).stderr
