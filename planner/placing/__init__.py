"""From days to a placement that keeps every rule: conflicts of contacts, gaps, send times.

In comes an assignment of days and mailboxes; what counts cannot see (one email a day per contact,
min_gap_seconds) is repaired, what has no day gets the first that fits, and each email its second.
"""
