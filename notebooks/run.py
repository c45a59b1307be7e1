"""Run the notebooks; one whose claims fail ends with the cell that says so.

Run as a program, it executes all of them, or those that are named, without touching the files.
``--save`` writes outputs back, and the pictures that have a name beside them; ``--small`` runs
the small size, in seconds.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from sendplan.notebooks.pictures import FOLDER

HERE = Path(__file__).parent
SIZE = "SENDPLAN_NOTEBOOKS"
"""The variable that notebooks read: with ``small`` they take a small instance."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""All that is kept of where a notebook ran."""


def notebooks() -> list[Path]:
    """Return the notebooks, in reading order."""
    return sorted(HERE.glob("*.ipynb"))


def executed(path: Path, *, small: bool = False, pictures: Path | None = None) -> NotebookNode:
    """Execute a copy of a notebook.

    Parameters
    ----------
    path : Path
        The notebook, which is left as it is.
    small : bool
        Whether it takes its small size.
    pictures : Path, optional
        Folder for the pictures that have a name.

    Returns
    -------
    NotebookNode
        The notebook with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell fails: a claim does not hold, or the code is wrong.
    """
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        # The user's own start-up files and settings must not matter.
        environment = {k: v for k, v in os.environ.items() if k not in (SIZE, FOLDER)}
        environment["IPYTHONDIR"] = folder
        if small:
            environment[SIZE] = "small"
        if pictures is not None:
            environment[FOLDER] = str(pictures.resolve())
        client = NotebookClient(
            notebook,
            timeout=None,
            record_timing=False,
            # Below errors it only warns that local processes could listen.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute(env=environment)
    return notebook


def save(notebook: NotebookNode, path: Path) -> None:
    """Write an executed notebook, without what differs from machine to machine.

    Parameters
    ----------
    notebook : NotebookNode
        As `executed` returns it.
    path : Path
        The file.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    nbformat.write(notebook, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run notebooks, and report each failure.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        0, or 1 if a notebook failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all")
    parser.add_argument("--small", action="store_true", help="a small size, in seconds")
    parser.add_argument("--save", action="store_true", help="write outputs and pictures back")
    given = parser.parse_args(arguments)
    if given.small and given.save:
        parser.error("--save keeps the full size; leave --small out")
    failed = 0
    for path in given.paths or notebooks():
        print(f"{path.name} …", file=sys.stderr, flush=True)
        try:
            notebook = executed(
                path, small=given.small, pictures=path.parent if given.save else None
            )
        except CellExecutionError as error:
            print(COLOURS.sub("", str(error)), file=sys.stderr)
            failed += 1
            continue
        if given.save:
            save(notebook, path)
    print(f"{failed} failed" if failed else "all claims hold", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
