"""Runs of the planner on a database: nightly, recalculation, preview, check.

In come settings and a database; out come summaries of what was planned and published. Partitioned
runs, and the executors that plan their parts, are coordinated here.
"""
