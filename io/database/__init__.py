"""The way into PostgreSQL: tables, engine, binary COPY.

In comes a URL; out come migrated connections that raise one kind of error. The tables are declared
here once.
"""
