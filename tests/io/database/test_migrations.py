"""How the schema comes about: migrations, twice and two at once, and what is refused after them."""

import threading

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from sendplan.io.database.engine import (
    SCHEMA_VERSION,
    _alembic_config,
    connect,
    migrate,
    require_schema,
    schema_version,
)
from sendplan.io.database.tables import metadata
from sendplan.io.errors import DatabaseError

# How PostgreSQL itself describes a schema; comparing its words leaves nothing out.
DESCRIPTION = """
SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
    concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity,
        pg_get_expr(adbin, adrelid)) AS definition
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND attrelid IN (
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
)
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 't'
UNION ALL
SELECT 'index', tablename || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


def described(engine: Engine) -> set[tuple[str, str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(text(DESCRIPTION))
        return {tuple(row) for row in rows if "alembic_version" not in row.name}  # type: ignore[misc]


def test_migrations_make_what_the_tables_declare(engine: Engine, empty_database_url: str) -> None:
    declared = connect(empty_database_url)
    metadata.create_all(declared)
    assert described(engine) == described(declared)
    declared.dispose()


def test_the_newest_migration_is_the_one_that_the_code_asks_for() -> None:
    script = ScriptDirectory.from_config(_alembic_config())
    assert script.get_current_head() == SCHEMA_VERSION
    # They are compared as text.
    assert all(len(revision.revision) == 4 for revision in script.walk_revisions())


def test_migrating_down_leaves_nothing_behind(database_url: str) -> None:
    engine = connect(database_url)
    with engine.begin() as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert not described(engine)
    migrate(engine)
    engine.dispose()


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    before = described(engine)
    migrate(engine)
    assert described(engine) == before


def test_two_may_migrate_at_once(empty_database_url: str) -> None:
    engines = [connect(empty_database_url) for _ in range(2)]
    failures: list[Exception] = []

    def run(engine: Engine) -> None:
        try:
            migrate(engine)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with engines[0].connect() as connection:
        assert schema_version(connection) == SCHEMA_VERSION
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP TABLE alembic_version", "no sendplan schema yet: run `sendplan init`"),
        ("UPDATE alembic_version SET version_num = '0000'", "run `sendplan init` to bring"),
        ("UPDATE alembic_version SET version_num = '9999'", "upgrade sendplan"),
    ],
)
def test_another_schema_is_refused(engine: Engine, statement: str, message: str) -> None:
    require_schema(engine)
    with engine.begin() as connection:
        connection.execute(text(statement))
    with pytest.raises(DatabaseError, match=message):
        require_schema(engine)
