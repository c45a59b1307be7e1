"""The construction heuristic: a plan from one look ahead over the whole horizon.

In come the instance and its limits, and possibly a partial assignment; out comes a full one,
decided on counts day by day and improved by shortest paths. It is where every other method starts.
"""
