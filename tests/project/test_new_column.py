"""A column is declared once: one more declaration arrives wherever columns are read."""

import json
import subprocess
import sys
from typing import Any

import pytest

DECLARED = """
import json, sys
from dataclasses import dataclass
from typing import Any

from sendplan.planner.schema.column import Column, FileKey, Settable
from sendplan.planner.schema.columns import COLUMNS

COLUMNS["sequences"]["max_per_domain"] = Column(
    "integer", "Emails a day to one domain at most.", default=50, least=1, plausible=1_000,
    file=FileKey("20"), setting=Settable("N"),
)
"""
"""What somebody who adds a column writes; all else is imported after it."""

USED = """
import pandas as pd
from click.testing import CliRunner
from sqlalchemy import text

from sendplan.cli import main
from sendplan.io.campaigns.campaign_file import parse
from sendplan.io.campaigns.loading import load
from sendplan.io.changes import apply, from_options
from sendplan.io.database.engine import connect
from sendplan.io.database.tables import metadata
from sendplan.io.errors import DataError
from sendplan.io.snapshot.setting_rows import read_settings, same_settings, settings_frame
from sendplan.planner.changes import UNCHANGED, SetSequence
from sendplan.planner.schema.contracts import validate
from sendplan.planner.schema.errors import ProblemError

CAMPAIGN = '''
[[mailboxes]]
email = "ann@mail.example"
daily_capacity = 60
[[sequences]]
name = "Autumn"
start_time = "09:00"
end_time = "17:00"
mailboxes = ["ann@mail.example"]
max_per_domain = NUMBER
steps = [{ subject = "Hi", content = "Hello" }]
'''
URL, found = sys.argv[1], {}


@dataclass(frozen=True, repr=False)
class SetMore(SetSequence):
    max_per_domain: Any = UNCHANGED


from_options.SetSequence = SetMore
apply._APPLY[SetMore] = apply._APPLY[SetSequence]


def refused(call, *arguments):
    try:
        call(*arguments)
    except (DataError, ProblemError) as error:
        return str(error)


# Frames.
row = pd.DataFrame({"id": [1], "start_time": ["09:00"], "end_time": ["17:00"]})
found["frame default"] = int(validate("sequences", row)["max_per_domain"][0])
found["frame refuses"] = refused(validate, "sequences", row.assign(max_per_domain=0))

# Tables.
table = metadata.tables["sequences"]
column = table.c.max_per_domain
found["table"] = [str(column.type), column.nullable, str(column.server_default.arg)]
found["checks"] = sorted(str(constraint.name) for constraint in table.constraints)

# Campaign files, commands with the changes that they make, and snapshots.
found["file refuses"] = refused(parse, CAMPAIGN.replace("NUMBER", "0"))
engine = connect(URL)
with engine.begin() as connection:
    connection.execute(text("ALTER TABLE sequences ADD max_per_domain integer NOT NULL DEFAULT 50"))
    load(connection, parse(CAMPAIGN.replace("NUMBER", "20")))
    found["load refuses"] = refused(load, connection, parse(CAMPAIGN.replace("NUMBER", "30")))
with engine.connect() as connection:
    before = read_settings(connection)
command = ["--database-url", URL, "sequence", "set", "Autumn", "--max-per-domain"]
found["help"] = CliRunner().invoke(main, ["sequence", "set", "--help"], terminal_width=200).output
found["option refuses"] = CliRunner().invoke(main, [*command, "0"]).output
found["change refuses"] = CliRunner().invoke(main, [*command, "1001"]).output
found["told"] = CliRunner().invoke(main, [*command, "7"]).output
with engine.connect() as connection:
    after = read_settings(connection)
frames = [settings_frame("sequences", read["sequences"]) for read in (before, after)]
found["snapshots"] = [frame["max_per_domain"].tolist() for frame in frames]
found["same settings"] = same_settings(before, after, None)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(module_database_url: str) -> dict[str, Any]:
    """What a process finds that declares one more column of sequences before all else."""
    call = [sys.executable, "-c", DECLARED + USED, module_database_url]
    result = subprocess.run(call, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def test_frames_take_it(found: dict[str, Any]) -> None:
    assert found["frame default"] == 50
    assert "sequences.max_per_domain: must be at least 1" in found["frame refuses"]


def test_the_table_has_it(found: dict[str, Any]) -> None:
    assert found["table"] == ["INTEGER", False, "50"]
    assert "sequences_max_per_domain_from_one" in found["checks"]


def test_campaign_files_give_it(found: dict[str, Any]) -> None:
    assert "line 10, sequences[1].max_per_domain" in found["file refuses"]
    assert "write a whole number from 1 to 1,000" in found["file refuses"]
    assert "max_per_domain is 30 here, 20 in the database" in found["load refuses"]


def test_commands_set_it(found: dict[str, Any]) -> None:
    assert "--max-per-domain N" in found["help"]
    assert "Emails a day to one domain at most." in found["help"]
    assert "must be at least 1" in found["option refuses"]
    assert "max_per_domain: 1,001 is out of range – at most 1,000" in found["change refuses"]
    assert "Sequence 'Autumn' (1): max_per_domain 7." in found["told"]


def test_snapshots_read_and_compare_it(found: dict[str, Any]) -> None:
    assert found["snapshots"] == [[20], [7]]
    assert found["same settings"] is False
