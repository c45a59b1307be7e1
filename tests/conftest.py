"""One embedded server for the whole run, and a fresh migrated database for each test."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from sendplan.io.database.engine import connect, migrate
from sendplan.io.embedded_server.server import EmbeddedServer
from sendplan.tests.worlds.databases.due_emails import Claiming

TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that other accounts may enter, unlike pytest's own for root."""
    folder = Path(tempfile.mkdtemp(prefix="sendplan-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def administration(open_folder: Path) -> Iterator[Engine]:
    """A session outside of any test's database, for making and dropping those."""
    with EmbeddedServer(open_folder / "data") as server:
        engine = connect(server.url).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # The data goes with the run, so that nothing need survive a power cut.
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
        template = connect(_url(engine, TEMPLATE))
        migrate(template)
        template.dispose()
        yield engine
        engine.dispose()


def _url(administration: Engine, name: str) -> str:
    url = make_url(str(administration.url)).set(database=name)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def empty_database_url(administration: Engine) -> Iterator[str]:
    """The URL of a database without the schema."""
    yield from _database(administration, "template0")


@pytest.fixture
def database_url(administration: Engine) -> Iterator[str]:
    """The URL of a fresh database with the schema and nothing in it."""
    yield from _database(administration, TEMPLATE)


@pytest.fixture(scope="module")
def module_database_url(administration: Engine) -> Iterator[str]:
    """The URL of a database with the schema, for tests that begin by clearing it, or roll back."""
    yield from _database(administration, TEMPLATE)


@pytest.fixture
def module_engine(module_database_url: str) -> Iterator[Engine]:
    """An engine on the module's database, which holds what the tests before have left."""
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


def _database(administration: Engine, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with administration.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        yield _url(administration, name)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database with the schema."""
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def claiming(engine: Engine) -> Iterator[Claiming]:
    """A dispatcher's session, for claims and transitions."""
    with Claiming(engine) as claiming:
        yield claiming
