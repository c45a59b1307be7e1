"""The instance: a problem as arrays that every method plans on.

In comes a `Problem`; out come chains and their emails, windows, capacities, components and limits
by day. Days and mailboxes of a plan (`assignment`) and what they cost (`objective`) are defined
here.
"""
