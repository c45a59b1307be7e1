"""The pure planner: DataFrames in, DataFrames out.

No SQL, no clock, no environment and no printing; `sendplan.io` feeds it and `sendplan.cli` wires.
"""
