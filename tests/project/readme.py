"""The pages taken apart: their sections, blocks, code spans and links, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from sendplan.cli import main
from sendplan.io.changes.commands import COMMANDS
from sendplan.tests.project.repository import ROOT

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_CALL = re.compile(r"(?:^(?:\$ )?|/bin/)sendplan (?!/)([^)|&\n]*)", flags=re.MULTILINE)
"""A command line in a shell, in a unit of systemd or in a crontab."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences, and the language after the first."""

    language: str
    text: str


@dataclass(frozen=True)
class Section:
    """What stands under a heading of the second level of a page, or before the first one."""

    page: str
    title: str
    text: str

    @property
    def folder(self) -> Path:
        """The folder of the page, from which it names files."""
        return (ROOT / self.page).parent

    @property
    def blocks(self) -> list[Block]:
        return [Block(*found) for found in _FENCED.findall(self.text)]

    @property
    def spans(self) -> list[str]:
        """Code spans outside of blocks; a subcommand in a table row with its group before it.

        In the row of `mailbox add`, `remove` means `mailbox remove`.
        """
        found = []
        for line in _FENCED.sub("", self.text).split("\n\n"):
            for row in line.split("\n") if line.startswith("|") else [line]:
                first, *others = row.removeprefix("|").split("|") if row[:1] == "|" else (row,)
                spans = [" ".join(span.split()) for span in _SPAN.findall(first)]
                group = spans[0].split()[0] if spans else ""
                if row.startswith("|") and group in main.commands and spans[0] != group:
                    spans[1:] = [f"{group} {span}" for span in spans[1:]]
                found += spans
                found += [span for other in others for span in _SPAN.findall(other)]
        return found

    @property
    def calls(self) -> list[str]:
        """Command lines of sendplan in blocks, without the program's name."""
        blocks = [block for block in self.blocks if block.language != "python"]
        return [call.strip() for block in blocks for call in _CALL.findall(block.text)]

    @property
    def mentions(self) -> dict[str, str]:
        """Code spans that call a command, and what they are without the program's name."""
        found = {span: span.removeprefix("sendplan ") for span in self.spans}
        # One word alone may be a column as well.
        return {
            span: words
            for span, words in found.items()
            if words != span or (" " in words and words.split()[0] in main.commands)
        }


def without_blocks(text: str) -> str:
    """Blank out what stands between fences; the rest keeps its place."""
    return _FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)


def sections(page: str, text: str) -> list[Section]:
    """Take a page apart; a line that looks like a heading in a block is none."""
    headings = re.finditer(r"^## ", without_blocks(text), re.MULTILINE)
    starts = [0, *(heading.start() for heading in headings)]
    return [
        Section(page, part.split("\n", 1)[0].lstrip("# "), part)
        for part in (text[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True))
    ]


def anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in headings}


NAMES = (
    "README.md",
    "planner/README.md",
    "io/README.md",
    "benchmarks/README.md",
    "notebooks/README.md",
    "tests/README.md",
)
"""The pages whose every name is checked."""

PAGES = {name: (ROOT / name).read_text() for name in NAMES}
SECTIONS = [section for name, text in PAGES.items() for section in sections(name, text)]

LINKED = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted(ROOT.rglob("*.md"))
    if ".venv" not in path.parts and "node_modules" not in path.parts
}
"""All pages, tables of results included: their links are checked."""


def commands(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Walk the tree of commands: the words that call each one, and the command."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def parsed(
    call: str, folder: Path, *, mentioned: bool = False
) -> tuple[tuple[str, ...], click.Command]:
    """Read a call as the command line does, without running it; return what it calls.

    The files that it names are made in `folder`, where the caller stands. One that is only
    `mentioned` may leave out what a command needs.

    Raises
    ------
    click.ClickException
        If there is no such command or option, or a value is refused.
    """
    words = shlex.split(call, comments=True)
    path: tuple[str, ...] = ()
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        word = words.pop(0)
        if word not in command.commands:
            raise click.UsageError(f"no command {' '.join((*path, word))}")
        path, command = (*path, word), command.commands[word]
    for word in words:
        if re.fullmatch(r"\w+\.(toml|csv|txt)", word):
            (folder / word).touch()
    tolerated = (click.exceptions.Exit, *((click.MissingParameter,) if mentioned else ()))
    with suppress(*tolerated), command.make_context(" ".join(path), words) as context:
        for declared in COMMANDS:
            if declared.name == " ".join(path) and not mentioned:
                for check in declared.checks:
                    if fault := check(context.params):
                        raise click.UsageError(fault)
    return path, command
