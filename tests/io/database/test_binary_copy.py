"""Rows out of PostgreSQL as columns: every kind, nulls, infinity, and streams in small pieces."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import Connection, text

from sendplan.io.database import binary_copy as binary
from sendplan.io.database.binary_copy import copy_out
from sendplan.io.database.engine import connect
from sendplan.planner.schema.readers import NULL

KINDS = {"key": "bigint", "word": "smallint", "day": "date", "moment": "timestamptz"}

# One day and one microsecond before and after 1970; and the last value that is no infinity.
ROWS = """
    SELECT * FROM (VALUES
        (1::bigint, 1::smallint, DATE '1969-12-31', TIMESTAMPTZ '1969-12-31 23:59:59.999999Z'),
        (9007199254740993, -1::smallint, DATE '1970-01-02', '1970-01-01 00:00:00.000001Z'),
        (-9223372036854775808, 0::smallint, DATE '-infinity', '-infinity'),
        (9223372036854775807, 32767::smallint, DATE '5874897-12-31', '294276-12-31 23:59:59Z')
    ) AS row (key, word, day, moment)
"""


def days_through(year: int) -> int:
    return 365 * year + year // 4 - year // 100 + year // 400


LAST_DAY = days_through(5_874_897) - days_through(1969) - 1


@pytest.fixture
def connection(module_database_url: str) -> Iterator[Connection]:
    engine = connect(module_database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_every_kind_arrives_native(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Whatever the pieces are in which the stream comes; a row has 2 + 4 × 4 + 22 bytes."""
    monkeypatch.setattr(binary, "CHUNK", chunk)
    rows = copy_out(connection, ROWS, KINDS)
    assert rows["key"].tolist() == [1, 2**53 + 1, NULL, 2**63 - 1]
    assert rows["word"].tolist() == [1, -1, 0, 32_767]
    assert rows["day"].tolist() == [-1, 1, NULL, LAST_DAY]
    assert rows["moment"].tolist()[:3] == [-1, 1, NULL]
    last = np.datetime64("294276-12-31T23:59:59", "us")
    assert np.datetime64(int(rows["moment"][3]), "us") == last
    assert [values.dtype for values in rows.values()] == ["int64", "int16", "int64", "int64"]
    # Native order, and not a view that would keep the stream alive.
    assert all(values.dtype.isnative and values.base is None for values in rows.values())


def test_no_rows_are_columns_all_the_same(connection: Connection) -> None:
    rows = copy_out(connection, f"{ROWS} WHERE false", KINDS)
    assert {name: (len(values), str(values.dtype)) for name, values in rows.items()} == {
        "key": (0, "int64"),
        "word": (0, "int16"),
        "day": (0, "int64"),
        "moment": (0, "int64"),
    }


@pytest.mark.parametrize("column", list(KINDS))
@pytest.mark.parametrize("others", [0, 1_000])
def test_a_null_is_refused(connection: Connection, column: str, others: int) -> None:
    nulled = ", ".join(
        f"CASE WHEN n < {others} THEN {name} END" if name == column else name for name in KINDS
    )
    query = f"SELECT {nulled} FROM ({ROWS}) AS row, generate_series(0, {others}) AS n"
    with pytest.raises(ValueError, match="null"):
        copy_out(connection, query, KINDS)
    # The session is still of use.
    assert connection.scalar(text("SELECT 1")) == 1


def test_other_columns_are_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="other columns"):
        copy_out(connection, "SELECT 1::bigint, 2::bigint", {"n": "bigint"})
    # As many, and rows as long: two bigints are as wide as an integer and twelve bytes of text.
    query = "SELECT 7, 'twelve bytes'"
    with pytest.raises(ValueError, match="column n of the query is null, or no bigint"):
        copy_out(connection, query, {"n": "bigint", "m": "bigint"})


@pytest.mark.parametrize("value", ["DATE 'infinity'", "TIMESTAMPTZ 'infinity'"])
def test_infinity_is_read_as_null(connection: Connection, value: str) -> None:
    kind = "date" if value.startswith("DATE") else "timestamptz"
    read = copy_out(connection, f"SELECT {value} FROM generate_series(1, 9)", {"until": kind})
    assert read["until"].tolist() == [NULL] * 9
