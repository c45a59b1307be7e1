"""Changes as commands and as SQL: options in, rows changed.

In come the options of a command or a list of contacts; out come changes of the planner and the rows
that they change. The tables' triggers queue what a recalculation has to plan anew.
"""
