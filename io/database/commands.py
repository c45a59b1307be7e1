"""The command that prepares a database, and the options that name one."""

from pathlib import Path

from sendplan.io.commands.command import Command, Section
from sendplan.io.commands.option import Option

DATABASE = (
    Option(
        "--database-url",
        "URL",
        "PostgreSQL database to use; without it, an embedded server is started.",
        environment="SENDPLAN_DATABASE_URL",
    ),
    Option(
        "--data-dir",
        "FOLDER",
        "Data folder of the embedded server.",
        Path,
        folder=True,
        environment="SENDPLAN_DATA_DIR",
    ),
)
INIT = Command(
    Section.START,
    "init",
    "Create the database schema, or bring it up to date.\n\nRunning it again is safe.",
    ("", "--database-url postgresql:///sendplan"),
)
