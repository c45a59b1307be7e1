"""What ships: the list of packages, the wheel, the lock, and the command."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sendplan.tests.project.repository import PROJECT, ROOT

CODE = ("planner", "io")
AT_THE_ROOT = {"__init__.py", "__main__.py", "cli.py"}


def test_the_list_of_packages_is_the_list_of_folders() -> None:
    """One left out works when editable, and is silently absent from the wheel."""
    folders = {
        ".".join(["sendplan", *init.parent.relative_to(ROOT).parts])
        for part in CODE
        for init in (ROOT / part).rglob("__init__.py")
    }
    assert {"sendplan", *folders} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_folder_of_code_is_a_package_or_holds_migrations() -> None:
    for part in CODE:
        for path in (ROOT / part).rglob("*.py"):
            assert "migrations" in path.parts or (path.parent / "__init__.py").exists(), path


def test_no_other_module_lies_at_the_root_where_it_would_ship() -> None:
    assert {path.name for path in ROOT.glob("*.py")} <= AT_THE_ROOT
    assert not (ROOT / "tests" / "__init__.py").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, source / part, ignore=ignored)
    for name in (*AT_THE_ROOT, "py.typed", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_code_the_migrations_and_the_page(wheel: Path) -> None:
    kept = {
        f"sendplan/{path.relative_to(ROOT)}"
        for part in CODE
        for pattern in ("*.py", "*.mako", "page.*")
        for path in (ROOT / part).rglob(pattern)
        if path.suffix != ".pyc"
    }
    kept |= {f"sendplan/{name}" for name in (*AT_THE_ROOT, "py.typed")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == kept


def test_the_wheel_can_migrate(wheel: Path, empty_database_url: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import sendplan.io.database.engine as database\n"
        "assert database.__file__.startswith(sys.argv[1])\n"
        "database.migrate(database.connect(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-P", "-c", script, str(tmp_path), empty_database_url]
    # Unmeasured, as the report would list each module a second time.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    subprocess.run(arguments, check=True, cwd=tmp_path, env=environment)


def test_the_command_and_the_module_are_the_same() -> None:
    outputs = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in (
            [str(Path(sys.executable).with_name("sendplan"))],
            [sys.executable, "-m", "sendplan"],
        )
    ]
    assert "Usage:" in outputs[0]
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]


def test_the_lock_pins_every_requirement_with_hashes_and_names_no_host() -> None:
    lock = (ROOT / ".requirements.txt").read_text()
    assert not re.search(r"://|--index|--find-links", lock)
    pinned = set(re.findall(r"^([\w.-]+)(?:\[\w+\])?==", lock, flags=re.MULTILINE))
    wanted = PROJECT["project"]["dependencies"] + [
        requirement
        for extra in PROJECT["project"]["optional-dependencies"].values()
        for requirement in extra
    ]
    assert {re.match(r"[\w.-]+", requirement)[0] for requirement in wanted} <= pinned  # type: ignore[index]
    requirements = re.split(r"\n(?=[a-z])", lock.strip())
    assert all("--hash=sha256:" in requirement for requirement in requirements)
