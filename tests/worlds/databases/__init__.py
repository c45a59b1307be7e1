"""Databases for tests: filled by plain SQL as users write it, and read back the same way.

Also every change that a plan depends on, as SQL and as a command.
"""
