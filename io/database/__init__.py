"""The way into PostgreSQL: tables, engine, embedded server, binary COPY.

In comes a URL, or a data folder for the embedded server; out come migrated connections that raise
one kind of error. The tables are declared here once.
"""
