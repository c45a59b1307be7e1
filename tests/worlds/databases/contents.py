"""What a database holds, whole, to be compared before and after."""

from sqlalchemy import Connection

from sendplan.io.database.tables import metadata


def stored(connection: Connection) -> dict[str, list[str]]:
    """Return every row of every table; ends the connection's transaction."""
    tables = {
        table.name: [
            str(tuple(row))
            for row in connection.execute(table.select().order_by(*table.primary_key))
        ]
        for table in metadata.sorted_tables
    }
    connection.rollback()
    return tables
