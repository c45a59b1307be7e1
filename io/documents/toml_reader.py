"""TOML documents from outside, read whole, with all faults at once."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

from sendplan.io.documents.toml_lines import TomlLines
from sendplan.io.documents.toml_tables import FaultCollector, TomlTable
from sendplan.io.errors import DataError
from sendplan.planner.schema.errors import Fault


@contextmanager
def toml_document(text: str, name: str) -> Iterator[TomlTable]:
    """Give the table of a whole document; at the end of the block, raise all noted faults.

    Keys that the block has not read are faults as well.

    Parameters
    ----------
    text : str
        TOML.
    name : str
        The document's name in messages.

    Raises
    ------
    DataError
        If it is no TOML, or with everything that was found wrong, each with line and remedy.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError([_syntax_fault(error)], name) from None
    root = TomlTable(document, "", FaultCollector(TomlLines(text)))
    yield root
    root.close()
    if root.findings.faults:
        raise DataError(root.findings.faults, name)


def _syntax_fault(error: Exception) -> Fault:
    # The document itself is not quoted: the faulty line may hold a secret.
    message = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
    what, _, place = message.partition(" (at ")
    remedy = "correct the TOML; texts stand in quotes, long ones in triple quotes"
    return Fault(place.rstrip(")"), f"syntax error: {what}", remedy)
