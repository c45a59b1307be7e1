"""The planner's lock as PostgreSQL knows it: an advisory lock of one session, in one database."""

PLANNER_LOCK = 5_376_002
"""Key of the advisory lock that lets one planner publish at a time."""


def lock_is_held(pid: str = "pid") -> str:
    """Return a condition in SQL: that a process of the server holds the planner's lock.

    Parameters
    ----------
    pid : str
        The process, in SQL; by default it may be any.
    """
    return f"""
        EXISTS (
            SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND classid = 0 AND objid = {PLANNER_LOCK} AND granted
              AND pid = {pid} AND datname = current_database()
        )
    """
