"""The notebooks hold what they claim, fail where they don't, and are kept with their outputs."""

import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest

from sendplan.notebooks import run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", run.HERE / "README.md"]
NOTEBOOKS = run.notebooks()
LARGEST = 500_000
LARGEST_PICTURE = 150_000

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def written(path: Path, *cells: str) -> Path:
    """Write a notebook without outputs."""
    code = [nbformat.v4.new_code_cell(cell, id=f"cell-{n}") for n, cell in enumerate(cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=code), path)
    return path


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what a reader should never see: errors and warnings."""
    return [
        str(output)
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


@pytest.mark.slow
@every_notebook
def test_every_claim_holds_in_the_small_size(path: Path) -> None:
    before = path.read_bytes()
    assert faults(run.executed(path, small=True)) == []
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_claim_that_does_not_hold_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false = written(tmp_path / "a.ipynb", "late = 3", "assert late < 3, f'{late} are late'")
    true = written(tmp_path / "b.ipynb", "1 + 1")
    before = false.read_bytes()
    assert run.main(["--save", str(false), str(true)]) == 1
    told = capsys.readouterr().err
    assert "AssertionError: 3 are late" in told and "1 failed" in told
    # What failed is left as it was, and the others are run all the same.
    assert false.read_bytes() == before
    assert nbformat.read(true, 4).cells[0].outputs[0].data["text/plain"] == "2"


@pytest.mark.slow
def test_the_size_is_what_was_asked_for_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.ipynb", f"import os; os.environ.get({run.SIZE!r})")
    monkeypatch.setenv(run.SIZE, "small")
    assert run.executed(path).cells[0].outputs == []  # None shows as nothing
    monkeypatch.delenv(run.SIZE)
    small = run.executed(path, small=True)
    assert small.cells[0].outputs[0].data["text/plain"] == "'small'"


@pytest.mark.slow
def test_outputs_are_kept_as_pictures_and_prose_and_say_nothing_of_the_machine(
    tmp_path: Path,
) -> None:
    path = written(
        tmp_path / "a.ipynb",
        "import altair as alt; from sendplan.notebooks.pictures import say, show",
        "say('A sentence.', 'Another.')",
        "show(alt.Chart().mark_bar(), 'A title', 'A bar.', height=60, name='bar')",
    )
    assert run.main(["--save", str(path)]) == 0
    notebook = nbformat.read(path, 4)
    assert notebook.metadata == run.METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    (prose,), (picture,) = (cell.outputs for cell in notebook.cells[1:])
    assert prose.data == {
        "text/markdown": "A sentence. Another.",
        "text/plain": prose.data["text/plain"],
    }
    assert prose.data["text/plain"] == "A sentence. Another."
    assert picture.metadata["image/png"]["alt"] == "A bar."
    assert (tmp_path / "bar.svg").read_text().startswith("<svg")
    # The same again, byte for byte, so that a run without news changes no file.
    before = path.read_bytes()
    assert run.main(["--save", str(path)]) == 0
    assert path.read_bytes() == before


@every_notebook
def test_notebooks_are_kept_with_outputs_of_one_run_from_top_to_bottom(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata == run.METADATA
    assert faults(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {kind for cell in code for output in cell.outputs for kind in output.get("data", ())}
    assert {"image/png", "text/markdown"} <= kinds
    assert str(ROOT) not in path.read_text() and str(Path.home()) + "/" not in path.read_text()


@every_notebook
def test_figures_are_said_by_cells_and_never_typed_into_prose(path: Path) -> None:
    """Markdown between the cells would still say them when they are true no longer."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", cell.source)
            assert not re.search(r"\d", prose), prose


def test_the_notebooks_that_are_linked_exist() -> None:
    links = [(path.read_text(), path.parent) for path in (*PAGES, *NOTEBOOKS)]
    found = [folder / target for text, folder in links for target in _targets(text)]
    assert set(NOTEBOOKS) <= set(found)
    assert all(path.exists() for path in found)


def test_the_pages_pictures_are_small_and_say_what_they_show() -> None:
    shown = [
        (alt, page.parent / target)
        for page in PAGES
        for alt, target in re.findall(r"!\[([^\]]*)\]\(([\w/-]+\.svg)\)", page.read_text())
        if (page.parent / target).parent == run.HERE
    ]
    kept = set(run.HERE.glob("*.svg"))
    assert len(kept) == 2 and {path for _, path in shown} == kept
    told = {
        output["metadata"]["image/png"]["alt"]
        for path in NOTEBOOKS
        for cell in nbformat.read(path, 4).cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    }
    for alt, path in shown:
        # Word for word and figure for figure what the notebook says of it.
        assert alt in told
        assert path.stat().st_size < LARGEST_PICTURE


def _targets(text: str) -> Sequence[str]:
    return re.findall(r"\]\(((?:notebooks/)?[\w-]+\.ipynb)\)", text)
