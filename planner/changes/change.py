"""What every change has in common: values checked when it is made, and the frames it revises.

New rows get the highest id of their frame + 1; nothing depends on its value, and the tables may
give another. Frames are never written to: a changed one is built anew, the others are shared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar

from sendplan.planner.changes.rows import row_of, with_values
from sendplan.planner.problem.problem import Frames, Problem
from sendplan.planner.schema.columns import COLUMNS
from sendplan.planner.schema.contracts import CONTRACTS, read_values
from sendplan.planner.schema.errors import Fault, ProblemError


class Unchanged(Enum):
    """Stands for "stays as it is" where None is a value."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        """Return the name that a notebook would use."""
        return self.name


UNCHANGED = Unchanged.UNCHANGED

Row = Mapping[Any, Any]
"""Canonical values by column."""

_KEYS = ("mailbox_id", "sequence_id", "step_id", "contact_id")


@dataclass(frozen=True, repr=False)
class Change:
    """One change; the base of all the others.

    Attributes
    ----------
    WHERE : str
        What is changed, as messages name it, with fields in braces.
    TABLE : str
        The table whose declarations the fields keep that are columns of it.
    """

    WHERE: ClassVar[str]
    TABLE: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse values that nothing could take on.

        Raises
        ------
        ProblemError
            Naming what is wrong.
        """
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name in _KEYS:
                self._put(name, read_key(name, value))
            elif name.endswith("_ids") and value is not None:
                self._put(name, _keys(name, value))
            elif name in self.texts and not (value is field.default or isinstance(value, str)):
                setting = COLUMNS[self.TABLE][name].setting
                if value is not None or setting is None or not setting.none:
                    raise self.refused("must hold text", "correct it", name, value)
        # Equal changes are equal values, and may be keys.
        for name, value in self.columns.items():
            if CONTRACTS[self.TABLE][name].kind in ("weekdays", "text"):
                self._put(name, value)
        self._refuse()

    def __repr__(self) -> str:
        """Write the change as a notebook would, without what it leaves alone."""
        parts = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(parts)})"

    @property
    def where(self) -> str:
        """What is changed, as messages name it."""
        return self.WHERE.format(**vars(self))

    @property
    def values(self) -> list[str]:
        """The fields that are columns of the table and no ids."""
        names = (field.name for field in fields(self) if field.name not in _KEYS)
        return [name for name in names if name in CONTRACTS.get(self.TABLE, ())]

    @property
    def texts(self) -> list[str]:
        """The fields that are columns of text in the table only, and not in the frame."""
        columns = COLUMNS.get(self.TABLE, {})
        texts = {name for name in columns if columns[name].kind == "text"}
        return [field.name for field in fields(self) if field.name in texts - {*self.values}]

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The columns that are given, canonical as in `sendplan.planner.schema.contracts`."""
        given = {name: getattr(self, name) for name in self.values}
        chosen = {name: value for name, value in given.items() if value is not UNCHANGED}
        read = read_values(self.TABLE, chosen, self.where)
        return {
            name: str(value) if isinstance(value, str) else value for name, value in read.items()
        }

    def revise(self, problem: Problem) -> Frames:
        """Return the frames that the change makes anew.

        Parameters
        ----------
        problem : Problem
            As it is before; it stays so.

        Raises
        ------
        ProblemError
            If the change names what does not exist, or does not fit what is there.
        """
        raise NotImplementedError

    def refused(self, rule: str, remedy: str, name: str = "", *values: Any) -> ProblemError:
        """Return the error that refuses the change, or one field of it for its value."""
        where = f"{self.where}, {name}" if name else self.where
        return ProblemError([Fault(where, rule, remedy, [repr(value) for value in values])])

    def _refuse(self) -> None:
        """Raise what is wrong between the values."""

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True, repr=False)
class Setting(Change):
    """A change of single columns of one row; what is not given stays."""

    NOUN: ClassVar[str]

    def refuse_for(self, row: Row) -> None:
        """Refuse what does not fit the row as it is."""

    def revise(self, problem: Problem) -> Frames:
        """Give the row its values; those for the tables only mean nothing to a problem."""
        frame = getattr(problem, self.TABLE)
        row = row_of(frame, self.NOUN, getattr(self, f"{self.NOUN}_id"))
        self.refuse_for(frame.iloc[row].to_dict())
        return {self.TABLE: with_values(frame, row, self.columns)} if self.columns else {}

    def _refuse(self) -> None:
        columns = (*self.values, *self.texts)
        if all(getattr(self, name) is UNCHANGED for name in columns):
            raise self.refused("nothing is given", f"give any of {', '.join(columns)}")


def read_key(name: str, value: Any) -> int:
    """Return an id as an integer, or say what is wrong with the field that holds it."""
    # Lists of contacts are long, and the contract takes its time.
    if type(value) is int and 0 < value < 2**62:
        return value
    try:
        return int(read_values("mailboxes", {"id": value}, name)["id"])
    except ProblemError as error:
        raise ProblemError([replace(error.faults[0], where=name)]) from None


def _keys(name: str, values: Any) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ProblemError([Fault(name, "must list ids", "write them as [1, 2]", [repr(values)])])
    return tuple(dict.fromkeys(read_key(name, value) for value in values))
