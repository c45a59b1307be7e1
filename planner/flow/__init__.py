"""The multi-commodity flow on counts: its relaxation, its bounds and its solvers.

In come subproblems of the instance; out come flows, whole or divided, the prices of capacity, and a
lower bound that rests on the prices alone. Solvers propose; nothing here knows a single contact but
where counts cannot stand for it.
"""
