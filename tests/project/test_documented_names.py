"""What the pages, the help and the docstrings name exists, and is told where it has to be."""

import inspect
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

import sendplan
from sendplan.cli import main
from sendplan.io.campaigns.campaign_file import read_campaign
from sendplan.io.changes import stop_lists
from sendplan.io.database.tables import metadata
from sendplan.io.errors import DataError
from sendplan.io.messages.templates import BUILT_INS
from sendplan.io.planning.settings import read_settings
from sendplan.io.studies.scenarios import read_scenarios
from sendplan.io.transport.transport_urls import parse_url
from sendplan.planner.explain.texts import Explanation
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema import vocabulary
from sendplan.planner.schema.contracts import CONTRACTS
from sendplan.planner.simulation.results import Simulation
from sendplan.planner.studies.bottlenecks import Bottlenecks
from sendplan.planner.studies.capacity_need import CapacityNeed
from sendplan.planner.studies.comparison import Comparison
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference
from sendplan.tests.project.readme import (
    LINKED,
    PAGES,
    SECTIONS,
    Section,
    anchors,
    commands,
    parsed,
    without_blocks,
)
from sendplan.tests.project.repository import FLOOR, PROJECT, ROOT

FOREIGN = {
    "make",
    "smtp://",
    "?",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "EnvironmentFile",
    "FOR UPDATE SKIP LOCKED",
    "timestamptz",
    "bigint",
    "UTC",
    "concurrent.futures.Executor",
    ".venv/bin/sendplan",
    "/var/lib/sendplan",
    "~/.local/share/sendplan",
    "/etc/cron.d/sendplan",
}
"""What other programs, standards and machines call so."""

CODE = ("planner", "io", "tests", "benchmarks", "notebooks")
CITATION = re.compile(r"\b[S]PEC\b|\N{SECTION SIGN}")
CONTRACT_TABLES = (
    "sequences",
    "steps",
    "contacts",
    "enrollments",
    "mailboxes",
    "sequence_mailboxes",
    "scheduled_emails",
)
"""Tables that users' own SQL reads and writes; the others are told in a line."""

COLUMNS = [column for table in metadata.tables.values() for column in table.columns]
STATUSES = [
    words
    for words in vars(vocabulary).values()
    if isinstance(words, type) and issubclass(words, StrEnum)
]
WORDS = {
    *(word for words in STATUSES for word in words),
    *metadata.tables,
    *(column.name for column in COLUMNS),
    *map(str, COLUMNS),
    *(field.name for field in fields(Parameters)),
    *inspect.signature(sendplan.solve).parameters,
    *inspect.signature(sendplan.Problem.from_frames).parameters,
    *(field.name for field in fields(sendplan.Plan)),
    *sendplan.planner.problem.parameters.METHODS,
    *sendplan.__all__,
    *stop_lists.COLUMNS,
    *(word for name, columns in CONTRACTS.items() for word in (name, *columns)),
    *BUILT_INS,
    *main.commands,
}
"""Statuses, tables, columns, parameters, methods, functions, commands."""


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def read_in_the_code(variable: str) -> bool:
    """Whether an environment variable stands in the code, the Makefile or a notebook."""
    patterns = ("Makefile", "cli.py", "io/**/*.py", "tests/**/*.py", "notebooks/*.*")
    paths = [path for pattern in patterns for path in ROOT.glob(pattern)]
    word = re.compile(rf"\b{variable}\b")
    return any(word.search(path.read_text()) for path in paths if path.name != Path(__file__).name)


def is_path(span: str, folder: Path) -> bool:
    """A path from the root, or from the folder of the page."""
    return not span.startswith("/") and any((at / span).exists() for at in (ROOT, folder))


def is_target(span: str) -> bool:
    """A target of the Makefile, with options for the program that it runs."""
    words = re.fullmatch(r"(?:make )?([\w-]+)(?: OPTIONS=\S+)?", span)
    return words is not None and words[1] in targets()


def is_module(span: str) -> bool:
    module = re.fullmatch(r"python -m sendplan\.([\w.]+)", span)
    return module is not None and (ROOT / f"{module[1].replace('.', '/')}.py").exists()


def is_unit(span: str) -> bool:
    """A unit of systemd that the README has written, under a command of ours."""
    name, _, kind = Path(span).name.rpartition(".")
    return kind in ("service", "timer") and name.removeprefix("sendplan-") in main.commands


def is_option_of_a_url(span: str) -> bool:
    """One of the options behind a server's URL, or one of its values."""
    option = span if "=" in span else f"starttls={span}"
    option = option.replace("SECONDS", "10")
    with suppress(DataError):
        return bool(parse_url(f"smtp://somebody:secret@localhost:587?{option}"))
    return False


def is_environment(span: str) -> bool:
    variable = re.fullmatch(r"([A-Z]+(?:_[A-Z]+)+)(=\w+)?", span)
    return variable is not None and read_in_the_code(variable[1])


def is_choice(span: str) -> bool:
    """A value that some option may have."""
    choices = (option.type for _, command in commands() for option in command.params)
    return any(isinstance(kind, click.Choice) and span in kind.choices for kind in choices)


def is_extra(span: str) -> bool:
    extra = re.fullmatch(r"pip install 'sendplan\[(\w+)\]'", span)
    return extra is not None and extra[1] in PROJECT["project"]["optional-dependencies"]


def is_public(span: str) -> bool:
    """A dotted name below sendplan."""
    found: Any = sendplan
    with suppress(AttributeError):
        for name in span.removeprefix("sendplan.").removesuffix("(…)").split("."):
            found = getattr(found, name)
        return span.startswith("sendplan.")
    return False


KINDS: tuple[Callable[[str], bool], ...] = (
    FOREIGN.__contains__,
    WORDS.__contains__,
    is_target,
    is_module,
    lambda span: span == "{{ token }}",
    is_unit,
    is_option_of_a_url,
    is_environment,
    is_choice,
    is_extra,
    is_public,
)


def faults(section: Section, folder: Path) -> Iterator[str]:
    """Say which names of a section do not exist; files that commands name are made in `folder`."""
    called: list[click.Command] = []
    mentions = section.mentions
    for call in (*section.calls, *mentions.values()):
        # What stands for any command, and for any address.
        line = call.replace("COMMAND", "plan").replace("EMAIL", "ada@client.example")
        try:
            called.append(parsed(line, folder, mentioned=call in mentions.values())[1])
        except click.ClickException as error:
            yield f"sendplan {call}: {error.format_message()}"
    for span in section.spans:
        if span.startswith("--"):
            name, *value = shlex.split(span)
            where = called or [command for _, command in commands()]
            named = [o for command in where for o in command.params if name in o.opts]
            if not named:
                yield f"{span}: an option of no command in {section.title!r}"
            for option in named[:1] if value else []:
                try:
                    option.type.convert(value[0], option, None)
                except click.ClickException as error:
                    yield f"{span}: {error.format_message()}"
        elif span in mentions or is_path(span, section.folder) or (folder / span).is_file():
            continue
        elif not any(kind(span) for kind in KINDS):
            yield f"`{span}` is nothing that exists"
    for block in section.blocks:
        for target in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE):
            if target not in targets():
                yield f"make {target}: no target"
        for variable in re.findall(r"\bSENDPLAN_\w+", block.text):
            if not read_in_the_code(variable):
                yield f"{variable} is read nowhere"
        for line in re.findall(r"^(?:systemctl|journalctl) (.*)", block.text, re.MULTILINE):
            for unit in re.findall(r"sendplan-[\w.]+", line):
                name = unit if "." in unit else f"{unit}.service"
                told = PAGES[section.page]
                if f"`/etc/systemd/system/{name}`" not in told and f"`{name}`" not in told:
                    yield f"{unit}: a unit that is not written down"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "section", SECTIONS, ids=lambda section: f"{section.page}: {section.title}"
)
def test_every_name_in_a_page_exists(section: Section, scratch: Path) -> None:
    assert list(faults(section, scratch)) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("sendplan check ", "sendplan verify "),
        ("sendplan plan --time-limit 60", "sendplan plan --time-limt 60"),
        ("sendplan plan --time-limit 60", "sendplan plan --time-limit soon"),
        ("--reason bounced", "--reason tired"),
        ("smtp --log json\nRestart", "smtp --log yaml\nRestart"),
        ("bin/sendplan health", "bin/sendplan fitness"),
        ("`--grace`", "`--grease`"),
        ("`--log json`", "`--log xml`"),
        ("`resume`, `set` |", "`resume`, `rename` |"),
        ("`--fail-on-uncertain`", "`--watch`"),
        ("make test ", "make tests "),
        ("`make lint`", "`make tidy`"),
        ("`SENDPLAN_DATA_DIR`", "`SENDPLAN_DATA_FOLDER`"),
        ("Environment=SENDPLAN_DATABASE_URL", "Environment=SENDPLAN_URL"),
        ("`plan_runs.progress`", "`plan_runs.course`"),
        ("`current_step_id`", "`last_step_id`"),
        ("`tests/data`", "`tests/samples`"),
        ("`planner/synthetic`", "`planner/synthesis`"),
        ("`starttls=required`", "`starttls=always`"),
        ("sendplan[report]", "sendplan[reports]"),
        ("`claimed` |", "`taken` |"),
        ("sendplan-dispatch sendplan-recalc", "sendplan-dispatch sendplan-replan"),
    ],
)
def test_a_name_that_does_not_exist_is_found(scratch: Path, good: str, bad: str) -> None:
    section = next(section for section in SECTIONS if good in section.text)
    broken = replace(section, text=section.text.replace(good, bad, 1))
    assert len(list(faults(broken, scratch))) == 1


def test_what_belongs_to_others_is_still_named() -> None:
    told = "".join(PAGES.values())
    assert {name for name in FOREIGN if f"`{name}`" not in told} == set()


def modules(part: str) -> list[Path]:
    """Give the modules of a folder, or the one that is named."""
    path = ROOT / part
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def broken_links(page: str, pages: Mapping[str, str]) -> list[str]:
    """Give the links of a page that lead to no file, folder, page or heading."""
    folder = (ROOT / page).parent
    found = re.findall(r"\]\(([^)\s]+)\)", without_blocks(pages[page]))
    return [link for link in found if not _leads_somewhere(link, folder, page, pages)]


def _leads_somewhere(link: str, folder: Path, page: str, pages: Mapping[str, str]) -> bool:
    if link.startswith("https://"):
        return True
    name, _, anchor = link.partition("#")
    path = (folder / name).resolve() if name else ROOT / page
    if not path.exists() or not anchor:
        return path.exists()
    return anchor in anchors(pages.get(str(path.relative_to(ROOT)), ""))


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page: str) -> None:
    assert broken_links(page, LINKED) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    pages = {
        "README.md": "## A plan, whole\n[x](#a-plan-whole) [y](#plan) [z](io/README.md#life_cycle)",
        "io/README.md": "## Life cycle\n[x](../README.md) [y](../README.md#plan) ![z](no.svg)",
    }
    assert broken_links("README.md", pages) == ["#plan", "io/README.md#life_cycle"]
    assert broken_links("io/README.md", pages) == ["../README.md#plan", "no.svg"]


# ---------------------------------------------------------------- what each page is for


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].splitlines()) < 200


def test_the_readme_leads_to_every_page() -> None:
    unnamed = [page for page in PAGES if f"]({page}" not in PAGES["README.md"]]
    assert unnamed == ["README.md"]


def test_no_page_and_no_code_cites_what_the_repository_does_not_hold() -> None:
    """Rules stand in planner/README.md and io/README.md, and are cited by their names."""
    sources = [path for part in ("cli.py", *CODE) for path in modules(part)]
    texts = {**LINKED, **{str(path.relative_to(ROOT)): path.read_text() for path in sources}}
    assert [name for name, text in texts.items() if CITATION.search(text)] == []


def test_hard_rules_that_code_cites_are_headings() -> None:
    rules = re.findall(r"^### (.*)", PAGES["planner/README.md"], re.MULTILINE)
    assert rules
    for part in CODE:
        for path in modules(part):
            words = " ".join(path.read_text().replace("#", " ").split())
            for cited in re.findall(r"[Hh]ard rule ([A-Z][a-z]+(?: [a-z]+)*)", words):
                assert any(f"{cited} ".startswith(f"{rule} ") for rule in rules), (path, cited)


@pytest.mark.parametrize(
    ("part", "title", "apart"),
    [
        ("planner", "Order of reading", {"explain", "studies", "simulation", "synthetic"}),
        ("io", "Rooms", {"migrations"}),
    ],
)
def test_rooms_are_told_from_the_ground_up(part: str, title: str, apart: set[str]) -> None:
    """Each folder stands in its page's listing, in the order of the floors."""
    reading = next(section for section in SECTIONS if section.title == title)
    told = re.findall(r"\[([\w.]+)\]\(\1\)", reading.text)
    listed = [room for room in told if room not in apart]
    floors = {Path(room).name: floor for room, floor in FLOOR.items() if room.startswith(part)}
    rooms = {room for room in floors if (ROOT / part / room).is_dir()}
    assert rooms | apart == {room for room in told if not room.endswith(".py")}
    assert [floors[room] for room in listed] == sorted(floors[room] for room in listed)


def test_worlds_are_told() -> None:
    worlds = {path.name for path in (ROOT / "tests" / "worlds").iterdir() if path.is_dir()}
    told = set(re.findall(r"\(worlds/(\w+)\)", PAGES["tests/README.md"]))
    assert told == worlds - {"__pycache__"}


@pytest.mark.parametrize("frame", CONTRACTS)
def test_the_columns_of_frames_are_told(frame: str) -> None:
    row = re.search(rf"^\| `{frame}`.*", PAGES["planner/README.md"], re.MULTILINE)
    assert row is not None
    _, _, required, others, _ = row[0].split("|")
    contract = CONTRACTS[frame]
    assert re.findall(r"`(\w+)`", required) == [n for n, c in contract.items() if c.required]
    assert set(re.findall(r"`(\w+)`", others)) == {n for n, c in contract.items() if not c.required}


@pytest.mark.parametrize("table", metadata.tables)
def test_the_columns_of_tables_are_told(table: str) -> None:
    row = re.search(rf"^\| `{table}` \|.*", PAGES["io/README.md"], re.MULTILINE)
    assert row is not None
    if table in CONTRACT_TABLES:
        named = set(re.findall(r"`(\w+)`", row[0]))
        assert {column.name for column in metadata.tables[table].columns} <= named


# ---------------------------------------------------------------- other languages


def blocks(language: str) -> list[str]:
    found = [b.text for s in SECTIONS for b in s.blocks if b.language == language]
    assert found
    return found


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the pages' pieces of Python presume: frames, and a problem made of them."""
    frames = reference(30, 5, now=REFERENCE_NOW)
    del frames["contacts"]
    problem = sendplan.Problem.from_frames(**frames, now=REFERENCE_NOW)
    plan = sendplan.solve(problem, method="greedy")
    first = plan.sends.iloc[0]
    frames["links"] = frames.pop("sequence_mailboxes")
    return {
        **frames,
        "sendplan": sendplan,
        "problem": problem,
        "plan": plan,
        "date": plan.finish_day,
        "enrollment_id": int(first["enrollment_id"]),
        "step_id": int(first["step_id"]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_pieces_of_python_run(names: dict[str, Any], code: str) -> None:
    exec(compile(code, "a page", "exec"), dict(names))


@pytest.mark.parametrize("query", blocks("sql"))
def test_queries_run(module_engine: Engine, query: str) -> None:
    with module_engine.connect() as connection:
        connection.execute(text(query), {"token": "x"})


def test_the_settings_file_names_every_parameter(scratch: Path) -> None:
    (settings,) = (block for block in blocks("toml") if "[plan]" in block)
    path = scratch / "settings.toml"
    path.write_text(settings)
    assert set(read_settings(path)) == {field.name for field in fields(Parameters)}


def test_the_file_of_scenarios_names_options(scratch: Path) -> None:
    """Reading it refuses what no option is called."""
    (scenarios,) = (block for block in blocks("toml") if "[scenarios" in block)
    path = scratch / "winter.toml"
    path.write_text(scenarios)
    assert len(read_scenarios(path)) == 2


def test_the_campaign_file_can_be_read(scratch: Path) -> None:
    (campaign,) = (block for block in blocks("toml") if "[[sequences]]" in block)
    path = scratch / "campaign.toml"
    path.write_text(campaign)
    assert len(read_campaign(path).sequences[0].steps) == 2


def test_every_piece_of_toml_has_a_test_above() -> None:
    assert len(blocks("toml")) == 3


# ---------------------------------------------------------------- the help

COMMANDS = dict(commands())


def shown(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=200)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_in_a_line_what_a_command_does_and_gives_examples(
    path: tuple[str, ...], scratch: Path
) -> None:
    """The line fits into the list of commands, where a longer one is cut off."""
    assert re.fullmatch(r"[A-Z].{9,65}\.", (COMMANDS[path].help or "").split("\n\n")[0])
    # Behind two spaces stands what an example does.
    lines = re.findall(r"^ +(sendplan .*?)(?: {2,}.*)?$", shown(path), re.MULTILINE)
    assert lines
    for line in lines:
        called, _ = parsed(line.removeprefix("sendplan "), scratch)
        assert called[: len(path)] == path


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_names_options_and_columns_that_exist(path: tuple[str, ...]) -> None:
    own = {name for option in COMMANDS[path].params for name in option.opts} | {"--help"}
    told = shown(path)
    prose = re.sub(r"^ +sendplan .*$", "", told, flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", prose))
    # The group's help ends in the lines of its commands.
    below = {
        name
        for other, command in COMMANDS.items()
        if other[: len(path)] == path
        for option in command.params
        for name in option.opts
    }
    assert named <= own | below
    assert set(re.findall(r"`([^`]+)`", prose)) <= WORDS
    assert set(re.findall(r"\b[a-z]+_[a-z_]+\b", prose)) <= WORDS


# ---------------------------------------------------------------- docstrings

RESULTS = (Comparison, CapacityNeed, Bottlenecks, Explanation, Simulation)
PUBLIC: dict[str, Any] = {
    **{name: getattr(sendplan, name) for name in sendplan.__all__},
    **{name: getattr(sendplan.changes, name) for name in sendplan.changes.__all__},
    **{kind.__name__: kind for kind in RESULTS},
}


def documented() -> Iterator[Any]:
    """Public functions and classes, and the methods of those that are no changes."""
    for name, found in PUBLIC.items():
        if inspect.isfunction(found) or is_dataclass(found):
            yield pytest.param(found, id=name)
        if inspect.isclass(found) and not issubclass(found, sendplan.changes.Change):
            for attribute, value in vars(found).items():
                method = getattr(value, "__func__", value)
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    yield pytest.param(method, id=f"{name}.{attribute}")


@pytest.mark.parametrize("found", list(documented()))
def test_public_names_say_what_their_parameters_are(found: Any) -> None:
    """In sections, or in a line that names the thing that an id stands for."""
    told = inspect.getdoc(found) or ""
    summary, *parts = re.split(r"\n\n(\w+)\n-+\n", told)
    assert re.match(r"\S.*\.(\n|$)", summary)
    titled = dict(zip(parts[::2], parts[1::2], strict=True))
    parameters = set(inspect.signature(found).parameters) - {"self", "cls"}
    if "Parameters" in titled:
        heads = re.findall(r"^(\S[^:\n]*)", titled["Parameters"], re.MULTILINE)
        assert {name.strip("* ") for head in heads for name in head.split(",")} == parameters
        assert inspect.isclass(found) or "Returns" in titled or summary.startswith("Return")
    else:
        assert len(parameters) <= 2
        assert all(name.removesuffix("_id") in summary for name in parameters)
