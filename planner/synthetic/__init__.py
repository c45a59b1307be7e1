"""Seeded instances of the reference kind, as frames of the tables.

In come sizes and a seed; out come campaigns in full flow with their history, for demonstration,
tests, notebooks and benchmarks.
"""
