"""The database written: the difference between a plan and its snapshot.

In come a snapshot and a plan; out come changed rows in short transactions and one row of
`plan_runs`. The lock that lets one planner publish at a time is here.
"""
