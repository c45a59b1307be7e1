"""The states of an email in the database: due, claimed, sent, retried, recovered, overdue.

In come a session and the clock; out come claims, and rows moved from state to state, each only from
a state that allows it. Nothing is sent here.
"""
