"""Connecting: which URLs and servers are taken, and what errors look like."""

from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Engine, text

from sendplan.io.database.engine import _prepare_session, connect, translated_errors
from sendplan.io.errors import DatabaseError, DataError, Fault, SendplanError

PASSWORD = "s3cret-word"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_the_usual_spellings_of_a_url_are_taken(database_url: str, scheme: str) -> None:
    engine = connect(
        database_url.replace("postgresql+psycopg2", "postgresql", 1).replace(
            "postgresql", scheme, 1
        )
    )
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW TimeZone")) == "UTC"
        assert connection.scalar(text("SHOW application_name")) == "sendplan"
    engine.dispose()


def test_the_time_zone_outlives_a_rollback(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.rollback()
        assert connection.scalar(text("SHOW TimeZone")) == "UTC"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"mysql://ada:{PASSWORD}@localhost/x", "begins with mysql://, but sendplan runs on"),
        (f"sqlite:///{PASSWORD}", "runs on PostgreSQL only"),
        (f"ada:{PASSWORD}@localhost", "cannot be read: expected postgresql://"),
        (f"postgresql://ada:{PASSWORD}@localhost:port/x", "cannot be read"),
        (f"postgresql://ada:{PASSWORD}@localhost:1/x", "connecting to localhost:1/x"),
        (f"postgresql://ada:x@{PASSWORD}@localhost/x", "cannot be read"),
        (f"postgresql://localhost:1/x?password={PASSWORD}", "connecting to localhost:1/x"),
        (f"postgresql://localhost:1/x?sslpassword={PASSWORD}", "connecting to localhost:1/x"),
        (f"postgresql://localhost:1/x?sslmode={PASSWORD}", "invalid sslmode value"),
        (f"postgresql://localhost:1/x?connect_timeout={PASSWORD}", "invalid integer value"),
        (f"postgresql://localhost:1/x?{PASSWORD}=1", "an option that libpq does not know"),
        (f"postgresql:///x?host=localhost&port={PASSWORD}", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_the_password(url: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message) as caught:
        connect(url)
    told: BaseException | None = caught.value
    while told is not None:
        assert PASSWORD not in str(told)
        told = None if told.__suppress_context__ and told.__cause__ is None else told.__cause__


def test_an_old_server_is_refused() -> None:
    old: Any = SimpleNamespace(server_version=130_012)
    with pytest.raises(DatabaseError, match="runs PostgreSQL 13, but sendplan needs 14 or newer"):
        _prepare_session(old, None)


def test_driver_errors_become_ours_and_keep_their_cause(engine: Engine) -> None:
    with (
        pytest.raises(DatabaseError, match=r'while counting: relation "nowhere"') as caught,
        translated_errors("counting"),
        engine.connect() as connection,
    ):
        connection.execute(text("SELECT count(*) FROM nowhere"))
    assert caught.value.__cause__ is not None
    assert "SELECT" not in str(caught.value).partition("LINE")[0]


def test_bare_driver_errors_are_translated_too() -> None:
    with pytest.raises(DatabaseError, match="Database error: gone"), translated_errors():
        raise psycopg2.OperationalError("gone")
    with pytest.raises(DatabaseError, match="OperationalError"), translated_errors():
        raise psycopg2.OperationalError


def test_errors_in_other_things_pass() -> None:
    with pytest.raises(ZeroDivisionError), translated_errors("dividing"):
        raise ZeroDivisionError


def test_exit_codes_are_those_of_the_contract() -> None:
    assert (SendplanError.exit_code, DataError.exit_code, DatabaseError.exit_code) == (1, 3, 4)


def test_a_data_error_carries_all_problems_and_shows_the_first() -> None:
    faults = [Fault(f"line {line}", "no @", "write name@host") for line in range(1, 9)]
    error = DataError(faults, "contacts.csv")
    assert str(error).splitlines() == [
        "contacts.csv: 8 problems",
        *(f"line {line}: no @ – write name@host" for line in range(1, 6)),
        "… and 3 more",
    ]
    assert len(error.report().splitlines()) == 9
    assert str(DataError("nothing to do")) == "nothing to do"
