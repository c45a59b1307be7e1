"""The search: a known plan improved until the gap is closed or the work limit is spent.

In comes a placement; its subproblems are relaxed, rounded and solved in tasks that may run side by
side. Out come better placements and a lower bound, the same whatever executor runs the tasks.
"""
