"""Type checkers run at the root, as editors do, where `import io` must not be the folder `io`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "shown"),
    [
        ([], "import io\n\nreveal_type(io.StringIO())\n", "_io.StringIO"),
        # Told by its place alone, since checking the package takes a minute.
        (["--follow-imports=skip"], "import sendplan.io.errors\n", "no issues found"),
    ],
)
def test_mypy_at_the_root_finds_the_standard_library_and_the_package(
    tmp_path: Path, options: list[str], code: str, shown: str
) -> None:
    (tmp_path / "notes.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(tmp_path / "notes.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"MYPY_CACHE_DIR": str(tmp_path / "cache"), "PYTHONSAFEPATH": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert shown in result.stdout
