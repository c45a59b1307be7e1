"""Questions to the stored plan: scenarios, capacity, bottlenecks, explanations.

In come a database and options or a file of scenarios; out come the planner's studies and
explanations. Nothing is written.
"""
