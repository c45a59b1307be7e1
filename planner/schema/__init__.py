"""The ground of the planner: words, column contracts, dates and errors.

In come frames as users have them; out come canonical columns (integers throughout) and sending
days, or a `ProblemError` that names every offender. The rooms above read no date, null or word a
second time.
"""
