"""The tests themselves: none leans on another, and their folders are those of the code."""

import ast
from collections import Counter
from pathlib import Path

from sendplan.tests.project.repository import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("test_*.py"))
MOST_MODULES = 12


def imported(path: Path) -> set[str]:
    """Give the names of all modules that one imports, and of what it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_test_module_is_imported() -> None:
    """What tests share lies in tests/worlds, or beside them in a module that is no test."""
    names = {
        ".".join(["sendplan", *path.relative_to(ROOT).with_suffix("").parts]): path
        for path in MODULES
    }
    assert "sendplan.tests.project.test_tests" in names
    code = [
        path
        for part in ("tests", "benchmarks", "notebooks")
        for path in (ROOT / part).rglob("*.py")
    ]
    found = [
        (str(path.relative_to(ROOT)), name) for path in code for name in imported(path) & set(names)
    ]
    assert found == []


def test_no_folder_holds_too_many_test_modules() -> None:
    counts = Counter(str(path.parent.relative_to(TESTS)) for path in MODULES)
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_folders_of_tests_are_those_of_the_code() -> None:
    """Each of tests/planner and tests/io is named as the folder or module that it tests."""
    folders = {path.parent.relative_to(TESTS) for path in MODULES}
    of_code = {folder for folder in folders if folder.parts[:1] in (("planner",), ("io",))}
    assert of_code
    missing = {
        str(folder)
        for folder in of_code
        if not (ROOT / folder).is_dir() and not (ROOT / folder).with_suffix(".py").exists()
    }
    assert missing == set()
