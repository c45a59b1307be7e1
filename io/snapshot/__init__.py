"""The database read: one consistent snapshot as the frames of a problem.

In comes a connection, with the components to read or none for all; out come canonical columns, the
queued change requests, and the partition into parts that share nothing.
"""
