"""What the database can hold about single values, as conditions in SQL."""

from collections.abc import Iterable, Iterator

from sendplan.planner.schema.column import Column, Kind

WINDOW = "extract(epoch FROM end_time)::integer > extract(epoch FROM start_time)::integer"
"""The condition, in SQL, that a window holds a second at least."""

FIRST_DAY, LAST_DAY = "1900-01-01", "9999-12-31"
"""Between these lies every date and time of the tables."""


def rules(name: str, column: Column) -> Iterator[tuple[str, str]]:
    """Yield what the database can hold about the values of a column.

    Parameters
    ----------
    name : str
        The column, in SQL; null keeps every rule.
    column : Column
        As it is declared.

    Yields
    ------
    tuple of str
        What the rule is called, and its condition in SQL.
    """
    most = column.most if column.most is not None else column.plausible
    if column.choices is not None:
        yield "known", among(name, column.choices)
    if column.kind == "integer" and column.least is not None:
        yield {0: "not_negative", 1: "from_one"}[int(column.least)], f"{name} >= {column.least}"
        if most is not None:
            yield "in_range", f"{name} <= {most}"
    if column.positive:
        # PostgreSQL sorts NaN above infinity, so one comparison keeps both out.
        yield "positive", f"{name} > 0 AND {name} < 'Infinity'::numeric"
        if most is not None:
            yield "sensible", f"{name} BETWEEN {1 / most:.6f} AND {most}"
    if column.kind == "weekdays":
        rule = f"cardinality({name}) > 0 AND {name} <@ '{{1,2,3,4,5,6,7}}'::smallint[]"
        yield "iso_weekdays", rule
        yield "one_dimension", f"array_ndims({name}) = 1"
    if column.kind in ("date", "instant"):
        yield "in_range", in_calendar(name, column.kind)


def in_calendar(name: str, kind: Kind) -> str:
    """Return the condition, in SQL, that a date or a point in time is one that programs can hold.

    All of Python's arithmetic with it stays within its years 1 to 9999, and infinity is out.
    """
    if kind == "date":
        return f"{name} BETWEEN DATE '{FIRST_DAY}' AND DATE '{LAST_DAY}'"
    first, last = (f"TIMESTAMPTZ '{day} 00:00:00+00'" for day in (FIRST_DAY, LAST_DAY))
    return f"{name} BETWEEN {first} AND {last}"


def among(column: str, words: Iterable[str]) -> str:
    """Return the SQL condition that a column holds one of some words."""
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"
