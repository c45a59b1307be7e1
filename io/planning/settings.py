"""Settings files: planning parameters in TOML, by the names of `Parameters`.

A whole file, with everything optional::

    [plan]
    method = "auto"          # or "greedy", "cpsat"
    time_limit = 30          # seconds of work for improving the plan
    gap = 0.001              # stop when the plan is within this part of the lower bound
    horizon_days = 90        # left out: as far as every email needs
    slip_weight = 20         # what a day of slip costs, in days of lateness
    one_a_day = true         # one email a day per contact
    workers = 2              # tasks side by side; the plan does not depend on it
    change_weight = 0        # what moving an email costs, in days of lateness
    seed = 0
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from sendplan.io.documents.texts import read_text
from sendplan.io.documents.toml_reader import toml_document
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.schema.errors import MethodError

MAX_FILE = 2**20
"""Bytes of a settings file at most."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read planning parameters from a file.

    Parameters
    ----------
    path : Path
        A TOML file.

    Returns
    -------
    dict
        Values in the file, by the names of `Parameters`.

    Raises
    ------
    DataError
        With everything that is wrong with the file, and where.
    """
    values: dict[str, Any] = {}
    with toml_document(read_text(path, MAX_FILE), str(path)) as root:
        table = root.table("plan", "write a table [plan]")
        if table is not None:
            for name in (field.name for field in fields(Parameters)):
                value = table.raw(name)
                if value is None:
                    continue
                try:
                    Parameters(**{name: value})
                except MethodError as error:
                    table.add(name, str(error), "correct it, or leave it out for the default")
                else:
                    values[name] = value
            table.close()
    return values
