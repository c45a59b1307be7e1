"""The embedded PostgreSQL server, for users without a database of their own.

In comes a data folder; out comes the URL of a server that several commands may share, and that ends
with the last of them. Other users of the machine can neither read the folder nor take its locks.
"""
