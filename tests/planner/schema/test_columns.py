"""The declarations of columns hold together, and load nothing heavy."""

import subprocess
import sys

import pytest

from sendplan.planner.schema.column import Column
from sendplan.planner.schema.columns import COLUMNS, settable

DECLARED = [
    pytest.param(column, id=f"{table}.{name}")
    for table, columns in COLUMNS.items()
    for name, column in columns.items()
]


@pytest.mark.parametrize("column", DECLARED)
def test_a_declaration_agrees_with_itself(column: Column) -> None:
    assert column.about.endswith(".")
    assert "\n" not in column.about
    assert not (column.form or column.choices) or column.kind == "text"
    assert not column.unit or column.kind in ("integer", "number", "time")
    # A value that is mandatory is null only where a frame need not know it.
    assert column.nullable or not column.mandatory
    assert column.default is None or not column.nullable
    if column.file is not None or column.setting is not None:
        assert column.stored
    if column.setting is not None and column.setting.none:
        assert column.nullable


def test_what_commands_set() -> None:
    assert set(settable("steps")) == {"wait_days", "subject", "content"}
    assert not set(settable("scheduled_emails"))


def test_declarations_load_neither_numpy_nor_pandas() -> None:
    script = (
        "import sys, sendplan.planner.schema.columns;"
        " print(*{'numpy', 'pandas'} & set(sys.modules))"
    )
    call = [sys.executable, "-c", script]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout.split() == []
