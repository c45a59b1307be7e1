"""The time zones of contacts, each once: what a snapshot numbers, and what may be unknown."""

NUMBERED_ZONES = """
    WITH RECURSIVE found (name) AS (
        SELECT min(timezone) FROM contacts
        UNION ALL
        SELECT (SELECT min(timezone) FROM contacts WHERE timezone > found.name)
        FROM found WHERE found.name IS NOT NULL
    ),
    zones (name, code) AS (
        SELECT name, row_number() OVER (ORDER BY name)::smallint FROM found WHERE name IS NOT NULL
    )
"""
"""The time zones of contacts, numbered: a look into the index for each, and no more."""

ZONES = f"{NUMBERED_ZONES} SELECT name FROM zones ORDER BY code"
